//! The copies of files that are written over since, or may be one day: whether each is what its name says.
//!
//! What must hold: a copy counts as right only after its bytes were compared; one that is damaged is made anew only from bytes that were compared; what
//! a generation names and is nowhere any more is named with that generation.
//!
//! It deliberately looks at no copy that no generation names: `prune` takes those.

use crate::log::{self, FileEntry, Generation, GenerationId, Log, LogError};
use crate::plan::api_key;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So many copies are read at once.
const AT_ONCE: usize = 8;

/// A file that generations name: its key, and what it should be.
type Named<'g> = (String, &'g FileEntry);

/// What was found of one file.
enum Verdict {
    /// It is as it should be.
    Right,
    /// Its copy is not what it should be.
    Damaged,
    /// It has no copy, and under its name lies another one.
    Nowhere,
}

/// Names the files that some generation could not be served with, or gone back to, and the copies that are damaged. `current` is the generation
/// whose files were looked at under their names already.
///
/// # Errors
/// If the store fails.
pub async fn wrong_copies(
    store: &Store,
    log: &Log,
    current: (&GenerationId, &Generation),
) -> Result<Vec<String>, LogError> {
    let mut wrong = Vec::new();
    let mut generations = Vec::new();
    for id in log.published() {
        if id == current.0 {
            continue;
        }
        match log::read(store, id).await {
            Ok(generation) => generations.push(generation),
            Err(error @ (LogError::Damaged { .. } | LogError::Newer { .. })) => {
                wrong.push(error.to_string())
            }
            Err(error) => return Err(error),
        }
    }
    let kept = super::kept(store).await?;
    let mut named: BTreeMap<(String, String), (&FileEntry, BTreeSet<u64>)> = BTreeMap::new();
    for generation in generations.iter().chain([current.1]) {
        for (key, entry) in files(generation) {
            let sha256 = entry.sha256.to_string();
            let place = named
                .entry((key, sha256))
                .or_insert((entry, BTreeSet::new()));
            place.1.insert(generation.number);
        }
    }
    let theirs: BTreeSet<Named<'_>> = files(current.1).collect();
    // What has no copy, and is the current generation's, was looked at under its name.
    named.retain(|(key, sha256), (entry, _)| {
        kept.contains(sha256) || !theirs.contains(&(key.clone(), *entry))
    });
    let mut looked = stream::iter(named)
        .map(|((key, _), (entry, numbers))| async move {
            let verdict = look(store, &key, entry).await;
            verdict.map(|verdict| (key, entry.sha256, numbers, verdict))
        })
        .buffer_unordered(AT_ONCE);
    while let Some(outcome) = looked.next().await {
        let (key, sha256, numbers, verdict) = outcome?;
        let copy = log::kept_key(sha256);
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let of = format!("{key} of generation {}", numbers.join(" and "));
        match verdict {
            Verdict::Right => {}
            Verdict::Damaged => {
                wrong.push(format!(
                    "{copy}: other bytes than its name says; it is {of}"
                ));
            }
            Verdict::Nowhere => wrong.push(format!("{of}: gone or damaged, and it has no copy")),
        }
    }
    Ok(wrong)
}

/// Makes damaged copies of the current generation's files anew from what lies under their names, where that is right.
///
/// # Errors
/// If the store fails.
pub(crate) async fn mend_copies(store: &Store, current: &Generation) -> Result<(), StoreError> {
    let kept = super::kept(store).await?;
    let doubtful = files(current).filter(|(_, entry)| kept.contains(&entry.sha256.to_string()));
    for (key, entry) in doubtful.collect::<Vec<_>>() {
        let copy = log::kept_key(entry.sha256);
        if read(store, &copy)
            .await?
            .is_some_and(|bytes| is(&bytes, entry))
        {
            continue;
        }
        if let Some(bytes) = read(store, &key).await?.filter(|bytes| is(bytes, entry)) {
            tracing::info!(copy, "a damaged copy is made anew");
            store.put(&copy, bytes).await?;
        }
    }
    Ok(())
}

fn files(generation: &Generation) -> impl Iterator<Item = Named<'_>> {
    let api = generation.api.iter();
    let api = api.map(|(path, entry)| (api_key(path), &entry.file));
    let manifests = generation.manifests.iter();
    api.chain(manifests.map(|(key, entry)| (key.clone(), entry)))
}

async fn look(store: &Store, key: &str, entry: &FileEntry) -> Result<Verdict, StoreError> {
    match read(store, &log::kept_key(entry.sha256)).await? {
        Some(bytes) if is(&bytes, entry) => return Ok(Verdict::Right),
        Some(_) => return Ok(Verdict::Damaged),
        None => {}
    }
    let named = read(store, key).await?;
    Ok(match named.is_some_and(|bytes| is(&bytes, entry)) {
        true => Verdict::Right,
        false => Verdict::Nowhere,
    })
}

fn is(bytes: &Bytes, entry: &FileEntry) -> bool {
    Digest::of(bytes) == entry.sha256
}

/// Reads an object; nothing if it is not there. One that cannot be read whole has other bytes than any digest says.
async fn read(store: &Store, key: &str) -> Result<Option<Bytes>, StoreError> {
    match store.get(key).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Some(Bytes::new())),
        Err(error) => Err(error),
    }
}
