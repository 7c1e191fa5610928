//! Finding the records in a damaged export: whatever object is whole is found, whatever lies between two of them is told.
//!
//! What must hold: any bytes are survived; memory does not grow with the file; an object that is whole is found however much around it is
//! not.
//!
//! What it deliberately does not do: say how many records a damaged stretch had. The end of the file tells how many there were.

use std::io::{self, Read};

use serde::de::DeserializeOwned;

use super::super::lines::COMMAND_BYTES_MAX;
use crate::history::exchange::{
    End, EventObject, Header, Object, PinObject, SessionObject, TombstoneObject,
};

/// An object is looked for within so many bytes from where it begins.
const OBJECT_BYTES_MAX: usize = COMMAND_BYTES_MAX + (1 << 20);

/// So much of what lies between objects is kept.
const GAP_BYTES: usize = 4096;

/// The keys that a document has, besides those of its records. What they begin is no record.
const KEYS: [&str; 9] = [
    "\"events\"",
    "\"sessions\"",
    "\"pins\"",
    "\"tombstones\"",
    "\"end\"",
    "\"format\"",
    "\"version\"",
    "\"exported_at\"",
    "\"has_end\"",
];

/// What is found next.
pub(super) enum Piece {
    /// A record.
    Object(Object),
    /// The first line of JSON Lines.
    Header(Header),
    /// What the file says of itself at its end.
    End(End),
    /// Bytes that are nothing of this: the first of them.
    Gap(Vec<u8>),
}

pub(super) struct Scanner<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where in the buffer the next piece begins.
    at: usize,
    is_at_end: bool,
    line: u64,
    /// What was found behind a gap that was told first.
    next: Option<(Piece, usize)>,
}

impl<R: Read> Scanner<R> {
    /// `line` is the number of the first line.
    pub(super) fn new(reader: R, line: u64) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            at: 0,
            is_at_end: false,
            line,
            next: None,
        }
    }

    /// The line where the next piece begins.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if let Some((piece, length)) = self.next.take() {
            self.advance(length);
            return Ok(Some(piece));
        }
        let mut ahead = 0;
        loop {
            self.fill(ahead)?;
            let rest = &self.buffer[self.at..];
            let brace = rest[ahead..].iter().position(|byte| *byte == b'{');
            let Some(place) = brace.map(|brace| ahead + brace) else {
                ahead = rest.len();
                if self.is_at_end {
                    return Ok(self.gap(ahead));
                }
                continue;
            };
            if let Some((piece, length)) = object(&rest[place..]) {
                if let Some(gap) = self.gap(place) {
                    self.next = Some((piece, length));
                    return Ok(Some(gap));
                }
                self.advance(length);
                return Ok(Some(piece));
            }
            ahead = place + 1;
            if ahead > OBJECT_BYTES_MAX {
                return Ok(self.gap(ahead));
            }
        }
    }

    /// Passes the next bytes; tells them if they are more than what stands between two records.
    fn gap(&mut self, length: usize) -> Option<Piece> {
        let bytes = &self.buffer[self.at..self.at + length];
        let piece = (!is_seam(bytes)).then(|| {
            let bytes = bytes.trim_ascii_start();
            Piece::Gap(bytes[..bytes.len().min(GAP_BYTES)].to_vec())
        });
        self.advance(length);
        piece
    }

    fn advance(&mut self, length: usize) {
        let passed = &self.buffer[self.at..self.at + length];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at += length;
    }

    /// Sees to it that an object that begins `ahead` of here is in the buffer, if the file has that much.
    fn fill(&mut self, ahead: usize) -> io::Result<()> {
        if self.is_at_end || self.buffer.len() - self.at - ahead >= OBJECT_BYTES_MAX {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = (ahead + 2 * OBJECT_BYTES_MAX - self.buffer.len()) as u64;
        let read = self
            .reader
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.buffer)?;
        self.is_at_end = (read as u64) < wanted;
        Ok(())
    }
}

/// The object that `bytes` begin with, and its length.
fn object(bytes: &[u8]) -> Option<(Piece, usize)> {
    let first = bytes.get(1..)?.trim_ascii_start();
    if first.first() != Some(&b'"') || KEYS.iter().any(|key| first.starts_with(key.as_bytes())) {
        return None;
    }
    value(bytes, |object: EventObject| Piece::Object(object.into()))
        .or_else(|| value(bytes, |object: PinObject| Piece::Object(object.into())))
        .or_else(|| {
            value(bytes, |object: TombstoneObject| {
                Piece::Object(object.into())
            })
        })
        .or_else(|| value(bytes, |object: SessionObject| Piece::Object(object.into())))
        .or_else(|| value(bytes, Piece::End))
        .or_else(|| value(bytes, Piece::Header))
}

fn value<T: DeserializeOwned>(
    bytes: &[u8],
    piece: impl FnOnce(T) -> Piece,
) -> Option<(Piece, usize)> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((piece(value), values.byte_offset()))
}

/// Whether bytes are no more than what stands between two records of a sound file: signs, and the names of the lists.
fn is_seam(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        rest = rest.trim_ascii_start();
        let Some(first) = rest.first() else {
            return true;
        };
        let taken = match first {
            b',' | b'[' | b']' | b'}' => 1,
            _ => {
                let name = KEYS[..5]
                    .iter()
                    .find(|key| rest.starts_with(key.as_bytes()));
                let Some(name) = name else { return false };
                if rest.get(name.len()) != Some(&b':') {
                    return false;
                }
                name.len() + 1
            }
        };
        rest = &rest[taken..];
    }
}
