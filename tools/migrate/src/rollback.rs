//! `--rollback` and `--force-rollback`: undoes a run.
//!
//! What must hold: a file that is gone is downloaded and checked before its row goes back; an object is deleted only while the
//! local bytes are there and equal. Undoing again goes on where it stopped. A row that is still switched is listed, whatever the
//! journal knows of it, and then the command does not end with 0.
//!
//! What it deliberately does not do: touch what the run did not make.

use std::path::Path;

use console::{Exit, Failure};
use transfer::{Ended, Report, RollbackOptions};

use crate::leftover;
use crate::run::existing::{self, Named, Purpose};
use crate::run::record;
use crate::run::session::Session;
use crate::run::workbench::Workbench;
use crate::state::{Flags, RunState};

/// Runs `--rollback` or `--force-rollback`.
///
/// # Errors
/// If the rollback could not come to its end; the failure says how to go on.
pub async fn run(session: Session, file: Option<&Path>, is_forced: bool) -> Result<Exit, Failure> {
    let named = Named {
        file,
        purpose: Purpose::Change,
        is_forced,
    };
    let mut bench = Workbench::open(session, named, "rollback", "rolling back").await?;
    let next = bench.record.next_command(RunState::RollingBack);
    let mut report = bench
        .work(RunState::RollingBack, &next, |engine| {
            engine.rollback(RollbackOptions::default())
        })
        .await?;
    let state = state_after(&bench, &report);
    if report.ended == Ended::Complete {
        let left = leftover::find(&bench.session, &bench.journal, &bench.ends.paths).await?;
        left.add_to(&mut report.exceptions, &bench.session.ui);
    }
    bench.record.save(state, &bench.journal)?;
    if let Err(error) = bench.ends.target.clear_probes().await {
        tracing::warn!(%error, "what a probe left could not be removed");
    }
    let exit = match (report.ended, report.exceptions.is_empty()) {
        (Ended::Stopped, _) => Exit::Interrupted,
        (_, true) => Exit::Ok,
        (_, false) => Exit::Partial,
    };
    let next = bench.record.next_command(state);
    bench.show(report, state, exit, next)?;
    name_earlier_runs(&bench)?;
    Ok(exit)
}

fn state_after(bench: &Workbench, report: &Report) -> RunState {
    let is_whole = report.ended == Ended::Complete && report.exceptions.is_empty();
    match record::state_of(&bench.journal) {
        // The journal alone cannot tell a run of which nothing was switched from one that is undone.
        _ if is_whole => RunState::RolledBack,
        RunState::RolledBack if report.ended == Ended::Complete => RunState::RolledBack,
        _ => RunState::RollingBack,
    }
}

/// A rollback undoes one run; a person who ran several should know.
fn name_earlier_runs(bench: &Workbench) -> Result<(), Failure> {
    let session = &bench.session;
    for (files, summary) in existing::all(session)? {
        let is_other = files.run != bench.record.files.run;
        let summary = summary.filter(|summary| is_other && existing::can_be_undone(summary));
        if let Some(summary) = summary {
            session.ui.hint(format!(
                "the run {} is not undone ({}): migrate_to_s3 --rollback {}{}",
                files.run,
                console::human::count(summary.counts.committed, "document"),
                files.summary.display(),
                summary.parameters.flags(Flags::Known)
            ));
        }
    }
    Ok(())
}
