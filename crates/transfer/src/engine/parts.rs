//! Stores large blobs in parts: read one after the other, sent side by side, hashed on the way.
//!
//! What must hold: the id of the upload is durable before the first part is sent; at most as many parts are in memory as the
//! budget allows; the object appears only if the source stayed the same to its end.

use super::copy::Check;
use super::shared::{Failure, joined};
use crate::error::{RunError, RunErrorKind};
use crate::item::{Digest, Hasher, Stamp};
use crate::journal::{Line, StoredBlob};
use crate::limits::{Limits, Proof};
use crate::observer::Event;
use crate::source::BlobStream;
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{ErrorKind, Multipart, StoreError};
use tokio::task::JoinSet;

/// S3 takes no more parts of one object.
const PARTS_MAX: u64 = 10_000;

/// Parts grow in steps of this size.
const STEP: u64 = 1 << 20;

/// S3 takes no smaller part, but for the last.
const PART_MIN: u64 = 5 << 20;

/// So many parts of one blob are sent at once.
const PARTS_AT_ONCE: usize = 8;

/// So long the parts under way are waited for before an upload is given up.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Returns how large the parts of a blob are.
pub(super) fn size_for(limits: &Limits, size: u64) -> usize {
    let least = size.div_ceil(PARTS_MAX).next_multiple_of(STEP);
    let part = limits.part_size.max(PART_MIN).max(least);
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// Stores a blob that comes as a stream.
pub(super) async fn store_in_parts(
    check: &Check<'_>,
    size: u64,
    stamp: Option<Stamp>,
    stream: BlobStream,
) -> Result<StoredBlob, Failure> {
    let shared = check.shared;
    if let Some(stored) = already_there(check, size, stamp).await? {
        return Ok(stored);
    }
    shared.steps.take("begin upload")?;
    let (key, attributes) = (&check.blob.key, &check.blob.attributes);
    let begun = shared
        .patiently(|| shared.target.multipart(key, attributes))
        .await;
    let upload = Arc::new(begun.map_err(|error| check.target_failure(error))?);
    note_begun(check, &upload).await?;
    let outcome = send(check, &upload, size, stream).await;
    let outcome = match outcome {
        Ok(sha256) => complete(check, &upload, size, sha256)
            .await
            .map(|()| sha256),
        Err(failure) => Err(failure),
    };
    match &outcome {
        // A test that ends the run wants to see what a dead process leaves behind.
        Err(Failure::Run(error)) if error.kind() == RunErrorKind::Crash => {}
        Err(_) => give_up(check, &upload).await,
        Ok(_) => {}
    }
    let sha256 = outcome?;
    note_ended(check, &upload)?;
    Ok(StoredBlob {
        size,
        sha256,
        created: true,
        stamp,
    })
}

/// A large blob whose key is taken is hashed first, to compare.
async fn already_there(
    check: &Check<'_>,
    size: u64,
    stamp: Option<Stamp>,
) -> Result<Option<StoredBlob>, Failure> {
    if check.is_fresh && !check.is_uncertain {
        return Ok(None);
    }
    let shared = check.shared;
    let found = shared
        .patiently_source(|| shared.source.digest(check.blob))
        .await;
    let found = found.map_err(|error| shared.source_failure(check.item, check.blob, error))?;
    let Some((found_size, sha256)) = found.filter(|(found_size, _)| *found_size == size) else {
        return Ok(None);
    };
    check.check_digest(sha256)?;
    let created = check.is_there(found_size, sha256).await?;
    Ok(created.map(|created| StoredBlob {
        size,
        sha256,
        created,
        stamp,
    }))
}

async fn note_begun(check: &Check<'_>, upload: &Multipart) -> Result<(), RunError> {
    if upload.id().is_empty() {
        return Ok(());
    }
    check.shared.journal.append(&Line::Upload {
        key: check.blob.key.clone(),
        id: upload.id().to_owned(),
    })?;
    Ok(check.shared.journal.sync().await?)
}

fn note_ended(check: &Check<'_>, upload: &Multipart) -> Result<(), RunError> {
    if !upload.id().is_empty() {
        let id = upload.id().to_owned();
        check.shared.journal.append(&Line::UploadEnded { id })?;
    }
    Ok(())
}

async fn give_up(check: &Check<'_>, upload: &Multipart) {
    match upload.abort().await {
        Ok(()) => {
            // If this cannot be written, the next run gives it up once more.
            let _ = note_ended(check, upload);
        }
        Err(error) => {
            let (key, id) = (&check.blob.key, upload.id());
            tracing::warn!(%key, %id, %error, "parts were left behind");
        }
    }
}

/// Sends all parts; returns the hash of the whole. After an error no part is under way any more: one that arrived after the upload
/// was given up would stay in the store.
async fn send(
    check: &Check<'_>,
    upload: &Arc<Multipart>,
    size: u64,
    stream: BlobStream,
) -> Result<Digest, Failure> {
    let mut tasks = JoinSet::new();
    let outcome = send_all(check, upload, size, stream, &mut tasks).await;
    let is_crash =
        matches!(&outcome, Err(Failure::Run(error)) if error.kind() == RunErrorKind::Crash);
    if !is_crash {
        let drained = async { while tasks.join_next().await.is_some() {} };
        // What hangs for so long is cut off with the tasks.
        let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
    }
    outcome
}

async fn send_all(
    check: &Check<'_>,
    upload: &Arc<Multipart>,
    size: u64,
    mut stream: BlobStream,
    tasks: &mut JoinSet<Result<(), StoreError>>,
) -> Result<Digest, Failure> {
    let shared = check.shared;
    let at_once = if upload.is_parallel() {
        PARTS_AT_ONCE
    } else {
        1
    };
    let piece = size_for(&shared.limits, size) as u64;
    let mut hasher = Hasher::new();
    let mut number = 0;
    loop {
        while tasks.len() >= at_once {
            part_sent(check, tasks).await?;
        }
        let mut memory = None;
        while memory.is_none() {
            // Parts that are done make room for the next, so they are waited for as well.
            tokio::select! {
                biased;
                permit = shared.reserve(piece) => memory = Some(permit),
                outcome = tasks.join_next(), if !tasks.is_empty() => taken(check, outcome)?,
            }
        }
        let Some(bytes) = stream.next().await else {
            break;
        };
        let bytes = bytes.map_err(|error| shared.source_failure(check.item, check.blob, error))?;
        shared.bandwidth.take(bytes.len() as u64).await;
        let (part_sum, whole) = hash(hasher, bytes.clone()).await?;
        hasher = whole;
        shared.steps.take("part")?;
        let upload = upload.clone();
        let (n, retry) = (number, shared.limits.retry);
        let observer = shared.observer.clone();
        tasks.spawn(async move {
            let _memory = memory;
            let length = bytes.len() as u64;
            send_part(&upload, n, bytes, part_sum, retry).await?;
            observer.event(Event::Bytes(length));
            Ok(())
        });
        number += 1;
    }
    while !tasks.is_empty() {
        part_sent(check, tasks).await?;
    }
    let sha256 = hasher.finish();
    check.check_digest(sha256)?;
    Ok(sha256)
}

async fn part_sent(
    check: &Check<'_>,
    tasks: &mut JoinSet<Result<(), StoreError>>,
) -> Result<(), Failure> {
    let outcome = tasks.join_next().await;
    taken(check, outcome)
}

fn taken(
    check: &Check<'_>,
    outcome: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>,
) -> Result<(), Failure> {
    match outcome {
        Some(outcome) => joined(outcome)?.map_err(|error| check.target_failure(error)),
        None => Ok(()),
    }
}

async fn send_part(
    upload: &Multipart,
    number: usize,
    bytes: Bytes,
    sum: Digest,
    retry: crate::limits::Retry,
) -> Result<(), StoreError> {
    let mut attempt = 1;
    let mut pause = retry.pause;
    loop {
        let outcome = upload.put_part(number, bytes.clone(), Some(sum.0)).await;
        let may_pass = outcome
            .as_ref()
            .is_err_and(|error| error.kind().is_retryable() || error.kind() == ErrorKind::Corrupt);
        if !may_pass || attempt >= retry.attempts || !upload.is_parallel() {
            return outcome;
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(retry.pause_max);
        attempt += 1;
    }
}

/// Hashes a part for itself and into the whole, away from the tasks that wait for the network.
async fn hash(mut whole: Hasher, bytes: Bytes) -> Result<(Digest, Hasher), RunError> {
    let work = move || {
        whole.update(&bytes);
        (Digest::of(&bytes), whole)
    };
    joined(tokio::task::spawn_blocking(work).await)
}

/// Makes the object of its parts, and proves it.
async fn complete(
    check: &Check<'_>,
    upload: &Multipart,
    size: u64,
    sha256: Digest,
) -> Result<(), Failure> {
    let shared = check.shared;
    shared.steps.take("complete upload")?;
    let proof = shared.proof(true).await?;
    check.sent.store(true, Ordering::Relaxed);
    let completed = match check.asks_for_new(true).await? {
        Some(true) => upload.complete_new().await,
        Some(false) => upload.complete().await,
        None => {
            let key = Some(check.blob.key.as_str());
            Err(StoreError::new(
                ErrorKind::Precondition,
                "put",
                key,
                "something has the key",
            ))
        }
    };
    let written = match completed {
        Ok(written) => written,
        // The answer may have been lost, and the store knows nothing of the upload when it is asked again: the object tells.
        Err(error) if check.is_taken(&error) => {
            return match check.compare(size, sha256).await? {
                // Perhaps what this very upload became, of which the answer was lost.
                Some(_) => {
                    give_up(check, upload).await;
                    Ok(())
                }
                None => Err(check.target_failure(error)),
            };
        }
        Err(error) => {
            return match check.is_proved(Proof::ReadBack, size, sha256).await {
                Ok(true) => Ok(()),
                _ => Err(check.target_failure(error)),
            };
        }
    };
    // Where no answer came, nothing that the server was seen to compare vouches for what lies there.
    let proof = match written.in_doubt {
        true => Proof::ReadBack,
        false => proof,
    };
    shared.steps.take("completed upload")?;
    let fits = check.is_proved(Proof::Size, size, sha256).await?
        && check.is_proved(proof, size, sha256).await?;
    match fits {
        true => Ok(()),
        false => Err(check.not_what_was_stored(written.e_tag.as_deref()).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_never_has_more_parts_than_s3_takes() {
        let limits = Limits::default();
        assert_eq!(size_for(&limits, 0), 8 << 20);
        assert_eq!(size_for(&limits, 80 << 30), 9 << 20);
        for size in [1, 50_000_000, 5_000_000_000_000_u64] {
            assert!(size.div_ceil(size_for(&limits, size) as u64) <= PARTS_MAX);
        }
        let tiny = Limits {
            part_size: 1,
            ..Limits::default()
        };
        assert_eq!(size_for(&tiny, 1) as u64, PART_MIN);
    }
}
