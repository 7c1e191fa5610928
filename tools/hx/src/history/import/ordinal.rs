//! The place of an entry among those that nothing else tells apart: the order within a second, and the how-manieth of its kind.
//!
//! What must hold: the same file gives the same answers; memory is a few bytes an entry.
//!
//! What it deliberately does not do: know other files.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::apply::IdHasher;
use crate::history::model::{Event, RecordId};

/// So many different seconds are remembered; files are almost in order of time.
const SECONDS_MAX: usize = 1024;

/// Orders entries within their second.
#[derive(Default)]
pub(super) struct Seconds {
    next: BTreeMap<i64, i64>,
}

impl Seconds {
    /// The time in microseconds of the next entry of this second.
    pub(super) fn time_us(&mut self, second: i64) -> i64 {
        let next = self.next.entry(second).or_default();
        // More than a million commands in a second stay in it.
        let time_us = second * 1_000_000 + (*next).min(999_999);
        *next += 1;
        if self.next.len() > SECONDS_MAX {
            self.next.pop_first();
        }
        time_us
    }
}

/// Counts how often a file has the same command in the same second.
#[derive(Default)]
pub(super) struct Repeats {
    /// Parts of the ids of first occurrences.
    seen: HashSet<u64, IdHasher>,
    /// The next occurrence of what was seen more than once.
    next: HashMap<RecordId, u32, IdHasher>,
}

impl Repeats {
    /// The id of the next occurrence of `command` in `second`.
    pub(super) fn id(&mut self, host: &str, second: i64, command: &str) -> RecordId {
        let time_us = Some(second * 1_000_000);
        let first = Event::import_id(host, time_us, command, 0);
        let mut part = [0; 8];
        part.copy_from_slice(&first.0[..8]);
        if self.seen.insert(u64::from_le_bytes(part)) {
            return first;
        }
        let next = self.next.entry(first).or_insert(1);
        let id = Event::import_id(host, time_us, command, *next);
        *next = next.saturating_add(1);
        id
    }
}
