//! Going back, or forth, to a generation that is there.
//!
//! What must hold: everything that it names was found before it is marked; who is told that it is current can rely on it; what is refused
//! has marked nothing, because a prune believes every mark; what is damaged now does not stand in the way, because nothing is read of the
//! generation that is left.

use crate::log::{self, Generation, GenerationId, Log, LogError};
use crate::plan::api_key;
use crate::publish::{self, Seen, Settled};
use std::collections::HashMap;
use store::{ErrorKind, Store, StoreError};

/// So often a mark is written that somebody else's overtook.
const ATTEMPTS: usize = 10;

/// A generation cannot be gone back to.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that it names is not there.
    #[error("{key} is gone, or not what it was, so this generation cannot be gone back to")]
    Gone {
        /// What is not there.
        key: String,
    },
    /// It is current now, and files of it are nowhere.
    #[error(
        "generation {id} is the current one now, but {} of it cannot be had any more: {}",
        files(keys),
        named(keys)
    )]
    Lost {
        /// The generation.
        id: GenerationId,
        /// The keys of the files.
        keys: Vec<String>,
    },
    /// It is current now, and its files could not all be put into their places.
    #[error(
        "generation {id} is the current one now, but its files could not be put into their places"
    )]
    Unsettled {
        /// The generation.
        id: GenerationId,
        /// Why.
        source: LogError,
    },
    /// Somebody removes things.
    #[error("a prune is under way, which may remove what this generation needs")]
    Pruning,
    /// Others published again and again.
    #[error("other runs published at the same time, again and again")]
    Overtaken,
}

/// So many files are named.
const NAMED: usize = 10;

fn files(keys: &[String]) -> String {
    match keys.len() {
        1 => "one file".to_owned(),
        count => format!("{count} files"),
    }
}

fn named(keys: &[String]) -> String {
    let more = keys.len().saturating_sub(NAMED);
    let named = keys[..keys.len() - more].join(", ");
    match more {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

/// Makes a published generation the current one.
///
/// # Errors
/// If something of it is nowhere any more, somebody prunes, or the store fails. Nothing was changed then, but where files are
/// [lost](RollbackError::Lost), or could not be [put into their places](RollbackError::Unsettled).
pub async fn roll_back(store: &Store, to: &GenerationId) -> Result<Settled, RollbackError> {
    let log = Log::read(store).await?;
    if log.current() != Some(to) {
        if is_pruning(store, &log).await? {
            return Err(RollbackError::Pruning);
        }
        let target = log::read(store, to).await?;
        check(store, &target).await?;
        let note = log::announce_rollback(store).await?;
        let marked = mark_announced(store, &log, to).await;
        // Whatever happened: while the note is there, nobody prunes.
        store.delete(&[note]).await?;
        marked?;
    }
    let whole = publish::settle_whole(store, &mut Seen::default(), None, None, None).await;
    let whole = whole.map_err(|source| RollbackError::Unsettled {
        id: to.clone(),
        source,
    })?;
    let settled = whole.ok_or(RollbackError::Overtaken)?.settled;
    // All of it was there when it was looked at; what was kept of it is damaged, or went since.
    match settled.lost.is_empty() {
        true => Ok(settled),
        false => Err(RollbackError::Lost {
            id: settled.id,
            keys: settled.lost,
        }),
    }
}

/// Marks a generation, once no prune can be at work that has not seen the note of this rollback.
async fn mark_announced(
    store: &Store,
    known: &Log,
    to: &GenerationId,
) -> Result<(), RollbackError> {
    let mut log = Log::read(store).await?;
    if is_pruning(store, &log).await? || !is_as_it_was(known, &log, to) {
        return Err(RollbackError::Pruning);
    }
    let before = log.current().cloned();
    for attempt in 0.. {
        log::mark(store, &log, to).await?;
        log = Log::read(store).await?;
        if log.current() == Some(to) {
            break;
        }
        if attempt == ATTEMPTS {
            return Err(RollbackError::Overtaken);
        }
    }
    // A prune that begins now sees the note. One that found it too old, because this process was held up, saw neither.
    if is_as_it_was(known, &log, to) {
        return Ok(());
    }
    if let Some(before) = before {
        log::mark(store, &log, &before).await?;
    }
    Err(RollbackError::Pruning)
}

/// Tells whether a generation, and each mark of it that was known, is still there: a prune that came and went takes them away.
fn is_as_it_was(known: &Log, log: &Log, id: &GenerationId) -> bool {
    let earlier = known.marks.iter().filter(|mark| mark.generation == *id);
    let is_marked = |name: &str| log.marks.iter().any(|mark| mark.name() == name);
    log.generations.contains_key(id) && earlier.map(log::Mark::name).all(|name| is_marked(&name))
}

async fn is_pruning(store: &Store, log: &Log) -> Result<bool, StoreError> {
    if log.prunes.is_empty() {
        return Ok(false);
    }
    let now = log::store_time(store).await?;
    Ok(log.prunes.iter().any(|note| note.is_alive(now)))
}

/// Looks that everything that a generation names is there.
async fn check(store: &Store, generation: &Generation) -> Result<(), RollbackError> {
    let present: HashMap<String, u64> = crate::sync::listed(store).await?;
    let gone = |key: String| Err(RollbackError::Gone { key });
    for held in &generation.bottles {
        if present.get(&held.blob_key()) != Some(&held.size) {
            return gone(held.blob_key());
        }
    }
    let kept = publish::kept(store).await?;
    for (key, entry) in &generation.manifests {
        let is_kept = kept.contains(&entry.sha256.to_string());
        if !is_kept && present.get(key) != Some(&entry.size) {
            return gone(key.clone());
        }
    }
    for (path, entry) in &generation.api {
        // Read, not only looked for: clients are to get it, and what is kept of it may be damaged.
        match log::read_file(store, &api_key(path), &entry.file).await {
            Ok(_) => {}
            Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                return gone(api_key(path));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
