//! Rows of a run that is rolled back, was to be, or was cut off: which of them hold its new path (again), and which hold something else.
//!
//! What must hold: a row counts as held again only if the runs over this database, here or in the bucket, did not bring it there (`stack`); what
//! a rollback found changed by hand is named each time until the row is back or gone.
//!
//! What it deliberately does not do: change a row. The rollback does, once it has seen that the files are there and equal.

use console::Failure;
use transfer::{Entry, Exception, ExceptionKind, Journal, JournalError, KeySet, State};

use super::failures::{database_failure, journal_failure};
use super::session::Session;
use super::stack::{Stack, own_change};
use crate::cli::args::DirectionArg;
use crate::db::{Change, Switched};

/// Rows are asked for so many documents at a time.
const BATCH: usize = 500;

/// Finds the items that a run has undone and whose rows hold its new path again, where no run has put them: an older state of the database was
/// restored, from a dump between the run and its rollback.
///
/// # Errors
/// If rows or journals cannot be read.
pub async fn switched_again(session: &Session, journal: &Journal) -> Result<KeySet, Failure> {
    let mut held = KeySet::new();
    // Between buckets a row does not say which is meant.
    if session.settings.direction == DirectionArg::S3ToS3 {
        return Ok(held);
    }
    let entries = journal.entries(is_undone);
    let answered = asked(session, entries, |entry, change, answer| {
        if answer == Switched::AlreadyDone && change.old != change.new {
            held.insert(&entry.item.id);
        }
    });
    answered.await?;
    if held.is_empty() {
        return Ok(held);
    }
    let stack = Stack::of(session, journal, &held).await?;
    let mut again = KeySet::new();
    for entry in journal.entries(is_undone) {
        let entry = entry.map_err(|error| journal_failure(&error))?;
        let id = &entry.item.id;
        let is_brought = |change: Change| stack.has(id, &change.new);
        if held.contains(id) && !own_change(&entry).is_some_and(is_brought) {
            again.insert(id);
        }
    }
    Ok(again)
}

fn is_undone(state: State) -> bool {
    matches!(state, State::Reverted | State::Undone)
}

/// Names the rows that a rollback of this run found changed by hand and that are neither back nor gone.
///
/// # Errors
/// If rows or journal cannot be read.
pub async fn still_changed(
    session: &Session,
    journal: &Journal,
) -> Result<Vec<Exception>, Failure> {
    let mut found = Vec::new();
    let entries = journal.entries_lost_on_the_way_back();
    let answered = asked(session, entries, |entry, change, answer| {
        let now = match answer {
            Switched::Changed(now) => now,
            Switched::AlreadyDone if change.old != change.new => change.new.clone(),
            _ => return,
        };
        let blob = entry.item.blobs.first();
        found.push(Exception {
            item: entry.item.id.clone(),
            role: String::new(),
            source: blob.map(|blob| blob.source.clone()).unwrap_or_default(),
            key: blob.map(|blob| blob.key.clone()).unwrap_or_default(),
            kind: ExceptionKind::ItemChanged,
            message: format!(
                "the row holds `{now}`, and neither {} as before the run nor, when this was rolled back, {} as after it; its object was kept",
                change.old, change.new
            ),
            remedy: format!(
                "see what it points to now; if that is right, nothing is to be done; else write {} or {} into the row, then roll back again",
                change.old, change.new
            ),
        });
    });
    answered.await?;
    Ok(found)
}

/// Counts the items in the middle of a step by what their rows hold: how many are switched over, and how many are back or never were. After a process
/// was killed the journal does not know.
///
/// # Errors
/// If rows or journal cannot be read.
pub async fn between(session: &Session, journal: &Journal) -> Result<(u64, u64), Failure> {
    let (mut switched, mut back) = (0, 0);
    let entries = journal.entries(|state| matches!(state, State::Committing | State::Reverting));
    let answered = asked(session, entries, |entry, _, answer| match answer {
        Switched::AlreadyDone => switched += 1,
        _ if entry.state == State::Reverting => back += 1,
        _ => {}
    });
    answered.await?;
    Ok((switched, back))
}

/// Asks of each item what its own row holds.
async fn asked(
    session: &Session,
    mut entries: impl Iterator<Item = Result<Entry, JournalError>>,
    mut each: impl FnMut(&Entry, &Change, Switched),
) -> Result<(), Failure> {
    loop {
        let mut batch: Vec<(Entry, Change)> = Vec::new();
        let mut is_at_end = true;
        for entry in entries.by_ref().take(BATCH) {
            is_at_end = false;
            let entry = entry.map_err(|error| journal_failure(&error))?;
            let change = own_change(&entry);
            batch.extend(change.map(|change| (entry, change)));
        }
        if is_at_end {
            return Ok(());
        }
        let changes: Vec<Change> = batch.iter().map(|(_, change)| change.clone()).collect();
        let answers = session.database.peek(&changes).await;
        let answers = answers.map_err(|error| database_failure(&error))?;
        for ((entry, change), answer) in batch.iter().zip(answers) {
            each(entry, change, answer);
        }
    }
}
