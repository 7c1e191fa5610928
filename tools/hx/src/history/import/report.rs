//! What an import did.
//!
//! What must hold: what was read is what was added, known, forgotten or left out: nothing vanishes without being counted.
//!
//! What it deliberately does not do: print.

use super::SkipReason;
use super::undated::Counts;

/// So many examples of each reason are kept.
const EXAMPLES_MAX: usize = 3;

/// What was left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Why.
    pub reason: SkipReason,
    /// How many.
    pub count: u64,
    /// The first ones: line in the file, and how it begins.
    pub examples: Vec<(u64, String)>,
}

/// What an import of entries without times had to assume, since more than one story fits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Assumed {
    /// So many entries were taken for the same as ones that were imported before.
    pub same: u64,
    /// So many that are equal to ones imported before were taken for new, so that nothing is lost.
    pub again: u64,
}

impl Assumed {
    /// Of a file's entries, what is new, given how many of each are known.
    pub(super) fn new(is_new: &[bool], file: &[u64], mut left: Counts) -> Self {
        let mut assumed = Self { same: 0, again: 0 };
        // First what is taken for known takes from these; then what is new.
        for new in [false, true] {
            for (_, entry) in is_new
                .iter()
                .zip(file)
                .filter(|(is_new, _)| **is_new == new)
            {
                if let Some(left) = left.get_mut(entry).filter(|left| **left > 0) {
                    *left -= 1;
                    *if new {
                        &mut assumed.again
                    } else {
                        &mut assumed.same
                    } += 1;
                }
            }
        }
        assumed
    }
}

/// What an import did, or with `dry_run` would have done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// What the file is, in words: `zsh (extended)`.
    pub format: &'static str,
    /// Commands found in the file.
    pub read: u64,
    /// Entries that were new.
    pub added: u64,
    /// Entries that were there already.
    pub known: u64,
    /// Entries that stay away because they were forgotten.
    pub forgotten: u64,
    /// Records of an export that are no commands (sessions, pins, and what was forgotten) and were new.
    pub others: u64,
    /// Such records that were there already.
    pub others_known: u64,
    /// Events that tombstones in the file removed.
    pub erased: u64,
    /// Entries left out, by reason.
    pub skipped: Vec<Skipped>,
    /// Entries with bytes that are no UTF-8. They are kept: an export for a shell has them again.
    pub escaped: u64,
    /// Entries from which NUL bytes were dropped; no command can have one.
    pub lossy: u64,
    /// Entries whose time could not be read. They are kept without one.
    pub bad_times: u64,
    /// Whether the file is an export of hx that does not have all that was to be in it.
    pub incomplete: bool,
    /// With `incomplete`: records that the file says were written, or could not be read from a damaged database, as far as it says so.
    pub missing: u64,
    /// Whether all records that the file says it had are there, but not all are as they were written.
    pub altered: bool,
    /// Commands of an export that are not what their id was made of. They are there beside what they were, under an id of their own.
    pub changed: u64,
    /// What had to be assumed of entries without times; none where nothing had to.
    pub assumed: Option<Assumed>,
    /// The oldest time in the file, in microseconds since the Unix epoch.
    pub first_us: Option<i64>,
    /// The newest time in the file.
    pub last_us: Option<i64>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

impl ImportReport {
    pub(super) fn new(format: &'static str, dry_run: bool) -> Self {
        Self {
            format,
            read: 0,
            added: 0,
            known: 0,
            forgotten: 0,
            others: 0,
            others_known: 0,
            erased: 0,
            skipped: Vec::new(),
            escaped: 0,
            lossy: 0,
            bad_times: 0,
            incomplete: false,
            missing: 0,
            altered: false,
            changed: 0,
            assumed: None,
            first_us: None,
            last_us: None,
            dry_run,
        }
    }

    /// How many were left out in all.
    pub fn skipped_count(&self) -> u64 {
        self.skipped.iter().map(|skipped| skipped.count).sum()
    }

    /// Whether something was left out that was a command once, whole or in part. A time without a command never was.
    pub fn has_damage(&self) -> bool {
        self.skipped
            .iter()
            .any(|skipped| skipped.reason != SkipReason::Empty)
    }

    pub(super) fn skip(&mut self, line: u64, reason: SkipReason, excerpt: String) {
        self.read += 1;
        let index = self
            .skipped
            .iter()
            .position(|skipped| skipped.reason == reason)
            .unwrap_or_else(|| {
                self.skipped.push(Skipped {
                    reason,
                    count: 0,
                    examples: Vec::new(),
                });
                self.skipped.len() - 1
            });
        let skipped = &mut self.skipped[index];
        skipped.count += 1;
        if skipped.examples.len() < EXAMPLES_MAX {
            skipped.examples.push((line, excerpt));
        }
    }

    pub(super) fn saw_time(&mut self, time_us: i64) {
        self.first_us = Some(self.first_us.map_or(time_us, |first| first.min(time_us)));
        self.last_us = Some(self.last_us.map_or(time_us, |last| last.max(time_us)));
    }
}
