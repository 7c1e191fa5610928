//! Tables: CSV after RFC 4180, and Markdown.
//!
//! What must hold: whatever a command has in it, the table keeps its rows and columns; the one for people sends no control characters.
//!
//! What it deliberately does not do: get read back.

use std::io::{self, Write};

use super::order::Selection;
use super::{ExportReport, write_failed};
use crate::history::History;
use crate::history::error::HistoryError;
use crate::history::exchange::written;
use crate::history::model::Event;
use crate::history::octets;

const COLUMNS: [&str; 10] = [
    "time",
    "command",
    "exit",
    "duration_ms",
    "cwd",
    "host",
    "shell",
    "session",
    "actor",
    "id",
];

pub(super) fn csv(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
) -> Result<ExportReport, HistoryError> {
    let mut report = ExportReport::default();
    write!(writer, "{}\r\n", COLUMNS.join(",")).map_err(write_failed)?;
    selection.for_each_event(history, &mut report, |event| {
        csv_row(&event, writer).map_err(write_failed)
    })?;
    Ok(report)
}

pub(super) fn markdown(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
) -> Result<ExportReport, HistoryError> {
    let mut report = ExportReport::default();
    writer
        .write_all(
            b"| time | command | exit | directory | host |\n| --- | --- | ---: | --- | --- |\n",
        )
        .map_err(write_failed)?;
    selection.for_each_event(history, &mut report, |event| {
        markdown_row(&event, writer).map_err(write_failed)
    })?;
    Ok(report)
}

fn time(event: &Event) -> String {
    if event.time_known {
        written(event.time_us).unwrap_or_default()
    } else {
        String::new()
    }
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn csv_row(event: &Event, writer: &mut dyn Write) -> io::Result<()> {
    let (time, exit, duration, id) = (
        time(event),
        number(event.exit),
        number(event.duration_ms),
        event.id.to_string(),
    );
    let text =
        |value: &'_ Option<std::sync::Arc<str>>| value.as_deref().unwrap_or_default().to_owned();
    let (cwd, shell, session, actor) = (
        text(&event.cwd),
        text(&event.shell),
        text(&event.session),
        text(&event.actor),
    );
    let fields = [
        &time,
        &*event.command,
        &exit,
        &duration,
        &cwd,
        &*event.host,
        &shell,
        &session,
        &actor,
        &id,
    ];
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            writer.write_all(b",")?;
        }
        csv_field(field, writer)?;
    }
    writer.write_all(b"\r\n")
}

fn csv_field(field: &str, writer: &mut dyn Write) -> io::Result<()> {
    if field.contains([',', '"', '\n', '\r']) {
        write!(writer, "\"{}\"", field.replace('"', "\"\""))
    } else {
        writer.write_all(field.as_bytes())
    }
}

fn markdown_row(event: &Event, writer: &mut dyn Write) -> io::Result<()> {
    let cwd = event.cwd.as_deref().unwrap_or_default();
    writeln!(
        writer,
        "| {} | {} | {} | {} | {} |",
        time(event),
        code(&octets::shown(&event.command)),
        number(event.exit),
        plain(cwd),
        plain(&event.host)
    )
}

/// A code span: fenced by more backquotes than the text has in a row.
fn code(text: &str) -> String {
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let text = one_cell(text);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.starts_with(' ') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in one_cell(text).chars() {
        if matches!(character, '*' | '_' | '`' | '<' | '[') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A bar ends a cell even within code, and a line end ends the row. Other control characters are shown: a terminal would obey them.
fn one_cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace(['\n', '\r'], " ⏎ ");
    octets::visible(&text).into_owned()
}
