//! A journal that is not all there: cut off at a line's end, or an older copy of it put back. By itself it looks whole.
//!
//! What must hold: no command ends with 0 while a row is left that the run switched; nothing is thrown away.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::readur::Snapshot;

use crate::world::{BUCKET, Ended, Moment, Site};

/// Keeps the first lines of a journal, as an older backup of it would have them.
fn cut(journal: &Path, percent: usize) {
    let text = fs::read_to_string(journal).expect("reads");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let kept = (lines.len() * percent / 100).max(2);
    fs::write(journal, lines[..kept].concat()).expect("writes");
}

/// A site that was migrated in small batches and whose journal was cut then.
fn cut_site(percent: usize) -> (Site, Moment, PathBuf) {
    let site = Site::new(20);
    let before = site.moment();
    site.run(&["--batch-size", "3"]).assert_code(0);
    let journal = site.journals().remove(0);
    cut(&journal, percent);
    (site, before, journal)
}

fn forget_copies(site: &Site) {
    fs::remove_dir_all(site.s3.root().join(BUCKET).join(".syncline")).expect("removes the copies");
}

#[test]
fn the_longer_copy_of_the_bucket_takes_its_place() {
    for percent in [3, 40, 95] {
        let (site, before, journal) = cut_site(percent);
        let short = fs::read(&journal).expect("reads");
        site.run(&["--verify-state", "--full"])
            .assert_code(0)
            .assert_says(&["older copy", "is kept as", "20 checked, 0 differ"]);
        let aside = journal.with_extension("journal.short-1");
        assert_eq!(fs::read(aside).expect("it is kept"), short, "{percent} %");
        cut(&journal, percent);
        site.run(&["--rollback"])
            .assert_code(0)
            .assert_says(&["older copy", "Rolled back 20 documents"]);
        before.assert_same(&site.moment(), "after the rollback");
    }
}

