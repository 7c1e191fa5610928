//! Opening what is a file and nothing else, and the lock around a conditional update.
//!
//! What must hold: whoever can write to a folder can put a pipe, a socket or a device in a file's place, and none of them makes a reader
//! wait; the lock ends with its holder, however that ends.
//!
//! It deliberately does without the lock where a file system has none.

use crate::file::FileError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// An update takes a few writes to the disk; a disk that has to wake up takes some seconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(15);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Opens a file for reading.
///
/// # Errors
/// Of kind `IsADirectory` for a directory; one that says what it is for anything else that is no file.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Looked at first: opening a device may do something.
    refuse_other(fs::metadata(path)?.file_type())?;
    // It may be another thing by now: opening a pipe must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    refuse_other(found.file_type())?;
    Ok((file, found))
}

fn refuse_other(found: FileType) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let what = if found.is_fifo() {
        "a named pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::other(NotAFile(what)))
}

/// Something else has the name of an object.
#[derive(Debug)]
pub(crate) struct NotAFile(&'static str);

impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.0;
        write!(f, "it is {what} and no file: somebody put it there")
    }
}

impl Error for NotAFile {}

/// Waits until nobody else has the lock; none where there are no locks.
///
/// # Errors
/// If somebody keeps it for long.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let (file, _) = open_regular(path).map_err(|error| FileError::wrap("open", path, error))?;
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(Errno::WOULDBLOCK) => {
                let why = io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process keeps it locked; try again",
                );
                return Err(FileError::wrap("lock", path, why));
            }
            Err(_) => return Ok(None),
        }
    }
}
