//! The mirror's own log: its generations, and which of them is current. It lies in the store, below `.syncline/mirror/log/`.
//!
//! What must hold: nothing in it is ever written over, so that two runs at once lose nothing of each other; the current generation is the
//! one of the highest mark, and of two marks of the same number the one with the greater name: everybody who lists sees the same. Only who
//! goes back marks a generation a second time.
//!
//! It deliberately uses no conditional write, rename or lock: not every store has them.

mod full;
mod notes;
mod sequence;

pub(crate) use full::keep_reserve;
pub use notes::{PruneNote, PruneSign, RollbackNote, announce_rollback, store_time};
pub(crate) use sequence::is_mirror;
pub use sequence::note_import;

use crate::api::Bottle;
use crate::selection::Selection;
use crate::upstream::Validators;
use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// Below what everything of this tool lies that is no part of the mirror.
pub const OWN: &str = ".syncline/mirror";

const LOG: &str = ".syncline/mirror/log";

/// Where old bytes of files lie that were written over since, by their digest.
pub(crate) const KEPT: &str = ".syncline/mirror/files";

/// The version of the form of a generation.
const FORMAT: u32 = 1;

/// How hard generations are compressed: they are mostly digests.
const LEVEL: i32 = 3;

/// One state of the mirror: what clients are to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The version of this form.
    pub format: u32,
    /// Counts up.
    pub number: u64,
    /// When it was made.
    pub created: Timestamp,
    /// The one that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Names the mirror that made it: where it is carried to, another mirror's is told from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// What was asked for.
    pub selection: Selection,
    /// The API's files, by their paths below `api/`.
    pub api: BTreeMap<String, ApiEntry>,
    /// The manifests, by their keys.
    pub manifests: BTreeMap<String, FileEntry>,
    /// The bottles, sorted.
    pub bottles: Vec<Held>,
}

/// A file whose bytes may change under its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
    /// How many bytes it has.
    pub size: u64,
}

/// A file of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiEntry {
    /// The file.
    #[serde(flatten)]
    pub file: FileEntry,
    /// What its server is asked with the next time.
    #[serde(flatten)]
    pub validators: Validators,
    /// How many formulae with bottles it names, if it is one that names bottles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottles: Option<u64>,
    /// The name of the key that its signature was seen to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
}

/// A bottle that the mirror holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// The formula.
    pub formula: String,
    /// Version and revision.
    pub version: String,
    /// The rebuild.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rebuild: u64,
    /// What it was built for.
    pub tag: String,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// How many bytes the file has.
    pub size: u64,
    /// The day it came, such as 2026-11-27.
    pub date: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands in a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Held {
    /// Returns the bottle.
    #[must_use]
    pub fn bottle(&self) -> Bottle {
        Bottle {
            formula: self.formula.clone(),
            version: self.version.clone(),
            rebuild: self.rebuild,
            tag: self.tag.clone(),
            sha256: self.sha256.clone(),
        }
    }

    /// Returns the key of its bytes.
    #[must_use]
    pub fn blob_key(&self) -> String {
        crate::names::blob_key(&self.formula, &self.sha256)
    }

    /// Returns the key of its manifest.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        let tag = crate::names::manifest_tag(&self.version, self.rebuild);
        crate::names::manifest_key(&self.formula, &tag)
    }
}

/// Names a generation: its number and a part of the digest of what it says, so that two of the same number have two names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(String);

impl GenerationId {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number in it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0
            .split('-')
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    }

    /// Reads a name; nothing if the text is none.
    pub(crate) fn parse(text: &str) -> Option<GenerationId> {
        let (number, sum) = text.split_once('-')?;
        let is_one = number.len() == 8
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && sum.len() == 16
            && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| GenerationId(text.to_owned()))
    }
}

impl std::fmt::Display for GenerationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says that a generation became current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Counts up; the highest holds.
    pub number: u64,
    /// The generation.
    pub generation: GenerationId,
    /// When it was written, by the store's clock.
    pub written: SystemTime,
}

