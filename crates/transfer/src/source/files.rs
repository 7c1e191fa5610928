//! Files of this machine.
//!
//! What must hold: a file whose size, time of change or inode is different after reading than before was not read; a restored
//! file has its name only when it is whole and on the disk, with the time of change and mode that it had, and never takes another's; a file is removed
//! only as it was read; nothing is restored or removed
//! outside of the places that were named for it ([`Files::within`]), and nothing is read there that only a journal names: it may have come out
//! of a bucket that others can write to.
//!
//! It deliberately follows symbolic links when it reads and does not judge where they lead: the planner does. A link is never
//! removed in place of the file that it leads to, nor the file in place of the link: removing takes away the name.

use super::{Contents, Opened, Places, Removal, Source, SourceError, SourceErrorKind};
use crate::item::{Blob, Digest, Hasher, Stamp};
use crate::journal::StoredBlob;
use crate::keyset::KeySet;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use store::StoreError;
use store::file::{AtomicFile, create_dir_durably};

/// How much is read at once to hash a file.
const GULP: usize = 256 * 1024;

/// Local files: a blob's source is a path.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Where files may be restored and removed; everywhere, if none is named.
    places: Option<Arc<Places>>,
    /// Files elsewhere that may be read although an earlier process has planned them.
    named: Arc<KeySet>,
}

impl Files {
    /// Makes a source of local files, wherever they are.
    #[must_use]
    pub fn new() -> Files {
        Files::default()
    }

    /// Makes a source that restores and removes only files below some directories, and reads any; but of those that only a journal names, it
    /// reads only what lies there too.
    #[must_use]
    pub fn within(places: Places) -> Files {
        Files {
            places: Some(Arc::new(places)),
            named: Arc::default(),
        }
    }

    /// Says that somebody else than a journal names these files too, so that they may be read wherever they are.
    #[must_use]
    pub fn named(mut self, named: KeySet) -> Files {
        self.named = Arc::new(named);
        self
    }

    /// Does something that changes a path, if that lies where things may be changed.
    async fn change<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &str,
        work: impl FnOnce(&str) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (places, path) = (self.places.clone(), path.to_owned());
        blocking(move || match places {
            Some(places) if !places.hold(Path::new(&path)) => {
                Err(SourceError::new(SourceErrorKind::Outside, doing, &path))
            }
            _ => work(&path),
        })
        .await
    }
}

#[async_trait]
impl Source for Files {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        let path = blob.source.clone();
        blocking(move || open(&path, whole_max, piece)).await
    }

    async fn vouch(&self, blob: &Blob) -> Result<(), SourceError> {
        let Some(places) = self.places.clone() else {
            return Ok(());
        };
        if self.named.contains(&blob.source) {
            return Ok(());
        }
        let path = blob.source.clone();
        blocking(move || match places.hold_all(Path::new(&path)) {
            true => Ok(()),
            false => Err(SourceError::new(SourceErrorKind::Outside, "read", &path)),
        })
        .await
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        let path = blob.source.clone();
        blocking(move || match digest(&path) {
            Err(error) if error.kind() == SourceErrorKind::Missing => Ok(None),
            outcome => outcome.map(Some),
        })
        .await
    }

    async fn look(&self, blobs: Vec<Blob>) -> Vec<Option<(u64, Stamp)>> {
        let n = blobs.len();
        let look = move || {
            let found = blobs.iter().map(|blob| fs::metadata(&blob.source).ok());
            let seen = found.map(|found| found.map(|found| (found.len(), stamp(&found))));
            Ok(seen.collect())
        };
        blocking(look).await.unwrap_or_else(|_| vec![None; n])
    }

    async fn leads_to(&self, blob: &Blob) -> Option<String> {
        let path = blob.source.clone();
        let look = move || Ok(fs::read_link(&path).ok());
        let target = blocking(look).await.ok().flatten()?;
        Some(target.display().to_string())
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        mut body: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<(), SourceError> {
        let mut file = self.change("restore", &blob.source, begin).await?;
        let mut hasher = Hasher::new();
        let mut size = 0;
        while let Some(piece) = body.next().await {
            let piece =
                piece.map_err(|error| SourceError::store("restore", &blob.source, error))?;
            size += piece.len() as u64;
            let path = blob.source.clone();
            (file, hasher) = blocking(move || {
                hasher.update(&piece);
                let written = file.write_all(&piece);
                written.map_err(|error| SourceError::io("restore", &path, error))?;
                Ok((file, hasher))
            })
            .await?;
        }
        if size != stored.size || hasher.finish() != stored.sha256 {
            let why = format!("its object {} came back different", blob.key);
            return Err(
                SourceError::new(SourceErrorKind::WrongDigest, "restore", &blob.source)
                    .because(why),
            );
        }
        let (path, stamp) = (blob.source.clone(), stored.stamp);
        blocking(move || finish(file, &path, size, stamp)).await
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        let equal = (equal.size, equal.sha256);
        self.change("remove", &blob.source, move |path| remove(path, equal))
            .await
    }
}

