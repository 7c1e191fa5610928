//! The pages of a database file as they lie on the disk, those of its journal before those of the file itself.
//!
//! What must hold: a page that cannot be read, for whatever reason, is none, and keeps no other from being read; nothing is written.
//!
//! What it deliberately does not do: understand a page (see `cells`), or roll back a half-done write of a rollback journal.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The size of a page of every database that hx makes; a header that can be read may say another.
const PAGE_BYTES: usize = 4096;

/// Bytes before the first frame of a write-ahead log, and before the page in each frame.
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

pub(super) struct Pages {
    file: File,
    log: Option<File>,
    size: usize,
    count: u32,
    /// Where in the log the newest version of a page begins.
    newer: HashMap<u32, u64>,
}

impl Pages {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 18];
        let is_whole = file.read_exact_at(&mut header, 0).is_ok();
        let size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            _ => PAGE_BYTES,
        };
        let size = if is_whole && header.starts_with(b"SQLite format 3\0") {
            size
        } else {
            PAGE_BYTES
        };
        let pages = file.metadata()?.len().div_ceil(size as u64);
        let mut name = path.to_owned().into_os_string();
        name.push("-wal");
        let mut pages = Self {
            file,
            log: File::open(name).ok(),
            size,
            count: u32::try_from(pages).unwrap_or(u32::MAX),
            newer: HashMap::new(),
        };
        pages.read_log();
        Ok(pages)
    }

    /// How many there are; they are numbered from 1.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reads a page; what is missing at the end of a cut file is zeros.
    pub(super) fn read(&self, number: u32) -> Option<Vec<u8>> {
        let index = number.checked_sub(1)?;
        let mut page = vec![0; self.size];
        if let (Some(place), Some(log)) = (self.newer.get(&number), &self.log) {
            log.read_exact_at(&mut page, *place).ok()?;
            return Some(page);
        }
        let start = u64::from(index) * self.size as u64;
        let mut filled = 0;
        while filled < page.len() {
            match self
                .file
                .read_at(&mut page[filled..], start + filled as u64)
                .ok()?
            {
                0 => break,
                n => filled += n,
            }
        }
        (filled > 0).then_some(page)
    }

    /// Finds the newest version of each page that was committed to the log. Frames of an older log have another salt.
    fn read_log(&mut self) {
        let Some(log) = &self.log else { return };
        let mut header = [0; LOG_HEADER_BYTES as usize];
        if log.read_exact_at(&mut header, 0).is_err() || header[..3] != [0x37, 0x7f, 0x06] {
            return;
        }
        let salt: [u8; 8] = [
            header[16], header[17], header[18], header[19], header[20], header[21], header[22],
            header[23],
        ];
        let mut pending = Vec::new();
        let mut place = LOG_HEADER_BYTES;
        let mut frame = [0; FRAME_HEADER_BYTES as usize];
        while log.read_exact_at(&mut frame, place).is_ok() && frame[8..16] == salt {
            let number = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
            let total = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
            pending.push((number, place + FRAME_HEADER_BYTES));
            if total > 0 {
                self.count = self.count.max(total);
                self.newer.extend(pending.drain(..));
            }
            place += FRAME_HEADER_BYTES + self.size as u64;
        }
    }
}
