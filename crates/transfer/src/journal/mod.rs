//! The journal of a run: an append-only file of checksummed lines, in which every step stands before it takes effect.
//!
//! What must hold: a line counts only if its checksum fits its place and its text; a torn tail is cut; damage before it is
//! refused, naming the line. One process writes at a time. Memory holds some twenty bytes an item, never the items.
//!
//! It deliberately decides nothing: the engine says what a state means.

mod claims;
mod error;
mod heal;
mod index;
mod line;
mod mirror;
mod owner;
mod reader;
mod renew;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use claims::Claims;
pub use error::{JournalError, JournalErrorKind};
pub(crate) use line::Line;
pub use line::RunHeader;
pub use mirror::CopyFound;
pub(crate) use mirror::{MirrorCopy, MirrorError, aside_of, pieces_by_run};
pub use owner::Custody;
pub use renew::Renewed;

use crate::item::{Digest, Item, Stamp};
use crate::keyset::hash;
use crate::ledger::Outcome;
use crate::report::{EXCEPTIONS_MAX, Exception};
use index::Index;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use writer::Writer;

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is in the plan; some of its blobs may be in the target.
    Planned,
    /// Its blobs are in the target and proved; it is not switched over.
    Stored,
    /// It may be switched over, or not.
    Committing,
    /// It is switched over.
    Committed,
    /// It was left out for what its exception says; nothing of it is in the target.
    LeftOut,
    /// Somebody changed or removed it, so that it was not switched over.
    Lost,
    /// It may be switched back, or not.
    Reverting,
    /// It is switched back; objects that the run made may still be there.
    Reverted,
    /// It is switched back and nothing of it is left in the target.
    Undone,
    /// It is switched over, and its sources may be gone, or not.
    Removing,
    /// It is switched over, and its sources are gone.
    Removed,
}

impl State {
    /// Tells whether the item is switched over for certain.
    #[must_use]
    pub fn is_switched(self) -> bool {
        matches!(self, State::Committed | State::Removing | State::Removed)
    }
}

/// One blob that is in the target and proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredBlob {
    /// How many bytes it has.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Digest,
    /// Whether this run made the object; false if an equal one was there.
    pub created: bool,
    /// What the source has besides its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

/// What the journal knows of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The item as it was planned.
    pub item: Item,
    /// How far it is.
    pub state: State,
    /// For each blob whether no object had its key when it was planned.
    pub fresh: Vec<bool>,
    /// For each blob what was stored; none for one that is missing and not required. Empty unless the item got as far.
    pub stored: Vec<Option<StoredBlob>>,
}

/// How many items are in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally(pub BTreeMap<State, u64>);

impl Tally {
    /// Returns how many items are in a state.
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// Returns how many items are switched over for certain.
    #[must_use]
    pub fn switched(&self) -> u64 {
        [State::Committed, State::Removing, State::Removed]
            .iter()
            .map(|state| self.of(*state))
            .sum()
    }

    /// Returns how many items a resumed run has still to deal with, those that were left out not included.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        [State::Planned, State::Stored, State::Committing]
            .iter()
            .map(|state| self.of(*state))
            .sum()
    }

    /// Returns how many items there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The journal of one run. Clones share it; the file is unlocked when the last one is dropped.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    path: PathBuf,
    header: RunHeader,
    file: File,
    core: Mutex<Core>,
}

#[derive(Default)]
struct Core {
    index: Index,
    /// None if the journal was opened only to read it.
    writer: Option<Writer>,
    /// Uploads in parts that were begun and not ended: id of the upload, key.
    uploads: BTreeMap<String, String>,
    /// Items, by the hash of their ids, that were lost when they were to be switched back.
    lost_on_the_way_back: HashSet<u64>,
    /// Those that count as switched back and had only been planned.
    given_up: HashSet<u64>,
    torn_bytes: u64,
    ended: Option<String>,
    custody: Custody,
}

impl Journal {
    /// Begins the journal of a new run. Nothing may have the path yet.
    ///
    /// # Errors
    /// `Exists` if something has it, otherwise if the file cannot be written.
    pub fn create(path: &Path, header: RunHeader) -> Result<Journal, JournalError> {
        writer::create(path, &header)?;
        Journal::open(path)
    }

    /// Opens a journal to go on with its run; a torn tail is cut off.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Damaged` if a line before the tail is, `NotFound`, `Io`.
    pub fn open(path: &Path) -> Result<Journal, JournalError> {
        reader::open(path, true)
    }

    /// Opens a journal only to read it, also while another process writes it.
    ///
    /// # Errors
    /// As for [`Journal::open`], but never `Locked`.
    pub fn read_only(path: &Path) -> Result<Journal, JournalError> {
        reader::open(path, false)
    }

