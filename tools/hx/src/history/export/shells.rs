//! Histories as zsh, bash and fish write them, for these shells to read.
//!
//! What must hold: an import of it gives the same commands, in the same order, at the same seconds. Where the time is unknown, 0
//! stands for it, as the shells do it; bash has lines without a time, as long as no time and no command of several lines came before.
//!
//! What it deliberately does not do: carry what these formats have no place for (directories, hosts, exit codes).

use std::borrow::Cow;
use std::io::{self, Write};

use super::order::Selection;
use super::{ExportReport, write_failed};
use crate::history::History;
use crate::history::error::HistoryError;
use crate::history::import::{Shell, zsh::META};
use crate::history::model::Event;
use crate::history::octets;

pub(super) fn write(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
    shell: Shell,
) -> Result<ExportReport, HistoryError> {
    let mut report = ExportReport::default();
    let mut is_stamped = false;
    selection.for_each_event(history, &mut report, |event| {
        match shell {
            Shell::Zsh => zsh(&event, writer),
            Shell::Bash => {
                // Up to the first time each line is a command; from there on each command has one.
                is_stamped |= event.time_known || event.command.contains('\n');
                bash(&event, is_stamped, writer)
            }
            Shell::Fish => fish(&event, writer),
        }
        .map_err(write_failed)
    })?;
    Ok(report)
}

fn second(event: &Event) -> i64 {
    if event.time_known {
        event.time_us.div_euclid(1_000_000).max(0)
    } else {
        0
    }
}

fn zsh(event: &Event, writer: &mut dyn Write) -> io::Result<()> {
    write!(
        writer,
        ": {}:{};",
        second(event),
        event.duration_ms.unwrap_or(0).max(0) / 1000
    )?;
    let mut text = event.command.replace('\n', "\\\n");
    // A backslash at the end, with or without blanks, would join the next line.
    if text.trim_end_matches(' ').ends_with('\\') {
        text.push(' ');
    }
    writer.write_all(&metafied(&octets::to_bytes(&text)))?;
    writer.write_all(b"\n")
}

/// zsh keeps these bytes for itself and escapes them in its files.
///
/// Bytes that are no text can look like text once they are escaped, and an import would take them for it. Then one byte more is
/// escaped, which zsh understands as well.
fn metafied(bytes: &[u8]) -> Cow<'_, [u8]> {
    let escaped = escaped_for_zsh(bytes, false);
    if matches!(escaped, Cow::Owned(_)) && std::str::from_utf8(&escaped).is_ok() {
        return escaped_for_zsh(bytes, true);
    }
    escaped
}

/// With `first`, the first byte that is not ASCII is escaped in any case.
fn escaped_for_zsh(bytes: &[u8], first: bool) -> Cow<'_, [u8]> {
    let special = |byte: &u8| *byte == 0 || (META..=0xa2).contains(byte);
    let forced = bytes.iter().position(|byte| first && !byte.is_ascii());
    if !bytes.iter().any(special) {
        return Cow::Borrowed(bytes);
    }
    let mut escaped = Vec::with_capacity(bytes.len() * 2);
    for (index, byte) in bytes.iter().enumerate() {
        if special(byte) || forced == Some(index) {
            escaped.extend([META, byte ^ 0x20]);
        } else {
            escaped.push(*byte);
        }
    }
    Cow::Owned(escaped)
}

fn bash(event: &Event, is_stamped: bool, writer: &mut dyn Write) -> io::Result<()> {
    if is_stamped {
        writeln!(writer, "#{}", second(event))?;
    }
    writer.write_all(&octets::to_bytes(&event.command))?;
    writer.write_all(b"\n")
}

fn fish(event: &Event, writer: &mut dyn Write) -> io::Result<()> {
    let text = event.command.replace('\\', "\\\\").replace('\n', "\\n");
    writer.write_all(b"- cmd: ")?;
    writer.write_all(&octets::to_bytes(&text))?;
    writeln!(writer, "\n  when: {}", second(event))
}
