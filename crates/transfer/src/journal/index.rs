//! Which item is how far, and where in the file its last whole line is: sixteen bytes an item.

use super::{State, Tally};
use std::collections::HashMap;

/// The state is in the lowest bits, the place above them.
const STATE_BITS: u32 = 4;

const STATES: [State; 11] = [
    State::Planned,
    State::Stored,
    State::Committing,
    State::Committed,
    State::LeftOut,
    State::Lost,
    State::Reverting,
    State::Reverted,
    State::Undone,
    State::Removing,
    State::Removed,
];

/// States and places of items, by the hash of their ids.
#[derive(Default)]
pub(super) struct Index(HashMap<u64, u64>);

impl Index {
    /// Notes a line that tells all about an item. One that is switched over is not planned again: whoever says so wants it forgotten.
    pub(super) fn set(&mut self, item: u64, state: State, place: u64) {
        if self.get(item).is_some_and(|(state, _)| state.is_switched()) {
            return;
        }
        self.0.insert(item, pack(state, place));
    }

    /// Notes that an item is further. One that is not known is passed over: its plan was never durable, so nothing happened.
    /// Nor is one left out or lost that is switched over: whoever says so wants its row forgotten. A rollback announces itself first.
    pub(super) fn advance(&mut self, item: u64, state: State) {
        if let Some(packed) = self.0.get_mut(&item) {
            let gives_up = matches!(state, State::LeftOut | State::Lost);
            if gives_up && unpack(*packed).0.is_switched() {
                return;
            }
            *packed = pack(state, unpack(*packed).1);
        }
    }

    pub(super) fn get(&self, item: u64) -> Option<(State, u64)> {
        self.0.get(&item).map(|packed| unpack(*packed))
    }

    /// Returns the places of items in a state that is asked for, in the order of the file.
    pub(super) fn places(&self, wanted: impl Fn(State) -> bool) -> Vec<u64> {
        let mut places: Vec<u64> = self
            .0
            .values()
            .map(|packed| unpack(*packed))
            .filter(|(state, _)| wanted(*state))
            .map(|(_, place)| place)
            .collect();
        places.sort_unstable();
        places
    }

    /// Returns the items in a state that is asked for, in no order.
    pub(super) fn items(&self, wanted: impl Fn(State) -> bool) -> impl Iterator<Item = u64> {
        let states = self.0.iter();
        let states = states.map(|(item, packed)| (*item, unpack(*packed).0));
        states
            .filter(move |(_, state)| wanted(*state))
            .map(|(item, _)| item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for packed in self.0.values() {
            *tally.0.entry(unpack(*packed).0).or_default() += 1;
        }
        tally
    }
}

fn pack(state: State, place: u64) -> u64 {
    let number = STATES.iter().position(|known| *known == state);
    let number = number.expect("the table has every state") as u64;
    (place << STATE_BITS) | number
}

fn unpack(packed: u64) -> (State, u64) {
    let number = (packed & ((1 << STATE_BITS) - 1)) as usize;
    (STATES[number.min(STATES.len() - 1)], packed >> STATE_BITS)
}
