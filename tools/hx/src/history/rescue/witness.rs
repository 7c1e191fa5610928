//! What the indexes say of each row of `records`, and which of the two is right where they disagree.
//!
//! What must hold: an id follows from what its record says, so that who says the wrong thing is known, not guessed; where an id proves
//! nothing, since the record came from elsewhere, the row is taken as it is and said to be doubtful.
//!
//! What it deliberately does not do: look at columns that no index has. A directory or an exit status that changed shows nowhere.

use std::collections::HashMap;

use super::cells::Value;
use crate::history::model::{Event, Pin, Record, Session, Tombstone};
use crate::history::occurrences::{Occurrence, Occurrences};

/// An id as it lies in a row.
pub(super) type Id = [u8; 16];

/// What indexes say, by the number of the row.
#[derive(Default)]
pub(super) struct Witness {
    ids: HashMap<i64, Id>,
    /// The row of the command, and the time.
    uses: HashMap<i64, (i64, i64)>,
    occurrences: Occurrences,
}

impl Witness {
    /// Takes an entry of the index of ids.
    pub(super) fn note_id(&mut self, number: i64, id: Id) {
        self.ids.insert(number, id);
    }

    /// Takes an entry of an index of commands and times; no other has entries of three numbers.
    pub(super) fn note_use(&mut self, entry: &[Value]) {
        if let [Value::Int(command), Value::Int(time), Value::Int(number)] = entry {
            self.uses.insert(*number, (*command, *time));
        }
    }

    /// The ids that a row may have: its own first, then that of the index, if it is another.
    pub(super) fn ids(&self, number: i64, own: Id) -> Vec<Id> {
        let other = self.ids.get(&number).filter(|id| **id != own);
        std::iter::once(own).chain(other.copied()).collect()
    }

    /// The commands and times that a row may have, its own first.
    pub(super) fn uses(&self, number: i64, own: (Option<i64>, i64)) -> Vec<(Option<i64>, i64)> {
        let other = self.uses.get(&number).copied();
        let other = other.map(|(command, time)| (Some(command), time));
        let other = other.filter(|other| *other != own);
        std::iter::once(own).chain(other).collect()
    }

    /// Whether an event's id follows from its host, time and command.
    pub(super) fn proves(&mut self, event: &Event) -> bool {
        matches!(self.occurrences.find(event), Occurrence::Nth(_))
    }
}

/// Whether the id of a record that is no event follows from what it says.
pub(super) fn is_proved(record: &Record) -> bool {
    let derived = match record {
        Record::Event(_) => return false,
        Record::Session(session) => Session::id_for(&session.name),
        Record::Pin(pin) => Pin::id_for(pin.event, pin.clock, pin.pinned),
        Record::Tombstone(tombstone) => Tombstone::id_for(tombstone.target),
    };
    record.id() == derived
}

/// Whether an id is another one of which a byte changed, and no record's of its own.
pub(super) fn is_changed(id: Id, other: Id) -> bool {
    id.iter()
        .zip(other)
        .filter(|(one, other)| **one != *other)
        .count()
        == 1
}
