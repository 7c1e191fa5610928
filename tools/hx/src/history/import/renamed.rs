//! Whether a file's commands are here already under the name of another machine: then this one was renamed.
//!
//! What must hold: nothing is changed; a machine that has commands under its present name is not asked about.
//!
//! What it deliberately does not do: decide. Two machines can share a history file, and then both are right.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::detect::{self, Kind, Sample};
use super::entry::Item;
use super::{ImportOptions, Input, sample, shells};
use crate::history::History;
use crate::history::apply::wide_hash;
use crate::history::error::HistoryError;

/// So many entries are looked at.
const ENTRIES_MAX: u64 = 2_000;

/// Fewer common commands than this are chance.
const COMMON_MIN: u64 = 3;

/// Another machine's name for the commands of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Under which most of them are known.
    pub host: String,
    /// How many of those looked at.
    pub known: u64,
    /// How many were looked at.
    pub seen: u64,
}

/// Looks whether most of the commands of the file at `path` are known as those of another machine, while none is known of this one.
///
/// # Errors
/// If the file cannot be read or the database fails. What is no shell history has no answer.
pub fn renamed(
    history: &History,
    path: &Path,
    options: &ImportOptions,
) -> Result<Option<Renamed>, HistoryError> {
    if !history.knows_only_others(&options.host)? {
        return Ok(None);
    }
    // What comes out of a pipe comes once.
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(|error| HistoryError::io("read", path, error))?;
    let (head, tail) = sample(&mut file).map_err(|error| HistoryError::io("read", path, error))?;
    let looked = Sample {
        head: &head,
        tail: &tail,
        name: path,
        shell: options.shell,
    };
    let Ok(Kind::Shell(shell)) = detect::detect(&looked) else {
        return Ok(None);
    };
    let mut input = Input {
        source: &mut file,
        path,
        start: (head.len() - detect::without_mark(&head).len()) as u64,
        crlf: detect::has_crlf(&head),
    };
    let mut seen = 0;
    let mut hosts: HashMap<String, u64> = HashMap::new();
    shells::for_each(&mut input, shell, |item| {
        if let Item::Entry(entry) = item
            && seen < ENTRIES_MAX
        {
            seen += 1;
            if let Some(host) = history.host_of(&entry.text, entry.second)? {
                *hosts.entry(host).or_default() += 1;
            }
        }
        Ok(())
    })?;
    let most = hosts.into_iter().max_by_key(|(_, known)| *known);
    let is_most = |known: u64| known >= COMMON_MIN.min(seen) && known * 2 > seen;
    Ok(most
        .filter(|(_, known)| is_most(*known))
        .map(|(host, known)| Renamed { host, known, seen }))
}

impl History {
    /// Whether there are commands, and none of this machine.
    fn knows_only_others(&self, host: &str) -> Result<bool, HistoryError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE kind = 1) AND NOT EXISTS (
                   SELECT 1 FROM records r JOIN strings s ON s.id = r.host WHERE r.kind = 1 AND s.text = ?1)";
        Ok(self.connection().query_row(sql, [host], |row| row.get(0))?)
    }

    /// The machine that ran a command in that second, or at an unknown time.
    fn host_of(&self, text: &str, second: Option<i64>) -> Result<Option<String>, HistoryError> {
        let mut select = self.connection().prepare_cached(
            "SELECT s.text FROM commands c JOIN records r ON r.command = c.id AND r.kind = 1 JOIN strings s ON s.id = r.host
             WHERE c.hash = ?1 AND c.text = ?2 AND r.time_known = ?3 AND (NOT ?3 OR r.time BETWEEN ?4 AND ?4 + 999999) LIMIT 1",
        )?;
        let hash = wide_hash(text) as i64;
        let time_us = second.unwrap_or_default().saturating_mul(1_000_000);
        let found = select.query_row(params![hash, text, second.is_some(), time_us], |row| {
            row.get(0)
        });
        Ok(found.optional()?)
    }
}
