//! Whether the indexes of the database say what its tables say: SQLite has no checksums, and believes an index in which a bit changed.
//!
//! What must hold: after [`Indexes::ensure`] every lookup through an index that was asked for finds what the table has, and nothing
//! else; an index is compared once at most as long as the database is open, and only where something hangs on a lookup.
//!
//! What it deliberately does not do: compare before each search (`find` shows what it finds), look into the full-text index, mend
//! anything, or look at what no index has. `PRAGMA integrity_check` and the hashes of texts do (see `History::health`), in several
//! times the time.
//!
//! Each table is read once from end to end by its row numbers, and each of its indexes once in its own order. The entries that the rows
//! ask for and those that are there must have the same sum, which does not depend on their order; and an index's own must lie in order,
//! or a lookup goes astray though all are there. What is missed by a wrong path within a table SQLite itself calls damage when an index
//! leads there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::error::HistoryError;
use super::rows;

/// What hangs on the indexes; each has those before it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Reliance {
    /// Whether a record is here, or was forgotten: what a pull adds goes by that.
    Ids = 1,
    /// Whether a command has another use: what is forgotten goes by that.
    Uses = 2,
    /// Everything: how often a text without a time is here, which texts are stored already, and what an export counts.
    All = 3,
}

/// A table and what is looked up in it by way of an index.
struct Table {
    name: &'static str,
    /// The number of a row, and the columns that its indexes have or depend on.
    columns: &'static [&'static str],
    indexes: &'static [Index],
}

/// An index: its columns in their order, by their place in the table's list, and which rows it has.
struct Index {
    name: &'static str,
    columns: &'static [usize],
    rows: Which,
    reliance: Reliance,
}

/// Which rows of a table an index has.
#[derive(Clone, Copy)]
enum Which {
    Every,
    Events,
    Failures,
    Others,
}

/// Where the one column stands that may have bytes, in each table that has one.
const BYTES: usize = 1;

/// Where a record's kind and exit status stand in the list of its table's columns.
const KIND: usize = 2;
const EXIT: usize = 5;

const TABLES: &[Table] = &[
    Table {
        name: "records",
        columns: &["seq", "rid", "kind", "command", "time", "exit"],
        indexes: &[
            index("records_rid", &[1], Which::Every, Reliance::Ids),
            index("records_other", &[2], Which::Others, Reliance::Ids),
            index("records_command", &[3, 4], Which::Events, Reliance::Uses),
            index("records_failed", &[3, 4], Which::Failures, Reliance::All),
            index("records_time", &[4], Which::Events, Reliance::All),
        ],
    },
    Table {
        name: "strings",
        columns: &["id", "text"],
        indexes: &[index(
            "sqlite_autoindex_strings_1",
            &[1],
            Which::Every,
            Reliance::Ids,
        )],
    },
    Table {
        name: "vaults",
        columns: &["alias", "vault"],
        indexes: &[index(
            "sqlite_autoindex_vaults_1",
            &[1],
            Which::Every,
            Reliance::Ids,
        )],
    },
    Table {
        name: "commands",
        columns: &["id", "hash", "rank"],
        indexes: &[
            index("commands_hash", &[1], Which::Every, Reliance::All),
            index("commands_rank", &[2], Which::Every, Reliance::All),
        ],
    },
];

const fn index(
    name: &'static str,
    columns: &'static [usize],
    rows: Which,
    reliance: Reliance,
) -> Index {
    Index {
        name,
        columns,
        rows,
        reliance,
    }
}

/// What is known of a database's indexes. Clones know the same.
#[derive(Clone, Default)]
pub(crate) struct Indexes {
    /// The greatest [`Reliance`] that they were found to bear.
    bear: Arc<AtomicU8>,
    /// Whether no record names a text by a number that is still to be given.
    are_texts_numbered: Arc<AtomicBool>,
}

impl Indexes {
    /// Notes that this process makes them all, from nothing.
    pub(crate) fn trust(&self) {
        self.bear.store(Reliance::All as u8, Ordering::Relaxed);
        self.are_texts_numbered.store(true, Ordering::Relaxed);
    }

