//! `--verify-state` that could not look at everything: it says so, and never that all agrees.

use std::process::{Command, Stdio};

use testkit::{Action, Gate, Rule};

use crate::failures::{behind_a_proxy, until};
use crate::world::Ended;

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
