//! Short texts that repeat (hosts, directories, shells, sessions), each stored once; and a hasher for keys that are hashes.
//!
//! What must hold: a text has one row for ever, and a new one gets no number that a record names already: that record's own text is lost.
//!
//! What it deliberately does not do: commands (see `commands`).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use crate::history::compare::Indexes;
use crate::history::error::HistoryError;

/// So many texts are remembered; a history with more directories than this looks the others up.
const REMEMBERED_MAX: usize = 200_000;

/// Gives texts their row in `strings`.
pub(super) struct Strings<'c> {
    connection: &'c Connection,
    indexes: Indexes,
    select: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    known: HashMap<Arc<str>, i64>,
}

impl<'c> Strings<'c> {
    pub(super) fn new(connection: &'c Connection, indexes: Indexes) -> Result<Self, HistoryError> {
        Ok(Self {
            connection,
            indexes,
            select: connection.prepare_cached("SELECT id FROM strings WHERE text = ?1")?,
            insert: connection.prepare_cached("INSERT INTO strings(text) VALUES (?1)")?,
            known: HashMap::new(),
        })
    }

    pub(super) fn id(&mut self, text: Option<&Arc<str>>) -> Result<Option<i64>, HistoryError> {
        let Some(text) = text else { return Ok(None) };
        if let Some(id) = self.known.get(text) {
            return Ok(Some(*id));
        }
        let found = self
            .select
            .query_row([text.as_ref()], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                self.indexes.ensure_texts(self.connection)?;
                self.insert.insert([text.as_ref()])?
            }
        };
        if self.known.len() < REMEMBERED_MAX {
            self.known.insert(text.clone(), id);
        }
        Ok(Some(id))
    }
}

/// For keys whose bytes are a hash already: takes the last eight bytes as they are.
#[derive(Clone, Default)]
pub(crate) struct IdHasher(u64);

impl BuildHasher for IdHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*last);
        } else {
            bytes
                .iter()
                .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }

    // The length of a key is always the same, so it says nothing.
    fn write_usize(&mut self, _length: usize) {}
}
