//! Makes a generation the one that clients see.
//!
//! What must hold, in this order: blobs are there; manifests (those that take nothing's place may be there before); the generation is in the log; the API's files, which make clients ask, come
//! last; then the mark. Before a file is written over, what lies there is kept where a generation that names it finds it, whoever wrote it, and
//! so is what is written: two runs that write over each other take nothing from each other. Once a mark is written, the files under their
//! names are those of whatever is current then ([`settle`]).
//!
//! It deliberately promises readers of plain static files the order only; who reads through `homebrew-sync serve` sees one generation.

mod kept;
mod settle;
mod whole;

pub(crate) use kept::mend_copies;
pub use kept::wrong_copies;
pub use settle::{Seen, Settled, not_as_named, settle};
pub(crate) use settle::{kept, put_api_right};
pub(crate) use whole::write_hash_file;
pub use whole::{Whole, settle_whole};

use crate::log::{self, Generation, GenerationId, Log, LogError};
use crate::names;
use crate::plan::api_key;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So many small files are written at once.
const AT_ONCE: usize = 16;

/// Says what it means that API files [lie under their names](not_as_named) otherwise than the current generation has them; nothing if none does.
#[must_use]
pub fn unsettled(keys: &[String]) -> Option<String> {
    let example = keys.first()?;
    Some(format!(
        "{} API file(s) under their names are not those of the current generation, such as {example}: a run was cut off, or somebody wrote there; `homebrew-sync sync` puts them right",
        keys.len()
    ))
}

/// Publishes a generation whose blobs are all there; returns its name. `base` is what it was made from, and `log` what was known then.
///
/// # Errors
/// If the store fails, or somebody prunes what it needs. Clients then still see what they saw, and to publish again is harmless.
pub async fn publish(
    store: &Store,
    log: &Log,
    base: &Generation,
    next: &Generation,
    manifests: &BTreeMap<String, Bytes>,
    api: &BTreeMap<String, Bytes>,
) -> Result<GenerationId, LogError> {
    stream::iter(manifests.iter())
        .map(|(key, bytes)| replace(store, key, bytes.clone()))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let id = log::write(store, next).await?;
    check_relied_on(store, log, base, next, &id).await?;
    // A prune finds the generation in the log by now, and spares its names.
    crate::flat::put_right(store, next).await?;
    for (path, bytes) in api {
        // What two runs write at the same moment neither finds there: so each keeps its own.
        keep(store, Digest::of(bytes), bytes.clone()).await?;
        replace(store, &api_key(path), bytes.clone()).await?;
    }
    log::mark(store, log, &id).await?;
    check_not_forgotten(store, &id).await?;
    Ok(id)
}

/// Looks that the generation is still there now that it is current. A prune takes one that was never current for one of a run that died, if its
/// grace period has passed since it was written: whoever slept for so long takes the mark back.
async fn check_not_forgotten(store: &Store, id: &GenerationId) -> Result<(), LogError> {
    let log = Log::read(store).await?;
    if log.generations.contains_key(id) {
        return Ok(());
    }
    log::forget(store, &log, std::slice::from_ref(id)).await?;
    settle(store, &mut Seen::default()).await?;
    Err(LogError::Pruned {
        key: log::generation_key(id),
    })
}

/// Looks that what no earlier generation named is there now that this one names it, and that nobody who has not seen this one is removing it.
/// The base speaks for what it names only while it is in the log: if a prune has taken it out meanwhile, this generation stands alone.
async fn check_relied_on(
    store: &Store,
    known: &Log,
    base: &Generation,
    next: &Generation,
    id: &GenerationId,
) -> Result<(), LogError> {
    // After the generation was written: whoever begins to prune from now on sees it.
    let log = Log::read(store).await?;
    let current = known.current();
    let is_base_there = current.is_none_or(|id| log.generations.contains_key(id));
    let nothing = Generation::empty(base.created);
    let base = if is_base_there { base } else { &nothing };
    let vouched: BTreeSet<String> = base.bottles.iter().map(log::Held::blob_key).collect();
    let blobs = next.bottles.iter().map(log::Held::blob_key);
    let manifests = next.manifests.keys();
    let manifests = manifests.filter(|key| !base.manifests.contains_key(*key));
    let mut relied: BTreeSet<String> = blobs.filter(|key| !vouched.contains(key)).collect();
    relied.extend(manifests.cloned());
    let api = next.api.keys();
    let api = api.filter(|path| !base.api.contains_key(*path));
    let api: BTreeSet<String> = api.map(|path| api_key(path)).collect();
    if relied.is_empty() && api.is_empty() {
        return Ok(());
    }
    let now = log.generations.get(id).copied();
    let now = now.unwrap_or_else(SystemTime::now);
    let edges = log.prunes.iter().filter(|note| note.is_alive(now));
    let edge = edges.map(log::PruneNote::edge).max();
    let mut times = times_below(store, names::CORE).await?;
    for key in relied {
        match (times.get(&key), edge) {
            (None, _) => return Err(LogError::Pruned { key }),
            (Some(time), Some(edge)) if *time <= edge => return Err(LogError::Pruning { key }),
            _ => {}
        }
    }
    // The API's files are written after this, but one that has the right bytes already is not: it must not be going.
    let Some(edge) = edge.filter(|_| !api.is_empty()) else {
        return Ok(());
    };
    times = times_below(store, "api").await?;
    match api
        .into_iter()
        .find(|key| times.get(key).is_some_and(|time| *time <= edge))
    {
        Some(key) => Err(LogError::Pruning { key }),
        None => Ok(()),
    }
}

async fn times_below(
    store: &Store,
    prefix: &str,
) -> Result<HashMap<String, SystemTime>, StoreError> {
    let mut times = HashMap::new();
    let mut entries = store.list_stream(prefix);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        times.insert(entry.key, entry.modified);
    }
    Ok(times)
}

/// Writes a file, after what lies there and is something else was kept.
pub(crate) async fn replace(store: &Store, key: &str, bytes: Bytes) -> Result<(), StoreError> {
    match store.get(key).await {
        Ok(there) if there == bytes => return Ok(()),
        Ok(there) => {
            keep(store, Digest::of(&there), there).await?;
            keep(store, Digest::of(&bytes), bytes.clone()).await?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // What cannot be read whole is nothing that anybody could want back.
        Err(error) if error.kind() == ErrorKind::Corrupt => {}
        Err(error) => return Err(error),
    }
    store.put(key, bytes).await
}

/// Keeps a copy. One that is there is read: it may be damaged, and what it is a copy of is about to be written over.
async fn keep(store: &Store, sha256: Digest, bytes: Bytes) -> Result<(), StoreError> {
    let key = log::kept_key(sha256);
    match store.get(&key).await {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => store.put(&key, bytes).await,
        Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
            store.put(&key, bytes).await
        }
        Err(error) => Err(error),
    }
}
