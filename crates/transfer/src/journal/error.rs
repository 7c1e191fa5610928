//! What can go wrong with a journal.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

type BoxError = Box<dyn Error + Send + Sync>;

/// What sort of trouble a journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JournalErrorKind {
    /// There is none.
    NotFound,
    /// Something has the path already.
    Exists,
    /// Another process writes it.
    Locked,
    /// It is damaged before its end.
    Damaged,
    /// It and the copy of it in the target go apart.
    Diverged,
    /// The copy of it in the target is longer, and nothing here says that it was ever that long.
    Shorter,
    /// It is no journal, or one of a newer version.
    Unknown,
    /// The disk failed or is full.
    Io,
    /// The store that keeps its copy failed.
    Store,
}

/// What failed with which journal.
#[derive(Debug)]
pub struct JournalError {
    kind: JournalErrorKind,
    path: PathBuf,
    /// The damaged line, counted from 1.
    line: Option<u64>,
    cause: Option<BoxError>,
}

impl JournalError {
    pub(crate) fn new(kind: JournalErrorKind, path: &Path) -> JournalError {
        JournalError {
            kind,
            path: path.to_owned(),
            line: None,
            cause: None,
        }
    }

    pub(crate) fn because(mut self, cause: impl Into<BoxError>) -> JournalError {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn at_line(mut self, line: u64) -> JournalError {
        self.line = Some(line);
        self
    }

    pub(crate) fn io(path: &Path, cause: std::io::Error) -> JournalError {
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => JournalErrorKind::NotFound,
            std::io::ErrorKind::AlreadyExists => JournalErrorKind::Exists,
            _ => JournalErrorKind::Io,
        };
        JournalError::new(kind, path).because(cause)
    }

    /// Returns what sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> JournalErrorKind {
        self.kind
    }

    /// Returns the damaged line, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self.kind {
            JournalErrorKind::NotFound => {
                "name the journal of a run, or use the copy that is kept in the target".to_owned()
            }
            JournalErrorKind::Exists => {
                "resume that run, or begin another under a new name; journals are never overwritten"
                    .to_owned()
            }
            JournalErrorKind::Locked => {
                "wait until the other process has ended, or stop it; it saves its state".to_owned()
            }
            JournalErrorKind::Damaged => {
                "keep the file; rebuild the journal from the copy in the target, or restore it from a backup"
                    .to_owned()
            }
            JournalErrorKind::Diverged => {
                "keep both: restore the newest copy of the file from a backup, or move it away to take the one in the target"
                    .to_owned()
            }
            JournalErrorKind::Shorter => {
                "find out who wrote to the target, or whether an older file was put back; move the file away to take the one in the target"
                    .to_owned()
            }
            JournalErrorKind::Unknown => {
                "name the journal of a run; if it is one, use the version that wrote it or a newer one".to_owned()
            }
            JournalErrorKind::Io => {
                "free some space or check the disk, then resume the run: nothing was lost".to_owned()
            }
            JournalErrorKind::Store => match self.store_error() {
                Some(error) => error.remedy(),
                None => "see the cause, then run again".to_owned(),
            },
        }
    }

    /// Returns the error of the store that keeps the copy, if that is the cause.
    #[must_use]
    pub fn store_error(&self) -> Option<&store::StoreError> {
        self.cause.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (self.kind, self.line) {
            (JournalErrorKind::NotFound, _) => write!(f, "there is no journal {path}"),
            (JournalErrorKind::Exists, _) => write!(f, "the journal {path} exists already"),
            (JournalErrorKind::Locked, _) => write!(f, "another process writes the journal {path}"),
            (JournalErrorKind::Damaged, Some(line)) => {
                write!(f, "line {line} of the journal {path} is damaged")
            }
            (JournalErrorKind::Damaged, None) => write!(f, "the journal {path} is damaged"),
            (JournalErrorKind::Diverged, _) => {
                write!(f, "the journal {path} cannot be believed")
            }
            (JournalErrorKind::Shorter, _) => {
                write!(
                    f,
                    "the copy of the journal {path} goes on where the journal ends"
                )
            }
            (JournalErrorKind::Unknown, _) => write!(f, "{path} is no journal that is known here"),
            (JournalErrorKind::Io, _) => write!(f, "the journal {path} could not be used"),
            (JournalErrorKind::Store, _) => {
                write!(f, "the copy of the journal {path} could not be used")
            }
        }
    }
}

impl Error for JournalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &**cause as &(dyn Error + 'static))
    }
}
