//! Which rows other runs brought into the bucket: by the journals here, and by the copies in the bucket of those that are not here.
//!
//! What must hold: a journal explains a row in this bucket only if its run brought rows of this database into this bucket, and no later
//! run brought the row out again. A run between buckets, over another database or into another bucket says nothing about why a row is here.
//!
//! What it deliberately does not do: compare upload paths or users. Whoever's document it was and wherever it lay, its row is explained.

use std::collections::HashMap;

use console::Failure;
use transfer::{Journal, JournalError, KeySet, State};

use crate::cli::args::DirectionArg;
use crate::run::command;
use crate::run::failures::journal_failure;
use crate::run::journals;
use crate::run::session::{Session, direction_named};
use crate::state::{Flags, Parameters, is_one_place};

/// Collects the items that another run has switched, or may have, and those that a rollback has still to put back.
///
/// # Errors
/// If the bucket cannot be listed. A journal that cannot be read is named and explains nothing.
pub(super) async fn to_others(session: &Session, journal: &Journal) -> Result<Known, Failure> {
    let parameters = session.parameters()?;
    let mirror = session.mirror().await?;
    let mut known = Known::default();
    let undo = |of: &Journal| {
        let run = &of.header().run_id;
        let file = command::path(&session.state.files(run).summary);
        Undo {
            run: run.clone(),
            command: session.command(&format!(" --rollback {file}"), &parameters, Flags::Known),
        }
    };
    let take_in = |other: &Journal, is_copied| match way_of(other, &parameters, is_copied) {
        // The copy lies in the bucket of the run, whatever name that had then.
        Some(way) => known.take_in(other, way, undo(other)),
        None => Ok(()),
    };
    let own = &journal.header().run_id;
    journals::newest_first(session, &mirror, Some(own), "explains no row", take_in).await?;
    known
        .take_in_undone(journal, undo(journal))
        .map_err(|error| journal_failure(&error))?;
    Ok(known)
}

/// A run whose rollback is to be repeated.
pub(super) struct Undo {
    /// Its name.
    pub(super) run: String,
    /// What to type.
    pub(super) command: String,
}

/// Which way a run brought rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Into,
    OutOf,
}

/// The journals are taken in from the newest on: the first that moved a row says where it is.
#[derive(Default)]
pub(super) struct Known {
    moved: KeySet,
    pub(super) brought: KeySet,
    /// Items that somebody had changed when they were to be put back: the place of their run among those below.
    lost: HashMap<String, usize>,
    /// Items that were switched and are undone, of the run at the same place below.
    undone: Vec<KeySet>,
    undo: Vec<Undo>,
}

/// Why a row that is in the bucket should not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// When its run was rolled back somebody had changed it.
    ChangedByHand,
    /// Its run is undone.
    Undone,
}

impl Known {
    /// Returns the run whose rollback is to be repeated for an item, and why.
    pub(super) fn why(&self, id: &str) -> Option<(Why, &Undo)> {
        if let Some(place) = self.lost.get(id) {
            return Some((Why::ChangedByHand, self.undo.get(*place)?));
        }
        let place = self.undone.iter().position(|of| of.contains(id))?;
        Some((Why::Undone, self.undo.get(place)?))
    }

    fn take_in_undone(&mut self, journal: &Journal, undo: Undo) -> Result<(), JournalError> {
        for entry in journal.entries_lost_on_the_way_back() {
            self.lost.entry(entry?.item.id).or_insert(self.undo.len());
        }
        let mut undone = KeySet::new();
        for entry in journal.entries(|state| matches!(state, State::Reverted | State::Undone)) {
            let entry = entry?;
            // One that was only planned this run has not moved.
            if !entry.stored.is_empty() {
                undone.insert(&entry.item.id);
            }
        }
        self.undone.push(undone);
        self.undo.push(undo);
        Ok(())
    }

    fn take_in(&mut self, journal: &Journal, way: Way, undo: Undo) -> Result<(), JournalError> {
        if way == Way::Into {
            self.take_in_undone(journal, undo)?;
        }
        for entry in journal.entries(|state| tells_where(state, way)) {
            let id = entry?.item.id;
            if self.moved.insert(&id) && way == Way::Into {
                self.brought.insert(&id);
            }
        }
        Ok(())
    }
}

/// Tells whether a row in this bucket may be where a run brought it. In the middle of a step, there or back, it is on either side: one that is here
/// was brought here, or has not been taken out.
fn tells_where(state: State, way: Way) -> bool {
    let is_between = matches!(state, State::Committing | State::Reverting);
    state.is_switched() || (is_between && way == Way::Into)
}

fn way_of(journal: &Journal, here: &Parameters, is_same_bucket: bool) -> Option<Way> {
    let of = journal.parameters();
    way(&serde_json::from_value(of).ok()?, here, is_same_bucket)
}

/// Tells which way a run brought rows of the same database, if it did at all and this bucket was its other end.
fn way(of: &Parameters, here: &Parameters, is_same_bucket: bool) -> Option<Way> {
    if of.is_surely_other(here) || of.application != here.application {
        return None;
    }
    let (way, bucket) = match direction_named(&of.direction)? {
        DirectionArg::LocalToS3 => (Way::Into, &of.target),
        DirectionArg::S3ToLocal => (Way::OutOf, &of.source),
        DirectionArg::S3ToS3 => return None,
    };
    (is_same_bucket || is_one_place(bucket, &here.target)).then_some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_in_the_middle_explains_a_row_and_hides_no_explanation() {
        for (state, into, out_of) in [
            (State::Committed, true, true),
            (State::Removed, true, true),
            (State::Committing, true, false),
            (State::Reverting, true, false),
            (State::Reverted, false, false),
            (State::Undone, false, false),
            (State::Stored, false, false),
        ] {
            assert_eq!(tells_where(state, Way::Into), into, "{state:?}");
            assert_eq!(tells_where(state, Way::OutOf), out_of, "{state:?}");
        }
    }

    #[test]
    fn only_a_run_of_this_database_into_this_bucket_explains_a_row() {
        let here = Parameters {
            direction: "local-to-s3".into(),
            database: "readur#1".into(),
            source: "/uploads".into(),
            target: "s3://docs".into(),
            application: "readur".into(),
            user: None,
            origin: None,
            machine: None,
        };
        let check = |change: fn(&mut Parameters), is_same_bucket: bool, expected: Option<Way>| {
            let mut of = here.clone();
            change(&mut of);
            assert_eq!(way(&of, &here, is_same_bucket), expected, "{of:?}");
        };
        check(|_| (), false, Some(Way::Into));
        check(|of| of.source = "/elsewhere".into(), false, Some(Way::Into));
        check(|of| of.user = Some("me".into()), false, Some(Way::Into));
        check(|of| of.target = "s3://other".into(), false, None);
        // The same bucket under another name.
        check(|of| of.target = "s3://alias".into(), true, Some(Way::Into));
        let back = |of: &mut Parameters| {
            of.direction = "s3-to-local".into();
            std::mem::swap(&mut of.source, &mut of.target);
        };
        check(back, false, Some(Way::OutOf));
        for is_same_bucket in [false, true] {
            check(|of| of.direction = "s3-to-s3".into(), is_same_bucket, None);
            check(|of| of.database = "readur#2".into(), is_same_bucket, None);
            check(|of| of.application = "other".into(), is_same_bucket, None);
        }
    }
}
