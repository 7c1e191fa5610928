//! Reading a bundle's parts as one stream, each compared before it is believed.

use super::{BundleError, BundleIndex, BundlePart, file_error};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use ring::digest::{Context, SHA256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::StoreError;
use transfer::{
    AS_THEY_COME, Blob, Contents, Digest, Opened, Removal, Source, SourceError, SourceErrorKind,
    StoredBlob,
};

/// So much is read at once.
const PIECE: usize = 1 << 20;

/// Opens a file of a bundle.
///
/// # Errors
/// If it is not there, or no file: a pipe would be waited for without end.
pub(super) fn open(dir: &Path, name: &str) -> Result<File, BundleError> {
    let wrong = |what: &str| BundleError::Part {
        file: name.to_owned(),
        what: what.to_owned(),
    };
    let path = dir.join(name);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => File::open(&path).map_err(file_error(&path)),
        Ok(_) => Err(wrong("not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(wrong("not there")),
        Err(error) => Err(file_error(&path)(error)),
    }
}

/// Reads a small file of a bundle whole.
///
/// # Errors
/// As [`open`].
pub(super) fn read_whole(dir: &Path, name: &str) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let mut file = open(dir, name)?;
    let read = file.read_to_end(&mut bytes);
    read.map_err(file_error(&dir.join(name)))?;
    Ok(bytes)
}

/// Compares a part with what the index says of it.
///
/// # Errors
/// If it is not there, has another size or another digest.
pub(super) fn check(dir: &Path, part: &BundlePart) -> Result<(), BundleError> {
    let wrong = |what: &str| BundleError::Part {
        file: part.file.clone(),
        what: what.to_owned(),
    };
    let path = dir.join(&part.file);
    let mut file = open(dir, &part.file)?;
    let found = file.metadata().map_err(file_error(&path))?.len();
    if found != part.size {
        return Err(wrong(&format!("{found} bytes long and not {}", part.size)));
    }
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(file_error(&path))? {
            0 => break,
            read => context.update(&piece[..read]),
        }
    }
    match context.finish().as_ref() == part.sha256.0 {
        true => Ok(()),
        false => Err(wrong("damaged")),
    }
}

/// The parts, one after the other.
pub(super) struct Stream<'s> {
    dir: &'s Path,
    parts: std::slice::Iter<'s, BundlePart>,
    open: Option<(File, PathBuf)>,
}

impl<'s> Stream<'s> {
    pub(super) fn new(dir: &'s Path, parts: &'s [BundlePart]) -> Stream<'s> {
        Stream {
            dir,
            parts: parts.iter(),
            open: None,
        }
    }

    /// Reads at most so many bytes; fewer only at the end of a part, none only at the end of the last.
    pub(super) fn read(&mut self, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
        let mut piece = vec![0; usize::try_from(bytes_max).unwrap_or(PIECE).min(PIECE)];
        loop {
            let Some((file, path)) = &mut self.open else {
                let Some(part) = self.parts.next() else {
                    return Ok(Vec::new());
                };
                let file = open(self.dir, &part.file)?;
                self.open = Some((file, self.dir.join(&part.file)));
                continue;
            };
            let read = file.read(&mut piece).map_err(file_error(path))?;
            if read > 0 {
                piece.truncate(read);
                return Ok(piece);
            }
            self.open = None;
        }
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<(), BundleError> {
        while bytes > 0 {
            let read = self.read(bytes)?.len() as u64;
            if read == 0 {
                return Ok(());
            }
            bytes -= read;
        }
        Ok(())
    }
}

/// A bundle as the source of a run: a blob's source is its key.
pub(super) struct BundleSource {
    dir: PathBuf,
    /// The parts, each with the place in the stream of all objects where it begins.
    parts: Vec<(u64, BundlePart)>,
    /// Where each object begins, and how long it is.
    objects: HashMap<String, (u64, u64)>,
}

impl BundleSource {
    pub(super) fn new(dir: &Path, index: &BundleIndex) -> BundleSource {
        let mut at = 0;
        let parts = index.parts.iter().map(|part| {
            at += part.size;
            (at - part.size, part.clone())
        });
        let parts = parts.collect();
        let mut at = 0;
        let objects = index.objects.iter().map(|object| {
            at += object.size;
            (object.key.clone(), (at - object.size, object.size))
        });
        BundleSource {
            dir: dir.to_owned(),
            parts,
            objects: objects.collect(),
        }
    }

    /// Reads a stretch of the stream of all objects.
    fn read(&self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let at = from + filled as u64;
            let part = self.parts.iter().rfind(|(begins, _)| *begins <= at);
            let (begins, part) = part.ok_or(io::ErrorKind::UnexpectedEof)?;
            let left = (begins + part.size).saturating_sub(at);
            let now = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(length - filled);
            if now == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut file = File::open(self.dir.join(&part.file))?;
            file.seek(SeekFrom::Start(at - begins))?;
            file.read_exact(&mut bytes[filled..filled + now])?;
            filled += now;
        }
        Ok(bytes)
    }
}

async fn read(
    source: &Arc<BundleSource>,
    key: &str,
    from: u64,
    length: usize,
) -> Result<Bytes, SourceError> {
    let (source, failed) = (source.clone(), key.to_owned());
    let read = tokio::task::spawn_blocking(move || source.read(from, length)).await;
    let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map(Bytes::from)
        .map_err(|error| SourceError::io("read", &failed, error))
}

/// What the engine reads from: the bundle, shared with the streams that outlive a call.
pub(super) struct FromBundle(pub(super) Arc<BundleSource>);

#[async_trait]
impl Source for FromBundle {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        let key = blob.source.clone();
        let Some((from, size)) = self.0.objects.get(&key).copied() else {
            return Err(SourceError::new(SourceErrorKind::Missing, "read", &key));
        };
        if size <= whole_max {
            let bytes = read(
                &self.0,
                &key,
                from,
                usize::try_from(size).unwrap_or(usize::MAX),
            )
            .await?;
            let sha256 = Digest::of(&bytes);
            let contents = Contents::Whole { bytes, sha256 };
            return Ok(Opened {
                size,
                stamp: None,
                contents,
            });
        }
        let piece = match piece {
            AS_THEY_COME => PIECE,
            piece => piece,
        };
        let start = (self.0.clone(), key, from, size);
        let stream = stream::try_unfold(start, move |(source, key, from, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece);
            let bytes = read(&source, &key, from, now).await?;
            Ok(Some((
                bytes,
                (source, key, from + now as u64, left - now as u64),
            )))
        });
        Ok(Opened {
            size,
            stamp: None,
            contents: Contents::Stream(stream.boxed()),
        })
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        // Every part was compared with the signed index before the run began.
        Ok(blob.size.zip(blob.sha256))
    }

    async fn restore(
        &self,
        blob: &Blob,
        _stored: &StoredBlob,
        _body: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<(), SourceError> {
        Err(SourceError::new(
            SourceErrorKind::Permission,
            "write into the bundle",
            &blob.source,
        ))
    }

    async fn remove(&self, blob: &Blob, _equal: &StoredBlob) -> Result<Removal, SourceError> {
        Err(SourceError::new(
            SourceErrorKind::Permission,
            "remove from the bundle",
            &blob.source,
        ))
    }
}
