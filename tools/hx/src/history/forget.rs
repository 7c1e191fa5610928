//! What a person does to single events: forget, pin, and name them by the beginning of their id.
//!
//! What must hold: each is a record of its own that travels like any other; doing it twice changes nothing.
//!
//! What it deliberately does not do: delete rows itself (see `apply`).

use rusqlite::OptionalExtension;

use super::error::{HistoryError, HistoryErrorKind};
use super::model::{Event, Pin, Record, RecordId, Tombstone};
use super::rows::{self, Reader};
use super::{Applied, ApplyOptions, History};

impl History {
    /// Forgets events, on every device once it syncs. `now_us` is the time in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    pub fn forget(&mut self, targets: &[RecordId], now_us: i64) -> Result<Applied, HistoryError> {
        let tombstone = |target: &RecordId| {
            Record::Tombstone(Tombstone {
                id: Tombstone::id_for(*target),
                target: *target,
                time_us: now_us,
            })
        };
        let records: Vec<Record> = targets.iter().map(tombstone).collect();
        self.insert_all(records, ApplyOptions::default())
    }

    /// Sets or takes away the mark on an event. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    pub fn set_pinned(
        &mut self,
        event: RecordId,
        pinned: bool,
        now_us: i64,
    ) -> Result<bool, HistoryError> {
        let select = "SELECT clock, pinned FROM pins WHERE event = ?1";
        let old = self
            .connection()
            .query_row(select, [&event.0[..]], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))
            })
            .optional()?;
        if old.is_some_and(|(_, held)| held) == pinned {
            return Ok(false);
        }
        // Greater than any clock seen, so that the newest wish wins even if the wall clock went back.
        let seen: Option<i64> =
            self.connection()
                .query_row("SELECT max(clock) FROM pins", [], |row| row.get(0))?;
        let clock = seen.map_or(now_us, |seen| now_us.max(seen.saturating_add(1)));
        let pin = Pin {
            id: Pin::id_for(event, clock, pinned),
            event,
            clock,
            pinned,
        };
        self.insert_all([Record::Pin(pin)], ApplyOptions::default())?;
        Ok(true)
    }

    /// Finds the event whose id begins with `text` (hexadecimal digits).
    ///
    /// # Errors
    /// [`HistoryErrorKind::Invalid`] for anything else, `NotFound`, or `Ambiguous` if several begin so.
    pub fn resolve_id_prefix(&self, text: &str) -> Result<RecordId, HistoryError> {
        let doing = format!("cannot find the event {text}");
        let digits = text.to_ascii_lowercase();
        if digits.is_empty()
            || digits.len() > 32
            || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(HistoryError::new(
                HistoryErrorKind::Invalid,
                doing,
                "an id is up to 32 hexadecimal digits",
            )
            .with_remedy("Copy the id from the output of `hx find`."));
        }
        let bound = |fill: &str| {
            RecordId::from_hex(&format!("{digits}{}", fill.repeat(32 - digits.len())))
                .expect("32 hexadecimal digits")
        };
        let (low, high) = (bound("0"), bound("f"));
        let sql = "SELECT rid FROM records WHERE rid >= ?1 AND rid <= ?2 AND kind = 1 LIMIT 2";
        let mut select = self.connection().prepare_cached(sql)?;
        let found = select
            .query_map([&low.0[..], &high.0[..]], |row| row.get(0))?
            .collect::<Result<Vec<Vec<u8>>, _>>()?;
        match found.as_slice() {
            [one] => rows::record_id(one),
            [] => Err(HistoryError::new(
                HistoryErrorKind::NotFound,
                doing,
                "no event has an id that begins so",
            )
            .with_remedy("Copy the id from the output of `hx find`.")),
            _ => Err(HistoryError::new(
                HistoryErrorKind::Ambiguous,
                doing,
                "several events have ids that begin so",
            )),
        }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// If the database fails.
    pub fn event(&self, id: RecordId) -> Result<Option<Event>, HistoryError> {
        let sql = format!(
            "SELECT {} FROM records r JOIN commands c ON c.id = r.command WHERE r.rid = ?1 AND r.kind = 1",
            rows::COLUMNS
        );
        let mut reader = Reader::new(self.connection())?;
        let mut select = self.connection().prepare_cached(&sql)?;
        let mut found = select.query([&id.0[..]])?;
        found.next()?.map(|row| reader.event(row)).transpose()
    }
}
