//! What planning saw: counts for a dry run, and rows that cannot be moved.
//!
//! What must hold: every row that was read is counted once; every row that became no item is in the exceptions.
//!
//! It deliberately holds no more than a bounded number of exceptions and warnings; the rest is counted.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use transfer::{Exception, ExceptionKind};

/// More than this many of each kind are only counted.
const LISTED_MAX: usize = 10_000;

/// What planning has noted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// Rows that were read.
    pub rows: u64,
    /// Items that were made of them.
    pub items: u64,
    /// Rows of all tables whose path follows an item's.
    pub followers: u64,
    /// Files and their bytes, by role: `document`, `thumbnail`.
    pub files: BTreeMap<String, Estimate>,
    /// Rows whose file was not where they say but where the application looks next.
    pub legacy: u64,
    /// Files that lie neither below the upload path nor where a path map leads; each once, however often the plan is read.
    pub outside: BTreeSet<String>,
    /// Files of no bytes.
    pub empty: u64,
    /// Rows whose file is not there. They are items all the same: the engine reports them.
    pub missing: u64,
    /// Rows whose file has another length than they note. They are items all the same.
    pub wrong_size: u64,
    /// Rows that became no item, by name.
    pub exceptions: Vec<Exception>,
    /// How many those are.
    pub exception_count: u64,
    /// What is odd and moved all the same.
    pub warnings: Vec<String>,
    /// How many those are.
    pub warning_count: u64,
}

/// How many files, and how many bytes they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// How many files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Notes {
    /// Counts a file.
    pub(super) fn file(&mut self, role: &str, bytes: u64) {
        let estimate = self.files.entry(role.to_owned()).or_default();
        estimate.files += 1;
        estimate.bytes += bytes;
    }

    /// Notes a row that cannot be moved.
    pub(super) fn exception(&mut self, exception: Exception) {
        self.exception_count += 1;
        if self.exceptions.len() < LISTED_MAX {
            self.exceptions.push(exception);
        }
    }

    /// Notes a file that lies elsewhere.
    pub(super) fn outside(&mut self, path: String) {
        if self.outside.len() < LISTED_MAX {
            self.outside.insert(path);
        }
    }

    /// Says what has to be known of files that lie elsewhere, if there are any.
    #[must_use]
    pub fn of_outside(&self) -> Option<String> {
        let first = self.outside.first()?.as_str();
        let above = first.rsplit_once('/').map_or("/", |(above, _)| above);
        let above = if above.is_empty() { "/" } else { above };
        let n = match self.outside.len() {
            1 => "1 file lies".to_owned(),
            LISTED_MAX => format!("at least {LISTED_MAX} files lie"),
            n => format!("{n} files lie"),
        };
        Some(format!(
            "{n} outside of the upload path, the first is {first}: a rollback and --delete-source will touch them only if their directory is named, \
             --path-map {above}={above}"
        ))
    }

    /// Notes something odd.
    pub(super) fn warn(&mut self, warning: String) {
        self.warning_count += 1;
        if self.warnings.len() < LISTED_MAX {
            self.warnings.push(warning);
        }
    }

    /// Returns the number of all files and their bytes.
    #[must_use]
    pub fn total(&self) -> Estimate {
        self.files
            .values()
            .fold(Estimate::default(), |sum, one| Estimate {
                files: sum.files + one.files,
                bytes: sum.bytes + one.bytes,
            })
    }
}

/// A row that cannot be moved, with its path as the source.
pub(super) struct Unmovable<'a> {
    /// The item that it would be.
    pub(super) item: String,
    /// What the file is.
    pub(super) role: &'a str,
    /// The path.
    pub(super) source: &'a str,
    /// What sort of trouble it is.
    pub(super) kind: ExceptionKind,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

impl From<Unmovable<'_>> for Exception {
    fn from(row: Unmovable<'_>) -> Exception {
        Exception {
            item: row.item,
            role: row.role.to_owned(),
            source: row.source.to_owned(),
            key: String::new(),
            kind: row.kind,
            message: row.message,
            remedy: row.remedy.to_owned(),
        }
    }
}
