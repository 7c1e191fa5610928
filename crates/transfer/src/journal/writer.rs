//! Appending to a journal.
//!
//! What must hold: what is not flushed is lost when the process dies, and never half of it is kept on purpose; after a write
//! that failed nothing more is written: the file ends with the last whole line.

use super::line::{self, Line};
use super::{Journal, JournalError, JournalErrorKind, RunHeader};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// So many bytes are gathered before they are written without being asked for.
const GATHERED_MAX: usize = 64 * 1024;

/// The end of the file, and what is not in it yet.
pub(super) struct Writer {
    pub(super) file: File,
    /// How many bytes of the file are whole lines.
    pub(super) length: u64,
    /// How many of them are on the disk for certain.
    pub(super) durable: u64,
    /// How many lines there are, those not written yet included.
    pub(super) lines: u64,
    /// Not in a `BufWriter`: that would write it when dropped.
    pub(super) gathered: Vec<u8>,
    pub(super) is_broken: bool,
}

impl Writer {
    /// Adds a line; returns where it begins.
    fn append(&mut self, line: &Line, path: &Path) -> Result<u64, JournalError> {
        let bytes = line::encode(self.lines, line)
            .map_err(|error| JournalError::new(JournalErrorKind::Io, path).because(error))?;
        let place = self.length + self.gathered.len() as u64;
        self.gathered.extend_from_slice(&bytes);
        self.lines += 1;
        if self.gathered.len() >= GATHERED_MAX {
            self.flush(path)?;
        }
        Ok(place)
    }

    fn flush(&mut self, path: &Path) -> Result<(), JournalError> {
        if self.is_broken {
            let why = "an earlier write to it failed";
            return Err(JournalError::new(JournalErrorKind::Io, path).because(why));
        }
        if let Err(error) = self.file.write_all(&self.gathered) {
            self.is_broken = true;
            // Half a line is cut when the journal is opened again, if it cannot be cut now.
            let _ = self.file.set_len(self.length);
            return Err(JournalError::new(JournalErrorKind::Io, path).because(error));
        }
        self.length += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

/// Makes the file with its first line, durably.
pub(super) fn create(path: &Path, header: &RunHeader) -> Result<(), JournalError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if header.run_id.is_empty() || !header.run_id.chars().all(is_plain) {
        let why = format!("'{}' cannot name a run", header.run_id.escape_debug());
        return Err(JournalError::new(JournalErrorKind::Unknown, path).because(why));
    }
    let bytes = line::encode(0, &Line::Run(header.clone()))
        .map_err(|error| JournalError::new(JournalErrorKind::Io, path).because(error))?;
    let mut file = NewFile::create(path)?;
    file.append(&bytes)?;
    file.finish()
}

/// A file that nothing may have the name of; one that is not finished is removed.
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    length: u64,
    is_finished: bool,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<NewFile, JournalError> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(path);
        Ok(NewFile {
            path: path.to_owned(),
            file: opened.map_err(|error| match error.kind() {
                // No file was looked for: the place takes none, such as /proc.
                std::io::ErrorKind::NotFound => {
                    JournalError::new(JournalErrorKind::Io, path).because(error)
                }
                _ => JournalError::io(path, error),
            })?,
            length: 0,
            is_finished: false,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| JournalError::io(&self.path, error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file and its name durable.
    pub(super) fn finish(mut self) -> Result<(), JournalError> {
        let above = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let synced = self
            .file
            .sync_all()
            .and_then(|()| store::file::sync_dir(above.unwrap_or(Path::new("."))));
        synced.map_err(|error| JournalError::io(&self.path, error))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // Half a journal under the name would be in the way of the next attempt.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Journal {
    /// Adds a line; it is durable only after [`Journal::sync`]. Returns where it begins.
    pub(crate) fn append(&self, line: &Line) -> Result<u64, JournalError> {
        let mut core = self.lock();
        let core = &mut *core;
        let Some(writer) = &mut core.writer else {
            let why = "it is open only to be read";
            return Err(JournalError::new(JournalErrorKind::Io, self.path()).because(why));
        };
        let place = writer.append(line, &self.0.path)?;
        core.apply(&line.head(), place);
        Ok(place)
    }

    /// Hands what was added to the operating system, so that it can be read from the file.
    pub(crate) fn flush(&self) -> Result<(), JournalError> {
        match &mut self.lock().writer {
            Some(writer) => writer.flush(&self.0.path),
            None => Ok(()),
        }
    }

    /// Makes everything that was added durable.
    pub(crate) async fn sync(&self) -> Result<(), JournalError> {
        self.flush()?;
        let written = self
            .lock()
            .writer
            .as_ref()
            .map_or(0, |writer| writer.length);
        let journal = self.clone();
        let synced = tokio::task::spawn_blocking(move || journal.0.file.sync_data()).await;
        synced
            .map_err(std::io::Error::other)
            .and_then(|outcome| outcome)
            .map_err(|error| JournalError::new(JournalErrorKind::Io, self.path()).because(error))?;
        if let Some(writer) = &mut self.lock().writer {
            writer.durable = writer.durable.max(written);
        }
        Ok(())
    }

    /// Returns how many bytes of whole lines are on the disk for certain; none of them if it is open only to be read.
    #[must_use]
    pub fn durable_length(&self) -> u64 {
        let core = self.lock();
        core.writer.as_ref().map_or(0, |writer| writer.durable)
    }
}
