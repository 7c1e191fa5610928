//! Which run a migration goes on with, or that it begins a new one.
//!
//! What must hold: an unfinished run is never passed over in silence, and its journal never overwritten; a run goes on only over
//! the same database, files and store, and only while no later run has moved rows: runs of one database lie upon each other, and are undone from
//! the newest on. The work of one that went on above a later one would have no place in that order.
//!
//! What it deliberately does not do: roll anything back.

use console::{Exit, Failure, Unasked};
use transfer::{Journal, JournalErrorKind, RunHeader};

use super::command;
use super::existing;
use super::failures::{begin_failure, journal_failure};
use super::owning;
use super::record::{Record, of_header, state_of};
use super::session::{MIRROR, Session};
use super::sound;
use super::upon::moved_since;
use crate::state::{Flags, Parameters, RunFiles, RunState, Summary};

/// Finds the run that the command line means, and opens its journal for writing.
///
/// # Errors
/// If there is an unfinished run and nobody said what to do about it, or the named one does not fit.
pub async fn choose(session: &mut Session) -> Result<(Record, Journal), Failure> {
    let parameters = session.parameters()?;
    let run = &session.line.run;
    if let Some(path) = &run.resume_from {
        let files = existing::resolve(session, path).await?;
        return resume(session, &files, &parameters).await;
    }
    let unfinished = unfinished(session, &parameters).await?;
    let Some((files, state)) = unfinished else {
        if run.resume {
            session
                .ui
                .status("There is no unfinished run to resume; a new one begins.");
        }
        return begin(session, &parameters).await;
    };
    if run.fresh_start {
        session.ui.status(format!(
            "The run {} is kept: {}",
            files.run,
            files.journal.display()
        ));
        return begin(session, &parameters).await;
    }
    if state == RunState::RollingBack {
        return Err(partly_rolled_back(session, &files, &parameters));
    }
    if let Some(later) = moved_since(session, &files, &parameters).await? {
        say_left(session, &files, &later);
        return begin(session, &parameters).await;
    }
    // The guide's lines with --enable-rollback are run after an interruption, by scripts too.
    let is_told = run.resume || run.enable_rollback;
    if is_told || session.ui.confirm(question(&files), Unasked::No)? {
        session
            .ui
            .status(format!("Going on with the run {}.", files.run));
        return resume(session, &files, &parameters).await;
    }
    Err(undecided(session, &files, &parameters))
}

/// Fails if an unfinished run of the same database goes to, or comes from, another bucket: a new one would split the documents over both.
///
/// # Errors
/// Of kind `other-bucket`, or if a journal cannot be read.
pub async fn check_bucket(session: &Session) -> Result<(), Failure> {
    let run = &session.line.run;
    if run.fresh_start || run.resume_from.is_some() {
        return Ok(());
    }
    let here = session.parameters()?;
    for files in session.state.runs()? {
        // What cannot be read is not nothing; the run that it is of is asked about when it is chosen.
        let journal = Journal::read_only(&files.journal).ok();
        let of_summary = |summary: Summary| (summary.state, summary.parameters);
        let of_journal = |journal: &Journal| {
            let of = serde_json::from_value(journal.parameters()).ok()?;
            Some((state_of(journal), of))
        };
        let summary = session.state.read(&files).map(of_summary);
        let Some((state, of)) = summary.or_else(|| of_journal(journal.as_ref()?)) else {
            continue;
        };
        let custody = Journal::custody_of(&files.journal).unwrap_or_default();
        let is_open = journal.is_none_or(|journal| existing::has_open(&journal));
        let is_in_question = state.is_unfinished() && !custody.is_taken && is_open;
        if is_in_question
            && of.differs_in_bucket_only(&here)
            && moved_since(session, &files, &of).await?.is_none()
        {
            return Err(other_bucket(session, &files, &of, &here));
        }
    }
    Ok(())
}

fn other_bucket(
    session: &Session,
    files: &RunFiles,
    of: &Parameters,
    here: &Parameters,
) -> Failure {
    let what = of.difference(here).unwrap_or_default();
    Failure::new(
        Exit::Conflict,
        format!("the run {} did not come to its end, and was over {what}", files.run),
    )
    .kind("other-bucket")
    .hint(format!(
        "nothing was done, for a new run would split the documents over two buckets. Name that bucket (S3_BUCKET_NAME and the other S3_… variables, or \
         --store) and go on with the run by --resume, or undo it by --rollback. Only if the split is meant:\n      {}",
        session.command(" --fresh-start", here, Flags::New)
    ))
}

/// Finds the newest unfinished run over the same database, files and store.
async fn unfinished(
    session: &Session,
    parameters: &Parameters,
) -> Result<Option<(RunFiles, RunState)>, Failure> {
    for files in session.state.runs()? {
        let (state, of) = match session.state.read(&files) {
            Some(summary) => (summary.state, summary.parameters),
            None => match described(session, &files).await? {
                Some(found) => found,
                None => continue,
            },
        };
        // What came from the bucket another machine may go on with; what was undone of it here is finished here.
        let is_of_here = || {
            let custody = Journal::custody_of(&files.journal).unwrap_or_default();
            !custody.is_taken || state == RunState::RollingBack
        };
        if state.is_unfinished() && of.is_same_place(parameters) && is_of_here() {
            return Ok(Some((files, state)));
        }
    }
    Ok(None)
}

