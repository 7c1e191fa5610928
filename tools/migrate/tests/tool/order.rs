//! Several runs over one database, one upon another.
//!
//! What must hold: whatever was stopped, begun anew and undone, rolling all runs back, the newest first, ends with 0 each time and leaves
//! everything as it was.

use std::path::PathBuf;

use testkit::{Rule, ScriptedProxy};

use crate::failures::behind_a_proxy;
use crate::world::{Ended, Moment, Site};

/// Small batches, so that a run can stop between two.
const RUN: [&str; 4] = ["--batch-size", "2", "--parallel-uploads", "2"];
const BACK: [&str; 3] = ["--direction", "s3-to-local", "--fresh-start"];

/// A site where a migration stopped half way, and what it had moved was moved back by a later run.
fn moved_back() -> (Site, Moment, Vec<PathBuf>) {
    let site = Site::new(6);
    let before = site.moment();
    for step in (20..).step_by(4) {
        let mut command = site.command(&RUN);
        command.env("MIGRATE_CRASH_AT", step.to_string());
        let ended = Ended::of(command, &RUN);
        assert_eq!(ended.code, None, "{}", ended.all());
        if site.switched() > 0 {
            break;
        }
        site.run(&["--rollback"]).assert_code(0);
    }
    assert!((1..6).contains(&site.switched()), "it stopped half way");
    site.run(&BACK).assert_code(0);
    assert_eq!(site.switched(), 0);
    let journals = site.journals();
    (site, before, journals)
}

fn roll_all_back(site: &Site, before: &Moment) {
    for journal in site.journals().into_iter().rev() {
        let journal = journal.display().to_string();
        site.run(&["--rollback", &journal]).assert_code(0);
    }
    let mut after = site.moment();
    // This server cannot list uploads, so nobody finds the one of a probe that was cut off.
    after.bucket = after
        .bucket
        .without(|name| name.starts_with("(unfinished)"));
    before.assert_same(&after, "rolled back");
}

#[test]
fn a_run_does_not_go_on_above_a_later_one() {
    for arguments in [&[][..], &["--resume"], &["--enable-rollback"]] {
        let (site, before, journals) = moved_back();
        let stopped = journals[journals.len() - 2].display().to_string();
        site.run(&["--resume-from", &stopped])
            .assert_code(15)
            .assert_says(&["has moved rows since", "--fresh-start", "--rollback"]);
        assert_eq!(site.switched(), 0);
        site.run(arguments).assert_code(0).assert_says(&[
            "is left so",
            "has moved rows since",
            &stopped,
        ]);
        assert_eq!(site.switched(), 6);
        assert_eq!(site.journals().len(), journals.len() + 1, "a new run began");
        roll_all_back(&site, &before);
    }
}

#[test]
fn a_run_goes_on_when_the_later_one_is_undone() {
    let (site, before, journals) = moved_back();
    site.run(&["--rollback"]).assert_code(0);
    site.run(&["--resume"])
        .assert_code(0)
        .assert_says(&["Going on with the run"]);
    assert_eq!(site.switched(), 6);
    assert_eq!(site.journals(), journals);
    roll_all_back(&site, &before);
}

#[test]
fn a_run_that_took_nothing_on_leaves_nothing_wherever_it_fails() {
    let (site, proxy) = behind_a_proxy(2);
    site.run(&[]).assert_code(0);
    let journals = site.journals();
    let fails = |skip: usize, proxy: &ScriptedProxy| {
        let denied = Rule::s3_error(403, "AccessDenied", "Access Denied");
        proxy.add(denied.method("GET").skip(skip).times(10_000));
        let ended = site.run(&[]);
        proxy.clear();
        assert_eq!(site.journals(), journals, "after {skip}: {}", ended.all());
        ended.code != Some(0)
    };
    let failed = (0..).take_while(|skip| fails(*skip, &proxy)).count();
    assert!(failed > 1, "more is asked than whether the store is there");
}

#[test]
fn what_a_rollback_was_cut_off_at_is_no_leftover_of_a_later_run() {
    let site = Site::new(4);
    let before = site.moment();
    let mut n_later = 0;
    for step in 1.. {
        site.run(&RUN).assert_code(0);
        let first = site.journals();
        let mut command = site.command(&["--rollback", "--batch-size", "2"]);
        command.env("MIGRATE_CRASH_AT", step.to_string());
        if Ended::of(command, &["--rollback"]).code.is_some() {
            break;
        }
        site.run(&["--fresh-start"]).assert_code(0);
        if site.journals() != first {
            n_later += 1;
            let later = site.journals().pop().expect("a journal");
            site.run(&["--rollback", &later.display().to_string()])
                .assert_code(0);
        }
        let first = first.last().expect("a journal").display().to_string();
        site.run(&["--rollback", &first]).assert_code(0);
        before.assert_same(&site.moment(), &format!("from step {step}"));
    }
    assert!(n_later > 2, "{n_later} later runs");
}

#[test]
fn an_older_run_is_not_undone_below_one_that_moved_the_same_rows() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    site.run(&BACK).assert_code(0);
    let home = site.moment();
    let [older, later] = &site.journals()[..] else {
        panic!("two journals");
    };
    let summary = |journal: &PathBuf| journal.with_extension("json").display().to_string();
    let (older, later) = (summary(older), summary(later));
    let refused = |arguments: &[&str]| {
        site.run(arguments).assert_code(15).assert_says(&[
            "has moved the same rows since",
            &format!("migrate_to_s3 --rollback {later}"),
            &format!("migrate_to_s3 --rollback {older}"),
        ]);
        home.assert_same(&site.moment(), "nothing was touched");
    };
    refused(&["--rollback", &older]);
    // Of a run whose files are gone here the bucket tells.
    for file in site.state_files("json").into_iter().chain(site.journals()) {
        let is_later = file
            .display()
            .to_string()
            .contains(later.trim_end_matches(".json"));
        if is_later {
            std::fs::remove_file(file).expect("removes");
        }
    }
    refused(&["--rollback", &older]);
    // That journal comes from the bucket, on whose word alone nothing is removed.
    site.run(&["--rollback", &later, "--same-database"])
        .assert_code(0);
    assert_eq!(site.switched(), 4);
    site.run(&["--rollback", &older]).assert_code(0);
    before.assert_same(&site.moment(), "after both");
}

#[test]
fn who_forces_it_undoes_the_older_run_all_the_same() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    site.run(&BACK).assert_code(0);
    let older = site.journals()[0].display().to_string();
    site.run(&["--force-rollback", "--state-file", &older])
        .assert_says(&["has moved the same rows since", "as --force-rollback asks"]);
    assert_eq!(site.switched(), 0);
}

#[test]
fn runs_of_other_rows_are_undone_in_any_order() {
    let site = Site::new(6);
    let before = site.moment();
    site.run(&["--limit", "3"]).assert_code(0);
    site.run(&[]).assert_code(0);
    for journal in site.journals() {
        site.run(&["--rollback", &journal.display().to_string()])
            .assert_code(0);
    }
    before.assert_same(&site.moment(), "after both");
}
