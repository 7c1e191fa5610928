//! The local history: one SQLite database that records, finds and exchanges what was run.
//!
//! What must hold: every change is one transaction, durable when the call returns; a record is stored once and never changed
//! (but that of two moments at which it was forgotten the earlier holds); a forgotten record never comes back.
//!
//! What it deliberately does not do: print, read the environment, or know how records travel (see `replica`).

mod apply;
mod compare;
pub mod dates;
mod error;
pub(crate) mod exchange;
pub mod export;
pub(crate) mod feed;
pub mod find;
mod forget;
pub mod import;
pub mod model;
pub(crate) mod occurrences;
pub(crate) mod octets;
mod rescue;
mod rows;
mod schema;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

pub use apply::{Applied, ApplyOptions};
pub(crate) use apply::{Applier, apply_in};
pub(crate) use compare::{Indexes, Reliance};
pub(crate) use error::BROKEN_REMEDY;
pub use error::{HistoryError, HistoryErrorKind};
pub use rescue::Losses;
pub use rows::Numbered;

use model::{Record, Tombstone};

/// The database of a person's history on this machine.
pub struct History {
    connection: Connection,
    path: PathBuf,
    losses: Option<Losses>,
    indexes: Indexes,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Distinct commands.
    pub commands: u64,
    /// Sessions.
    pub sessions: u64,
    /// Events that are pinned now.
    pub pins: u64,
    /// Events that were forgotten.
    pub tombstones: u64,
    /// The start of the oldest dated event, in microseconds since the Unix epoch.
    pub oldest_us: Option<i64>,
    /// The start of the newest dated event, in microseconds since the Unix epoch.
    pub newest_us: Option<i64>,
}

/// What a check of the database found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Size of the database and its journal, in bytes.
    pub bytes: u64,
    /// Bytes in it that are free for new records.
    pub free_bytes: u64,
    /// How it keeps its journal: `wal`, or `truncate` on network file systems.
    pub journal: String,
    /// What is damaged; empty if all is well.
    pub problems: Vec<String>,
}

