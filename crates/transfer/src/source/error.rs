//! What can go wrong with a source.

use crate::report::ExceptionKind;
use std::error::Error;
use std::fmt;
use std::io;
use store::StoreError;

type BoxError = Box<dyn Error + Send + Sync>;

/// What sort of trouble a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceErrorKind {
    /// It is not there.
    Missing,
    /// It is a directory, a device or the like.
    NotAFile,
    /// It has another size than it should.
    WrongSize,
    /// It has another content than it should.
    WrongDigest,
    /// It changed while it was read.
    Changed,
    /// Something else got its name while it was brought back.
    Occupied,
    /// It may not be read or written.
    Permission,
    /// It lies where nothing may be restored or removed, nor read because a journal names it.
    Outside,
    /// There is no room, or the disk may only be read: no other source will fare better.
    DiskFull,
    /// The disk or the network share failed.
    Io,
    /// The network failed, or the server that hands it out.
    Network,
    /// The store that it is in failed.
    Store,
}

impl SourceErrorKind {
    /// Tells whether the trouble is that of this one source: the run leaves its item out and goes on. If not, it stops.
    #[must_use]
    pub fn is_of_one_item(self) -> bool {
        !matches!(self, SourceErrorKind::DiskFull | SourceErrorKind::Store)
    }

    pub(crate) fn exception(self) -> ExceptionKind {
        match self {
            SourceErrorKind::Missing => ExceptionKind::Missing,
            SourceErrorKind::NotAFile => ExceptionKind::NotAFile,
            SourceErrorKind::WrongSize => ExceptionKind::WrongSize,
            SourceErrorKind::WrongDigest => ExceptionKind::WrongDigest,
            SourceErrorKind::Changed | SourceErrorKind::Occupied => ExceptionKind::SourceChanged,
            SourceErrorKind::Permission => ExceptionKind::Permission,
            SourceErrorKind::Outside => ExceptionKind::Outside,
            _ => ExceptionKind::Unreadable,
        }
    }

    fn headline(self) -> &'static str {
        match self {
            SourceErrorKind::Missing => "it is not there",
            SourceErrorKind::NotAFile => "it is no file",
            SourceErrorKind::WrongSize => "it has another size than it should",
            SourceErrorKind::WrongDigest => "it has another content than it should",
            SourceErrorKind::Changed => "it changed while it was read",
            SourceErrorKind::Occupied => {
                "another file got its name meanwhile, which was left alone"
            }
            SourceErrorKind::Permission => "permission denied",
            SourceErrorKind::Outside => {
                "it lies, perhaps through a link, outside of the directories that a journal may name files in"
            }
            SourceErrorKind::DiskFull => "the disk takes no more",
            SourceErrorKind::Io => "the disk failed",
            SourceErrorKind::Network => "the network failed, or the server there",
            SourceErrorKind::Store => "its store failed",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            SourceErrorKind::Missing => {
                "restore the file from a backup, or correct its path, then run again"
            }
            SourceErrorKind::NotAFile => {
                "put the file back in place of what is there, then run again"
            }
            SourceErrorKind::WrongSize | SourceErrorKind::WrongDigest => {
                "compare the file with a backup: it may be truncated or damaged; replace it, then run again"
            }
            SourceErrorKind::Changed => "run again when nothing writes to the file",
            SourceErrorKind::Occupied => {
                "see which of the two is wanted: move the file away to get the copied one back, then run again"
            }
            SourceErrorKind::Permission => {
                "give this user the right to read the file (and, for a rollback, to write its directory), then run again"
            }
            SourceErrorKind::Outside => {
                "see who wrote that path into the journal; if the file does belong there, name its directory among those (--path-map \
                 /DIR=/DIR; for one behind a link, --follow-symlinks all), then run again"
            }
            SourceErrorKind::DiskFull => {
                "free some space, or mount the disk for writing, then run again: nothing was lost"
            }
            SourceErrorKind::Io => "check the disk (dmesg) or the network share, then run again",
            SourceErrorKind::Network | SourceErrorKind::Store => "see the cause, then run again",
        }
    }
}

/// What failed with which source, and why.
#[derive(Debug)]
pub struct SourceError {
    kind: SourceErrorKind,
    doing: &'static str,
    source: String,
    cause: Option<BoxError>,
}

impl SourceError {
    /// Makes an error. `doing` completes the sentence "could not ...", as in "read".
    #[must_use]
    pub fn new(kind: SourceErrorKind, doing: &'static str, source: &str) -> SourceError {
        SourceError {
            kind,
            doing,
            source: source.to_owned(),
            cause: None,
        }
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<BoxError>) -> SourceError {
        self.cause = Some(cause.into());
        self
    }

    /// Makes an error of an I/O error; its kind follows from the error's.
    #[must_use]
    pub fn io(doing: &'static str, source: &str, cause: io::Error) -> SourceError {
        SourceError::new(kind_of(&cause), doing, source).because(cause)
    }

    /// Makes an error of a store's.
    #[must_use]
    pub fn store(doing: &'static str, source: &str, cause: StoreError) -> SourceError {
        let kind = match cause.kind() {
            store::ErrorKind::NotFound => SourceErrorKind::Missing,
            _ => SourceErrorKind::Store,
        };
        SourceError::new(kind, doing, source).because(cause)
    }

    /// Returns what sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self.store_error() {
            Some(error) => error.remedy(),
            None => self.kind.remedy().to_owned(),
        }
    }

    /// Returns the store's error that caused it.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        self.cause.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, source) = (self.doing, &self.source);
        write!(f, "could not {doing} {source}: {}", self.kind.headline())
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &**cause as &(dyn Error + 'static))
    }
}

fn kind_of(error: &io::Error) -> SourceErrorKind {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound | Io::NotADirectory => SourceErrorKind::Missing,
        Io::IsADirectory | Io::InvalidFilename => SourceErrorKind::NotAFile,
        Io::PermissionDenied => SourceErrorKind::Permission,
        Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem => SourceErrorKind::DiskFull,
        _ => SourceErrorKind::Io,
    }
}