/// What must be the same after reading as before.
#[derive(PartialEq, Eq)]
struct Likeness {
    size: u64,
    inode: u64,
    device: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Likeness {
    fn of(found: &Metadata) -> Likeness {
        Likeness {
            size: found.len(),
            inode: found.ino(),
            device: found.dev(),
            mtime: (found.mtime(), found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
        }
    }
}

fn open(path: &str, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
    let (mut file, found) = look(path)?;
    let size = found.len();
    let stamp = Some(stamp(&found));
    if size > whole_max {
        let contents = Contents::Stream(pieces(file, path.to_owned(), Likeness::of(&found), piece));
        return Ok(Opened {
            size,
            stamp,
            contents,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    // One byte more than there should be shows that it grew.
    let read = (&mut file).take(size + 1).read_to_end(&mut bytes);
    read.map_err(|error| SourceError::io("read", path, error))?;
    check_same(path, &file, &Likeness::of(&found), bytes.len() as u64)?;
    let sha256 = Digest::of(&bytes);
    Ok(Opened {
        size,
        stamp,
        contents: Contents::Whole {
            bytes: bytes.into(),
            sha256,
        },
    })
}

fn look(path: &str) -> Result<(File, Metadata), SourceError> {
    // A pipe that nobody writes to must not stop the run.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let found = opened.and_then(|file| file.metadata().map(|found| (file, found)));
    let (file, found) = found.map_err(|error| SourceError::io("read", path, error))?;
    if !found.is_file() {
        return Err(SourceError::new(SourceErrorKind::NotAFile, "read", path));
    }
    Ok((file, found))
}

fn stamp(found: &Metadata) -> Stamp {
    Stamp {
        mtime_s: found.mtime(),
        mtime_ns: u32::try_from(found.mtime_nsec()).unwrap_or(0),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    }
}

/// Fails if the file is not as it was, or its name leads to another.
fn check_same(path: &str, file: &File, before: &Likeness, read: u64) -> Result<(), SourceError> {
    let changed = || SourceError::new(SourceErrorKind::Changed, "read", path);
    let after = file
        .metadata()
        .map_err(|error| SourceError::io("read", path, error))?;
    if read != before.size || Likeness::of(&after) != *before {
        return Err(changed());
    }
    match fs::metadata(path) {
        Ok(found) if found.ino() == before.inode && found.dev() == before.device => Ok(()),
        _ => Err(changed()),
    }
}

struct Reading {
    file: File,
    path: String,
    before: Likeness,
    read: u64,
    piece: usize,
}

fn pieces(file: File, path: String, before: Likeness, piece: usize) -> super::BlobStream {
    let piece = match piece {
        super::AS_THEY_COME => super::PIECE,
        piece => piece,
    };
    let start = Reading {
        file,
        path,
        before,
        read: 0,
        piece,
    };
    stream::try_unfold(start, |reading| blocking(move || next_piece(reading))).boxed()
}

fn next_piece(mut reading: Reading) -> Result<Option<(Bytes, Reading)>, SourceError> {
    let left = reading.before.size.saturating_sub(reading.read);
    if left == 0 {
        let Reading {
            file,
            path,
            before,
            read,
            ..
        } = reading;
        // One byte more shows that it grew; a change that leaves the size is seen by its time.
        let grown = (&file).read(&mut [0]);
        let grown = grown.map_err(|error| SourceError::io("read", &path, error))?;
        return check_same(&path, &file, &before, read + grown as u64).map(|()| None);
    }
    let length = left.min(reading.piece as u64);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(reading.piece));
    let outcome = (&mut reading.file).take(length).read_to_end(&mut bytes);
    outcome.map_err(|error| SourceError::io("read", &reading.path, error))?;
    if (bytes.len() as u64) < length {
        let path = &reading.path;
        return Err(SourceError::new(SourceErrorKind::Changed, "read", path));
    }
    reading.read += length;
    Ok(Some((bytes.into(), reading)))
}

fn digest(path: &str) -> Result<(u64, Digest), SourceError> {
    read_through(path).map(|(size, sha256, _)| (size, sha256))
}

/// Reads and hashes a file; returns also what it was like.
fn read_through(path: &str) -> Result<(u64, Digest, Likeness), SourceError> {
    let (mut file, found) = look(path)?;
    let mut hasher = Hasher::new();
    let size = usize::try_from(found.len()).unwrap_or(GULP);
    let mut buffer = vec![0; size.clamp(1, GULP)];
    let mut read = 0;
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::io("read", path, error)),
        };
        hasher.update(&buffer[..length]);
        read += length as u64;
    }
    let before = Likeness::of(&found);
    check_same(path, &file, &before, read)?;
    Ok((read, hasher.finish(), before))
}

fn begin(path: &str) -> Result<AtomicFile, SourceError> {
    let place = Path::new(path);
    if fs::metadata(place).is_ok_and(|found| !found.is_file()) {
        return Err(SourceError::new(SourceErrorKind::NotAFile, "restore", path));
    }
    let above = place.parent().unwrap_or(Path::new("."));
    create_dir_durably(above)
        .and_then(|()| AtomicFile::create_anew(place))
        .map_err(|error| SourceError::io("restore", path, error))
}

/// Gives the file its name, and what else it had.
fn finish(
    mut file: AtomicFile,
    path: &str,
    size: u64,
    stamp: Option<Stamp>,
) -> Result<(), SourceError> {
    let dressed = match stamp {
        // All bytes first: writing changes the time.
        Some(stamp) => file.flush().and_then(|()| {
            dress(file.temporary(), &stamp)?;
            set_mtime(file.temporary(), &stamp)
        }),
        None => Ok(()),
    };
    dressed.map_err(|error| SourceError::io("restore", path, error))?;
    // One that was restored a moment ago, and came back different when it was read, has the time that was given to it.
    let is_ours = |found: &Metadata| {
        let is_as_restored = |stamp: Stamp| {
            (found.mtime(), found.mtime_nsec()) == (stamp.mtime_s, stamp.mtime_ns.into())
        };
        found.is_file() && found.len() == size && stamp.is_some_and(is_as_restored)
    };
    file.commit_over(is_ours)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                SourceError::new(SourceErrorKind::Occupied, "restore", path)
            }
            _ => SourceError::io("restore", path, error),
        })
}

