//! Leaves a mirror as its current generation wants it: the files under their names, and the hash file.
//!
//! What must hold: whoever publishes, goes back, imports or finds nothing new ends with this, and after it has written it looks whether what it
//! wrote is of what is current: so the last one to write is one who saw the last mark.

use super::{Seen, Settled, settle};
use crate::hashfile::{self, HashFile, Merged};
use crate::log::{self, Generation, Log, LogError};
use jiff::Timestamp;
use store::{Store, StoreError};

/// What was left.
pub struct Whole {
    /// What is current.
    pub settled: Settled,
    /// What of another tool's hash file the mirror has.
    pub external: Option<Merged>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Puts the files of the current generation under their names, and writes the hash file, until both are those of what is current; nothing if
/// nothing is. `found` is what somebody has settled already. Without a time, the hash file changed when the current mark was set, by the
/// store's clock.
///
/// # Errors
/// If the store fails, or the current generation cannot be read.
pub async fn settle_whole(
    store: &Store,
    seen: &mut Seen,
    mut found: Option<Settled>,
    external: Option<&HashFile>,
    now: Option<Timestamp>,
) -> Result<Option<Whole>, LogError> {
    let mut warnings = Vec::new();
    loop {
        let settled = match found.take() {
            Some(settled) => settled,
            None => match settle(store, seen).await? {
                Some(settled) => settled,
                None => return Ok(None),
            },
        };
        let time = now.or_else(|| marked(&settled));
        let time = time.unwrap_or(settled.generation.created);
        let merged =
            write_hash_file(store, &settled.generation, external, time, &mut warnings).await?;
        if Log::read(store).await?.current() != Some(&settled.id) {
            continue;
        }
        let others = merged.iter().filter(|merged| !merged.others.is_empty());
        warnings.extend(others.map(Merged::warning));
        let lost = settled.lost.iter();
        log::keep_reserve(store).await;
        warnings.extend(lost.map(|key| {
            format!(
                "{key} is gone or damaged, and its bytes are kept nowhere: run `homebrew-sync sync`, which fetches what the upstream has, or carry a bundle here that holds everything"
            )
        }));
        return Ok(Some(Whole {
            settled,
            external: merged,
            warnings,
        }));
    }
}

fn marked(settled: &Settled) -> Option<Timestamp> {
    Timestamp::try_from(settled.log.marks.last()?.written).ok()
}

/// Writes the hash file of a generation, if it says something new.
pub(crate) async fn write_hash_file(
    store: &Store,
    generation: &Generation,
    external: Option<&HashFile>,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<Option<Merged>, StoreError> {
    let earlier = match hashfile::read(store, now).await? {
        hashfile::Found::Missing => None,
        hashfile::Found::File(file) => Some(file),
        hashfile::Found::Damaged { aside, error } => {
            warnings.push(format!(
                "{}: {error}; it was moved to {aside} and made anew from the mirror's log",
                hashfile::KEY
            ));
            None
        }
    };
    let mut file = HashFile::of(generation, earlier.as_ref(), now);
    let merged = external.map(|external| file.merge(external));
    if earlier.as_ref() != Some(&file) {
        store.put(hashfile::KEY, file.encode().into()).await?;
    }
    Ok(merged)
}
