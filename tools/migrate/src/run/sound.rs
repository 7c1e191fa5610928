//! Whether a journal is all there: an older copy that was put back, or one whose tail was cut off, knows of too few documents.
//!
//! What must hold: before a journal is believed, it is compared with the copy in the bucket and with its summary. A longer copy is taken only where
//! the summary says that the journal lost its tail, and the shorter is kept; else, and where they contradict each other, nothing is done.
//!
//! One that is damaged before its end gives way to the copy if that agrees with all that can be read of it.
//!
//! What it deliberately does not do: look at rows. What a whole journal does not explain, the balance at the end names.

use console::{Exit, Failure, human};
use transfer::{Journal, JournalError, JournalErrorKind, RunHeader};

use super::command;
use super::failures::journal_failure;
use super::session::{MIRROR, Session, direction_named};
use crate::state::{Flags, RunFiles};

/// The kind of the failure that the copy contradicts the journal.
const DIVERGED: &str = "journal-diverged";

/// The kind of the failure that the copy goes on where the journal ends.
const LONGER: &str = "journal-longer-copy";

/// What came of making sure of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    /// It is as it was.
    Same,
    /// The copy of the bucket took its place.
    Renewed,
    /// It is believed by force alone, and the copy of the bucket contradicts it or goes on without it: somebody else may be at work with the run.
    Contested,
}

/// Makes sure of a run's journal. `is_forced`: what cannot be made sure of is only said.
///
/// # Errors
/// If the journal and its copy contradict each other, its tail is nowhere, or the copy cannot be looked at.
pub async fn make_sure(
    session: &Session,
    files: &RunFiles,
    is_forced: bool,
) -> Result<Sure, Failure> {
    let known = known_bytes(session, files);
    let is_healed = heal(session, files, is_forced).await?;
    let outcome = match compare(session, files).await {
        Ok(is_renewed) => check_length(session, files).map(|()| is_renewed || is_healed),
        Err(failure) => Err(failure),
    };
    let is_renewed = match outcome {
        Err(failure) if is_forced => {
            session.ui.warn(format!(
                "{failure}. It is taken as it is, as --force-rollback asks."
            ));
            if [LONGER, DIVERGED].map(Some).contains(&failure.kind_name()) {
                return Ok(Sure::Contested);
            }
            is_healed
        }
        outcome => outcome?,
    };
    Ok(match is_renewed {
        // By force a copy is taken, too, that has more than was ever written here.
        true if is_healed && is_forced && length_of(files)? > known => Sure::Contested,
        true => Sure::Renewed,
        false => Sure::Same,
    })
}

fn length_of(files: &RunFiles) -> Result<u64, Failure> {
    let found = std::fs::metadata(&files.journal);
    let found = found.map_err(|error| Failure::io("look at", &files.journal, &error))?;
    Ok(found.len())
}

/// Reads the first line of a run's journal; one that is damaged gives way to the bucket's copy before. The direction of the session becomes that of the
/// run: it says which bucket that is.
///
/// # Errors
/// If there is none that can be read, here or there.
pub async fn header(
    session: &mut Session,
    files: &RunFiles,
    is_forced: bool,
) -> Result<RunHeader, Failure> {
    if let Ok(header) = Journal::header_of(&files.journal) {
        return Ok(header);
    }
    let summary = session.state.read(files);
    if let Some(direction) = summary.and_then(|of| direction_named(&of.parameters.direction)) {
        session.settings.direction = direction;
    }
    heal(session, files, is_forced).await?;
    Journal::header_of(&files.journal).map_err(|error| journal_failure(&error))
}

/// Opens the journal of another run to read it; one that is damaged gives way to the bucket's copy before. None if nothing of it is left anywhere and
/// nothing says that it moved something.
///
/// # Errors
/// If it cannot be read, and may have moved something.
pub async fn open_other(session: &Session, files: &RunFiles) -> Result<Option<Journal>, Failure> {
    let error = match Journal::read_only(&files.journal) {
        Ok(journal) => return Ok(Some(journal)),
        // One that found nothing to do leaves no file, and another process may just have come to that.
        Err(error) if error.kind() == JournalErrorKind::NotFound => return Ok(None),
        Err(error) => error,
    };
    let is_beginning_gone = error.kind() == JournalErrorKind::Unknown;
    match heal(session, files, false).await {
        Ok(_) => {}
        // A run copies its journal before it moves anything.
        Err(failure) if is_beginning_gone && !is_copied(session, files).await? => {
            let summary = session.state.read(files);
            return match summary.is_some_and(|of| of.journal_bytes > 0 && of.counts.committed > 0) {
                true => Err(failure),
                false => Ok(None),
            };
        }
        Err(failure) => return Err(failure),
    }
    let journal = Journal::read_only(&files.journal);
    journal.map(Some).map_err(|error| journal_failure(&error))
}

async fn is_copied(session: &Session, files: &RunFiles) -> Result<bool, Failure> {
    let found = Journal::is_mirrored(&session.mirror().await?, MIRROR, &files.run).await;
    found.map_err(|error| journal_failure(&error))
}

