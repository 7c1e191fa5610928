//! The hash file made anew from what lies in the store.
//!
//! What must hold: the file names a bottle only if an object of its size lies under its digest and the store, where it keeps digests, does not say
//! that it has another one; nothing is fetched; what it says is of what is current when it ends.
//! It deliberately reads no bottle: `scrub` does.

use super::{SyncError, listed, merge};
use crate::hashfile::{HashFile, Merged};
use crate::log::{self, GenerationId, Held, Log};
use crate::plan::trusts_checksums;
use crate::publish::{self, write_hash_file};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use store::{ErrorKind, Store, StoreError};

/// So many objects are asked about at once.
const AT_ONCE: usize = 32;

/// What rebuilding the hash file found.
pub struct Rebuilt {
    /// How many bottles the file names.
    pub bottles: u64,
    /// Bottles of the current generation that are not in the store, or have another size there.
    pub missing: Vec<Held>,
    /// Those of which the store says that they have another digest.
    pub damaged: Vec<Held>,
    /// Of how many bottles the store said the digest.
    pub digests_compared: u64,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Makes the hash file anew from what lies in the store: every bottle of the current generation is looked for.
///
/// # Errors
/// If the store fails.
pub async fn rebuild_hash(
    store: &Store,
    external: Option<&HashFile>,
    now: Timestamp,
) -> Result<Rebuilt, SyncError> {
    loop {
        let log = Log::read(store).await?;
        let rebuilt = rebuild(store, log.current(), external, now).await?;
        // Another run may have published, or gone back, since the log was read: its file was written over.
        if Log::read(store).await?.current() == log.current() {
            return Ok(rebuilt);
        }
    }
}

async fn rebuild(
    store: &Store,
    current: Option<&GenerationId>,
    external: Option<&HashFile>,
    now: Timestamp,
) -> Result<Rebuilt, SyncError> {
    let present = listed(store).await?;
    let mut others = Vec::new();
    let mut generation = match current {
        Some(id) => {
            let generation = log::read(store, id).await?;
            others = publish::not_as_named(store, &generation).await?;
            generation
        }
        None => merge::read_back(store, &present, now).await?,
    };
    let (there, missing): (Vec<Held>, Vec<Held>) = std::mem::take(&mut generation.bottles)
        .into_iter()
        .partition(|held| present.get(&held.blob_key()) == Some(&held.size));
    let mut rebuilt = Rebuilt {
        bottles: 0,
        missing,
        damaged: Vec::new(),
        digests_compared: 0,
        warnings: publish::unsettled(&others).into_iter().collect(),
    };
    // A store that says what it was told proves nothing.
    let asks = !there.is_empty() && trusts_checksums(store).await;
    let mut compared = stream::iter(there)
        .map(|held| async move {
            let verdict = match asks {
                true => digest_fits(store, &held).await,
                false => Ok(None),
            };
            verdict.map(|verdict| (held, verdict))
        })
        .buffered(AT_ONCE);
    while let Some(outcome) = compared.next().await {
        let (held, verdict) = outcome?;
        rebuilt.digests_compared += u64::from(verdict.is_some());
        match verdict {
            Some(false) => rebuilt.damaged.push(held),
            _ => generation.bottles.push(held),
        }
    }
    let warnings = &mut rebuilt.warnings;
    let merged = write_hash_file(store, &generation, external, now, warnings).await?;
    let others = merged.iter().filter(|merged| !merged.others.is_empty());
    warnings.extend(others.map(Merged::warning));
    rebuilt.bottles = generation.bottles.len() as u64;
    Ok(rebuilt)
}

/// Compares the digest that the store keeps; nothing if it keeps none.
async fn digest_fits(store: &Store, held: &Held) -> Result<Option<bool>, StoreError> {
    match store.head(&held.blob_key()).await {
        Ok(found) => {
            let wanted: Option<transfer::Digest> = held.sha256.parse().ok();
            Ok(found
                .sha256
                .map(|sha256| wanted.is_some_and(|wanted| wanted.0 == sha256)))
        }
        // It went since the store was listed; the next run finds out.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
