//! Entries without a time: what of them is there already, which of a file's are new, and the numbers that tell equal ones apart.
//!
//! What must hold: nothing that is new is taken for known; no new entry gets the id of another one, also not of another shell on the
//! same host; the same file again changes nothing.
//!
//! What it deliberately does not do: decide where the news of a file begin (see `align`).

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::Shell;
use super::align::{self, Aligned, Origin};
use super::entry::Entry;
use super::report::Assumed;
use crate::history::apply::{Applier, IdHasher, Outcome, wide_hash};
use crate::history::error::HistoryError;
use crate::history::model::{Event, RecordId};
use crate::history::octets;
use crate::history::rows;

/// How often each hash is there.
pub(super) type Counts = HashMap<u64, u32, IdHasher>;

/// Counts hashes.
pub(super) fn counts(hashes: &[u64]) -> Counts {
    let mut counts = Counts::default();
    for hash in hashes {
        *counts.entry(*hash).or_default() += 1;
    }
    counts
}

/// What earlier imports of the same host and shell gave without times.
pub(super) struct Undated {
    pub(super) hashes: Vec<u64>,
    pub(super) next_time_us: i64,
}

/// What a text without a time was known by before its bytes were kept.
struct Former {
    /// Its index among the file's entries without a time.
    index: usize,
    hash: u64,
}

/// What a first reading gathers of a file's entries without a time.
#[derive(Default)]
pub(super) struct Gathered {
    /// Their hashes, in order.
    pub(super) hashes: Vec<u64>,
    /// Those that may have been imported with replacement characters.
    former: Vec<Former>,
    /// The indexes of those whose text was forgotten: they cannot line up with anything.
    forgotten: Vec<usize>,
}

impl Gathered {
    /// Takes an entry.
    pub(super) fn note(
        &mut self,
        applier: &mut Applier<'_>,
        host: &str,
        entry: &Entry,
    ) -> Result<(), HistoryError> {
        let index = self.hashes.len();
        self.hashes.push(wide_hash(&entry.text) as u64);
        let former = entry.escaped.then(|| octets::formerly(&entry.text));
        if applier.has_tombstones() {
            for text in [Some(&entry.text), former.as_ref()].into_iter().flatten() {
                let first = Event::import_id(host, None, text, 0);
                if applier.fate(first)? == Some(Outcome::Forgotten) {
                    self.forgotten.push(index);
                    break;
                }
            }
        }
        if let Some(former) = former {
            let hash = wide_hash(&former) as u64;
            self.former.push(Former { index, hash });
        }
        Ok(())
    }
}

impl Undated {
    pub(super) fn read(
        connection: &Connection,
        host: &str,
        shell: Shell,
    ) -> Result<Self, HistoryError> {
        let string = |text: &str| -> rusqlite::Result<Option<i64>> {
            connection
                .query_row("SELECT id FROM strings WHERE text = ?1", [text], |row| {
                    row.get(0)
                })
                .optional()
        };
        let mut undated = Self {
            hashes: Vec::new(),
            next_time_us: 0,
        };
        let (Some(host), Some(shell)) = (string(host)?, string(shell.as_str())?) else {
            return Ok(undated);
        };
        // The bound lets the index on time find them: ordinals are small.
        let mut select = connection.prepare(
        "SELECT c.hash, r.time, c.text FROM records r LEFT JOIN commands c ON c.id = r.command
         WHERE r.kind = 1 AND r.time < 1099511627776 AND NOT r.time_known AND r.host = ?1 AND r.shell = ?2 ORDER BY r.time, r.seq",
    )?;
        let mut rows = select.query(params![host, shell])?;
        while let Some(row) = rows.next()? {
            let hash: Option<i64> = row.get(0)?;
            let text = row.get_ref(2)?.as_str().unwrap_or_default();
            let Some(hash) = hash.filter(|_| rows::is_as_stored(text, hash)) else {
                return Err(rows::damaged(
                    "a command is missing, or not what it was when it was stored",
                ));
            };
            undated.hashes.push(hash as u64);
            undated.next_time_us = row
                .get::<_, i64>(1)?
                .saturating_add(1)
                .max(undated.next_time_us);
        }
        Ok(undated)
    }
}

/// What an entry of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There already.
    Known,
    /// Not there: new, or forgotten.
    Missing,
    /// Certainly run after what was imported before, so that it is no matter what of that was forgotten.
    RunAgain,
}

/// Which entries of a file are new.
pub(super) struct Plan {
    is_new: Vec<bool>,
    /// The file's hashes, comparable with those that are known.
    file: Vec<u64>,
    at: usize,
    origin: Origin,
    /// How many of each hash are known, where the file was imported before: what is not there any more is no known entry.
    left: Counts,
    /// What could not be known.
    pub(super) assumed: Option<Assumed>,
}

