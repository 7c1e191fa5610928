//! What a daemon remembers, and the lock that keeps a second one away.
//!
//! What must hold: the system gives the lock back whatever its holder died of; a state that cannot be read is begun anew, never guessed at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// What a daemon remembers from one start to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonState {
    /// The schedule, as it was typed.
    pub schedule: String,
    /// The time zone that it is read in.
    pub time_zone: String,
    /// What a rate counts from.
    pub anchor: Timestamp,
    /// All that was due up to then has had its run.
    pub handled: Timestamp,
    /// The run that is under way, or died.
    #[serde(default)]
    pub begun: Option<Attempt>,
    /// When the next one begins.
    #[serde(default)]
    pub next: Option<Timestamp>,
}

/// A run that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was due.
    pub due: Timestamp,
    /// How often it began.
    pub attempt: u32,
}

impl DaemonState {
    /// Reads what was remembered; nothing if there is nothing that can be read.
    ///
    /// # Errors
    /// If the file is there and its bytes cannot be had.
    pub fn read(state_dir: &Path) -> io::Result<Option<DaemonState>> {
        match std::fs::read(state_dir.join("daemon.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, state_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        store::file::atomic_write(&state_dir.join("daemon.json"), &text)
    }
}

/// Held by the daemon of a state directory.
pub struct Lock {
    // Locked until this is dropped.
    _file: File,
}

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("another daemon works with this state directory")]
    Held,
    /// The directory cannot be used.
    #[error("the lock of the daemon cannot be used")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// If another daemon has it.
    pub fn take(state_dir: &Path) -> Result<Lock, LockError> {
        store::file::create_dir_durably(state_dir)?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(state_dir.join("daemon.lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Tells whether a daemon works with a state directory.
    #[must_use]
    pub fn is_held(state_dir: &Path) -> bool {
        let file = File::open(state_dir.join("daemon.lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
