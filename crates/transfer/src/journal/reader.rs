//! Reading a journal: all of it when it is opened, one item when it is needed.

use super::line::{self, Head, Line};
use super::writer::Writer;
use super::{Core, Entry, Journal, JournalError, JournalErrorKind, Shared, State};
use crate::keyset::hash;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A longer line is damage.
pub(super) const LINE_MAX: u64 = 64 << 20;

/// How the lines begin that say whose journal it is.
const TAKEN: &[u8] = b"{\"taken\":";
const OWNED: &[u8] = b"{\"owned\":";

/// What one of them has in it of which the store's copy is another.
const CONTESTED: &[u8] = b"\"contested\":true";

/// Most items fit into one read of this size.
const GULP: usize = 4096;

/// Opens a journal; cuts a torn tail if it is going to be written.
pub(super) fn open(path: &Path, for_writing: bool) -> Result<Journal, JournalError> {
    let failed = |error| JournalError::io(path, error);
    let mut options = OpenOptions::new();
    options.read(true).append(for_writing);
    let file = match for_writing {
        true => open_locked(path, || options.open(path))?,
        false => options.open(path).map_err(failed)?,
    };
    let scan = scan(path, &file)?;
    let mut core = scan.core;
    if for_writing {
        let torn = file.metadata().map_err(failed)?.len() - scan.length;
        if torn > 0 {
            file.set_len(scan.length).map_err(failed)?;
            file.sync_all().map_err(failed)?;
        }
        core.torn_bytes = torn;
        core.writer = Some(Writer {
            file: file.try_clone().map_err(failed)?,
            length: scan.length,
            // What an earlier process left may not be on the disk yet; the next sync sees to it.
            durable: 0,
            lines: scan.lines,
            gathered: Vec::new(),
            is_broken: false,
        });
    }
    let header = header(path, &file)?;
    Ok(Journal(Arc::new(Shared {
        path: path.to_owned(),
        header,
        file,
        core: Mutex::new(core),
    })))
}

/// A program that is just being started shares the lock of its parent until it runs, so one refusal is not the last word.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Opens the file that has a path, and locks it: whoever held the lock may have put another in its place meanwhile, and what is written
/// to one without a name is lost.
pub(super) fn open_locked(
    path: &Path,
    open: impl Fn() -> std::io::Result<File>,
) -> Result<File, JournalError> {
    let failed = |error| JournalError::io(path, error);
    loop {
        let file = open().map_err(failed)?;
        lock(&file, path)?;
        let (locked, named) = (file.metadata(), std::fs::metadata(path));
        let (locked, named) = (locked.map_err(failed)?, named.map_err(failed)?);
        if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    let locked = loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => break outcome,
        }
    };
    match locked {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(JournalError::new(JournalErrorKind::Locked, path))
        }
        // Some network file systems have no locks; the tool's own lock in its database still holds.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOLCK | rustix::io::Errno::NOSYS) => {
            Ok(())
        }
        Err(error) => Err(JournalError::io(path, error.into())),
    }
}

struct Scan {
    core: Core,
    length: u64,
    lines: u64,
}

fn scan(path: &Path, file: &File) -> Result<Scan, JournalError> {
    let mut core = Core::default();
    let mut lines = Lines::new(path, file);
    while let Some((place, text)) = lines.next_valid()? {
        let head: Head<'_> = serde_json::from_slice(text)
            .map_err(|error| JournalError::new(JournalErrorKind::Unknown, path).because(error))?;
        core.apply(&head, place);
    }
    if lines.number == 0 {
        return Err(JournalError::new(JournalErrorKind::Unknown, path));
    }
    Ok(Scan {
        core,
        length: lines.place,
        lines: lines.number,
    })
}

/// Reads the first line only.
pub(super) fn first_line(path: &Path) -> Result<super::RunHeader, JournalError> {
    let file = File::open(path).map_err(|error| JournalError::io(path, error))?;
    let unknown = || JournalError::new(JournalErrorKind::Unknown, path);
    let mut lines = Lines::new(path, &file);
    let text = match lines.fill()? {
        true => line::text(0, &lines.buffer).ok_or_else(unknown)?,
        false => return Err(unknown()),
    };
    match serde_json::from_slice(text) {
        Ok(Line::Run(header)) => Ok(header),
        _ => Err(unknown()),
    }
}

/// Reads only the lines that say whose journal it is. In a damaged journal the mark counts wherever it stands, and nobody's word does.
pub(super) fn custody(path: &Path) -> Result<super::Custody, JournalError> {
    let file = File::open(path).map_err(|error| JournalError::io(path, error))?;
    let mut lines = Lines::new(path, &file);
    let mut core = Core::default();
    let mut number = 0;
    while lines.fill()? {
        let text = lines.buffer.get(line::SUM_LENGTH + 1..).unwrap_or_default();
        if text.starts_with(TAKEN) {
            let is_contested = text.windows(CONTESTED.len()).any(|part| part == CONTESTED);
            core.custody.take(is_contested);
        } else if text.starts_with(OWNED)
            && let Some(text) = line::text(number, &lines.buffer)
            && let Ok(head) = serde_json::from_slice::<Head<'_>>(text)
        {
            core.apply(&head, 0);
        }
        number += 1;
    }
    Ok(core.custody)
}

