//! A clone of the database over the same bucket: staging, restored from a dump of production.
//!
//! What must hold: what the runs of one database need stays, whatever the other one undoes or removes; it is said, and the code is not 0; once
//! it is needed no more, the same command takes it away.

use std::fs;
use std::path::Path;

use testkit::readur::Snapshot;

use crate::world::{BUCKET, Ended, Moment, Site};

/// Production, and a staging with the same documents and files that works over production's bucket.
fn two(documents: usize) -> (Site, Site) {
    let production = Site::new(documents);
    let mut staging = Site::new(documents);
    staging.through(production.s3.endpoint());
    (production, staging)
}

fn latest(site: &Site) -> String {
    let latest = site.state().join("migration_state_LATEST.json");
    latest.display().to_string()
}

fn delete_sources(site: &Site, code: i32) -> Ended {
    let latest = latest(site);
    let arguments = [
        "--delete-source",
        "--state-file",
        &latest,
        "--older-than",
        "0s",
    ];
    site.run(&arguments).assert_code(code)
}

fn documents(site: &Site) -> Snapshot {
    let all = Snapshot::bucket(site.s3.root(), BUCKET);
    all.without(|name| name.starts_with(".syncline/"))
}

/// Both are as they were, and so is the bucket.
fn assert_restored(site: &Site, before: &Moment) {
    let mut after = site.moment();
    after.bucket = documents(site);
    before.assert_same(&after, "at the end");
}

#[test]
fn what_production_took_over_from_staging_outlives_stagings_rollback() {
    let (production, staging) = two(8);
    let before = production.moment();
    staging.run(&["--batch-size", "3"]).assert_code(0);
    let run = staging.journals().remove(0);
    let run = run.file_stem().expect("a name").to_string_lossy();
    let run = run.trim_start_matches("migration_state_").to_owned();
    production
        .run(&["--batch-size", "3"])
        .assert_code(0)
        .assert_says(&[&run, "objects may serve both databases"]);
    delete_sources(&production, 0);
    staging.run(&["--rollback"]).assert_code(3).assert_says(&[
        "object kept",
        "needs it and is not undone",
        "Next:",
        "--rollback",
    ]);
    assert_eq!(staging.switched(), 0, "the rows are back all the same");
    staging
        .run(&["--status"])
        .assert_code(0)
        .assert_says(&["partly rolled back"]);
    staging
        .run(&[])
        .assert_code(15)
        .assert_says(&["is rolled back, wholly or in part", "--rollback"]);
    production.run(&["--verify-state", "--full"]).assert_code(0);
    production.run(&["--rollback"]).assert_code(0);
    before
        .tree
        .assert_same(&production.moment().tree, "the files are back");
    assert!(documents(&production).names().next().is_some());
    staging.run(&["--rollback"]).assert_code(0);
    assert_restored(&production, &before);
}

#[test]
fn who_forces_the_run_of_another_database_back_takes_no_object_of_that() {
    let (production, staging) = two(5);
    production.run(&[]).assert_code(0);
    staging.run(&[]).assert_code(0);
    let journal = production.journals().remove(0).display().to_string();
    staging
        .run(&["--rollback", &journal])
        .assert_code(15)
        .assert_says(&["was over the database"]);
    // A clone has the files where its database says; elsewhere no file is believed that only a journal names.
    let uploads = production.fleet.uploads.display().to_string();
    let forced = ["--force-rollback", "--state-file", &journal];
    staging
        .run(&[&forced[..], &["--upload-path", &uploads]].concat())
        .assert_code(3)
        .assert_says(&["stays in", "--same-database"]);
    let objects = documents(&production);
    assert!(objects.names().count() > 5);
    // The journal says now that the rows are back; those of production are not, and come back, for their files are there.
    production
        .run(&["--rollback", &journal])
        .assert_code(3)
        .assert_says(&["object kept"]);
    documents(&production).assert_same(&objects, "the objects");
    assert_eq!(production.switched(), 0);
}

#[test]
fn a_run_of_the_clone_that_has_only_stored_is_asked_too() {
    let (production, staging) = two(8);
    staging.run(&[]).assert_code(0);
    let cut_off = |step: usize| {
        let mut command = production.command(&["--fresh-start", "--batch-size", "2"]);
        command.env("MIGRATE_CRASH_AT", step.to_string());
        assert_eq!(Ended::of(command, &[]).code, None);
        production.switched()
    };
    let n = (10..).map(cut_off).find(|n| *n > 0);
    assert!(n.is_some_and(|n| n < 8), "{n:?}");
    staging.run(&["--rollback"]).assert_code(3);
    production
        .run(&["--verify-state", "--full"])
        .assert_says(&[" 0 missing"]);
    production.run(&["--fresh-start"]).assert_code(0);
}

#[test]
fn a_journal_of_this_machine_is_asked_though_the_bucket_has_no_copy_of_it() {
    let (production, staging) = two(5);
    let shared = production.state().display().to_string();
    staging.run(&["--state-dir", &shared]).assert_code(0);
    let journal = production.journals().remove(0).display().to_string();
    production.run(&[]).assert_code(0);
    fs::remove_dir_all(production.s3.root().join(BUCKET).join(".syncline")).expect("removes");
    let arguments = ["--rollback", &journal, "--state-dir", &shared];
    staging.run(&arguments).assert_code(3);
    production.run(&["--verify-state"]).assert_code(0);
}

