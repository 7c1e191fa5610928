//! `hx find`.

use crate::device::{Device, ZSH};

#[test]
fn what_is_found_is_shown_with_time_duration_and_id() {
    let device = Device::with_history();
    let id = device.ids(&["git"]).remove(0);
    let ran = device.hx(&["find", "git", "stat"]).succeeds();
    assert_eq!(
        (ran.out, ran.err),
        (
            format!("2023-11-14 22:13  3.0 s  {}  git status\n", &id[..8]),
            String::new()
        )
    );
    let by_alias = device.hx(&["search", "git status"]).succeeds();
    assert!(by_alias.out.ends_with("git status\n"));
}

#[test]
fn the_newest_come_first_and_the_limit_holds() {
    let device = Device::with_history();
    let ran = device.hx(&["find"]).succeeds();
    let commands: Vec<&str> = ran
        .out
        .lines()
        .map(|line| line.rsplit("  ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        commands,
        [
            "export API_TOKEN=hunter2secret",
            "docker run -it ubuntu ",
            "bash",
            "git status"
        ],
        "{ran:?}"
    );
    assert_eq!(device.ids(&["--limit", "2"]).len(), 2);
    device.hx(&["find", "--limit", "many"]).misused("--limit");
}

#[test]
fn commands_of_several_lines_survive_the_zero_byte_form() {
    let device = Device::with_history();
    let ran = device
        .hx(&["find", "--format", "null", "--limit", "2"])
        .succeeds();
    assert_eq!(
        ran.out,
        "export API_TOKEN=hunter2secret\0docker run -it ubuntu \n  bash\0"
    );
}

#[test]
fn no_match_ends_with_1_and_says_so_on_stderr() {
    let device = Device::with_history();
    let ran = device.hx(&["find", "nothing", "like", "it"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (1, "", "no command matches `nothing like it`\n")
    );
    let ran = device.hx(&["find", "git", "--failed"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "no command matches `git` and passes the filters\n")
    );
    let ran = device.hx(&["find", "--json", "nothing"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "[]\n"));
}

#[test]
fn filters_narrow() {
    let device = Device::with_history();
    assert_eq!(device.ids(&["--after", "2023-11-14 22:16"]).len(), 1);
    assert_eq!(device.ids(&["--before", "2023-11-14 22:14"]).len(), 1);
    assert_eq!(device.ids(&["--after", "2023-03-01"]).len(), 3);
    assert_eq!(device.ids(&["--after", "yesterday 3pm"]).len(), 0);
    assert_eq!(device.ids(&["--cwd", "/tmp"]).len(), 0);
    device
        .hx(&["find", "--after", "blarg"])
        .fails(2, "--after: `blarg` is not a time");
    device
        .hx(&["find", "--exit", "1", "--failed"])
        .misused("cannot be used with");
}

#[test]
fn directories_are_understood_as_the_shell_shows_them() {
    let device = Device::new();
    let home = device.name("").trim_end_matches('/').to_owned();
    let event = format!(
        r#"{{"format":"syncline-hx-history","version":1,"exported_at":"","events":[{{"id":"{}","time_us":1700000000000000,"command":"make","host":"h","cwd":"{home}/src","exit":2}}]}}"#,
        "ab".repeat(16)
    );
    let file = device.write("backup.json", event);
    device.hx(&["import", "--file", &file]).succeeds();
    for cwd in ["src", "./src/", "~/src", "src/../src"] {
        assert_eq!(device.ids(&["--cwd", cwd]).len(), 1, "{cwd}");
    }
    assert_eq!(device.ids(&["--exit", "2"]).len(), 1);
    assert_eq!(device.ids(&["--failed"]).len(), 1);
    assert!(
        device
            .hx(&["find"])
            .succeeds()
            .out
            .contains("  exit 2  abababab  make")
    );
}

#[test]
fn all_shows_every_time_a_command_was_run() {
    let device = Device::new();
    let file = device.write("h", ": 1700000000:0;ls\n: 1700000001:0;ls\n");
    device
        .hx(&["import", "--file", &file, "--host", "a"])
        .succeeds();
    device
        .hx(&["import", "--file", &file, "--host", "b"])
        .succeeds();
    assert_eq!(device.ids(&["ls"]).len(), 1);
    assert_eq!(device.ids(&["ls", "--all"]).len(), 4);
    let ran = device.hx(&["find", "ls", "--all"]).succeeds();
    assert!(
        ran.out.lines().any(|line| line.contains("  a  "))
            && ran.out.lines().any(|line| line.contains("  b  ")),
        "{ran:?}"
    );
}

#[test]
fn colour_is_only_where_it_was_asked_for_and_no_command_brings_its_own() {
    let device = Device::new();
    let file = device.write("h", ": 1700000000:0;printf '\x1b[31mred'\n");
    device.hx(&["import", "--file", &file]).succeeds();
    assert!(
        !device
            .hx(&["find", "printf"])
            .succeeds()
            .out
            .contains('\x1b')
    );
    let colored = device
        .hx(&["find", "printf", "--color", "always"])
        .succeeds()
        .out;
    assert!(
        colored.contains("\x1b[1mprintf\x1b[0m") && !colored.contains("\x1b[31mred"),
        "{colored:?}"
    );
}

#[test]
fn before_the_first_import_the_way_is_shown_and_nothing_is_made() {
    let device = Device::new();
    let ran = device
        .hx(&["find", "x"])
        .fails(1, "there is no history on this machine yet");
    assert!(ran.err.contains("hx import"), "{ran:?}");
    assert_eq!(device.entries(), [""; 0]);
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let device = Device::new();
    device.write(
        ".local/share/hx/hx.db",
        "this is not a database, but somebody's notes about one",
    );
    device.hx(&["find", "x"]).fails(16, "hx.db");
    device.write(".zsh_history", ZSH);
    device.hx(&["import"]).fails(16, "hx.db");
    assert!(
        device
            .read(".local/share/hx/hx.db")
            .starts_with("this is not")
    );
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let device = Device::with_history();
    device
        .hx(&["find", "git", "--limit", "0"])
        .misused("1 or more");
    device
        .hx(&["find", "git", "--limit", "many"])
        .misused("not a number");
}

#[test]
fn bytes_that_are_no_text_are_shown_and_given_back() {
    let device = Device::new();
    let file = device.write("x.bash_history", b"#1700000000\nprintf caf\xe9\n");
    let ran = device.hx(&["import", "--file", &file]).succeeds();
    assert!(
        ran.out.contains("1 command with bytes that are no text"),
        "{ran:?}"
    );
    let shown = device.hx(&["find", "printf"]).succeeds().out;
    assert!(shown.ends_with("printf caf\\xe9\n"), "{shown}");
    let output = device
        .command()
        .args(["find", "printf", "--format", "null"])
        .output()
        .expect("the program starts");
    assert_eq!(output.stdout, b"printf caf\xe9\0");
}

#[test]
fn options_of_other_programs_can_be_looked_for() {
    let device = Device::new();
    let file = device.write("h", ": 1700000000:0;ls -la --full-time\n");
    device.hx(&["import", "--file", &file]).succeeds();
    for (typed, meant) in [
        ("find ls -la", "hx find ls -- -la"),
        ("find ls --full-time", "hx find ls -- --full-time"),
        (
            "search ls -la --limit 5 --full-time",
            "hx search ls --limit 5 -- -la --full-time",
        ),
    ] {
        let typed: Vec<&str> = typed.split(' ').collect();
        device.hx(&typed).misused(meant);
        let words: Vec<&str> = meant.split(' ').skip(1).collect();
        assert!(
            device.hx(&words).succeeds().out.contains("ls -la"),
            "{meant}"
        );
    }
    let wrong = device.hx(&["status", "-la"]);
    assert!(
        wrong.code == 2 && !wrong.err.contains("look for"),
        "{wrong:?}"
    );
}

#[test]
fn numbers_that_are_none_or_too_many_are_told_apart() {
    let device = Device::new();
    device.write(".zsh_history", ": 1700000000:0;ls\n");
    device.hx(&["import"]).succeeds();
    let all = device.hx(&["find", "-n", "99999999999999999999"]);
    assert_eq!(all.succeeds().out.lines().count(), 1);
    for (args, said) in [
        (["find", "-n", "-3"], "1 or more"),
        (["find", "--after", "-1"], "--after: "),
    ] {
        let ran = device.hx(&args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(said), "{ran:?}");
        assert!(!ran.err.contains("put it behind"), "{ran:?}");
    }
}
