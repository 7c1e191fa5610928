//! The directory of a store: whether it is there, and still the one that it was.
//!
//! What must hold: a directory that is gone, or in whose place another one is (the empty one below a disk that was unmounted), is an error, never an
//! empty store; nothing is written there, and what was written there by a hair's breadth counts as not written.
//!
//! It deliberately asks for no more than the marker: numbers of devices and files change on network file systems while a folder stays the same.

use super::{MARKER, MARKER_TEXT};
use crate::file::{self, FileError};
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// Whether a marker says what it is; a plain folder holds nothing but files under their own names.
    pub(super) is_marked: bool,
    /// Whether its marker was seen, or made: from then on a directory without one is another.
    was_seen: AtomicBool,
}

/// The folder of a store is not there.
#[derive(Debug)]
pub(crate) struct RootMissing {
    root: PathBuf,
    why: &'static str,
}

impl fmt::Display for RootMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store's folder {} {}", self.root.display(), self.why)
    }
}

impl Error for RootMissing {}

impl Root {
    pub(super) fn new(path: PathBuf, is_marked: bool) -> Root {
        Root {
            path,
            is_marked,
            was_seen: AtomicBool::new(false),
        }
    }

    /// Fails unless it is there, and the same.
    pub(super) fn check(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => self.look_for_marker(),
            Ok(_) => Err(self.missing("is not a folder")),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.kind() == io::ErrorKind::NotADirectory =>
            {
                Err(self.missing("is not there"))
            }
            Err(error) => Err(FileError::wrap("look at", &self.path, error)),
        }
    }

    /// Makes what is missing of it, of its marker and of the directories above a file. One that was there is not made again.
    pub(super) fn prepare(&self, above: &Path) -> io::Result<()> {
        if self.was_seen.load(Ordering::Relaxed) {
            self.check()?;
            return self.make_below(above);
        }
        file::create_dir_durably(above)?;
        let marker = self.path.join(MARKER);
        if self.is_marked && !marker.exists() {
            file::atomic_write(&marker, MARKER_TEXT)?;
        }
        self.was_seen.store(self.is_marked, Ordering::Relaxed);
        Ok(())
    }

    /// As [`file::create_dir_durably`], but for the root and what is above that.
    fn make_below(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|_| dir != self.path);
        let Some(parent) = parent else {
            return self.check();
        };
        self.make_below(parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other.map_err(|error| FileError::wrap("create the directory", dir, error))?,
        }
        file::sync_dir(parent)
    }

    fn look_for_marker(&self) -> io::Result<()> {
        if !self.is_marked {
            return Ok(());
        }
        // It may lie where it cannot be looked at; then what is asked next says so.
        match self.path.join(MARKER).try_exists() {
            Ok(true) => self.was_seen.store(true, Ordering::Relaxed),
            Ok(false) if self.was_seen.load(Ordering::Relaxed) => {
                return Err(
                    self.missing("is not the one that it was: it has no .syncline-store any more")
                );
            }
            Ok(false) | Err(_) => {}
        }
        Ok(())
    }

    fn missing(&self, why: &'static str) -> io::Error {
        io::Error::other(RootMissing {
            root: self.path.clone(),
            why,
        })
    }
}
