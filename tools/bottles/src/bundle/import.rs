//! Taking a bundle in.
//!
//! What must hold: the signature first; then all parts; then what the far side has; only then is anything stored. An object is stored under a key
//! that a mirror can have, and nowhere else. The generation becomes current last. One that is current already is mended from its bundle, its record
//! too. What the bundle leaves out may be of any generation that is kept here, and is read unless the current one vouches for it.

use super::reading::{self, BundleSource, FromBundle, Stream};
use super::{BundleError, BundleIndex, BundleObject, FORMAT, INDEX, SIGNATURE, TrustedKey};
use crate::log::{self, FileEntry, Generation, GenerationId, Held, Log, LogError};
use crate::plan::{api_key, is_right, trusts_checksums};
use crate::publish::{self, Seen};
use crate::sync::fetch::{self, FetchOptions};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So many objects are read at once.
const AT_ONCE: usize = 8;

/// How a bundle is taken in.
pub struct ImportOptions<'i> {
    /// The bundle's directory.
    pub dir: &'i Path,
    /// Whose signatures are taken.
    pub trusted: &'i [TrustedKey],
    /// Take in what this side has gone back from.
    pub again: bool,
    /// Take in what another mirror made than the one that this side follows.
    pub other_mirror: bool,
    /// Only look.
    pub dry_run: bool,
    /// How the bottles are stored.
    pub fetching: FetchOptions,
}

/// What was taken in.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Imported {
    /// The generation that is current now.
    pub generation: String,
    /// Whether it was current before.
    pub already_there: bool,
    /// Objects that were stored.
    pub stored: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there.
    pub kept: u64,
    /// Bottles of the generation.
    pub bottles: u64,
    /// Their bytes, each file counted once.
    pub bottle_bytes: u64,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Takes a bundle in. It can be repeated, and goes on where it was cut off.
///
/// # Errors
/// If the bundle is not whole, not signed by whom this side trusts, leads back, or builds on what is not here.
pub async fn import(store: &Store, options: ImportOptions<'_>) -> Result<Imported, BundleError> {
    let index = read_index(&options)?;
    let id = GenerationId::parse(&index.generation)
        .ok_or_else(|| BundleError::Form(format!("{:?} names no generation", index.generation)))?;
    let mut imported = Imported {
        generation: id.to_string(),
        ..Imported::default()
    };
    let log = Log::read(store).await?;
    if log.current() == Some(&id) {
        return mend(store, &options, &index, (&log, &id), imported).await;
    }
    check_order(&log, &index, &id, &options)?;
    check_parts(&options, &index)?;
    let present = crate::sync::listed(store).await?;
    let next = generation_in(&options, &index, &id)?;
    let base = match log.current() {
        Some(id) => match log::read(store, id).await {
            // It vouches for nothing: all that is relied on is read.
            Err(error @ LogError::Damaged { .. }) => {
                imported.warnings.push(error.to_string());
                Generation::empty(next.created)
            }
            outcome => outcome?,
        },
        None => Generation::empty(next.created),
    };
    let here = check_whole(store, &options, &index, (&next, &base), &present).await?;
    if options.dry_run {
        return Ok(imported);
    }
    let (mut small, missing) = sort_out(store, &options, &index, &next, &present).await?;
    imported.kept = (index.objects.len() - small.len()) as u64 - missing.len() as u64;
    // They are put into their places as if the bundle had brought them.
    small.extend(here);
    imported.store(store, &options, &index, &missing).await?;
    let files = |keys: &mut dyn Iterator<Item = (String, String)>| -> BTreeMap<String, Bytes> {
        keys.filter_map(|(name, key)| Some((name, small.get(&key)?.clone())))
            .collect()
    };
    let manifests = files(&mut next.manifests.keys().map(|key| (key.clone(), key.clone())));
    let api = files(&mut next.api.keys().map(|path| (path.clone(), api_key(path))));
    // It is in the log before the note, and the note before the mark: one that is noted and was never current was cut off here.
    log::write(store, &next).await?;
    note(store, &log, &index, &id).await?;
    publish::publish(store, &log, &base, &next, &manifests, &api).await?;
    imported.count(&next);
    imported.settle(store, &next).await?;
    Ok(imported)
}

