//! What the vault's side reads and notes: records by number, where they came from, and which were erased.
//!
//! What must hold: numbers rise for ever and are never given twice, whatever is deleted or renumbered.
//!
//! What it deliberately does not do: know vaults beyond an alias.

use rusqlite::{Connection, OptionalExtension, params};

use super::History;
use super::error::HistoryError;
use super::model::{Record, RecordId, Tombstone};
use super::rows::{self, Numbered};

impl History {
    /// The highest number given so far; 0 if none.
    ///
    /// # Errors
    /// If the database fails.
    pub fn head(&self) -> Result<i64, HistoryError> {
        head(self.connection())
    }

    /// The records numbered `after < seq <= upto`, in order, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn read_records(
        &self,
        after: i64,
        upto: i64,
        limit: usize,
    ) -> Result<Vec<Numbered>, HistoryError> {
        let mut records = Vec::new();
        if limit > 0 {
            self.for_each_record(after, upto, |record| {
                records.push(record);
                Ok(records.len() < limit)
            })?;
        }
        Ok(records)
    }

    /// Calls `each` for the records numbered `after < seq <= upto`, in order, until it returns false.
    ///
    /// # Errors
    /// If the database fails, or `each` does.
    pub fn for_each_record(
        &self,
        after: i64,
        upto: i64,
        each: impl FnMut(Numbered) -> Result<bool, HistoryError>,
    ) -> Result<(), HistoryError> {
        rows::for_each(self.connection(), (after, upto), each)
    }

    /// The records numbered `first..=last` that were not learnt from the vault `alias`, in order, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn read_own(
        &self,
        alias: i64,
        (first, last): (i64, i64),
        limit: usize,
    ) -> Result<Vec<(i64, Record)>, HistoryError> {
        let sql = format!(
            "SELECT {} FROM records r LEFT JOIN commands c ON c.id = r.command
             WHERE r.seq >= ?1 AND r.seq <= ?2 AND r.src IS NOT ?3 ORDER BY r.seq LIMIT ?4",
            rows::COLUMNS
        );
        let mut reader = rows::Reader::new(self.connection())?;
        let mut select = self.connection().prepare_cached(&sql)?;
        let mut found = select.query(params![
            first,
            last,
            alias,
            i64::try_from(limit).unwrap_or(i64::MAX)
        ])?;
        let mut records = Vec::new();
        while let Some(row) = found.next()? {
            let (seq, _, record) = reader.record(row)?;
            records.push((seq, record));
        }
        Ok(records)
    }

    /// How many records numbered above `after` were not learnt from the vault `alias`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn count_own(&self, alias: i64, after: i64) -> Result<u64, HistoryError> {
        let mut select = self
            .connection()
            .prepare_cached("SELECT count(*) FROM records WHERE seq > ?1 AND src IS NOT ?2")?;
        let count: i64 = select.query_row([after, alias], |row| row.get(0))?;
        let head = self.head()?;
        if count == 0 && head > after && !self.has_number(head)? {
            // The newest record is never taken away: one that is not under its number may be one that is to be counted.
            self.ensure_all_indexes()?;
        }
        Ok(count.unsigned_abs())
    }

    fn has_number(&self, seq: i64) -> Result<bool, HistoryError> {
        let sql = "SELECT 1 FROM records WHERE seq = ?1";
        Ok(self.connection().prepare_cached(sql)?.exists([seq])?)
    }

    /// The alias of a vault, given on first sight.
    ///
    /// # Errors
    /// If the database fails.
    pub fn vault_alias(&mut self, vault: &str) -> Result<i64, HistoryError> {
        if let Some(alias) = self.known_vault_alias(vault)? {
            return Ok(alias);
        }
        self.connection()
            .execute("INSERT OR IGNORE INTO vaults(vault) VALUES (?1)", [vault])?;
        let select = "SELECT alias FROM vaults WHERE vault = ?1";
        Ok(self
            .connection()
            .query_row(select, [vault], |row| row.get(0))?)
    }

    /// The alias of a vault that was seen before; none otherwise. Writes nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub fn known_vault_alias(&self, vault: &str) -> Result<Option<i64>, HistoryError> {
        let select = "SELECT alias FROM vaults WHERE vault = ?1";
        Ok(self
            .connection()
            .query_row(select, [vault], |row| row.get(0))
            .optional()?)
    }

    /// The numbers of records that tombstones removed and that the vault `alias` has not dealt with yet, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub fn erased(&self, alias: i64) -> Result<Vec<i64>, HistoryError> {
        let mut select = self.connection().prepare_cached(
            "SELECT seq FROM erased WHERE seq NOT IN (SELECT seq FROM erased_settled WHERE vault = ?1) ORDER BY seq",
        )?;
        Ok(select
            .query_map([alias], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    }

    /// Whether the record was forgotten.
    ///
    /// # Errors
    /// If the database fails.
    pub fn is_forgotten(&self, id: RecordId) -> Result<bool, HistoryError> {
        self.holds(Tombstone::id_for(id))
    }

    /// Whether a record is here.
    ///
    /// # Errors
    /// If the database fails.
    pub fn holds(&self, id: RecordId) -> Result<bool, HistoryError> {
        let mut select = self
            .connection()
            .prepare_cached("SELECT 1 FROM records WHERE rid = ?1")?;
        Ok(select.exists([&id.0[..]])?)
    }
}

