//! Which records are exported, in an order that depends on nothing but the records.
//!
//! What must hold: two databases with the same records give the same sequence; rows are read by their numbers, never by an index, which
//! may lie, and as many as the index of their kind has.
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
        let numbers = self.numbers(history)?;
        if self.complete {
            let sql = "SELECT count(*) FROM records INDEXED BY records_time WHERE kind = 1";
            let listed = history.connection().query_row(sql, [], |row| row.get(0))?;
            agrees(numbers.len(), listed)?;
        }
        let sql = format!(
            "SELECT {} FROM records r LEFT JOIN commands c ON c.id = r.command WHERE r.seq = ?1",
            rows::COLUMNS
        );
        let mut reader = Reader::new(history.connection())?;
        let mut select = history.connection().prepare(&sql)?;
        for number in numbers {
            let mut found = select.query([number])?;
            let row = found.next()?;
            let row = row.ok_or_else(|| rows::damaged("a record is not found under its number"))?;
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

    /// The numbers of the events, by time and then by id. Forty bytes for each are in memory meanwhile: SQLite would sort the whole rows,
    /// in a temporary file.
    fn numbers(&self, history: &History) -> Result<Vec<i64>, HistoryError> {
        let sql = format!(
            "SELECT r.time, r.rid, r.seq FROM records r NOT INDEXED WHERE r.kind = 1{}",
            self.condition
        );
        let mut select = history.connection().prepare(&sql)?;
        let mut found = select.query(params_from_iter(self.values.iter()))?;
        let mut keys: Vec<(i64, RecordId, i64)> = Vec::new();
        while let Some(row) = found.next()? {
            let id = rows::record_id(row.get_ref(1)?.as_blob().unwrap_or_default())?;
            keys.push((row.get(0)?, id, row.get(2)?));
        }
        keys.sort_unstable();
        Ok(keys.into_iter().map(|(_, _, number)| number).collect())
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
            "SELECT {} FROM records r NOT INDEXED LEFT JOIN commands c ON c.id = r.command WHERE r.kind = ?1 ORDER BY r.time, r.rid",
            rows::COLUMNS
        );
        let mut reader = Reader::new(history.connection())?;
        let mut select = history.connection().prepare(&sql)?;
        let mut found = select.query([kind])?;
        let mut count = 0_usize;
        while let Some(row) = found.next()? {
            count += 1;
            each(reader.record(row)?.2)?;
        }
        let sql =
            "SELECT count(*) FROM records INDEXED BY records_other WHERE kind <> 1 AND kind = ?1";
        let listed = history
            .connection()
            .query_row(sql, [kind], |row| row.get(0))?;
        agrees(count, listed)
    }

    fn add(&mut self, condition: &str, value: Value) {
        self.condition.push_str(" AND ");
        self.condition.push_str(condition);
        self.values.push(value);
        self.complete = false;
    }

    fn add_last(&mut self, history: &History) -> Result<(), HistoryError> {
        let sql = format!(
            "SELECT r.session, r.time FROM records r NOT INDEXED WHERE r.kind = 1{} ORDER BY r.time DESC, r.rid DESC LIMIT 1",
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

/// Whether as many rows were read as the index of their kind has.
fn agrees(read: usize, listed: i64) -> Result<(), HistoryError> {
    if i64::try_from(read) == Ok(listed) {
        return Ok(());
    }
    Err(rows::damaged(&format!(
        "{read} records of a kind were read, and their index has {listed}"
    )))
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