/// Puts the bucket's copy in the place of a journal that is damaged before its end. True if it was.
///
/// # Errors
/// If it is damaged and there is no copy that fits.
pub async fn heal(session: &Session, files: &RunFiles, is_forced: bool) -> Result<bool, Failure> {
    let damage = Journal::damage_of(&files.journal).map_err(|error| journal_failure(&error))?;
    let Some(damage) = damage else {
        return Ok(false);
    };
    let mirror = session.mirror().await?;
    let known = match is_forced {
        true => u64::MAX,
        false => known_bytes(session, files),
    };
    let (run, path) = (&files.run, &files.journal);
    let healed = Journal::heal_from_mirror(&mirror, MIRROR, run, path, known).await;
    let healed = healed.map_err(|error| not_healed(files, &error))?;
    if let Some(healed) = healed {
        session.ui.warn(format!(
            "{damage}. It is replaced by the copy of the bucket, which agrees with all that can be read of it; the damaged one is kept as {}",
            healed.aside.display()
        ));
    }
    Ok(true)
}

fn not_healed(files: &RunFiles, error: &JournalError) -> Failure {
    match error.kind() {
        JournalErrorKind::Unknown | JournalErrorKind::Damaged => Failure::new(
            Exit::Corrupt,
            format!("{error}, and the bucket has no copy of it that is whole"),
        )
        .kind("journal-damaged")
        .hint(
            "keep it, and put the newest copy of it from a backup in its place. Without one, --audit-files says where each document is, what is still \
             local a new run takes on, and --direction s3-to-local brings back what is in the bucket, as its rows name it",
        ),
        JournalErrorKind::Diverged => replaceable(files, error, DIVERGED),
        JournalErrorKind::Shorter => replaceable(files, error, LONGER),
        _ => journal_failure(error),
    }
}

/// A damaged journal cannot be taken as it is, so there is nothing to choose.
fn replaceable(files: &RunFiles, error: &JournalError, kind: &'static str) -> Failure {
    let (journal, summary) = (command::path(&files.journal), command::path(&files.summary));
    let failure = journal_failure(error);
    let failure = Failure::new(
        failure.exit(),
        format!(
            "{failure}; the one here is damaged before its end, so it cannot be taken as it is"
        ),
    );
    failure.kind(kind).hint(format!(
        "put the newest copy of it from a backup in its place. To take the copy of the bucket: mv {journal} {journal}.kept, then the same command \
         with {summary} for the run"
    ))
}

/// How long a journal was by what is kept here. What the bucket says of itself is no reason to believe it.
fn known_bytes(session: &Session, files: &RunFiles) -> u64 {
    let summary = session.state.read(files);
    summary.map_or(0, |summary| summary.journal_bytes)
}

async fn compare(session: &Session, files: &RunFiles) -> Result<bool, Failure> {
    let mirror = session.mirror().await?;
    let known = known_bytes(session, files);
    let renewed = Journal::renew_from_mirror(&mirror, MIRROR, &files.journal, known).await;
    let renewed = renewed.map_err(|error| match error.kind() {
        JournalErrorKind::Diverged => undecided(session, files, journal_failure(&error), DIVERGED),
        JournalErrorKind::Shorter => undecided(session, files, journal_failure(&error), LONGER),
        _ => journal_failure(&error),
    })?;
    let Some(renewed) = renewed else {
        return Ok(false);
    };
    session.ui.warn(format!(
        "{} had only {} of {}: its tail was missing, or it was an older copy. It is replaced by the copy of the bucket, which begins \
         with it; the short one is kept as {}",
        files.journal.display(),
        human::count(renewed.was, "byte"),
        human::number(renewed.is),
        renewed.aside.display()
    ));
    Ok(true)
}

/// The summary knows how long the journal was.
fn check_length(session: &Session, files: &RunFiles) -> Result<(), Failure> {
    let Some(summary) = session.state.read(files) else {
        return Ok(());
    };
    let found = length_of(files)?;
    if found >= summary.journal_bytes {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Corrupt,
        format!(
            "{} has lost its tail: it has {} of {}, and the bucket has no longer copy",
            files.journal.display(),
            human::count(found, "byte"),
            human::number(summary.journal_bytes)
        ),
    )
    .kind("journal-cut")
    .hint(format!(
        "restore the newest copy of it from a backup; to undo what this one knows of:\n      {}",
        force(session, files)
    )))
}

/// Which of the two is right only a person can say.
fn undecided(session: &Session, files: &RunFiles, failure: Failure, kind: &'static str) -> Failure {
    let (journal, summary) = (command::path(&files.journal), command::path(&files.summary));
    failure.kind(kind).hint(format!(
        "keep both. To take the copy of the bucket: mv {journal} {journal}.kept, then the same command with --state-file {summary}. To \
         take this one:\n      {}",
        force(session, files)
    ))
}

/// The command that takes a journal as it is. The direction of the session is that of the run by now.
fn force(session: &Session, files: &RunFiles) -> String {
    let what = format!(
        " --force-rollback --state-file {}",
        command::path(&files.summary)
    );
    match session.parameters() {
        Ok(of) => session.command(&what, &of, Flags::Known),
        Err(_) => format!("migrate_to_s3{what}{}", session.typed()),
    }
}
