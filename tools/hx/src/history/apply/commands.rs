//! The distinct commands and the full-text index over them.
//!
//! What must hold: after [`Commands::write`] every command that was used has a rank of its own that is not below the one its newest
//! use asks for, `search` has exactly one row for it under that rank, and `uses` counts its events.
//!
//! What it deliberately does not do: remove commands (see `erase`).

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::intern::IdHasher;
use crate::history::error::HistoryError;
use crate::history::rows;

/// Ranks from here on are of dated events; below are the ordinals of undated ones.
const DATED: i64 = 1 << 40;

/// The time that one rank stands for: a sixteenth of a second. Coarse ranks make a smaller index.
const RANK_US: i64 = 62_500;

/// So many changed commands are gathered at most before they are written.
const GATHERED_MAX: usize = 400_000;

/// So many ranks after the wished one are tried for a free one.
const PROBES_MAX: i64 = 64;

/// The rank that an event asks for its command.
pub(crate) fn rank(time_us: i64, time_known: bool) -> i64 {
    if time_known {
        DATED + (time_us / RANK_US).max(0)
    } else {
        time_us.clamp(0, DATED - 1)
    }
}

/// The 64 bits that find a command's row are the low half of this.
pub(crate) fn wide_hash(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

/// A command as this batch knows it.
struct Known {
    id: i64,
    /// The rank it has in the database.
    old: Option<i64>,
    /// The greatest rank its events of this batch ask for.
    wished: i64,
    uses: i64,
}

pub(super) struct Commands<'c> {
    connection: &'c Connection,
    indexed: bool,
    known: HashMap<u128, Known, IdHasher>,
    select: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    by_number: CachedStatement<'c>,
    /// The rows whose text was found to be sound.
    checked: HashSet<i64>,
}

impl<'c> Commands<'c> {
    pub(super) fn new(connection: &'c Connection, empty: bool) -> Result<Self, HistoryError> {
        Ok(Self {
            connection,
            indexed: !empty,
            known: HashMap::default(),
            select: connection
                .prepare_cached("SELECT id, rank FROM commands WHERE hash = ?1 AND text = ?2")?,
            insert: connection
                .prepare_cached("INSERT INTO commands(text, hash, uses) VALUES (?1, ?2, 0)")?,
            by_number: connection
                .prepare_cached("SELECT text, hash FROM commands WHERE id = ?1")?,
            checked: HashSet::new(),
        })
    }

    pub(super) fn indexes_exist(&mut self) {
        self.indexed = true;
    }

    /// Makes sure that what a known event ran can be read, before anybody is told that it is there.
    pub(super) fn check(&mut self, command: Option<i64>) -> Result<(), HistoryError> {
        let Some(command) = command else {
            return Err(rows::damaged("a command is missing"));
        };
        if self.checked.contains(&command) {
            return Ok(());
        }
        let is_sound = self
            .by_number
            .query_row([command], |row| {
                Ok(rows::is_as_stored(row.get_ref(0)?.as_str()?, row.get(1)?))
            })
            .optional()?
            .unwrap_or(false);
        if !is_sound {
            return Err(rows::damaged(
                "a command is missing, or not what it was when it was stored",
            ));
        }
        if self.checked.len() < GATHERED_MAX {
            self.checked.insert(command);
        }
        Ok(())
    }

    /// Whether so much is gathered that it should be written.
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= GATHERED_MAX
    }

    /// Notes an event of `text` and gives the command's row.
    pub(super) fn used(&mut self, text: &str, wished: i64) -> Result<i64, HistoryError> {
        let wide = wide_hash(text);
        if let Some(known) = self.known.get_mut(&wide) {
            known.uses += 1;
            known.wished = known.wished.max(wished);
            return Ok(known.id);
        }
        let hash = wide as i64;
        let found = if self.indexed {
            self.select
                .query_row(params![hash, text], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?
        } else {
            None
        };
        let (id, old) = match found {
            Some(found) => found,
            None => (self.insert.insert(params![text, hash])?, None),
        };
        self.known.insert(
            wide,
            Known {
                id,
                old,
                wished,
                uses: 1,
            },
        );
        Ok(id)
    }

    /// Writes what was gathered.
    pub(super) fn write(&mut self) -> Result<(), HistoryError> {
        let known = std::mem::take(&mut self.known);
        let (mut moving, staying): (Vec<Known>, Vec<Known>) = known
            .into_values()
            .partition(|known| known.old.is_none_or(|old| old < known.wished));
        let mut count = self
            .connection
            .prepare_cached("UPDATE commands SET uses = uses + ?1 WHERE id = ?2")?;
        for known in staying {
            count.execute([known.uses, known.id])?;
        }
        self.take_out(&mut moving)?;
        self.put_in(moving)
    }

    fn take_out(&self, moving: &mut [Known]) -> Result<(), HistoryError> {
        moving.sort_unstable_by_key(|known| known.old);
        let mut unlist = self
            .connection
            .prepare_cached("DELETE FROM search WHERE rowid = ?1")?;
        let mut unrank = self
            .connection
            .prepare_cached("UPDATE commands SET rank = NULL WHERE id = ?1")?;
        for known in moving {
            if let Some(old) = known.old {
                unlist.execute([old])?;
                unrank.execute([known.id])?;
            }
        }
        Ok(())
    }

    fn put_in(&self, mut moving: Vec<Known>) -> Result<(), HistoryError> {
        moving.sort_unstable_by_key(|known| (known.wished, known.id));
        let mut update = self
            .connection
            .prepare_cached("UPDATE commands SET rank = ?1, uses = uses + ?2 WHERE id = ?3")?;
        // Not `INSERT … SELECT`: its savepoint would make the index write out what it gathers, for every row.
        let mut select = self
            .connection
            .prepare_cached("SELECT text FROM commands WHERE id = ?1")?;
        let mut list = self
            .connection
            .prepare_cached("INSERT INTO search(rowid, text) VALUES (?1, ?2)")?;
        let mut last = i64::MIN;
        for known in moving {
            let wished = known.wished.max(last.saturating_add(1));
            last = if self.indexed {
                free_rank(self.connection, wished)?
            } else {
                wished
            };
            update.execute([last, known.uses, known.id])?;
            let mut found = select.query([known.id])?;
            if let Some(row) = found.next()? {
                list.execute(params![last, row.get_ref(0)?.as_str().unwrap_or_default()])?;
            }
        }
        Ok(())
    }
}

/// The first free rank from `wished` on; if many are taken, one above all others.
pub(super) fn free_rank(connection: &Connection, wished: i64) -> Result<i64, HistoryError> {
    let mut select = connection.prepare_cached("SELECT 1 FROM commands WHERE rank = ?1")?;
    for rank in wished..wished.saturating_add(PROBES_MAX) {
        if !select.exists([rank])? {
            return Ok(rank);
        }
    }
    let highest: i64 =
        connection.query_row("SELECT max(rank) FROM commands", [], |row| row.get(0))?;
    Ok(highest.max(wished) + 1)
}
