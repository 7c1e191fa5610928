//! What a prune says in the log before it removes anything, and a rollback before it marks anything, and the clock that this goes by.
//!
//! What must hold: a note is in the log before its writer reads the log; times are the store's, never a machine's.
//!
//! It deliberately locks nobody out for ever: the note of a prune that died counts for a day, that of a rollback for some minutes.

use super::{LOG, OWN};
use std::time::{Duration, SystemTime};
use store::{ErrorKind, Store, StoreError};

/// A prune's note that is older than this was left behind by one that died.
const PRUNE_AT_MOST: Duration = Duration::from_secs(86_400);

/// Says that somebody is about to remove what nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneNote {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub written: SystemTime,
    /// What is older than this before that time may go.
    pub grace: Duration,
}

impl PruneNote {
    /// Returns the time up to which objects may go.
    #[must_use]
    pub fn edge(&self) -> SystemTime {
        let edge = self.written.checked_sub(self.grace);
        edge.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Tells whether whoever wrote it may still be at work at a time of the store's clock: a killed prune leaves its note behind.
    #[must_use]
    pub fn is_alive(&self, now: SystemTime) -> bool {
        now.duration_since(self.written)
            .is_ok_and(|age| age < PRUNE_AT_MOST)
            || self.written > now
    }
}

/// From its note to its mark a rollback needs two requests. An older note was left behind by one that died.
const ROLLBACK_AT_MOST: Duration = Duration::from_mins(10);

/// Says that somebody is about to make another generation the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackNote {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub written: SystemTime,
}

impl RollbackNote {
    /// Tells whether whoever wrote it may still be at work at a time of the store's clock.
    #[must_use]
    pub fn is_alive(&self, now: SystemTime) -> bool {
        now.duration_since(self.written)
            .map_or(true, |age| age < ROLLBACK_AT_MOST)
    }
}

/// Says that a rollback is about to mark a generation; returns the key of the note.
///
/// # Errors
/// If it is not certain that the note was written.
pub async fn announce_rollback(store: &Store) -> Result<String, StoreError> {
    let key = format!("{LOG}/returning-{:016x}", random());
    store.put(&key, "a rollback is under way\n".into()).await?;
    Ok(key)
}

/// Without it two notes of the same kind are one: the first to end would take it away.
fn random() -> u64 {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    u64::from_le_bytes(random)
}

/// Says that what is older than `grace` is about to go; returns the key of the note.
///
/// # Errors
/// If it is not certain that the note was written.
pub async fn announce_prune(store: &Store, grace: Duration) -> Result<String, StoreError> {
    let key = format!("{LOG}/pruning-{}-{:016x}", grace.as_secs(), random());
    store.put(&key, "a prune is under way\n".into()).await?;
    Ok(key)
}

/// Returns what the store's clock says: what it writes on a new object.
///
/// # Errors
/// If the store cannot be written to.
pub async fn store_time(store: &Store) -> Result<SystemTime, StoreError> {
    let key = format!("{OWN}/clock");
    store
        .put(&key, "may be deleted at any time\n".into())
        .await?;
    let found = match store.head(&key).await {
        Ok(found) => found.modified,
        // Somebody else has asked at the same moment, and taken it away.
        Err(error) if error.kind() == ErrorKind::NotFound => SystemTime::now(),
        Err(error) => return Err(error),
    };
    store.delete(&[key]).await?;
    Ok(found)
}
