//! The limits that a shell or a service manager puts on a process.
//!
//! What must hold: a limit ends in an error that says what to do, never in a process that is gone without a word.
//!
//! It deliberately raises none: whoever set it had a reason.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::exit::Exit;
use crate::failure::Failure;

/// So many files may be open at once at least while a store is at work: the runtime's own, the database, and what is read and written.
const FILES_MIN: usize = 16;

/// What to do about a process that may not open another file.
pub(crate) const RAISE_FILES: &str = "raise the limit on open files (ulimit -n 256, or LimitNOFILE= of the service), then run the command again";

/// Lets this process outlive the limit on the size of files (`ulimit -f`): the write that meets it fails like one on a full disk. Without
/// this the system's signal ends the process in the middle of it. Called first of all by every tool.
///
/// Programs that this one starts are told by the signal as ever.
pub fn outlive_size_limit() {
    let unread = Arc::new(AtomicBool::new(false));
    // Where it cannot be had, a file that grows beyond the limit ends the process: nothing else is worse for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, unread);
}

/// Sees that this process may still open as many files as a runtime and a store need: in the middle of it a part could not say what
/// it lacks, and some libraries know no other answer than to give up.
///
/// # Errors
/// If it may not (`ulimit -n`).
pub fn check_room_for_files() -> Result<(), Failure> {
    let mut room = Vec::with_capacity(FILES_MIN);
    while room.len() < FILES_MIN {
        match fcntl_dupfd_cloexec(io::stderr(), 0) {
            Ok(file) => room.push(file),
            Err(error @ (Errno::MFILE | Errno::NFILE)) => {
                let message = "this process may not open as many files as it needs";
                return Err(
                    Failure::wrap(Exit::Failed, message, &io::Error::from(error))
                        .kind(OPEN_FILES)
                        .hint(RAISE_FILES),
                );
            }
            // Without a standard error there is nothing to try it with.
            Err(_) => break,
        }
    }
    Ok(())
}

/// The kind of such a failure.
pub(crate) const OPEN_FILES: &str = "too-many-open-files";

/// Whether the system says that this process, or the machine, has too many files open.
pub(crate) fn is_of_open_files(error: &io::Error) -> bool {
    let limits = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    limits.contains(&error.raw_os_error())
}
