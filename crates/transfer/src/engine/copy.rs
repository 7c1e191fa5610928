//! Copies one item: reads, stores and proves each of its blobs.
//!
//! What must hold: an object of somebody else is never overwritten; an item that is left out leaves none of the objects behind
//! that were made for it in this attempt, and takes away nothing else.

use super::parts;
use super::passing;
use super::refused;
use super::shared::{Failure, Shared, chain, exception};
use super::unnamed;
use crate::error::RunError;
use crate::item::{Blob, Digest, Item, Stamp};
use crate::journal::{Line, StoredBlob};
use crate::limits::Proof;
use crate::observer::Event;
use crate::report::{Exception, ExceptionKind};
use crate::source::Contents;
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{ErrorKind, StoreError, Written};

/// How often an object that arrived damaged is written again.
const DAMAGED_MAX: u32 = 3;

/// An item whose plan is durable.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) item: Item,
    pub(super) fresh: Vec<bool>,
    /// Where its line begins.
    pub(super) place: u64,
    /// Whether an earlier process may have stored some of it.
    pub(super) is_uncertain: bool,
    /// Whether another item of this run has one of its keys.
    pub(super) is_twin: bool,
}

/// An item whose blobs are in the target.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) item: Item,
    pub(super) blobs: Vec<Option<StoredBlob>>,
    /// Whether an earlier process stored it: then it is not known here whether another item has one of its keys.
    pub(super) is_resumed: bool,
    /// Whether the ledger says that it is switched over already.
    pub(super) is_switched: bool,
}

/// Copies an item; none if it was left out, which is in the journal and the report then.
pub(super) async fn copy_item(
    shared: &Shared,
    pending: Pending,
) -> Result<Option<Ready>, RunError> {
    let mut done = Vec::with_capacity(pending.item.blobs.len());
    for index in 0..pending.item.blobs.len() {
        match copy_unless_refused(shared, &pending, index).await {
            Ok(stored) => done.push(Some(stored)),
            Err(Failure::Run(error)) => return Err(error),
            Err(Failure::Item(exception)) if !pending.item.blobs[index].required => {
                leave_blob_out(shared, *exception)?;
                done.push(None);
            }
            Err(Failure::Item(exception)) => {
                leave_item_out(shared, &pending, &done, *exception).await?;
                return Ok(None);
            }
        }
    }
    shared.steps.take("stored")?;
    let line = Line::Stored {
        id: pending.item.id.clone(),
        planned: pending.place,
        blobs: done.clone(),
    };
    shared.journal.append(&line)?;
    let bytes = done.iter().flatten().map(|stored| stored.size).sum();
    count(shared, &done, bytes);
    shared.observer.event(Event::Stored {
        item: pending.item.id.clone(),
        bytes,
    });
    Ok(Some(Ready {
        item: pending.item,
        blobs: done,
        is_resumed: false,
        is_switched: false,
    }))
}

/// Copies a blob. Where the store refuses only this one, what may have arrived all the same is taken away.
async fn copy_unless_refused(
    shared: &Shared,
    pending: &Pending,
    index: usize,
) -> Result<StoredBlob, Failure> {
    let sent = AtomicBool::new(false);
    let copied = copy_blob(shared, pending, index, &sent).await;
    let ends_run = matches!(copied, Err(Failure::Run(_)));
    let (item, blob) = (&pending.item, &pending.item.blobs[index]);
    let judged = refused::judge(shared, item, blob, copied).await;
    if ends_run && matches!(judged, Err(Failure::Item(_))) {
        let is_fresh = pending.fresh.get(index).copied().unwrap_or(false);
        match (is_fresh, pending.is_uncertain) {
            // What has the key although nothing was sent is somebody else's: a person put it there while the source failed.
            (true, false) if sent.into_inner() => {
                take_away(shared, pending, std::slice::from_ref(&blob.key)).await?;
            }
            // That of a required one is looked for when the item is left out.
            (true, true) if !blob.required => {
                report_kept(shared, pending, index..index + 1).await?
            }
            _ => {}
        }
    }
    judged
}

fn count(shared: &Shared, done: &[Option<StoredBlob>], bytes: u64) {
    let mut report = shared.report();
    let created = done
        .iter()
        .flatten()
        .filter(|stored| stored.created)
        .count() as u64;
    report.stored += created;
    report.already_there += done.iter().flatten().count() as u64 - created;
    report.bytes += bytes;
}

fn leave_blob_out(shared: &Shared, mut exception: Exception) -> Result<(), RunError> {
    if exception.kind == ExceptionKind::Missing {
        exception.kind = ExceptionKind::OptionalMissing;
    }
    if exception.kind.is_failure() {
        shared.report().failed += 1;
    }
    shared.remark(exception)
}

