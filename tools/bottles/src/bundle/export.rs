//! Making a bundle.
//!
//! What must hold: what is written was compared with its digest, also what an earlier attempt wrote; a part has its name only when it is
//! whole and on the disk; an earlier index goes first and the new one comes last, so that a bundle with an index is complete. Another bundle is
//! written over only if that is said.

use super::{
    BundleError, BundleIndex, BundleObject, BundlePart, FORMAT, INDEX, SIGNATURE, SigningKey,
    file_error,
};
use crate::log::{self, FileEntry, Generation, GenerationId, Log};
use crate::plan::api_key;
use bytes::Bytes;
use futures::StreamExt;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use store::Store;
use store::file::AtomicFile;
use transfer::Digest;

/// Where an attempt notes what it has done.
const PROGRESS: &str = "progress.json";

/// What a bundle is made of.
pub struct ExportOptions<'e> {
    /// The generation that the far side has, by its number or its whole name; none carries everything.
    pub since: Option<&'e str>,
    /// Where the bundle's files go.
    pub dir: &'e Path,
    /// The largest file, in bytes.
    pub split: u64,
    /// Who signs.
    pub key: &'e SigningKey,
    /// Write over another bundle that lies there.
    pub replaces: bool,
}

/// What was made.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Exported {
    /// The generation that the far side gets.
    pub generation: String,
    /// How many objects it holds.
    pub objects: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many parts.
    pub parts: u64,
    /// Parts that an earlier attempt had made.
    pub parts_kept: u64,
}

/// Where an object's bytes are read.
enum From {
    /// Under its own key.
    Key,
    /// As a generation has it: under its key, or where old bytes are kept.
    File(FileEntry),
    /// In memory.
    Bytes(Bytes),
}

/// Makes a bundle of the current generation. One that was cut off goes on where it was, if nothing was published meanwhile.
///
/// # Errors
/// If the mirror is damaged, or a file cannot be written.
pub async fn export(store: &Store, options: ExportOptions<'_>) -> Result<Exported, BundleError> {
    let log = Log::read(store).await?;
    let id = log.current().cloned().ok_or(BundleError::Nothing)?;
    let generation = log::read(store, &id).await?;
    let since = match options.since {
        Some(name) => {
            let found = match log.named(name)[..] {
                [id] => id.clone(),
                [] => return Err(BundleError::NoSuchGeneration(name.to_owned())),
                ref several => {
                    let names = several.iter().map(ToString::to_string).collect();
                    return Err(BundleError::SeveralGenerations(names));
                }
            };
            Some((log::read(store, &found).await?, found))
        }
        None => None,
    };
    let record = store.get(&log::generation_key(&id)).await?;
    let wanted = wanted(
        &generation,
        since.as_ref().map(|(generation, _)| generation),
        &id,
        record,
    );
    let since = since.map(|(_, id)| id.to_string());
    check_free(&options, &id, since.as_deref(), &wanted)?;
    store::file::create_dir_durably(options.dir).map_err(file_error(options.dir))?;
    // What an export that was killed was writing. What cannot be cleared away stands in nobody's way.
    let _ = store::file::clear_temporaries(options.dir);
    let total = wanted.iter().map(|(object, _)| object.size).sum();
    // What was a bundle here is none from now on.
    for name in [INDEX, SIGNATURE] {
        remove(&options.dir.join(name))?;
    }
    store::file::sync_dir(options.dir).map_err(file_error(options.dir))?;
    let mut parts = Parts::begin(options.dir, options.split.max(1), plan_of(&wanted))?;
    let mut objects = Vec::with_capacity(wanted.len());
    for (object, from) in wanted {
        write_object(store, &object, from, &mut parts).await?;
        parts.prove()?;
        objects.push(object);
    }
    parts.end_part()?;
    remove_surplus(options.dir, parts.progress.parts.len())?;
    let index = BundleIndex {
        format: FORMAT,
        since,
        generation: id.to_string(),
        mirror: generation.mirror.clone(),
        objects,
        parts: parts.progress.parts,
    };
    let text =
        serde_json::to_vec_pretty(&index).map_err(|error| BundleError::Form(error.to_string()))?;
    let signature = options.dir.join(SIGNATURE);
    let signed = options.key.sign(&text);
    store::file::atomic_write(&signature, signed.as_bytes()).map_err(file_error(&signature))?;
    let path = options.dir.join(INDEX);
    store::file::atomic_write(&path, &text).map_err(file_error(&path))?;
    remove(&options.dir.join(PROGRESS))?;
    Ok(Exported {
        generation: index.generation,
        objects: index.objects.len() as u64,
        bytes: total,
        parts: index.parts.len() as u64,
        parts_kept: parts.kept,
    })
}

