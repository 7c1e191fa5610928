//! Which occurrence of its command an imported event is: its id is a hash of that, and does not say.
//!
//! What must hold: what is found is right, since the id is a hash; what is not found is only said to be none where all that can be was tried.
//!
//! What it deliberately does not do: give out new ids (see `import`).

use std::collections::HashMap;

use super::apply::IdHasher;
use super::model::{Event, RecordId};

/// So many hashes may be tried in all for one batch.
const TRIES_MAX: u32 = 2_000_000;

/// Entries of one second repeat a few times at most.
const REACH_DATED: u32 = 16;

/// Undated ones may repeat as often as the whole history.
const REACH_UNDATED: u32 = 100_000;

/// What an event's id says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occurrence {
    /// It is an imported event, and which of those with its host, time and command.
    Nth(u32),
    /// It is none that was imported as it is.
    None,
    /// It may be: not everything was tried.
    Unknown,
}

/// Finds occurrences, of events in any order; fastest where equal ones come in the order of their ids.
pub(crate) struct Occurrences {
    /// The occurrence that is expected next, by the id of the first one; only for what was seen to repeat.
    next: HashMap<RecordId, u32, IdHasher>,
    tries_left: u32,
}

impl Default for Occurrences {
    fn default() -> Self {
        Self {
            next: HashMap::default(),
            tries_left: TRIES_MAX,
        }
    }
}

impl Occurrences {
    /// Says which occurrence `event` is.
    pub(crate) fn find(&mut self, event: &Event) -> Occurrence {
        let time_us = import_time_us(event.time_us, event.time_known);
        let id = |occurrence| Event::import_id(&event.host, time_us, &event.command, occurrence);
        let first = id(0);
        if event.id == first {
            return Occurrence::Nth(0);
        }
        let reach = if event.time_known {
            REACH_DATED
        } else {
            REACH_UNDATED
        };
        let next = self.next.get(&first).copied().unwrap_or(1);
        // Those before the expected one come last: they are for events that are in no order.
        let tried = (next..next.saturating_add(reach)).chain(1..next);
        for (tries, occurrence) in tried.enumerate() {
            if tries > 0 {
                if self.tries_left == 0 {
                    return Occurrence::Unknown;
                }
                self.tries_left -= 1;
            }
            if id(occurrence) == event.id {
                self.next.insert(first, occurrence.saturating_add(1));
                return Occurrence::Nth(occurrence);
            }
        }
        Occurrence::None
    }
}

/// The time that the id of an imported event is made of: its second, in microseconds; none if it has no time.
pub(crate) fn import_time_us(time_us: i64, known: bool) -> Option<i64> {
    known.then(|| time_us - time_us.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn event(command: &str, time_us: Option<i64>, occurrence: u32) -> Event {
        let id = Event::import_id(
            "h",
            time_us.map(|us| us / 1_000_000 * 1_000_000),
            command,
            occurrence,
        );
        Event {
            id,
            command: Arc::from(command),
            time_us: time_us.unwrap_or(7),
            time_known: time_us.is_some(),
            duration_ms: None,
            exit: None,
            cwd: None,
            host: Arc::from("h"),
            shell: None,
            session: None,
            actor: None,
        }
    }

    #[test]
    fn they_are_found_in_any_order() {
        let mut occurrences = Occurrences::default();
        for occurrence in [0, 1, 2, 5, 3, 4, 12, 0] {
            let dated = event("ls", Some(1_700_000_000_000_003), occurrence);
            assert_eq!(occurrences.find(&dated), Occurrence::Nth(occurrence));
        }
        for occurrence in [0, 90_000, 3, 99_000] {
            let undated = event("ls", None, occurrence);
            assert_eq!(occurrences.find(&undated), Occurrence::Nth(occurrence));
        }
    }

    #[test]
    fn what_was_altered_is_none_until_too_much_was_tried() {
        let mut occurrences = Occurrences::default();
        let mut altered = event("ls", Some(1_700_000_000_000_000), 1);
        altered.command = Arc::from("rm");
        assert_eq!(occurrences.find(&altered), Occurrence::None);
        altered.time_known = false;
        let answers: Vec<_> = (0..30).map(|_| occurrences.find(&altered)).collect();
        assert_eq!(answers[0], Occurrence::None);
        assert_eq!(answers[29], Occurrence::Unknown);
        assert_eq!(occurrences.find(&event("ls", None, 1)), Occurrence::Nth(1));
    }
}
