//! `--rollback` and `--force-rollback`: undoes a run.
//!
//! What must hold: a file that is gone is downloaded and checked before its row goes back; an object is deleted only while the
//! local bytes are there and equal. An object, a copy in another bucket or a file on the disk goes only if it is still what the run made
//! and no row names it. What a run that is undone had switched and a restored older database holds again is undone once more. A run is not undone below a later one that moved the same rows. Undoing again goes on where it stopped. A row that is still switched is listed, whatever the
//! journal knows of it, and then the command does not end with 0. Where another database may have the rows of the run, its objects stay.
//!
//! What it deliberately does not do: touch what the run did not make; remove the copies in another bucket unasked. No row says which bucket the
//! application reads, and it may have moved there.

use std::path::Path;

use console::{Exit, Failure, Unasked, human};
use transfer::{Ended, Exception, KeySet, MadeObjects, Report, RollbackOptions, State};

use crate::cli::args::DirectionArg;
use crate::leftover;
use crate::run::again;
use crate::run::apart::check_apart;
use crate::run::command;
use crate::run::existing::{self, Named, OnlyInBucket, Purpose};
use crate::run::nowhere;
use crate::run::owning::{self, Doubt};
use crate::run::record;
use crate::run::session::Session;
use crate::run::upon::check_newest;
use crate::run::workbench::Workbench;
use crate::state::{Flags, Parameters, RunFiles, RunState};

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
    check_between(&bench.session)?;
    check_newest(
        &bench.session,
        &bench.record.files,
        &bench.journal,
        is_forced,
    )
    .await?;
    let mut options = options(&bench.session);
    let doubt = doubt(&bench)?;
    if doubt.is_some() {
        // Rows of another database may name them still, and its files may be gone.
        options.objects = MadeObjects::Keep;
    }
    if options.objects != MadeObjects::Keep {
        check_apart(&bench.session).await?;
        announce(&bench)?;
    }
    let next = go_on(&bench);
    let held = again::held(&bench.session, &bench.journal).await?;
    options.again = held.again;
    options.settled = held.settled.clone();
    let objects = options.objects;
    let mut report = bench
        .work(RunState::RollingBack, &next, |engine| {
            engine.rollback(options)
        })
        .await?;
    let state = state_after(&bench, &report, objects);
    if report.ended == Ended::Complete {
        add_left(&bench, &held.settled, &mut report.exceptions).await?;
    }
    bench.record.name(report.exceptions.iter());
    bench.record.save(state, &bench.journal)?;
    if let Err(error) = bench.ends.target.clear_probes().await {
        tracing::warn!(%error, "what a probe left could not be removed");
    }
    let n_kept = bench.journal.tally().of(State::Reverted);
    let exit = match (report.ended, report.exceptions.is_empty()) {
        (Ended::Stopped, _) => Exit::Interrupted,
        (_, true) if doubt.is_none() || n_kept == 0 => Exit::Ok,
        _ => Exit::Partial,
    };
    let next = match state {
        RunState::RollingBack => go_on(&bench),
        state => bench.record.next_command(state),
    };
    bench.show(report, state, exit, next)?;
    match doubt {
        Some(doubt) => name_kept(&bench, doubt, n_kept),
        None if state == RunState::RolledBack => name_copies(&bench, objects),
        None => {}
    }
    name_earlier_runs(&bench).await?;
    Ok(exit)
}

/// Says what is about to go, and asks once where somebody can answer: a machine that was copied with its state directory looks like the one it was made
/// of until that goes on with the run, so only a person knows whose objects these are.
fn announce(bench: &Workbench) -> Result<(), Failure> {
    let (session, of) = (&bench.session, &bench.record.summary.parameters);
    let tally = bench.journal.tally();
    let n = tally.switched() + tally.of(State::Reverting) + tally.of(State::Reverted);
    if n == 0 || of.is_to_disk() {
        return Ok(());
    }
    session.ui.status(format!(
        "The objects that the run made of {} are removed from {} once their files are here. Should this machine be a copy of another one, made with its \
         state directory, and that one be at work with them, they are lost to it.",
        human::count(n, "document"),
        of.target
    ));
    match session.ui.confirm("Roll back?", Unasked::Yes)? {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::Failed,
            "the run was not rolled back; nothing was touched",
        )
        .kind("declined")),
    }
}

