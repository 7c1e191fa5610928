//! Two runs at once, and a mirror without its log.
//!
//! What must hold: what either of two runs has published is in what is current at the end; whoever merges the same two makes the same
//! third, byte for byte.

use crate::log::{self, FileEntry, Generation, GenerationId, Held, Log, LogError};
use crate::manifest::Index;
use crate::names;
use crate::plan::api_key;
use crate::publish;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{ErrorKind, Store, StoreError};

/// Makes sure that what a run has published is in what is current: with what others have published since `known`, if they did. A
/// rollback meanwhile does not hold: a sync goes forward, whichever of the two came first.
///
/// # Errors
/// If the store fails.
pub(super) async fn with_others(
    store: &Store,
    mut known: BTreeSet<GenerationId>,
    mut id: GenerationId,
    mut own: Generation,
) -> Result<(GenerationId, Generation), LogError> {
    loop {
        known.insert(id.clone());
        let log = Log::read(store).await?;
        // Others have seen it, gone on from it, and pruned it: what is current is what they made of it.
        if let Some(current) = log.current().filter(|_| !log.generations.contains_key(&id)) {
            let theirs = log::read(store, current).await?;
            return Ok((current.clone(), theirs));
        }
        let mut together = vec![(id.clone(), own)];
        for other in log.published() {
            if known.insert(other.clone()) {
                match log::read(store, other).await {
                    Ok(theirs) => together.push((other.clone(), theirs)),
                    // It can be merged by nobody, and must not keep everybody from publishing.
                    Err(error @ (LogError::Damaged { .. } | LogError::Newer { .. })) => {
                        tracing::warn!(%error, "passed over what another run published");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let merged = union(store, &mut together).await?;
        let holds = |(id, whole): &(GenerationId, Generation)| {
            log.current() == Some(id) && says_the_same(whole, &merged)
        };
        if let Some(place) = together.iter().position(holds) {
            return Ok(together.swap_remove(place));
        }
        // What only one has, and what a rollback has pushed aside, is published as a generation of its own.
        let lowest = if together.len() == 1 {
            log.next_number()
        } else {
            0
        };
        own = Generation {
            number: merged.number.max(lowest),
            ..merged
        };
        let written = log::write(store, &own).await?;
        // A prune that took one of them out of the log has not seen this one, and may remove what only that one named: once more without it.
        let seen = Log::read(store).await?;
        let all = together.len();
        together.retain(|(id, _)| seen.generations.contains_key(id));
        if together.len() < all {
            for (other, _) in &together {
                known.remove(other);
            }
            if let Some(place) = together.iter().position(|(other, _)| *other == id) {
                own = together.swap_remove(place).1;
            }
            continue;
        }
        id = written;
        // A mark of what is new says that its files are in place.
        publish::put_api_right(store, &own).await?;
        log::mark(store, &log, &id).await?;
    }
}

/// Takes up what a run published at the same moment as the current generation's, without seeing it, if neither lived to merge them.
///
/// # Errors
/// If the store fails.
pub(super) async fn catch_up(store: &Store) -> Result<(), LogError> {
    let log = Log::read(store).await?;
    let rivals: BTreeSet<&GenerationId> = log.rivals().into_iter().collect();
    let Some(id) = log.current().filter(|_| !rivals.is_empty()) else {
        return Ok(());
    };
    let current = log::read(store, id).await?;
    let mut known = marked(&log);
    known.retain(|id| !rivals.contains(id));
    with_others(store, known, id.clone(), current).await?;
    Ok(())
}

/// Returns the generations that a log shows to have been current.
pub(super) fn marked(log: &Log) -> BTreeSet<GenerationId> {
    let marks = log.marks.iter();
    marks.map(|mark| mark.generation.clone()).collect()
}

fn says_the_same(a: &Generation, b: &Generation) -> bool {
    a.bottles == b.bottles
        && a.manifests == b.manifests
        && a.api == b.api
        && a.selection == b.selection
}

/// Puts generations together: all bottles of all, and the files of the latest.
async fn union(
    store: &Store,
    together: &mut [(GenerationId, Generation)],
) -> Result<Generation, LogError> {
    together.sort_by(|a, b| (b.1.created, &b.0).cmp(&(a.1.created, &a.0)));
    let Some(((_, newest), older)) = together.split_first() else {
        return Ok(Generation::empty(Timestamp::UNIX_EPOCH));
    };
    let mut merged = newest.clone();
    for (_, older) in older {
        add(store, &mut merged, older).await?;
    }
    let names = together.iter().map(|(id, _)| id);
    merged.number = names.clone().map(GenerationId::number).max().unwrap_or(0) + 1;
    merged.base = names.max().map(GenerationId::to_string);
    // Two first runs at once gave it two names.
    let mirrors = together.iter().filter_map(|(_, one)| one.mirror.clone());
    merged.mirror = mirrors.min();
    merged.bottles.sort();
    Ok(merged)
}

async fn add(store: &Store, merged: &mut Generation, older: &Generation) -> Result<(), LogError> {
    merged.selection.extend(older.selection.clone());
    for (path, entry) in &older.api {
        let there = merged.api.get(path).map(|newer| &newer.file);
        if takes_older(store, &api_key(path), there, &entry.file).await? {
            merged.api.insert(path.clone(), entry.clone());
        }
    }
    for (key, entry) in &older.manifests {
        if takes_older(store, key, merged.manifests.get(key), entry).await? {
            merged.manifests.insert(key.clone(), entry.clone());
        }
    }
    let have: BTreeSet<_> = merged.bottles.iter().map(Held::bottle).collect();
    let added = older
        .bottles
        .iter()
        .filter(|held| !have.contains(&held.bottle()));
    merged.bottles.extend(added.cloned().collect::<Vec<_>>());
    Ok(())
}

/// Tells whether an older file has to do: because there is no newer one, or because two runs wrote it at the same moment, where nothing had been
/// before, and the newer one is lost.
async fn takes_older(
    store: &Store,
    key: &str,
    newer: Option<&FileEntry>,
    older: &FileEntry,
) -> Result<bool, LogError> {
    let Some(newer) = newer else { return Ok(true) };
    Ok(
        newer != older
            && !is_found(store, key, newer).await?
            && is_found(store, key, older).await?,
    )
}

async fn is_found(store: &Store, key: &str, entry: &FileEntry) -> Result<bool, StoreError> {
    match log::read_file(store, key, entry).await {
        Ok(_) => Ok(true),
        Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Reads what a mirror without a log holds, from its manifests and the list of its objects. Nothing is fetched from anywhere else.
///
/// # Errors
/// If the store fails.
pub(super) async fn read_back(
    store: &Store,
    present: &HashMap<String, u64>,
    now: Timestamp,
) -> Result<Generation, StoreError> {
    let prefix = format!("{}/", names::CORE);
    let mut generation = Generation::empty(now);
    let mut manifests = BTreeMap::new();
    for key in present.keys() {
        let Some((image, _)) = key
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once("/manifests/"))
        else {
            continue;
        };
        manifests.insert(key.clone(), image.to_owned());
    }
    for (key, image) in manifests {
        let bytes = store.get(&key).await?;
        let Ok(index) = Index::parse(&bytes) else {
            tracing::warn!(key, "a manifest cannot be read");
            continue;
        };
        // The image does not say how the formula is written; the blob's key follows from the image alone.
        for (bottle, size) in index.bottles(&formula_of(&image)) {
            let held = Held {
                formula: bottle.formula,
                version: bottle.version,
                rebuild: bottle.rebuild,
                tag: bottle.tag,
                sha256: bottle.sha256,
                size,
                date: now.strftime("%Y-%m-%d").to_string(),
            };
            if present.contains_key(&held.blob_key()) {
                generation.bottles.push(held);
            }
        }
    }
    generation.bottles.sort();
    generation.bottles.dedup();
    Ok(generation)
}

/// Guesses how a formula is written whose image is known: `python/3.12` is `python@3.12`. That a `+` was an `x` cannot be seen.
fn formula_of(image: &str) -> String {
    image.replace('/', "@")
}
