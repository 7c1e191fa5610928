//! `hx export`.

use std::os::unix::fs::FileTypeExt;

use crate::device::{Device, Ran};

/// An export without the time at which it was made.
fn timeless(export: &str) -> String {
    let at = export.find("\"exported_at\"").expect("a header");
    let end = export[at..].find(',').map_or(export.len(), |end| at + end);
    format!("{}{}", &export[..at], &export[end..])
}

#[test]
fn an_export_imported_elsewhere_gives_the_same_export() {
    let device = Device::with_history();
    let id = device.ids(&["git"]).remove(0);
    device.hx(&["pin", &id]).succeeds();
    device
        .hx(&["forget", "--yes", "--match", "docker"])
        .succeeds();
    let first = device.name("first.json");
    let ran = device.hx(&["export", "--file", &first]).succeeds();
    assert!(
        ran.out.is_empty()
            && ran
                .err
                .starts_with("exported 2 commands and 2 other records")
            && ran.err.contains("first.json"),
        "{ran:?}"
    );

    let other = Device::new();
    other.hx(&["import", "--file", &first]).succeeds();
    other
        .hx(&["export", "--file", &other.name("second.json")])
        .succeeds();
    assert_eq!(
        timeless(&device.read("first.json")),
        timeless(&other.read("second.json"))
    );
}

#[test]
fn the_name_or_the_option_chooses_the_form() {
    let device = Device::with_history();
    for (name, format, begins) in [
        ("a.json", None, "{\"format\":\"syncline-hx-history\""),
        ("a.jsonl", None, "{\"type\":\"header\""),
        ("a.csv", None, "time,command,exit"),
        ("a.md", None, "| time | command |"),
        ("a.zsh", None, ": 1700000000:3;git status\n"),
        ("a.txt", Some("bash"), "#1700000000\n"),
        ("c.json", Some("fish"), "- cmd: git status\n"),
        ("b", None, "{\"format\":"),
    ] {
        let file = device.name(name);
        let mut args = vec!["export", "--file", &file];
        args.extend(format.into_iter().flat_map(|format| ["--format", format]));
        device.hx(&args).succeeds();
        assert!(
            device.read(name).starts_with(begins),
            "{name} {format:?}: {}",
            device.read(name)
        );
    }
    device
        .hx(&["export", "--file", "x", "--format", "xml"])
        .misused("possible values: json, jsonl, csv, markdown, zsh, bash, fish");
    device.hx(&["export"]).misused("--file");
}

#[test]
fn the_standard_output_carries_the_export_and_nothing_else() {
    let device = Device::with_history();
    let ran = device
        .hx(&["export", "--file", "-", "--format", "zsh"])
        .succeeds();
    assert_eq!(ran.out, crate::device::ZSH);
    assert_eq!(ran.err, "exported 3 commands to the standard output\n");
}

#[test]
fn filters_choose_what_is_exported() {
    let device = Device::with_history();
    let exported = |args: &[&str]| {
        device
            .hx(&[&["export", "--file", "-", "--format", "zsh"], args].concat())
            .succeeds()
            .out
    };
    assert_eq!(
        exported(&["--before", "@1700000100"]),
        ": 1700000000:3;git status\n"
    );
    assert_eq!(
        exported(&["--after", "@1700000200"]),
        ": 1700000200:0;export API_TOKEN=hunter2secret\n"
    );
    assert_eq!(exported(&["--host", "other"]), "");
    assert_eq!(exported(&["--last"]).matches("\n: ").count() + 1, 3);
    assert!(!exported(&["--redacted"]).contains("hunter2secret"));
    device
        .hx(&["export", "--file", "-", "--after", "someday"])
        .fails(2, "--after");
    device
        .hx(&["export", "--file", "-", "--after", "@2", "--before", "@1"])
        .fails(2, "--before");
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_left_as_it_was() {
    let device = Device::with_history();
    let ran = device
        .hx(&["export", "--file", &device.name("no/such/x.json")])
        .fails(1, "does not exist");
    assert!(ran.err.contains("mkdir -p"), "{ran:?}");
    device
        .hx(&["export", "--file", &device.name("")])
        .fails(1, "it is a directory");
    // The device that is always full takes the place of a full disk.
    let full = device
        .hx(&["export", "--file", "/dev/full"])
        .fails(17, "/dev/full");
    assert!(full.err.contains("space"), "{full:?}");
    let kind = std::fs::metadata("/dev/full")
        .expect("a device")
        .file_type();
    assert!(kind.is_char_device(), "the device was replaced by a file");
    device.hx(&["export", "--file", "/dev/null"]).succeeds();
}

#[test]
fn the_report_for_scripts_says_how_much() {
    let device = Device::with_history();
    let report = device
        .hx(&["export", "--json", "--file", &device.name("x.json")])
        .succeeds()
        .json();
    assert_eq!(report["report"]["events"], 3);
    assert_eq!(
        report["bytes"].as_u64(),
        Some(device.read("x.json").len() as u64)
    );
}

#[test]
fn without_a_history_there_is_nothing_to_export() {
    let device = Device::new();
    let ran = device
        .hx(&["export", "--file", &device.name("x.json")])
        .fails(1, "no history on this machine yet");
    assert!(ran.err.contains("hx import"), "{ran:?}");
    assert_eq!(device.entries(), [""; 0]);
}

#[test]
fn its_own_files_are_never_written_over() {
    let device = Device::with_history();
    let data = device.name(".local/share/hx");
    let before = std::fs::read(device.path(".local/share/hx/hx.db")).expect("the database");
    std::os::unix::fs::symlink(&data, device.path("link")).expect("a link");
    std::os::unix::fs::symlink(format!("{data}/hx.db"), device.path("db")).expect("a link");
    device.write(".config/hx/config.yaml", "# mine\n");
    for file in [
        format!("{data}/hx.db"),
        format!("{data}/hx.db-wal"),
        format!("{data}/../hx/hx.db-shm"),
        format!("{data}/keys/x.json"),
        device.name("link/hx.db"),
        device.name("db"),
        device.name(".config/hx/config.yaml"),
    ] {
        let ran = device.hx(&["export", "--file", &file]);
        ran.fails(2, "hx keeps its own files");
    }
    let after = std::fs::read(device.path(".local/share/hx/hx.db")).expect("the database");
    assert!(before == after, "the database is as it was");
    assert_eq!(device.read(".config/hx/config.yaml"), "# mine\n");
    device
        .hx(&["export", "--file", &device.name("elsewhere.json")])
        .succeeds();
}

#[test]
fn a_pipe_that_nobody_reads_is_not_waited_for() {
    let device = Device::with_history();
    let pipe = device.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    device
        .hx(&["export", "--file", &device.name("pipe")])
        .fails(1, "nobody reads");
}

/// Some of it was imported, and that some is missing was said.
#[track_caller]
pub(crate) fn incomplete(ran: Ran) {
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("is not complete"), "{ran:?}");
}

