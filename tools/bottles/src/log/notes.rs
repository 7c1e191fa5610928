//! What a prune says in the log before it removes anything, and a rollback before it marks anything, and the clock that this goes by.
//!
//! What must hold: a note is in the log before its writer reads the log; times are the store's, never a machine's. A prune says again and
//! again that it is at work, under two names in turn: whoever lists just while one is written over sees the other. When it began is said
//! by an object that nobody touches.
//!
//! It deliberately locks nobody out for ever: the note of a prune that died counts for a quarter of an hour, that of a rollback for some
//! minutes.

use super::{LOG, Log, full};
use std::time::{Duration, SystemTime};
use store::{ErrorKind, Store, StoreError};

/// A prune that has not said for so long that it is at work has died. One that still lives has given up before that
/// ([`crate::prune`]).
const PRUNE_SILENT_AT_MOST: Duration = Duration::from_mins(15);

/// A prune of an earlier program says it only once.
const EARLIER_PRUNE_AT_MOST: Duration = Duration::from_secs(86_400);

/// How the names of a prune's notes begin.
const PRUNING: &str = "pruning-";

/// Says that somebody is about to remove what nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneNote {
    /// What its notes have in common.
    stem: String,
    /// The keys of its notes.
    pub keys: Vec<String>,
    /// When the first one was written, by the store's clock.
    pub written: SystemTime,
    /// When the last one was written, by the store's clock.
    pub seen: SystemTime,
    /// What is older than this before it began may go.
    pub grace: Duration,
    /// Whether it says again and again that it is at work.
    beats: bool,
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
        let at_most = match self.beats {
            true => PRUNE_SILENT_AT_MOST,
            false => EARLIER_PRUNE_AT_MOST,
        };
        now.duration_since(self.seen)
            .map_or(true, |age| age < at_most)
    }
}

impl Log {
    /// Takes up one of a prune's notes; tells whether it is one.
    pub(super) fn take_prune(&mut self, name: &str, key: &str, written: SystemTime) -> bool {
        let Some(rest) = name.strip_prefix(PRUNING) else {
            return false;
        };
        let mut parts = rest.splitn(3, '-');
        let (grace, random) = (parts.next(), parts.next().unwrap_or_default());
        let Some(Ok(grace)) = grace.map(str::parse) else {
            return false;
        };
        let stem = format!("{grace}-{random}");
        let known = self.prunes.iter_mut().find(|known| known.stem == stem);
        if let Some(known) = known {
            known.keys.push(key.to_owned());
            known.written = known.written.min(written);
            known.seen = known.seen.max(written);
            return true;
        }
        self.prunes.push(PruneNote {
            stem,
            keys: vec![key.to_owned()],
            written,
            seen: written,
            grace: Duration::from_secs(grace),
            beats: parts.next().is_some(),
        });
        true
    }
}

/// What a prune that is at work says in the log.
#[derive(Debug)]
pub struct PruneSign {
    stem: String,
}

impl PruneSign {
    /// Says that what is older than `grace` is about to go.
    ///
    /// # Errors
    /// If it is not certain that the note was written.
    pub async fn set(store: &Store, grace: Duration) -> Result<PruneSign, StoreError> {
        let stem = format!("{}-{:016x}", grace.as_secs(), random());
        let sign = PruneSign { stem };
        full::put(store, &sign.key("began"), TEXT).await?;
        Ok(sign)
    }

    /// Says again that it is at work. The count of what was said so far chooses the name.
    ///
    /// # Errors
    /// If it is not certain that the note was written.
    pub async fn beat(&self, store: &Store, count: u64) -> Result<(), StoreError> {
        let key = self.key(BEATS[usize::from(count % 2 == 1)]);
        full::put(store, &key, TEXT).await
    }

    /// Says no more that it is at work.
    ///
    /// # Errors
    /// If it is not certain that all notes are gone.
    pub async fn remove(&self, store: &Store) -> Result<(), StoreError> {
        let [one, other] = BEATS;
        let keys = [one, other, "began"].map(|kind| self.key(kind));
        store.delete(&keys).await
    }

    /// Tells whether a note of the log is its own.
    #[must_use]
    pub fn is(&self, note: &PruneNote) -> bool {
        note.stem == self.stem
    }

    fn key(&self, kind: &str) -> String {
        format!("{LOG}/{PRUNING}{}-{kind}", self.stem)
    }
}

const TEXT: &str = "a prune is under way\n";

/// The two names under which a prune says in turn that it is at work.
const BEATS: [&str; 2] = ["lives-a", "lives-b"];

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

/// How the names of objects begin that are written only to learn the time.
pub(super) const CLOCK: &str = "clock-";

/// Returns what the store's clock says: what it writes on a new object.
///
/// # Errors
/// If the store cannot be written to.
pub async fn store_time(store: &Store) -> Result<SystemTime, StoreError> {
    // Under a name of its own: of two who ask at the same moment, one would take the other's away.
    let key = format!("{LOG}/{CLOCK}{:016x}", random());
    store
        .put(&key, "may be deleted at any time\n".into())
        .await?;
    let found = match store.head(&key).await {
        Ok(found) => found.modified,
        // It may be deleted at any time.
        Err(error) if error.kind() == ErrorKind::NotFound => SystemTime::now(),
        Err(error) => return Err(error),
    };
    store.delete(&[key]).await?;
    Ok(found)
}
