//! Exporting: hx's own JSON, which loses nothing; tables for people; and histories that the shells read back.
//!
//! What must hold: the same history and options give the same bytes, apart from the time of the export; records are streamed; a file
//! appears whole or not at all.
//!
//! What it deliberately does not do: print, or read what it wrote (see `import`).

mod json;
mod order;
mod redact;
mod shells;
mod table;

use std::io::{BufWriter, Write};
use std::path::Path;

use super::History;
use super::error::{HistoryError, HistoryErrorKind};
use super::import::Shell;

pub use self::redact::redact;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// hx's own, complete: one document.
    Json,
    /// The same, one record a line.
    JsonLines,
    /// A table after RFC 4180.
    Csv,
    /// A table for people.
    Markdown,
    /// A history as the shell itself writes it.
    Shell(Shell),
}

/// What to export.
#[derive(Clone, Debug, Default)]
pub struct ExportFilter {
    /// Put a mark in place of what is probably a secret. Events that this changes get another id.
    pub redacted: bool,
    /// Only the last stretch of work: the session of the newest event if it has one, else the 24 hours up to the newest event.
    pub last: bool,
    /// Only events that started at this time or later (microseconds since the Unix epoch).
    pub after_us: Option<i64>,
    /// Only events that started before this time.
    pub before_us: Option<i64>,
    /// Only events of this machine.
    pub host: Option<String>,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExportReport {
    /// Events.
    pub events: u64,
    /// Sessions, pins and tombstones.
    pub others: u64,
    /// Events in which something was replaced by a mark.
    pub redacted: u64,
    /// Events whose command the form has no place for as it is; what comes nearest to it was written.
    pub unheld: u64,
    /// How the first of these begin.
    pub unheld_examples: Vec<String>,
}

impl std::str::FromStr for ExportFormat {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        Ok(match text {
            "json" => Self::Json,
            "jsonl" => Self::JsonLines,
            "csv" => Self::Csv,
            "markdown" => Self::Markdown,
            other => Self::Shell(other.parse().map_err(|_| {
                HistoryError::new(
                    HistoryErrorKind::Invalid,
                    format!("`{text}` is no export format"),
                    "",
                )
                .with_remedy("Say `json`, `jsonl`, `csv`, `markdown`, `zsh`, `bash` or `fish`.")
            })?),
        })
    }
}

/// Writes the history to `writer`. `now_us` is the time of the export.
///
/// # Errors
/// If the database or the writer fails.
pub fn export(
    history: &History,
    writer: &mut dyn Write,
    format: ExportFormat,
    filter: &ExportFilter,
    now_us: i64,
) -> Result<ExportReport, HistoryError> {
    export_or_tell(history, writer, format, filter, now_us, None)
}

/// What an error is in a JSON document.
pub type Tell<'a> = &'a dyn Fn(&HistoryError) -> serde_json::Value;

/// As [`export`]. If reading fails half-way, a JSON document is ended all the same, with what `tell` says under `error`: whoever reads
/// it as it is written gets a whole document, and an import of it says that it is not complete.
///
/// # Errors
/// As [`export`], also if the document could be ended.
pub fn export_or_tell(
    history: &History,
    writer: &mut dyn Write,
    format: ExportFormat,
    filter: &ExportFilter,
    now_us: i64,
    tell: Option<Tell<'_>>,
) -> Result<ExportReport, HistoryError> {
    // One transaction, so that a sync meanwhile does not show in the middle.
    let _snapshot = history.connection().unchecked_transaction()?;
    let selection = order::Selection::new(history, filter)?;
    let mut writer = BufWriter::with_capacity(1 << 16, writer);
    let report = match format {
        ExportFormat::Json => json::document(history, &selection, &mut writer, now_us, tell),
        ExportFormat::JsonLines => json::lines(history, &selection, &mut writer, now_us),
        ExportFormat::Csv => table::csv(history, &selection, &mut writer),
        ExportFormat::Markdown => table::markdown(history, &selection, &mut writer),
        ExportFormat::Shell(shell) => shells::write(history, &selection, &mut writer, shell),
    };
    let flushed = writer.flush().map_err(write_failed);
    report.and_then(|report| flushed.map(|()| report))
}

/// Writes the history to a file, which appears, or changes, only when it is complete and `admit` agrees.
///
/// # Errors
/// If the database fails, the file cannot be written, or `admit` fails; then `path` is as it was.
pub fn export_file(
    history: &History,
    path: &Path,
    format: ExportFormat,
    filter: &ExportFilter,
    now_us: i64,
    admit: &dyn Fn(&ExportReport) -> Result<(), HistoryError>,
) -> Result<ExportReport, HistoryError> {
    let cannot_write = |error| HistoryError::io("write", path, error);
    let mut file = store::file::AtomicFile::create_private(path).map_err(cannot_write)?;
    let report =
        export(history, &mut file, format, filter, now_us).map_err(|error| match error.kind() {
            HistoryErrorKind::Other | HistoryErrorKind::DiskFull => error.at("write", path),
            _ => error,
        })?;
    admit(&report)?;
    file.commit().map_err(cannot_write)?;
    Ok(report)
}

/// The error for a writer that failed.
fn write_failed(error: std::io::Error) -> HistoryError {
    HistoryError::io("write", Path::new("the export"), error)
}

#[cfg(test)]
mod tests;
