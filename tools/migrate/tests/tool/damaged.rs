//! A journal that is damaged here: its beginning is gone, or a byte in it is wrong. The bucket has a copy.
//!
//! What must hold: whichever command meets it takes the copy, says so and keeps the damaged one; without a copy nothing is done, and it is said
//! what to do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{BUCKET, Ended, Moment, Site};

/// A site whose only run is finished, the journal of that, and everything before it.
fn migrated() -> (Site, Moment, PathBuf) {
    let site = Site::new(6);
    let before = site.moment();
    site.run(&["--batch-size", "2"]).assert_code(0);
    let journal = site.journals().remove(0);
    (site, before, journal)
}

/// Makes one byte another one, so far into the file.
fn spoil(journal: &Path, percent: usize) -> Vec<u8> {
    let mut bytes = fs::read(journal).expect("reads");
    let place = (bytes.len() - 1) * percent / 100;
    bytes[place] ^= 1;
    fs::write(journal, &bytes).expect("writes");
    bytes
}

fn keep(journal: &Path, length: usize) -> Vec<u8> {
    let mut bytes = fs::read(journal).expect("reads");
    bytes.truncate(length);
    fs::write(journal, &bytes).expect("writes");
    bytes
}

fn forget_summaries(site: &Site) {
    for path in site.state_files("json") {
        fs::remove_file(path).expect("removes");
    }
}

#[test]
fn one_wrong_byte_anywhere_is_mended_from_the_copy() {
    let (site, before, journal) = migrated();
    let whole = fs::read(&journal).expect("reads");
    for percent in [0, 1, 30, 60, 99] {
        let damaged = spoil(&journal, percent);
        site.run(&["--verify-state", "--full"])
            .assert_code(0)
            .assert_says(&["replaced by the copy of the bucket", "is kept as"]);
        assert_eq!(fs::read(&journal).expect("reads"), whole, "{percent} %");
        let mut aside = site.state_files("damaged-1");
        aside.extend(site.state_files("short-1"));
        let aside = aside.pop().expect("it is kept");
        assert_eq!(fs::read(&aside).expect("reads"), damaged);
        fs::remove_file(aside).expect("removes");
    }
    spoil(&journal, 40);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn the_way_out_that_is_printed_is_one() {
    let (site, before, journal) = migrated();
    let bytes = fs::read(&journal).expect("reads");
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.swap(5, 9);
    fs::write(&journal, lines.concat()).expect("writes");
    let refused = site.run(&["--rollback"]).assert_code(16);
    assert!(
        !refused.err.contains("--force-rollback"),
        "{}",
        refused.all()
    );
    let kept = format!("{}.kept", journal.display());
    let put_away = format!("mv {} {kept}", journal.display());
    refused.assert_says(&["cannot be taken as it is", &put_away]);
    fs::rename(&journal, kept).expect("moves");
    let file = journal.with_extension("json").display().to_string();
    // The summary, which no bucket keeps, says that the run began here.
    site.run(&["--rollback", &file])
        .assert_code(0)
        .assert_says(&["from the bucket"]);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_beginning_that_is_gone_is_mended_from_the_copy() {
    for length in [0, 100, 300] {
        for with_summary in [true, false] {
            let (site, before, journal) = migrated();
            let file = journal.with_extension("json").display().to_string();
            let headless = || {
                keep(&journal, length);
                if !with_summary {
                    forget_summaries(&site);
                }
            };
            headless();
            site.run(&["--status"])
                .assert_code(0)
                .assert_says(&["it is damaged", "--verify-state --state-file"]);
            site.run(&["--verify-state", "--state-file", &file])
                .assert_code(0)
                .assert_says(&["replaced by the copy", "6 checked, 0 differ"]);
            headless();
            site.run(&[
                "--delete-source",
                "--state-file",
                &file,
                "--older-than",
                "0s",
            ])
            .assert_code(0);
            headless();
            site.run(&["--rollback"]).assert_code(0);
            before.assert_same(&site.moment(), &format!("{length} {with_summary}"));
        }
    }
}

#[test]
fn an_unfinished_run_goes_on_from_the_copy() {
    for with_summary in [true, false] {
        let site = Site::new(12);
        let before = site.moment();
        let cut_off = |step: usize| {
            let mut command = site.command(&["--batch-size", "3", "--fresh-start"]);
            command.env("MIGRATE_CRASH_AT", step.to_string());
            assert_eq!(Ended::of(command, &[]).code, None);
            site.switched()
        };
        (30..).map(cut_off).find(|n| *n > 0);
        let journal = site.journals().pop().expect("a journal");
        keep(&journal, 40);
        if !with_summary {
            forget_summaries(&site);
        }
        let n = site.journals().len();
        site.run(&[])
            .assert_code(2)
            .assert_says(&["did not come to its end"]);
        site.run(&["--resume"])
            .assert_code(0)
            .assert_says(&["Going on with the run"]);
        assert_eq!((site.switched(), site.journals().len()), (12, n));
        for journal in site.journals().into_iter().rev() {
            site.run(&["--rollback", &journal.display().to_string()])
                .assert_code(0);
        }
        let mut after = site.moment();
        after.bucket = after
            .bucket
            .without(|name| name.starts_with("(unfinished)"));
        before.assert_same(&after, "after the rollbacks");
    }
}

#[test]
fn the_newest_run_is_the_newest_although_it_cannot_be_read() {
    let site = Site::new(6);
    site.run(&["--limit", "2"]).assert_code(0);
    site.run(&[]).assert_code(0);
    keep(&site.journals()[1], 10);
    forget_summaries(&site);
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.switched(), 2, "the first run stands");
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.switched(), 0);
}

#[test]
fn without_a_copy_it_is_said_what_to_do_and_nothing_is_done() {
    for length in [0, 200, 4000] {
        let (site, _, journal) = migrated();
        fs::remove_dir_all(site.s3.root().join(BUCKET).join(".syncline")).expect("removes");
        let damaged = match length {
            4000 => spoil(&journal, 30),
            length => keep(&journal, length),
        };
        let before = site.moment();
        let file = journal.with_extension("json").display().to_string();
        for arguments in [
            &["--rollback"][..],
            &["--verify-state"],
            &["--resume-from", &file],
            &["--force-rollback", "--state-file", &file],
            &[
                "--delete-source",
                "--state-file",
                &file,
                "--older-than",
                "0s",
            ],
        ] {
            site.run(arguments).assert_code(16).assert_says(&[
                "the bucket has no copy of it that is whole",
                "from a backup",
                "--audit-files",
            ]);
        }
        assert_eq!(fs::read(&journal).expect("reads"), damaged);
        before.assert_same(&site.moment(), "nothing was touched");
    }
}