/// Returns how many bytes of whole, valid lines a file begins with.
pub(super) fn whole_length(path: &Path) -> Result<u64, JournalError> {
    let file = File::open(path).map_err(|error| JournalError::io(path, error))?;
    let mut lines = Lines::new(path, &file);
    while lines.next_valid()?.is_some() {}
    Ok(lines.place)
}

/// Reads every line with all that is in it.
pub(super) fn scan_lines(
    path: &Path,
    file: &File,
    mut each: impl FnMut(Line),
) -> Result<(), JournalError> {
    let mut lines = Lines::new(path, file);
    while let Some((_, text)) = lines.next_valid()? {
        let line = serde_json::from_slice(text)
            .map_err(|error| JournalError::new(JournalErrorKind::Unknown, path).because(error))?;
        each(line);
    }
    Ok(())
}

fn header(path: &Path, file: &File) -> Result<super::RunHeader, JournalError> {
    let bytes = line_at(path, file, 0)?;
    match parse(path, &bytes)? {
        Line::Run(header) => Ok(header),
        _ => Err(JournalError::new(JournalErrorKind::Unknown, path)),
    }
}

/// The valid lines of a file, from the start.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<FromStart<'a>>,
    buffer: Vec<u8>,
    place: u64,
    number: u64,
}

/// Reads a file by places of its own. A second handle would come by the name, which may mean another file by now.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl<'a> Lines<'a> {
    fn new(path: &'a Path, file: &'a File) -> Lines<'a> {
        Lines {
            path,
            reader: BufReader::with_capacity(1 << 18, FromStart { file, at: 0 }),
            buffer: Vec::new(),
            place: 0,
            number: 0,
        }
    }

    /// Returns the next line's place and text; none at the end, or where a torn tail begins.
    fn next_valid(&mut self) -> Result<Option<(u64, &[u8])>, JournalError> {
        if !self.fill()? {
            return Ok(None);
        }
        if line::text(self.number, &self.buffer).is_none() {
            self.check_tail()?;
            return Ok(None);
        }
        let place = self.place;
        self.place += self.buffer.len() as u64;
        self.number += 1;
        let end = self.buffer.len() - 1;
        Ok(Some((place, &self.buffer[line::SUM_LENGTH + 1..end])))
    }

    fn fill(&mut self) -> Result<bool, JournalError> {
        self.buffer.clear();
        let mut limited = (&mut self.reader).take(LINE_MAX);
        let read = limited.read_until(b'\n', &mut self.buffer);
        read.map(|length| length > 0)
            .map_err(|error| JournalError::io(self.path, error))
    }

    /// Tells a torn tail from damage: after damage, valid lines follow.
    fn check_tail(&mut self) -> Result<(), JournalError> {
        let damaged = self.number;
        if damaged == 0 {
            return Err(JournalError::new(JournalErrorKind::Unknown, self.path));
        }
        let mut number = self.number;
        loop {
            // A line that was lost or doubled moves all later ones by one.
            let mut near = number.saturating_sub(2)..=number + 2;
            if near.any(|number| line::text(number, &self.buffer).is_some()) {
                let error = JournalError::new(JournalErrorKind::Damaged, self.path);
                return Err(error.at_line(damaged + 1));
            }
            number += 1;
            if !self.fill()? {
                break;
            }
        }
        Ok(())
    }
}

impl Journal {
    /// Reads the item whose line begins at a place.
    pub(crate) fn read(&self, place: u64) -> Result<Entry, JournalError> {
        self.flush()?;
        let (path, file) = (&self.0.path, &self.0.file);
        let (item, fresh, stored) = match parse(path, &line_at(path, file, place)?)? {
            Line::Planned { item, fresh } => (item, fresh, Vec::new()),
            Line::Stored { planned, blobs, .. } => {
                match parse(path, &line_at(path, file, planned)?)? {
                    Line::Planned { item, fresh } => (item, fresh, blobs),
                    _ => return Err(JournalError::new(JournalErrorKind::Damaged, path)),
                }
            }
            _ => return Err(JournalError::new(JournalErrorKind::Damaged, path)),
        };
        let state = self.lock().index.get(hash(&item.id));
        Ok(Entry {
            state: state.map_or(State::Planned, |(state, _)| state),
            item,
            fresh,
            stored,
        })
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Line, JournalError> {
    let text = bytes.get(line::SUM_LENGTH + 1..).unwrap_or_default();
    serde_json::from_slice(text)
        .map_err(|error| JournalError::new(JournalErrorKind::Damaged, path).because(error))
}

/// Reads the line that begins at a place, which the scan found valid.
fn line_at(path: &Path, file: &File, place: u64) -> Result<Vec<u8>, JournalError> {
    let mut line = Vec::new();
    let mut gulp = [0; GULP];
    loop {
        let at = place + line.len() as u64;
        let length = file
            .read_at(&mut gulp, at)
            .map_err(|error| JournalError::io(path, error))?;
        if length == 0 || line.len() as u64 > LINE_MAX {
            return Err(JournalError::new(JournalErrorKind::Damaged, path));
        }
        if let Some(end) = gulp[..length].iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&gulp[..end]);
            return Ok(line);
        }
        line.extend_from_slice(&gulp[..length]);
    }
}