/// Notes that the vault `alias` has dealt with these erased numbers, within the caller's transaction. Another vault still has to.
pub(crate) fn settle_erased_in(
    connection: &Connection,
    alias: i64,
    numbers: &[i64],
) -> Result<(), HistoryError> {
    let sql = "INSERT OR IGNORE INTO erased_settled(vault, seq) VALUES (?1, ?2)";
    let mut insert = connection.prepare_cached(sql)?;
    for number in numbers {
        insert.execute([alias, *number])?;
    }
    Ok(())
}

/// Notes that nothing has these numbers any more, so that every vault rewrites what may hold them, within the caller's transaction.
pub(crate) fn note_erased_in(connection: &Connection, numbers: &[i64]) -> Result<(), HistoryError> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO erased(seq) VALUES (?1)")?;
    for number in numbers {
        insert.execute([*number])?;
    }
    Ok(())
}

/// A record that may be given a new number.
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) id: RecordId,
    /// The alias of the vault that it was last learnt from.
    pub(crate) learnt_from: Option<i64>,
}

/// Gives every record that `wanted` picks a new number and notes it as born here, within
/// the caller's transaction; says how many.
pub(crate) fn republish_in(
    connection: &Connection,
    mut wanted: impl FnMut(&Candidate) -> bool,
) -> Result<u64, HistoryError> {
    let first = head(connection)?;
    let mut next = first;
    let mut select =
        connection.prepare("SELECT seq, rid, src FROM records WHERE seq <= ?1 ORDER BY seq")?;
    let mut picked = Vec::new();
    let mut found = select.query([first])?;
    while let Some(row) = found.next()? {
        let candidate = Candidate {
            seq: row.get(0)?,
            id: rows::record_id(row.get_ref(1)?.as_blob().unwrap_or_default())?,
            learnt_from: row.get(2)?,
        };
        if wanted(&candidate) {
            picked.push(candidate.seq);
        }
    }
    let mut update =
        connection.prepare_cached("UPDATE records SET seq = ?1, src = NULL WHERE seq = ?2")?;
    for seq in picked {
        next += 1;
        update.execute([next, seq])?;
    }
    // An update does not move the counter, and a number must not be given again after its row is gone.
    connection.execute(
        "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'records' AND seq < ?1",
        [next],
    )?;
    Ok((next - first).unsigned_abs())
}

fn head(connection: &Connection) -> Result<i64, HistoryError> {
    let mut select =
        connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'records'")?;
    Ok(select
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}
