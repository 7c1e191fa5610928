//! Histories of bash: a line a command, or `#seconds` before each command, which then may have several lines. Also mixed.
//!
//! What must hold: from the first `#seconds` line on, everything up to the next one is one command.
//!
//! What it deliberately does not do: find commands of several lines in a file without times; bash does not mark them.

use std::io::{self, BufRead};

use super::entry::{Item, Parser, SkipReason};
use super::lines::{Line, Lines};

pub(super) struct Bash<R> {
    lines: Lines<R>,
    command: Vec<u8>,
}

impl<R: BufRead> Bash<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self {
            lines,
            command: Vec::new(),
        }
    }

    /// All lines up to the next time.
    fn dated(&mut self, stamp: u64, second: i64) -> io::Result<Item> {
        self.command.clear();
        let (mut count, mut too_long, mut first) = (0_u64, false, stamp);
        while let Some(line) = self.lines.read()? {
            if time(self.lines.bytes()).is_some() || is_cut_time(self.lines.bytes(), line) {
                self.lines.unread();
                break;
            }
            if count == 0 {
                first = line.number;
            } else {
                self.command.push(b'\n');
            }
            count += 1;
            too_long |=
                line.too_long || self.command.len() + self.lines.bytes().len() > self.lines.limit();
            if !too_long || count == 1 {
                self.command.extend_from_slice(self.lines.bytes());
            }
        }
        if too_long {
            return Ok(Item::skipped(first, SkipReason::TooLong, &self.command));
        }
        // Empty lines at the end are the file's, not the command's.
        while self.command.last() == Some(&b'\n') {
            self.command.pop();
        }
        let item = Item::entry(first, Some(second), None, &self.command);
        Ok(item.lossy(self.lines.take_lossy()))
    }
}

impl<R: BufRead> Parser for Bash<R> {
    fn next(&mut self) -> io::Result<Option<Item>> {
        while let Some(line) = self.lines.read()? {
            if line.too_long || self.lines.bytes().len() > self.lines.limit() {
                return Ok(Some(Item::skipped(
                    line.number,
                    SkipReason::TooLong,
                    self.lines.bytes(),
                )));
            }
            if let Some(second) = time(self.lines.bytes()) {
                return self.dated(line.number, second).map(Some);
            }
            if is_cut_time(self.lines.bytes(), line) {
                return Ok(Some(Item::skipped(
                    line.number,
                    SkipReason::CutOff,
                    self.lines.bytes(),
                )));
            }
            if !self.lines.bytes().trim_ascii().is_empty() {
                let item = Item::entry(line.number, None, None, self.lines.bytes());
                return Ok(Some(item.lossy(self.lines.take_lossy())));
            }
            // What was between commands was in none.
            self.lines.take_lossy();
        }
        Ok(None)
    }
}

/// The time in a line that bash takes for one: `#` and nothing but the digits of a time of our age, or of "unknown".
pub(super) fn time(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#")?;
    let sensible = (9..=11).contains(&digits.len()) || digits == b"0";
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| sensible && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Whether the file ends within a time.
fn is_cut_time(bytes: &[u8], line: Line) -> bool {
    let digits = bytes.strip_prefix(b"#").filter(|digits| digits.len() < 10);
    !line.terminated && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}
