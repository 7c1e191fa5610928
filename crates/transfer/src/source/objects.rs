//! Objects of another store: a blob's source is a key.
//!
//! What must hold: a restored object is read by nobody before it is whole.

use super::{AS_THEY_COME, Contents, Opened, Removal, Source, SourceError, SourceErrorKind};
use crate::item::{Blob, Digest, Hasher};
use crate::journal::StoredBlob;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use store::{ErrorKind, Store, StoreError};

/// An object of at most this size is restored in one piece.
const PIECE: usize = 8 << 20;

/// The objects of a store.
#[derive(Clone, Debug)]
pub struct Objects(Store);

impl Objects {
    /// Makes a source of a store's objects.
    #[must_use]
    pub fn new(store: Store) -> Objects {
        Objects(store)
    }
}

#[async_trait]
impl Source for Objects {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        let failed = |error| SourceError::store("read", &blob.source, error);
        // Where the planner knows the size, asking for it would be a request more.
        let size = match blob.size {
            Some(size) => size,
            None => self.0.head(&blob.source).await.map_err(failed)?.size,
        };
        if size <= whole_max {
            let bytes = self.0.get(&blob.source).await.map_err(failed)?;
            let (size, sha256) = (bytes.len() as u64, Digest::of(&bytes));
            return Ok(Opened {
                size,
                stamp: None,
                contents: Contents::Whole { bytes, sha256 },
            });
        }
        let found = self.0.head(&blob.source).await.map_err(failed)?;
        let body = self.0.read(&blob.source, None).await.map_err(failed)?;
        let source = blob.source.clone();
        let body =
            body.map(move |part| part.map_err(|error| SourceError::store("read", &source, error)));
        Ok(Opened {
            size: found.size,
            stamp: None,
            contents: Contents::Stream(in_pieces(body.boxed(), piece)),
        })
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        digest_of(&self.0, &blob.source)
            .await
            .map_err(|error| SourceError::store("read", &blob.source, error))
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<(), SourceError> {
        let failed = |error| SourceError::store("restore", &blob.source, error);
        if stored.size == 0 {
            // An upload in parts has at least one.
            let empty = Bytes::new();
            let written = self.0.put_with(&blob.source, empty, &blob.attributes, None);
            return written.await.map(|_| ()).map_err(failed);
        }
        let mut upload = self
            .0
            .multipart(&blob.source, &blob.attributes)
            .await
            .map_err(failed)?;
        let outcome = match write_parts(&mut upload, stored, body).await {
            Ok(true) => match upload.complete().await {
                Ok(written) if written.in_doubt => self.is_as_stored(blob, stored).await,
                Ok(_) => Ok(true),
                Err(error) => Err(error),
            },
            outcome => outcome,
        };
        if !matches!(outcome, Ok(true)) {
            // What is left of it costs money, but harms nothing.
            let _ = upload.abort().await;
        }
        match outcome.map_err(failed)? {
            true => Ok(()),
            false => {
                let why = format!("its object {} came back different", blob.key);
                let kind = SourceErrorKind::WrongDigest;
                Err(SourceError::new(kind, "restore", &blob.source).because(why))
            }
        }
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        match self.digest(blob).await? {
            None => return Ok(Removal::NotThere),
            Some(found) if found == (equal.size, equal.sha256) => {}
            Some(_) => return Ok(Removal::Differs),
        }
        let keys = [blob.source.clone()];
        let removed = self.0.delete(&keys).await;
        removed.map_err(|error| SourceError::store("remove", &blob.source, error))?;
        Ok(Removal::Removed)
    }
}

impl Objects {
    async fn is_as_stored(&self, blob: &Blob, stored: &StoredBlob) -> Result<bool, StoreError> {
        let found = digest_of(&self.0, &blob.source).await?;
        Ok(found == Some((stored.size, stored.sha256)))
    }
}

/// Reads and hashes an object; none if it is not there.
pub(crate) async fn digest_of(
    store: &Store,
    key: &str,
) -> Result<Option<(u64, Digest)>, StoreError> {
    let mut body = match store.read(key, None).await {
        Ok(body) => body,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hasher = Hasher::new();
    let mut size = 0;
    while let Some(part) = body.next().await {
        let part = part?;
        size += part.len() as u64;
        hasher.update(&part);
    }
    Ok(Some((size, hasher.finish())))
}

async fn write_parts(
    upload: &mut store::Multipart,
    stored: &StoredBlob,
    body: BoxStream<'static, Result<Bytes, StoreError>>,
) -> Result<bool, StoreError> {
    let mut pieces = in_pieces(body, PIECE);
    let mut hasher = Hasher::new();
    let (mut number, mut size) = (0, 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hasher.update(&piece);
        size += piece.len() as u64;
        let sum = Digest::of(&piece).0;
        upload.put_part(number, piece, Some(sum)).await?;
        number += 1;
    }
    Ok(size == stored.size && hasher.finish() == stored.sha256)
}

/// Cuts a stream anew, so that every piece but the last has the given size, as [`Source::open`] wants it; not if they may stay as they come.
#[must_use]
pub fn in_pieces<E: Send + 'static>(
    body: BoxStream<'static, Result<Bytes, E>>,
    piece: usize,
) -> BoxStream<'static, Result<Bytes, E>> {
    if piece == AS_THEY_COME {
        return body;
    }
    let start = (body, BytesMut::new());
    stream::try_unfold(start, move |(mut body, mut kept)| async move {
        while kept.len() < piece {
            match body.next().await {
                Some(part) => kept.extend_from_slice(&part?),
                None if kept.is_empty() => return Ok(None),
                None => break,
            }
        }
        let whole = kept.split_to(piece.min(kept.len())).freeze();
        Ok(Some((whole, (body, kept))))
    })
    .boxed()
}