#[test]
fn a_resume_does_not_go_on_with_an_older_copy() {
    let site = Site::new(20);
    let before = site.moment();
    // How much is stored before the first row is switched is not the same every time.
    while site.switched() == 0 {
        let mut command = site.command(&["--batch-size", "3", "--resume"]);
        command.env("MIGRATE_CRASH_AT", "60");
        assert_eq!(Ended::of(command, &[]).code, None, "it is cut off");
    }
    let journal = site.journals().remove(0);
    cut(&journal, 20);
    // Nothing here says that it was longer, and whoever can write to the bucket can add to the copy.
    let short = fs::read(&journal).expect("reads");
    site.run(&["--resume"])
        .assert_code(16)
        .assert_says(&["goes on where the journal ends", "mv "]);
    assert_eq!(fs::read(&journal).expect("reads"), short);
    // As the hint says.
    fs::rename(&journal, journal.with_extension("journal.kept")).expect("moves");
    let summary = journal.with_extension("json").display().to_string();
    site.run(&["--resume-from", &summary]).assert_code(0);
    assert_eq!(site.switched(), 20);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

/// The rows that a report's exceptions name; one may have several objects.
fn named(report: &serde_json::Value) -> BTreeSet<&str> {
    let exceptions = report["exceptions"].as_array().expect("a list").iter();
    exceptions.filter_map(|it| it["item"].as_str()).collect()
}

#[test]
fn a_tail_that_is_nowhere_is_missed_by_the_summary() {
    let (site, _, journal) = cut_site(40);
    forget_copies(&site);
    for arguments in [&["--verify-state", "--full"][..], &["--rollback"]] {
        site.run(arguments).assert_code(16).assert_says(&[
            "has lost its tail",
            "hint:",
            "--force-rollback",
        ]);
    }
    assert_eq!(site.switched(), 20, "nothing was touched");
    let summary = journal.with_extension("json").display().to_string();
    let report = site
        .run(&["--force-rollback", "--state-file", &summary, "--json"])
        .assert_code(3)
        .json();
    assert!(site.switched() > 0);
    assert_eq!(named(&report).len(), site.switched(), "{report:#}");
}

#[test]
fn with_nothing_else_left_the_rows_tell() {
    let (site, _, _) = cut_site(40);
    forget_copies(&site);
    for path in site.state_files("json") {
        fs::remove_file(path).expect("removes");
    }
    let verified = site
        .run(&["--verify-state", "--json"])
        .assert_code(3)
        .json();
    let kinds = verified["exceptions"].as_array().expect("a list");
    assert!(
        kinds.iter().all(|it| it["kind"] == "still_switched"),
        "{verified:#}"
    );
    let report = site.run(&["--rollback", "--json"]).assert_code(3).json();
    assert!(site.switched() > 0);
    assert_eq!(named(&report).len(), site.switched(), "{report:#}");
}

#[test]
fn what_is_added_to_the_copy_of_a_whole_journal_is_not_believed() {
    let site = Site::new(6);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let journal = site.journals().remove(0);
    let whole = fs::read(&journal).expect("reads");
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let run = fs::read_dir(copies).expect("lists").next().expect("a run");
    let piece = format!("{:016}", whole.len());
    fs::write(run.expect("a run").path().join(piece), b"more lines\n").expect("adds");
    let summary = journal.with_extension("json").display().to_string();
    let delete = ["--delete-source", "--state-file", &summary];
    for arguments in [&["--rollback"][..], &["--verify-state"], &delete] {
        site.run(arguments).assert_code(16).assert_says(&[
            "goes on where the journal ends",
            "hint:",
            "--force-rollback",
        ]);
        assert_eq!(fs::read(&journal).expect("reads"), whole);
        assert_eq!(site.switched(), 6, "nothing was touched");
    }
    // Somebody else may have gone on with the run: rows and files come back, objects wait for a word.
    site.run(&["--force-rollback", "--state-file", &summary])
        .assert_code(3)
        .assert_says(&["stays in", "--same-database"]);
    assert_eq!(site.switched(), 0);
    site.run(&["--rollback", &summary, "--same-database"])
        .assert_code(0);
    let mut after = site.moment();
    after.bucket = after.bucket.without(|name| name.starts_with(".syncline/"));
    before.assert_same(&after, "after the rollback");
}

#[test]
fn two_that_contradict_each_other_are_both_refused() {
    let (site, before, journal) = cut_site(100);
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let run = fs::read_dir(copies).expect("lists").next().expect("a run");
    let mut pieces: Vec<PathBuf> = fs::read_dir(run.expect("a run").path())
        .expect("lists")
        .map(|piece| piece.expect("a piece").path())
        .collect();
    pieces.sort();
    // The first is looked at when the copy is the longer one, the last when it is not.
    for piece in [pieces.first(), pieces.last()] {
        let piece = piece.expect("a piece");
        let mut bytes = fs::read(piece).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(piece, bytes).expect("writes");
    }
    for percent in [100, 30] {
        cut(&journal, percent);
        site.run(&["--rollback"])
            .assert_code(16)
            .assert_says(&["cannot be believed", "hint:"]);
        assert_eq!(site.switched(), 20, "nothing was touched");
    }
    let summary = journal.with_extension("json").display().to_string();
    site.run(&["--force-rollback", "--state-file", &summary])
        .assert_code(3)
        .assert_says(&["cannot be believed", "still switched"]);
    assert_eq!(before.tree.len(), site.moment().tree.len());
}

#[test]
fn a_run_that_found_nothing_to_do_hides_nothing() {
    let site = Site::new(8);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    site.run(&[])
        .assert_code(0)
        .assert_says(&["Nothing to migrate"]);
    let run = site.journals()[0].display().to_string();
    fs::remove_dir_all(site.state()).expect("the state directory goes");
    // Objects wait for a word: the state directory that knew whose they are is gone.
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["from the bucket", "--same-database"]);
    site.run(&["--rollback", &run, "--same-database"])
        .assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_run_by_its_name_is_taken_from_the_bucket() {
    let site = Site::new(8);
    let before = site.moment();
    site.run(&["--limit", "3"]).assert_code(0);
    let journal = site.journals().remove(0);
    site.run(&[]).assert_code(0);
    fs::remove_file(&journal).expect("removes");
    let file = journal.with_extension("json").display().to_string();
    site.run(&["--rollback", &file])
        .assert_code(0)
        .assert_says(&["from the bucket"]);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after both");
}

#[test]
fn a_run_of_which_only_the_bucket_knows_is_no_leftover() {
    let site = Site::new(8);
    site.run(&["--limit", "3"]).assert_code(0);
    fs::remove_dir_all(site.state()).expect("the state directory goes");
    site.run(&[]).assert_code(0);
    site.run(&["--verify-state"]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.switched(), 3);
    let bucket = Snapshot::bucket(site.s3.root(), BUCKET);
    assert!(bucket.names().next().is_some());
}

#[test]
fn what_a_later_run_brought_out_of_the_bucket_explains_no_row_in_it() {
    let site = Site::new(6);
    // Into the bucket, out of it, and into it again: the last journal loses its tail, and nothing else is left to tell.
    site.run(&["--limit", "3"]).assert_code(0);
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    assert_eq!(site.switched(), 0);
    site.run(&["--batch-size", "1", "--parallel-uploads", "1"])
        .assert_code(0);
    cut(&site.journals()[2], 0);
    forget_copies(&site);
    for path in site.state_files("json") {
        fs::remove_file(path).expect("removes");
    }
    let last = site.journals()[2].display().to_string();
    let report = site
        .run(&["--rollback", &last, "--json"])
        .assert_code(3)
        .json();
    let left = report["exceptions"].as_array().expect("a list").len();
    assert_eq!((left, site.switched()), (6, 6), "{report:#}");
}
