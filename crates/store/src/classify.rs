//! Turns an error of the object store into ours: decides the kind, finds the cause worth showing.
//!
//! What must hold: the kind follows from the server's error code, the HTTP status and the types in the chain of causes,
//! never from words in a text. What the server said outweighs what the library made of it.
//!
//! It deliberately does not retry: the library does, below, by what the kinds allow.

use crate::error::{BoxError, ErrorKind, StoreError};
use crate::file::FileError;
use crate::folder::{NotAFile, RootMissing};
use crate::store::OutOfTime;
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::io;

/// Makes a store error from the library's.
pub(crate) fn from_library(
    operation: &'static str,
    key: Option<&str>,
    error: object_store::Error,
) -> StoreError {
    let kind = match kind_of(&error) {
        // Writing looks for no object: what is missing is the place.
        ErrorKind::NotFound if operation == "put" => ErrorKind::NoBucket,
        kind => kind,
    };
    let headline = folder_headline(kind, &error).or_else(|| headline(&error));
    let remedy = limit_remedy(&error).or_else(|| folder_remedy(kind, &error));
    let mut failure = StoreError::new(kind, operation, key, Deepest::new(Box::new(error)));
    if let Some(headline) = headline {
        failure = failure.with_headline(headline);
    }
    if let Some(remedy) = remedy {
        failure = failure.with_remedy(remedy);
    }
    failure
}

/// Says what to do where this process may not open another file or connection.
fn limit_remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let limits = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    let is_limit =
        first::<io::Error>(error).is_some_and(|error| limits.contains(&error.raw_os_error()));
    is_limit.then_some("raise the limit on open files (ulimit -n 256), or lower the number of concurrent uploads and downloads, then run the command again")
}

/// Says what to do where a folder is the store: buckets and policies are no help there.
fn folder_remedy(kind: ErrorKind, error: &(dyn Error + 'static)) -> Option<&'static str> {
    if first::<RootMissing>(error).is_none() && first::<FileError>(error).is_none() {
        return None;
    }
    match kind {
        ErrorKind::Corrupt => Some("remove what has the object's name, and run it again"),
        ErrorKind::NoBucket => Some(
            "mount the disk or share that holds the folder, or correct its path; to start afresh create it (mkdir -p)",
        ),
        ErrorKind::Permission => Some(
            "check the owner and the mode of the folder (ls -ld), and that its disk is not mounted read-only",
        ),
        ErrorKind::Connection => {
            Some("check that the network share is still mounted and its server is up")
        }
        ErrorKind::Other if first::<io::Error>(error).is_some_and(is_no_file) => Some(
            "a directory has the name that the file is to have: see what is in it (ls -la) and move it away, then run the command again",
        ),
        _ => None,
    }
}

fn is_no_file(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty
    )
}

/// A folder that cannot be made is no bucket.
fn folder_headline(kind: ErrorKind, error: &(dyn Error + 'static)) -> Option<String> {
    let is_place = kind == ErrorKind::NoBucket && first::<FileError>(error).is_some();
    is_place.then(|| "the folder is missing and cannot be created".to_owned())
}

fn headline(error: &(dyn Error + 'static)) -> Option<String> {
    if first::<RootMissing>(error).is_some() {
        return Some("the folder is missing".to_owned());
    }
    #[cfg(feature = "s3")]
    if let Some(headline) = crate::s3::transport_headline(error) {
        return Some(headline);
    }
    let refused = first::<io::Error>(error)
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    refused.then(|| "connection refused".to_owned())
}

fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Library;
    match error {
        Library::NotFound { .. } => ErrorKind::NotFound,
        Library::AlreadyExists { .. }
        | Library::Precondition { .. }
        | Library::NotModified { .. } => ErrorKind::Precondition,
        Library::NotSupported { .. } | Library::NotImplemented { .. } => ErrorKind::Unsupported,
        Library::PermissionDenied { .. } => ErrorKind::Permission,
        Library::Unauthenticated { .. } => ErrorKind::Credentials,
        other => kind_of_chain(other),
    }
}

/// Decides by the first type in the chain of causes that says something.
pub(crate) fn kind_of_chain(error: &(dyn Error + 'static)) -> ErrorKind {
    if first::<RootMissing>(error).is_some() {
        return ErrorKind::NoBucket;
    }
    if first::<OutOfTime>(error).is_some() {
        return ErrorKind::Timeout;
    }
    if first::<NotAFile>(error).is_some() {
        return ErrorKind::Corrupt;
    }
    #[cfg(feature = "s3")]
    if let Some(kind) = crate::s3::transport_kind(error) {
        return kind;
    }
    first::<io::Error>(error).map_or(ErrorKind::Other, io_kind)
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::Permission
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::QuotaOrDiskFull
        }
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::UnexpectedEof => ErrorKind::Connection,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// Finds the first error of a type in a chain; an I/O error that wraps another is looked into.
pub(crate) fn first<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // `io::Error::source` skips the error that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        current = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// A chain of which only the end is shown, because the upper errors repeat their causes in their own text.
pub(crate) struct Deepest(BoxError);

impl Deepest {
    pub(crate) fn new(error: BoxError) -> Deepest {
        Deepest(error)
    }

    /// Returns the end of the chain, or the error above it that names the file.
    fn shown(&self) -> &(dyn Error + 'static) {
        let mut shown: &(dyn Error + 'static) = &*self.0;
        while let Some(next) = shown.source().filter(|_| !names_file(shown)) {
            shown = next;
        }
        shown
    }
}

impl fmt::Display for Deepest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.shown(), f)
    }
}

impl fmt::Debug for Deepest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deepest({self})")
    }
}

impl Error for Deepest {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.shown().source()
    }
}

fn names_file(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<FileError>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn check(code: rustix::io::Errno, kind: ErrorKind, remedy: &str) {
        let error = FileError::wrap("write", Path::new("/disk/store/key"), code.into());
        let error = object_store::Error::Generic {
            store: "folder",
            source: Box::new(error),
        };
        let error = from_library("put", Some("key"), error);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("could not write /disk/store/key")
        );
        assert!(
            error.source().and_then(Error::source).is_some(),
            "the system's words come last"
        );
    }

    #[test]
    fn codes_of_the_system_have_kinds() {
        use rustix::io::Errno;
        check(Errno::NOSPC, ErrorKind::QuotaOrDiskFull, "free some space");
        check(Errno::DQUOT, ErrorKind::QuotaOrDiskFull, "quota");
        check(Errno::ACCESS, ErrorKind::Permission, "ls -ld");
        check(Errno::ROFS, ErrorKind::Permission, "read-only");
        check(Errno::NOENT, ErrorKind::NoBucket, "mount");
        check(Errno::STALE, ErrorKind::Connection, "share");
        check(Errno::IO, ErrorKind::Other, "debug");
    }

    #[test]
    fn no_text_is_said_twice() {
        let io = io::Error::from(io::ErrorKind::ConnectionReset);
        let library = object_store::Error::Generic {
            store: "S3",
            source: Box::new(object_store::Error::NotSupported {
                source: Box::new(io),
            }),
        };
        let error = from_library("get", Some("key"), library);
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("connection reset")
        );
        assert!(error.source().and_then(Error::source).is_none());
    }
}
