//! Rows of a run that is rolled back, was to be, or was cut off: which of them hold its new path (again), and which hold something else.
//!
//! What must hold: a row counts as held again if it, or one that repeats its path, holds what this very run left there, and the runs over this
//! database, here or in the bucket, have not put it there (`stack`). What a rollback found changed by hand is named each time until the row is back or
//! gone, or until the runs have it where it is.
//!
//! What it deliberately does not do: change a row. The rollback does, once it has seen that the files are there and equal.

use std::collections::HashMap;

use console::Failure;
use transfer::{Entry, Exception, ExceptionKind, Journal, JournalError, KeySet, State};

use super::failures::{database_failure, journal_failure};
use super::session::Session;
use super::stack::{Stack, own_change};
use crate::cli::args::DirectionArg;
use crate::db::{Change, Holder, Switched};

/// Rows are asked for so many documents at a time.
const BATCH: usize = 500;

/// More rows than this are not named one by one.
const NAMED_MAX: usize = 10_000;

/// Items that a run has undone, or found changed when they were to be, and of which a row holds its new path.
#[derive(Default)]
pub struct Held {
    /// No run explains it: an older state of the database was restored, or a row that repeats the path was left behind.
    pub again: KeySet,
    /// The runs have put it there.
    pub settled: KeySet,
}

/// Finds the items of a run of which rows hold the new path though the run is undone.
///
/// # Errors
/// If rows or journals cannot be read.
pub async fn held(session: &Session, journal: &Journal) -> Result<Held, Failure> {
    let mut found = Held::default();
    let candidates = holding(session, journal).await?;
    if candidates.is_empty() {
        return Ok(found);
    }
    let ids: KeySet = candidates.iter().map(|one| one.id.as_str()).collect();
    let stack = Stack::of(session, journal, &ids).await?;
    for one in candidates {
        match stack.has(&one.id, &one.new) {
            true => found.settled.insert(&one.id),
            false => found.again.insert(&one.id),
        };
    }
    Ok(found)
}

/// An item with the path that its run left.
struct Candidate {
    id: String,
    new: String,
}

async fn holding(session: &Session, journal: &Journal) -> Result<Vec<Candidate>, Failure> {
    let mut candidates = Vec::new();
    // Between buckets a row does not say which is meant.
    if session.settings.direction == DirectionArg::S3ToS3 {
        return Ok(candidates);
    }
    let mut entries = over(journal);
    while let Some(batch) = next_batch(&mut entries)? {
        let answers = peeked(session, &batch).await?;
        let named = named_by_others(session, &batch).await?;
        for ((entry, change), answer) in batch.into_iter().zip(answers) {
            let is_held = match answer {
                Switched::AlreadyDone => true,
                Switched::Done | Switched::Gone => named.contains_key(&change.new),
                // Whatever it names now, its own row is to be mended first.
                Switched::Changed(_) => false,
            };
            if is_held && change.old != change.new {
                let (id, new) = (entry.item.id, change.new);
                candidates.push(Candidate { id, new });
            }
        }
    }
    Ok(candidates)
}

/// What the run has given back, or was to.
fn over(journal: &Journal) -> impl Iterator<Item = Result<Entry, JournalError>> {
    let undone = journal.entries(|state| matches!(state, State::Reverted | State::Undone));
    // One that was only planned this run has not moved.
    let undone = undone.filter(|entry| {
        let is_stored = |entry: &Entry| !entry.stored.is_empty();
        entry.as_ref().map_or(true, is_stored)
    });
    undone.chain(journal.entries_lost_on_the_way_back())
}

/// Finds the rows that name one of the new objects and are not the items' own, by what they hold: of two documents with one file the other one may have
/// taken a row along. A path on the disk says nothing of the kind: rows that no run has moved may have it.
async fn named_by_others(
    session: &Session,
    batch: &[(Entry, Change)],
) -> Result<HashMap<String, Holder>, Failure> {
    if session.settings.direction != DirectionArg::LocalToS3 {
        return Ok(HashMap::new());
    }
    let own: HashMap<&str, &Change> = batch
        .iter()
        .map(|(_, change)| (change.new.as_str(), change))
        .collect();
    let paths: Vec<String> = own.keys().map(|path| (*path).to_owned()).collect();
    if paths.is_empty() {
        return Ok(HashMap::new());
    }
    let mut columns = vec![session.mapping.main.column()];
    columns.extend(session.mapping.followers());
    let holders = session.database.holders(&columns, &paths).await;
    let holders = holders.map_err(|error| database_failure(&error))?;
    let others = holders.into_iter().filter(|holder| {
        own.get(holder.path.as_str()).is_some_and(|change| {
            (&holder.table, &holder.column, &holder.key)
                != (&change.table, &change.column, &change.key)
        })
    });
    Ok(others.map(|holder| (holder.path.clone(), holder)).collect())
}

