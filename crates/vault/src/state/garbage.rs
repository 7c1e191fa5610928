//! Objects that wait for their removal, and those that could not be read and so do not.
//!
//! What must hold: an object is noted once. Where it is noted again the earlier time counts: what a manifest came to name meanwhile was no
//! garbage meanwhile (see `push`), so nobody can have begun to read it since. And it is as urgent as the more urgent of the two.
//! What it deliberately does not do: decide what is garbage, or remove anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OwnState;
use crate::error::{Problem, ProblemKind};

/// An object that no manifest names any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// Its key.
    pub key: String,
    /// Since when, in milliseconds since the Unix epoch by this device's clock.
    pub since_ms: i64,
    /// Whether it holds forgotten records: then its removal does not wait for company.
    #[serde(default)]
    pub forgotten: bool,
}

/// A segment whose bytes were of no use when it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its size then: another one is another object, or more of it.
    pub bytes: u64,
    /// When that was, in milliseconds since the Unix epoch by this device's clock.
    pub since_ms: i64,
}

impl OwnState {
    /// Notes objects as garbage, or once more as such.
    pub(crate) fn discard(
        &mut self,
        keys: impl IntoIterator<Item = String>,
        since_ms: i64,
        forgotten: bool,
    ) {
        let known = self.garbage.iter().enumerate();
        let mut places: BTreeMap<String, usize> = known
            .map(|(at, garbage)| (garbage.key.clone(), at))
            .collect();
        for key in keys {
            match places.get(&key) {
                Some(at) => {
                    let garbage = &mut self.garbage[*at];
                    garbage.since_ms = garbage.since_ms.min(since_ms);
                    garbage.forgotten |= forgotten;
                }
                None => {
                    places.insert(key.clone(), self.garbage.len());
                    self.garbage.push(Garbage {
                        key,
                        since_ms,
                        forgotten,
                    });
                }
            }
        }
    }

    /// Something was forgotten: what was replaced before may hold it too, so its removal does not wait for company.
    pub(crate) fn hasten(&mut self) {
        self.garbage
            .iter_mut()
            .for_each(|garbage| garbage.forgotten = true);
    }

    /// What was replaced in the future, by a clock that was wrong then or is now, was replaced today. Returns whether anything was.
    pub(crate) fn redate(&mut self, now_ms: i64) -> bool {
        let mut any = false;
        for garbage in self
            .garbage
            .iter_mut()
            .filter(|garbage| garbage.since_ms > now_ms)
        {
            garbage.since_ms = now_ms;
            any = true;
        }
        any
    }

    /// Notes that a stray segment could not be read, if its bytes are the reason: a missing key, say, may come.
    pub(crate) fn note_unread(&mut self, problem: &Problem, bytes: u64, since_ms: i64) {
        if matches!(problem.kind, ProblemKind::Corrupt | ProblemKind::OtherVault) {
            let key = problem.key.clone();
            self.unreadable.insert(key, Unreadable { bytes, since_ms });
        }
    }

    /// Whether a stray segment of this size was read within the last `patience_ms`, and was of no use.
    pub(crate) fn is_unreadable(
        &self,
        key: &str,
        bytes: u64,
        now_ms: i64,
        patience_ms: i64,
    ) -> bool {
        self.unreadable.get(key).is_some_and(|known| {
            known.bytes == bytes && now_ms.abs_diff(known.since_ms) < patience_ms.unsigned_abs()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn what_is_noted_twice_waits_from_the_earlier_time_and_is_as_urgent_as_either() {
        for (first, second) in [
            ((10, false), (20, true)),
            ((20, true), (10, false)),
            ((20, false), (10, true)),
        ] {
            let mut own = OwnState::fresh(NodeId([1; 16]));
            for (since_ms, forgotten) in [first, second] {
                own.discard(["a".to_owned(), "a".to_owned()], since_ms, forgotten);
            }
            let only = Garbage {
                key: "a".into(),
                since_ms: 10,
                forgotten: true,
            };
            assert_eq!(own.garbage, [only]);
        }
    }
}