/// Gives a file its owner and mode. Only root may give files away; who restores as another user gets files of his own.
fn dress(path: &Path, stamp: &Stamp) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if (found.uid(), found.gid()) != (stamp.uid, stamp.gid) {
        match std::os::unix::fs::chown(path, Some(stamp.uid), Some(stamp.gid)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            outcome => outcome?,
        }
    }
    fs::set_permissions(path, Permissions::from_mode(stamp.mode))
}

fn set_mtime(path: &Path, stamp: &Stamp) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stamp.mtime_s,
            tv_nsec: stamp.mtime_ns.into(),
        },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// Removes a file if its bytes are these, and nothing was done to it since they were read: between that look and the removal nothing waits.
fn remove(path: &str, equal: (u64, Digest)) -> Result<Removal, SourceError> {
    let before = match read_through(path) {
        Ok((size, sha256, before)) if (size, sha256) == equal => before,
        Ok(_) => return Ok(Removal::Differs),
        Err(error) if error.kind() == SourceErrorKind::Missing => return Ok(Removal::NotThere),
        Err(error) => return Err(error),
    };
    let failed = |error| SourceError::io("remove", path, error);
    if Likeness::of(&fs::metadata(path).map_err(failed)?) != before {
        return Ok(Removal::Differs);
    }
    match fs::remove_file(path) {
        Ok(()) => {
            let above = Path::new(path).parent();
            let above = above.filter(|dir| !dir.as_os_str().is_empty());
            store::file::sync_dir(above.unwrap_or(Path::new("."))).map_err(failed)?;
            Ok(Removal::Removed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::NotThere),
        Err(error) => Err(failed(error)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