#[test]
fn what_the_clone_brought_home_stays_in_the_bucket_for_production() {
    let (production, staging) = two(5);
    production.run(&[]).assert_code(0);
    staging.run(&[]).assert_code(0);
    staging.run(&["--direction", "s3-to-local"]).assert_code(0);
    delete_sources(&staging, 3).assert_says(&["the source was kept", "is not undone"]);
    production.run(&["--verify-state", "--full"]).assert_code(0);
    production.run(&["--rollback"]).assert_code(3);
}

#[test]
fn a_run_whose_journal_is_not_here_is_one_of_this_database_once_it_is_fetched() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let first = site.journals().remove(0).with_extension("json");
    fs::remove_dir_all(site.state()).expect("the state directory goes");
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    let fetch = format!(
        "--verify-state --state-file {} --same-database",
        first.display()
    );
    delete_sources(&site, 3).assert_says(&["did not begin in this state directory", &fetch]);
    let first = first.display().to_string();
    site.run(&["--verify-state", "--state-file", &first])
        .assert_says(&["taking the copy from the bucket"]);
    // By that alone nobody knows whose it is.
    delete_sources(&site, 3).assert_says(&["did not begin in this state directory", &fetch]);
    site.run(&["--verify-state", "--state-file", &first, "--same-database"])
        .assert_says(&["Noted"]);
    let last = site
        .journals()
        .pop()
        .expect("a journal")
        .display()
        .to_string();
    site.run(&[
        "--delete-source",
        "--state-file",
        &last,
        "--older-than",
        "0s",
    ])
    .assert_code(0);
    assert_eq!(
        documents(&site)
            .names()
            .filter(|it| it.contains('.'))
            .count(),
        0
    );
    site.run(&["--rollback", &last]).assert_code(0);
    site.run(&["--rollback", &first]).assert_code(0);
    assert_restored(&site, &before);
}

#[test]
fn a_copy_that_cannot_be_read_keeps_every_object_and_no_row() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let stray = |run: &str, piece: &str, bytes: &[u8]| {
        let folder = copies.join(run);
        fs::create_dir_all(&folder).expect("makes a folder");
        fs::write(folder.join(piece), bytes).expect("writes");
        folder
    };
    let first = "0000000000000000";
    let strays: Vec<_> = [
        stray("20200101_000000", first, b"no journal\n"),
        stray(
            "20200101_000001",
            "0000000000000400",
            b"its beginning is gone\n",
        ),
    ]
    .into();
    site.run(&["--verify-state"]).assert_code(0);
    site.run(&["--rollback"]).assert_code(3).assert_says(&[
        "object kept",
        "nobody can say",
        "20200101_000000",
    ]);
    assert_eq!(site.switched(), 0);
    fs::remove_dir_all(&strays[0]).expect("removes");
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["20200101_000001"]);
    fs::remove_dir_all(&strays[1]).expect("removes");
    site.run(&["--rollback"]).assert_code(0);
    assert_restored(&site, &before);
}

#[test]
fn a_journal_that_cannot_be_read_explains_no_row_and_hides_none() {
    let site = Site::new(4);
    site.run(&["--limit", "2"]).assert_code(0);
    fs::remove_dir_all(site.state()).expect("the state directory goes");
    site.run(&[]).assert_code(0);
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let mut runs: Vec<_> = fs::read_dir(copies)
        .expect("lists")
        .map(|run| run.expect("a run").path())
        .collect();
    runs.sort();
    damage(&runs[0]);
    let verified = site.run(&["--verify-state", "--json"]).assert_code(3);
    assert!(
        verified.err.contains("explains no row"),
        "{}",
        verified.all()
    );
    let left = verified.json()["exceptions"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(left, 2, "{}", verified.all());
}

/// Makes one byte in the middle of the first piece of a copy another one.
fn damage(copy: &Path) {
    let mut pieces: Vec<_> = fs::read_dir(copy)
        .expect("lists")
        .map(|piece| piece.expect("a piece").path())
        .collect();
    pieces.sort();
    let mut bytes = fs::read(&pieces[0]).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pieces[0], bytes).expect("writes");
}

#[test]
fn who_forces_a_run_back_that_went_on_elsewhere_takes_no_object() {
    let production = Site::new(5);
    production.run(&[]).assert_code(0);
    // The whole machine is copied; then the one it was made of goes on.
    let (state, kept) = (production.state(), production.folder().join("copied"));
    let copy = std::process::Command::new("cp")
        .arg("-a")
        .args([&state, &kept])
        .status();
    assert!(copy.expect("cp runs").success());
    delete_sources(&production, 0);
    let objects = documents(&production);
    // The copy has it all under the same names.
    fs::rename(&state, production.folder().join("of-the-other")).expect("moves");
    fs::rename(&kept, &state).expect("moves");
    production
        .run(&["--rollback"])
        .assert_code(16)
        .assert_says(&["goes on where the journal ends"]);
    let run = latest(&production);
    // Of the files there is no copy here.
    production
        .run(&["--force-rollback", "--state-file", &run, "--files-gone"])
        .assert_code(3)
        .assert_says(&["stays in", "somebody else may be at work with the run"]);
    documents(&production).assert_same(&objects, "the objects");
    assert_eq!(production.switched(), 0, "rows and files are back here");
    // Nor is it forgotten by the next time.
    production.run(&["--rollback"]).assert_code(3);
    documents(&production).assert_same(&objects, "the objects");
}
