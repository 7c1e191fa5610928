//! The real zsh, bash and fish: they read what hx exports, hx reads what they write, and they take the lines of `hx init`.
//!
//! What must hold: a command comes back from a shell byte for byte, with its second; a shell that is missing fails the test and says what
//! to install.
//!
//! What it deliberately does not do: test the parsers in depth. Their modules do.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::device::Device;

/// Commands that are hard to keep, as zsh's `$'…'` and bash's write them.
const HARD: [&str; 7] = [
    r"$'for i in 1 2\ndo echo $i\ndone'",
    r"'echo ends in a backslash \ '",
    r"$'printf \'%s\\\\\n\' two lines'",
    r"'echo café à 日本 ン 😀'",
    r"$'printf caf\xe9'",
    r"$'raw \xe3\x83\x93 \x83 \xff end'",
    r"'echo blanks  '",
];

/// Runs a script in a shell, in the home of a device.
#[track_caller]
fn shell(device: &Device, program: &str, args: &[&str], script: &str) -> Output {
    let file = device.write(&format!("script.{program}"), script);
    let hx = std::path::Path::new(env!("CARGO_BIN_EXE_hx"));
    let bin = hx.parent().expect("a binary lies in a directory");
    // Whoever started the tests may ignore signals, which then tells nothing of what the shell does to a command.
    let output = Command::new("env")
        .args(["--default-signal=INT,QUIT", program])
        .args(args)
        .arg(file)
        .env_clear()
        .env("HOME", device.path(""))
        .env("HX_HOST", "box")
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb")
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin:/usr/local/bin", bin.display()),
        )
        .current_dir(device.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("`env` starts");
    assert!(
        output.status.success(),
        "{program}: {output:?}; if it is not there, install it, for example with `apt-get install {program}`, or run `cargo xtask test`"
    );
    output
}

fn bytes(device: &Device, name: &str) -> Vec<u8> {
    fs::read(device.path(name)).expect("the shell or hx wrote it")
}

/// Imports `own`, what the shell wrote, and exports it as `exported`: nothing may change, and importing that adds nothing.
fn there_and_back(device: &Device, own: &str, exported: &str, count: usize) {
    let report = device
        .hx(&["import", "--json", "--file", own])
        .succeeds()
        .json();
    assert_eq!(report["total"]["added"], count, "{report}");
    device.hx(&["export", "--file", exported]).succeeds();
    let again = device
        .hx(&["import", "--json", "--file", exported])
        .succeeds()
        .json();
    assert_eq!(again["total"]["added"], 0, "{again}");
    assert_eq!(again["total"]["known"], count, "{again}");
}

#[test]
fn zsh_and_hx_read_each_other() {
    let device = Device::new();
    let typed: String = HARD.map(|word| format!("print -rs -- {word}\n")).concat();
    let script = format!("fc -p $HOME/own 1000 1000\n{typed}fc -W\nprint -r -- ${{#history}}\n");
    shell(
        &device,
        "zsh",
        &["-f", "-i", "-o", "extendedhistory"],
        &script,
    );
    there_and_back(&device, "own", "out.zsh_history", HARD.len());
    assert_eq!(bytes(&device, "own"), bytes(&device, "out.zsh_history"));
    // And zsh writes again what it read from us.
    let script = "fc -p $HOME/back 1000 1000\nfc -R $HOME/out.zsh_history\nfc -W $HOME/back\n";
    shell(
        &device,
        "zsh",
        &["-f", "-i", "-o", "extendedhistory"],
        script,
    );
    assert_eq!(bytes(&device, "back"), bytes(&device, "out.zsh_history"));
}

/// Bytes that are no text and look like it once zsh has escaped them: zsh must read the other escape we write.
#[test]
fn zsh_reads_bytes_that_would_look_like_text() {
    let device = Device::new();
    device.write("raw.bash_history", b"#1700000000\nraw \xe3\x93 end\n");
    device
        .hx(&["import", "--file", "raw.bash_history"])
        .succeeds();
    device
        .hx(&["export", "--file", "out.zsh_history"])
        .succeeds();
    let again = device
        .hx(&["import", "--json", "--file", "out.zsh_history"])
        .succeeds()
        .json();
    assert_eq!(again["total"]["added"], 0, "{again}");
    let script = "fc -p $HOME/out.zsh_history 1000 1000\nprint -rn -- $history[1] > $HOME/seen\n";
    shell(&device, "zsh", &["-f", "-i"], script);
    assert_eq!(bytes(&device, "seen"), b"raw \xe3\x93 end");
}

#[test]
fn bash_and_hx_read_each_other() {
    let device = Device::new();
    let typed: String = HARD.map(|word| format!("history -s {word}\n")).concat();
    let setup =
        "set -o history\nshopt -s cmdhist lithist\nHISTTIMEFORMAT='%s '\nHISTFILE=/dev/null\n";
    let script = format!("{setup}set +o history\nhistory -c\n{typed}history -w own\n");
    shell(&device, "bash", &["--norc"], &script);
    there_and_back(&device, "own", "out.bash_history", HARD.len());
    assert_eq!(bytes(&device, "own"), bytes(&device, "out.bash_history"));
    let script = format!(
        "{setup}set +o history\nhistory -c\nhistory -r out.bash_history\nhistory -w back\n"
    );
    shell(&device, "bash", &["--norc"], &script);
    assert_eq!(bytes(&device, "back"), bytes(&device, "out.bash_history"));
}

