//! The real process ended at every step in turn, as by a power cut, then resumed or rolled back.
//!
//! What must hold: afterwards files, rows and objects equal those of a run that nobody interrupted, or the start, byte for byte.

use crate::world::{Ended, Moment, Site, removal};

/// Small batches, so that a few documents make many steps.
const RUN: [&str; 4] = ["--batch-size", "2", "--parallel-uploads", "2"];

/// Runs the program until its step `step`; tells whether it got that far.
fn ends_at(site: &Site, arguments: &[&str], step: u32) -> bool {
    let mut command = site.command(arguments);
    command.env("MIGRATE_CRASH_AT", step.to_string());
    let ended = Ended::of(command, arguments);
    match ended.code {
        None => true,
        Some(0) => false,
        Some(_) => panic!("at step {step}: {}", ended.all()),
    }
}

/// A site, its start and what an uninterrupted migration makes of it.
fn scene() -> (Site, Moment, Moment) {
    let site = Site::new(3);
    let before = site.moment();
    site.run(&RUN).assert_code(0);
    let done = site.moment();
    roll_back(&site, &before, "without a crash");
    (site, before, done)
}

/// What there is, but for an upload in parts that the probe of the server's checksums had begun: this server cannot list uploads, so
/// that nobody can find it again. The documents are too small to be sent in parts.
fn moment(site: &Site) -> Moment {
    let mut moment = site.moment();
    moment.bucket = moment
        .bucket
        .without(|name| name.starts_with("(unfinished)"));
    moment
}

fn roll_back(site: &Site, before: &Moment, what: &str) {
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&moment(site), what);
}

#[test]
fn a_migration_resumes_and_rolls_back_from_every_step() {
    let (site, before, done) = scene();
    let mut step = 1;
    while ends_at(&site, &RUN, step) {
        roll_back(&site, &before, &format!("rolled back from step {step}"));
        assert!(
            ends_at(&site, &RUN, step),
            "step {step} is there every time"
        );
        site.run(&["--resume"]).assert_code(0);
        done.assert_same(&moment(&site), &format!("resumed from step {step}"));
        roll_back(
            &site,
            &before,
            &format!("resumed from step {step}, rolled back"),
        );
        step += 1;
    }
    assert!(step > 10, "a migration has more than {step} steps");
}

#[test]
fn a_rollback_goes_on_from_every_step() {
    let (site, before, _) = scene();
    let mut step = 1;
    loop {
        site.run(&RUN).assert_code(0);
        let latest = site.latest();
        let delete = removal(&latest);
        site.run(&delete).assert_code(0);
        let ended = ends_at(&site, &["--rollback"], step);
        roll_back(
            &site,
            &before,
            &format!("a rollback that ended at step {step}"),
        );
        if !ended {
            break;
        }
        step += 1;
    }
    assert!(step > 5, "a rollback has more than {step} steps");
}

#[test]
fn sources_go_or_come_back_from_every_step() {
    let (site, before, done) = scene();
    let mut step = 1;
    loop {
        site.run(&RUN).assert_code(0);
        let latest = site.latest();
        let delete = removal(&latest);
        let ended = ends_at(&site, &delete, step);
        done.bucket
            .assert_same(&moment(&site).bucket, "no object goes with a file");
        if step % 2 == 0 {
            site.run(&delete).assert_code(0);
            assert!(
                site.fleet.files().iter().all(|file| !file.exists()),
                "every file is gone"
            );
        }
        roll_back(
            &site,
            &before,
            &format!("a removal that ended at step {step}"),
        );
        if !ended {
            break;
        }
        step += 1;
    }
    assert!(step > 3, "a removal has more than {step} steps");
}
