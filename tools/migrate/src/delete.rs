//! `--delete-source`: removes the files of a run where they came from, days after it.
//!
//! What must hold: each object is read back from the bucket and found equal before its file goes; a file that any row still needs
//! stays; a rollback can bring every file back.
//!
//! What it deliberately does not do: run together with a migration.

use std::path::Path;
use std::time::Duration;

use console::{Exit, Failure, human};
use transfer::{Ended, Engine, RemoveOptions};

use crate::cli::args::DirectionArg;
use crate::report;
use crate::run::apart::check_apart;
use crate::run::command;
use crate::run::existing::{Named, Purpose};
use crate::run::kindred;
use crate::run::owning;
use crate::run::record::Record;
use crate::run::session::Session;
use crate::run::workbench::Workbench;
use crate::settings::older_than;
use crate::state::{Flags, RunState};

/// Runs `--delete-source`.
///
/// # Errors
/// If no run is named, or the removal could not come to its end; it can be run again.
pub async fn run(session: Session, file: Option<&Path>) -> Result<Exit, Failure> {
    let grace = older_than(session.line.action.older_than.as_deref())?;
    let Some(file) = file else {
        return Err(Failure::usage("--delete-source needs --state-file: the run whose files are to go")
            .hint("migrate_to_s3 --delete-source --state-file FILE --older-than 7d; `--status` lists the runs"));
    };
    let named = Named {
        file: Some(file),
        purpose: Purpose::Change,
        is_forced: false,
    };
    let (action, label) = match session.line.action.dry_run {
        true => (report::TRIED_REMOVAL, "comparing"),
        false => (report::REMOVAL, "removing"),
    };
    let mut bench = Workbench::open(session, named, action, label).await?;
    owning::check_own(&bench.record.files, &bench.journal)?;
    owning::check_machine(
        &bench.session,
        &bench.record.files,
        &bench.record.summary.parameters,
        &bench.journal,
    )?;
    check_state(&bench.record)?;
    check_moved(&bench)?;
    check_apart(&bench.session).await?;
    kindred::warn(&bench.session).await?;
    let options = RemoveOptions {
        switched_before: Some(moment_before(grace)?),
        dry_run: bench.session.line.action.dry_run,
    };
    let state = bench.record.summary.state;
    let again = again(&bench);
    let report = match options.dry_run {
        true => {
            let tried = |engine| Engine::remove_sources(engine, options);
            bench.try_out(&again, tried).await?
        }
        false => {
            let work = |engine| Engine::remove_sources(engine, options);
            let report = bench.work(state, &again, work).await?;
            bench.record.save(state, &bench.journal)?;
            report
        }
    };
    if report.sources_removed == 0 && report.exceptions.is_empty() {
        bench.session.ui.status(format!(
            "Nothing was removed: no document was switched longer ago than {}.",
            human::duration(grace)
        ));
    }
    let exit = match (report.ended, report.exceptions.is_empty()) {
        (Ended::Stopped, _) => Exit::Interrupted,
        (_, true) => Exit::Ok,
        (_, false) => Exit::Partial,
    };
    let next = match report.ended {
        Ended::Stopped => again,
        _ => String::new(),
    };
    bench.show(report, state, exit, next)?;
    Ok(exit)
}

/// The command that goes on with the removal.
fn again(bench: &Workbench) -> String {
    let action = &bench.session.line.action;
    let mut what = format!(
        " --delete-source --state-file {}",
        command::path(&bench.record.files.summary)
    );
    if let Some(grace) = &action.older_than {
        what.push_str(&format!(" --older-than {}", command::quoted(grace)));
    }
    for (flag, is_typed) in [
        (" --application-moved", action.application_moved),
        (" --files-gone", action.files_gone),
        (" --dry-run", action.dry_run),
    ] {
        what.push_str(if is_typed { flag } else { "" });
    }
    let of = &bench.record.summary.parameters;
    bench.session.command(&what, of, Flags::Known)
}

fn check_state(record: &Record) -> Result<(), Failure> {
    match record.summary.state {
        RunState::RollingBack | RunState::RolledBack => Err(Failure::new(
            Exit::Conflict,
            format!(
                "the run {} is {}",
                record.files.run,
                record.summary.state.words()
            ),
        )
        .hint("name a run that is not rolled back; `--status` lists them")),
        _ => Ok(()),
    }
}

/// The rows of a run from bucket to bucket name no bucket: whether the old objects are needed only a person knows.
fn check_moved(bench: &Workbench) -> Result<(), Failure> {
    let is_between = bench.session.settings.direction == DirectionArg::S3ToS3;
    let parameters = &bench.record.summary.parameters;
    match (is_between, bench.session.line.action.application_moved) {
        (true, false) => Err(Failure::usage(format!(
            "the rows name no bucket, so nothing here says whether the application reads {} or still {}",
            parameters.target, parameters.source
        ))
        .kind("application-moved")
        .hint("point the application to the other bucket and see that it works; then the same command with --application-moved \
               (each object is still compared with its copy first)")),
        (false, true) => Err(Failure::usage(
            "--application-moved goes with a run from bucket to bucket only",
        )
        .hint("leave it out: here the rows say where the files are")),
        _ => Ok(()),
    }
}

fn moment_before(grace: Duration) -> Result<jiff::Timestamp, Failure> {
    jiff::Timestamp::now().checked_sub(grace).map_err(|_| {
        Failure::usage(format!(
            "--older-than {} reaches too far back",
            human::duration(grace)
        ))
        .hint("write --older-than 7d")
    })
}