impl Mark {
    /// Names the mark: no two have the same name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:08}-{}", self.number, self.generation)
    }
}

/// What the log says.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The generations that are there, in order of their numbers; with the time of the store's clock.
    pub generations: BTreeMap<GenerationId, SystemTime>,
    /// The marks, the last one holds.
    pub marks: Vec<Mark>,
    /// Who is removing something.
    pub prunes: Vec<PruneNote>,
    /// Who is about to make another generation the current one.
    pub rollbacks: Vec<RollbackNote>,
    /// Generations that were carried here, each with the name of its mirror.
    pub imports: Vec<(String, GenerationId)>,
    /// What was written only to learn the time, each with it: a run that was killed may leave one.
    pub clocks: Vec<(String, SystemTime)>,
    /// The highest numbers of generations that were taken away.
    highest: Vec<u64>,
}

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A generation is not what it was.
    #[error("the generation {id} in {place} is damaged: {why}")]
    Damaged {
        /// Which one.
        id: String,
        /// The store.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A newer program wrote it: it is whole, and this one does not understand it.
    #[error("generation {id} in {place} has format {format}, and this program knows {FORMAT}")]
    Newer {
        /// Which one.
        id: String,
        /// The store.
        place: String,
        /// Its format.
        format: u32,
    },
    /// Generations that are kept are not what they were, so what nobody needs cannot be known.
    #[error(
        "the records of {} in {place} are damaged ({why}), so it is not known what is needed",
        generations(ids)
    )]
    NeedsUnknown {
        /// Which ones.
        ids: Vec<String>,
        /// The store.
        place: String,
        /// What is wrong with the first one.
        why: String,
    },
    /// There are files of a mirror, and nothing says which of them are needed.
    #[error("there is no log of the mirror in {place}, so it is not known what is needed")]
    NoLog {
        /// The store.
        place: String,
    },
    /// There was a log, and now there is none: a disk that is not mounted any more, or an emptied bucket.
    #[error("the log of the mirror in {place} is gone; generation {id} was the current one")]
    Vanished {
        /// The one that was current.
        id: String,
        /// The store.
        place: String,
    },
    /// What a generation needs went while it was made.
    #[error(
        "{key} was there for this run, and is gone: another run pruned, or somebody removed it"
    )]
    Pruned {
        /// What went.
        key: String,
    },
    /// What is current may change at any moment.
    #[error("a rollback is under way, so it is not certain what is needed")]
    RollingBack,
    /// Others may have taken it for dead, and rely on what it was about to remove.
    #[error(
        "this prune was held up for minutes, so others may rely by now on what it was to remove"
    )]
    HeldUp,
    /// What a generation needs may go at any moment.
    #[error("{key} may be removed at any moment: a prune is under way")]
    Pruning {
        /// What may go.
        key: String,
    },
}

fn generations(ids: &[String]) -> String {
    match ids {
        [id] => format!("generation {id}"),
        ids => format!("the generations {}", ids.join(", ")),
    }
}

impl Generation {
    /// Makes the first generation of a mirror: an empty one.
    #[must_use]
    pub fn empty(created: Timestamp) -> Generation {
        Generation {
            format: FORMAT,
            number: 0,
            created,
            base: None,
            mirror: None,
            selection: Selection::default(),
            api: BTreeMap::new(),
            manifests: BTreeMap::new(),
            bottles: Vec::new(),
        }
    }

    /// Returns how many bytes its bottles have, each file counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let blobs: BTreeMap<String, u64> = self
            .bottles
            .iter()
            .map(|held| (held.blob_key(), held.size))
            .collect();
        blobs.values().sum()
    }

    /// Returns its name.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        self.encode().0
    }

    fn encode(&self) -> (GenerationId, Vec<u8>) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let sum = Digest::of(&text).to_string();
        let id = GenerationId(format!("{:08}-{}", self.number, &sum[..16]));
        // Memory takes it; there is nothing else that could fail.
        let packed = zstd::bulk::compress(&text, LEVEL).unwrap_or_default();
        (id, packed)
    }
}

