//! What the objects of a bucket had in them when earlier runs stored and proved them: no row notes that of a thumbnail or a processed image.
//!
//! What must hold: only a run that brought objects into this very bucket, and has not been undone, is a witness, the newest first.
//!
//! What it deliberately does not do: speak for a document whose row notes its digest. The row is nearer to the application.

use console::Failure;
use transfer::{Blob, Journal, JournalError, State};

use crate::cli::args::DirectionArg;
use crate::digests::Digests;
use crate::run::journals;
use crate::run::session::{Session, direction_name};
use crate::state::Parameters;

/// Lengths and digests of objects, by their keys.
#[derive(Debug, Default)]
pub struct Witness(Digests);

impl Witness {
    /// Gathers what the journals know of the application's bucket.
    ///
    /// # Errors
    /// If the bucket or the state directory cannot be listed.
    pub async fn gather(session: &Session) -> Result<Witness, Failure> {
        let mut witness = Witness::default();
        if session.settings.direction == DirectionArg::LocalToS3 {
            return Ok(witness);
        }
        let bucket = session.bucket().await?;
        let source = session.parameters()?.source;
        let take_in =
            |journal: &Journal, is_copied: bool| match brought_into(journal, &source, is_copied) {
                true => witness.take_in(journal),
                false => Ok(()),
            };
        journals::newest_first(session, &bucket, None, "vouches for no object", take_in).await?;
        Ok(witness)
    }

    fn take_in(&mut self, journal: &Journal) -> Result<(), JournalError> {
        let is_there = |state: State| state.is_switched() || state == State::Committing;
        for entry in journal.entries(is_there) {
            let entry = entry?;
            for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
                // What the row noted then it notes now.
                if let (None, Some(stored)) = (&blob.sha256, stored) {
                    self.0.add(&blob.key, stored.size, stored.sha256);
                }
            }
        }
        Ok(())
    }

    /// Fills in what is known of a blob that comes out of the bucket and whose row knows nothing.
    pub fn testify(&self, blob: &mut Blob) {
        if let (None, Some((size, sha256))) = (blob.sha256, self.0.get(&blob.source)) {
            (blob.size, blob.sha256) = (Some(size), Some(sha256));
        }
    }
}

/// Tells whether a run brought objects into the bucket. A copy of its journal lies where they do, whatever name that had then.
fn brought_into(journal: &Journal, bucket: &str, is_copied: bool) -> bool {
    serde_json::from_value::<Parameters>(journal.parameters()).is_ok_and(|of| {
        of.direction != direction_name(DirectionArg::S3ToLocal)
            && (is_copied || of.target == bucket)
    })
}
