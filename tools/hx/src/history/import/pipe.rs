//! What comes out of a pipe: `hx import --file <(zcat old.gz)`.
//!
//! What must hold: a pipe into which nobody writes holds nobody up for long; a writer that is there is waited for to its end. What was read is
//! imported as from the standard input.
//!
//! What it deliberately does not do: read other things that are no files: a terminal or a device need not end.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::refusal;
use crate::history::error::HistoryError;

/// So long a pipe waits for somebody to open its other end. A shell has opened its own before it starts the command.
const WRITER_WAIT: Duration = Duration::from_secs(5);

/// Whether it is a pipe, named or not.
pub(super) fn is_pipe(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        metadata.file_type().is_fifo()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Reads a pipe to its end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, HistoryError> {
    let cannot_read = |error: io::Error| HistoryError::io("read", path, error);
    let mut pipe = match open_within(path.to_owned(), WRITER_WAIT) {
        Some(opened) => opened.map_err(cannot_read)?,
        None => {
            return Err(refusal(
                path,
                "it is a pipe, and nobody writes into it; start what writes first, or hand its content over on the standard input, as in `zcat old.gz | hx import --file -`",
            ));
        }
    };
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).map_err(cannot_read)?;
    Ok(bytes)
}

/// Opens it as soon as somebody has opened the other end; `None` if nobody did in time.
fn open_within(path: PathBuf, wait: Duration) -> Option<io::Result<File>> {
    let (tell, told) = mpsc::channel();
    // If nobody comes it waits on, until the command ends.
    thread::spawn(move || tell.send(File::open(path)));
    told.recv_timeout(wait).ok()
}