impl Log {
    /// The generations that marks name and that are not there, each once.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &GenerationId> {
        let named: BTreeSet<&GenerationId> =
            self.marks.iter().map(|mark| &mark.generation).collect();
        named
            .into_iter()
            .filter(|id| !self.generations.contains_key(*id))
    }

    /// Lists the log.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub async fn read(store: &Store) -> Result<Log, StoreError> {
        let mut log = Log::default();
        // Not `list`: that leaves out what begins with a dot, as the litter of sync tools does.
        let mut entries = store.list_stream(LOG);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let Some(name) = entry.key.rsplit('/').next() else {
                continue;
            };
            if let Some(id) = name
                .strip_prefix("generation-")
                .and_then(|rest| rest.strip_suffix(".json.zst"))
            {
                if let Some(id) = GenerationId::parse(id) {
                    log.generations.insert(id, entry.modified);
                }
            } else if log.take_prune(name, &entry.key, entry.modified) {
                continue;
            } else if name.starts_with("returning-") {
                let (key, written) = (entry.key, entry.modified);
                log.rollbacks.push(RollbackNote { key, written });
            } else if name.starts_with(notes::CLOCK) {
                log.clocks.push((entry.key, entry.modified));
            } else if log.take_note(name) {
                continue;
            } else if let Some((number, id)) = name
                .strip_prefix("current-")
                .and_then(|rest| rest.split_once('-'))
                && let (Ok(number), Some(generation)) = (number.parse(), GenerationId::parse(id))
            {
                let written = entry.modified;
                log.marks.push(Mark {
                    number,
                    generation,
                    written,
                });
            }
        }
        log.marks
            .sort_by(|a, b| (a.number, &a.generation).cmp(&(b.number, &b.generation)));
        Ok(log)
    }

    /// Returns the current generation's name.
    #[must_use]
    pub fn current(&self) -> Option<&GenerationId> {
        self.marks.last().map(|mark| &mark.generation)
    }

    /// Returns the generations that were ever current and are still there, the one that became so last at the end.
    #[must_use]
    pub fn published(&self) -> Vec<&GenerationId> {
        let mut found: Vec<&GenerationId> = Vec::new();
        for mark in &self.marks {
            if self.generations.contains_key(&mark.generation) {
                found.retain(|id| *id != &mark.generation);
                found.push(&mark.generation);
            }
        }
        found
    }

    /// Returns the generations that runs published beside the current one without seeing it: what they hold may not be in it. That two runs
    /// did not see each other shows in their marks, which have the same number. One that had been current before was gone back to, and was
    /// known to all.
    #[must_use]
    pub fn rivals(&self) -> Vec<&GenerationId> {
        let Some(top) = self.marks.last() else {
            return Vec::new();
        };
        let is_new = |mark: &&Mark| {
            let is_earlier =
                |other: &Mark| other.generation == mark.generation && other.number < mark.number;
            !self.marks.iter().any(is_earlier)
        };
        self.marks
            .iter()
            .filter(|mark| mark.number == top.number && mark.generation != top.generation)
            .filter(is_new)
            .map(|mark| &mark.generation)
            .filter(|id| self.generations.contains_key(id))
            .collect()
    }

    /// Finds the published generations that a number, or a whole name, stands for: two runs at once may have taken the same number.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&GenerationId> {
        let number: Option<u64> = name.parse().ok();
        let mut found = self.published();
        found.retain(|id| Some(id.number()) == number || id.as_str() == name);
        found
    }
}

