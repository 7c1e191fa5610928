//! Histories of zsh: plain, and extended (`: start:elapsed;command`), also mixed.
//!
//! What must hold: what zsh wrote is read as the command that was typed: its own escape for some bytes is undone, and a backslash
//! before a line end joins lines.
//!
//! What it deliberately does not do: expand anything.

use std::borrow::Cow;
use std::io::{self, BufRead};

use super::entry::{Item, Parser, SkipReason};
use super::lines::Lines;

/// zsh writes a byte that means something to itself as this one, then the byte with one bit turned.
pub(crate) const META: u8 = 0x83;

pub(super) struct Zsh<R> {
    lines: Lines<R>,
    joined: Vec<u8>,
}

impl<R: BufRead> Zsh<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self {
            lines,
            joined: Vec::new(),
        }
    }
}

impl<R: BufRead> Parser for Zsh<R> {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let Some(first) = self.lines.read()? else {
                return Ok(None);
            };
            let (mut last, mut too_long) = (first, first.too_long);
            self.joined.clear();
            self.joined.extend_from_slice(self.lines.bytes());
            while last.continues && last.terminated {
                let Some(line) = self.lines.read()? else {
                    return Ok(Some(Item::skipped(
                        first.number,
                        SkipReason::CutOff,
                        &self.joined,
                    )));
                };
                too_long |= line.too_long
                    || self.joined.len() + self.lines.bytes().len() > self.lines.limit();
                if !too_long {
                    self.joined.pop();
                    self.joined.push(b'\n');
                    self.joined.extend_from_slice(self.lines.bytes());
                }
                last = line;
            }
            if too_long || self.joined.len() > self.lines.limit() {
                return Ok(Some(Item::skipped(
                    first.number,
                    SkipReason::TooLong,
                    &self.joined,
                )));
            }
            if !last.terminated && (last.continues || is_cut_prefix(&self.joined)) {
                return Ok(Some(Item::skipped(
                    first.number,
                    SkipReason::CutOff,
                    &self.joined,
                )));
            }
            if !self.joined.is_empty() {
                let item = entry(first.number, &self.joined);
                return Ok(Some(item.lossy(self.lines.take_lossy())));
            }
        }
    }
}

fn entry(line: u64, bytes: &[u8]) -> Item {
    let (second, duration_ms, command) = match prefix(bytes) {
        Some((start, elapsed, command)) => (
            start,
            elapsed
                .filter(|elapsed| *elapsed > 0)
                .map(|elapsed| elapsed.saturating_mul(1000)),
            command,
        ),
        None => (None, None, bytes),
    };
    let command = unmetafied(command);
    let mut item = Item::entry(line, second, duration_ms, without_spare_blank(&command));
    if let (Item::Entry(entry), Some((None, ..))) = (&mut item, prefix(bytes)) {
        entry.bad_time = true;
    }
    item
}

/// Cuts `: start:elapsed;` off. A number that is none that a time or a span can be is not there.
pub(super) fn prefix(bytes: &[u8]) -> Option<(Option<i64>, Option<i64>, &[u8])> {
    let rest = bytes.strip_prefix(b":")?;
    let (start, rest) = number(rest.trim_ascii_start())?;
    let (elapsed, rest) = number(rest.strip_prefix(b":")?)?;
    Some((start, elapsed, rest.strip_prefix(b";")?))
}

/// The number that digits stand for, with a sign or not, and what follows; none if there are no digits.
fn number(bytes: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let digits = unsigned.iter().take_while(|byte| byte.is_ascii_digit());
    let end = bytes.len() - unsigned.len() + digits.count();
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let number = text.parse().ok().filter(|number| *number >= 0);
    text.ends_with(|last: char| last.is_ascii_digit())
        .then_some((number, &bytes[end..]))
}

/// Whether a last line without its end stops within `: start:elapsed;`.
fn is_cut_prefix(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter().copied();
    rest.next() == Some(b':')
        && rest.next().is_none_or(|byte| byte == b' ')
        && bytes.len() < 32
        && rest.all(|byte| byte.is_ascii_digit() || byte == b':')
}

/// Undoes zsh's escape, but not in what is valid UTF-8 as it stands: that was most likely written by another program. Zsh itself writes
/// valid UTF-8 with its escape in it only for some bytes that are no text (E1 84 becomes E1 83 A4): these are read as what they look
/// like.
fn unmetafied(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&META) || std::str::from_utf8(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        plain.push(match byte {
            META => rest.next().map_or(META, |next| next ^ 0x20),
            other => other,
        });
    }
    Cow::Owned(plain)
}

/// zsh adds a blank to a command that ends in a backslash, or in a backslash and blanks, so that it does not join the next line.
fn without_spare_blank(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().rev().take_while(|byte| **byte == b' ').count();
    let before = &bytes[..bytes.len() - blanks];
    if blanks > 0 && before.last() == Some(&b'\\') {
        &bytes[..bytes.len() - 1]
    } else {
        bytes
    }
}