/// Takes back what was stored for an item, and writes down why it is left out.
async fn leave_item_out(
    shared: &Shared,
    pending: &Pending,
    done: &[Option<StoredBlob>],
    exception: Exception,
) -> Result<(), RunError> {
    let made = pending.item.blobs.iter().zip(done);
    let keys: Vec<String> = made
        .filter(|(_, stored)| stored.as_ref().is_some_and(|stored| stored.created))
        .map(|(blob, _)| blob.key.clone())
        .collect();
    shared.steps.take("leaving out")?;
    // What an earlier process stored may have been switched to by another run since.
    if !keys.is_empty() && unnamed::may_go(shared, &pending.item, &keys).await? {
        take_away(shared, pending, &keys).await?;
    }
    if pending.is_uncertain {
        report_kept(shared, pending, done.len()..pending.fresh.len()).await?;
    }
    let line = Line::LeftOut {
        id: pending.item.id.clone(),
        exception: exception.clone(),
    };
    shared.journal.append(&line)?;
    {
        let mut report = shared.report();
        match exception.kind.is_failure() {
            true => report.failed += 1,
            false => report.left_out += 1,
        }
    }
    let verification = exception.kind == ExceptionKind::Verification;
    let key = exception.key.clone();
    shared.note(exception);
    match verification && shared.limits.stop_on_verification_failure {
        true => Err(RunError::verification(&key)),
        false => Ok(()),
    }
}

/// Removes what was stored of an item; where the store refuses only that, it is named.
async fn take_away(shared: &Shared, pending: &Pending, keys: &[String]) -> Result<(), RunError> {
    let Err(error) = shared.patiently(|| shared.target.delete(keys)).await else {
        return Ok(());
    };
    let is_alone = match keys.first() {
        Some(key) => refused::is_alone(shared, key, &error).await,
        None => false,
    };
    if !is_alone {
        return Err(error.into());
    }
    let blobs = pending.item.blobs.iter();
    for blob in blobs.filter(|blob| keys.contains(&blob.key)) {
        name_kept(shared, pending, blob, &error)?;
    }
    Ok(())
}

/// Names an object of which nobody can say whether it is there.
fn name_kept(
    shared: &Shared,
    pending: &Pending,
    blob: &Blob,
    error: &StoreError,
) -> Result<(), RunError> {
    let remedy = "look whether the object is there, and remove it if it is";
    let kind = ExceptionKind::ObjectKept;
    shared.remark(exception(&pending.item, blob, kind, chain(error), remedy))
}

/// Names objects that an earlier process may have made and that cannot be compared with their sources now.
async fn report_kept(
    shared: &Shared,
    pending: &Pending,
    which: Range<usize>,
) -> Result<(), RunError> {
    let blobs = pending.item.blobs.iter().zip(&pending.fresh);
    for (blob, fresh) in blobs.skip(which.start).take(which.len()) {
        if !fresh {
            continue;
        }
        match shared.patiently(|| shared.target.head(&blob.key)).await {
            Ok(_) => {
                let message =
                    "the object may be one that an earlier attempt stored; it was left where it is";
                let remedy = "compare it with the source, and remove the one that is wrong";
                let kind = ExceptionKind::ObjectKept;
                shared.remark(exception(&pending.item, blob, kind, message, remedy))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => match refused::is_alone(shared, &blob.key, &error).await {
                true => name_kept(shared, pending, blob, &error)?,
                false => return Err(error.into()),
            },
        }
    }
    Ok(())
}

async fn copy_blob(
    shared: &Shared,
    pending: &Pending,
    index: usize,
    sent: &AtomicBool,
) -> Result<StoredBlob, Failure> {
    let (item, blob) = (&pending.item, &pending.item.blobs[index]);
    let is_fresh = pending.fresh.get(index).copied().unwrap_or(false);
    if pending.is_uncertain {
        let vouched = shared.patiently_source(|| shared.source.vouch(blob)).await;
        vouched.map_err(|error| shared.source_failure(item, blob, error))?;
    }
    let check = Check {
        shared,
        item,
        blob,
        is_fresh,
        is_uncertain: pending.is_uncertain,
        sent,
    };
    if let Some((size, sha256)) = passing::fits(&check).await?
        && let Some(stored) = passing::pass_on(&check, size, sha256).await?
    {
        return Ok(stored);
    }
    let limits = &shared.limits;
    // One of unknown size is taken for a small one until it is opened.
    let small = limits.part_size.min(limits.multipart_threshold);
    let expected = blob.size.unwrap_or(small.min(limits.memory));
    let is_large = expected > limits.multipart_threshold.min(limits.memory);
    let reserved = if is_large { 1 } else { expected };
    // Held until the blob is stored.
    let memory = shared.reserve(reserved).await;
    let whole_max = if is_large { 0 } else { expected.max(1) };
    let piece = parts::size_for(limits, expected);
    let open = || shared.source.open(blob, whole_max, piece);
    let opened = shared.patiently_source(open).await;
    let opened = opened.map_err(|error| shared.source_failure(item, blob, error))?;
    if blob.size.is_some_and(|size| size != opened.size) {
        return Err(check.wrong_size(opened.size));
    }
    match opened.contents {
        Contents::Whole { bytes, sha256 } => {
            shared.bandwidth.take(opened.size).await;
            check.store_whole(bytes, sha256, opened.stamp).await
        }
        Contents::Stream(stream) => {
            drop(memory);
            parts::store_in_parts(&check, opened.size, opened.stamp, stream).await
        }
    }
}

/// What became of an object that was written.
enum Put {
    Written(Written),
    /// Other bytes arrived than were sent.
    Damaged,
    /// Something has the key, and the target writes over nothing.
    Taken,
}

/// One blob on its way to the target.
pub(super) struct Check<'a> {
    pub(super) shared: &'a Shared,
    pub(super) item: &'a Item,
    pub(super) blob: &'a Blob,
    pub(super) is_fresh: bool,
    pub(super) is_uncertain: bool,
    /// Set before the target is asked to make the object: from then on it may be there, whatever the answer.
    pub(super) sent: &'a AtomicBool,
}