    /// Rebuilds the journal of a run from the copy that is kept in a store, and opens it. Nothing may have the path yet.
    ///
    /// # Errors
    /// `NotFound` if the store has no copy, `Damaged` if pieces of it are missing, `Store` if it cannot be read.
    pub async fn from_mirror(
        store: &store::Store,
        prefix: &str,
        run_id: &str,
        path: &Path,
    ) -> Result<Journal, JournalError> {
        mirror::rebuild(store, prefix, run_id, path).await?;
        Journal::open(path)
    }

    /// Lists the runs of which a store keeps a copy of the journal, in the order of their ids.
    ///
    /// # Errors
    /// `Store` if it cannot be listed.
    pub async fn mirrored_runs(
        store: &store::Store,
        prefix: &str,
    ) -> Result<Vec<String>, JournalError> {
        mirror::runs(store, prefix).await
    }

    /// Tells whether a store keeps a copy of a run's journal.
    ///
    /// # Errors
    /// `Store` if it cannot be listed.
    pub async fn is_mirrored(
        store: &store::Store,
        prefix: &str,
        run_id: &str,
    ) -> Result<bool, JournalError> {
        let found = mirror::Extent::find(store, prefix, run_id, Path::new(run_id)).await?;
        Ok(found.end > 0)
    }

    /// Reads what the run of a journal is, and nothing else of it.
    ///
    /// # Errors
    /// If there is no journal at the path.
    pub fn header_of(path: &Path) -> Result<RunHeader, JournalError> {
        reader::first_line(path)
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns what the run is.
    #[must_use]
    pub fn header(&self) -> &RunHeader {
        &self.0.header
    }

    /// Counts the items by state.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.lock().index.tally()
    }

