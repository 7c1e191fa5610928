//! Makes the files under their names those of the generation that is current.
//!
//! What must hold: it ends only after a look at the log that was followed by a look at all files with nothing to mend, so that of several who
//! publish or go back at once the last one leaves the files as the last mark wants them; who died in between is made up for by the next run.
//!
//! It deliberately does not read a file again that it knows by the store's tag: a run that finds nothing new costs a request a file.

use super::replace;
use crate::log::{self, FileEntry, Generation, GenerationId, Log, LogError};
use crate::plan::api_key;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So often files are looked at again that were mended. A store that does not keep what is written must not be written to for ever.
const ROUNDS: usize = 10;

/// What this machine knows of the files of a store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The store.
    store: String,
    /// The mark under which all files were right.
    mark: Option<String>,
    /// Digests of files, by the store's tags.
    files: BTreeMap<String, SeenFile>,
    #[serde(skip)]
    path: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SeenFile {
    e_tag: String,
    size: u64,
    sha256: Digest,
}

/// What is current, and lies under its names.
pub struct Settled {
    /// The log as it was read last.
    pub log: Log,
    /// The current generation's name.
    pub id: GenerationId,
    /// The current generation.
    pub generation: Generation,
    /// Keys of files whose right bytes are nowhere.
    pub lost: Vec<String>,
}

impl Seen {
    /// Reads what was remembered in a directory about a store. What cannot be read is looked at again.
    #[must_use]
    pub fn load(dir: &Path, store: &Store) -> Seen {
        let place = store.describe();
        let name = Digest::of(place.as_bytes()).to_string();
        let path = dir.join(format!("seen-{}.json", &name[..16]));
        let read: Option<Seen> = std::fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Seen {
            path: Some(path),
            ..read
                .filter(|seen| seen.store == place)
                .unwrap_or_else(|| Seen {
                    store: place,
                    ..Seen::default()
                })
        }
    }

    /// Forgets it all, so that every file is read: its tag does not change where a disk turns a bit.
    #[must_use]
    pub fn forgotten(self) -> Seen {
        Seen {
            mark: None,
            files: BTreeMap::new(),
            ..self
        }
    }

    /// Writes it down. That fails only the next run's speed.
    pub fn save(&self) {
        let Some(path) = &self.path else { return };
        let text = serde_json::to_vec(self).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("."));
        let written = store::file::create_dir_durably(parent)
            .and_then(|()| store::file::atomic_write(path, &text));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "what was seen of the mirror's files is not remembered");
        }
    }

    /// Tells whether a file has the bytes that it should have.
    async fn is_right(
        &mut self,
        store: &Store,
        key: &str,
        entry: &FileEntry,
    ) -> Result<bool, StoreError> {
        let Some(found) = there(store.head(key).await)? else {
            return Ok(false);
        };
        if found.size != entry.size {
            return Ok(false);
        }
        if let (Some(e_tag), Some(known)) = (&found.e_tag, self.files.get(key))
            && (e_tag, found.size) == (&known.e_tag, known.size)
        {
            return Ok(known.sha256 == entry.sha256);
        }
        let Some(bytes) = there(store.get(key).await)? else {
            return Ok(false);
        };
        let sha256 = Digest::of(&bytes);
        let again = there(store.head(key).await)?.and_then(|again| again.e_tag);
        // The tag is that of these bytes only if nobody wrote between.
        if let Some(e_tag) = found.e_tag.filter(|e_tag| again.as_ref() == Some(e_tag)) {
            let size = found.size;
            let seen = SeenFile {
                e_tag,
                size,
                sha256,
            };
            self.files.insert(key.to_owned(), seen);
        }
        Ok(sha256 == entry.sha256)
    }
}

/// Takes what is not there, or is cut, for nothing.
fn there<T>(outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts the files of the current generation under their names, until that is so and the log says the same; nothing if nothing is current.
///
/// # Errors
/// If the store fails, or the current generation cannot be read.
pub async fn settle(store: &Store, seen: &mut Seen) -> Result<Option<Settled>, LogError> {
    let mut known: Option<(GenerationId, Generation)> = None;
    let mut round = 0;
    loop {
        let log = Log::read(store).await?;
        let Some(mark) = log.marks.last().cloned() else {
            return Ok(None);
        };
        let generation = match known {
            Some((id, generation)) if id == mark.generation => generation,
            _ => log::read(store, &mark.generation).await?,
        };
        let is_new = seen.mark.as_ref() != Some(&mark.name());
        let (mut written, lost) = put_right(store, &generation, seen, is_new).await?;
        if is_new {
            written.extend(crate::flat::put_right(store, &generation).await?);
        }
        round += 1;
        if written.is_empty() || round == ROUNDS {
            seen.mark = lost.is_empty().then(|| mark.name());
            seen.save();
            return Ok(Some(Settled {
                log,
                id: mark.generation,
                generation,
                lost: lost.into_iter().chain(written).collect(),
            }));
        }
        known = Some((mark.generation, generation));
    }
}

/// Puts right what is wrong; returns which files were written, and which are lost.
async fn put_right(
    store: &Store,
    generation: &Generation,
    seen: &mut Seen,
    is_new: bool,
) -> Result<(Vec<String>, Vec<String>), LogError> {
    let api = generation.api.iter();
    let mut files: Vec<(String, &FileEntry)> = api
        .map(|(path, entry)| (api_key(path), &entry.file))
        .collect();
    // Under a mark that is known nobody has touched a manifest who did not set another mark after it.
    if is_new {
        let kept = kept(store).await?;
        let manifests = generation.manifests.iter();
        // Whoever wrote another manifest under a name kept both.
        let doubtful = manifests.filter(|(_, entry)| kept.contains(&entry.sha256.to_string()));
        // They come first: the API makes clients ask for them.
        let doubtful = doubtful.map(|(key, entry)| (key.clone(), entry));
        files = doubtful.chain(files).collect();
    }
    let (mut written, mut lost) = (Vec::new(), Vec::new());
    for (key, entry) in files {
        if seen.is_right(store, &key, entry).await? {
            continue;
        }
        match there(log::read_file(store, &key, entry).await)? {
            Some(bytes) => {
                replace(store, &key, bytes).await?;
                written.push(key);
            }
            None => lost.push(key),
        }
    }
    Ok((written, lost))
}

/// Puts the API's files of a generation under their names before it is marked, as far as their bytes are anywhere.
///
/// # Errors
/// If the store fails.
pub(crate) async fn put_api_right(store: &Store, generation: &Generation) -> Result<(), LogError> {
    put_right(store, generation, &mut Seen::default(), false).await?;
    Ok(())
}

/// Names the API's files that clients of plain files do not find as a generation has them. Nothing is changed.
///
/// # Errors
/// If the store fails.
pub async fn not_as_named(
    store: &Store,
    generation: &Generation,
) -> Result<Vec<String>, StoreError> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (path, entry) in &generation.api {
        let key = api_key(path);
        if !seen.is_right(store, &key, &entry.file).await? {
            found.push(key);
        }
    }
    Ok(found)
}

/// Lists the digests of what is kept.
///
/// # Errors
/// If the store cannot be listed.
pub(crate) async fn kept(store: &Store) -> Result<BTreeSet<String>, StoreError> {
    let mut found = BTreeSet::new();
    let mut entries = store.list_stream(log::KEPT);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if let Some((_, digest)) = entry.key.rsplit_once('/') {
            found.insert(digest.to_owned());
        }
    }
    Ok(found)
}