impl Check<'_> {
    async fn store_whole(
        &self,
        bytes: Bytes,
        sha256: Digest,
        stamp: Option<Stamp>,
    ) -> Result<StoredBlob, Failure> {
        self.check_digest(sha256)?;
        let size = bytes.len() as u64;
        let mut stored = StoredBlob {
            size,
            sha256,
            created: true,
            stamp,
        };
        if let Some(created) = self.is_there(size, sha256).await? {
            stored.created = created;
            return Ok(stored);
        }
        let proof = self.shared.proof(false).await?;
        let (mut attempt, mut is_written) = (1, false);
        loop {
            self.shared.steps.take("put")?;
            let put = self.put(&bytes, sha256, !is_written).await?;
            is_written |= matches!(put, Put::Written(_));
            let e_tag = match &put {
                Put::Written(written) => written.e_tag.clone(),
                _ => None,
            };
            let fits = match put {
                Put::Damaged => false,
                // Somebody else was there first; or this run, and the answer was lost.
                Put::Taken => match self.compare(size, sha256).await? {
                    Some(created) => {
                        stored.created = created;
                        return Ok(stored);
                    }
                    None if attempt < DAMAGED_MAX => {
                        attempt += 1;
                        continue;
                    }
                    None => return Err(self.comes_and_goes()),
                },
                Put::Written(written)
                    if proof == Proof::Checksum && !written.checksum_confirmed =>
                {
                    self.is_stated(size, sha256).await?
                }
                Put::Written(_) => self.is_proved(proof, size, sha256).await?,
            };
            self.shared.steps.take("after put")?;
            if fits {
                self.shared.observer.event(Event::Bytes(size));
                return Ok(stored);
            }
            if attempt == DAMAGED_MAX || !self.shared.target.writes_over() {
                return Err(self.not_what_was_stored(e_tag.as_deref()).await);
            }
            attempt += 1;
        }
    }

    /// Writes the object; only what this run wrote itself, and came back damaged, is written over.
    async fn put(&self, bytes: &Bytes, sha256: Digest, is_first: bool) -> Result<Put, Failure> {
        let (blob, target) = (self.blob, &self.shared.target);
        let only_new = match is_first {
            true => match self.asks_for_new(!self.may_be_there()).await? {
                Some(only_new) => only_new,
                None => return Ok(Put::Taken),
            },
            false => false,
        };
        let put = || async {
            let (bytes, sum) = (bytes.clone(), Some(sha256.0));
            match only_new {
                true => {
                    target
                        .put_new(&blob.key, bytes, &blob.attributes, sum)
                        .await
                }
                false => {
                    target
                        .put_with(&blob.key, bytes, &blob.attributes, sum)
                        .await
                }
            }
        };
        self.sent.store(true, Ordering::Relaxed);
        match self.shared.patiently(put).await {
            Ok(written) => Ok(Put::Written(written)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Put::Damaged),
            Err(error) if self.is_taken(&error) => Ok(Put::Taken),
            Err(error) => Err(self.target_failure(error)),
        }
    }

    /// Asks for the object where the answer did not say its checksum back, though the server was seen to compare it: what stands before the server may
    /// have answered in its place. What it says of the object is compared; if it says no checksum, the object is read back.
    pub(super) async fn is_stated(&self, size: u64, sha256: Digest) -> Result<bool, Failure> {
        let key = &self.blob.key;
        match self.shared.patiently(|| self.shared.target.head(key)).await {
            Ok(found) if found.size != size => Ok(false),
            Ok(found) => match found.sha256 {
                Some(stated) => Ok(stated == sha256.0),
                None => self.is_proved(Proof::ReadBack, size, sha256).await,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.target_failure(error)),
        }
    }

    /// Tells whether the object is in the target as it was sent.
    pub(super) async fn is_proved(
        &self,
        proof: Proof,
        size: u64,
        sha256: Digest,
    ) -> Result<bool, Failure> {
        let key = &self.blob.key;
        let target = &self.shared.target;
        let outcome = match proof {
            Proof::Checksum => return Ok(true),
            Proof::Size => {
                let found = self.shared.patiently(|| target.head(key)).await;
                found.map(|found| found.size == size)
            }
            Proof::ReadBack => {
                let found = self.shared.read_back(key, (size, sha256)).await;
                found.map(|found| found == Some((size, sha256)))
            }
        };
        match outcome {
            Ok(fits) => Ok(fits),
            Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                Ok(false)
            }
            Err(error) => Err(self.target_failure(error)),
        }
    }

    /// Compares the content with what is expected.
    pub(super) fn check_digest(&self, sha256: Digest) -> Result<(), Failure> {
        match self.blob.sha256 {
            Some(expected) if expected != sha256 => Err(self.wrong_digest(sha256, expected)),
            _ => Ok(()),
        }
    }

    pub(super) fn wrong_digest(&self, found: Digest, expected: Digest) -> Failure {
        let message = format!("its SHA-256 is {found} where {expected} is expected");
        let remedy =
            "compare the file with a backup: it may be damaged; replace it, then run again";
        self.failure(ExceptionKind::WrongDigest, message, remedy)
    }

    pub(super) fn wrong_size(&self, size: u64) -> Failure {
        let expected = self.blob.size.unwrap_or_default();
        let message = format!("it has {size} bytes where {expected} are expected");
        let remedy =
            "compare the file with a backup: it may be truncated; replace it, then run again";
        self.failure(ExceptionKind::WrongSize, message, remedy)
    }

    /// Whether something may lie under the key that this run has not put there, or an earlier process has.
    pub(super) fn may_be_there(&self) -> bool {
        !self.is_fresh || self.is_uncertain
    }

    /// Looks whether an equal object is there: some, with whether this run made it. Another object is a clash.
    pub(super) async fn is_there(
        &self,
        size: u64,
        sha256: Digest,
    ) -> Result<Option<bool>, Failure> {
        match self.may_be_there() {
            true => self.compare(size, sha256).await,
            false => Ok(None),
        }
    }

    /// As [`Check::is_there`], whether or not something may be there.
    pub(super) async fn compare(&self, size: u64, sha256: Digest) -> Result<Option<bool>, Failure> {
        let key = &self.blob.key;
        let found = match self.shared.patiently(|| self.shared.target.head(key)).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.target_failure(error)),
        };
        let is_equal = found.size == size
            && (found.sha256 == Some(sha256.0)
                && self.shared.proof(false).await? == Proof::Checksum
                || self.is_proved(Proof::ReadBack, size, sha256).await?);
        if is_equal {
            return Ok(Some(self.is_fresh));
        }
        let message = format!(
            "{key} is there already with {} bytes, and is not equal to {} with {size}; neither was touched",
            found.size, self.blob.source
        );
        let remedy = "find out first whose it is: it may be what another row names, and then it must stay where it is (--audit-files lists what no row \
                      names). If it is nobody's, move it away, then run again";
        Err(self.failure(ExceptionKind::Clash, message, remedy))
    }

    /// Takes an object away that does not come back as it was sent; among somebody else's files only if it is still the one that was written.
    pub(super) async fn not_what_was_stored(&self, e_tag: Option<&str>) -> Failure {
        let keys = [self.blob.key.clone()];
        let target = &self.shared.target;
        let is_ours = match target.writes_over() {
            true => true,
            false => {
                let found = self.shared.patiently(|| target.head(&keys[0])).await;
                found.is_ok_and(|found| e_tag.is_some() && found.e_tag.as_deref() == e_tag)
            }
        };
        if is_ours && let Err(error) = self.shared.patiently(|| target.delete(&keys)).await {
            tracing::warn!(key = %self.blob.key, error = %chain(&error), "a damaged object could not be removed");
        }
        let message = "what came back from the target is not what was stored";
        let remedy = "check the network and the store (--test-storage), then run again";
        self.failure(ExceptionKind::Verification, message, remedy)
    }

    pub(super) fn failure(
        &self,
        kind: ExceptionKind,
        message: impl Into<String>,
        remedy: &str,
    ) -> Failure {
        Failure::Item(Box::new(exception(
            self.item, self.blob, kind, message, remedy,
        )))
    }

    pub(super) fn target_failure(&self, error: StoreError) -> Failure {
        self.shared.target_failure(self.item, self.blob, error)
    }
}