    /// Makes sure that no record names a directory, machine, shell or session by a number that the next new text would get: it would be
    /// taken for that record's.
    ///
    /// # Errors
    /// If one does, or the table cannot be read.
    pub(crate) fn ensure_texts(&self, connection: &Connection) -> Result<(), HistoryError> {
        if self.are_texts_numbered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM records NOT INDEXED, (SELECT ifnull(max(id), 0) AS last FROM strings)
                   WHERE kind = 1 AND (cwd > last OR host > last OR shell > last OR session > last OR actor > last))";
        if connection.query_row(sql, [], |row| row.get(0))? {
            return Err(rows::damaged(
                "the directory, machine, shell, session or actor of a command is missing",
            ));
        }
        self.are_texts_numbered.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that the indexes that `reliance` needs say what their tables say.
    ///
    /// # Errors
    /// If one does not, or cannot be read.
    pub(crate) fn ensure(
        &self,
        connection: &Connection,
        reliance: Reliance,
    ) -> Result<(), HistoryError> {
        let borne = self.bear.load(Ordering::Relaxed);
        if borne >= reliance as u8 {
            return Ok(());
        }
        let needed = |index: &Index| index.reliance <= reliance && index.reliance as u8 > borne;
        match first_liar(connection, needed)? {
            Some(name) => Err(lies(name)),
            None => {
                self.bear.store(reliance as u8, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

fn lies(name: &str) -> HistoryError {
    rows::damaged(&format!(
        "its index {name} does not say what its table says, so that it cannot be told what is there already and what was forgotten"
    ))
}

/// The first of the needed indexes (or a table whose rows are not in order) that does not agree with its table.
fn first_liar(
    connection: &Connection,
    needed: impl Fn(&Index) -> bool,
) -> Result<Option<&'static str>, HistoryError> {
    let mut select =
        connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1")?;
    for table in TABLES {
        let mut indexes = Vec::new();
        for index in table.indexes.iter().filter(|index| needed(index)) {
            // A database that an older hx wrote may lack one until it is opened for writing: that one misleads nobody.
            if select.exists([index.name])? {
                indexes.push(index);
            }
        }
        if indexes.is_empty() {
            continue;
        }
        let Some(asked) = table.asked(connection, &indexes)? else {
            return Ok(Some(table.name));
        };
        for (index, asked) in indexes.into_iter().zip(asked) {
            if index.found(connection, table)? != Some(asked) {
                return Ok(Some(index.name));
            }
        }
    }
    Ok(None)
}

impl Table {
    /// The sum of the entries that each index should have; none if the rows do not lie in the order of their numbers.
    fn asked(
        &self,
        connection: &Connection,
        indexes: &[&Index],
    ) -> Result<Option<Vec<Sum>>, HistoryError> {
        let columns = self.columns.join(", ");
        let sql = format!("SELECT {columns} FROM {} NOT INDEXED", self.name);
        let mut select = connection.prepare(&sql)?;
        let mut found = select.query([])?;
        let mut sums = vec![Sum::default(); indexes.len()];
        // The first number that SQLite gives is 1.
        let (mut entry, mut last) = (Entry::default(), Some(0));
        while let Some(row) = found.next()? {
            entry.read(row, self.columns.len())?;
            if entry.numbers[0] <= last {
                return Ok(None);
            }
            last = entry.numbers[0];
            for (index, sum) in indexes.iter().zip(&mut sums) {
                if index.rows.has(&entry) {
                    let bytes = match index.columns.contains(&BYTES) {
                        true => entry.bytes.as_slice(),
                        false => &[],
                    };
                    let numbers = index.columns.iter().chain(&[0]);
                    sum.add(bytes, numbers.map(|place| entry.numbers[*place]));
                }
            }
        }
        Ok(Some(sums))
    }
}

impl Index {
    /// The question for all its entries. Without an order of its own SQLite walks the index that it is told to use from end to end.
    fn question(&self, table: &Table) -> String {
        let columns = self.columns.iter().chain(&[0]);
        let columns: Vec<&str> = columns.map(|place| table.columns[*place]).collect();
        format!(
            "SELECT {} FROM {} INDEXED BY {} WHERE {}",
            columns.join(", "),
            table.name,
            self.name,
            self.rows.condition()
        )
    }

    /// The sum of the entries that are there; none if they are not in order.
    fn found(&self, connection: &Connection, table: &Table) -> Result<Option<Sum>, HistoryError> {
        let mut select = connection.prepare(&self.question(table))?;
        let mut found = select.query([])?;
        let mut sum = Sum::default();
        let (mut entry, mut before) = (Entry::default(), Entry::default());
        while let Some(row) = found.next()? {
            entry.read(row, self.columns.len() + 1)?;
            if sum.count > 0 && entry <= before {
                return Ok(None);
            }
            sum.add(&entry.bytes, entry.numbers.iter().copied());
            std::mem::swap(&mut entry, &mut before);
        }
        Ok(Some(sum))
    }
}

impl Which {
    fn condition(self) -> &'static str {
        match self {
            Self::Every => "1",
            Self::Events => "kind = 1",
            Self::Failures => "kind = 1 AND exit <> 0",
            Self::Others => "kind <> 1",
        }
    }

    /// Whether the index has this row of the table.
    fn has(self, row: &Entry) -> bool {
        let is_event = || row.numbers[KIND] == Some(rows::EVENT);
        match self {
            Self::Every => true,
            Self::Events => is_event(),
            Self::Failures => is_event() && row.numbers[EXIT].is_some_and(|exit| exit != 0),
            Self::Others => !is_event(),
        }
    }
}

/// A row, or an entry of an index, ordered as SQLite orders the latter: at most one column has bytes, and of an index that is the first.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    bytes: Vec<u8>,
    /// The numbers in the columns; none where there is no value, which comes before all others, and where there are bytes.
    numbers: Vec<Option<i64>>,
}

impl Entry {
    /// Takes the first `count` columns of a row.
    fn read(&mut self, row: &Row<'_>, count: usize) -> Result<(), HistoryError> {
        self.bytes.clear();
        self.numbers.clear();
        for column in 0..count {
            self.numbers.push(match row.get_ref(column)? {
                ValueRef::Null => None,
                ValueRef::Integer(number) => Some(number),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    self.bytes.extend_from_slice(bytes);
                    None
                }
                ValueRef::Real(_) => return Err(rows::damaged("a number has a fraction")),
            });
        }
        Ok(())
    }
}

/// How many entries there are, and a sum over them that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8], numbers: impl Iterator<Item = Option<i64>>) {
        let mut hash = bytes.len() as u64;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = mixed(hash, u64::from_le_bytes(word));
        }
        for number in numbers {
            // A step more tells a number from none.
            let step = u64::from(number.is_some());
            hash = mixed(hash.wrapping_add(step), number.unwrap_or(0) as u64);
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

/// Puts a word into a hash so that each bit of either changes about half of the bits. It is chance that is to be met, not malice.
fn mixed(hash: u64, word: u64) -> u64 {
    let mut mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::schema;

    #[test]
    fn every_index_of_a_new_database_is_compared() {
        let connection = schema::open_without_file(":memory:").expect("opens");
        let mut select = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name NOT LIKE 'search%' ORDER BY name")
            .expect("a query");
        let there: Vec<String> = select
            .query_map([], |row| row.get(0))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("names");
        let mut compared: Vec<&str> = TABLES
            .iter()
            .flat_map(|table| table.indexes)
            .map(|index| index.name)
            .collect();
        compared.sort_unstable();
        // Tables without row numbers are their own index, and such a one has the name of an index.
        let there: Vec<&str> = there
            .iter()
            .map(String::as_str)
            .filter(|name| {
                !["state", "pins", "erased_settled"]
                    .iter()
                    .any(|table| name.ends_with(&format!("{table}_1")))
            })
            .collect();
        assert_eq!(there, compared);
        Indexes::default()
            .ensure(&connection, Reliance::All)
            .expect("they agree");
    }

    #[test]
    fn no_table_is_looked_into_for_each_entry_of_an_index() {
        let connection = schema::open_without_file(":memory:").expect("opens");
        for table in TABLES {
            for index in table.indexes {
                let sql = format!("EXPLAIN QUERY PLAN {}", index.question(table));
                let plan: String = connection
                    .query_row(&sql, [], |row| row.get(3))
                    .expect("a plan");
                // That of failures asks the table for the status, and has few entries.
                let is_enough = plan.contains("COVERING INDEX") || index.name == "records_failed";
                assert!(is_enough, "{}: {plan}", index.name);
            }
        }
    }
}
