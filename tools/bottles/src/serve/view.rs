//! One generation, as a server finds things in it.

use crate::log::{self, FileEntry, Generation, GenerationId, Log, LogError};
use crate::names;
use crate::plan::api_key;
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::Store;
use tokio::sync::OnceCell;

/// Something that was asked for and is not mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// When.
    pub time: Timestamp,
    /// What, as it was asked.
    pub path: String,
    /// Who: the client's `User-Agent`.
    pub agent: String,
}

/// A generation with its indices.
#[derive(Default)]
pub(super) struct View {
    pub(super) id: Option<GenerationId>,
    pub(super) generation: Option<Generation>,
    /// Files whose bytes may change under their names, by the key; each is read once and kept.
    files: HashMap<String, (FileEntry, Arc<OnceCell<Bytes>>)>,
    /// Blobs by their keys, with their sizes.
    blobs: HashMap<String, u64>,
    /// Blobs' keys by their names in the flat layout.
    flat: HashMap<String, String>,
    pub(super) published: Vec<GenerationId>,
}

/// What a path leads to.
pub(super) enum Target {
    /// A file that is held in memory.
    File {
        key: String,
        entry: FileEntry,
        bytes: Arc<OnceCell<Bytes>>,
    },
    /// A blob of this generation.
    Blob { key: String, size: u64 },
    /// Something that only an older generation has, if any.
    Older(String),
}

impl View {
    /// Reads the current generation, if it is another one than is known.
    pub(super) async fn newer(store: &Store, known: &View) -> Result<Option<View>, LogError> {
        let log = Log::read(store).await?;
        let Some(id) = log.current() else {
            return Ok(None);
        };
        if known.id.as_ref() == Some(id) {
            return Ok(None);
        }
        let generation = log::read(store, id).await?;
        let published = log.published().into_iter().cloned().collect();
        Ok(Some(View::of(id.clone(), generation, published)))
    }

    fn of(id: GenerationId, generation: Generation, published: Vec<GenerationId>) -> View {
        let mut view = View {
            id: Some(id),
            published,
            ..View::default()
        };
        for (path, entry) in &generation.api {
            view.files
                .insert(api_key(path), (entry.file.clone(), Arc::default()));
        }
        for (key, entry) in &generation.manifests {
            view.files
                .insert(key.clone(), (entry.clone(), Arc::default()));
        }
        for held in &generation.bottles {
            let key = held.blob_key();
            let name = names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
            view.flat.insert(name, key.clone());
            view.blobs.insert(key, held.size);
        }
        view.generation = Some(generation);
        view
    }

    pub(super) fn name(&self) -> String {
        self.id
            .as_ref()
            .map_or_else(|| "none".to_owned(), GenerationId::to_string)
    }

    /// Tells what a path leads to; nothing if it cannot be a part of a mirror.
    pub(super) fn find(&self, path: &str) -> Option<Target> {
        let path = percent_decode_str(path.strip_prefix('/')?)
            .decode_utf8()
            .ok()?;
        let is_plain = path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
        if !is_plain || path.contains(|c: char| c.is_control()) {
            return None;
        }
        let key = self.key_of(&path)?;
        if let Some((entry, bytes)) = self.files.get(&key) {
            return Some(Target::File {
                key,
                entry: entry.clone(),
                bytes: bytes.clone(),
            });
        }
        if let Some(size) = self.blobs.get(&key) {
            return Some(Target::Blob { key, size: *size });
        }
        key.starts_with(names::CORE).then_some(Target::Older(key))
    }

    /// Returns the key that a path stands for, in whichever layout.
    fn key_of(&self, path: &str) -> Option<String> {
        if path.starts_with("api/") || path.starts_with("v2/homebrew/core/") {
            return Some(path.to_owned());
        }
        // Clients up to 5.0.0 look for their Ruby here.
        if let Some(rest) = path.strip_prefix("v2/homebrew/portable-ruby/portable-ruby/") {
            return Some(format!("{}/portable-ruby/{rest}", names::CORE));
        }
        let file = path.strip_prefix("bottles-portable-ruby/").unwrap_or(path);
        if let Some(key) = self.flat.get(file) {
            return Some(key.clone());
        }
        let (image, tag) = path.rsplit_once("/manifests/")?;
        Some(format!("{}/{image}/manifests/{tag}", names::CORE))
    }

    /// Counts bottles by what they are built for.
    pub(super) fn by_tag(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for held in self
            .generation
            .iter()
            .flat_map(|generation| &generation.bottles)
        {
            let (count, bytes) = found.entry(&held.tag).or_default();
            *count += 1;
            *bytes += held.size;
        }
        found
    }
}
