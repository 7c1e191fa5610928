//! How a record lies in the tables, and reading records back in the order of their arrival.
//!
//! What must hold: what was written is read back equal, whatever its kind.
//!
//! What it deliberately does not do: decide what is written (see `apply`), or know the encoding for the wire (see `codec`).

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use super::apply::wide_hash;
use super::error::{HistoryError, HistoryErrorKind};
use super::model::{Event, Pin, Record, RecordId, Session, Tombstone};

/// `records.kind` of an event.
pub(crate) const EVENT: i64 = 1;
/// `records.kind` of a session.
pub(crate) const SESSION: i64 = 2;
/// `records.kind` of a pin.
pub(crate) const PIN: i64 = 3;
/// `records.kind` of a tombstone.
pub(crate) const TOMBSTONE: i64 = 4;

/// The columns that [`Reader::record`] reads, of `records r LEFT JOIN commands c ON c.id = r.command`.
pub(crate) const COLUMNS: &str = "r.seq, r.src, r.rid, r.kind, c.text, r.time, r.time_known, r.duration, r.exit, r.cwd, r.host, r.shell, r.session, r.actor, r.body, c.hash";

/// How many these are: what a query asks for besides comes after them.
pub(crate) const COUNT: usize = 16;

/// A record, its number, and the alias of the vault it came from (none: it was born here).
pub type Numbered = (i64, Option<i64>, Record);

/// Turns rows into records; remembers the strings it has seen.
pub(crate) struct Reader<'c> {
    select: CachedStatement<'c>,
    strings: HashMap<i64, Arc<str>>,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self, HistoryError> {
        Ok(Self {
            select: connection.prepare_cached("SELECT text FROM strings WHERE id = ?1")?,
            strings: HashMap::new(),
        })
    }

    /// Reads a row of [`COLUMNS`].
    pub(crate) fn record(&mut self, row: &Row<'_>) -> Result<Numbered, HistoryError> {
        let kind: i64 = row.get(3)?;
        let record = match kind {
            EVENT => Record::Event(self.event(row)?),
            _ => body_record(kind, row)?,
        };
        Ok((row.get(0)?, row.get(1)?, record))
    }

    /// Reads a row of [`COLUMNS`] that is an event.
    pub(crate) fn event(&mut self, row: &Row<'_>) -> Result<Event, HistoryError> {
        let command = row
            .get_ref(4)?
            .as_str()
            .map_err(|_| damaged("a command is missing"))?;
        // SQLite has no checksums: a page that changed on the disk reads like any other.
        if !is_as_stored(command, row.get(15)?) {
            return Err(damaged("a command is not what it was when it was stored"));
        }
        Ok(Event {
            id: record_id(row.get_ref(2)?.as_blob().unwrap_or_default())?,
            command: Arc::from(command),
            time_us: row.get(5)?,
            time_known: row.get(6)?,
            duration_ms: row.get(7)?,
            exit: row.get(8)?,
            cwd: self.string(row, 9)?,
            host: self.string(row, 10)?.unwrap_or_else(|| Arc::from("")),
            shell: self.string(row, 11)?,
            session: self.string(row, 12)?,
            actor: self.string(row, 13)?,
        })
    }

    fn string(&mut self, row: &Row<'_>, column: usize) -> Result<Option<Arc<str>>, HistoryError> {
        let Some(id) = row.get::<_, Option<i64>>(column)? else {
            return Ok(None);
        };
        if let Some(text) = self.strings.get(&id) {
            return Ok(Some(text.clone()));
        }
        let text: Option<Arc<str>> = self.select.query_row([id], |row| row.get(0)).optional()?;
        let text = text.ok_or_else(|| {
            damaged("the directory, machine, shell, session or actor of a command is missing")
        })?;
        self.strings.insert(id, text.clone());
        Ok(Some(text))
    }
}

/// Calls `each` for the records numbered `after < seq <= upto`, in order, until it returns false.
pub(crate) fn for_each(
    connection: &Connection,
    (after, upto): (i64, i64),
    mut each: impl FnMut(Numbered) -> Result<bool, HistoryError>,
) -> Result<(), HistoryError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM records r LEFT JOIN commands c ON c.id = r.command WHERE r.seq > ?1 AND r.seq <= ?2 ORDER BY r.seq"
    );
    let mut reader = Reader::new(connection)?;
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([after, upto])?;
    while let Some(row) = rows.next()? {
        if !each(reader.record(row)?)? {
            break;
        }
    }
    Ok(())
}

