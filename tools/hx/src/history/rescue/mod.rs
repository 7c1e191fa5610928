//! What can still be read of a damaged database, as a history of its own.
//!
//! What must hold: a page that is damaged takes with it only what it held, whichever page it is; what was there and cannot be read is
//! counted, and it is said whether that count is all; the damaged file is not changed.
//!
//! What it deliberately does not do: mend the file, or rescue what this device knew of a vault. The vault tells that again.
//!
//! SQLite itself reads a table by way of its tree, so that a bad page near the root hides all below it. Here every page of the file is
//! looked at for itself: what rows a page has says whose they are, for no two tables have columns alike. A row of `commands` carries the
//! hash of its text, which it must have; the index of ids names the records that were there.

mod cells;
mod pages;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use self::cells::{Rows, Value};
use self::pages::Pages;
use super::apply::wide_hash;
use super::error::{HistoryError, HistoryErrorKind};
use super::model::{Event, Record, RecordId};
use super::{Applier, ApplyOptions, History, rows, schema};

/// What a rescue could not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Losses {
    /// Records that were read.
    pub read: u64,
    /// Records that were there, as the index of ids or what is left of their rows says, and cannot be read.
    pub missing: u64,
    /// Whether there can be no others: the table, or the index of its ids, was read to its end.
    pub exact: bool,
    /// Commands that are there, but without their directory, machine, shell or session.
    pub partial: u64,
}

impl Losses {
    /// Whether everything was read: then only what helps to find it is damaged.
    pub fn are_none(&self) -> bool {
        self.exact && self.missing == 0 && self.partial == 0
    }
}

/// What the records refer to, and which there were.
#[derive(Default)]
struct Found {
    commands: HashMap<i64, Arc<str>>,
    strings: HashMap<i64, Arc<str>>,
    /// The texts of `strings` after their index; used where the table's own row is lost.
    indexed: HashMap<i64, Arc<str>>,
    /// Every record that is known of.
    ids: HashSet<[u8; 16]>,
    partial: u64,
}

impl History {
    /// Reads what can be read of the damaged database at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened, or nothing that hx wrote is found in it.
    pub fn rescue(path: &Path) -> Result<Self, HistoryError> {
        let pages = Pages::open(path).map_err(|error| HistoryError::io("read", path, error))?;
        let mut found = Found::default();
        for page in 1..=pages.count() {
            found.look_at(cells::rows(&pages, page));
        }
        let mut history = Self::scratch()?;
        let mut read = HashSet::new();
        let transaction = history.begin()?;
        let mut applier = Applier::new(&transaction, ApplyOptions::default())?;
        for page in 1..=pages.count() {
            let Rows::Table(rows) = cells::rows(&pages, page) else {
                continue;
            };
            for (_, row) in rows.into_iter().filter(|(_, row)| row.len() == 15) {
                let Some((id, record)) = found.record(&row) else {
                    continue;
                };
                found.ids.insert(id);
                if let Some(record) = record.filter(|_| read.insert(id)) {
                    applier.add(record)?;
                }
            }
        }
        applier.finish()?;
        transaction.commit()?;
        let missing = found.ids.difference(&read).count() as u64;
        if read.is_empty() {
            return Err(HistoryError::new(
                HistoryErrorKind::Broken,
                format!("cannot read anything of {}", path.display()),
                "no page of it holds a record of hx",
            ));
        }
        history.losses = Some(Losses {
            read: read.len() as u64,
            missing,
            exact: is_known_whole(path),
            partial: found.partial,
        });
        Ok(history)
    }
}

/// Whether SQLite reads the table of records, or the index of their ids, from one end to the other.
fn is_known_whole(path: &Path) -> bool {
    let Ok(connection) = schema::open_read_only(path) else {
        return false;
    };
    ["NOT INDEXED", "INDEXED BY records_rid"].iter().any(|way| {
        let sql = format!("SELECT count(rid) FROM records {way}");
        connection
            .query_row(&sql, [], |row| row.get::<_, i64>(0))
            .is_ok()
    })
}

impl Found {
    /// Notes what a page tells of texts and ids.
    fn look_at(&mut self, rows: Rows) {
        match rows {
            Rows::Table(rows) => {
                for (number, row) in rows {
                    self.text(number, row);
                }
            }
            Rows::Index(entries) => entries.into_iter().for_each(|entry| self.entry(entry)),
            Rows::Other => {}
        }
    }

    fn text(&mut self, number: i64, row: Vec<Value>) {
        let mut columns = row.into_iter();
        let (Some(Value::Null), Some(Value::Text(text))) = (columns.next(), columns.next()) else {
            return;
        };
        match (columns.next(), columns.count()) {
            (None, _) => drop(self.strings.insert(number, Arc::from(text))),
            (Some(Value::Int(hash)), 2) if hash == wide_hash(&text) as i64 => {
                self.commands.insert(number, Arc::from(text));
            }
            _ => {}
        }
    }

    fn entry(&mut self, entry: Vec<Value>) {
        let Ok([key, number]) = <[Value; 2]>::try_from(entry) else {
            return;
        };
        match (key, number) {
            (Value::Blob(id), Value::Int(_)) => {
                if let Ok(id) = id.try_into() {
                    self.ids.insert(id);
                }
            }
            // Two small tables have entries of this kind too: one names vaults, the other the version of the search's tables.
            (Value::Text(text), Value::Int(number))
                if RecordId::from_hex(&text).is_none() && text != "version" =>
            {
                self.indexed.insert(number, Arc::from(text));
            }
            _ => {}
        }
    }

    /// The id in a row of `records`, and the record if all that makes it is there.
    fn record(&mut self, row: &[Value]) -> Option<([u8; 16], Option<Record>)> {
        let number = |column: usize| match row.get(column) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        };
        let (Some(Value::Null), Some(Value::Blob(id))) = (row.first(), row.get(1)) else {
            return None;
        };
        let id = <[u8; 16]>::try_from(id.as_slice()).ok()?;
        let (kind, time) = (number(2)?, number(5)?);
        if kind != rows::EVENT {
            let body = match row.get(14) {
                Some(Value::Blob(body)) => body.as_slice(),
                _ => &[],
            };
            return Some((id, rows::decode_body(kind, RecordId(id), time, body)));
        }
        let Some(command) = number(4).and_then(|number| self.commands.get(&number).cloned()) else {
            return Some((id, None));
        };
        let mut lacks = false;
        let mut text = |column: usize| {
            let number = number(column)?;
            let text = self.strings.get(&number).or(self.indexed.get(&number));
            lacks |= text.is_none();
            text.cloned()
        };
        let event = Event {
            id: RecordId(id),
            command,
            time_us: time,
            time_known: number(6)? != 0,
            duration_ms: number(7),
            exit: number(8).and_then(|exit| i32::try_from(exit).ok()),
            cwd: text(9),
            host: text(10).unwrap_or_else(|| Arc::from("")),
            shell: text(11),
            session: text(12),
            actor: text(13),
        };
        self.partial += u64::from(lacks);
        Some((id, Some(Record::Event(event))))
    }
}

#[cfg(test)]
mod tests;
