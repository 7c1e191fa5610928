//! hx's own formats: one JSON document, or JSON Lines. `exchange` describes them.
//!
//! What must hold: an import of it into an empty history gives the same export again, but for its time.
//!
//! What it deliberately does not do: indent. One record a line suits `diff` and `grep`.

use std::io::Write;

use super::order::Selection;
use super::{ExportReport, Tell, write_failed};
use crate::history::History;
use crate::history::error::HistoryError;
use crate::history::exchange::{Digest, End, FORMAT, Header, Object, VERSION, written};
use crate::history::model::Record;
use crate::history::rows;

const ARRAYS: [(&str, i64); 4] = [
    ("events", rows::EVENT),
    ("sessions", rows::SESSION),
    ("pins", rows::PIN),
    ("tombstones", rows::TOMBSTONE),
];

pub(super) fn document(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
    now_us: i64,
    tell: Option<Tell<'_>>,
) -> Result<ExportReport, HistoryError> {
    let mut report = ExportReport::default();
    let mut digest = Digest::default();
    let mut header = serde_json::to_string(&header(None, now_us)).unwrap_or_default();
    header.pop();
    writer.write_all(header.as_bytes()).map_err(write_failed)?;
    for (name, kind) in ARRAYS {
        let outcome = array(
            history,
            selection,
            writer,
            (name, kind),
            &mut report,
            &mut digest,
        );
        if let Err(error) = outcome {
            if let Some(tell) = tell {
                // Records are written whole, so that here an array is open and nothing else.
                write!(writer, "\n],\n\"error\":{}}}\n", tell(&error)).map_err(write_failed)?;
            }
            return Err(error);
        }
    }
    let end = serde_json::to_string(&end(history, digest)).unwrap_or_default();
    write!(writer, ",\n\"end\":{end}}}\n").map_err(write_failed)?;
    Ok(report)
}

fn array(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
    (name, kind): (&str, i64),
    report: &mut ExportReport,
    digest: &mut Digest,
) -> Result<(), HistoryError> {
    write!(writer, ",\n\"{name}\":[").map_err(write_failed)?;
    let mut first = true;
    for_each(history, selection, kind, report, |record| {
        writer
            .write_all(if first { b"\n" } else { b",\n" })
            .map_err(write_failed)?;
        first = false;
        let mut object = Object::from(record);
        digest.add(&mut object);
        object.write_bare(writer).map_err(json_failed)
    })?;
    writer
        .write_all(if first { b"]" } else { b"\n]" })
        .map_err(write_failed)
}

pub(super) fn lines(
    history: &History,
    selection: &Selection,
    writer: &mut dyn Write,
    now_us: i64,
) -> Result<ExportReport, HistoryError> {
    let mut report = ExportReport::default();
    let mut digest = Digest::default();
    serde_json::to_writer(&mut *writer, &header(Some("header".to_owned()), now_us))
        .map_err(json_failed)?;
    writer.write_all(b"\n").map_err(write_failed)?;
    for (_, kind) in ARRAYS {
        for_each(history, selection, kind, &mut report, |record| {
            let mut object = Object::from(record);
            digest.add(&mut object);
            serde_json::to_writer(&mut *writer, &object).map_err(json_failed)?;
            writer.write_all(b"\n").map_err(write_failed)
        })?;
    }
    serde_json::to_writer(&mut *writer, &end(history, digest)).map_err(json_failed)?;
    writer.write_all(b"\n").map_err(write_failed)?;
    Ok(report)
}

/// What was rescued from a damaged database says so, unless everything was there.
fn end(history: &History, digest: Digest) -> End {
    let losses = history.losses().filter(|losses| !losses.are_none());
    digest.end(losses.map(|losses| losses.missing))
}

fn header(kind: Option<String>, now_us: i64) -> Header {
    Header {
        has_end: true,
        kind,
        format: FORMAT.to_owned(),
        version: VERSION,
        exported_at: written(now_us).unwrap_or_default(),
    }
}

fn for_each(
    history: &History,
    selection: &Selection,
    kind: i64,
    report: &mut ExportReport,
    mut each: impl FnMut(Record) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    if kind == rows::EVENT {
        return selection.for_each_event(history, report, |event| each(Record::Event(event)));
    }
    selection.for_each_other(history, kind, |record| {
        report.others += 1;
        each(record)
    })
}

fn json_failed(error: serde_json::Error) -> HistoryError {
    write_failed(error.into())
}
