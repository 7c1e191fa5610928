//! Where a copy goes on, or that it has to begin anew: a person may have forced a rollback over a journal that its copy contradicts.
//!
//! What must hold: a copy is never made of two histories. What is in the way is copied aside, whole, before the first piece of it is removed, and
//! all of it is removed before the first new piece is written; cut off anywhere, the next look does the rest.
//!
//! It deliberately compares only the end of a copy, as is done before a journal is believed: to read all of it at every start would cost too much.

use super::super::Journal;
use super::{Extent, MirrorError, pieces_below};
use store::{Entry, Store};

/// What comes after the folder of all copies where another history is kept: no run is looked for there, but what it needs of the store.
const ASIDE: &str = "-set-aside";

/// Returns the prefix below which copies that were set aside are kept.
pub(crate) fn aside_of(prefix: &str) -> String {
    format!("{}{ASIDE}", prefix.trim_end_matches('/'))
}

/// Returns how many bytes of a journal need not be copied any more.
pub(super) async fn begin(
    store: &Store,
    folder: &str,
    journal: &Journal,
) -> Result<u64, MirrorError> {
    let pieces = pieces_below(store, folder).await?;
    let extent = Extent::of(pieces.clone());
    if pieces.is_empty() || is_of(store, &extent, journal).await? {
        return Ok(extent.end);
    }
    let aside = free_folder(store, folder).await?;
    tracing::warn!(aside, "the copy of the journal is of another history");
    for piece in &pieces {
        let bytes = store.get(&piece.key).await?;
        let name = piece.key.rsplit('/').next().unwrap_or_default();
        store.put(&format!("{aside}/{name}"), bytes).await?;
    }
    let keys: Vec<String> = pieces.into_iter().map(|piece| piece.key).collect();
    // The last first: what is left after a cut has no gap.
    for key in keys.iter().rev() {
        store.delete(std::slice::from_ref(key)).await?;
    }
    Ok(0)
}

/// Tells whether a journal goes on where its copy ends.
async fn is_of(store: &Store, extent: &Extent, journal: &Journal) -> Result<bool, MirrorError> {
    if extent.end > journal.durable_length() {
        return Ok(false);
    }
    let Some((begin, key)) = &extent.last else {
        return Ok(false);
    };
    let bytes = store.get(key).await?;
    Ok(journal.has_at(*begin, &bytes)?)
}

/// A folder beside that of all copies which nothing is in yet.
async fn free_folder(store: &Store, folder: &str) -> Result<String, MirrorError> {
    let (above, run) = folder.rsplit_once('/').unwrap_or((".syncline", folder));
    let mut number = 1;
    loop {
        let aside = format!("{above}{ASIDE}/{run}-{number}");
        let found: Vec<Entry> = pieces_below(store, &aside).await?;
        if found.is_empty() {
            return Ok(aside);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Line, RunHeader};
    use super::super::MirrorCopy;
    use super::*;
    use crate::item::Item;
    use std::sync::Arc;

    /// A journal of so many items, whose names begin with a word.
    async fn journal(path: &std::path::Path, word: &str, n: usize) -> Journal {
        let header = RunHeader {
            run_id: "run-1".to_owned(),
            tool: "test".to_owned(),
            version: "0".to_owned(),
            started: jiff::Timestamp::UNIX_EPOCH,
            parameters: serde_json::Value::Null,
        };
        let journal = Journal::create(path, header).expect("creates");
        add(&journal, word, n).await;
        journal
    }

    async fn add(journal: &Journal, word: &str, n: usize) {
        for number in 0..n {
            let item = Item {
                id: format!("{word}-{number}"),
                blobs: vec![],
                context: serde_json::Value::Null,
            };
            let fresh = vec![];
            let line = Line::Planned { item, fresh };
            journal.append(&line).expect("appends");
        }
        journal.sync().await.expect("syncs");
    }

    async fn rebuilt(store: &Store, dir: &std::path::Path) -> Vec<u8> {
        let path = dir.join("rebuilt");
        let journal = Journal::from_mirror(store, "top/copies", "run-1", &path).await;
        drop(journal.expect("rebuilds"));
        let bytes = std::fs::read(&path).expect("reads");
        std::fs::remove_file(&path).expect("removes");
        bytes
    }

    #[tokio::test]
    async fn a_copy_that_is_longer_or_other_than_a_forced_journal_is_set_aside() {
        // Another history that is shorter, as long, longer; and the same one, longer.
        for (word, n) in [("that", 1), ("that", 3), ("that", 9), ("this", 9)] {
            let dir = tempfile::tempdir().expect("scratch");
            let memory = object_store::memory::InMemory::new();
            let store = Store::from_object_store(Arc::new(memory), "");
            let first = journal(&dir.path().join("first"), word, n).await;
            let mut copy = MirrorCopy::new(store.clone(), "top/copies", "run-1");
            copy.catch_up(&first).await.expect("copies");
            add(&first, word, 1).await;
            copy.catch_up(&first).await.expect("copies");
            let before = rebuilt(&store, dir.path()).await;
            let path = dir.path().join("forced");
            let forced = journal(&path, "this", 3).await;
            let mut copy = MirrorCopy::new(store.clone(), "top/copies", "run-1");
            copy.catch_up(&forced).await.expect("copies");
            add(&forced, "undone", 12).await;
            copy.catch_up(&forced).await.expect("copies");
            let after = rebuilt(&store, dir.path()).await;
            let here = std::fs::read(&path).expect("reads");
            assert!(after == here, "{word} {n}: the copy is of one history");
            let mut kept = Vec::new();
            for entry in store.list("top/copies-set-aside").await.expect("lists") {
                assert!(entry.key.contains("/run-1-1/"), "{}", entry.key);
                kept.extend_from_slice(&store.get(&entry.key).await.expect("gets"));
            }
            assert!(kept == before, "{word} {n}: the other one is kept");
            let runs = Journal::mirrored_runs(&store, "top/copies").await;
            assert_eq!(runs.expect("lists"), ["run-1"]);
        }
    }
}
