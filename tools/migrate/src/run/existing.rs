//! Taking up a run that is there: by the name that was typed, as the newest one, or from the copy in the bucket.
//!
//! What must hold: what is done to a run is done over the database, files and store that it was over.
//!
//! What it deliberately does not do: begin a run.

use std::path::Path;

use console::{Exit, Failure};
use store::Store;
use transfer::{Journal, JournalError, JournalErrorKind, State};

use super::failures::journal_failure;
use super::record::{Record, of_header, state_of};
use super::session::{MIRROR, Session, direction_named};
use super::sound;
use crate::cli::args::DirectionArg;
use crate::state::{Parameters, RunFiles, RunState, Summary, run_age, run_named};

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
        Some(file) => resolve(session, file).await?,
        None => newest(session).await?,
    };
    let header = sound::header(session, &files, named.is_forced).await?;
    let of: Parameters = of_header(&files, &header)?;
    if let Some(direction) = direction_named(&of.direction) {
        session.settings.direction = direction;
    }
    session.line.run.user_id.clone_from(&of.user);
    let difference = of.difference(&session.parameters()?);
    if let Some(what) = difference.filter(|_| !named.is_forced) {
        return Err(other_run(&files, &what));
    }
    let is_renewed = sound::make_sure(session, &files, named.is_forced).await?;
    let journal = match named.purpose {
        Purpose::Change => Journal::open(&files.journal),
        Purpose::Look => Journal::read_only(&files.journal),
    };
    let journal = journal.map_err(|error| journal_failure(&error))?;
    let mut record = Record::open(session, &files, &journal)?;
    if is_renewed {
        record.follow(&journal);
    }
    Ok((record, journal))
}

fn other_run(files: &RunFiles, what: &str) -> Failure {
    Failure::new(
        Exit::Conflict,
        format!("the run {} was over {what}", files.run),
    )
    .kind("other-run")
    .hint("give the command the settings of that run: DATABASE_URL, UPLOAD_PATH, the S3_… variables, --target")
}

/// Finds the run that a file means; one whose journal is gone here is taken from the bucket, if that keeps a copy.
///
/// # Errors
/// If it leads to no journal, here or there.
pub async fn resolve(session: &Session, file: &Path) -> Result<RunFiles, Failure> {
    let file = &session.state.meant(file);
    let failure = match session.state.resolve(file) {
        Ok(files) => return Ok(files),
        Err(failure) => failure,
    };
    let files = run_named(file).map(|run| session.state.files(&run));
    let Some(files) = files.filter(|files| !files.journal.exists()) else {
        return Err(failure);
    };
    for mirror in mirrors(session).await? {
        match Journal::from_mirror(&mirror, MIRROR, &files.run, &files.journal).await {
            Ok(_) => {
                say_taken(session, &files);
                return Ok(files);
            }
            Err(error) if error.kind() == JournalErrorKind::NotFound => {}
            Err(error) => return Err(journal_failure(&error)),
        }
    }
    Err(failure)
}

/// The stores in which the copy of a journal may be whose direction nobody knows yet, the likeliest first: what was named as the target, and the
/// application's own bucket.
async fn mirrors(session: &Session) -> Result<Vec<Store>, Failure> {
    let mut found = Vec::new();
    if session.settings.direction == DirectionArg::S3ToS3 {
        session.target_url()?;
    }
    if let Some(target) = &session.settings.target {
        found.push(session.open_store(&target.value).await?);
    }
    if session.settings.bucket.is_some() {
        found.push(session.bucket().await?);
    }
    Ok(found)
}

/// Opens the copy of a journal that the bucket keeps. Its file is gone again at once: the state directory may take none, and a copy there
/// would look like a run of this machine.
///
/// # Errors
/// If there is no place for the file; what is wrong with the copy is in the answer.
pub async fn copied(mirror: &Store, run: &str) -> Result<Result<Journal, JournalError>, Failure> {
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::io("make a directory in", &std::env::temp_dir(), &error))?;
    let copy = scratch.path().join("copy.journal");
    Ok(Journal::from_mirror(mirror, MIRROR, run, &copy).await)
}