/// Takes in a bundle whose generation is current: what is missing of it here, or is damaged, comes from the bundle.
async fn mend(
    store: &Store,
    options: &ImportOptions<'_>,
    index: &BundleIndex,
    (log, id): (&Log, &GenerationId),
    mut imported: Imported,
) -> Result<Imported, BundleError> {
    imported.already_there = true;
    let here = match log::read(store, id).await {
        Err(LogError::Damaged { .. }) => restored(store, options, index, id).await?,
        outcome => outcome?,
    };
    imported.count(&here);
    let present = crate::sync::listed(store).await?;
    // The API's files are read when they are settled.
    let is_small = |object: &BundleObject| !object.key.starts_with(crate::names::CORE);
    let is_here = |object: &BundleObject| present.get(&object.key) == Some(&object.size);
    let is_whole = index
        .objects
        .iter()
        .all(|object| is_small(object) || is_here(object));
    let is_api_whole = publish::not_as_named(store, &here).await?.is_empty();
    let is_mended = options.again || !is_whole || !is_api_whole;
    if options.dry_run || is_mended {
        check_parts(options, index)?;
    }
    if options.dry_run {
        return Ok(imported);
    }
    if is_mended {
        imported
            .fill_in(store, options, index, &here, &present)
            .await?;
    }
    // The import that brought it may have been cut off right after its mark.
    note(store, log, index, id).await?;
    imported.settle(store, &here).await?;
    Ok(imported)
}

/// Reads the record of a generation from the bundle, and puts it into the log, where it is damaged.
async fn restored(
    store: &Store,
    options: &ImportOptions<'_>,
    index: &BundleIndex,
    id: &GenerationId,
) -> Result<Generation, BundleError> {
    check_parts(options, index)?;
    let record = generation_in(options, index, id)?;
    // One that a newer program made may say more than this one writes.
    if !options.dry_run && record.id() == *id {
        log::write(store, &record).await?;
    }
    Ok(record)
}

impl Imported {
    /// Stores what the current generation names, the bundle has, and is missing here or damaged.
    async fn fill_in(
        &mut self,
        store: &Store,
        options: &ImportOptions<'_>,
        index: &BundleIndex,
        here: &Generation,
        present: &HashMap<String, u64>,
    ) -> Result<(), BundleError> {
        let (small, missing) = sort_out(store, options, index, here, present).await?;
        self.store(store, options, index, &missing).await?;
        let manifests = here.manifests.iter();
        let manifests = manifests.map(|(key, entry)| (key.clone(), entry.sha256));
        let api = here.api.iter();
        let api = api.map(|(path, entry)| (api_key(path), entry.file.sha256));
        // Manifests first: the API makes clients ask for them.
        for (key, sha256) in manifests.chain(api) {
            let bytes = small.get(&key).filter(|bytes| Digest::of(bytes) == sha256);
            if let Some(bytes) = bytes {
                publish::replace(store, &key, bytes.clone()).await?;
            }
        }
        Ok(())
    }

    /// Stores bottles from the bundle.
    async fn store(
        &mut self,
        store: &Store,
        options: &ImportOptions<'_>,
        index: &BundleIndex,
        missing: &[Held],
    ) -> Result<(), BundleError> {
        let source = Arc::new(FromBundle(Arc::new(BundleSource::new(options.dir, index))));
        let stored = fetch::store_all(store, source, &options.fetching, missing).await?;
        self.stored = stored.stored;
        self.bytes = stored.bytes;
        if let Some(failure) = stored.failures.first() {
            return Err(BundleError::NotStored {
                what: failure.what.clone(),
            });
        }
        match stored.is_stopped {
            true => Err(BundleError::Stopped),
            false => Ok(()),
        }
    }

