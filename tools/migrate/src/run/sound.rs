//! Whether a journal is all there: an older copy that was put back, or one whose tail was cut off, knows of too few documents.
//!
//! What must hold: before a journal is believed, it is compared with the copy in the bucket and with its summary. A longer copy is taken only where
//! the summary says that the journal lost its tail, and the shorter is kept; else, and where they contradict each other, nothing is done.
//!
//! What it deliberately does not do: look at rows. What a whole journal does not explain, the balance at the end names.

use console::{Exit, Failure, human};
use transfer::{Journal, JournalErrorKind};

use super::command;
use super::failures::journal_failure;
use super::session::{MIRROR, Session};
use crate::state::{Flags, RunFiles};

/// Makes sure of a run's journal; true if the copy of the bucket took its place. `is_forced`: what cannot be made sure of is only said.
///
/// # Errors
/// If the journal and its copy contradict each other, its tail is nowhere, or the copy cannot be looked at.
pub async fn make_sure(
    session: &Session,
    files: &RunFiles,
    is_forced: bool,
) -> Result<bool, Failure> {
    let outcome = match compare(session, files).await {
        Ok(is_renewed) => check_length(session, files).map(|()| is_renewed),
        Err(failure) => Err(failure),
    };
    match outcome {
        Err(failure) if is_forced => {
            session.ui.warn(format!(
                "{failure}. It is taken as it is, as --force-rollback asks."
            ));
            Ok(false)
        }
        outcome => outcome,
    }
}

async fn compare(session: &Session, files: &RunFiles) -> Result<bool, Failure> {
    let mirror = session.mirror().await?;
    // What the bucket says of itself is no reason to believe it: the summary lies here.
    let summary = session.state.read(files);
    let known = summary.map_or(0, |summary| summary.journal_bytes);
    let renewed = Journal::renew_from_mirror(&mirror, MIRROR, &files.journal, known).await;
    let renewed = renewed.map_err(|error| match error.kind() {
        JournalErrorKind::Diverged => {
            undecided(session, files, journal_failure(&error), "journal-diverged")
        }
        JournalErrorKind::Shorter => undecided(
            session,
            files,
            journal_failure(&error),
            "journal-longer-copy",
        ),
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
    let found = std::fs::metadata(&files.journal)
        .map_err(|error| Failure::io("look at", &files.journal, &error))?
        .len();
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
