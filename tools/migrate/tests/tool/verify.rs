//! `--verify-state` that could not look at everything: it says so, and never that all agrees.

use std::fs;
use std::process::{Command, Stdio};

use testkit::{Action, Gate, Rule};

use crate::failures::{behind_a_proxy, until};
use crate::world::{BUCKET, Ended, Site};

#[test]
fn one_that_is_stopped_does_not_say_that_all_agrees() {
    for signal in ["-INT", "-TERM"] {
        let (site, proxy) = behind_a_proxy(40);
        site.run(&[]).assert_code(0);
        let gate = Gate::closed();
        // One goes through: the proxy tells of those that are answered.
        let rule = Rule::new(Action::Hold(gate.clone())).skip(1);
        proxy.add(rule.method("GET").target("/documents/"));
        let report = site.folder().join("report.json").display().to_string();
        let arguments = ["--verify-state", "--full", "--batch-size", "2"];
        let arguments = [&arguments[..], &["--report", &report]].concat();
        let words = site.folder().join("words.log");
        let file = std::fs::File::create(&words).expect("makes a file");
        let mut command = site.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(file).spawn();
        let child = child.expect("the program starts");
        until("an object that is being read", || {
            let requests = proxy.requests();
            let mut read = requests.iter().filter(|seen| seen.method == "GET");
            read.any(|seen| seen.target.contains("/documents/"))
        });
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        until("an answer to the signal", || {
            let said = std::fs::read_to_string(&words).expect("reads");
            said.contains("Stopping")
        });
        gate.open();
        let output = child.wait_with_output().expect("the program ends");
        let ended = Ended::from(output, &arguments)
            .assert_code(130)
            .assert_says(&[
                "only what is counted above was looked at",
                "Next: migrate_to_s3 --verify-state",
            ]);
        assert!(!ended.all().contains("agree"), "{}", ended.all());
        let report = std::fs::read(&report).expect("reads");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
        assert_eq!(report["objects"]["ended"], "stopped", "{report:#}");
        let checked = report["objects"]["checked"].as_u64().expect("a number");
        assert!((1..40).contains(&checked), "{report:#}");
        proxy.clear();
        site.run(&["--verify-state"]).assert_code(0);
    }
}

#[test]
fn all_of_the_copy_of_the_journal_is_compared_by_full_only() {
    let site = Site::new(9);
    site.run(&["--batch-size", "2"]).assert_code(0);
    let full = ["--verify-state", "--full"];
    let json = ["--verify-state", "--full", "--json"];
    site.run(&full)
        .assert_code(0)
        .assert_says(&["copy of the journal in the bucket: equal ("]);
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let run = fs::read_dir(copies).expect("lists").next().expect("a run");
    let run = run.expect("a run").path();
    let pieces = fs::read_dir(&run).expect("lists");
    let mut pieces: Vec<_> = pieces.map(|it| it.expect("a piece").path()).collect();
    pieces.sort();
    let middle = &pieces[pieces.len() / 2];
    let whole = fs::read(middle).expect("reads");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(middle, damaged).expect("writes");
    site.run(&["--verify-state"]).assert_code(0);
    let ended = site.run(&full).assert_code(3);
    let ended = ended.assert_says(&["differs:", "once everything below .syncline/migrations/"]);
    assert!(!ended.all().contains("agree."), "{}", ended.all());
    fs::remove_file(middle).expect("removes");
    let report = site.run(&json).assert_code(3).json();
    assert_eq!(report["copy"]["state"], "differs", "{report:#}");
    fs::write(middle, whole).expect("writes");
    site.run(&full).assert_code(0);
    let last = pieces.last().expect("a piece");
    let end = fs::read(last).expect("reads");
    fs::remove_file(last).expect("removes");
    let report = site.run(&json).assert_code(0).json();
    assert_eq!(report["copy"]["state"], "behind", "{report:#}");
    fs::write(last, end).expect("writes");
    // As it is said: what is gone is made anew.
    fs::remove_dir_all(&run).expect("removes");
    let report = site.run(&json).assert_code(3).json();
    assert_eq!(report["copy"]["state"], "missing", "{report:#}");
    let file = site.journals()[0].display().to_string();
    site.run(&[
        "--delete-source",
        "--state-file",
        &file,
        "--older-than",
        "0s",
    ])
    .assert_code(0);
    site.run(&full).assert_code(0);
}

#[test]
fn a_look_that_was_left_out_is_said() {
    let (site, proxy) = behind_a_proxy(5);
    site.run(&[]).assert_code(0);
    let gate = Gate::closed();
    let rule = Rule::new(Action::Hold(gate.clone())).times(1);
    proxy.add(rule.method("GET").target("/documents/"));
    let file = site.journals()[0].display().to_string();
    let removal = [
        "--delete-source",
        "--state-file",
        &file,
        "--older-than",
        "0s",
    ];
    // It holds the lock while it reads an object back.
    let child = site.command(&removal).stdout(Stdio::null()).spawn();
    let mut child = child.expect("the program starts");
    until("the removal is at it", || !proxy.is_idle());
    let ended = site.run(&["--verify-state", "--json"]).assert_code(3);
    gate.open();
    assert!(child.wait().expect("it ends").success());
    assert!(
        ended.err.contains("another process is at it"),
        "{}",
        ended.all()
    );
    let report = ended.json();
    assert_eq!(report["leftover"], "skipped", "{report:#}");
    assert_eq!(report["exceptions"].as_array().map(Vec::len), Some(0));
}
