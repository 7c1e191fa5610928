//! Where blobs come from, and where they go back to on a rollback.
//!
//! What must hold: a source that changes while it is read is never taken for good; a restored source is whole and durable
//! before it has its name; nothing but [`Source::remove`] removes anything.

mod error;
mod files;
pub(crate) mod objects;
mod places;
#[cfg(test)]
mod tests;

pub use error::{SourceError, SourceErrorKind};
pub use files::Files;
pub use objects::{Objects, in_pieces};
pub use places::{Places, stays_inside};

use crate::item::{Blob, Digest, Stamp};
use crate::journal::StoredBlob;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use store::StoreError;

/// As the size of pieces: whatever sizes they come in, none of them large.
pub const AS_THEY_COME: usize = 0;

/// What a source makes of that which has no pieces of its own.
const PIECE: usize = 256 << 10;

/// The bytes of a blob, piece by piece.
pub type BlobStream = BoxStream<'static, Result<Bytes, SourceError>>;

/// A place that blobs are read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens a blob. One of at most `whole_max` bytes is read and hashed at once; a larger one comes as a stream, in pieces of
    /// `piece` bytes but for the last, or [`AS_THEY_COME`], each read only when it is asked for.
    ///
    /// # Errors
    /// If it is not there, is no file, may not be read, or changes meanwhile.
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError>;

    /// Makes sure that a blob may be read which an earlier process has planned: here its journal names it, and nothing else.
    ///
    /// # Errors
    /// If the source does not take a journal's word for it.
    async fn vouch(&self, _blob: &Blob) -> Result<(), SourceError> {
        Ok(())
    }

    /// Reads and hashes a blob; none if it is not there.
    ///
    /// # Errors
    /// If it cannot be found out.
    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError>;

    /// Returns how long each of many blobs is now, and what else it has; nothing for one that is not there, cannot be looked at, or comes
    /// from where nothing is known of that. Many at once: to hand each to another thread costs more than to look.
    async fn look(&self, blobs: Vec<Blob>) -> Vec<Option<(u64, Stamp)>> {
        vec![None; blobs.len()]
    }

    /// Returns where a blob's name leads if that is only a link; nothing where there are no links.
    async fn leads_to(&self, _blob: &Blob) -> Option<String> {
        None
    }

    /// Puts a blob back that is not there, or that it put back itself: checks size and digest of the body against `stored`, and only then
    /// gives it its name, durably.
    ///
    /// # Errors
    /// If it is not certain that it is there; `Occupied` if something else has its name, and is left alone.
    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<(), SourceError>;

    /// Reads a blob, and removes it, durably, if it has the bytes that were stored of it.
    ///
    /// # Errors
    /// If it is not certain that it is gone.
    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError>;
}

/// What became of a blob that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was not there.
    NotThere,
    /// It has other bytes, or changed while it was read, and is still there.
    Differs,
}

/// A blob that is being read.
pub struct Opened {
    /// How many bytes it has.
    pub size: u64,
    /// What a file has besides its bytes.
    pub stamp: Option<Stamp>,
    /// Its bytes.
    pub contents: Contents,
}

/// The bytes of an opened blob.
pub enum Contents {
    /// All of them, and their hash.
    Whole {
        /// The bytes.
        bytes: Bytes,
        /// Their SHA-256.
        sha256: Digest,
    },
    /// Piece by piece. The last item is an error if the source changed meanwhile.
    Stream(BlobStream),
}
