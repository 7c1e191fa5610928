//! `hx crypto`, `init`, `completions`, the manual page, the profile, and the command line as a whole.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::device::Device;

#[test]
fn the_cryptography_checks_itself() {
    let device = Device::new();
    let ran = device.hx(&["crypto", "test"]).succeeds();
    assert!(
        ran.out.contains("pass  Argon2id (RFC 9106, 5.3)")
            && ran.out.ends_with(", 0 failed\n")
            && !ran.out.contains("FAIL"),
        "{ran:?}"
    );
    assert_eq!(
        device.hx(&["crypto", "test", "--json"]).succeeds().json()["passed"],
        true
    );
    device.hx(&["crypto"]).misused("test");
    assert_eq!(device.entries(), [""; 0]);
}

#[test]
fn the_lines_for_a_shell_are_printed() {
    let device = Device::new();
    let zsh = device.hx(&["init", "zsh"]).succeeds().out;
    assert!(zsh.contains("alias hx='noglob hx'"), "{zsh}");
    for shell in ["bash", "fish"] {
        let lines = device.hx(&["init", shell]).succeeds().out;
        assert!(
            lines.contains(&format!("hx completions {shell}")) && !lines.contains("alias"),
            "{lines}"
        );
    }
    device
        .hx(&["init", "tcsh"])
        .misused("possible values: zsh, bash, fish");
}

#[test]
fn bash_accepts_its_lines_and_its_completions() {
    let device = Device::new();
    for args in [&["init", "bash"][..], &["completions", "bash"]] {
        let file = device.write("lines.bash", device.hx(args).succeeds().out);
        let checked = Command::new("bash")
            .args(["-n", &file])
            .output()
            .expect("bash, which every machine that builds this has");
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{args:?}: {checked:?}"
        );
    }
}

#[test]
fn completions_and_the_manual_name_the_commands() {
    let device = Device::new();
    for shell in ["zsh", "bash", "fish"] {
        let script = device.hx(&["completions", shell]).succeeds().out;
        assert!(
            script.contains("import") && script.contains("dry-run"),
            "{shell}"
        );
    }
    device
        .hx(&["completions", "powershell"])
        .misused("possible values: zsh, bash, fish");
    let help = device.hx(&["--help"]).succeeds().out;
    assert!(help.contains("  man "), "{help}");
    let page = device.hx(&["man"]).succeeds().out;
    assert!(
        page.contains(".TH hx 1") && page.contains("import"),
        "{page}"
    );
}

#[test]
fn a_profile_is_written_and_said() {
    let mut device = Device::with_history();
    device.set("HX_PROFILE", "cpu");
    let ran = device.hx(&["find", "git"]).succeeds();
    assert!(ran.out.ends_with("git status\n"), "{ran:?}");
    let path = ran
        .err
        .trim()
        .strip_prefix("wrote a flame graph to ")
        .expect("it says where");
    assert!(
        path.contains("/run/cpu-")
            && std::fs::read_to_string(path)
                .expect("the file")
                .contains("<svg"),
        "{ran:?}"
    );
}

#[test]
fn a_failure_with_a_profile_is_the_same_failure() {
    let mut device = Device::with_history();
    device.set("HX_PROFILE", "cpu");
    assert_eq!(device.hx(&["find", "nothing"]).code, 1);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let device = Device::new();
    let lines: String = (0..20_000)
        .map(|n| format!(": {}:0;echo number {n}\n", 1_700_000_000 + n))
        .collect();
    device.write(".zsh_history", lines);
    device.hx(&["import"]).succeeds();
    // What was to be kept is not whole.
    for (args, code) in [
        (&["find", "--limit", "20000"][..], 0),
        (&["export", "--file", "-"], 3),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hx"))
            .env_clear()
            .env("HOME", device.path(""))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut first = [0; 10];
        child
            .stdout
            .take()
            .expect("a pipe")
            .read_exact(&mut first)
            .expect("some output");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("error"),
            "{args:?}: {output:?}"
        );
    }
}

#[test]
fn wrong_commands_are_refused_and_help_names_the_exit_codes() {
    let device = Device::new();
    device.hx(&["improt"]).misused("import");
    device.hx(&[]).misused("Usage");
    let help = device.hx(&["--help"]).succeeds().out;
    assert!(
        help.contains("Exit codes:") && help.contains("130  interrupted"),
        "{help}"
    );
    assert!(device.hx(&["--version"]).succeeds().out.starts_with("hx "));
}