/// Names the rows that hold what this run left, though it is undone and no run explains it.
///
/// # Errors
/// If rows or journals cannot be read.
pub async fn still_switched(
    session: &Session,
    journal: &Journal,
) -> Result<Vec<Exception>, Failure> {
    let again = held(session, journal).await?.again;
    let mut found = Vec::new();
    if again.is_empty() {
        return Ok(found);
    }
    let is_one = |entry: &Result<Entry, JournalError>| {
        let is_one = |entry: &Entry| again.contains(&entry.item.id);
        entry.as_ref().map_or(true, is_one)
    };
    let mut entries = over(journal).filter(is_one).take(NAMED_MAX);
    while let Some(batch) = next_batch(&mut entries)? {
        let answers = peeked(session, &batch).await?;
        let named = named_by_others(session, &batch).await?;
        for ((entry, change), answer) in batch.iter().zip(answers) {
            let row = match (answer, named.get(&change.new)) {
                (Switched::AlreadyDone, _) => change.to_string(),
                (_, Some(other)) => format!("{}.{} of {}", other.table, other.column, other.key),
                // Somebody has mended it since it was found.
                (_, None) => continue,
            };
            let message = format!(
                "{row} holds {}, which this run left there and has undone",
                change.new
            );
            let remedy = "roll this run back again: that brings each row back whose file is there, or whose object is";
            found.push(about(entry, ExceptionKind::StillSwitched, message, remedy));
        }
    }
    Ok(found)
}

/// An exception of an item, by its first blob.
pub(crate) fn about(
    entry: &Entry,
    kind: ExceptionKind,
    message: String,
    remedy: impl Into<String>,
) -> Exception {
    let blob = entry.item.blobs.first();
    Exception {
        item: entry.item.id.clone(),
        role: String::new(),
        source: blob.map(|blob| blob.source.clone()).unwrap_or_default(),
        key: blob.map(|blob| blob.key.clone()).unwrap_or_default(),
        kind,
        message,
        remedy: remedy.into(),
    }
}

/// Names the rows that a rollback of this run found changed by hand and that are neither back nor gone.
///
/// # Errors
/// If rows or journal cannot be read.
pub async fn still_changed(
    session: &Session,
    journal: &Journal,
    settled: &KeySet,
) -> Result<Vec<Exception>, Failure> {
    let mut found = Vec::new();
    let entries = journal.entries_lost_on_the_way_back();
    let answered = asked(session, entries, |entry, change, answer| {
        if settled.contains(&entry.item.id) {
            return;
        }
        let now = match answer {
            Switched::Changed(now) => now,
            Switched::AlreadyDone if change.old != change.new => change.new.clone(),
            _ => return,
        };
        let message = format!(
            "the row holds `{now}`, and neither {} as before the run nor, when this was rolled back, {} as after it; its object was kept",
            change.old, change.new
        );
        let remedy = format!(
            "see what it points to now; if that is right, nothing is to be done; else write {} or {} into the row, then roll back again",
            change.old, change.new
        );
        found.push(about(entry, ExceptionKind::ItemChanged, message, remedy));
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
pub(super) async fn asked(
    session: &Session,
    mut entries: impl Iterator<Item = Result<Entry, JournalError>>,
    mut each: impl FnMut(&Entry, &Change, Switched),
) -> Result<(), Failure> {
    while let Some(batch) = next_batch(&mut entries)? {
        let answers = peeked(session, &batch).await?;
        for ((entry, change), answer) in batch.iter().zip(answers) {
            each(entry, change, answer);
        }
    }
    Ok(())
}

/// Reads the next items with the changes of their own rows; none at the end.
fn next_batch(
    entries: &mut impl Iterator<Item = Result<Entry, JournalError>>,
) -> Result<Option<Vec<(Entry, Change)>>, Failure> {
    let mut batch = Vec::new();
    let mut is_at_end = true;
    for entry in entries.by_ref().take(BATCH) {
        is_at_end = false;
        let entry = entry.map_err(|error| journal_failure(&error))?;
        let change = own_change(&entry);
        batch.extend(change.map(|change| (entry, change)));
    }
    Ok((!is_at_end).then_some(batch))
}

async fn peeked(session: &Session, batch: &[(Entry, Change)]) -> Result<Vec<Switched>, Failure> {
    let changes: Vec<Change> = batch.iter().map(|(_, change)| change.clone()).collect();
    let answers = session.database.peek(&changes).await;
    answers.map_err(|error| database_failure(&error))
}
