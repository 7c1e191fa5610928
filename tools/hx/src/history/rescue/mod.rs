//! What can still be read of a damaged database, as a history of its own.
//!
//! What must hold: a page that is damaged takes with it only what it held, whichever page it is; what was there and cannot be read is
//! counted, and it is said whether that count is all; the damaged file is not changed.
//!
//! What it deliberately does not do: mend the file, or rescue what this device knew of a vault. The vault tells that again.
//!
//! SQLite itself reads a table by way of its tree, so that a bad page near the root hides all below it. Here every page of the file is
//! looked at for itself. The rows of `records` and of `commands` are like no other table's, and a row of `commands` carries the hash of its
//! text, which it must have; the index of ids names the records that were there. `strings` and `vaults` have rows alike, and their indexes
//! too: the trees say whose a page is, as far as they can be followed. Whose a page is that none reaches is known only while one of the
//! two is whole; where it is not known, its rows are left out and counted.

mod cells;
mod pages;
mod trees;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use self::cells::{Rows, Value};
use self::pages::Pages;
use self::trees::{Holds, Trees};
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
    /// Texts that are there, but of which it cannot be told what they are: they are left out.
    pub unsure: u64,
}

/// The texts of directories, machines, shells and sessions, their index, and what has rows like theirs.
const STRINGS: (&str, &[&str]) = ("strings", &["vaults"]);
const STRINGS_INDEX: (&str, &[&str]) = (
    "sqlite_autoindex_strings_1",
    &["sqlite_autoindex_vaults_1", "search_config"],
);

impl Losses {
    /// Whether everything was read: then only what helps to find it is damaged.
    pub fn are_none(&self) -> bool {
        self.exact && self.missing == 0 && self.partial == 0 && self.unsure == 0
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
    unsure: u64,
}

impl History {
    /// Reads what can be read of the damaged database at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened, or nothing that hx wrote is found in it.
    pub fn rescue(path: &Path) -> Result<Self, HistoryError> {
        let pages = Pages::open(path).map_err(|error| HistoryError::io("read", path, error))?;
        let trees = Trees::read(&pages)?;
        let mut found = Found::default();
        for page in 1..=pages.count() {
            found.look_at(page, cells::rows(&pages, page), &trees);
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
            unsure: found.unsure,
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
    fn look_at(&mut self, page: u32, rows: Rows, trees: &Trees) {
        let holds = |(tree, alike): (&str, &[&str])| trees.holds(page, tree, alike);
        match rows {
            Rows::Table(rows) => {
                let are_strings = holds(STRINGS);
                for (number, row) in rows {
                    match row.len() {
                        2 => self.string(number, row, are_strings),
                        5 => self.command(number, row),
                        _ => {}
                    }
                }
            }
            Rows::Index(entries) => {
                let are_strings = match holds(STRINGS_INDEX) {
                    // The table has them all.
                    Holds::Unsure if trees.is_whole(STRINGS.0) => Holds::No,
                    other => other,
                };
                for entry in entries {
                    self.entry(entry, are_strings);
                }
            }
            Rows::Other => {}
        }
    }

    fn command(&mut self, number: i64, row: Vec<Value>) {
        let mut columns = row.into_iter();
        if let (Some(Value::Null), Some(Value::Text(text)), Some(Value::Int(hash))) =
            (columns.next(), columns.next(), columns.next())
            && rows::is_as_stored(&text, Some(hash))
        {
            self.commands.insert(number, Arc::from(text));
        }
    }

    fn string(&mut self, number: i64, row: Vec<Value>, holds: Holds) {
        let Ok([Value::Null, Value::Text(text)]) = <[Value; 2]>::try_from(row) else {
            return;
        };
        match holds {
            Holds::Yes => drop(self.strings.insert(number, Arc::from(text))),
            Holds::Unsure => self.unsure += 1,
            Holds::No => {}
        }
    }

    fn entry(&mut self, entry: Vec<Value>, are_strings: Holds) {
        let Ok([key, Value::Int(number)]) = <[Value; 2]>::try_from(entry) else {
            return;
        };
        match (key, are_strings) {
            (Value::Blob(id), _) => {
                if let Ok(id) = id.try_into() {
                    self.ids.insert(id);
                }
            }
            (Value::Text(text), Holds::Yes) => {
                self.indexed.insert(number, Arc::from(text));
            }
            (Value::Text(_), Holds::Unsure) => self.unsure += 1,
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
