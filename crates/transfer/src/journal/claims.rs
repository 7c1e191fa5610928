//! What a run still needs of a store's objects, by its journal, read as it comes: from the pieces of a copy, or from a file.
//!
//! What must hold: a journal of which a line before its end cannot be believed tells nothing, and its reader is told so. Memory holds some
//! forty bytes an item; nothing is written to the disk.
//!
//! It deliberately does not say whose objects they are: [`crate::Kin`] does.

use super::line::{self, Line};
use super::mirror::begin_of;
use super::{Core, RunHeader, State};
use crate::keyset::{KeySet, hash};
use crate::others::Claim;

/// A journal that is being read.
#[derive(Default)]
pub(crate) struct Claims {
    core: Core,
    /// What each item names in the store; its place in the index is one here.
    names: Vec<Vec<u64>>,
    /// Which end of the run's way is meant; none before the first line.
    claim: Option<Claim>,
    /// The bytes of a line that has not ended yet.
    rest: Vec<u8>,
    bytes: u64,
    lines: u64,
}

impl Claims {
    /// Takes in one piece of a copy, by its key. Pieces may overlap; one that is missing is an error.
    pub(crate) fn take_piece(
        &mut self,
        key: &str,
        bytes: &[u8],
        judge: &dyn Fn(&RunHeader) -> Option<Claim>,
    ) -> Result<(), String> {
        let Some(begin) = begin_of(key) else {
            return Ok(());
        };
        let Some(known) = self.bytes.checked_sub(begin) else {
            return Err(format!("the piece before {key} is missing"));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        self.take(bytes.get(known..).unwrap_or_default(), judge)
    }

    /// Takes in the next bytes. `judge` says of the first line what the run claims; none if it does not know such a run.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        judge: &dyn Fn(&RunHeader) -> Option<Claim>,
    ) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        let mut left = bytes;
        while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            let (line, after) = left.split_at(end + 1);
            left = after;
            match self.rest.is_empty() {
                true => self.line(line, judge)?,
                false => {
                    let mut whole = std::mem::take(&mut self.rest);
                    whole.extend_from_slice(line);
                    self.line(&whole, judge)?;
                }
            }
        }
        self.rest.extend_from_slice(left);
        Ok(())
    }

    fn line(
        &mut self,
        bytes: &[u8],
        judge: &dyn Fn(&RunHeader) -> Option<Claim>,
    ) -> Result<(), String> {
        let number = self.lines + 1;
        let text = line::text(self.lines, bytes);
        let text = text.ok_or_else(|| format!("line {number} of it is damaged"))?;
        let line: Line = serde_json::from_slice(text)
            .map_err(|error| format!("line {number} of it is not known here: {error}"))?;
        self.lines = number;
        let place = match &line {
            Line::Run(header) if number == 1 => {
                self.claim = judge(header);
                0
            }
            Line::Planned { item, .. } => {
                let names = item.blobs.iter().map(|blob| match self.claim {
                    Some(Claim::Sources) => hash(&blob.source),
                    _ => hash(&blob.key),
                });
                self.names.push(names.collect());
                self.names.len() - 1
            }
            // A blob that was not stored left no object.
            Line::Stored { id, blobs, .. } => {
                let Some((_, place)) = self.core.index.get(hash(id)) else {
                    return Err(format!(
                        "line {number} of it is about an item that no line plans"
                    ));
                };
                let place = place as usize;
                if self.claim == Some(Claim::Keys) {
                    let mut is_there = blobs.iter().map(Option::is_some);
                    self.names[place].retain(|_| is_there.next().unwrap_or(true));
                }
                place
            }
            _ => 0,
        };
        if self.claim.is_none() {
            return Err("it is not known what the run did".to_owned());
        }
        self.core.apply(&line.head(), place as u64);
        Ok(())
    }

    /// Returns what the run still needs. What is torn off at the end was never durable.
    pub(crate) fn end(self) -> Result<KeySet, String> {
        let Some(claim) = self.claim else {
            return Err("it has no first line".to_owned());
        };
        let mut needed = KeySet::new();
        let mut places = self.core.index.places(|state| needs(claim, state));
        if claim == Claim::Keys {
            // Their objects were kept, because it is not certain that nothing names them.
            let lost = self.core.lost_on_the_way_back.iter();
            let lost = lost.filter_map(|item| self.core.index.get(*item));
            let lost = lost.filter(|(state, _)| *state == State::Lost);
            places.extend(lost.map(|(_, place)| place));
        }
        for place in places {
            for name in self.names.get(place as usize).into_iter().flatten() {
                needed.insert_hash(*name);
            }
        }
        Ok(needed)
    }
}

/// Tells whether an item in this state needs what it names.
fn needs(claim: Claim, state: State) -> bool {
    match claim {
        Claim::Nothing => false,
        // It is switched to them, or about to be; once it is switched back they may have been kept for somebody.
        Claim::Keys => {
            state.is_switched()
                || matches!(
                    state,
                    State::Stored | State::Committing | State::Reverting | State::Reverted
                )
        }
        // Its rows name them until they are switched over for certain, and once they are switched back.
        Claim::Sources => !state.is_switched(),
    }
}