/// Reads what a run is from its journal; none of one that took nothing on.
async fn described(
    session: &Session,
    files: &RunFiles,
) -> Result<Option<(RunState, Parameters)>, Failure> {
    let Some(journal) = sound::open_other(session, files).await? else {
        return Ok(None);
    };
    let parameters = serde_json::from_value(journal.parameters());
    Ok(parameters
        .ok()
        .map(|parameters| (state_of(&journal), parameters)))
}

async fn begin(session: &Session, parameters: &Parameters) -> Result<(Record, Journal), Failure> {
    let parameters = serde_json::to_value(parameters)
        .map_err(|error| Failure::wrap(Exit::Failed, "the run could not be described", &error))?;
    loop {
        let now = jiff::Timestamp::now();
        let files = new_files(session, now).await?;
        let header = RunHeader {
            run_id: files.run.clone(),
            tool: "migrate_to_s3".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            started: now,
            parameters: parameters.clone(),
        };
        match Journal::create(&files.journal, header) {
            // A run over another database that shares the directory took the name meanwhile.
            Err(error) if error.kind() == JournalErrorKind::Exists => {}
            created => {
                let journal = created.map_err(|error| begin_failure(&error))?;
                let record = Record::open(session, &files, &journal)?;
                return Ok((record, journal));
            }
        }
    }
}

/// Names the files of a new run. Another state directory may have had a run in this second: its copy in the bucket is not written over.
async fn new_files(session: &Session, now: jiff::Timestamp) -> Result<RunFiles, Failure> {
    let mirror = session.mirror().await?;
    let mut taken = vec![];
    loop {
        let files = session.state.new_run(now, &taken);
        let is_mirrored = Journal::is_mirrored(&mirror, MIRROR, &files.run).await;
        if !is_mirrored.map_err(|error| journal_failure(&error))? {
            return Ok(files);
        }
        taken.push(files.run);
    }
}

async fn resume(
    session: &mut Session,
    files: &RunFiles,
    parameters: &Parameters,
) -> Result<(Record, Journal), Failure> {
    let header = sound::header(session, files, false).await?;
    let custody = Journal::custody_of(&files.journal).map_err(|error| journal_failure(&error))?;
    let of = of_header(files, &header, &custody)?;
    let difference = match session.line.action.same_database {
        true => of.over_database_of(parameters).difference(parameters),
        false => of.difference(parameters),
    };
    if let Some(what) = difference {
        let failure = owning::other_run(session, files, &of, &what);
        let hint = failure.hint_text().unwrap_or_default().to_owned();
        return Err(failure.hint(format!("{hint}; or begin a new run with --fresh-start")));
    }
    if let Some(later) = moved_since(session, files, &of).await? {
        return Err(lies_below(session, files, &later, &of));
    }
    sound::make_sure(session, files, false).await?;
    let journal = Journal::open(&files.journal).map_err(|error| journal_failure(&error))?;
    owning::own(session, &of, &journal).await?;
    owning::check_own(files, &journal)?;
    let record = Record::open(session, files, &journal)?;
    match state_of(&journal) {
        RunState::RollingBack | RunState::RolledBack => {
            Err(partly_rolled_back(session, files, &of))
        }
        _ => Ok((record, journal)),
    }
}

fn question(files: &RunFiles) -> String {
    format!(
        "The run {} did not come to its end. Go on with it?",
        files.run
    )
}

fn say_left(session: &Session, files: &RunFiles, later: &RunFiles) {
    session.ui.status(format!(
        "The run {} did not come to its end and is left so: {} has moved rows since. A new run takes on what is left to do; the journal \
         is kept: {}",
        files.run,
        later.run,
        files.journal.display()
    ));
}

fn lies_below(session: &Session, files: &RunFiles, later: &RunFiles, of: &Parameters) -> Failure {
    let undo = format!(" --rollback {}", command::path(&later.summary));
    Failure::new(
        Exit::Conflict,
        format!(
            "the run {} cannot go on: the run {} has moved rows since",
            files.run, later.run
        ),
    )
    .kind("later-run")
    .hint(format!(
        "a new run takes on what is left to do; else roll the later one back first\n      {}\n      {}",
        session.command(" --fresh-start", of, Flags::New),
        session.command(&undo, of, Flags::Known)
    ))
}

fn undecided(session: &Session, files: &RunFiles, of: &Parameters) -> Failure {
    Failure::usage(format!("the run {} did not come to its end", files.run))
        .kind("unfinished-run")
        .hint(format!(
            "go on with it by --resume, or begin anew by --fresh-start (its journal is kept)\n      {}\n      {}",
            session.command(" --resume", of, Flags::New),
            session.command(" --fresh-start", of, Flags::New)
        ))
}

fn partly_rolled_back(session: &Session, files: &RunFiles, of: &Parameters) -> Failure {
    let undo = format!(" --rollback {}", command::path(&files.summary));
    Failure::new(
        Exit::Conflict,
        format!("the run {} is rolled back, wholly or in part", files.run),
    )
    .kind("rolled-back-run")
    .hint(format!(
        "finish that by --rollback, or begin a new run by --fresh-start\n      {}\n      {}",
        session.command(&undo, of, Flags::Known),
        session.command(" --fresh-start", of, Flags::New)
    ))
}
