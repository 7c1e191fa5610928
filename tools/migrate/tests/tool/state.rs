//! State files: found, resumed, kept, rebuilt, never overwritten.

use std::fs;

use crate::world::{Ended, Site};

/// Leaves a run that ended half-way, as by a power cut.
fn interrupt(site: &Site) {
    let arguments = ["--batch-size", "3"];
    let mut command = site.command(&arguments);
    command.env("MIGRATE_CRASH_AT", "20");
    assert_eq!(
        Ended::of(command, &arguments).code,
        None,
        "the process is cut off"
    );
}

fn named(site: &Site, name: &str) -> String {
    site.state().join(name).display().to_string()
}

#[test]
fn an_unfinished_run_is_offered_and_never_passed_over() {
    let site = Site::new(20);
    interrupt(&site);
    site.run(&[])
        .assert_code(2)
        .assert_says(&["--resume", "--fresh-start"]);
    let before = site.switched();
    assert!(before < 20, "the run was cut off before its end");
    site.run(&["--resume"])
        .assert_code(0)
        .assert_says(&["Going on"]);
    assert_eq!(site.switched(), 20);
    assert_eq!(site.journals().len(), 1, "it is the same run");
}

#[test]
fn the_guides_lines_resume_by_every_name() {
    for name in [
        "migration_state_LATEST.json",
        "migration_state_backup.json",
        "own",
    ] {
        let site = Site::new(20);
        interrupt(&site);
        let file = match name {
            "own" => site.journals()[0]
                .with_extension("json")
                .display()
                .to_string(),
            name => named(&site, name),
        };
        site.run(&["--resume-from", &file]).assert_code(0);
        assert_eq!(site.switched(), 20, "{name}");
        assert_eq!(site.journals().len(), 1, "{name}");
    }
}

#[test]
fn the_guides_lines_with_enable_rollback_go_on() {
    let site = Site::new(20);
    interrupt(&site);
    site.run(&["--enable-rollback", "--batch-size", "500"])
        .assert_code(0)
        .assert_says(&["Going on"]);
    assert_eq!(site.switched(), 20);
}

#[test]
fn a_fresh_start_keeps_the_old_journal_and_both_can_be_undone() {
    let site = Site::new(20);
    let before = site.moment();
    interrupt(&site);
    let old = site.journals();
    let kept = fs::read(&old[0]).expect("reads");
    site.run(&["--enable-rollback", "--fresh-start"])
        .assert_code(0)
        .assert_says(&["is kept"]);
    assert_eq!(site.journals().len(), 2);
    assert_eq!(
        fs::read(&old[0]).expect("reads"),
        kept,
        "not a byte of it is changed"
    );
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["is not undone"]);
    site.run(&["--rollback", &old[0].display().to_string()])
        .assert_code(0);
    before.assert_same(&site.moment(), "after both rollbacks");
}

#[test]
fn the_guides_clean_up_loses_nothing() {
    let site = Site::new(20);
    let before = site.moment();
    interrupt(&site);
    site.state_files("json")
        .iter()
        .for_each(|path| fs::remove_file(path).expect("removes"));
    site.run(&["--status"])
        .assert_code(0)
        .assert_says(&["stopped before its end"]);
    site.run(&[
        "--resume-from",
        &named(&site, "migration_state_LATEST.json"),
    ])
    .assert_code(0);
    assert_eq!(site.switched(), 20);
    site.state_files("json")
        .iter()
        .for_each(|path| fs::remove_file(path).expect("removes"));
    site.run(&[
        "--force-rollback",
        "--state-file",
        &named(&site, "migration_state_backup.json"),
    ])
    .assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_run_with_nothing_to_do_takes_nobodys_place() {
    let site = Site::new(8);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let latest = fs::read(named(&site, "migration_state_LATEST.json")).expect("reads");
    site.run(&[])
        .assert_code(0)
        .assert_says(&["Nothing to migrate"]);
    assert_eq!(
        fs::read(named(&site, "migration_state_LATEST.json")).expect("reads"),
        latest
    );
    site.run(&["--rollback", &named(&site, "migration_state_LATEST.json")])
        .assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_run_is_named_without_its_directory_too() {
    let site = Site::new(4);
    site.run(&["--limit", "2"]).assert_code(0);
    site.run(&[]).assert_code(0);
    let runs = site.run(&["--status", "--json"]).json();
    let run = |n: usize| runs["runs"][n]["run"].as_str().expect("a name").to_owned();
    let (newest, first) = (run(0), run(1));
    for (name, meant) in [
        ("LATEST", &newest),
        ("latest", &newest),
        ("migration_state_LATEST.json", &newest),
        (&newest, &newest),
        (&first, &first),
        (&format!("migration_state_{first}.json"), &first),
        (&format!("migration_state_{first}.journal"), &first),
    ] {
        site.run(&["--verify-state", "--state-file", name])
            .assert_code(0)
            .assert_says(&[meant]);
    }
    site.run(&["--verify-state", "--state-file", "backup"])
        .assert_code(0);
    fs::remove_dir_all(site.state()).expect("removes");
    site.run(&["--rollback", &newest])
        .assert_code(3)
        .assert_says(&["from the bucket", "--same-database"]);
    assert_eq!(site.switched(), 2);
}

#[test]
fn a_name_that_leads_nowhere_is_said() {
    let site = Site::new(3);
    site.run(&[]).assert_code(0);
    site.run(&[
        "--resume-from",
        &named(&site, "migration_state_20200101_000000.json"),
    ])
    .assert_code(10)
    .assert_says(&["leads to no journal", "there is", "hint:"]);
    site.run(&["--force-rollback", "--state-file", &site.latest()])
        .assert_code(0);
}

#[test]
fn a_run_over_another_database_is_refused() {
    let site = Site::new(3);
    let other = Site::new(3);
    site.run(&[]).assert_code(0);
    let file = named(&site, "migration_state_LATEST.json");
    other
        .run(&["--rollback", &file])
        .assert_code(15)
        .assert_says(&["was over the database"]);
    assert_eq!(site.switched(), 3);
}

#[test]
fn a_state_file_by_itself_begins_nothing() {
    let site = Site::new(3);
    let before = site.moment();
    site.run(&["--state-file", "migration_state_20261127_000000.json"])
        .assert_code(2);
    before.assert_same(&site.moment(), "nothing was asked for");
}
