//! Whose journal a file is: that of the run that began here, or one that was taken from a store's copy.
//!
//! What must hold: a journal that was taken is marked so before it has its name, durably, so that no crash makes it look like one that began here; only
//! a person's word takes the mark away, and that word stands in the journal too.
//!
//! It deliberately does not say what a mark is good for: a tool decides what it believes.

use super::line::Line;
use super::{Journal, JournalError, JournalErrorKind, mirror, reader, renew};
use jiff::Timestamp;
use serde_json::Value;
use std::fs;
use std::path::Path;
use store::Store;

/// What a journal says of its own whereabouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Custody {
    /// It was taken from a store's copy, and nobody has said since that its run is one of here.
    pub is_taken: bool,
    /// What counts as taken is the journal that was here: the store's copy of it contradicts it or went on without it, and a person had it believed all
    /// the same. Somebody else may be at work with the run.
    pub is_contested: bool,
    /// What the run is asked to do now, in the place of what its first line says, if somebody said so.
    pub parameters: Option<Value>,
}

impl Custody {
    pub(super) fn take(&mut self, is_contested: bool) {
        self.is_taken = true;
        self.is_contested |= is_contested;
    }

    pub(super) fn own(&mut self, parameters: Value) {
        (self.is_taken, self.is_contested) = (false, false);
        self.parameters = Some(parameters);
    }
}

impl Journal {
    /// Rebuilds the journal of a run from the copy that is kept in a store, marks it as taken, and opens it. Nothing may have the path yet.
    ///
    /// # Errors
    /// As for [`Journal::from_mirror`].
    pub async fn take_from_mirror(
        store: &Store,
        prefix: &str,
        run_id: &str,
        path: &Path,
    ) -> Result<Journal, JournalError> {
        if path.exists() {
            return Err(JournalError::new(JournalErrorKind::Exists, path));
        }
        renew::sweep(path);
        let new = renew::name_for_new(path);
        let marked = async {
            mirror::rebuild(store, prefix, run_id, &new).await?;
            let journal = Journal::open(&new)?;
            journal.append(&Line::Taken {
                time: Timestamp::now(),
                contested: false,
            })?;
            journal.sync().await
        };
        let placed = marked.await.and_then(|()| {
            renew::put_in_place(&new, path).map_err(|error| JournalError::io(path, error))
        });
        if let Err(error) = placed {
            // It is in nobody's way if it cannot be removed: the next attempt has another name.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        Journal::open(path)
    }

    /// Returns what the journal says of its whereabouts.
    #[must_use]
    pub fn custody(&self) -> Custody {
        self.lock().custody.clone()
    }

    /// Reads what a journal says of its whereabouts, and nothing else of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn custody_of(path: &Path) -> Result<Custody, JournalError> {
        reader::custody(path)
    }

    /// Returns what the run is asked to do: what somebody said last, else what its first line says.
    #[must_use]
    pub fn parameters(&self) -> Value {
        let said = self.lock().custody.parameters.clone();
        said.unwrap_or_else(|| self.header().parameters.clone())
    }

    /// Writes down, durably, that the store's copy contradicts this journal and that it is gone on with: somebody else may be at work with the run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn contest(&self) -> Result<(), JournalError> {
        self.append(&Line::Taken {
            time: Timestamp::now(),
            contested: true,
        })?;
        self.sync().await
    }

    /// Writes down, durably, that the run is one of here, and what it is asked to do from now on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn own(&self, parameters: Value) -> Result<(), JournalError> {
        let time = Timestamp::now();
        self.append(&Line::Owned { time, parameters })?;
        self.sync().await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MirrorCopy, RunHeader};
    use super::*;
    use crate::item::Item;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_journal_that_was_taken_says_so_until_somebody_owns_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let memory = object_store::memory::InMemory::new();
        let store = Store::from_object_store(Arc::new(memory), "");
        let first = dir.path().join("first.journal");
        let header = RunHeader {
            run_id: "run-1".to_owned(),
            tool: "test".to_owned(),
            version: "0".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            parameters: "there".into(),
        };
        let journal = Journal::create(&first, header).expect("creates");
        let item = Item {
            id: "one".to_owned(),
            blobs: vec![],
            context: Value::Null,
        };
        let fresh = vec![];
        journal
            .append(&Line::Planned { item, fresh })
            .expect("appends");
        journal.sync().await.expect("syncs");
        let mut copy = MirrorCopy::new(store.clone(), "copies", "run-1");
        copy.catch_up(&journal).await.expect("copies");
        assert_eq!(journal.custody(), Custody::default());
        assert_eq!(
            Journal::custody_of(&first).expect("reads"),
            Custody::default()
        );

        let path = dir.path().join("second.journal");
        let taken = Journal::take_from_mirror(&store, "copies", "run-1", &path).await;
        drop(taken.expect("takes"));
        let again = Journal::take_from_mirror(&store, "copies", "run-1", &path).await;
        assert!(again.is_err(), "what is there is not written over");
        let names = fs::read_dir(dir.path()).expect("lists").count();
        assert_eq!(names, 2, "no file in the making is left");
        let taken = Journal::open(&path).expect("opens");
        assert!(taken.custody().is_taken);
        assert!(Journal::custody_of(&path).expect("reads").is_taken);
        assert_eq!(taken.parameters(), "there");
        taken.contest().await.expect("writes");
        let custody = Journal::custody_of(&path).expect("reads");
        assert_eq!((&custody, custody.is_contested), (&taken.custody(), true));
        taken.own("here".into()).await.expect("writes");
        drop(taken);
        let owned = Custody {
            is_taken: false,
            is_contested: false,
            parameters: Some("here".into()),
        };
        assert_eq!(Journal::custody_of(&path).expect("reads"), owned);
        let taken = Journal::read_only(&path).expect("opens");
        assert_eq!(
            (taken.custody(), taken.parameters()),
            (owned, "here".into())
        );

        // A line before it is damaged: the mark still counts, the word does not.
        let mut bytes = fs::read(&path).expect("reads");
        let second = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line")
            + 1;
        bytes.splice(..second, []);
        fs::write(&path, bytes).expect("writes");
        assert!(Journal::custody_of(&path).expect("reads").is_taken);
    }
}