#[test]
fn a_backup_that_lost_its_end_is_imported_and_told() {
    let device = Device::with_history();
    for name in ["full.json", "full.jsonl"] {
        device
            .hx(&["export", "--file", &device.name(name)])
            .succeeds();
        let full = device.read(name);
        let lines: Vec<&str> = full.lines().collect();
        // Whole lines of the one form; half a line of the other.
        let cut = if name == "full.jsonl" {
            format!("{}\n", lines[..3].join("\n"))
        } else {
            lines[..4].join("\n")
        };
        let file = device.write("cut", cut);
        let other = Device::new();
        incomplete(other.hx(&["import", "--file", &file]));
        assert_eq!(other.hx(&["import", "--file", &device.name(name)]).code, 0);
        // A line from the middle is missed too, and a file from before there was a last line is whole.
        if name == "full.jsonl" {
            let without = [&lines[..2], &lines[3..]].concat().join("\n");
            let file = device.write("holed", without);
            incomplete(Device::new().hx(&["import", "--file", &file]));
            let old = lines[..lines.len() - 1].join("\n");
            let old = old.replace(",\"has_end\":true", "") + "\n";
            let file = device.write("old", old);
            Device::new().hx(&["import", "--file", &file]).succeeds();
        }
    }
}

#[test]
fn a_history_of_bash_without_times_has_none_in_its_export() {
    let device = Device::new();
    let file = device.write("plain", "ls\ncd /tmp\nls\n");
    device
        .hx(&["import", "--file", &file, "--shell", "bash"])
        .succeeds();
    let exported = |device: &Device| {
        let ran = device.hx(&["export", "--file", "-", "--format", "bash"]);
        ran.succeeds().out
    };
    assert_eq!(exported(&device), "ls\ncd /tmp\nls\n");
    // What has a time comes behind, with it.
    let dated = device.write("dated", "#1700000000\nmake\n");
    device
        .hx(&["import", "--file", &dated, "--shell", "bash"])
        .succeeds();
    let both = exported(&device);
    assert_eq!(both, "ls\ncd /tmp\nls\n#1700000000\nmake\n");
    let other = Device::new();
    let file = other.write("bash_history", &both);
    other.hx(&["import", "--file", &file]).succeeds();
    assert_eq!(exported(&other), both);
}

#[test]
fn a_reader_that_goes_away_early_got_a_part() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let device = Device::new();
    let lines: String = (0..5_000)
        .map(|n| {
            format!(
                ": {}:0;echo a command that fills a pipe {n}\n",
                1_700_000_000 + n
            )
        })
        .collect();
    device.write(".zsh_history", lines);
    device.hx(&["import"]).succeeds();
    for format in ["json", "jsonl", "csv", "zsh"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hx"));
        command
            .env_clear()
            .env("HOME", device.path(""))
            .args(["export", "--file", "-", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = command.spawn().expect("it starts");
        let mut out = running.stdout.take().expect("a pipe");
        out.read_exact(&mut [0; 100]).expect("its beginning");
        drop(out);
        let ended = running.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(3), "{format}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{format}: {ended:?}");
    }
}

#[test]
fn a_table_for_people_sends_no_control_characters() {
    let device = Device::new();
    let file = device.write(
        "h",
        b": 1700000000:0;printf '\x1b]0;title\x07' | cat\n: 1700000001:0;\xc2\x9b31m\n",
    );
    device.hx(&["import", "--file", &file]).succeeds();
    let table = device
        .hx(&["export", "--file", "-", "--format", "markdown"])
        .succeeds()
        .out;
    assert!(
        table.contains("printf '\\u{1b}]0;title\\u{7}' \\| cat") && table.contains("\\u{9b}31m"),
        "{table}"
    );
    assert!(
        !table.contains(|c: char| c.is_control() && c != '\n'),
        "{table}"
    );
}

#[test]
fn one_command_that_bash_cannot_hold_is_it() {
    let device = Device::new();
    let file = device.write("h", ": 1700000000:0;#123\n: 1700000001:0;ls\n");
    device.hx(&["import", "--file", &file]).succeeds();
    let ran = device.hx(&["export", "--file", "-", "--format", "bash"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err
            .contains("1 command cannot be held by a history of bash as it is"),
        "{ran:?}"
    );
}