/// Adds the rows that are not where they were before the run, whatever its journal says.
async fn add_left(
    bench: &Workbench,
    settled: &KeySet,
    exceptions: &mut Vec<Exception>,
) -> Result<(), Failure> {
    let (session, journal) = (&bench.session, &bench.journal);
    let changed = again::still_changed(session, journal, settled).await?;
    add_new(exceptions, changed);
    let left = leftover::find(session, journal, &bench.ends.paths).await?;
    left.add_to(exceptions, &session.ui);
    add_new(exceptions, again::still_switched(session, journal).await?);
    let nowhere = nowhere::left_by_others(session, &bench.ends, &bench.record.files.run).await?;
    add_new(exceptions, nowhere);
    Ok(())
}

/// Adds exceptions of items that have none yet.
pub fn add_new(exceptions: &mut Vec<Exception>, more: Vec<Exception>) {
    let named = exceptions.iter().map(|exception| exception.item.clone());
    let named = std::collections::HashSet::<String>::from_iter(named);
    let new = more.into_iter().filter(|one| !named.contains(&one.item));
    exceptions.extend(new);
}

/// Finds why another database may have the rows of the run, if something says so. Copies between buckets go only by `--remove-copies`, by which a person
/// says that nobody reads them.
fn doubt(bench: &Workbench) -> Result<Option<Doubt>, Failure> {
    let is_between = bench.session.settings.direction == DirectionArg::S3ToS3;
    let of = &bench.record.summary.parameters;
    let doubt = Doubt::about(&bench.session, of, &bench.journal)?;
    let is_kept = |doubt: &Doubt| matches!(doubt, Doubt::Other | Doubt::OtherStore);
    Ok(doubt.filter(|doubt| !is_between || is_kept(doubt)))
}

/// Says which objects stay and why, and how a person has them removed who knows that nobody needs them.
fn name_kept(bench: &Workbench, doubt: Doubt, n: u64) {
    if n == 0 {
        return;
    }
    let (of, session) = (&bench.record.summary.parameters, &bench.session);
    let (danger, remedy, command) = match doubt {
        Doubt::OtherStore => {
            let what = format!(" --rollback {}", command::path(&bench.record.files.summary));
            (
                "",
                "with the settings of that place (the S3_… variables, --store or --target)",
                session.command(&what, of, Flags::Known),
            )
        }
        _ => (
            ". Rows of another database may name it, and its files may be gone",
            "only if this is the database of that run, and no copy of it is at work anywhere",
            owning::command(session, &bench.record.files, of),
        ),
    };
    session.ui.warn(format!(
        "what the run stored of {} stays in {}: {}{danger}",
        human::count(n, "document"),
        of.target,
        doubt.words(of)
    ));
    session
        .ui
        .hint(format!("{remedy}, this removes it:\n      {command}"));
}

/// Says what a rollback does with what the run made.
#[must_use]
pub fn options(session: &Session) -> RollbackOptions {
    let may_go = session.line.action.remove_copies;
    let objects = match session.settings.direction {
        DirectionArg::S3ToS3 if !may_go => MadeObjects::Keep,
        DirectionArg::LocalToS3 | DirectionArg::S3ToS3 | DirectionArg::S3ToLocal => {
            MadeObjects::Remove
        }
    };
    RollbackOptions {
        objects,
        again: KeySet::new(),
        settled: KeySet::new(),
    }
}

/// Fails if `--remove-copies` is typed where nothing is between buckets.
///
/// # Errors
/// Of usage.
pub fn check_between(session: &Session) -> Result<(), Failure> {
    let is_between = session.settings.direction == DirectionArg::S3ToS3;
    if is_between || !session.line.action.remove_copies {
        return Ok(());
    }
    Err(
        Failure::usage("--remove-copies goes with the rollback of a run from bucket to bucket only")
            .hint("leave it out: here the rows say where the files are, and a rollback removes what the run made"),
    )
}

