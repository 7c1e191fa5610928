//! Taking up a run that is there: by the name that was typed, as the newest one, or from the copy in the bucket.
//!
//! What must hold: what is done to a run is done over the database, files and store that it was over.
//!
//! What it deliberately does not do: begin a run.

use std::path::Path;

use console::{Exit, Failure};
use store::Store;
use transfer::{Journal, JournalError, JournalErrorKind, State};

use super::command;
use super::failures::journal_failure;
use super::owning;
use super::record::{Record, of_header, state_of};
use super::session::{MIRROR, Session, direction_name, direction_named};
use super::sound::{self, Sure};
use crate::cli::args::DirectionArg;
use crate::state::{Flags, Parameters, RunFiles, RunState, Summary, run_age, run_named};

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
        None if session.line.action.same_database => return Err(unnamed()),
        None => newest(session).await?,
    };
    let header = sound::header(session, &files, named.is_forced).await?;
    let custody = Journal::custody_of(&files.journal).map_err(|error| journal_failure(&error))?;
    let of: Parameters = of_header(&files, &header, &custody)?;
    if let Some(direction) = direction_named(&of.direction) {
        check_direction(session, &files, direction)?;
        session.settings.direction = direction;
    }
    session.line.run.user_id.clone_from(&of.user);
    if session.settings.direction == DirectionArg::S3ToS3 && session.settings.target.is_none() {
        return Err(no_target(session, &files, &of));
    }
    let here = session.parameters()?;
    let is_owning = session.line.action.same_database;
    let difference = match is_owning {
        true => of.over_database_of(&here).difference(&here),
        false => of.difference(&here),
    };
    if let Some(what) = difference.filter(|_| !named.is_forced) {
        return Err(owning::other_run(session, &files, &of, &what));
    }
    // The copy of one that was taken is another's, who may have gone on with it. Where they were seen to differ, the word is given knowing that.
    let is_forced = named.is_forced || custody.is_contested;
    let sure = match custody.is_taken && !is_owning {
        true => Sure::Same,
        false => sound::make_sure(session, &files, is_forced).await?,
    };
    let journal = match named.purpose {
        Purpose::Look if !is_owning => Journal::read_only(&files.journal),
        _ => Journal::open(&files.journal),
    };
    let journal = journal.map_err(|error| journal_failure(&error))?;
    if sure == Sure::Contested && !is_owning {
        let contested = journal.contest().await;
        contested.map_err(|error| journal_failure(&error))?;
    }
    owning::own(session, &of, &journal).await?;
    let mut record = Record::open(session, &files, &journal)?;
    if sure == Sure::Renewed {
        record.follow(&journal);
    }
    Ok((record, journal))
}

/// A run has its own direction. What was typed beside it may mean another run; the default is as good as nothing typed.
fn check_direction(session: &Session, files: &RunFiles, of: DirectionArg) -> Result<(), Failure> {
    let typed = session.settings.direction;
    if typed == of || typed == DirectionArg::default() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the run {} went {}, not {}",
        files.run,
        direction_name(of),
        direction_name(typed)
    ))
    .kind("other-direction")
    .hint("nothing was touched; leave --direction out, or name the run that is meant (`--status` lists them)"))
}

/// The run may have been taken up by itself, so it is named, and so is the store.
fn no_target(session: &Session, files: &RunFiles, of: &Parameters) -> Failure {
    let action = &session.line.action;
    let file = command::path(&files.summary);
    let what = match (action.rollback.is_some(), action.force_rollback) {
        (true, _) => format!(" --rollback {file}"),
        (_, true) => format!(" --force-rollback --state-file {file}"),
        _ if action.delete_source => format!(" --delete-source --state-file {file}"),
        _ => format!(" --verify-state --state-file {file}"),
    };
    Failure::usage(format!(
        "the run {} copied into {}, which has to be named as --target",
        files.run, of.target
    ))
    .kind("no-target")
    .hint(format!(
        "nothing was touched; keys that stood in the URL go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n      {}",
        session.command(&what, of, Flags::Known)
    ))
}

