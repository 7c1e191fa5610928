//! One generation, as a server finds things in it, and what only other generations have.
//!
//! What must hold: a path of which no generation speaks costs the store nothing; a file counts as changed when this server began to hand
//! it out, not when its upstream changed it: clients say when they fetched, and may have fetched the old one until then.

use crate::log::{self, FileEntry, Generation, GenerationId, Log, LogError};
use crate::names;
use crate::plan::api_key;
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::{ErrorKind, Store, StoreError};
use tokio::sync::OnceCell;

/// A file whose bytes may change under its name. One of the API is read once and kept; a manifest is small, and there are tens of
/// thousands.
#[derive(Clone)]
pub(super) struct ServedFile {
    pub(super) entry: FileEntry,
    pub(super) bytes: Arc<OnceCell<Bytes>>,
    /// The same, packed, for who can unpack it.
    pub(super) packed: Arc<OnceCell<Option<Bytes>>>,
    /// Since when every server hands out these bytes, in seconds since 1970; none where that is not known.
    pub(super) changed: Option<u64>,
}

/// A generation with its indices.
#[derive(Default)]
pub(super) struct View {
    pub(super) id: Option<GenerationId>,
    pub(super) generation: Option<Generation>,
    files: HashMap<String, ServedFile>,
    /// Blobs by their keys, with their sizes.
    blobs: HashMap<String, u64>,
    /// Blobs' keys by their names in the flat layout.
    flat: HashMap<String, String>,
    pub(super) published: Vec<GenerationId>,
    /// All of its bytes, each file counted once: to count them takes too long to do it for whoever asks.
    pub(super) bytes: u64,
    /// How many bottles are built for what, and their bytes.
    pub(super) by_tag: BTreeMap<String, (u64, u64)>,
    others: OnceCell<Others>,
}

/// What the other generations have that the current one has not, and how large each is.
#[derive(Default)]
pub(super) struct Others {
    files: HashMap<String, FileEntry>,
    blobs: HashMap<String, u64>,
    flat: HashMap<String, String>,
    /// All generations, the current one too, the one that became current last at the end.
    pub(super) runs: Vec<Run>,
}

/// What is told of one generation.
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) created: Timestamp,
    pub(super) bottles: u64,
    pub(super) bytes: u64,
}

/// What a path leads to.
pub(super) enum Target {
    /// A file that is held in memory.
    File { key: String, file: ServedFile },
    /// A blob.
    Blob { key: String, size: u64 },
}

/// What a path stands for.
enum Place {
    Key(String),
    /// A file of the flat layout.
    Flat(String),
}

impl View {
    /// Reads the current generation, if it is another one than is known, or is to be read `anew`. `every` is how often servers look.
    ///
    /// # Errors
    /// If the log or the generation cannot be read, or if there is no log where there was one: nobody removes the last mark of a mirror.
    pub(super) async fn newer(
        store: &Store,
        known: &View,
        every: Duration,
        anew: bool,
    ) -> Result<Option<View>, LogError> {
        let log = Log::read(store).await?;
        let Some(mark) = log.marks.last() else {
            return match &known.id {
                Some(id) => Err(LogError::Vanished {
                    id: id.to_string(),
                    place: store.describe(),
                }),
                None => Ok(None),
            };
        };
        let id = &mark.generation;
        if !anew && known.id.as_ref() == Some(id) {
            return Ok(None);
        }
        let generation = log::read(store, id).await?;
        // Until now this server handed out what was before, and until then another one may have.
        let since = SystemTime::now().max(mark.written + every);
        let since = since.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.map_or(0, |since| since.as_secs() + 1);
        let mut view = View::of(generation, since, known);
        view.id = Some(id.clone());
        view.published = log.published().into_iter().cloned().collect();
        Ok(Some(view))
    }

    fn of(generation: Generation, since: u64, known: &View) -> View {
        let mut view = View::default();
        let api = generation.api.iter();
        let api = api.map(|(path, entry)| (api_key(path), &entry.file));
        let manifests = generation.manifests.iter();
        let manifests = manifests.map(|(key, entry)| (key.clone(), entry));
        for (key, entry) in api.chain(manifests) {
            let same = known.files.get(&key).filter(|file| file.entry == *entry);
            let file = same.cloned().unwrap_or_else(|| ServedFile {
                entry: entry.clone(),
                bytes: Arc::default(),
                packed: Arc::default(),
                changed: Some(since),
            });
            view.files.insert(key, file);
        }
        for held in &generation.bottles {
            let key = held.blob_key();
            let name = names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
            view.flat.insert(name, key.clone());
            view.blobs.insert(key, held.size);
            let (count, bytes) = view.by_tag.entry(held.tag.clone()).or_default();
            *count += 1;
            *bytes += held.size;
        }
        view.bytes = generation.bytes();
        view.generation = Some(generation);
        view
    }

    pub(super) fn name(&self) -> String {
        self.id
            .as_ref()
            .map_or_else(|| "none".to_owned(), GenerationId::to_string)
    }

