//! Taking up a run that is there: by the name that was typed, as the newest one, or from the copy in the bucket.
//!
//! What must hold: what is done to a run is done over the database, files and store that it was over.
//!
//! What it deliberately does not do: begin a run.

use std::path::Path;

use console::{Exit, Failure};
use transfer::Journal;

use super::failures::journal_failure;
use super::record::{Record, state_of};
use super::session::{MIRROR, Session, direction_named, open_bucket};
use crate::state::{RunFiles, RunState, Summary};

/// What a run is taken up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To undo it, or to remove its sources: the journal is written.
    Change,
    /// To look at it, perhaps while another process is at it.
    Look,
}

/// How a run is named.
#[derive(Clone, Copy, Debug)]
pub struct Named<'n> {
    /// The file that was typed, if one was.
    pub file: Option<&'n Path>,
    /// What it is taken up for.
    pub purpose: Purpose,
    /// Whether a run over other settings is taken up too.
    pub is_forced: bool,
}

/// Takes a run up, and sets the direction of the session to its own.
///
/// # Errors
/// If there is none, another process is at it, or it was over something else.
pub async fn take_up(
    session: &mut Session,
    named: Named<'_>,
) -> Result<(Record, Journal), Failure> {
    let files = match named.file {
        Some(file) => session.state.resolve(file)?,
        None => newest(session).await?,
    };
    let journal = match named.purpose {
        Purpose::Change => Journal::open(&files.journal),
        Purpose::Look => Journal::read_only(&files.journal),
    };
    let journal = journal.map_err(|error| journal_failure(&error))?;
    let record = Record::open(session, &files, &journal)?;
    let of = &record.summary.parameters;
    if let Some(direction) = direction_named(&of.direction) {
        session.settings.direction = direction;
    }
    session.line.run.user_id.clone_from(&of.user);
    match of.difference(&session.parameters()?) {
        Some(what) if !named.is_forced => Err(Failure::new(
            Exit::Conflict,
            format!("the run {} was over {what}", files.run),
        )
        .kind("other-run")
        .hint("give the command the settings of that run: DATABASE_URL, UPLOAD_PATH, the S3_… variables, --target")),
        _ => Ok((record, journal)),
    }
}

/// Lists the runs in the state directory with their summaries, the newest first. A summary that is gone is made from its journal;
/// a journal that cannot be read is listed without one.
///
/// # Errors
/// If the directory cannot be read.
pub fn all(session: &Session) -> Result<Vec<(RunFiles, Option<Summary>)>, Failure> {
    let runs = session.state.runs()?;
    let with_summary = runs.into_iter().map(|files| {
        let summary = session
            .state
            .read(&files)
            .or_else(|| described(session, &files));
        (files, summary)
    });
    Ok(with_summary.collect())
}

/// Tells whether there is something to undo in a run.
#[must_use]
pub fn can_be_undone(summary: &Summary) -> bool {
    summary.state != RunState::RolledBack
        && (summary.counts.committed > 0
            || summary.counts.stored > 0
            || summary.state.is_unfinished())
}

fn described(session: &Session, files: &RunFiles) -> Option<Summary> {
    let journal = Journal::read_only(&files.journal).ok()?;
    let mut record = Record::open(session, files, &journal).ok()?;
    record.summary.state = state_of(&journal);
    record.count(&journal);
    Some(record.summary)
}

/// The newest run that has something to undo, else the newest at all, else that of the bucket.
async fn newest(session: &Session) -> Result<RunFiles, Failure> {
    let runs = all(session)?;
    let with_work = runs
        .iter()
        .find(|(_, summary)| summary.as_ref().is_some_and(can_be_undone));
    match with_work.or(runs.first()) {
        Some((files, _)) => Ok(files.clone()),
        None => from_bucket(session).await,
    }
}

/// Rebuilds the newest journal of which the bucket keeps a copy.
async fn from_bucket(session: &Session) -> Result<RunFiles, Failure> {
    let nothing = || {
        Failure::new(
            Exit::NoStore,
            format!("there is no run in {}", session.state.path().display()),
        )
        .kind("no-state-file")
        .hint("name the directory with --state-dir, or a file with --state-file; the bucket keeps no copy either")
    };
    if session.settings.bucket.is_none() {
        return Err(nothing());
    }
    let bucket = open_bucket(&session.settings).await?;
    let runs = Journal::mirrored_runs(&bucket, MIRROR)
        .await
        .map_err(|error| journal_failure(&error))?;
    let run = runs.last().ok_or_else(nothing)?;
    let files = session.state.files(run);
    session.ui.status(format!(
        "There is no run in {}; taking the copy of run {run} from the bucket.",
        session.state.path().display()
    ));
    let journal = Journal::from_mirror(&bucket, MIRROR, run, &files.journal)
        .await
        .map_err(|error| journal_failure(&error))?;
    drop(journal);
    Ok(files)
}
