//! What the parsers of shell histories give: entries, and what they had to leave out.
//!
//! What must hold: every entry of a file comes out once, as an entry or as something left out with its reason.
//!
//! What it deliberately does not do: ids, hosts, or the database.

use std::io;

use crate::history::octets;

/// One command of a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The line where it begins.
    pub(super) line: u64,
    /// When it started, in whole seconds since the Unix epoch, where the file says.
    pub(super) second: Option<i64>,
    /// How long it ran, where the file says.
    pub(super) duration_ms: Option<i64>,
    /// The command.
    pub(super) text: String,
    /// Whether it has bytes that are no UTF-8; they are kept.
    pub(super) escaped: bool,
    /// Whether NUL bytes were dropped.
    pub(super) lossy: bool,
    /// Whether its time could not be read.
    pub(super) bad_time: bool,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// The command is longer than 16 MiB.
    TooLong,
    /// The file ends in the middle of it.
    CutOff,
    /// There is a time but no command.
    Empty,
    /// It is not what the format has in this place.
    Damaged,
}

impl SkipReason {
    /// In words, to follow a number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "longer than 16 MiB",
            Self::CutOff => "cut off at the end of the file",
            Self::Empty => "a time without a command",
            Self::Damaged => "not readable",
        }
    }
}

/// What a parser gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Entry(Entry),
    Skipped {
        line: u64,
        reason: SkipReason,
        excerpt: String,
    },
}

/// A parser of one history file.
pub(super) trait Parser {
    /// The next item; none at the end.
    fn next(&mut self) -> io::Result<Option<Item>>;
}

impl Item {
    pub(super) fn skipped(line: u64, reason: SkipReason, bytes: &[u8]) -> Self {
        Self::Skipped {
            line,
            reason,
            excerpt: excerpt(bytes),
        }
    }

    /// An entry, unless there is no command in it.
    pub(super) fn entry(
        line: u64,
        second: Option<i64>,
        duration_ms: Option<i64>,
        bytes: &[u8],
    ) -> Self {
        let (text, escaped, lossy) = decode(bytes);
        if text.trim().is_empty() {
            return Self::skipped(line, SkipReason::Empty, bytes);
        }
        Self::Entry(Entry {
            line,
            second: second.filter(|second| is_plausible(*second)),
            duration_ms,
            text,
            escaped,
            lossy,
            bad_time: false,
        })
    }

    /// The same, from lines of which zero bytes were dropped if `lossy`.
    pub(super) fn lossy(mut self, lossy: bool) -> Self {
        if let Self::Entry(entry) = &mut self {
            entry.lossy |= lossy;
        }
        self
    }
}

/// Zero and less are what shells write when they do not know; far beyond our time is damage. Both count as undated.
fn is_plausible(second: i64) -> bool {
    (1..253_402_300_800).contains(&second)
}

/// Text without NUL bytes, which no command can have and crashes leave behind; whether it has bytes that are no text, and whether
/// anything was dropped.
pub(super) fn decode(bytes: &[u8]) -> (String, bool, bool) {
    let (mut text, escaped) = octets::to_text(bytes);
    let lossy = text.contains('\0');
    if lossy {
        text.retain(|character| character != '\0');
    }
    (text, escaped, lossy)
}

/// The beginning of what was left out, fit for a message.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(160)]);
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(60)
        .collect()
}