impl History {
    /// Opens the database, creating it if there is none.
    ///
    /// # Errors
    /// If the file cannot be opened, is no database, is damaged, or was written by a newer version. It is never deleted or replaced.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let connection = schema::open(path).map_err(|error| at_open(error, path))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            losses: None,
            indexes: Indexes::default(),
        })
    }

    /// Opens an existing database only for reading, as fast as possible.
    ///
    /// # Errors
    /// As [`History::open`]; [`HistoryErrorKind::NotFound`] if there is none.
    pub fn open_read_only(path: &Path) -> Result<Self, HistoryError> {
        let connection = schema::open_read_only(path).map_err(|error| at_open(error, path))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            losses: None,
            indexes: Indexes::default(),
        })
    }

    /// Opens an existing database so that state seems to be kept, and is forgotten with this value; records cannot be added. For work
    /// that notes what it found, where nothing may be written.
    ///
    /// # Errors
    /// As [`History::open_read_only`].
    pub fn open_to_try(path: &Path) -> Result<Self, HistoryError> {
        let history = Self::open_read_only(path)?;
        schema::shadow_state(&history.connection)?;
        Ok(history)
    }

    /// Makes a database in memory, for rehearsals and tests.
    ///
    /// # Errors
    /// If memory is short.
    pub fn in_memory() -> Result<Self, HistoryError> {
        Self::without_file(":memory:")
    }

    /// Makes a database in a file without a name, which goes with this value: for what may not fit into memory.
    fn scratch() -> Result<Self, HistoryError> {
        Self::without_file("")
    }

    fn without_file(name: &str) -> Result<Self, HistoryError> {
        Ok(Self {
            connection: schema::open_without_file(name)?,
            path: PathBuf::from(":memory:"),
            losses: None,
            indexes: Indexes::default(),
        })
    }

    /// What could not be read, if this was read from a damaged database.
    pub fn losses(&self) -> Option<&Losses> {
        self.losses.as_ref()
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins a transaction that writes. It waits for other writers.
    pub(crate) fn begin(&mut self) -> Result<Transaction<'_>, HistoryError> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// What is known of the indexes, for who adds something within a transaction.
    pub(crate) fn indexes(&self) -> Indexes {
        self.indexes.clone()
    }

    /// Makes sure that the indexes of ids say what the table says, once: for who relies on a record not being here.
    ///
    /// # Errors
    /// If one does not, or cannot be read.
    pub(crate) fn ensure_indexes(&self) -> Result<(), HistoryError> {
        self.indexes.ensure(&self.connection, Reliance::Ids)
    }

    /// Makes sure that all indexes say what their tables say, and that no row is out of its place, once: for who passes records on.
    ///
    /// # Errors
    /// If one does not, or cannot be read.
    pub(crate) fn ensure_all_indexes(&self) -> Result<(), HistoryError> {
        self.indexes.ensure(&self.connection, Reliance::All)
    }

    /// Adds records in one transaction.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    pub fn insert_all(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        options: ApplyOptions,
    ) -> Result<Applied, HistoryError> {
        self.insert_all_with(records, options, |_| Ok(()))
    }

    /// Adds records, and does what `also` does, in one transaction.
    pub(crate) fn insert_all_with(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        options: ApplyOptions,
        also: impl FnOnce(&Transaction<'_>) -> Result<(), HistoryError>,
    ) -> Result<Applied, HistoryError> {
        let indexes = self.indexes();
        let transaction = self.begin()?;
        let applied = apply_in(&transaction, records, options, indexes)?;
        also(&transaction)?;
        transaction.commit()?;
        if applied.erased > 0 {
            self.clean_journal();
        }
        Ok(applied)
    }

    /// Counts what there is.
    ///
    /// # Errors
    /// If the database fails.
    pub fn counts(&self) -> Result<Counts, HistoryError> {
        let number = |sql: &str| -> Result<u64, HistoryError> {
            Ok(self
                .connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))?
                .unsigned_abs())
        };
        let time = |end: &str| -> Result<Option<i64>, HistoryError> {
            let sql = format!(
                "SELECT time FROM records WHERE kind = 1 AND time_known ORDER BY time {end} LIMIT 1"
            );
            Ok(self
                .connection
                .query_row(&sql, [], |row| row.get(0))
                .optional()?)
        };
        let other = |kind: i64| {
            number(&format!(
                "SELECT count(*) FROM records WHERE kind = {kind} AND kind <> 1"
            ))
        };
        Ok(Counts {
            events: number("SELECT count(*) FROM records WHERE kind = 1")?,
            commands: number("SELECT count(*) FROM commands")?,
            sessions: other(rows::SESSION)?,
            pins: number(
                "SELECT count(*) FROM pins p WHERE p.pinned AND EXISTS (SELECT 1 FROM records r WHERE r.rid = p.event)",
            )?,
            tombstones: other(rows::TOMBSTONE)?,
            oldest_us: time("ASC")?,
            newest_us: time("DESC")?,
        })
    }

    /// Checks the database; reads all of it.
    ///
    /// # Errors
    /// If it cannot even be read. Damage that the check finds is in the answer.
    pub fn health(&self) -> Result<Health, HistoryError> {
        let pragma = |name: &str| -> Result<u64, HistoryError> {
            Ok(self
                .connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?
                .unsigned_abs())
        };
        let page = pragma("page_size")?;
        let journal = self
            .connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok(Health {
            bytes: self.bytes(),
            free_bytes: pragma("freelist_count")? * page,
            journal,
            problems: self.problems()?,
        })
    }

    /// Makes sure that the database is what was written, before a backup relies on it; reads all of it. Of what was rescued it is known what is missing.
    ///
    /// # Errors
    /// If it is damaged, or cannot be read.
    pub fn ensure_sound(&self) -> Result<(), HistoryError> {
        if self.losses.is_some() {
            return Ok(());
        }
        // What the tables and their indexes say is compared in a fifth of the time that SQLite takes for it; the rest is its.
        self.indexes.ensure(&self.connection, Reliance::All)?;
        let mut problems = self.found_by("quick_check")?;
        if problems.is_empty() {
            problems = self.altered_records()?;
        }
        match problems.first() {
            Some(problem) => Err(rows::damaged(problem)),
            None => Ok(()),
        }
    }

    /// What is damaged. The quick check would not compare an index with its table, and exports read times and commands by indexes; and of
    /// an index that has only some of the rows SQLite does not see that it has too many.
    fn problems(&self) -> Result<Vec<String>, HistoryError> {
        let mut problems = self.found_by("integrity_check")?;
        if problems.is_empty() {
            match self.ensure_all_indexes() {
                Err(error) if error.kind() == HistoryErrorKind::Broken => {
                    problems.push(error.cause());
                }
                compared => compared?,
            }
        }
        if problems.is_empty() {
            problems = self.altered_records()?;
        }
        Ok(problems)
    }

    /// What a check of SQLite's own finds.
    fn found_by(&self, check: &str) -> Result<Vec<String>, HistoryError> {
        let mut check = self.connection.prepare(&format!("PRAGMA {check}(20)"))?;
        let found = check
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<String>, _>>()?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// What changed unseen by SQLite, which has no checksums: texts that are not what their hash says, events without one, and what
    /// was forgotten.
    fn altered_records(&self) -> Result<Vec<String>, HistoryError> {
        let mut select = self.connection.prepare("SELECT text, hash FROM commands")?;
        let mut rows = select.query([])?;
        let mut altered = 0_u64;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().unwrap_or_default();
            altered += u64::from(!rows::is_as_stored(text, row.get(1)?));
        }
        let missing: u64 = self.connection.query_row(
            "SELECT count(*) FROM records NOT INDEXED WHERE kind = 1 AND (command IS NULL OR command NOT IN (SELECT id FROM commands NOT INDEXED))",
            [],
            |row| row.get::<_, i64>(0),
        )?.unsigned_abs();
        let without_text = self.events_without_a_text()?;
        let (unreadable, other_targets) = self.altered_others()?;
        let found = [
            (
                altered,
                "distinct commands that are not what they were when they were stored",
            ),
            (missing, "events whose command is missing"),
            (
                without_text,
                "events whose directory, machine, shell, session or actor is missing",
            ),
            (
                other_targets,
                "forgotten records that are not those that were forgotten",
            ),
            (unreadable, "records that cannot be read"),
        ];
        let found = found.into_iter().filter(|(count, _)| *count > 0);
        Ok(found
            .map(|(count, what)| format!("{count} {what}"))
            .collect())
    }

    /// How many records that are no events cannot be read, and how many tombstones name another record than they were made for.
    fn altered_others(&self) -> Result<(u64, u64), HistoryError> {
        let sql = "SELECT rid, kind, time, body FROM records NOT INDEXED WHERE kind <> 1";
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query([])?;
        let (mut unreadable, mut other_targets) = (0, 0);
        while let Some(row) = rows.next()? {
            let id = rows::record_id(row.get_ref(0)?.as_blob().unwrap_or_default())?;
            let body = row.get_ref(3)?.as_blob().unwrap_or_default();
            match rows::decode_body(row.get(1)?, id, row.get(2)?, body) {
                None => unreadable += 1,
                Some(Record::Tombstone(tombstone)) => {
                    other_targets += u64::from(Tombstone::id_for(tombstone.target) != id);
                }
                Some(_) => {}
            }
        }
        Ok((unreadable, other_targets))
    }

    /// How many events name a text by a number that no text has.
    fn events_without_a_text(&self) -> Result<u64, HistoryError> {
        let is_missing = |column: &str| {
            format!(
                "({column} IS NOT NULL AND {column} NOT IN (SELECT id FROM strings NOT INDEXED))"
            )
        };
        let columns = ["cwd", "host", "shell", "session", "actor"].map(is_missing);
        let sql = format!(
            "SELECT count(*) FROM records NOT INDEXED WHERE kind = 1 AND ({})",
            columns.join(" OR ")
        );
        let count = self
            .connection
            .query_row(&sql, [], |row| row.get::<_, i64>(0));
        Ok(count?.unsigned_abs())
    }

    /// Size of the database and its journal, in bytes.
    pub fn bytes(&self) -> u64 {
        ["", "-wal", "-journal"]
            .iter()
            .map(|suffix| {
                let mut name = self.path.clone().into_os_string();
                name.push(suffix);
                std::fs::metadata(name).map_or(0, |metadata| metadata.len())
            })
            .sum()
    }

    /// The row of a text in `strings`, if any record has it.
    fn string_id(&self, text: &str) -> Result<Option<i64>, HistoryError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id FROM strings WHERE text = ?1")?;
        Ok(select.query_row([text], |row| row.get(0)).optional()?)
    }

    /// Reads a value kept under `key`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn state_get(&self, key: &str) -> Result<Option<Vec<u8>>, HistoryError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT value FROM state WHERE key = ?1")?;
        Ok(select.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Keeps a value under `key`, or forgets it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn state_put(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), HistoryError> {
        put_state_in(&self.connection, key, value)
    }

    /// The keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub fn state_keys(&self, prefix: &str) -> Result<Vec<String>, HistoryError> {
        let sql = "SELECT key FROM state WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
        let mut select = self.connection.prepare_cached(sql)?;
        Ok(select
            .query_map([prefix], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    }

    /// Moves the journal into the database and empties it, so that nothing forgotten is left in it.
    fn clean_journal(&self) {
        // A reader may hold the journal; then the next writer empties it. What was asked for is durable already.
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// Keeps a value under `key`, or forgets it, within the caller's transaction.
pub(crate) fn put_state_in(
    connection: &Connection,
    key: &str,
    value: Option<&[u8]>,
) -> Result<(), HistoryError> {
    match value {
        Some(value) => connection
            .prepare_cached("INSERT OR REPLACE INTO state(key, value) VALUES (?1, ?2)")?
            .execute(params![key, value])?,
        None => connection
            .prepare_cached("DELETE FROM state WHERE key = ?1")?
            .execute([key])?,
    };
    Ok(())
}

fn at_open(error: HistoryError, path: &Path) -> HistoryError {
    error.at("open the history database", &error::shown(path))
}

#[cfg(test)]
mod tests;
