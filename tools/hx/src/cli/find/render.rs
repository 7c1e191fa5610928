//! Hits as lines for a person, and as objects for a script.
//!
//! What must hold: nothing in a command reaches the terminal as a control sequence, since it may come from another machine; the text
//! is the same on a terminal and in a pipe, but for colour, and for a command that would fill several screens of a terminal.
//!
//! What it deliberately does not do: cut anything shorter. A command that is shown in part cannot be copied.

use std::fmt::Write;
use std::time::Duration;

use console::human;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::history::exchange::EventObject;
use crate::history::find::{Hit, Tier};
use crate::history::model::Event;
use crate::history::octets;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// So many digits of an id are shown: enough to be unique among a million but for one in thousands.
const ID_DIGITS: usize = 8;

/// So much of a command is shown on a terminal.
const CHARACTERS_MAX: usize = 4000;
const LINES_MAX: usize = 40;

/// Hits to be shown to a person.
pub(in crate::cli) struct Listing<'a> {
    /// What was found, in order.
    pub(in crate::cli) hits: &'a [Hit],
    /// What was typed; its words are marked in the commands.
    pub(in crate::cli) words: &'a str,
    /// Whether to colour.
    pub(in crate::cli) color: bool,
    /// Where the clocks are.
    pub(in crate::cli) zone: TimeZone,
    /// Whether to cut what would fill several screens.
    pub(in crate::cli) cut: bool,
}

/// A hit for scripts: the event as in an export, and how it was found.
#[derive(Serialize)]
pub(in crate::cli) struct HitObject {
    #[serde(flatten)]
    event: EventObject,
    uses: u64,
    pinned: bool,
    #[serde(rename = "match")]
    tier: Tier,
}

impl From<&Hit> for HitObject {
    fn from(hit: &Hit) -> Self {
        Self {
            event: hit.event.clone().into(),
            uses: hit.uses,
            pinned: hit.pinned,
            tier: hit.tier,
        }
    }
}

/// One line's cells before the command, and their colours.
struct Cells {
    texts: Vec<(String, &'static str)>,
}

impl Listing<'_> {
    /// One line a hit; more for a command of several lines.
    pub(in crate::cli) fn render(&self) -> String {
        let zone = self.zone.clone();
        let hosts = self
            .hits
            .iter()
            .any(|hit| hit.event.host != self.hits[0].event.host);
        let rows: Vec<Cells> = self
            .hits
            .iter()
            .map(|hit| cells(hit, &zone, hosts))
            .collect();
        let n_columns = rows.first().map_or(0, |row| row.texts.len());
        let widths: Vec<usize> = (0..n_columns)
            .map(|column| {
                rows.iter()
                    .map(|row| row.texts[column].0.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut words: Vec<String> = self
            .words
            .split(|c: char| c.is_whitespace() || c == '"')
            .map(str::to_lowercase)
            .collect();
        words.retain(|word| !word.is_empty());
        let mut text = String::new();
        for (hit, row) in self.hits.iter().zip(&rows) {
            let mut indent = 0;
            for ((cell, color), width) in row
                .texts
                .iter()
                .zip(&widths)
                .filter(|(_, width)| **width > 0)
            {
                self.painted(&mut text, color, cell);
                let _ = write!(text, "{:1$}", "", width - cell.chars().count() + 2);
                indent += width + 2;
            }
            for (index, line) in self.shown(&hit.event).lines().enumerate() {
                if index > 0 {
                    let _ = write!(text, "\n{:indent$}", "");
                }
                self.command_line(&mut text, line, &words);
            }
            text.push('\n');
        }
        text
    }

    /// The command as it is shown, and how to see the rest of it.
    fn shown(&self, event: &Event) -> String {
        let command = octets::visible(&octets::shown(&event.command)).into_owned();
        let end = command
            .char_indices()
            .take(CHARACTERS_MAX)
            .scan(0, |lines, (at, character)| {
                *lines += usize::from(character == '\n');
                (*lines < LINES_MAX).then_some(at + character.len_utf8())
            })
            .last()
            .unwrap_or(0);
        if !self.cut || end == command.len() {
            return command;
        }
        format!(
            "{} …\n[{} in all; the whole: the same command with `| cat`, or with --json]",
            &command[..end],
            human::bytes(event.command.len() as u64)
        )
    }

    fn painted(&self, text: &mut String, color: &str, cell: &str) {
        if self.color && !color.is_empty() && !cell.is_empty() {
            text.push_str(color);
            text.push_str(cell);
            text.push_str(PLAIN);
        } else {
            text.push_str(cell);
        }
    }

    fn command_line(&self, text: &mut String, line: &str, words: &[String]) {
        if !self.color {
            text.push_str(line);
            return;
        }
        let mut done = 0;
        for (start, end) in marks(line, words) {
            text.push_str(&line[done..start]);
            self.painted(text, BOLD, &line[start..end]);
            done = end;
        }
        text.push_str(&line[done..]);
    }
}

fn cells(hit: &Hit, zone: &TimeZone, with_host: bool) -> Cells {
    let event = &hit.event;
    let exit = match event.exit {
        Some(status) if status != 0 => format!("exit {status}"),
        _ => String::new(),
    };
    let took = event
        .duration_ms
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| *ms > 0);
    let host = if with_host {
        octets::visible(&event.host).into_owned()
    } else {
        String::new()
    };
    let mut id = event.id.to_string();
    id.truncate(ID_DIGITS);
    let texts = vec![
        (time(event, zone), DIM),
        (
            took.map(|ms| human::duration(Duration::from_millis(ms)))
                .unwrap_or_default(),
            DIM,
        ),
        (exit, RED),
        (host, ""),
        (
            if hit.pinned {
                "pinned".to_owned()
            } else {
                String::new()
            },
            BOLD,
        ),
        (id, DIM),
    ];
    Cells { texts }
}

/// The time as clocks here show it; a dash where the source had none.
fn time(event: &Event, zone: &TimeZone) -> String {
    let time = Timestamp::from_microsecond(event.time_us)
        .ok()
        .filter(|_| event.time_known);
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            time.to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M")
                .to_string()
        },
    )
}

/// Where the words begin and end in a line, in order and without overlaps. Only ASCII case is folded, so that positions stay.
pub(super) fn marks(line: &str, words: &[String]) -> Vec<(usize, usize)> {
    let folded = line.to_ascii_lowercase();
    let mut found: Vec<(usize, usize)> = Vec::new();
    for word in words {
        found.extend(
            folded
                .match_indices(word.as_str())
                .map(|(start, _)| (start, start + word.len())),
        );
    }
    found.sort_unstable_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
    let mut end_before = 0;
    found.retain(|(start, end)| {
        let is_free = *start >= end_before;
        if is_free {
            end_before = *end;
        }
        is_free
    });
    found
}
