//! Makes an object of its parts in a bucket, whatever becomes of the answer.
//!
//! A server may take minutes for it, and a proxy before it may lose patience first. A server that is asked again may have forgotten the
//! upload, because it made the object of it or is about to: then it answers "no such upload" or "access denied".
//!
//! What must hold: a refusal counts only if no request before it went unanswered; after one that did, the object itself is looked for,
//! before the server is asked again and for as long as it may still be at work. One that is found has at least the right length.
//!
//! It deliberately does not compare contents: who wrote them knows how, and is told that it has to.

use super::Written;
use crate::error::{ErrorKind, StoreError};
use crate::s3::{Bucket, PartDone};
use crate::store::Store;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const HEADLINE: &str =
    "the store did not say that it made the object of its parts, and the object is not there";

const REMEDY: &str = "run the command again; if a proxy or a load balancer stands before the store, let it wait longer for the store's answers";

/// One upload that is to be completed.
pub(super) struct Completion<'a> {
    pub(super) store: &'a Store,
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a str,
    pub(super) path: &'a Path,
    pub(super) id: &'a str,
    pub(super) parts: BTreeMap<usize, PartDone>,
    /// Only if nothing has the key.
    pub(super) only_new: bool,
}

/// What a look at the key shows.
enum Look {
    Found(Written),
    NotYet,
    /// The store cannot be asked.
    Unknown,
}

impl Completion<'_> {
    /// Asks until it is known that the object is there, or cannot be.
    pub(super) async fn run(self) -> Result<Written, StoreError> {
        let size = self.parts.values().map(|part| part.size).sum();
        let limit = self.bucket.assembly_limit(size);
        // Two requests may take their time.
        let deadline = Instant::now() + limit.saturating_mul(2);
        // The failure that left the outcome open.
        let mut doubt: Option<StoreError> = None;
        // Whether it makes sense to ask again.
        let mut is_known = true;
        let mut attempt = 0;
        loop {
            if is_known {
                let error = match self.ask(limit).await {
                    Ok(written) => return Ok(written),
                    Err(error) => error,
                };
                let is_open = leaves_open(&error);
                let may_pass = is_open || error.kind().is_retryable();
                is_known = may_pass && attempt < self.bucket.retries_max();
                if doubt.is_none() && is_open {
                    doubt = Some(error);
                } else if doubt.is_none() && !is_known {
                    return Err(error);
                }
            }
            if let Some(why) = doubt.take() {
                let is_over = Instant::now() >= deadline;
                match self.look(size).await {
                    Look::Found(written) => return Ok(written),
                    Look::NotYet if is_over => return Err(self.unknown(why)),
                    Look::Unknown if is_over || !is_known => return Err(self.unknown(why)),
                    Look::NotYet | Look::Unknown => doubt = Some(why),
                }
            }
            tokio::time::sleep(self.bucket.pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn ask(&self, limit: Duration) -> Result<Written, StoreError> {
        let (path, id) = (self.path, self.id);
        let how = (limit, self.only_new);
        let asked = self.bucket.complete_upload(path, id, &self.parts, how);
        let key = Some(self.key);
        let answer = self.store.run_longer("put", key, limit, asked).await?;
        let unclear = "a success was answered that does not say that the object was made";
        answer.ok_or_else(|| StoreError::new(ErrorKind::Connection, "put", key, unclear))
    }

    async fn look(&self, size: u64) -> Look {
        match self.store.head(self.key).await {
            Ok(found) if found.size == size => Look::Found(Written {
                checksum_confirmed: false,
                e_tag: found.e_tag,
                in_doubt: true,
            }),
            // An older object keeps its place until the new one is whole.
            Ok(_) => Look::NotYet,
            // Who may not list is told that what is not there is forbidden.
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::Permission => Look::NotYet,
                _ => Look::Unknown,
            },
        }
    }

    fn unknown(&self, why: StoreError) -> StoreError {
        StoreError::new(why.kind(), "put", Some(self.key), why)
            .with_headline(HEADLINE)
            .with_remedy(REMEDY)
    }
}

/// Tells whether the object may have been made although the request failed.
fn leaves_open(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout)
}