/// Whether a row of `commands` has the text that it was written with, by the hash beside it.
pub(crate) fn is_as_stored(text: &str, hash: Option<i64>) -> bool {
    hash == Some(wide_hash(text) as i64)
}

/// Reads an id.
pub(crate) fn record_id(bytes: &[u8]) -> Result<RecordId, HistoryError> {
    bytes
        .try_into()
        .map(RecordId)
        .map_err(|_| damaged("an id has the wrong length"))
}

/// The error for rows that this program never wrote.
pub(crate) fn damaged(what: &str) -> HistoryError {
    HistoryError::new(
        HistoryErrorKind::Broken,
        "the history database is damaged",
        what,
    )
}

fn body_record(kind: i64, row: &Row<'_>) -> Result<Record, HistoryError> {
    let id = record_id(row.get_ref(2)?.as_blob().unwrap_or_default())?;
    let body = row.get_ref(14)?.as_blob().unwrap_or_default();
    let record = decode_body(kind, id, row.get(5)?, body);
    let record = record.ok_or_else(|| damaged("a record cannot be read"))?;
    match &record {
        // Passed on, it would bring back what was forgotten and take another away.
        Record::Tombstone(tombstone) if Tombstone::id_for(tombstone.target) != id => Err(damaged(
            "what was forgotten is not what it was when it was stored",
        )),
        _ => Ok(record),
    }
}

/// The `body` and `time` of a record that is no event.
pub(crate) fn encode_body(record: &Record) -> (i64, i64, Vec<u8>) {
    match record {
        Record::Event(event) => (EVENT, event.time_us, Vec::new()),
        Record::Session(session) => (
            SESSION,
            session.start_us.unwrap_or(0),
            encode_session(session),
        ),
        Record::Pin(pin) => {
            let mut body = pin.event.0.to_vec();
            body.push(u8::from(pin.pinned));
            (PIN, pin.clock, body)
        }
        Record::Tombstone(tombstone) => (TOMBSTONE, tombstone.time_us, tombstone.target.0.to_vec()),
    }
}

/// The record of a row that is no event; none if its `body` is not of that kind.
pub(crate) fn decode_body(kind: i64, id: RecordId, time: i64, body: &[u8]) -> Option<Record> {
    match kind {
        SESSION => decode_session(id, time, body).map(Record::Session),
        PIN => {
            let (event, pinned) = body.split_first_chunk::<16>()?;
            Some(Record::Pin(Pin {
                id,
                event: RecordId(*event),
                clock: time,
                pinned: *pinned.first()? == 1,
            }))
        }
        TOMBSTONE => Some(Record::Tombstone(Tombstone {
            id,
            target: RecordId(body.try_into().ok()?),
            time_us: time,
        })),
        _ => None,
    }
}

/// Flags (1 start, 2 end, 4 shell), the end, then name, host and shell, each after its length.
fn encode_session(session: &Session) -> Vec<u8> {
    let flags = u8::from(session.start_us.is_some())
        | u8::from(session.end_us.is_some()) << 1
        | u8::from(session.shell.is_some()) << 2;
    let mut body = vec![flags];
    body.extend(session.end_us.unwrap_or(0).to_le_bytes());
    for text in [
        Some(&session.name),
        Some(&session.host),
        session.shell.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        body.extend((text.len() as u64).to_le_bytes());
        body.extend(text.as_bytes());
    }
    body
}

fn decode_session(id: RecordId, start: i64, body: &[u8]) -> Option<Session> {
    let (&[flags], rest) = body.split_first_chunk::<1>()?;
    let (end, mut rest) = rest.split_first_chunk::<8>()?;
    let mut text = || -> Option<Arc<str>> {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (text, after) =
            after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        rest = after;
        std::str::from_utf8(text).ok().map(Arc::from)
    };
    let (name, host) = (text()?, text()?);
    let shell = if flags & 4 != 0 { Some(text()?) } else { None };
    let start_us = (flags & 1 != 0).then_some(start);
    let end_us = (flags & 2 != 0).then(|| i64::from_le_bytes(*end));
    Some(Session {
        id,
        name,
        host,
        shell,
        start_us,
        end_us,
    })
}
