//! Histories as zsh, bash and fish write them, for these shells to read.
//!
//! What must hold: the shell, and an import of it, read the same commands, in the same order, at the same seconds. Where the time is
//! unknown, 0 stands for it, as the shells do it; bash has lines without a time as long as no time came before, and nowhere if a command
//! has several lines, which bash joins only in a file that begins with a time. What bash cannot hold is written as near to it as can be,
//! and counted: a line that begins as a time does would end the command, and bash has no escape for it; it passes over empty lines, and
//! over a return at the end of a line.
//!
//! What it deliberately does not do: carry what these formats have no place for (directories, hosts, exit codes).

use std::borrow::Cow;
use std::io::{self, Write};

use super::order::Selection;
use super::{ExportReport, redact, write_failed};
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
    let mut is_stamped = shell == Shell::Bash && has_several_lines(history, selection)?;
    let mut unheld = Vec::new();
    selection.for_each_event(history, &mut report, |event| {
        match shell {
            Shell::Zsh => zsh(&event, writer),
            Shell::Bash => {
                // Up to the first time each line is a command; from there on each command has one.
                is_stamped |= event.time_known;
                if !event.command.split('\n').all(is_held_by_bash) {
                    unheld.push(event.command.clone());
                }
                bash(&event, is_stamped, writer)
            }
            Shell::Fish => fish(&event, writer),
        }
        .map_err(write_failed)
    })?;
    report.unheld = unheld.len() as u64;
    let examples = unheld.iter().take(UNHELD_EXAMPLES_MAX);
    report.unheld_examples = examples.map(|text| beginning(text)).collect();
    Ok(report)
}

/// So many commands that could not be held are named.
const UNHELD_EXAMPLES_MAX: usize = 10;

/// How a command begins, on one line and without what is probably a secret.
fn beginning(command: &str) -> String {
    let text = redact(command).replace('\n', "\\n");
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(60).collect()
}

fn has_several_lines(history: &History, selection: &Selection) -> Result<bool, HistoryError> {
    let mut has = false;
    selection.for_each_event(history, &mut ExportReport::default(), |event| {
        has |= event.command.contains('\n');
        Ok(())
    })?;
    Ok(has)
}

/// Whether bash reads a line of a command back as it is.
fn is_held_by_bash(line: &str) -> bool {
    !line.is_empty() && !line.ends_with('\r') && !looks_like_time(line)
}

/// Whether bash takes a line for a time: it looks at two signs.
fn looks_like_time(line: &str) -> bool {
    let mut signs = line.bytes();
    signs.next() == Some(b'#') && signs.next().is_some_and(|sign| sign.is_ascii_digit())
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
    for line in event.command.split('\n') {
        if looks_like_time(line) {
            writer.write_all(b" ")?;
        }
        writer.write_all(&octets::to_bytes(line))?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}

fn fish(event: &Event, writer: &mut dyn Write) -> io::Result<()> {
    let text = event.command.replace('\\', "\\\\").replace('\n', "\\n");
    writer.write_all(b"- cmd: ")?;
    writer.write_all(&octets::to_bytes(&text))?;
    writeln!(writer, "\n  when: {}", second(event))
}