/// What its file has no place for is said, and everything else is read as it is, also behind commands without a time.
#[test]
fn what_bash_cannot_hold_is_named_and_the_rest_comes_back() {
    let device = Device::new();
    device.write("undated", "ls\n");
    let typed = ": 1700000000:0;for i in 1\\\ndo\\\ndone\n: 1700000001:0;#1700000009\n: 1700000002:0;cat <<E\\\n#17\\\nE\n\
        : 1700000003:0;a\\\n\\\nb\n: 1700000004:0;trails\\\n\n: 1700000005:0;#no time\n: 1700000006:0;last\n";
    device.write("typed", typed);
    for (file, shell) in [("undated", "bash"), ("typed", "zsh")] {
        device
            .hx(&["import", "--file", file, "--shell", shell])
            .succeeds();
    }
    let ran = device.hx(&["export", "--file", "out.bash_history"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    for part in [
        "4 commands cannot be held",
        "  #1700000009",
        "cat <<E\\n#17\\nE",
        "a\\n\\nb",
        "trails\\n",
        "hx-backup.json",
    ] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    let script = "HISTTIMEFORMAT='%s '\nHISTFILE=/dev/null\nhistory -c\nhistory -r out.bash_history\nhistory\n";
    let output = shell(&device, "bash", &["--norc"], script);
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    let read: Vec<&str> = read.lines().map(str::trim_start).collect();
    for whole in [
        "2  1700000000 for i in 1\ndo\ndone\n3  1700000001  #1700000009\n4  1700000002 cat <<E\n#17\nE\n5  1700000003 a\nb\n",
        "6  1700000004 trails\n7  1700000005 #no time\n8  1700000006 last",
    ] {
        assert!(read.join("\n").contains(whole), "{whole:?} in {read:?}");
    }
    let json = device.hx(&["export", "--json", "--force", "--file", "out.bash_history"]);
    assert_eq!(
        (json.code, &json.json()["report"]["unheld"]),
        (3, &4.into())
    );
    for form in ["out.json", "out.zsh_history", "out.fish_history"] {
        device.hx(&["export", "--file", form]).succeeds();
    }
}

#[test]
fn fish_reads_what_hx_exports() {
    let device = Device::new();
    let typed: String = HARD.map(|word| format!("print -rs -- {word}\n")).concat();
    let script = format!("fc -p $HOME/own 1000 1000\n{typed}fc -W\n");
    shell(
        &device,
        "zsh",
        &["-f", "-i", "-o", "extendedhistory"],
        &script,
    );
    device.hx(&["import", "--file", "own"]).succeeds();
    let file = ".local/share/fish/fish_history";
    device.write(file, "");
    device.hx(&["export", "--file", file]).succeeds();
    let script = "history merge\nhistory search --null --reverse\n";
    let output = shell(&device, "fish", &[], script);
    let null = device
        .command()
        .args(["find", "--format", "null", "--all", "--limit", "1000"])
        .output()
        .expect("the program starts");
    let sorted = |bytes: &[u8]| {
        let mut commands: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == 0)
            .filter(|command| !command.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        commands.sort();
        commands
    };
    assert_eq!(sorted(&output.stdout), sorted(&null.stdout));
    assert_eq!(sorted(&null.stdout).len(), HARD.len());
}

#[test]
fn the_lines_of_init_work_in_their_shells() {
    let device = Device::with_history();
    let zsh = "autoload -Uz compinit\ncompinit -u -D\neval \"$(hx init zsh)\"\nhx find stat?\nprint -r -- \"code $? completion $_comps[hx]\"\n";
    let output = shell(&device, "zsh", &["-f", "-i"], zsh);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The pattern arrives as it was typed; without the alias zsh would refuse it.
    assert!(
        text.contains("code 0 completion _hx") || text.contains("code 1 completion _hx"),
        "{output:?}"
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("no matches found"), "{errors}");
    let fish = "hx completions fish | source\ncomplete -C 'hx sy'\n";
    let output = shell(&device, "fish", &[], fish);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("sync"),
        "{output:?}"
    );
    let bash = "eval \"$(hx init bash)\"\ncomplete -p hx\n";
    let output = shell(&device, "bash", &["--norc", "-i"], bash);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("_hx"),
        "{output:?}"
    );
}

/// What a person types into zsh without quotes: the alias brings it to hx, which says what the shell did to it. (With more than one
/// `&` zsh itself calls the line a syntax error, and no program hears of it.)
#[test]
fn an_unquoted_url_in_zsh_reaches_hx_and_is_explained() {
    let device = Device::new();
    let url = "s3://hx-sync?endpoint=localhost:9000&path_style=true";
    let script = format!("eval \"$(hx init zsh)\"\nhx sync init --store {url}\nwait\n");
    let output = shell(&device, "zsh", &["-f", "-i"], &script);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("no matches found"), "{errors}");
    assert!(
        errors.contains("cut at its `&`")
            && errors.contains("--store \"s3://hx-sync?endpoint=localhost:9000&"),
        "{errors}"
    );
}