    /// Tells what a path leads to, in this generation or else in another one; nothing if it cannot be a part of a mirror, or no
    /// generation has it.
    ///
    /// # Errors
    /// If the other generations cannot be read.
    pub(super) async fn find(
        &self,
        store: &Store,
        path: &str,
    ) -> Result<Option<Target>, StoreError> {
        if let Some(target) = self.find_at(store, path).await? {
            return Ok(Some(target));
        }
        // The same address serves clients of a mirror whose flat layout lies there as files.
        let below = path.strip_prefix('/');
        let below = below.and_then(|path| path.strip_prefix(crate::flat::ROOT));
        match below.filter(|rest| rest.starts_with('/')) {
            Some(rest) => self.find_at(store, rest).await,
            None => Ok(None),
        }
    }

    async fn find_at(&self, store: &Store, path: &str) -> Result<Option<Target>, StoreError> {
        let Some(place) = place_of(path) else {
            return Ok(None);
        };
        if let Some(target) = self.own(&place) {
            return Ok(Some(target));
        }
        let is_bottle = match &place {
            Place::Key(key) => key.starts_with(names::CORE),
            Place::Flat(name) => name.contains(".bottle."),
        };
        match is_bottle {
            true => Ok(self.others(store).await?.find(place)),
            false => Ok(None),
        }
    }

    fn own(&self, place: &Place) -> Option<Target> {
        let key = match place {
            Place::Key(key) => key,
            Place::Flat(name) => self.flat.get(name)?,
        };
        if let Some(file) = self.files.get(key) {
            return Some(Target::File {
                key: key.clone(),
                file: file.clone(),
            });
        }
        let size = *self.blobs.get(key)?;
        Some(Target::Blob {
            key: key.clone(),
            size,
        })
    }

    /// Tells whether this generation names what a path led to, so that it should be there.
    pub(super) fn names(&self, target: &Target) -> bool {
        match target {
            Target::File { key, .. } => self.files.contains_key(key),
            Target::Blob { key, .. } => self.blobs.contains_key(key),
        }
    }

    /// Reads the other generations, once.
    ///
    /// # Errors
    /// If the store fails. One that is damaged, or was pruned meanwhile, is passed over.
    pub(super) async fn others(&self, store: &Store) -> Result<&Others, StoreError> {
        let read = || async {
            let mut others = Others::default();
            for id in &self.published {
                if self.id.as_ref() == Some(id) {
                    others.runs.extend(self.generation.as_ref().map(run_of));
                    continue;
                }
                match log::read(store, id).await {
                    Ok(generation) => others.take(&generation, self),
                    Err(LogError::Store(error)) if error.kind() != ErrorKind::NotFound => {
                        return Err(error);
                    }
                    Err(error) => tracing::warn!(%error, "a generation is passed over"),
                }
            }
            Ok(others)
        };
        self.others.get_or_try_init(read).await
    }
}

impl Others {
    fn take(&mut self, generation: &Generation, current: &View) {
        for (key, entry) in &generation.manifests {
            if !current.files.contains_key(key) {
                self.files.insert(key.clone(), entry.clone());
            }
        }
        for held in &generation.bottles {
            let key = held.blob_key();
            let name = names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
            if current.flat.get(&name) != Some(&key) {
                self.flat.insert(name, key.clone());
                self.blobs.insert(key, held.size);
            }
        }
        self.runs.push(run_of(generation));
    }

    fn find(&self, place: Place) -> Option<Target> {
        let key = match place {
            Place::Key(key) => key,
            Place::Flat(name) => self.flat.get(&name)?.clone(),
        };
        if let Some(entry) = self.files.get(&key) {
            let file = ServedFile {
                entry: entry.clone(),
                bytes: Arc::default(),
                packed: Arc::default(),
                changed: None,
            };
            return Some(Target::File { key, file });
        }
        let size = *self.blobs.get(&key)?;
        Some(Target::Blob { key, size })
    }
}

fn run_of(generation: &Generation) -> Run {
    Run {
        number: generation.number,
        created: generation.created,
        bottles: generation.bottles.len() as u64,
        bytes: generation.bytes(),
    }
}

/// Tells what a path stands for, in whichever layout; nothing if it cannot be a part of a mirror.
fn place_of(path: &str) -> Option<Place> {
    let path = percent_decode_str(path.strip_prefix('/')?)
        .decode_utf8()
        .ok()?;
    let is_plain = path
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..");
    if !is_plain || path.contains(|c: char| c.is_control()) {
        return None;
    }
    if path.starts_with("api/") || path.starts_with("v2/homebrew/core/") {
        return Some(Place::Key(path.into_owned()));
    }
    // Clients up to 5.0.0 look for their Ruby here.
    if let Some(rest) = path.strip_prefix("v2/homebrew/portable-ruby/portable-ruby/") {
        return Some(Place::Key(format!("{}/portable-ruby/{rest}", names::CORE)));
    }
    if let Some((image, tag)) = path.rsplit_once("/manifests/") {
        return Some(Place::Key(format!(
            "{}/{image}/manifests/{tag}",
            names::CORE
        )));
    }
    let file = path.strip_prefix("bottles-portable-ruby/").unwrap_or(&path);
    Some(Place::Flat(file.to_owned()))
}