fn name_copies(bench: &Workbench, objects: MadeObjects) {
    let n = bench.journal.tally().of(State::Reverted);
    if objects != MadeObjects::Keep || n == 0 {
        return;
    }
    let parameters = &bench.record.summary.parameters;
    let file = command::path(&bench.record.files.summary);
    let what = format!(" --rollback {file} --remove-copies");
    bench.session.ui.hint(format!(
        "the copies of {} stay in {}: nothing here says whether the application reads them. When it reads {} for certain: {}",
        human::count(n, "document"),
        parameters.target,
        parameters.source,
        bench.session.command(&what, parameters, Flags::Known)
    ));
}

/// The command that goes on with the rollback as it was typed.
fn go_on(bench: &Workbench) -> String {
    let action = &bench.session.line.action;
    let file = command::path(&bench.record.files.summary);
    let mut what = match action.force_rollback {
        true => format!(" --force-rollback --state-file {file}"),
        false => format!(" --rollback {file}"),
    };
    for (flag, is_typed) in [
        (" --remove-copies", action.remove_copies),
        (" --files-gone", action.files_gone),
    ] {
        what.push_str(if is_typed { flag } else { "" });
    }
    let of = &bench.record.summary.parameters;
    bench.session.command(&what, of, Flags::Known)
}

/// A run of which something is left that the next rollback is to finish is not rolled back: without a file's name it would undo an older one. What
/// is kept on purpose is not left.
fn state_after(bench: &Workbench, report: &Report, objects: MadeObjects) -> RunState {
    let n_open = bench.journal.tally().of(State::Reverted);
    if report.ended != Ended::Complete || (objects != MadeObjects::Keep && n_open > 0) {
        return RunState::RollingBack;
    }
    match record::state_of(&bench.journal) {
        // The journal alone cannot tell a run of which nothing was switched from one that is undone.
        _ if report.exceptions.is_empty() || !existing::has_open(&bench.journal) => {
            RunState::RolledBack
        }
        RunState::RolledBack => RunState::RolledBack,
        _ => RunState::RollingBack,
    }
}

/// A rollback undoes one run; a person who ran several should know, wherever their journals are.
async fn name_earlier_runs(bench: &Workbench) -> Result<(), Failure> {
    let session = &bench.session;
    for (files, summary) in existing::all(session)? {
        let is_other = files.run != bench.record.files.run;
        let summary =
            summary.filter(|summary| is_other && existing::can_be_undone(&files, summary));
        if let Some(summary) = summary {
            name_earlier(
                session,
                &files,
                summary.counts.committed,
                &summary.parameters,
            );
        }
    }
    match existing::only_in_bucket(session, None).await {
        Ok(runs) => {
            for run in runs.iter().filter(|run| !run.is_elsewhere) {
                name_unknown(session, run);
            }
        }
        // This one is undone all the same.
        Err(failure) => session.ui.warn(format!(
            "whether the bucket knows of other runs to be undone could not be seen: {failure}"
        )),
    }
    Ok(())
}

fn name_earlier(session: &Session, files: &RunFiles, switched: u64, of: &Parameters) {
    let what = format!(" --rollback {}", command::path(&files.summary));
    session.ui.hint(format!(
        "the run {} is not undone ({}): {}",
        files.run,
        human::count(switched, "document"),
        session.command(&what, of, Flags::Known)
    ));
}

/// A run of which only the bucket knows may be a clone's; if it is, nothing of it is to be undone here.
fn name_unknown(session: &Session, run: &OnlyInBucket) {
    let what = format!(" --rollback {}", command::path(&run.files.summary));
    session.ui.hint(format!(
        "the run {} is not undone ({}), and did not begin in this state directory; only if it is one of this database, and not of a copy of it: {}",
        run.files.run,
        human::count(run.switched, "document"),
        session.command(&what, &run.parameters, Flags::Known)
    ));
}
