//! Makes a generation the one that clients see.
//!
//! What must hold, in this order: blobs are there; manifests; the generation is in the log; the API's files, which make clients ask, come
//! last; then the mark. Before a file is written over, its old bytes are kept where a generation that names them finds them.
//!
//! It deliberately promises readers of plain static files the order only; who reads through `homebrew-sync serve` sees one generation.

use crate::log::{self, FileEntry, Generation, GenerationId, Log, LogError};
use crate::plan::api_key;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So many small files are written at once.
const AT_ONCE: usize = 16;

/// Publishes a generation whose blobs are all there; returns its name. `base` is what clients see now.
///
/// # Errors
/// If the store fails. Clients then still see what they saw, and to publish again is harmless.
pub async fn publish(
    store: &Store,
    log: &Log,
    base: &Generation,
    next: &Generation,
    manifests: &BTreeMap<String, Bytes>,
    api: &BTreeMap<String, Bytes>,
) -> Result<GenerationId, LogError> {
    let manifest = |(key, bytes): (&String, &Bytes)| {
        let (key, bytes) = (key.clone(), bytes.clone());
        replace(store, base.manifests.get(&key).cloned(), key, bytes)
    };
    stream::iter(manifests.iter().map(manifest))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let id = log::write(store, next).await?;
    for (path, bytes) in api {
        let old = base.api.get(path).map(|entry| entry.file.clone());
        replace(store, old, api_key(path), bytes.clone()).await?;
    }
    log::mark(store, log, &id).await?;
    Ok(id)
}

/// Goes back, or forth, to a generation that is there: puts its files in place, and marks it.
///
/// # Errors
/// If one of its files is nowhere any more, or the store fails.
pub async fn switch_to(
    store: &Store,
    log: &Log,
    from: &Generation,
    to: &Generation,
    id: &GenerationId,
) -> Result<(), LogError> {
    let differing = |old: Option<&FileEntry>, new: &FileEntry| old != Some(new);
    // Everything is found before anything is put in place.
    let mut manifests = BTreeMap::new();
    for (key, entry) in &to.manifests {
        if differing(from.manifests.get(key), entry) {
            manifests.insert(key.clone(), log::read_file(store, key, entry).await?);
        }
    }
    let mut api = BTreeMap::new();
    for (path, entry) in &to.api {
        if differing(from.api.get(path).map(|entry| &entry.file), &entry.file) {
            let key = api_key(path);
            api.insert(
                path.clone(),
                log::read_file(store, &key, &entry.file).await?,
            );
        }
    }
    for (key, bytes) in manifests {
        replace(store, from.manifests.get(&key).cloned(), key, bytes).await?;
    }
    for (path, bytes) in api {
        let old = from.api.get(&path).map(|entry| entry.file.clone());
        replace(store, old, api_key(&path), bytes).await?;
    }
    log::mark(store, log, id).await?;
    Ok(())
}

/// Writes a file over another one, after the old bytes are kept.
async fn replace(
    store: &Store,
    old: Option<FileEntry>,
    key: String,
    bytes: Bytes,
) -> Result<(), StoreError> {
    if let Some(old) = old {
        keep(store, &key, &old).await?;
    }
    store.put(&key, bytes).await
}

async fn keep(store: &Store, key: &str, old: &FileEntry) -> Result<(), StoreError> {
    let kept = log::kept_key(old.sha256);
    match store.get(key).await {
        Ok(bytes) if Digest::of(&bytes) == old.sha256 => store.put(&kept, bytes).await,
        // An earlier run got as far as to write over it, and had kept the old bytes before; or somebody else has changed it, and then there
        // is nothing to keep.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