fn say_taken(session: &Session, files: &RunFiles) {
    session.ui.status(format!(
        "The journal of run {} is not in {}; taking the copy from the bucket.",
        files.run,
        session.state.path().display()
    ));
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
pub fn can_be_undone(files: &RunFiles, summary: &Summary) -> bool {
    let counts = &summary.counts;
    match summary.state {
        RunState::RolledBack => false,
        _ if counts.committed > 0 || counts.stored > 0 => true,
        // One that could take nothing on is unfinished for ever. What cannot be read is not nothing.
        state if state.is_unfinished() => {
            Journal::read_only(&files.journal).map_or(true, |journal| has_open(&journal))
        }
        _ => false,
    }
}

/// Tells whether a run has, or had once, anything in the target or the rows that is not undone for certain.
#[must_use]
pub fn has_open(journal: &Journal) -> bool {
    let tally = journal.tally();
    tally.total() > tally.of(State::LeftOut) + tally.of(State::Undone)
}

fn described(session: &Session, files: &RunFiles) -> Option<Summary> {
    let journal = Journal::read_only(&files.journal).ok()?;
    let mut record = Record::open(session, files, &journal).ok()?;
    record.summary.state = state_of(&journal);
    record.count(&journal);
    Some(record.summary)
}

/// The newest run that has something to undo, here or in the bucket, else the newest at all, else that of the bucket.
async fn newest(session: &Session) -> Result<RunFiles, Failure> {
    let mut runs = all(session)?;
    for (files, summary) in runs.iter_mut().filter(|(_, summary)| summary.is_none()) {
        // An older run must not be taken for the newest because this one cannot be read.
        if sound::open_other(session, files).await?.is_some() {
            *summary = described(session, files);
        }
    }
    let can_be_undone = |(files, summary): &&(RunFiles, Option<Summary>)| {
        summary
            .as_ref()
            .is_some_and(|summary| can_be_undone(files, summary))
    };
    let with_work = runs.iter().find(can_be_undone);
    let after = with_work.map(|(files, _)| files.run.as_str());
    if let Some(newer) = only_in_bucket(session, after).await?.into_iter().next() {
        let (run, path) = (&newer.files.run, &newer.files.journal);
        Journal::from_mirror(&newer.mirror, MIRROR, run, path)
            .await
            .map_err(|error| journal_failure(&error))?;
        say_taken(session, &newer.files);
        return Ok(newer.files);
    }
    match with_work.or(runs.first()) {
        Some((files, _)) => Ok(files.clone()),
        None => from_bucket(session).await,
    }
}

/// A run with something to undo whose journal is not here, and of which a bucket keeps a copy.
pub struct OnlyInBucket {
    /// The names that its files would have here.
    pub files: RunFiles,
    /// What it was over.
    pub parameters: Parameters,
    /// How many items it has switched.
    pub switched: u64,
    mirror: Store,
}

/// Lists the runs of this database and application that have something to undo and of which only a bucket keeps the journal, the newest first; those
/// that began after one run, if it is named.
///
/// # Errors
/// If a bucket or the state directory cannot be listed. A copy that cannot be read is said: whoever can write to the bucket can put one there.
pub async fn only_in_bucket(
    session: &Session,
    after: Option<&str>,
) -> Result<Vec<OnlyInBucket>, Failure> {
    let here = session.state.runs()?;
    let mut found: Vec<OnlyInBucket> = Vec::new();
    for mirror in mirrors(session).await? {
        let runs = Journal::mirrored_runs(&mirror, MIRROR).await;
        let mut runs = runs.map_err(|error| journal_failure(&error))?;
        runs.retain(|run| after.is_none_or(|after| run_age(run) > run_age(after)));
        runs.retain(|run| here.iter().all(|files| files.run != *run));
        runs.retain(|run| found.iter().all(|other| other.files.run != *run));
        for run in runs {
            match copied(&mirror, &run).await? {
                Ok(journal) => found.extend(undoable(session, &mirror, &run, &journal)),
                Err(error) => session.ui.warn(format!(
                    "whether the run {run} is to be undone cannot be seen: {error}"
                )),
            }
        }
    }
    found.sort_by_key(|one| std::cmp::Reverse(run_age(&one.files.run)));
    Ok(found)
}

fn undoable(
    session: &Session,
    mirror: &Store,
    run: &str,
    journal: &Journal,
) -> Option<OnlyInBucket> {
    let of: Parameters = serde_json::from_value(journal.header().parameters.clone()).ok()?;
    let info = session.database.info();
    // The rest is the run's own: nobody knows its direction before it is taken up.
    let here = Parameters {
        database: info.identity.clone(),
        origin: Some(info.origin.clone()),
        application: session.mapping.name.clone(),
        ..of.clone()
    };
    let is_of_here = !of.is_surely_other(&here) && of.application == here.application;
    let state = state_of(journal);
    let switched = journal.tally().switched();
    let has_work = switched > 0 || (state.is_unfinished() && has_open(journal));
    let is_it = is_of_here && has_work && state != RunState::RolledBack;
    is_it.then(|| OnlyInBucket {
        files: session.state.files(run),
        parameters: of,
        switched,
        mirror: mirror.clone(),
    })
}

/// Rebuilds the newest journal of which a bucket keeps a copy and that took something on.
async fn from_bucket(session: &Session) -> Result<RunFiles, Failure> {
    for mirror in mirrors(session).await? {
        let runs = Journal::mirrored_runs(&mirror, MIRROR)
            .await
            .map_err(|error| journal_failure(&error))?;
        for run in runs.iter().rev() {
            let files = session.state.files(run);
            let journal = Journal::from_mirror(&mirror, MIRROR, run, &files.journal)
                .await
                .map_err(|error| journal_failure(&error))?;
            if journal.tally().total() > 0 {
                say_taken(session, &files);
                return Ok(files);
            }
            // Versions before this one kept copies of runs that had nothing to do.
            std::fs::remove_file(&files.journal)
                .map_err(|error| Failure::io("remove", &files.journal, &error))?;
        }
    }
    Err(Failure::new(
        Exit::NoStore,
        format!("there is no run in {}", session.state.path().display()),
    )
    .kind("no-state-file")
    .hint(
        "name the directory with --state-dir, or a file with --state-file; the bucket keeps no copy either (that of a run from bucket to bucket \
         is in the other one: add --target URL)",
    ))
}