    /// Returns how many of the items that count as switched back had only been planned.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        let core = self.lock();
        let is_back = |item: &&u64| {
            let state = core.index.get(**item).map(|(state, _)| state);
            matches!(state, Some(State::Reverted | State::Undone))
        };
        core.given_up.iter().filter(is_back).count() as u64
    }

    /// Returns how many bytes of a torn tail were cut off when the journal was opened.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.lock().torn_bytes
    }

    /// Returns what the last call of the engine was that came to its end: `run`, `rollback`, `remove-sources`. None after a crash or
    /// an error.
    #[must_use]
    pub fn last_ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }

    /// Returns an item's state.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<State> {
        self.lock().index.get(hash(id)).map(|(state, _)| state)
    }

    /// Tells whether this journal has something to undo of an item that another one may have moved since: then that one has to be undone first.
    #[must_use]
    pub fn lies_below(&self, later: &Journal) -> bool {
        let may_have_moved = |state: State| {
            state.is_switched() || matches!(state, State::Committing | State::Reverting)
        };
        let moved: Vec<u64> = later.lock().index.items(may_have_moved).collect();
        let core = self.lock();
        moved.into_iter().any(|item| match core.index.get(item) {
            Some((State::Stored, _)) => true,
            Some((State::Lost, _)) => core.lost_on_the_way_back.contains(&item),
            Some((state, _)) => may_have_moved(state),
            None => false,
        })
    }

    /// Returns what the journal knows of an item.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find(&self, id: &str) -> Result<Option<Entry>, JournalError> {
        let found = self.lock().index.get(hash(id));
        found.map(|(_, at)| self.read(at)).transpose()
    }

    /// Reads all items that are in a state that is asked for, in the order in which they were planned or stored. Items are read
    /// from the file one by one.
    pub fn entries(&self, wanted: impl Fn(State) -> bool) -> Entries {
        Entries {
            journal: self.clone(),
            places: self.places(wanted).into_iter(),
        }
    }

    /// Reads the items that this run had switched over and that somebody had changed when they were to be switched back: the next rollback tries again.
    pub fn entries_lost_on_the_way_back(&self) -> Entries {
        Entries {
            journal: self.clone(),
            places: self.places_lost_on_the_way_back().into_iter(),
        }
    }

    /// Reads the exceptions of items that are still left out or lost, and all remarks; at most 10,000.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn exceptions(&self) -> Result<Vec<Exception>, JournalError> {
        let mut found = BTreeMap::new();
        self.flush()?;
        reader::scan_lines(&self.0.path, &self.0.file, |line| {
            let (is_remark, exception) = match line {
                Line::LeftOut { exception, .. } => (false, exception),
                Line::Remark { exception } => (true, exception),
                _ => return,
            };
            let is_current = is_remark || self.state(&exception.item) == Some(State::LeftOut);
            if is_current && found.len() < EXCEPTIONS_MAX {
                let name = (
                    exception.item.clone(),
                    exception.role.clone(),
                    exception.kind,
                );
                found.insert(name, exception);
            }
        })?;
        Ok(found.into_values().collect())
    }

    /// Reads which items were switched over when, batch by batch.
    pub(crate) fn committed_batches(
        &self,
        mut each: impl FnMut(jiff::Timestamp, Vec<String>),
    ) -> Result<(), JournalError> {
        self.flush()?;
        reader::scan_lines(&self.0.path, &self.0.file, |line| {
            if let Line::Committed { time, outcomes } = line {
                let done = outcomes
                    .into_iter()
                    .filter(|(_, outcome)| outcome.is_done());
                each(time, done.map(|(id, _)| id).collect());
            }
        })
    }

    /// Tells whether it names no item at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().index.is_empty()
    }

    /// Returns where in the file the items are that are in a state that is asked for.
    pub(crate) fn places(&self, wanted: impl Fn(State) -> bool) -> Vec<u64> {
        self.lock().index.places(wanted)
    }

    /// Returns where the items are that this run had switched over and that somebody had changed when they were to be switched back.
    pub(crate) fn places_lost_on_the_way_back(&self) -> Vec<u64> {
        let core = self.lock();
        let lost = core.lost_on_the_way_back.iter();
        let lost = lost.filter_map(|item| core.index.get(*item));
        let lost = lost.filter(|(state, _)| *state == State::Lost);
        let mut places: Vec<u64> = lost.map(|(_, place)| place).collect();
        places.sort_unstable();
        places
    }

    /// Returns the uploads in parts that were begun and not ended: key and id.
    pub(crate) fn open_uploads(&self) -> Vec<(String, String)> {
        let core = self.lock();
        let pairs = core.uploads.iter();
        pairs.map(|(id, key)| (key.clone(), id.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Items of a journal, read one by one.
pub struct Entries {
    journal: Journal,
    places: std::vec::IntoIter<u64>,
}

impl Iterator for Entries {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.places.next().map(|place| self.journal.read(place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl Core {
    /// Takes over what a line says.
    fn apply(&mut self, line: &line::Head<'_>, place: u64) {
        use line::Head;
        match line {
            Head::Planned { item, .. } => {
                // What is planned anew has another history.
                self.lost_on_the_way_back.remove(&hash(&item.id));
                self.given_up.remove(&hash(&item.id));
                self.index.set(hash(&item.id), State::Planned, place);
            }
            Head::Stored { id, .. } => self.index.set(hash(id), State::Stored, place),
            Head::LeftOut { id, .. } => self.index.advance(hash(id), State::LeftOut),
            Head::Committing { ids } => self.advance_all(ids, State::Committing),
            Head::Committed { outcomes, .. } => {
                for (id, outcome) in outcomes {
                    let is_done = outcome.is_done();
                    let state = if is_done {
                        State::Committed
                    } else {
                        State::Lost
                    };
                    self.index.advance(hash(id), state);
                }
            }
            Head::Reverting { ids } => self.advance_all(ids, State::Reverting),
            Head::Reverted { outcomes, .. } => {
                for (id, outcome) in outcomes {
                    if self
                        .index
                        .get(hash(id))
                        .is_some_and(|(was, _)| was == State::Planned)
                    {
                        self.given_up.insert(hash(id));
                    }
                    // One that is gone refers to nothing; its objects may go as well.
                    let state = match outcome {
                        Outcome::Changed(_) => {
                            self.lost_on_the_way_back.insert(hash(id));
                            State::Lost
                        }
                        _ => State::Reverted,
                    };
                    self.index.advance(hash(id), state);
                }
            }
            Head::ObjectsRemoved { ids } => self.advance_all(ids, State::Undone),
            Head::Removing { ids } => self.advance_all(ids, State::Removing),
            Head::Removed { ids } => self.advance_all(ids, State::Removed),
            Head::Upload { key, id } => {
                self.uploads
                    .insert(id.clone().into_owned(), key.clone().into_owned());
            }
            Head::UploadEnded { id } => {
                self.uploads.remove(&**id);
            }
            Head::Begin { .. } => self.ended = None,
            Head::End { what, .. } => self.ended = Some(what.clone().into_owned()),
            Head::Taken { contested } => self.custody.take(*contested),
            Head::Owned { parameters } => self.custody.own(parameters.clone()),
            Head::Run(_) | Head::Remark { .. } => {}
        }
    }

    fn advance_all(&mut self, ids: &[std::borrow::Cow<'_, str>], state: State) {
        for id in ids {
            self.index.advance(hash(id), state);
        }
    }
}
