//! Histories of fish: `- cmd:` with `when:` and `paths:` below. It looks like YAML and is not.
//!
//! What must hold: `\n` and `\\` in a command are undone as fish does it; everything else stays as it is; a command whose time is no number
//! is kept without one.
//!
//! What it deliberately does not do: keep the paths; they can be had from the command.

use std::io::{self, BufRead};

use super::entry::{Item, Parser, SkipReason};
use super::lines::Lines;

const COMMAND: &[u8] = b"- cmd:";

pub(super) struct Fish<R> {
    lines: Lines<R>,
    /// Whether the commands so far had no times: then a last one without is not cut off.
    undated: bool,
}

/// When a command ran.
struct Time {
    second: Option<i64>,
    /// Whether there is one that is no number.
    unreadable: bool,
}

impl<R: BufRead> Fish<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self {
            lines,
            undated: false,
        }
    }

    /// The lines that belong to a command: its time, or that the file ends within them.
    fn details(&mut self) -> io::Result<Result<Time, SkipReason>> {
        let mut second = None;
        let mut cut = false;
        let mut unreadable = false;
        while let Some(line) = self.lines.read()? {
            if self.lines.bytes().starts_with(COMMAND) {
                self.lines.unread();
                self.undated = second.is_none() && !unreadable;
                return Ok(Ok(Time { second, unreadable }));
            }
            cut = !line.terminated;
            if let Some(digits) = self.lines.bytes().trim_ascii_start().strip_prefix(b"when:") {
                second = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.trim().parse().ok());
                unreadable = second.is_none() && line.terminated;
            }
        }
        let lacks = second.is_none() && !self.undated && !unreadable;
        Ok(if lacks || cut {
            Err(SkipReason::CutOff)
        } else {
            Ok(Time { second, unreadable })
        })
    }
}

impl<R: BufRead> Parser for Fish<R> {
    fn next(&mut self) -> io::Result<Option<Item>> {
        while let Some(line) = self.lines.read()? {
            let Some(command) = self.lines.bytes().strip_prefix(COMMAND) else {
                if self.lines.bytes().trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(Item::skipped(
                    line.number,
                    SkipReason::Damaged,
                    self.lines.bytes(),
                )));
            };
            let raw = command.strip_prefix(b" ").unwrap_or(command);
            if line.too_long || raw.len() > self.lines.limit() {
                let item = Item::skipped(line.number, SkipReason::TooLong, raw);
                let _ = self.details()?;
                return Ok(Some(item));
            }
            let command = unescaped(raw);
            // Within the time a cut is not seen from what is there: it would be a wrong time.
            let item = match self.details()? {
                _ if !line.terminated => Item::skipped(line.number, SkipReason::CutOff, &command),
                Err(reason) => Item::skipped(line.number, reason, &command),
                Ok(time) => {
                    let mut item = Item::entry(line.number, time.second, None, &command);
                    if let Item::Entry(entry) = &mut item {
                        entry.bad_time = time.unreadable;
                    }
                    item.lossy(self.lines.take_lossy())
                }
            };
            return Ok(Some(item));
        }
        Ok(None)
    }
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' {
            rest.next_if(|next| matches!(next, b'n' | b'\\'))
        } else {
            None
        };
        plain.push(match escaped {
            Some(b'n') => b'\n',
            _ => byte,
        });
    }
    plain
}
