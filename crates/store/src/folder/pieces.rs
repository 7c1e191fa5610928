//! Reads an object of a folder: a small one at once, a large one piece by piece.
//!
//! What must hold: what has grown since its length was taken is cut; what has shrunk comes back short, and the caller notices.

use super::failure;
use crate::file::FileError;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path as Key;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An object of at most this size is read at once.
const PIECE: u64 = 1 << 20;

/// Reads a range; the first piece now, the others when they are asked for.
pub(super) fn read(
    file: File,
    place: &Path,
    key: &Key,
    range: &Range<u64>,
) -> io::Result<BoxStream<'static, object_store::Result<Bytes>>> {
    let mut rest = Rest {
        file,
        place: place.to_owned(),
        key: key.clone(),
        range: range.clone(),
    };
    let first = rest.next()?;
    let first = stream::iter([Ok(first)]);
    if rest.range.is_empty() {
        return Ok(first.boxed());
    }
    let others = stream::try_unfold(rest, |rest| async move {
        let next = move || rest.next_piece();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(next).await?,
            Err(_) => next(),
        }
    });
    Ok(first.chain(others).boxed())
}

/// What is still to be read.
struct Rest {
    file: File,
    place: PathBuf,
    key: Key,
    range: Range<u64>,
}

impl Rest {
    fn next_piece(mut self) -> object_store::Result<Option<(Bytes, Rest)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        match self.next() {
            Ok(bytes) if bytes.is_empty() => Ok(None),
            Ok(bytes) => Ok(Some((bytes, self))),
            Err(error) => {
                let error = FileError::wrap("read", &self.place, error);
                Err(failure(&self.key, error))
            }
        }
    }

    fn next(&mut self) -> io::Result<Bytes> {
        let wanted = (self.range.end - self.range.start).min(PIECE);
        let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
        let mut length = 0;
        while length < bytes.len() {
            let at = self.range.start + length as u64;
            match self.file.read_at(&mut bytes[length..], at) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        self.range.start += length as u64;
        Ok(bytes.into())
    }
}