impl Plan {
    pub(super) fn new(
        connection: &Connection,
        known: &Undated,
        gathered: Gathered,
        origin: Origin,
    ) -> Result<Self, HistoryError> {
        let Gathered {
            hashes,
            former,
            mut forgotten,
        } = gathered;
        let (known, file) = comparable(connection, known.hashes.clone(), hashes, &former)?;
        if !forgotten.is_empty() {
            // One whose equals are still there lines up with these.
            let known = counts(&known);
            forgotten.retain(|index| !known.contains_key(&file[*index]));
        }
        let aligned = align_without(&known, &file, origin, &forgotten);
        let assumed =
            (!aligned.is_certain).then(|| Assumed::new(&aligned.is_new, &file, counts(&known)));
        let left = match origin {
            Origin::File(_) => counts(&known),
            Origin::Unknown => Counts::default(),
        };
        Ok(Self {
            is_new: aligned.is_new,
            file,
            at: 0,
            origin,
            left,
            assumed,
        })
    }

    /// What the next entry is; none for one that was not in the file when the plan was made.
    pub(super) fn next(&mut self) -> Option<Verdict> {
        let (is_new, hash) = (*self.is_new.get(self.at)?, self.file[self.at]);
        self.at += 1;
        let Origin::File(before) = self.origin else {
            return Some(if is_new {
                Verdict::Missing
            } else {
                Verdict::Known
            });
        };
        if is_new && self.at > before {
            return Some(Verdict::RunAgain);
        }
        let left = self.left.get_mut(&hash).filter(|left| **left > 0);
        Some(match left {
            Some(left) if !is_new => {
                *left -= 1;
                Verdict::Known
            }
            _ => Verdict::Missing,
        })
    }
}

/// Aligns a file without some of its entries, which then count as new.
fn align_without(known: &[u64], file: &[u64], origin: Origin, without: &[usize]) -> Aligned {
    if without.is_empty() {
        return align::align(known, file, origin);
    }
    let mut left_out = vec![false; file.len()];
    without.iter().for_each(|index| left_out[*index] = true);
    let origin = match origin {
        Origin::File(length) => {
            Origin::File(length - without.partition_point(|index| *index < length))
        }
        Origin::Unknown => Origin::Unknown,
    };
    let kept = |(_, out): &(&u64, &bool)| !**out;
    let file: Vec<u64> = file
        .iter()
        .zip(&left_out)
        .filter(kept)
        .map(|(entry, _)| *entry)
        .collect();
    let aligned = align::align(known, &file, origin);
    let mut is_new = aligned.is_new.into_iter();
    let verdict = |out: &bool| *out || is_new.next().unwrap_or(true);
    Aligned {
        is_new: left_out.iter().map(verdict).collect(),
        is_certain: aligned.is_certain,
    }
}

/// The numbers that equal entries of a host have got.
pub(super) struct Numbers(pub(super) Counts);

impl Numbers {
    /// The id of the next entry with this text: one that no entry has; nor, `again`, one that was forgotten.
    pub(super) fn next_id(
        &mut self,
        applier: &mut Applier<'_>,
        host: &str,
        text: &str,
        again: bool,
    ) -> Result<RecordId, HistoryError> {
        let number = self.0.entry(wide_hash(text) as u64).or_default();
        loop {
            let id = Event::import_id(host, None, text, *number);
            *number += 1;
            match applier.fate(id)? {
                Some(Outcome::Known) => {}
                Some(Outcome::Forgotten) if again => {}
                _ => return Ok(id),
            }
        }
    }
}

/// Both kinds of hashes, so that a text counts as one whether its bytes were kept or replaced.
fn comparable(
    connection: &Connection,
    mut known: Vec<u64>,
    mut file: Vec<u64>,
    former: &[Former],
) -> Result<(Vec<u64>, Vec<u64>), HistoryError> {
    if former.is_empty() {
        return Ok((known, file));
    }
    let hashes = counts(&known);
    let is_former = |hash: &u64| hashes.contains_key(hash);
    if former.iter().any(|former| is_former(&former.hash)) {
        // Both ways to keep a text count as one, or the two would not line up.
        let mut same: HashMap<u64, u64> = texts_with_octets(connection)?
            .into_iter()
            .filter(|(_, former)| is_former(former))
            .collect();
        for entry in former.iter().filter(|former| is_former(&former.hash)) {
            same.insert(file[entry.index], entry.hash);
        }
        for hash in known.iter_mut().chain(&mut file) {
            *hash = same.get(hash).copied().unwrap_or(*hash);
        }
    }
    Ok((known, file))
}

/// The hashes of all commands with bytes that are no text, each with what its hash was before these were kept.
fn texts_with_octets(connection: &Connection) -> Result<Vec<(u64, u64)>, HistoryError> {
    let mut select = connection.prepare("SELECT hash, text FROM commands WHERE text GLOB ?1")?;
    let mut rows = select.query([octets::GLOB])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let former = octets::formerly(&row.get::<_, String>(1)?);
        found.push((row.get::<_, i64>(0)? as u64, wide_hash(&former) as u64));
    }
    Ok(found)
}
