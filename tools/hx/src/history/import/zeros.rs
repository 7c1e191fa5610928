//! A file without the zero bytes that a crash left in it.
//!
//! What must hold: no command can have a zero byte, and what a file system leaves after a crash is blocks of them, anywhere: they are
//! gone before anybody looks for lines and times, however long they are, and it is known that there were some.
//!
//! What it deliberately does not do: touch the escapes of a shell that stand for such a byte.

use std::io::{self, BufRead, Read};

pub(super) struct Zeros<R> {
    inner: R,
    drops: bool,
    dropped: bool,
    /// So many bytes that come next were looked at, and are not zero: a chunk has many lines, and is looked through once.
    sound: usize,
}

impl<R: BufRead> Zeros<R> {
    /// Leaves everything as it is, until told to drop.
    pub(super) fn kept(inner: R) -> Self {
        Self {
            inner,
            drops: false,
            dropped: false,
            sound: 0,
        }
    }

    /// Drops zero bytes from here on.
    pub(super) fn drop_them(&mut self) {
        self.drops = true;
    }

    /// Whether some were dropped since this was asked last.
    pub(super) fn take_dropped(&mut self) -> bool {
        std::mem::take(&mut self.dropped)
    }
}

impl<R: BufRead> Read for Zeros<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Zeros<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.drops {
            return self.inner.fill_buf();
        }
        while self.sound == 0 {
            let chunk = self.inner.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let zeros = chunk.iter().take_while(|byte| **byte == 0).count();
            let sound = chunk[zeros..].iter().take_while(|byte| **byte != 0).count();
            self.inner.consume(zeros);
            self.dropped |= zeros > 0;
            self.sound = sound;
        }
        let chunk = self.inner.fill_buf()?;
        Ok(&chunk[..self.sound.min(chunk.len())])
    }

    fn consume(&mut self, amount: usize) {
        self.sound = self.sound.saturating_sub(amount);
        self.inner.consume(amount);
    }
}
