//! Numbers of generations that never fall, and where generations came from that were carried here.
//!
//! What must hold: no number is given out twice, also after the generations that had the highest ones were gone back from and pruned: who has
//! carried such a one away would take a new one for it. What was imported once is known for good, whatever is pruned.

use super::{Generation, GenerationId, LOG, Log, full};
use store::{Store, StoreError};
use transfer::Digest;

/// So many characters has the name of a mirror.
const NAME: usize = 16;

impl Log {
    /// Returns the number that the next generation gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        let published = self.marks.iter().map(|mark| mark.generation.number());
        let pruned = self.highest.iter().copied();
        published.chain(pruned).max().unwrap_or(0) + 1
    }

    /// Returns the generation of the highest number that was carried here from a mirror.
    #[must_use]
    pub fn imported_from(&self, mirror: &str) -> Option<&GenerationId> {
        let imports = self.imports.iter().filter(|(from, _)| from == mirror);
        imports.map(|(_, id)| id).max()
    }

    /// Returns the mirror that a generation was carried from; nothing if it was made here, or by an earlier program.
    #[must_use]
    pub fn origin_of(&self, id: &GenerationId) -> Option<&str> {
        let found = self.imports.iter().find(|(_, imported)| imported == id);
        found.map(|(mirror, _)| mirror.as_str())
    }

    /// Tells whether a generation was ever current here, as far as that was not pruned.
    #[must_use]
    pub fn was_current(&self, id: &GenerationId) -> bool {
        self.marks.iter().any(|mark| mark.generation == *id)
    }

    /// Takes up what an object of the log says, if it is of the kinds that are written here.
    pub(super) fn take_note(&mut self, name: &str) -> bool {
        if let Some(number) = name.strip_prefix("highest-") {
            self.highest.extend(number.parse::<u64>());
            return true;
        }
        let Some((mirror, id)) = name
            .strip_prefix("imported-")
            .and_then(|rest| rest.split_once('-'))
        else {
            return false;
        };
        let id = GenerationId::parse(id).filter(|_| is_mirror(mirror));
        self.imports.extend(id.map(|id| (mirror.to_owned(), id)));
        true
    }
}

impl Generation {
    /// Gives a name to the mirror that makes it, if it has none: from what the first one holds, so that the same mirror made twice has one name.
    #[must_use]
    pub fn with_mirror(mut self) -> Generation {
        if self.mirror.is_none() {
            let text = serde_json::to_vec(&self).unwrap_or_default();
            self.mirror = Some(Digest::of(&text).to_string()[..NAME].to_owned());
        }
        self
    }
}

/// Tells whether a text can be the name of a mirror: it becomes a part of a key.
pub(crate) fn is_mirror(text: &str) -> bool {
    text.len() == NAME && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Notes that a generation was carried here from a mirror.
///
/// # Errors
/// If it is not certain that it was written.
pub async fn note_import(store: &Store, mirror: &str, id: &GenerationId) -> Result<(), StoreError> {
    let key = format!("{LOG}/imported-{mirror}-{id}");
    store.put(&key, id.to_string().into_bytes().into()).await
}

/// Notes the highest number that is about to be forgotten, if nothing else would tell of it.
pub(super) async fn note_highest(
    store: &Store,
    log: &Log,
    ids: &[GenerationId],
) -> Result<(), StoreError> {
    let numbers = |is_going: bool| {
        let marks = log.marks.iter();
        let marks = marks.filter(move |mark| ids.contains(&mark.generation) == is_going);
        marks.map(|mark| mark.generation.number()).max()
    };
    let known = log.highest.iter().copied().chain(numbers(false)).max();
    let Some(highest) = numbers(true).filter(|number| Some(*number) > known) else {
        return Ok(());
    };
    let key = |number: &u64| format!("{LOG}/highest-{number:08}");
    let text = "no generation gets this number again\n";
    full::put(store, &key(&highest), text).await?;
    let older: Vec<String> = log.highest.iter().map(key).collect();
    store.delete(&older).await
}