/// Reads a generation.
///
/// # Errors
/// If it is not there, or not what its name says.
pub async fn read(store: &Store, id: &GenerationId) -> Result<Generation, LogError> {
    match store.get(&generation_key(id)).await {
        Ok(packed) => decode(&packed, id, &store.describe()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(LogError::Damaged {
            id: id.to_string(),
            place: store.describe(),
            why: "it is gone".to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Reads a generation that came from somewhere.
///
/// # Errors
/// If it is not what its name says.
pub fn decode(packed: &[u8], id: &GenerationId, place: &str) -> Result<Generation, LogError> {
    let damaged = |why: String| LogError::Damaged {
        id: id.to_string(),
        place: place.to_owned(),
        why,
    };
    let text = zstd::stream::decode_all(packed).map_err(|error| damaged(error.to_string()))?;
    let sum = Digest::of(&text).to_string();
    if !id.as_str().ends_with(&sum[..16]) {
        return Err(damaged("its contents do not fit its name".to_owned()));
    }
    let generation: Generation =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    match generation.format {
        FORMAT => Ok(generation),
        format => Err(LogError::Newer {
            id: id.to_string(),
            place: place.to_owned(),
            format,
        }),
    }
}

/// Writes a generation; it is not current yet.
///
/// # Errors
/// If it is not certain that it was written.
pub async fn write(store: &Store, generation: &Generation) -> Result<GenerationId, StoreError> {
    let (id, packed) = generation.encode();
    store.put(&generation_key(&id), packed.into()).await?;
    Ok(id)
}

/// Makes a generation the current one, after all that `log` shows: the number of the mark says what its writer knew.
///
/// # Errors
/// If it is not certain that the mark was written.
pub async fn mark(store: &Store, log: &Log, id: &GenerationId) -> Result<(), StoreError> {
    let number = log.marks.last().map_or(0, |mark| mark.number) + 1;
    let key = format!("{LOG}/current-{number:08}-{id}");
    store.put(&key, id.to_string().into_bytes().into()).await
}

/// Removes generations and the marks that name them.
///
/// # Errors
/// If it is not certain that they are gone.
pub async fn forget(store: &Store, log: &Log, ids: &[GenerationId]) -> Result<(), StoreError> {
    sequence::note_highest(store, log, ids).await?;
    let marks = log
        .marks
        .iter()
        .filter(|mark| ids.contains(&mark.generation));
    let marks = marks.map(|mark| format!("{LOG}/current-{}", mark.name()));
    // Marks first: one that names a generation which is gone would have to be explained.
    store.delete(&marks.collect::<Vec<_>>()).await?;
    // Who goes back to one of them at this moment has written a new mark before reading the log again, and sees that the old ones are
    // gone, or that somebody prunes; what it settles on is not taken away meanwhile.
    let again = Log::read(store).await?;
    let is_wanted = |id: &&GenerationId| again.marks.iter().any(|mark| mark.generation == **id);
    let generations = ids.iter().filter(|id| !is_wanted(id)).map(generation_key);
    store.delete(&generations.collect::<Vec<_>>()).await
}

/// Returns the key of a generation.
#[must_use]
pub fn generation_key(id: &GenerationId) -> String {
    format!("{LOG}/generation-{id}.json.zst")
}

/// Returns where old bytes of a file are kept.
#[must_use]
pub fn kept_key(sha256: Digest) -> String {
    format!("{KEPT}/{sha256}")
}

/// Reads a file as a generation has it: under its own key, or, if another generation has written over that, where the old bytes are kept.
///
/// # Errors
/// `NotFound` or `Corrupt` if neither has the right bytes.
pub async fn read_file(
    store: &Store,
    key: &str,
    entry: &FileEntry,
) -> Result<bytes::Bytes, StoreError> {
    match store.get(key).await {
        Ok(bytes) if Digest::of(&bytes) == entry.sha256 => return Ok(bytes),
        Ok(_) => {}
        Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {}
        Err(error) => return Err(error),
    }
    let kept = kept_key(entry.sha256);
    let bytes = store.get(&kept).await?;
    match Digest::of(&bytes) == entry.sha256 {
        true => Ok(bytes),
        false => {
            let why = "its bytes do not have the digest that its name says";
            Err(StoreError::new(ErrorKind::Corrupt, "get", Some(&kept), why))
        }
    }
}

#[cfg(test)]
mod tests;
