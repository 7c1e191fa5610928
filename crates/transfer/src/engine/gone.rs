//! Whether objects that were removed, or are said not to be there, are gone: the store is asked once more, by a listing.
//!
//! What must hold: an item counts as undone only once no listing shows an object of its run any more. A store that answers "not there" at random, or
//! says that it deleted what it kept, is found out, and the next rollback goes on with what it still lists.
//!
//! It deliberately keeps no item in memory: some twenty bytes an object, until the listing is read.

use super::shared::{Shared, exception};
use super::{back, is_new_folder};
use crate::error::RunError;
use crate::journal::{Entry, Line};
use crate::keyset::KeySet;
use crate::report::ExceptionKind;
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::StoreError;

/// So many folders are listed one by one; where there are more, everything is.
const FOLDERS_MAX: usize = 256;

/// So many items are read from the journal at once.
const ITEMS_MAX: usize = 1000;

/// What a rollback has removed so far.
#[derive(Default)]
pub(super) struct Gone {
    /// Where the journal has the items of which nothing is left, if the store's word holds.
    pub(super) items: Vec<u64>,
    removed: KeySet,
    absent: KeySet,
    folders: BTreeSet<String>,
}

impl Gone {
    /// Takes in keys that the store was asked to delete, and said yes.
    pub(super) fn say_removed(&mut self, keys: &[String]) {
        for key in keys {
            self.removed.insert(key);
            self.say_folder(key);
        }
    }

    /// Takes in keys that the store says are not there.
    pub(super) fn say_absent(&mut self, keys: &[String]) {
        for key in keys {
            self.absent.insert(key);
            self.say_folder(key);
        }
    }

    fn say_folder(&mut self, key: &str) {
        if self.folders.len() <= FOLDERS_MAX {
            let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.folders.insert(folder.to_owned());
        }
    }

    /// Looks whether the store still lists something of it. Writes into the journal of which items nothing is left, and names the others.
    pub(super) async fn settle(&self, shared: &Arc<Shared>) -> Result<(), RunError> {
        let left = match self.folders.is_empty() {
            true => KeySet::new(),
            false => shared.patiently(|| self.left(shared)).await?,
        };
        for places in self.items.chunks(ITEMS_MAX) {
            let entries = back::read(shared, places.to_vec()).await?;
            let mut ids = Vec::with_capacity(entries.len());
            for entry in entries {
                if !self.name_left(shared, &entry, &left)? {
                    ids.push(entry.item.id);
                }
            }
            shared.journal.append(&Line::ObjectsRemoved { ids })?;
            shared.journal.flush()?;
        }
        Ok(())
    }

    /// Names the objects of an item that are still listed; true if there are any.
    fn name_left(&self, shared: &Shared, entry: &Entry, left: &KeySet) -> Result<bool, RunError> {
        let mut is_left = false;
        for (index, blob) in entry.item.blobs.iter().enumerate() {
            if !left.contains(&blob.key) || !may_be_ours(entry, index) {
                continue;
            }
            is_left = true;
            let message = match self.removed.contains(&blob.key) {
                true => {
                    let mut report = shared.report();
                    report.objects_removed = report.objects_removed.saturating_sub(1);
                    "the store said that it deleted the object, and still lists it"
                }
                false => "the store said that the object is not there, and lists it",
            };
            let remedy = "roll back again; if it stays, check the store and what stands before it (--test-storage)";
            let kind = ExceptionKind::ObjectKept;
            shared.remark(exception(&entry.item, blob, kind, message, remedy))?;
        }
        Ok(is_left)
    }

    /// Lists what should be gone, and picks out what is not.
    async fn left(&self, shared: &Shared) -> Result<KeySet, StoreError> {
        let folders = match self.folders.len() > FOLDERS_MAX {
            true => shared.prefixes(),
            false => self.folders.iter().cloned().collect(),
        };
        let mut left = KeySet::new();
        for folder in &folders {
            let mut entries = shared.target.list_stream(folder);
            while let Some(entry) = entries.next().await {
                let entry = match entry {
                    Err(error) if is_new_folder(&shared.target, &error) => continue,
                    entry => entry?,
                };
                if self.removed.contains(&entry.key) || self.absent.contains(&entry.key) {
                    left.insert(&entry.key);
                }
            }
        }
        Ok(left)
    }
}

/// Tells whether a run made the object of a blob, or may have.
pub(super) fn may_be_ours(entry: &Entry, index: usize) -> bool {
    match entry.stored.get(index) {
        Some(stored) => stored.as_ref().is_some_and(|stored| stored.created),
        None => entry.fresh.get(index) == Some(&true),
    }
}