    fn count(&mut self, generation: &Generation) {
        self.bottles = generation.bottles.len() as u64;
        self.bottle_bytes = generation.bytes();
    }

    /// Leaves all files as the generation wants them, the hash file too.
    async fn settle(&mut self, store: &Store, generation: &Generation) -> Result<(), LogError> {
        let mut seen = Seen::default();
        let now = Some(generation.created);
        let whole = publish::settle_whole(store, &mut seen, None, None, now).await?;
        let warnings = whole.map(|whole| whole.warnings);
        self.warnings.extend(warnings.unwrap_or_default());
        Ok(())
    }
}

/// Notes where the generation came from, once.
async fn note(
    store: &Store,
    log: &Log,
    index: &BundleIndex,
    id: &GenerationId,
) -> Result<(), LogError> {
    match &index.mirror {
        Some(mirror) if log.origin_of(id).is_none() => {
            Ok(log::note_import(store, mirror, id).await?)
        }
        _ => Ok(()),
    }
}

/// Looks that a bundle leads on: not back, not to what was gone back from, not over to another mirror.
fn check_order(
    log: &Log,
    index: &BundleIndex,
    id: &GenerationId,
    options: &ImportOptions<'_>,
) -> Result<(), BundleError> {
    let theirs = index.mirror.as_deref();
    let here = log.current();
    let follows = here.and_then(|here| log.origin_of(here));
    let follows = follows.or_else(|| {
        // What is current was made here: all that was carried here before counts.
        let mut imports = log.imports.iter().map(|(mirror, _)| mirror.as_str());
        let last = imports.clone().next_back();
        imports.find(|mirror| Some(*mirror) == theirs).or(last)
    });
    let other = follows
        .zip(theirs)
        .filter(|(follows, theirs)| follows != theirs);
    if let Some((here, theirs)) = other
        && !options.other_mirror
    {
        return Err(BundleError::OtherMirror {
            here: here.to_owned(),
            theirs: theirs.to_owned(),
        });
    }
    // Numbers of two mirrors say nothing of each other.
    let newer = here.filter(|here| other.is_none() && here.number() >= id.number());
    if let Some(here) = newer {
        return Err(BundleError::Downgrade {
            here: here.clone(),
            theirs: id.clone(),
        });
    }
    let highest = theirs.and_then(|theirs| log.imported_from(theirs));
    let highest = highest.filter(|highest| highest.number() >= id.number());
    // One of an earlier program leaves no note, but it has a mark until it is pruned.
    let gone_back = highest.or(Some(id).filter(|id| log.was_current(id)));
    let was_cut_off = log.generations.contains_key(id) && !log.was_current(id);
    match gone_back {
        Some(highest) if !(options.again || highest == id && was_cut_off) => {
            Err(BundleError::TakenBefore {
                highest: highest.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// Reads the index, if whom this side trusts has signed it, and if it names nothing that a bundle cannot hold.
fn read_index(options: &ImportOptions<'_>) -> Result<BundleIndex, BundleError> {
    let bytes = reading::read_whole(options.dir, INDEX)?;
    let signature = reading::read_whole(options.dir, SIGNATURE)?;
    let signature = String::from_utf8_lossy(&signature);
    if !options
        .trusted
        .iter()
        .any(|key| key.fits(&bytes, &signature))
    {
        return Err(BundleError::ForeignSignature);
    }
    let index: BundleIndex =
        serde_json::from_slice(&bytes).map_err(|error| BundleError::Form(error.to_string()))?;
    if index.format != FORMAT {
        return Err(BundleError::Form(format!(
            "it has format {}, and this program knows {FORMAT}",
            index.format
        )));
    }
    if let Some(mirror) = index
        .mirror
        .as_ref()
        .filter(|mirror| !log::is_mirror(mirror))
    {
        return Err(BundleError::Form(format!("{mirror:?} names no mirror")));
    }
    for (number, part) in index.parts.iter().enumerate() {
        if part.file != format!("part-{number:04}") {
            return Err(BundleError::Form(format!(
                "{:?} is no part {number}",
                part.file
            )));
        }
    }
    let parts: u64 = index.parts.iter().map(|part| part.size).sum();
    let objects: u64 = index.objects.iter().map(|object| object.size).sum();
    match parts == objects {
        true => Ok(index),
        false => Err(BundleError::Form(format!(
            "its parts have {parts} bytes and its objects {objects}"
        ))),
    }
}

/// Compares all parts, unless a stop is asked for.
fn check_parts(options: &ImportOptions<'_>, index: &BundleIndex) -> Result<(), BundleError> {
    for part in &index.parts {
        if options.fetching.stop.is_raised() {
            return Err(BundleError::Stopped);
        }
        reading::check(options.dir, part)?;
    }
    Ok(())
}

/// Reads the generation itself out of the parts.
fn generation_in(
    options: &ImportOptions<'_>,
    index: &BundleIndex,
    id: &GenerationId,
) -> Result<Generation, BundleError> {
    let wanted = log::generation_key(id);
    let mut stream = Stream::new(options.dir, &index.parts);
    for object in &index.objects {
        if object.key != wanted {
            stream.skip(object.size)?;
            continue;
        }
        let bytes = whole(&mut stream, object)?;
        return Ok(log::decode(&bytes, id, INDEX)?);
    }
    Err(BundleError::Form(format!("generation {id} is not in it")))
}

fn whole(stream: &mut Stream<'_>, object: &BundleObject) -> Result<Bytes, BundleError> {
    let mut bytes = BytesMut::new();
    while (bytes.len() as u64) < object.size {
        let piece = stream.read(object.size - bytes.len() as u64)?;
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    match Digest::of(&bytes) == object.sha256 {
        true => Ok(bytes.freeze()),
        false => Err(BundleError::Part {
            file: object.key.clone(),
            what: "damaged in the bundle".to_owned(),
        }),
    }
}

/// What a bundle carries: keys and digests.
type Carried<'i> = BTreeMap<&'i str, Digest>;

/// Looks that everything that the generation names is in the bundle or here, and that the bundle has nothing else. Returns the files that are
/// neither in it nor in what is current: another generation that is kept here may have brought them, as one that was gone back from.
async fn check_whole(
    store: &Store,
    options: &ImportOptions<'_>,
    index: &BundleIndex,
    (next, base): (&Generation, &Generation),
    present: &HashMap<String, u64>,
) -> Result<HashMap<String, Bytes>, BundleError> {
    let objects = index.objects.iter();
    let carried: Carried<'_> = objects
        .map(|object| (object.key.as_str(), object.sha256))
        .collect();
    let missing = lacking_blobs(store, options, &carried, (next, base), present).await?;
    let (found, lost) = files_here(store, &carried, next, base).await?;
    let mut missing = missing.iter().chain(&lost);
    if let Some(example) = missing.next() {
        return Err(BundleError::Gap {
            missing: missing.count() as u64 + 1,
            example: example.clone(),
        });
    }
    let mut named: BTreeSet<String> = next.bottles.iter().map(Held::blob_key).collect();
    named.extend(next.manifests.keys().cloned());
    named.extend(next.api.keys().map(|path| api_key(path)));
    named.insert(log::generation_key(&next.id()));
    let foreign = index.objects.iter();
    let foreign = foreign.map(|object| &object.key);
    match foreign.into_iter().find(|key| !named.contains(*key)) {
        Some(key) => Err(BundleError::Form(format!(
            "it holds {key:?}, which its generation does not name"
        ))),
        None => Ok(found),
    }
}

/// Lists the bottles that are neither in the bundle nor here. One that what is current does not vouch for is read before it is relied on.
async fn lacking_blobs(
    store: &Store,
    options: &ImportOptions<'_>,
    carried: &Carried<'_>,
    (next, base): (&Generation, &Generation),
    present: &HashMap<String, u64>,
) -> Result<Vec<String>, BundleError> {
    let vouched: BTreeSet<String> = base.bottles.iter().map(Held::blob_key).collect();
    let mut asked = BTreeSet::new();
    let (mut missing, mut doubtful) = (Vec::new(), Vec::new());
    for held in &next.bottles {
        let key = held.blob_key();
        let sha256 = carried.get(key.as_str());
        let is_carried = sha256.is_some_and(|sha256| sha256.to_string() == held.sha256);
        if is_carried || !asked.insert(key.clone()) {
            continue;
        }
        match present.get(&key) == Some(&held.size) {
            true if vouched.contains(&key) => {}
            true => doubtful.push(held),
            false => missing.push(key),
        }
    }
    // Who only looks writes nothing, not even to find out what the store's word is worth.
    let trusts = !doubtful.is_empty() && (options.dry_run || trusts_checksums(store).await);
    let mut proved = stream::iter(doubtful)
        .map(|held| async move {
            let key = held.blob_key();
            let is_right = is_right(store, &key, &held.sha256, trusts).await;
            is_right.map(|is_right| (key, is_right))
        })
        .buffer_unordered(AT_ONCE);
    while let Some(outcome) = proved.next().await {
        let (key, is_right) = outcome?;
        missing.extend(Some(key).filter(|_| !is_right));
    }
    missing.sort();
    Ok(missing)
}

/// Reads the manifests and the API's files that are neither in the bundle nor in what is current, under their names or where old bytes are
/// kept; names those that are nowhere.
async fn files_here(
    store: &Store,
    carried: &Carried<'_>,
    next: &Generation,
    base: &Generation,
) -> Result<(HashMap<String, Bytes>, Vec<String>), StoreError> {
    let manifests = next.manifests.iter();
    let manifests = manifests.map(|(key, entry)| (key.clone(), entry, base.manifests.get(key)));
    let api = next.api.iter().map(|(path, entry)| {
        let known = base.api.get(path).map(|entry| &entry.file);
        (api_key(path), &entry.file, known)
    });
    let wanted = manifests.chain(api).filter(|(key, entry, known)| {
        carried.get(key.as_str()) != Some(&entry.sha256) && *known != Some(*entry)
    });
    let wanted: Vec<(String, &FileEntry)> = wanted.map(|(key, entry, _)| (key, entry)).collect();
    let mut read = stream::iter(wanted)
        .map(|(key, entry)| async move {
            let bytes = log::read_file(store, &key, entry).await;
            (key, bytes)
        })
        .buffer_unordered(AT_ONCE);
    let (mut found, mut lost) = (HashMap::new(), Vec::new());
    while let Some((key, bytes)) = read.next().await {
        match bytes {
            Ok(bytes) => drop(found.insert(key, bytes)),
            Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                lost.push(key);
            }
            Err(error) => return Err(error),
        }
    }
    lost.sort();
    Ok((found, lost))
}

/// Reads the small files, and finds out which blobs are to be stored: one that is here already is proved before it is relied on.
async fn sort_out(
    store: &Store,
    options: &ImportOptions<'_>,
    index: &BundleIndex,
    next: &Generation,
    present: &HashMap<String, u64>,
) -> Result<(HashMap<String, Bytes>, Vec<Held>), BundleError> {
    let blobs: HashMap<String, &Held> = next
        .bottles
        .iter()
        .map(|held| (held.blob_key(), held))
        .collect();
    let (mut small, mut missing) = (HashMap::new(), Vec::new());
    let trusts = !present.is_empty() && trusts_checksums(store).await;
    let mut stream = Stream::new(options.dir, &index.parts);
    for object in &index.objects {
        let Some(held) = blobs.get(&object.key) else {
            small.insert(object.key.clone(), whole(&mut stream, object)?);
            continue;
        };
        stream.skip(object.size)?;
        let is_listed = present.get(&object.key) == Some(&object.size);
        if !is_listed || !is_right(store, &object.key, &held.sha256, trusts).await? {
            missing.push((*held).clone());
        }
    }
    Ok((small, missing))
}