fn unnamed() -> Failure {
    Failure::usage(format!("{} needs the name of the run", owning::FLAG))
        .kind("no-state-file")
        .hint("write --rollback FILE, or --state-file FILE with the others; `--status` lists the runs")
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
        match fetch(session, &mirror, &files).await {
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

/// Takes a journal from its copy. Whether the run began here only the summary can say, which no bucket keeps.
async fn fetch(session: &Session, mirror: &Store, files: &RunFiles) -> Result<(), JournalError> {
    let (run, path) = (&files.run, &files.journal);
    let summary = session.state.read(files);
    match summary.is_some_and(|summary| !summary.taken) {
        true => Journal::from_mirror(mirror, MIRROR, run, path).await,
        false => Journal::take_from_mirror(mirror, MIRROR, run, path).await,
    }
    .map(drop)
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

/// The newest run that has something to undo, else the newest that is undone, else the newest at all. Where no run began in this state directory, also one of which only the bucket
/// keeps the journal: a directory that has runs of its own knows what is its own.
async fn newest(session: &Session) -> Result<RunFiles, Failure> {
    let mut runs = all(session)?;
    // Two databases may share a directory. Where none is of this one, it may have been restored: then the newest says whose it is.
    let is_other = |(files, summary): &(RunFiles, Option<Summary>)| {
        // What a person said of the run since counts before what its summary says.
        let custody = Journal::custody_of(&files.journal).unwrap_or_default();
        let said = custody.parameters.map(serde_json::from_value);
        let of = said.and_then(Result::ok);
        let of = of.or_else(|| summary.as_ref().map(|summary| summary.parameters.clone()));
        of.is_some_and(|of| is_of_another(session, &of))
    };
    if !runs.iter().all(is_other) {
        runs.retain(|run| !is_other(run));
    }
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
    let began_here = |(files, _): &(RunFiles, Option<Summary>)| {
        Journal::custody_of(&files.journal).map_or(true, |custody| !custody.is_taken)
    };
    let in_bucket = match runs.iter().any(began_here) {
        true => vec![],
        false => {
            let after = with_work.map(|(files, _)| files.run.as_str());
            only_in_bucket(session, after).await?
        }
    };
    if let Some(newer) = in_bucket.iter().find(|run| !run.is_elsewhere) {
        let fetched = fetch(session, &newer.mirror, &newer.files).await;
        fetched.map_err(|error| journal_failure(&error))?;
        say_taken(session, &newer.files);
        return Ok(newer.files.clone());
    }
    // One that moved something and is undone: what its rollback left alone, or a restored database holds again, only its journal knows.
    let has_undone = |(_, summary): &&(RunFiles, Option<Summary>)| {
        summary
            .as_ref()
            .is_some_and(|summary| summary.counts.reverted > 0)
    };
    let undone = || runs.iter().find(has_undone);
    // One that was cut off before it took anything on is closed by this.
    let is_unfinished = |(_, summary): &&(RunFiles, Option<Summary>)| {
        summary
            .as_ref()
            .is_some_and(|summary| summary.state.is_unfinished())
    };
    let cut_off = || runs.first().filter(is_unfinished);
    let found = with_work.or_else(cut_off).or_else(undone);
    match found.or(runs.first()) {
        Some((files, _)) => Ok(files.clone()),
        None => Err(no_run(session, &in_bucket)),
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
    /// Whether the database has another address than it had: it may be the one that this was copied from.
    pub is_elsewhere: bool,
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

/// Tells whether a run was over another database or application for certain.
fn is_of_another(session: &Session, of: &Parameters) -> bool {
    let info = session.database.info();
    let here = Parameters {
        database: info.identity.clone(),
        origin: Some(info.origin.clone()),
        ..of.clone()
    };
    of.is_surely_other(&here) || of.application != session.mapping.name
}

fn undoable(
    session: &Session,
    mirror: &Store,
    run: &str,
    journal: &Journal,
) -> Option<OnlyInBucket> {
    let of: Parameters = serde_json::from_value(journal.parameters()).ok()?;
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
        is_elsewhere: of.is_elsewhere(&here),
        parameters: of,
        switched,
        mirror: mirror.clone(),
    })
}

fn no_run(session: &Session, in_bucket: &[OnlyInBucket]) -> Failure {
    let mut hint = "name the directory with --state-dir, or a file with --state-file; the bucket keeps no copy of a run of this database either (that of a \
                    run from bucket to bucket is in the other one: add --target URL). Without any journal, what is in the bucket comes back by --direction s3-to-local"
        .to_owned();
    for run in in_bucket {
        hint.push_str(&format!(
            "\nit keeps the run {} over {}; if this is that database, or one made of it, this brings back rows and files, and removes no object:\n      {}",
            run.files.run,
            run.parameters.database_in_words(),
            session.command(
                &format!(" --rollback {}", command::path(&run.files.summary)),
                &run.parameters,
                Flags::Known
            )
        ));
    }
    Failure::new(
        Exit::NoStore,
        format!("there is no run in {}", session.state.path().display()),
    )
    .kind("no-state-file")
    .hint(hint)
}
