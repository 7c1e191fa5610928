//! Where the runs of one database, as a stack, have put rows: each lies on those that began before it, and the newest is undone first.
//!
//! What must hold: of a row says the newest run that has moved it and is not undone where it is. Where all are undone it is where the oldest found it:
//! each of them gave back what it had found, the newest first, as long as it had found what the one below it left. A row that is there was brought there
//! by the runs, and shows no restored dump, whatever else once had the same value.
//!
//! What it deliberately does not do: look at a row. Nor trust a clock: which run lies on which is in their names, and what was undone in their journals.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use console::Failure;
use transfer::{Entry, Journal, JournalError, KeySet, State};

use super::failures::journal_failure;
use super::journals;
use super::session::{Session, direction_named};
use crate::cli::args::DirectionArg;
use crate::db::Change;
use crate::plan::Context;
use crate::state::{Parameters, run_age};

/// Where the stack has each of some rows, by hashes of their names and values.
#[derive(Default)]
pub struct Stack {
    rows: HashMap<u64, Place>,
}

/// Where one row is by the runs that were taken in so far.
struct Place {
    value: u64,
    /// Where it is as well, if a run was cut off in the middle of a step.
    or: Option<u64>,
    /// A run that is not undone put it there.
    is_settled: bool,
}

/// What one run did to a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Moved,
    /// It was cut off on the way there, or back.
    Perhaps,
    Undid,
}

impl Stack {
    /// Reads where the stack has some items of a run: by its own journal, and by those of all runs over the same database that are known.
    ///
    /// # Errors
    /// If journals cannot be listed, or the run's own cannot be read. Another one that cannot be read is said, and moves nothing.
    pub async fn of(session: &Session, journal: &Journal, items: &KeySet) -> Result<Self, Failure> {
        let mut stack = Self::default();
        let here = session.parameters()?;
        let mirror = session.mirror().await?;
        let own = journal.header().run_id.clone();
        let mut is_taken_in = false;
        let take_in = |other: &Journal, _: bool| {
            if !is_taken_in && run_age(&other.header().run_id) < run_age(&own) {
                is_taken_in = true;
                stack.take_in(journal, items)?;
            }
            match moves_rows_of(other, &here) {
                true => stack.take_in(other, items),
                false => Ok(()),
            }
        };
        journals::newest_first(session, &mirror, Some(&own), "explains no row", take_in).await?;
        if !is_taken_in {
            let read = stack.take_in(journal, items);
            read.map_err(|error| journal_failure(&error))?;
        }
        Ok(stack)
    }

    /// Tells whether an item's row is where the stack has put it if it holds this.
    pub fn has(&self, id: &str, value: &str) -> bool {
        let value = hash(value);
        self.rows
            .get(&hash(id))
            .is_some_and(|place| place.value == value || place.or == Some(value))
    }

    /// Takes in the run below those that were taken in so far.
    fn take_in(&mut self, journal: &Journal, items: &KeySet) -> Result<(), JournalError> {
        let lost = journal.entries_lost_on_the_way_back();
        // Whoever mended what a rollback found changed has put it back, or lets the next rollback do it.
        let lost = lost.map(|entry| entry.map(|entry| (entry, Did::Undid)));
        let moved = journal.entries(|state| did(state).is_some());
        let moved = moved.map(|entry| {
            entry.map(|entry| {
                let did = did(entry.state).unwrap_or(Did::Undid);
                (entry, did)
            })
        });
        for entry in moved.chain(lost) {
            let (entry, did) = entry?;
            // One that was only planned this run has not moved.
            if !items.contains(&entry.item.id) || entry.stored.is_empty() {
                continue;
            }
            if let Some(change) = own_change(&entry) {
                self.lay(&entry.item.id, did, &change);
            }
        }
        Ok(())
    }

    /// Lays what is known of a row on what a run below it did.
    fn lay(&mut self, id: &str, did: Did, change: &Change) {
        let (old, new) = (hash(&change.old), hash(&change.new));
        let begun = |value, or, is_settled| Place {
            value,
            or,
            is_settled,
        };
        let Some(place) = self.rows.get_mut(&hash(id)) else {
            let place = match did {
                Did::Moved => begun(new, None, true),
                Did::Perhaps => begun(new, Some(old), true),
                Did::Undid => begun(old, None, false),
            };
            self.rows.insert(hash(id), place);
            return;
        };
        // A run that had left something else there was undone before the one above it began.
        if place.is_settled || place.value != new {
            return;
        }
        match did {
            Did::Moved => place.is_settled = true,
            Did::Perhaps => *place = begun(new, Some(old), true),
            Did::Undid => place.value = old,
        }
    }
}

/// Returns the change of the item's own row.
pub fn own_change(entry: &Entry) -> Option<Change> {
    let context = serde_json::from_value::<Context>(entry.item.context.clone());
    context.ok()?.changes.into_iter().next()
}

fn did(state: State) -> Option<Did> {
    match state {
        State::Reverted | State::Undone => Some(Did::Undid),
        State::Committing | State::Reverting => Some(Did::Perhaps),
        state => state.is_switched().then_some(Did::Moved),
    }
}

/// Tells whether a run may have moved the rows of this database. One between buckets moves none.
fn moves_rows_of(journal: &Journal, here: &Parameters) -> bool {
    let of = serde_json::from_value::<Parameters>(journal.parameters());
    of.is_ok_and(|of| {
        !of.is_surely_other(here)
            && of.application == here.application
            && direction_named(&of.direction).is_some_and(|way| way != DirectionArg::S3ToS3)
    })
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a row is after some runs, the newest first, each with what it found and what it left.
    fn lies(runs: &[(Did, &str, &str)], value: &str) -> bool {
        let mut stack = Stack::default();
        for (did, old, new) in runs {
            let change = Change {
                table: "documents".into(),
                key_column: "id".into(),
                key: "1".into(),
                column: "file_path".into(),
                old: (*old).into(),
                new: (*new).into(),
            };
            stack.lay("documents/1", *did, &change);
        }
        stack.has("documents/1", value)
    }

    #[test]
    fn a_row_is_where_the_newest_run_that_is_not_undone_put_it() {
        use Did::{Moved, Perhaps, Undid};
        let (disk, bucket) = ("/uploads/1", "s3://1");
        let check = |runs: &[(Did, &str, &str)], expected: &[&str]| {
            for value in [disk, bucket, "/elsewhere"] {
                assert_eq!(lies(runs, value), expected.contains(&value), "{value}");
            }
        };
        check(&[], &[]);
        check(&[(Moved, disk, bucket)], &[bucket]);
        check(&[(Undid, disk, bucket)], &[disk]);
        check(&[(Perhaps, disk, bucket)], &[disk, bucket]);
        let home = |did| (did, bucket, disk);
        check(&[home(Undid), (Moved, disk, bucket)], &[bucket]);
        check(&[home(Undid), (Undid, disk, bucket)], &[disk]);
        check(&[home(Undid), (Perhaps, disk, bucket)], &[disk, bucket]);
        check(&[home(Moved), (Moved, disk, bucket)], &[disk]);
        // There, home and there again, all undone.
        let there = (Undid, disk, bucket);
        check(&[there, home(Undid), there], &[disk]);
        // The first was undone before the second began.
        check(&[there, there], &[disk]);
        check(&[(Moved, disk, bucket), there], &[bucket]);
        // The application has moved the file in between.
        check(&[(Undid, "/elsewhere", bucket), there], &["/elsewhere"]);
    }
}