/// Looks that no other bundle lies in a directory, unless it may be written over. The same one may be made again, and one that was never finished
/// is none.
fn check_free(
    options: &ExportOptions<'_>,
    id: &GenerationId,
    since: Option<&str>,
    wanted: &[(BundleObject, From)],
) -> Result<(), BundleError> {
    if options.replaces {
        return Ok(());
    }
    let path = options.dir.join(INDEX);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(&path)(error)),
    };
    let there: Option<BundleIndex> = serde_json::from_slice(&bytes).ok();
    let is_same = there.as_ref().is_some_and(|there| {
        there.generation == id.as_str()
            && there.since.as_deref() == since
            && there
                .objects
                .iter()
                .eq(wanted.iter().map(|(object, _)| object))
    });
    match is_same {
        true => Ok(()),
        false => Err(BundleError::Taken {
            dir: options.dir.to_owned(),
            what: there.map_or_else(
                || "something else".to_owned(),
                |there| format!("generation {}", there.generation),
            ),
        }),
    }
}

fn remove(path: &Path) -> Result<(), BundleError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}

/// Removes the parts that a larger bundle left in the directory.
fn remove_surplus(dir: &Path, count: usize) -> Result<(), BundleError> {
    let ours: BTreeSet<String> = (0..count).map(name_of).collect();
    for entry in std::fs::read_dir(dir).map_err(file_error(dir))? {
        let entry = entry.map_err(file_error(dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("part-");
        let is_part = number.is_some_and(|number| {
            number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_part && !ours.contains(&name) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Lists what the far side lacks, in the order in which it has to be published.
fn wanted(
    generation: &Generation,
    since: Option<&Generation>,
    id: &GenerationId,
    record: Bytes,
) -> Vec<(BundleObject, From)> {
    let there: BTreeSet<String> = since
        .iter()
        .flat_map(|since| since.bottles.iter().map(log::Held::blob_key))
        .collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for held in &generation.bottles {
        let key = held.blob_key();
        let Ok(sha256) = held.sha256.parse() else {
            continue;
        };
        if !there.contains(&key) && seen.insert(key.clone()) {
            let size = held.size;
            found.push((BundleObject { key, size, sha256 }, From::Key));
        }
    }
    let file = |key: String, entry: &FileEntry| {
        let (size, sha256) = (entry.size, entry.sha256);
        (
            BundleObject { key, size, sha256 },
            From::File(entry.clone()),
        )
    };
    for (key, entry) in &generation.manifests {
        if since.and_then(|since| since.manifests.get(key)) != Some(entry) {
            found.push(file(key.clone(), entry));
        }
    }
    let object = BundleObject {
        key: log::generation_key(id),
        size: record.len() as u64,
        sha256: Digest::of(&record),
    };
    found.push((object, From::Bytes(record)));
    for (path, entry) in &generation.api {
        if since
            .and_then(|since| since.api.get(path))
            .map(|entry| &entry.file)
            != Some(&entry.file)
        {
            found.push(file(api_key(path), &entry.file));
        }
    }
    found
}

async fn write_object(
    store: &Store,
    object: &BundleObject,
    from: From,
    parts: &mut Parts<'_>,
) -> Result<(), BundleError> {
    if parts.skips(object.size) {
        return Ok(());
    }
    let bytes = match from {
        From::Bytes(bytes) => bytes,
        From::File(entry) => log::read_file(store, &object.key, &entry).await?,
        From::Key => {
            let mut context = Context::new(&SHA256);
            let (mut length, mut body) = (0, store.read(&object.key, None).await?);
            while let Some(bytes) = body.next().await {
                let bytes = bytes?;
                context.update(&bytes);
                length += bytes.len() as u64;
                parts.write(&bytes)?;
            }
            let is_right = length == object.size && context.finish().as_ref() == object.sha256.0;
            return match is_right {
                true => Ok(()),
                false => Err(BundleError::DamagedHere {
                    key: object.key.clone(),
                }),
            };
        }
    };
    parts.write(&bytes)
}

/// What an attempt has done so far, kept beside the parts until the index is there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// The digest of the list of objects, and the size of a part: the parts of another bundle are of no use.
    plan: Digest,
    split: u64,
    parts: Vec<BundlePart>,
    /// So much of the stream is objects that had their digests. A part that goes on beyond may hold what turned out to be damaged.
    #[serde(default)]
    proved: u64,
}

/// The files of a bundle, as they are written.
struct Parts<'p> {
    dir: &'p Path,
    /// How far the stream of all objects is.
    at: u64,
    /// So much of the stream is in parts that an earlier attempt had made.
    known: u64,
    progress: Progress,
    kept: u64,
    open: Option<(AtomicFile, Context, u64)>,
}

impl<'p> Parts<'p> {
    /// Begins, or goes on where an earlier attempt at the same bundle ended: its parts are read and compared first.
    fn begin(dir: &'p Path, split: u64, plan: Digest) -> Result<Parts<'p>, BundleError> {
        let mut parts = Parts {
            dir,
            at: 0,
            known: 0,
            progress: Progress {
                plan,
                split,
                parts: Vec::new(),
                proved: 0,
            },
            kept: 0,
            open: None,
        };
        let path = dir.join(PROGRESS);
        let earlier = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Progress>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(file_error(&path)(error)),
        };
        let earlier = earlier.filter(|earlier| earlier.plan == plan && earlier.split == split);
        let proved = earlier.as_ref().map_or(0, |earlier| earlier.proved);
        for part in earlier.map_or_else(Vec::new, |earlier| earlier.parts) {
            // The last part may be short only at the end, and then the index is all that is missing.
            if parts.known + part.size > proved
                || part.file != name_of(parts.progress.parts.len())
                || super::reading::check(dir, &part).is_err()
            {
                break;
            }
            parts.known += part.size;
            parts.kept += 1;
            parts.progress.parts.push(part);
        }
        parts.progress.proved = parts.known;
        Ok(parts)
    }

    /// Notes that all objects so far had their digests. It is put down at once only where a part that is written depends on it.
    fn prove(&mut self) -> Result<(), BundleError> {
        let written: u64 = self.progress.parts.iter().map(|part| part.size).sum();
        let is_needed = self.progress.proved < written && written <= self.at;
        self.progress.proved = self.progress.proved.max(self.at);
        match is_needed {
            true => self.note(),
            false => Ok(()),
        }
    }

    fn note(&self) -> Result<(), BundleError> {
        let path = self.dir.join(PROGRESS);
        let text = serde_json::to_vec(&self.progress).unwrap_or_default();
        store::file::atomic_write(&path, &text).map_err(file_error(&path))
    }

    /// Tells whether an object of this size lies wholly in parts that are there, and passes it over then.
    fn skips(&mut self, size: u64) -> bool {
        let is_there = self.at + size <= self.known;
        if is_there {
            self.at += size;
        }
        is_there
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), BundleError> {
        if self.at < self.known {
            let there = usize::try_from(self.known - self.at)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.at += there as u64;
            bytes = &bytes[there..];
        }
        while !bytes.is_empty() {
            let path = self.dir.join(name_of(self.progress.parts.len()));
            let (file, context, length) = match &mut self.open {
                Some(open) => open,
                None => {
                    let file = AtomicFile::create(&path).map_err(file_error(&path))?;
                    self.open.insert((file, Context::new(&SHA256), 0))
                }
            };
            let room = usize::try_from(self.progress.split - *length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            file.write_all(now).map_err(file_error(&path))?;
            context.update(now);
            *length += now.len() as u64;
            self.at += now.len() as u64;
            bytes = later;
            if *length == self.progress.split {
                self.end_part()?;
            }
        }
        Ok(())
    }

    /// Ends the part that is open, if one is.
    fn end_part(&mut self) -> Result<(), BundleError> {
        let Some((file, context, size)) = self.open.take() else {
            return Ok(());
        };
        let name = name_of(self.progress.parts.len());
        let path = self.dir.join(&name);
        file.commit().map_err(file_error(&path))?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        self.progress.parts.push(BundlePart {
            file: name,
            size,
            sha256: Digest(sha256),
        });
        self.note()
    }
}

fn name_of(number: usize) -> String {
    format!("part-{number:04}")
}

/// Names a list of objects: the same list is the same bundle.
fn plan_of(wanted: &[(BundleObject, From)]) -> Digest {
    let mut text = Vec::new();
    for (object, _) in wanted {
        text.extend_from_slice(object.key.as_bytes());
        text.extend_from_slice(&object.sha256.0);
        text.extend_from_slice(&object.size.to_le_bytes());
    }
    Digest::of(&text)
}
