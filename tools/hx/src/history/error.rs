//! What can go wrong with the history, its files and its imports, sorted by what to do about it.
//!
//! What must hold: every error names the file or the id it is about, says only its own level in `Display` (the next one is in
//! `source`), and has a remedy.
//!
//! What it deliberately does not do: print, or choose exit codes (see `cli`).

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What to do about a [`HistoryError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryErrorKind {
    /// There is no such file or event.
    NotFound,
    /// The database was written by a newer hx.
    NewerVersion,
    /// The database is damaged, or the file is no database.
    Broken,
    /// Another process holds the database.
    Busy,
    /// No space is left, or a quota is used up.
    DiskFull,
    /// The file system does not let us.
    Permission,
    /// The beginning of an id fits several events.
    Ambiguous,
    /// A file to import is no history.
    Refused,
    /// The text given is not understood (a date, an id).
    Invalid,
    /// Anything else.
    Other,
}

/// An error of the history.
#[derive(Debug)]
pub struct HistoryError {
    kind: HistoryErrorKind,
    doing: String,
    remedy: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// A cause that is only a sentence.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

impl HistoryError {
    /// An error whose cause is a sentence.
    pub(crate) fn new(
        kind: HistoryErrorKind,
        doing: impl Into<String>,
        cause: impl Into<String>,
    ) -> Self {
        let cause = cause.into();
        let source =
            (!cause.is_empty()).then(|| Box::new(Cause(cause)) as Box<dyn Error + Send + Sync>);
        Self {
            kind,
            doing: doing.into(),
            remedy: None,
            source,
        }
    }

    /// An input/output error on `path`.
    pub(crate) fn io(doing: &str, path: &Path, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => HistoryErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                HistoryErrorKind::Permission
            }
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => HistoryErrorKind::DiskFull,
            _ => HistoryErrorKind::Other,
        };
        Self {
            kind,
            doing: format!("cannot {doing} {}", path.display()),
            remedy: None,
            source: Some(Box::new(error)),
        }
    }

    /// Puts another remedy in place of the usual one for its kind.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Says what was being done, and to which file, where the database could not know.
    #[must_use]
    pub(crate) fn at(mut self, doing: &str, path: &Path) -> Self {
        self.doing = format!("cannot {doing} {}", path.display());
        self
    }

    /// What led to it, in words; what it says itself if nothing is known.
    pub(crate) fn cause(&self) -> String {
        self.source
            .as_ref()
            .map_or_else(|| self.doing.clone(), ToString::to_string)
    }

    /// What sort of error it is.
    pub fn kind(&self) -> HistoryErrorKind {
        self.kind
    }

    /// What the person can do.
    pub fn remedy(&self) -> String {
        self.remedy
            .clone()
            .unwrap_or_else(|| default_remedy(self.kind).to_owned())
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl Error for HistoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HistoryErrorKind::Busy,
            // What this program writes keeps all constraints, so that one that is in the way is there for what is not as it was written.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation,
            ) => HistoryErrorKind::Broken,
            Some(ErrorCode::DiskFull) => HistoryErrorKind::DiskFull,
            // SQLite calls only one of the system's codes "full": a quota or a limit shows as a write that failed.
            Some(ErrorCode::SystemIoFailure) if is_failed_write(&error) => {
                HistoryErrorKind::DiskFull
            }
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied,
            ) => HistoryErrorKind::Permission,
            Some(ErrorCode::CannotOpen) => HistoryErrorKind::Permission,
            _ if matches!(
                error,
                rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::FromSqlConversionFailure(..)
                    // Where a row may be missing, that is asked for.
                    | rusqlite::Error::QueryReturnedNoRows
            ) =>
            {
                HistoryErrorKind::Broken
            }
            // Every table is made with the database, and asked for by its name.
            _ if error.to_string().contains("no such table") => HistoryErrorKind::Broken,
            _ => HistoryErrorKind::Other,
        };
        // The library repeats the text of a failure in its `source`, so only its sentence is kept.
        let cause = match is_failed_write(&error) {
            true => format!("{NOT_WRITTEN} ({error})"),
            false => error.to_string(),
        };
        Self::new(kind, "the history database failed", cause)
    }
}

/// What SQLite does not say of a write that failed.
const NOT_WRITTEN: &str = "no more could be written: the disk is full, or a quota or a limit on the size of files is reached";

fn is_failed_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE,
        SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE,
    };
    let code = error.sqlite_error().map(|error| error.extended_code);
    // On a share that is full, what was written earlier fails only when it is to be made durable.
    let writes = [
        SQLITE_IOERR_WRITE,
        // The first bytes of the index of the journal.
        SQLITE_IOERR_SHMOPEN,
        SQLITE_IOERR_SHMSIZE,
        SQLITE_IOERR_FSYNC,
        SQLITE_IOERR_DIR_FSYNC,
        SQLITE_IOERR_TRUNCATE,
    ];
    code.is_some_and(|code| writes.contains(&code))
}

/// The path that a message names: never empty.
pub(crate) fn shown(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

/// What to do about a damaged database.
pub(crate) const BROKEN_REMEDY: &str = "Nothing was deleted. Save what can be read: `hx export --file hx-rescue.json`. Move the file away (keep it), then run `hx import --file hx-rescue.json`, or with a backup; if you sync, `hx sync init` and `hx sync pull` fetch from the store what it has.";

fn default_remedy(kind: HistoryErrorKind) -> &'static str {
    match kind {
        HistoryErrorKind::NotFound => {
            "Check the name. If this machine has no history yet, run `hx import`."
        }
        HistoryErrorKind::NewerVersion => {
            "Install the newest hx on this machine. Nothing was changed."
        }
        HistoryErrorKind::Broken => BROKEN_REMEDY,
        HistoryErrorKind::Busy => {
            "Another hx is writing. Wait for it to finish, then run the command again."
        }
        HistoryErrorKind::DiskFull => {
            "Free some space on that disk or raise the quota, then run the command again. Nothing was lost."
        }
        HistoryErrorKind::Permission => {
            "Check who owns the file and its directory, and their permissions."
        }
        HistoryErrorKind::Ambiguous => "Type more digits of the id.",
        HistoryErrorKind::Refused => {
            "Give a history of zsh, bash or fish, or an export of hx. Nothing was imported."
        }
        HistoryErrorKind::Invalid => "Check the spelling.",
        HistoryErrorKind::Other => "Run the command again with `HX_LOG_LEVEL=debug` to see more.",
    }
}
