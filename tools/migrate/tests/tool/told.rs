//! What a person is told of runs that were cut off, gave up, or are not alone in their directory.
//!
//! What must hold: the numbers are those of journal and rows; a command that would split the documents over two buckets, or take another database's run,
//! is not begun.

use std::fs;

use serde_json::Value;
use testkit::Rule;

use crate::failures::behind_a_proxy;
use crate::world::{BUCKET, Ended, Site};

/// Runs the program until its step `step`; tells whether it got that far.
fn cut_off(site: &Site, arguments: &[&str], step: u32) -> bool {
    let mut command = site.command(arguments);
    command.env("MIGRATE_CRASH_AT", step.to_string());
    Ended::of(command, arguments).code.is_none()
}

/// Cuts migrations off at later and later steps until one has switched rows, of which its journal does not know that it did.
fn cut_off_while_switching(site: &Site, documents: usize) {
    for step in 1.. {
        assert!(cut_off(site, &["--fresh-start"], step), "step {step}");
        let journal = site.journals().pop().expect("a journal");
        let text = fs::read_to_string(journal).expect("reads");
        if site.switched() == documents && !text.contains("{\"committed\"") {
            return;
        }
        site.run(&["--rollback"]).assert_code(0);
    }
}

fn newest(site: &Site, what: &str) -> Value {
    let status = site.run(&[what, "--json"]).assert_code(0).json();
    status["runs"][0]["counts"].clone()
}

#[test]
fn the_numbers_of_a_run_that_was_killed_are_those_of_the_rows() {
    let site = Site::new(3);
    cut_off_while_switching(&site, 3);
    for what in ["--status", "--rollback-status"] {
        assert_eq!(newest(&site, what)["committed"], 3, "{what}");
    }
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["Rolled back 3 documents"]);
    let counts = newest(&site, "--status");
    assert_eq!(
        (&counts["committed"], &counts["reverted"]),
        (&0.into(), &3.into())
    );
}

#[test]
fn what_was_only_planned_does_not_count_as_undone() {
    let site = Site::new(3);
    let mut step = 1;
    while site.journals().is_empty() || !has(&site, "{\"planned\"") {
        assert!(cut_off(&site, &["--fresh-start"], step), "step {step}");
        step += 1;
    }
    assert_eq!(site.switched(), 0);
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["Rolled back 0 documents"]);
    assert_eq!(newest(&site, "--status")["reverted"], 0);
}

fn has(site: &Site, words: &str) -> bool {
    let journal = site.journals().pop().expect("a journal");
    fs::read_to_string(journal).expect("reads").contains(words)
}

#[test]
fn an_unfinished_run_is_not_passed_over_for_another_bucket() {
    let site = Site::new(4);
    fs::create_dir(site.s3.root().join("other")).expect("makes");
    cut_off_while_switching(&site, 4);
    let before = site.moment();
    let journals = site.journals();
    let run = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("S3_BUCKET_NAME", "other");
        Ended::of(command, arguments)
    };
    for arguments in [&["--resume"][..], &["--enable-rollback"], &[]] {
        run(arguments).assert_code(15).assert_says(&[
            "did not come to its end",
            BUCKET,
            "other",
            "--fresh-start",
        ]);
        assert_eq!(site.journals(), journals);
        before.assert_same(&site.moment(), "nothing is done");
    }
    let other = site.s3.root().join("other");
    assert_eq!(fs::read_dir(&other).expect("lists").count(), 0);
    run(&["--fresh-start"]).assert_code(3);
    site.run(&["--rollback"]).assert_code(0);
}

#[test]
fn a_run_that_gave_up_and_was_undone_says_which_files_failed_and_why() {
    let (site, proxy) = behind_a_proxy(6);
    let refused = &site.fleet.documents[2].id;
    let rule = Rule::s3_error(500, "InternalError", "We encountered an internal error");
    proxy.add(rule.target(&format!("/{refused}.")));
    let give_up = ["--enable-rollback", "--max-failures", "0"];
    let ended = site
        .run(&[&give_up[..], &["--max-retries", "0", "--json"]].concat())
        .assert_code(3)
        .assert_says(&["too many", "is rolled back, as --enable-rollback asks"]);
    assert_eq!(site.switched(), 0);
    let report = ended.json();
    let names_it = |list: &Value| {
        let list = list.as_array().expect("a list");
        list.iter().any(|it| {
            it["kind"] == "refused" && it["item"].as_str().is_some_and(|id| id.contains(refused))
        })
    };
    assert!(names_it(&report["exceptions"]), "{report:#}");
    // It is kept for who asks later.
    let status = site.run(&["--status", "--json"]).json();
    assert!(names_it(&status["runs"][0]["exceptions"]), "{status:#}");
}

/// Two databases with one state directory and one bucket each.
fn neighbours() -> (Site, Site, String) {
    let (one, other) = (Site::new(3), Site::new(3));
    let shared = one.state().display().to_string();
    (one, other, shared)
}

#[test]
fn of_two_databases_in_one_state_directory_each_takes_its_own_newest_run() {
    let (one, other, shared) = neighbours();
    let before = one.moment();
    one.run(&[]).assert_code(0);
    other.run(&["--state-dir", &shared]).assert_code(0);
    one.run(&["--verify-state"]).assert_code(0);
    one.run(&["--rollback"]).assert_code(0);
    before.assert_same(&one.moment(), "its own run is undone");
    assert_eq!(other.switched(), 3);
    other
        .run(&["--rollback", "--state-dir", &shared])
        .assert_code(0);
    assert_eq!(other.switched(), 0);
}
