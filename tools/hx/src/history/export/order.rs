//! Which records are exported, in an order that depends on nothing but the records.
//!
//! What must hold: two databases with the same records give the same sequence.
//!
//! What it deliberately does not do: write.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params_from_iter};

use super::redact::redact;
use super::{ExportFilter, ExportReport};
use crate::history::History;
use crate::history::error::HistoryError;
use crate::history::model::{Event, Record, RecordId};
use crate::history::rows::{self, Reader};

/// How far back `last` goes where the newest event has no session.
const LAST_US: i64 = 24 * 3_600 * 1_000_000;

/// What is exported.
pub(super) struct Selection {
    condition: String,
    values: Vec<Value>,
    redacted: bool,
    /// Whether everything is: then sessions, pins and tombstones belong to it.
    pub(super) complete: bool,
}

impl Selection {
    pub(super) fn new(history: &History, filter: &ExportFilter) -> Result<Self, HistoryError> {
        let mut selection = Self {
            condition: String::new(),
            values: Vec::new(),
            redacted: filter.redacted,
            complete: true,
        };
        if let Some(after) = filter.after_us {
            selection.add("r.time_known AND r.time >= ?", after.into());
        }
        if let Some(before) = filter.before_us {
            selection.add("r.time_known AND r.time < ?", before.into());
        }
        if let Some(host) = &filter.host {
            selection.add(
                "r.host = (SELECT id FROM strings WHERE text = ?)",
                host.clone().into(),
            );
        }
        if filter.last {
            selection.add_last(history)?;
        }
        Ok(selection)
    }

    /// Calls `each` for the events, by time and then by id.
    pub(super) fn for_each_event(
        &self,
        history: &History,
        report: &mut ExportReport,
        mut each: impl FnMut(Event) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        let sql = format!(
            "SELECT {} FROM records r JOIN commands c ON c.id = r.command WHERE r.kind = 1{} ORDER BY r.time, r.rid",
            rows::COLUMNS,
            self.condition
        );
        let mut reader = Reader::new(history.connection())?;
        let mut select = history.connection().prepare(&sql)?;
        let mut found = select.query(params_from_iter(self.values.iter()))?;
        while let Some(row) = found.next()? {
            let event = reader.event(row)?;
            report.events += 1;
            each(if self.redacted {
                redacted(event, report)
            } else {
                event
            })?;
        }
        Ok(())
    }

    /// Calls `each` for the records of a kind that is not events, by time and then by id.
    pub(super) fn for_each_other(
        &self,
        history: &History,
        kind: i64,
        mut each: impl FnMut(Record) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        if !self.complete {
            return Ok(());
        }
        let sql = format!(
            "SELECT {} FROM records r LEFT JOIN commands c ON c.id = r.command WHERE r.kind = ?1 AND r.kind <> 1 ORDER BY r.time, r.rid",
            rows::COLUMNS
        );
        let mut reader = Reader::new(history.connection())?;
        let mut select = history.connection().prepare(&sql)?;
        let mut found = select.query([kind])?;
        while let Some(row) = found.next()? {
            each(reader.record(row)?.2)?;
        }
        Ok(())
    }

    fn add(&mut self, condition: &str, value: Value) {
        self.condition.push_str(" AND ");
        self.condition.push_str(condition);
        self.values.push(value);
        self.complete = false;
    }

    fn add_last(&mut self, history: &History) -> Result<(), HistoryError> {
        let sql = format!(
            "SELECT r.session, r.time FROM records r WHERE r.kind = 1{} ORDER BY r.time DESC, r.rid DESC LIMIT 1",
            self.condition
        );
        let newest: Option<(Option<i64>, i64)> = history
            .connection()
            .prepare(&sql)?
            .query_row(params_from_iter(self.values.iter()), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match newest {
            Some((Some(session), _)) => self.add("r.session = ?", session.into()),
            Some((None, time)) => self.add("r.time > ?", time.saturating_sub(LAST_US).into()),
            None => self.complete = false,
        }
        Ok(())
    }
}

/// A changed event is another event: under its old id it would take the place of the real one where it is imported.
fn redacted(mut event: Event, report: &mut ExportReport) -> Event {
    let text = redact(&event.command);
    if text != *event.command {
        report.redacted += 1;
        event.id = RecordId::of("redacted", &[&event.id.0]);
        event.command = text.into();
    }
    event
}
