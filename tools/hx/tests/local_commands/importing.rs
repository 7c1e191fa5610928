//! `hx import`.

use crate::device::{Device, ZSH};

#[test]
fn every_history_is_found_and_imported_once() {
    let device = Device::new();
    device.write(".zsh_history", ZSH);
    device.write(".bash_history", "ls -la\ncd /tmp\n");
    device.write(
        ".local/share/fish/fish_history",
        "- cmd: echo fish\n  when: 1700000300\n",
    );
    let first = device.hx(&["import", "auto"]).succeeds();
    let total = first
        .out
        .lines()
        .find(|line| line.starts_with("total"))
        .expect("a total");
    assert_eq!(
        total.split_whitespace().collect::<Vec<_>>(),
        ["total", "6", "6", "0", "0", "0"],
        "{first:?}"
    );
    assert!(
        first.out.contains("zsh (extended)")
            && first.out.contains("bash (plain)")
            && first.out.contains("fish"),
        "{first:?}"
    );
    assert_eq!(first.err, "imported 6 new commands\n");
    let again = device.hx(&["import"]).succeeds();
    assert_eq!(again.err, "imported 0 new commands; 6 were there already\n");
}

#[test]
fn a_named_history_file_of_the_shell_is_found() {
    let mut device = Device::new();
    let file = device.write("elsewhere/log", ZSH);
    device.set("HISTFILE", &file);
    let ran = device.hx(&["import"]).succeeds();
    assert!(ran.out.contains("elsewhere/log"), "{ran:?}");
}

#[test]
fn nothing_to_import_names_the_places_that_were_looked_at() {
    let device = Device::new();
    let ran = device
        .hx(&["import"])
        .fails(1, "no shell history was found");
    for place in [".zsh_history", ".bash_history", "fish_history"] {
        assert!(ran.err.contains(place), "{ran:?}");
    }
    assert!(ran.err.contains("--file"), "{ran:?}");
    assert_eq!(device.entries(), [""; 0], "looking left something behind");
}

#[test]
fn the_choice_of_a_shell_limits_what_is_found() {
    let device = Device::new();
    device.write(".zsh_history", ZSH);
    device.write(".bash_history", "ls\n");
    let ran = device.hx(&["import", "--shell", "bash"]).succeeds();
    assert!(!ran.out.contains(".zsh_history"), "{ran:?}");
    assert_eq!(ran.err, "imported 1 new command\n");
    device
        .hx(&["import", "--shell", "fish"])
        .fails(1, "no shell history was found");
}

#[test]
fn a_rehearsal_leaves_nothing_behind() {
    let device = Device::new();
    device.write(".zsh_history", ZSH);
    let ran = device.hx(&["import", "--dry-run"]).succeeds();
    assert_eq!(
        ran.err,
        "would import 3 new commands; nothing was changed\n"
    );
    assert_eq!(device.entries(), [".zsh_history"]);
}

#[test]
fn what_is_no_history_is_refused_with_a_reason() {
    let device = Device::new();
    let file = device.write("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe\0\0");
    device
        .hx(&["import", "--file", &file])
        .fails(1, "PNG image");
    device
        .hx(&["import", "--file", &device.name("nothing")])
        .fails(1, "nothing");
    device
        .hx(&["import", "--file", &device.name("")])
        .fails(1, "directory");
    device
        .hx(&["import", "--file", &file, "--host", ""])
        .fails(2, "--host");
    device
        .hx(&["import", "--shell", "tcsh"])
        .misused("possible values: auto, zsh, bash, fish");
    device.hx(&["import", "everything"]).misused("auto");
}

