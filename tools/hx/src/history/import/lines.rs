//! Lines of a file, as bytes, with a limit to their length.
//!
//! What must hold: no line, however long, takes more memory than the limit; numbers count every line from 1.
//!
//! What it deliberately does not do: decode text.

use std::io::{self, BufRead, Read};

use super::zeros::Zeros;

/// The longest command that is imported, in bytes.
pub(super) const COMMAND_BYTES_MAX: usize = 16 << 20;

/// So much of a line that is too long is kept, to name it.
const EXCERPT_BYTES: usize = 200;

/// What is known of the current line besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: u64,
    /// Whether a line end follows; the last line of a file may lack it.
    pub(super) terminated: bool,
    /// Whether only its beginning was kept.
    pub(super) too_long: bool,
    /// Whether its last byte is a backslash.
    pub(super) continues: bool,
}

pub(super) struct Lines<R> {
    reader: Zeros<R>,
    buffer: Vec<u8>,
    current: Line,
    strip_cr: bool,
    again: bool,
    limit: usize,
    /// Whether zero bytes were dropped from the current line, and from those before it since that was asked for.
    lossy: bool,
    lossy_before: bool,
}

impl<R: BufRead> Lines<R> {
    /// With `strip_cr`, lines end in CR LF.
    pub(super) fn new(reader: R, strip_cr: bool) -> Self {
        let current = Line {
            number: 0,
            terminated: true,
            too_long: false,
            continues: false,
        };
        Self {
            reader: Zeros::kept(reader),
            buffer: Vec::new(),
            current,
            strip_cr,
            again: false,
            limit: COMMAND_BYTES_MAX,
            lossy: false,
            lossy_before: false,
        }
    }

    /// Drops the zero bytes of the file before it is cut into lines.
    pub(super) fn without_zeros(mut self) -> Self {
        self.reader.drop_them();
        self
    }

    #[cfg(test)]
    pub(super) fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The longest command, for parsers that join lines.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Goes to the next line; its bytes are in [`Lines::bytes`].
    pub(super) fn read(&mut self) -> io::Result<Option<Line>> {
        if std::mem::take(&mut self.again) {
            return Ok(Some(self.current));
        }
        self.buffer.clear();
        self.lossy_before |= std::mem::take(&mut self.lossy);
        let most = self.limit as u64 + 64;
        let taken = self
            .reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.buffer)?;
        if taken == 0 {
            return Ok(None);
        }
        let mut terminated = self.buffer.last() == Some(&b'\n');
        let too_long = !terminated && taken as u64 == most;
        let mut last = self
            .buffer
            .iter()
            .rev()
            .copied()
            .find(|byte| *byte != b'\n');
        if too_long {
            (terminated, last) = self.skip_rest(last)?;
            self.buffer.truncate(EXCERPT_BYTES);
        } else if terminated {
            self.buffer.pop();
            if self.strip_cr && self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
            last = self.buffer.last().copied();
        }
        self.lossy = self.reader.take_dropped();
        self.current = Line {
            number: self.current.number + 1,
            terminated,
            too_long,
            continues: last == Some(b'\\'),
        };
        Ok(Some(self.current))
    }

    /// Makes the next [`Lines::read`] give the current line again.
    pub(super) fn unread(&mut self) {
        self.again = true;
    }

    /// Whether zero bytes were dropped from the lines that were read since this was asked last; a line that is to be read again is none
    /// of them.
    pub(super) fn take_lossy(&mut self) -> bool {
        let current = !self.again && std::mem::take(&mut self.lossy);
        std::mem::take(&mut self.lossy_before) | current
    }

    /// The bytes of the current line, without its end.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads on to the end of the line without keeping it.
    fn skip_rest(&mut self, mut last: Option<u8>) -> io::Result<(bool, Option<u8>)> {
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok((false, last));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let line = &chunk[..end.unwrap_or(chunk.len())];
            last = line.last().copied().or(last);
            let used = line.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok((true, last));
            }
        }
    }
}
