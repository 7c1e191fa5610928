//! Forgetting: a tombstone removes its record, and the command's text with it if no other event has it.
//!
//! What must hold: afterwards the text of a command that nobody has any more is nowhere in the file: not in the tables, not in the
//! search index, not in free pages (`schema` has SQLite overwrite what it frees). The number of every removed record is kept in `erased`, so that the vault rewrites what holds it.
//!
//! What it deliberately does not do: write tombstones.

use rusqlite::{Connection, OptionalExtension};

use super::commands::{free_rank, rank};
use crate::history::error::HistoryError;
use crate::history::model::RecordId;
use crate::history::rows;

pub(super) struct Erasure<'c> {
    connection: &'c Connection,
    /// Whether a text is gone altogether.
    texts_gone: bool,
}

impl<'c> Erasure<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            texts_gone: false,
        }
    }

    /// Removes the record, if it is there.
    pub(super) fn erase(&mut self, target: RecordId) -> Result<bool, HistoryError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT seq, command FROM records WHERE rid = ?1 AND kind <> 4")?;
        let found: Option<(i64, Option<i64>)> = select
            .query_row([&target.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((seq, command)) = found else {
            return Ok(false);
        };
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM records WHERE seq = ?1")?
            .execute([seq])?;
        if deleted != 1 {
            return Err(rows::damaged("a record is not found under its number"));
        }
        self.connection
            .prepare_cached("DELETE FROM pins WHERE event = ?1")?
            .execute([&target.0[..]])?;
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO erased(seq) VALUES (?1)")?
            .execute([seq])?;
        if let Some(command) = command {
            self.release(command)?;
        }
        Ok(true)
    }

    /// Merges the search index, which only marks rows as deleted until then.
    pub(super) fn finish(self) -> Result<(), HistoryError> {
        if self.texts_gone {
            self.connection
                .execute("INSERT INTO search(search) VALUES ('optimize')", [])?;
        }
        Ok(())
    }

    fn release(&mut self, command: i64) -> Result<(), HistoryError> {
        let newest = "SELECT time, time_known FROM records WHERE command = ?1 AND kind = 1 ORDER BY time DESC LIMIT 1";
        let newest: Option<(i64, bool)> = self
            .connection
            .prepare_cached(newest)?
            .query_row([command], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let old: Option<i64> = self
            .connection
            .prepare_cached("SELECT rank FROM commands WHERE id = ?1")?
            .query_row([command], |row| row.get(0))?;
        self.connection
            .prepare_cached("DELETE FROM search WHERE rowid = ?1")?
            .execute([old])?;
        let Some((time_us, time_known)) = newest else {
            self.texts_gone = true;
            self.connection
                .prepare_cached("DELETE FROM commands WHERE id = ?1")?
                .execute([command])?;
            return Ok(());
        };
        self.connection
            .prepare_cached("UPDATE commands SET rank = NULL, uses = uses - 1 WHERE id = ?1")?
            .execute([command])?;
        let rank = free_rank(self.connection, rank(time_us, time_known))?;
        self.connection
            .prepare_cached("UPDATE commands SET rank = ?1 WHERE id = ?2")?
            .execute([rank, command])?;
        let list = "INSERT INTO search(rowid, text) SELECT rank, text FROM commands WHERE id = ?1";
        self.connection.prepare_cached(list)?.execute([command])?;
        Ok(())
    }
}