#[test]
fn one_bad_file_does_not_keep_the_others_out() {
    let device = Device::new();
    device.write(".zsh_history", ZSH);
    device.write(".zhistory", b"\0\x01\x02\xff\xfe\0\0\0");
    let ran = device.hx(&["import"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err.contains("warning: cannot import") && ran.err.contains("imported 3 new commands"),
        "{ran:?}"
    );
    assert_eq!(device.ids(&[]).len(), 3);
}

#[test]
fn what_is_skipped_is_shown_with_its_line_and_without_its_secrets() {
    let device = Device::new();
    let file = device.write(
        "h",
        ": 1700000000:0;ls\n: 1700000001:0;\n: 1700000002:0;curl --password hunter2secret \\",
    );
    let ran = device.hx(&["import", "--file", &file]);
    assert_eq!(ran.code, 3, "{ran:?}");
    for part in [
        "skipped 1: a time without a command\n  line 2: ",
        "skipped 1: cut off at the end of the file\n  line 3: ",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    let json = device.hx(&["import", "--json", "--file", &file]);
    assert!(
        !ran.out.contains("hunter2secret") && !json.out.contains("hunter2secret"),
        "{ran:?} {json:?}"
    );
}

#[test]
fn the_report_for_scripts_has_the_same_numbers() {
    let device = Device::new();
    device.write(".zsh_history", ZSH);
    let report = device.hx(&["import", "--json"]).succeeds().json();
    assert_eq!(
        (&report["total"]["read"], &report["total"]["added"]),
        (&3.into(), &3.into())
    );
    assert_eq!(report["files"][0]["report"]["format"], "zsh (extended)");
    let failure = device.hx(&["import", "--json", "--file", &device.name("nothing")]);
    assert_eq!(
        (failure.code, failure.json()["error"]["exit_code"].clone()),
        (1, 1.into())
    );
}

#[test]
fn what_is_no_command_in_a_backup_is_counted_apart() {
    let device = Device::with_history();
    let id = device.ids(&["git"]).remove(0);
    device.hx(&["pin", &id]).succeeds();
    device
        .hx(&["forget", "--yes", "--match", "docker"])
        .succeeds();
    device.hx(&["export", "--file", "backup.json"]).succeeds();
    let other = Device::new();
    let file = device.name("backup.json");
    let ran = other.hx(&["import", "--file", &file]).succeeds();
    let said = "imported 2 new commands and 2 other new records\n";
    assert!(ran.err.ends_with(said), "{ran:?}");
    let again = other
        .hx(&["import", "--file", &file, "--json"])
        .succeeds()
        .json();
    let total = &again["total"];
    assert_eq!(
        (&total["read"], &total["known"]),
        (&2.into(), &2.into()),
        "{again}"
    );
    assert_eq!(again["files"][0]["report"]["others_known"], 2, "{again}");
}

#[test]
fn the_host_comes_from_the_flag_or_the_setting_or_the_machine() {
    let device = Device::new();
    let file = device.write("h", ZSH);
    device.hx(&["import", "--file", &file]).succeeds();
    device
        .hx(&["import", "--file", &file, "--host", "old"])
        .succeeds();
    assert_eq!(device.ids(&["--host", "box"]).len(), 3);
    assert_eq!(device.ids(&["--host", "old"]).len(), 3);
    assert_eq!(device.ids(&["--host", "other"]).len(), 0);
}

#[test]
fn what_was_assumed_of_a_history_without_times_is_said() {
    let device = Device::new();
    device.write(".bash_history", "ls\ncd\nmake\n");
    let first = device.hx(&["import"]).succeeds();
    assert!(!first.out.contains("not sure"), "{first:?}");
    device.write(".bash_history", "make\nls\nls\ngit push\n");
    let ran = device.hx(&["import"]).succeeds();
    assert_eq!(ran.err, "imported 3 new commands; 1 was there already\n");
    for said in [
        "not sure what in it is new",
        "1 command was taken for the same as imported before",
        "1 of the new ones was imported before too",
    ] {
        assert!(ran.out.contains(said), "{ran:?}");
    }
    let again = device.hx(&["import", "--json"]).succeeds();
    assert!(again.out.contains("\"assumed\": null"), "{again:?}");
}

#[test]
fn the_standard_input_can_be_imported() {
    let device = Device::new();
    let ran = device
        .hx_reading(&["import", "--file", "-"], ZSH)
        .succeeds();
    assert_eq!(ran.err, "imported 3 new commands\n");
}

#[test]
fn without_a_home_there_is_a_failure_and_no_file() {
    let device = Device::new();
    let output = device
        .command()
        .env_remove("HOME")
        .arg("import")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("HOME"));
}

#[test]
fn a_file_without_its_option_is_named_with_it() {
    let device = Device::with_history();
    device
        .hx(&["import", "my history"])
        .fails(2, "not `my history` alone");
    let ran = device.hx(&["import", "old.zsh_history"]);
    assert!(
        ran.err.contains("hx import --file old.zsh_history"),
        "{ran:?}"
    );
    device.hx(&["import", "auto"]).succeeds();
}

#[test]
fn histories_without_marks_are_recognised_by_their_lines() {
    let device = Device::new();
    let kind = |name: &str, text: &str| {
        let file = device.write(name, text);
        let ran = device.hx(&["import", "--dry-run", "--json", "--file", &file]);
        let report = ran.succeeds().json()["files"][0]["report"].clone();
        let format = report["format"].as_str().expect("a format").to_owned();
        (format, report["added"].as_u64().expect("a number"))
    };
    let comments = "# a comment\nls -la\n# another one\ngit status\n# third\nmake test\n";
    assert_eq!(kind("mine", comments), ("bash (plain)".into(), 6));
    let joined = "echo one \\\ntwo\nls -la\nmake\n";
    assert_eq!(kind("old", joined), ("zsh (plain)".into(), 3));
    assert_eq!(kind("my_history", joined), ("zsh (plain)".into(), 3));
    assert_eq!(kind("bash_history", joined), ("bash (plain)".into(), 4));
    // Headings alone make no history of a text.
    let file = device.write("notes", "# Title\n\nThis is a text.\nIt has sentences.\n");
    device
        .hx(&["import", "--file", &file])
        .fails(1, "do not look like commands");
}

#[test]
fn without_a_home_the_data_directory_is_enough() {
    let device = Device::with_history();
    let data = device.name(".local/share/hx");
    let output = device
        .command()
        .env_remove("HOME")
        .env("HX_DATA_DIR", data)
        .args(["find", "docker"])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let output = device
        .command()
        .env_remove("HOME")
        .args(["find", "docker"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[test]
fn what_only_looks_like_a_history_is_refused() {
    let device = Device::new();
    for path in ["/proc/kmsg", "/proc/version", "/sys/kernel/notes"] {
        let ran = device.hx(&["import", "--file", path, "--shell", "bash"]);
        assert_ne!(ran.code, 0, "{path}: {ran:?}");
    }
    let file = device.write("y.json", "[\n");
    device
        .hx(&["import", "--file", &file])
        .fails(1, "JSON of another program");
}

#[test]
fn a_time_that_is_none_does_not_cost_the_command() {
    let device = Device::new();
    let file = device.write(
        "fish_history",
        "- cmd: ls\n  when: 17x\n- cmd: make\n  when: 1700000000\n- cmd: cd\n  when: soon\n",
    );
    let ran = device.hx(&["import", "--file", &file]).succeeds();
    assert!(
        ran.out.contains("2 commands with a time that is none") && !ran.out.contains("skipped 2"),
        "{ran:?}"
    );
    assert_eq!(device.ids(&[]).len(), 3);
    let again = device.hx(&["import", "--file", &file]).succeeds();
    assert!(again.err.contains("imported 0 new commands"), "{again:?}");
}

#[test]
fn what_was_left_out_shows_in_the_exit_code() {
    let device = Device::new();
    let long = "x".repeat((16 << 20) + 100);
    let file = device.write("bash_history", format!("ls\n{long}\ncd\n"));
    let ran = device.hx(&["import", "--file", &file]);
    assert!(
        ran.code == 3 && ran.out.contains("skipped 1: longer than 16 MiB"),
        "{ran:?}"
    );
    // A time without a command never was one.
    let file = device.write("zsh_history", ": 1700000000:0;ls\n: 1700000001:0;\n");
    device.hx(&["import", "--file", &file]).succeeds();
}

#[test]
fn a_machine_that_was_renamed_is_noticed() {
    let mut device = Device::with_history();
    device.set("HX_HOST", "new-name");
    let dry = device.hx(&["import", "--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    for part in [
        "3 of 3 commands",
        "as those of `box`",
        "hint: ",
        "hx import --host box",
    ] {
        assert!(dry.err.contains(part), "{part}: {dry:?}");
    }
    let named = device.hx(&["import", "--host", "box"]).succeeds();
    assert!(named.err.contains("imported 0 new commands"), "{named:?}");
    // As the person wants it; from then on the name is known.
    let ran = device.hx(&["import"]);
    assert!(ran.err.contains("imported 3 new commands"), "{ran:?}");
    device.hx(&["import"]).succeeds();
}

#[test]
fn what_comes_out_of_a_pipe_is_read_to_its_end() {
    let device = Device::new();
    device.write("old", ZSH);
    let made = std::process::Command::new("mkfifo")
        .arg(device.path("pipe"))
        .status();
    assert!(made.expect("mkfifo is there").success());
    // Whichever of the two comes first.
    let pipe = device.path("pipe");
    let writer = std::thread::spawn(move || std::fs::write(pipe, ZSH));
    let ran = device.hx(&["import", "--file", &device.name("pipe")]);
    let ran = ran.succeeds();
    assert!(ran.err.contains("imported 3 new commands"), "{ran:?}");
    writer.join().expect("no panic").expect("it is read");
    // As people type it. The shell hands a name over that stands for the pipe.
    let script = format!(
        "{} import --file <(cat old) --host laptop",
        env!("CARGO_BIN_EXE_hx")
    );
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &script])
        .env_clear()
        .env("HOME", device.path(""))
        .env("PATH", std::env::var_os("PATH").expect("a path"))
        .current_dir(device.path(""))
        .output();
    let output = output.expect("bash is there");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    assert!(err.contains("imported 3 new commands"), "{err}");
    assert_eq!(device.ids(&["--host", "laptop"]).len(), 3);
}

#[test]
fn a_pipe_into_which_nobody_writes_is_refused() {
    let device = Device::new();
    let made = std::process::Command::new("mkfifo")
        .arg(device.path("pipe"))
        .status();
    assert!(made.expect("mkfifo is there").success());
    device
        .hx(&["import", "--file", &device.name("pipe")])
        .fails(1, "nobody writes into it");
    device
        .hx(&["import", "--file", "/dev/zero"])
        .fails(1, "hx import --file -");
    device
        .hx_reading(&["import", "--file", "-"], ZSH)
        .succeeds();
    assert_eq!(device.ids(&[]).len(), 3);
}

#[test]
fn what_is_said_to_be_a_history_is_read_with_its_control_characters() {
    for (text, n) in [
        (&b"ls \x07\n"[..], 1),
        (b"\x1b[A\nls\n", 2),
        (b"\0\0ls\x07\n\0make\n", 2),
        (b"#!/bin/sh\nls\n", 2),
        (b"MZ=1 make\n", 1),
    ] {
        let device = Device::new();
        let file = device.write("some", text);
        let ran = device
            .hx(&["import", "--shell", "bash", "--file", &file, "--json"])
            .succeeds();
        let report = ran.json();
        assert_eq!(
            report["files"][0]["report"]["added"], n,
            "{text:?}: {ran:?}"
        );
    }
    // Unasked, a short history may have a control character too, and zero bytes anywhere.
    let device = Device::new();
    let file = device.write(".zsh_history", b"\0\0\0: 1700000000:0;ls\x07\n\0");
    device.hx(&["import", "--file", &file]).succeeds();
    assert_eq!(device.ids(&["ls"]).len(), 1);
    // A crash may leave more zeros than are looked at, before what is still there.
    let mut long = vec![0; 100_000];
    long.extend_from_slice(b"\n: 1700000000:0;make\n");
    let file = device.write("old_zsh_history", long);
    device.hx(&["import", "--file", &file]).succeeds();
    assert_eq!(device.ids(&["make"]).len(), 1);
}

#[test]
fn no_word_of_a_person_makes_a_program_a_history() {
    let device = Device::new();
    let zeros = device.write("zeros", [0; 300]);
    let mixed: Vec<u8> = (0..4_000_u32).map(|n| (n * 7 % 256) as u8).collect();
    let mixed = device.write("mixed", mixed);
    for file in ["/bin/ls", &zeros, &mixed] {
        for shell in ["zsh", "bash", "fish"] {
            let ran = device.hx(&["import", "--shell", shell, "--file", file]);
            assert_eq!(ran.code, 1, "{file}: {ran:?}");
        }
    }
}
