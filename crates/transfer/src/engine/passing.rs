//! Passes a blob on while it is read: one whose SHA-256 is known beforehand, to a store that compares it.
//!
//! What must hold: the last piece goes only when all of them have the digest that is expected and the source has ended well, so that of
//! anything else no object comes to be, whatever the server does. What lies there all the same is named, and stays.
//! What it deliberately does not do: try again. What failed at the store is read anew by who called, and held until it is stored.

use super::copy::Check;
use super::pace::Bandwidth;
use super::shared::{Failure, exception};
use crate::item::{Digest, Hasher};
use crate::journal::StoredBlob;
use crate::limits::Proof;
use crate::observer::Event;
use crate::report::ExceptionKind;
use crate::source::{AS_THEY_COME, BlobStream, Contents, SourceError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use store::{ErrorKind, Passed, StoreError};

/// What the buffers of a connection in and one out take, about.
const MEMORY: u64 = 1 << 20;

/// Returns the size and the digest of a blob that can be passed on.
pub(super) async fn fits(check: &Check<'_>) -> Result<Option<(u64, Digest)>, Failure> {
    let (shared, blob) = (check.shared, check.blob);
    let (Some(size), Some(sha256), Some(least)) = (blob.size, blob.sha256, shared.limits.pass_on)
    else {
        return Ok(None);
    };
    // What may lie under the key already is compared with what is read, before anything is sent.
    if check.may_be_there() || !shared.limits.writes_over {
        return Ok(None);
    }
    // Of nothing there is no last piece to hold back.
    let is_of_size = size >= least.max(1) && size <= shared.limits.multipart_threshold;
    if !is_of_size || !shared.target.can_pass_on() {
        return Ok(None);
    }
    let is_compared = shared.proof(false).await? == Proof::Checksum;
    Ok(is_compared.then_some((size, sha256)))
}

/// Passes a blob on; none if the store failed in a way that may pass.
pub(super) async fn pass_on(
    check: &Check<'_>,
    size: u64,
    sha256: Digest,
) -> Result<Option<StoredBlob>, Failure> {
    let (shared, blob) = (check.shared, check.blob);
    let _memory = shared.reserve(MEMORY.min(size)).await;
    let open = || shared.source.open(blob, 0, AS_THEY_COME);
    let opened = shared.patiently_source(open).await;
    let opened = opened.map_err(|error| shared.source_failure(check.item, blob, error))?;
    let Contents::Stream(stream) = opened.contents else {
        return Ok(None);
    };
    if opened.size != size {
        return Err(check.wrong_size(opened.size));
    }
    shared.steps.take("put")?;
    check.sent.store(true, Ordering::Relaxed);
    let why = Arc::new(Mutex::new(None));
    let bytes = held_back(stream, sha256, shared.bandwidth.clone(), why.clone());
    let passed = Passed {
        size,
        sha256: sha256.0,
        bytes,
    };
    let outcome = shared
        .target
        .pass_on(&blob.key, passed, &blob.attributes)
        .await;
    shared.steps.take("after put")?;
    let why = why.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(why) = why {
        // What was broken off is no object: what has the key now is somebody else's.
        check.sent.store(false, Ordering::Relaxed);
        look_what_came(check, size, sha256).await?;
        return Err(match why {
            Why::Source(error) => shared.source_failure(check.item, blob, error),
            Why::Digest(found) => check.wrong_digest(found, sha256),
        });
    }
    let is_proved = match outcome {
        Ok(written) if written.checksum_confirmed => true,
        Ok(_) => check.is_stated(size, sha256).await?,
        Err(error) => return another_way(check, error),
    };
    if !is_proved {
        return Ok(None);
    }
    shared.observer.event(Event::Bytes(size));
    Ok(Some(StoredBlob {
        size,
        sha256,
        created: true,
        stamp: opened.stamp,
    }))
}

/// Whether a failure of the store is a reason to hold the blob and try again; otherwise it stays what it is.
fn another_way(check: &Check<'_>, error: StoreError) -> Result<Option<StoredBlob>, Failure> {
    if error.kind() == ErrorKind::Throttled {
        check.shared.throttled();
    }
    if error.kind().is_retryable() || error.kind() == ErrorKind::Corrupt {
        tracing::info!(key = %check.blob.key, %error, "not passed on; it is read anew");
        return Ok(None);
    }
    Err(check.target_failure(error))
}

/// Looks whether a request that was broken off has left an object, which no server is known to do, and names what lies there. It stays: somebody
/// else may have put it there meanwhile.
async fn look_what_came(check: &Check<'_>, size: u64, sha256: Digest) -> Result<(), Failure> {
    let shared = check.shared;
    let key = &check.blob.key;
    match shared.patiently(|| shared.target.head(key)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(check.target_failure(error)),
        Ok(_) => {}
    }
    if check.is_proved(Proof::ReadBack, size, sha256).await? {
        return Ok(());
    }
    let message = "an object came to be here while the source was read, and is not what was to be stored; it was left where it is";
    let remedy = "find out whose it is; if it is nobody's, remove it, then run again";
    let kind = ExceptionKind::ObjectKept;
    Ok(shared.remark(exception(check.item, check.blob, kind, message, remedy))?)
}

/// Why a blob was broken off.
enum Why {
    Source(SourceError),
    Digest(Digest),
}

struct Held {
    stream: BlobStream,
    hasher: Hasher,
    expected: Digest,
    piece: Option<Bytes>,
    bandwidth: Arc<Bandwidth>,
    why: Arc<Mutex<Option<Why>>>,
}

type Pieces = BoxStream<'static, Result<Bytes, Box<dyn Error + Send + Sync>>>;

/// Hashes pieces on their way, and holds each back until the next one is there, the last until the digest is known to be right.
fn held_back(
    stream: BlobStream,
    expected: Digest,
    bandwidth: Arc<Bandwidth>,
    why: Arc<Mutex<Option<Why>>>,
) -> Pieces {
    let held = Held {
        stream,
        hasher: Hasher::new(),
        expected,
        piece: None,
        bandwidth,
        why,
    };
    stream::try_unfold(Some(held), |held| async move {
        match held {
            Some(held) => held.next().await,
            None => Ok(None),
        }
    })
    .boxed()
}

impl Held {
    async fn next(mut self) -> Result<Option<(Bytes, Option<Held>)>, Box<dyn Error + Send + Sync>> {
        while let Some(piece) = self.stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(self.broken_off(Why::Source(error))),
            };
            self.bandwidth.take(piece.len() as u64).await;
            self.hasher.update(&piece);
            if let Some(before) = self.piece.replace(piece) {
                return Ok(Some((before, Some(self))));
            }
        }
        let Held {
            hasher,
            expected,
            piece,
            why,
            ..
        } = self;
        let found = hasher.finish();
        if found != expected {
            return Err(broken_off(&why, Why::Digest(found)));
        }
        Ok(piece.map(|last| (last, None)))
    }

    fn broken_off(&self, why: Why) -> Box<dyn Error + Send + Sync> {
        broken_off(&self.why, why)
    }
}

fn broken_off(place: &Mutex<Option<Why>>, why: Why) -> Box<dyn Error + Send + Sync> {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    "the source ended otherwise than it was announced".into()
}
