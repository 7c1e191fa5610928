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
//! two is whole; where it is not known, its rows are left out and counted. Where a row and an index disagree, the record's id, which
//! follows from what it says, proves which is right (see `witness`).

mod cells;
mod pages;
mod trees;
mod witness;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use self::cells::{Rows, Value};
use self::pages::Pages;
use self::trees::{Holds, Trees};
use self::witness::{Id, Witness};
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
    /// Records that are there, but of which an index says another id, command or time, and nothing proves which is right.
    pub doubtful: u64,
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
        let wanting = self.missing + self.partial + self.unsure + self.doubtful;
        self.exact && wanting == 0
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
    ids: HashSet<Id>,
    /// Ids that an index has and that are another one with a changed byte.
    false_ids: HashSet<Id>,
    witness: Witness,
    partial: u64,
    unsure: u64,
    doubtful: u64,
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
        let indexes = history.indexes();
        let transaction = history.begin()?;
        let mut applier = Applier::new(&transaction, ApplyOptions::default(), indexes)?;
        for page in 1..=pages.count() {
            let Rows::Table(rows) = cells::rows(&pages, page) else {
                continue;
            };
            for (seq, row) in rows.into_iter().filter(|(_, row)| row.len() == 15) {
                let Some((id, record)) = found.record(seq, &row) else {
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
        let known = found.ids.difference(&found.false_ids);
        let missing = known.filter(|id| !read.contains(*id)).count() as u64;
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
            doubtful: found.doubtful,
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
        self.witness.note_use(&entry);
        let Ok([key, Value::Int(number)]) = <[Value; 2]>::try_from(entry) else {
            return;
        };
        match (key, are_strings) {
            (Value::Blob(id), _) => {
                if let Ok(id) = id.try_into() {
                    self.ids.insert(id);
                    self.witness.note_id(number, id);
                }
            }
            (Value::Text(text), Holds::Yes) => {
                self.indexed.insert(number, Arc::from(text));
            }
            (Value::Text(_), Holds::Unsure) => self.unsure += 1,
            _ => {}
        }
    }

    /// The id of a row of `records`, and the record if all that makes it is there.
    fn record(&mut self, seq: i64, row: &[Value]) -> Option<(Id, Option<Record>)> {
        let (Some(Value::Null), Some(Value::Blob(id))) = (row.first(), row.get(1)) else {
            return None;
        };
        let own = Id::try_from(id.as_slice()).ok()?;
        let (kind, time) = (number(row, 2)?, number(row, 5)?);
        let ids = self.witness.ids(seq, own);
        let found = match kind {
            rows::EVENT => self.event(seq, row, (&ids, time)),
            _ => other(row, (kind, time), &ids),
        };
        let Some(record) = found else {
            // What the index says is the truth sooner than what is left of a row that cannot be read.
            return Some((ids.last().copied().unwrap_or(own), None));
        };
        let id = record.id().0;
        let others = ids
            .into_iter()
            .filter(|other| witness::is_changed(*other, id));
        self.false_ids.extend(others);
        Some((id, Some(record)))
    }

    /// The event of a row; where an index says something else of it, what its id proves.
    fn event(&mut self, seq: i64, row: &[Value], (ids, time): (&[Id], i64)) -> Option<Record> {
        let uses = self.witness.uses(seq, (number(row, 4), time));
        let mut possible = Vec::new();
        for id in ids {
            for (command, time) in &uses {
                let text = command.and_then(|number| self.commands.get(&number).cloned());
                possible.extend(text.map(|text| self.event_of(row, *id, (text, *time))));
            }
        }
        if possible.is_empty() {
            return None;
        }
        let mut chosen = 0;
        if ids.len() > 1 || uses.len() > 1 {
            let proved = |(event, _): &(Event, bool)| self.witness.proves(event);
            let proved: Vec<bool> = possible.iter().map(proved).collect();
            chosen = proved.iter().position(|proved| *proved).unwrap_or(0);
            // An id is of a whole second: where two times lie within it, it proves neither.
            let is_settled = proved.into_iter().filter(|proved| *proved).count() == 1;
            self.doubtful += u64::from(!is_settled);
        }
        let (event, lacks) = possible.swap_remove(chosen);
        self.partial += u64::from(lacks);
        Some(Record::Event(event))
    }

    /// An event with these, and what else its row has; whether a text of it is lost.
    fn event_of(
        &self,
        row: &[Value],
        id: Id,
        (command, time_us): (Arc<str>, i64),
    ) -> (Event, bool) {
        let mut lacks = false;
        let mut text = |column: usize| {
            let number = number(row, column)?;
            let text = self.strings.get(&number).or(self.indexed.get(&number));
            lacks |= text.is_none();
            text.cloned()
        };
        let event = Event {
            id: RecordId(id),
            command,
            time_us,
            time_known: number(row, 6).is_some_and(|known| known != 0),
            duration_ms: number(row, 7),
            exit: number(row, 8).and_then(|exit| i32::try_from(exit).ok()),
            cwd: text(9),
            host: text(10).unwrap_or_else(|| Arc::from("")),
            shell: text(11),
            session: text(12),
            actor: text(13),
        };
        (event, lacks)
    }
}

/// A whole number in a row.
fn number(row: &[Value], column: usize) -> Option<i64> {
    match row.get(column) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

/// The record of a row that is no event, under the id that follows from what it says. What was forgotten is known by that alone, so that
/// one whose target changed is lost.
fn other(row: &[Value], (kind, time): (i64, i64), ids: &[Id]) -> Option<Record> {
    let body = match row.get(14) {
        Some(Value::Blob(body)) => body.as_slice(),
        _ => &[],
    };
    let under = |id: &Id| rows::decode_body(kind, RecordId(*id), time, body);
    let possible: Vec<Record> = ids.iter().filter_map(under).collect();
    let proved = possible.iter().find(|record| witness::is_proved(record));
    let own = possible
        .first()
        .filter(|record| !matches!(record, Record::Tombstone(_)));
    proved.or(own).cloned()
}

#[cfg(test)]
mod tests;
