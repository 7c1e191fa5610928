//! The files without times that were imported: how many entries each had, and a hash over all of them.
//!
//! What must hold: a file that was imported is known again, and so is one that it is the beginning of; what is remembered is written
//! in the transaction of the import, so that it is never ahead of the records.
//!
//! What it deliberately does not do: remember names of files (they are moved and copied), or texts. What is forgotten here costs only
//! certainty: see `align`.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::Shell;
use super::align::{Origin, mix};
use crate::history::error::HistoryError;
use crate::history::put_state_in;

/// So many files of a host and shell are remembered, the latest.
const FILES_MAX: usize = 256;

pub(super) struct Seen {
    key: String,
    /// Number of entries, and hash.
    files: Vec<(u64, u64)>,
}

impl Seen {
    pub(super) fn read(
        connection: &Connection,
        host: &str,
        shell: Shell,
    ) -> Result<Self, HistoryError> {
        let key = format!("imported/{}/{host}", shell.as_str());
        let value: Option<Vec<u8>> = connection
            .query_row("SELECT value FROM state WHERE key = ?1", [&key], |row| {
                row.get(0)
            })
            .optional()?;
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        let files = value.unwrap_or_default();
        let files = files.chunks_exact(16);
        Ok(Self {
            key,
            files: files
                .map(|pair| (number(&pair[..8]), number(&pair[8..])))
                .collect(),
        })
    }

    /// How much of a file is a file that was imported; and notes this one.
    pub(super) fn origin(&mut self, file: &[u64]) -> Origin {
        let mut known: HashMap<u64, Vec<u64>> = HashMap::new();
        for (length, hash) in &self.files {
            known.entry(*length).or_default().push(*hash);
        }
        let (mut hash, mut origin) = (0, Origin::Unknown);
        for (index, entry) in file.iter().enumerate() {
            hash = mix(hash, *entry);
            let length = index + 1;
            if known
                .get(&(length as u64))
                .is_some_and(|known| known.contains(&hash))
            {
                origin = Origin::File(length);
            }
        }
        let this = (file.len() as u64, hash);
        self.files.retain(|other| *other != this);
        self.files.push(this);
        let surplus = self.files.len().saturating_sub(FILES_MAX);
        self.files.drain(..surplus);
        origin
    }

    pub(super) fn write(&self, connection: &Connection) -> Result<(), HistoryError> {
        let numbers = self
            .files
            .iter()
            .flat_map(|(length, hash)| [*length, *hash]);
        let value: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        put_state_in(connection, &self.key, Some(&value))
    }
}
