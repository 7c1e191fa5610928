//! A folder as an object store: a key is a path below it.
//!
//! What must hold: an object is on the disk, whole, before `put` returns, and a reader never sees a part of one. A folder
//! that is gone (a disk that is not mounted) is an error, never an empty listing; only a first write makes the folder. What sync
//! tools leave in it is not read, and only our own stale temporary files are removed.
//!
//! It deliberately knows no locks but the one around a conditional update: a writer whose directory is removed under it makes it again.

mod guard;
mod pieces;
mod references;
mod root;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

pub(crate) use guard::NotAFile;

use crate::file::{self, AtomicFile, FileError};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path as Key;
use object_store::{
    Attributes, CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
pub use references::Reference;
use root::Root;
pub(crate) use root::RootMissing;
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walk::{Wanted, is_gone};

/// Says that this folder is a store, so that a person who finds it knows. Its name makes it litter to a listing.
const MARKER: &str = ".syncline-store";
const MARKER_TEXT: &[u8] = b"This folder is a Syncline store. Do not rename or edit its files.\n";

/// How often a directory may vanish between being made and being used.
const BEGIN_ATTEMPTS_MAX: usize = 16;

const NAME: &str = "folder";

/// A folder of a file system.
#[derive(Clone, Debug)]
pub(crate) struct Folder(Arc<Place>);

#[derive(Debug)]
struct Place {
    root: Root,
    /// Whether links to directories may lead out of it. In a folder that is a store nobody else makes any.
    trusts_links: bool,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Folder {
        Folder(Arc::new(Place {
            root: Root::new(root, true),
            trusts_links: true,
        }))
    }

    /// A folder of files that are no store's: no marker is put among them.
    pub(crate) fn plain(root: PathBuf, trusts_links: bool) -> Folder {
        Folder(Arc::new(Place {
            root: Root::new(root, false),
            trusts_links,
        }))
    }

    /// Whether it is a store, and not a plain folder of somebody else's files.
    pub(crate) fn is_store(&self) -> bool {
        self.0.root.is_marked
    }

    fn root(&self) -> &Path {
        &self.0.root.path
    }

    fn place(&self, key: &Key) -> PathBuf {
        // A key has no part that is empty, `.` or `..`, so it cannot lead out of the root.
        self.root().join(key.as_ref())
    }

    /// Fails unless the root is a folder, and the one that it was.
    pub(crate) fn check_root(&self) -> io::Result<()> {
        self.0.root.check()
    }

    /// Replaces a file if it still has this tag. Who else replaces it in this way, on this machine or another with the folder mounted, waits
    /// meanwhile; where a file system has no locks it is looked at all the same.
    fn exchange(&self, key: &Key, payload: &PutPayload, e_tag: Option<&str>) -> Result<PutResult> {
        let place = self.place(key);
        let fail = |error| failure(key, error);
        self.prepare(&place).map_err(fail)?;
        let _alone = guard::lock(&self.root().join(MARKER)).map_err(fail)?;
        let found = fs::metadata(&place).ok().map(|found| self::e_tag(&found));
        if found.as_deref() != e_tag {
            return Err(object_store::Error::Precondition {
                path: key.to_string(),
                source: "somebody else replaced it since it was read".into(),
            });
        }
        self.write(key, payload, false).map_err(fail)
    }

    fn write(&self, key: &Key, payload: &PutPayload, only_new: bool) -> io::Result<PutResult> {
        let place = self.place(key);
        let mut file = self.begin(&place)?;
        for part in payload.iter() {
            file.write_all(part)?;
        }
        match only_new && self.is_store() {
            true => file.commit_new()?,
            false => self.commit(file)?,
        }
        self.written(&place)
    }

    /// Gives a file its name. In a plain folder what has that name meanwhile is somebody else's, and stays.
    fn commit(&self, file: AtomicFile) -> io::Result<()> {
        match self.0.root.is_marked {
            true => file.commit(),
            false => file.commit_over(|_| false),
        }
    }

    /// What a file has become that was given its name, if that was in the store still.
    fn written(&self, place: &Path) -> io::Result<PutResult> {
        let found =
            fs::metadata(place).map_err(|error| FileError::wrap("look at", place, error))?;
        self.check_root()?;
        Ok(PutResult {
            e_tag: Some(e_tag(&found)),
            version: None,
            extensions: Default::default(),
        })
    }

    /// Begins a file, making the directories above it. Somebody may remove an empty one before the file is in it.
    fn begin(&self, place: &Path) -> io::Result<AtomicFile> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            // In a store a link is nobody's way to keep a file elsewhere: what it leads to is not ours to write.
            let create = match self.0.root.is_marked {
                true => AtomicFile::create_in_place,
                false => AtomicFile::create,
            };
            match self.prepare(place).and_then(|()| create(place)) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && attempts < BEGIN_ATTEMPTS_MAX => {
                }
                outcome => return outcome,
            }
        }
    }

    /// Fails if a link on the way to a file leads out of the root.
    fn check_inside(&self, place: &Path) -> io::Result<()> {
        if self.0.trusts_links || file::stays_below(self.root(), place) {
            return Ok(());
        }
        let why = "a link on its way leads out of the folder";
        let error = io::Error::new(io::ErrorKind::PermissionDenied, why);
        Err(FileError::wrap("change", place, error))
    }

    /// Makes the root, its marker and the directories above a file, where they are missing.
    fn prepare(&self, place: &Path) -> io::Result<()> {
        self.check_inside(place)?;
        self.0.root.prepare(place.parent().unwrap_or(self.root()))
    }

    fn read(&self, key: &Key, options: &GetOptions) -> Result<GetResult> {
        let place = self.place(key);
        let (file, found) = match guard::open_regular(&place) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(self.absent(key, error));
            }
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                return Err(self.absent(key, error));
            }
            Err(error) => return Err(failure(key, FileError::wrap("open", &place, error))),
        };
        let meta = meta(key.clone(), &found).map_err(|error| failure(key, error))?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => {
                range
                    .as_range(meta.size)
                    .map_err(|source| object_store::Error::Generic {
                        store: NAME,
                        source: Box::new(source),
                    })?
            }
            None => 0..meta.size,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else {
            pieces::read(file, &place, key, &range)
                .map_err(|error| failure(key, FileError::wrap("read", &place, error)))?
        };
        let payload = GetResultPayload::Stream(payload);
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    /// An object that is not there; or rather its whole folder.
    fn absent(&self, key: &Key, source: io::Error) -> object_store::Error {
        match self.check_root() {
            Ok(()) => object_store::Error::NotFound {
                path: key.to_string(),
                source: Box::new(source),
            },
            Err(error) => failure(key, error),
        }
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let place = self.place(key);
        self.check_inside(&place)
            .map_err(|error| failure(key, error))?;
        match fs::remove_file(&place) {
            Ok(()) => self.tidy(&place).map_err(|error| failure(key, error)),
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
                    .contains(&error.kind()) =>
            {
                Err(self.absent(key, error))
            }
            Err(error) => Err(failure(key, FileError::wrap("remove", &place, error))),
        }
    }

    /// Removes a file if it still has this tag; false if it has another one. Nothing waits between the look and the removal.
    pub(crate) fn remove_unchanged(&self, key: &Key, e_tag: &str) -> Result<bool> {
        let place = self.place(key);
        match fs::metadata(&place) {
            Ok(found) if self::e_tag(&found) != e_tag => Ok(false),
            _ => self.remove(key).map(|()| true),
        }
    }

    /// Makes a removal durable, and removes directories that it left empty; never the root. In a plain folder the directories belong
    /// to somebody else, and stay.
    fn tidy(&self, removed: &Path) -> io::Result<()> {
        if !self.0.root.is_marked {
            return ignore_gone(file::sync_dir(removed.parent().unwrap_or(self.root())));
        }
        let above = removed
            .ancestors()
            .skip(1)
            .take_while(|dir| *dir != self.root() && dir.starts_with(self.root()));
        for dir in above {
            // One that is not empty stays, and so do those above it.
            if fs::remove_dir(dir).is_err() {
                return ignore_gone(file::sync_dir(dir));
            }
        }
        ignore_gone(file::sync_dir(self.root()))
    }

    /// Lists every object below a prefix; the root must be there before and after.
    fn walk(&self, prefix: Option<&Key>, wanted: Wanted) -> Result<Vec<ObjectMeta>> {
        let below = prefix.cloned().unwrap_or_default();
        let walked = self
            .check_root()
            .and_then(|()| walk::walk(self.root(), &below, wanted))
            .and_then(|found| self.check_root().map(|()| found));
        walked.map_err(|error| failure(&below, error))
    }

    /// Lists every file below a prefix, whatever its name.
    pub(crate) fn list_all(&self, prefix: Option<Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Wanted::Everything)
    }

    fn listing(
        &self,
        prefix: Option<Key>,
        wanted: Wanted,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = self.clone();
        let found = async move {
            match folder
                .blocking(move |folder| folder.walk(prefix.as_ref(), wanted))
                .await
            {
                Ok(found) => found.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        stream::once(found).flat_map(stream::iter).boxed()
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(move || work(&folder)).await?,
            Err(_) => work(&folder),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.root().display())
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(
        &self,
        location: &Key,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let key = location.clone();
        let only_new = match opts.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            // A plain folder has nothing of ours in it that could be locked.
            PutMode::Update(_) if !self.0.root.is_marked => {
                return Err(not_implemented("conditional update"));
            }
            PutMode::Update(seen) => {
                let work =
                    move |folder: &Folder| folder.exchange(&key, &payload, seen.e_tag.as_deref());
                return self.blocking(work).await;
            }
        };
        self.blocking(move |folder| {
            folder
                .write(&key, &payload, only_new)
                .map_err(|error| failure(&key, error))
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Key,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let key = location.clone();
        let begin = move |folder: &Folder| {
            let file = folder.begin(&folder.place(&key));
            let file = file.map_err(|error| failure(&key, error))?;
            Ok(upload::Upload::new(folder.clone(), key, file))
        };
        let begun = self.blocking(begin).await?;
        Ok(Box::new(begun))
    }

    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        let key = location.clone();
        self.blocking(move |folder| folder.read(&key, &options))
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        let folder = self.clone();
        let remove = move |key: Result<Key>| {
            let folder = folder.clone();
            async move {
                let key = key?;
                folder
                    .blocking(move |folder| folder.remove(&key).map(|()| key))
                    .await
            }
        };
        locations.then(remove).boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix.cloned(), Wanted::NoLitter)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        let below = prefix.cloned().unwrap_or_default();
        let found = self
            .blocking(move |folder| {
                folder
                    .walk(Some(&below), Wanted::NoLitter)
                    .map(|found| (below, found))
            })
            .await;
        let (below, found) = found?;
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Default::default(),
        };
        for meta in found {
            let mut parts = meta.location.prefix_match(&below).into_iter().flatten();
            let (first, second) = (parts.next(), parts.next());
            match (first, second) {
                (Some(first), Some(_)) => result.common_prefixes.push(below.clone().join(first)),
                _ => {
                    drop(parts);
                    result.objects.push(meta);
                }
            }
        }
        result.common_prefixes.sort();
        result.common_prefixes.dedup();
        Ok(result)
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        let (from, to, only_new) = (from.clone(), to.clone(), options.mode == CopyMode::Create);
        let bytes = self
            .get_opts(&from, GetOptions::default())
            .await?
            .bytes()
            .await?;
        self.blocking(move |folder| {
            folder
                .write(&to, &bytes.into(), only_new)
                .map_err(|error| failure(&to, error))
        })
        .await?;
        Ok(())
    }
}

/// Accepts that another process removed the directory too.
fn ignore_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn meta(location: Key, found: &Metadata) -> io::Result<ObjectMeta> {
    Ok(ObjectMeta {
        location,
        last_modified: found.modified()?.into(),
        size: found.len(),
        e_tag: Some(e_tag(found)),
        version: None,
    })
}

fn e_tag(found: &Metadata) -> String {
    format!(
        "{:x}-{:x}-{:x}{:08x}",
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec()
    )
}

pub(crate) fn failure(key: &Key, error: io::Error) -> object_store::Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return object_store::Error::AlreadyExists {
            path: key.to_string(),
            source: Box::new(error),
        };
    }
    object_store::Error::Generic {
        store: NAME,
        source: Box::new(error),
    }
}

fn not_implemented(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: NAME.to_owned(),
    }
}
