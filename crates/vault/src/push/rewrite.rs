//! Forgetting for real: segments that hold forgotten records are written anew without them.
//!
//! What must hold: what cannot be read now is looked at again by the next push, and its erased numbers are kept until then, as is the
//! note that a segment is stained.
//! What it deliberately does not do: remove the old objects, which wait for slow readers (see `clean`).

use std::collections::BTreeSet;

use super::Draft;
use crate::device::{Device, fetch};
use crate::error::VaultError;
use crate::replica::Replica;
use crate::seal::Sealed;
use crate::state::OwnSegment;

impl<R: Replica> Device<'_, R> {
    /// Rewrites the segments that hold forgotten records.
    pub(super) async fn rewrite_forgotten(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        if !draft.forgets {
            return Ok(());
        }
        let numbers: BTreeSet<u64> = draft.erased.iter().copied().collect();
        let mut live = Vec::with_capacity(draft.live.len());
        let mut unsure = false;
        for segment in std::mem::take(&mut draft.live) {
            let touched = !segment.local
                || numbers
                    .range(segment.entry.first..=segment.entry.last)
                    .next()
                    .is_some();
            if !touched {
                live.push(segment);
                continue;
            }
            match self.without_forgotten(draft, &segment).await? {
                Rewrite::Unchanged => live.push(segment),
                Rewrite::Unsure => {
                    unsure = true;
                    live.push(segment);
                }
                Rewrite::Empty => draft.changed = true,
                Rewrite::Smaller(smaller, sealed) => {
                    self.announce(&sealed.key)?;
                    self.put(&sealed.key, sealed.bytes).await?;
                    draft.changed = true;
                    draft.report.rewritten += 1;
                    live.push(smaller);
                }
            }
        }
        draft.live = live;
        if unsure {
            // The next push looks again.
            draft.erased.clear();
            draft.forgets = false;
        } else {
            draft.own.stained = false;
        }
        Ok(())
    }

    /// Whether any of these was forgotten.
    pub(crate) fn holds_forgotten(&self, records: &[R::Record]) -> Result<bool, VaultError> {
        for record in records {
            if self.is_forgotten(record)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_forgotten(&self, record: &R::Record) -> Result<bool, VaultError> {
        self.replica
            .is_forgotten(record)
            .map_err(|source| VaultError::Replica {
                doing: "look a record up",
                source,
            })
    }

    async fn without_forgotten(
        &mut self,
        draft: &Draft,
        segment: &OwnSegment,
    ) -> Result<Rewrite, VaultError> {
        let entry = &segment.entry;
        let batch: Vec<R::Record> = if segment.local {
            let rows = self
                .replica
                .own(entry.first, entry.last, usize::MAX)
                .map_err(|source| VaultError::Replica {
                    doing: "read its records",
                    source,
                })?;
            rows.into_iter().map(|(_, record)| record).collect()
        } else {
            let Ok(plaintext) = fetch(self.vault, &entry.key(draft.own.node), entry.bytes).await?
            else {
                return Ok(Rewrite::Unsure);
            };
            let Ok(records) = R::decode(&plaintext) else {
                return Ok(Rewrite::Unsure);
            };
            let mut kept = vec![];
            for record in records {
                if !self.is_forgotten(&record)? {
                    kept.push(record);
                }
            }
            kept
        };
        if batch.is_empty() {
            return Ok(Rewrite::Empty);
        }
        let (mut smaller, sealed) = self.seal_batch(draft, entry.first, entry.last, &batch);
        if smaller.entry.hash == entry.hash {
            return Ok(Rewrite::Unchanged);
        }
        smaller.local = segment.local;
        smaller.entry.replaces = vec![entry.hash];
        Ok(Rewrite::Smaller(smaller, sealed))
    }
}

enum Rewrite {
    Unchanged,
    /// It could not be read.
    Unsure,
    Empty,
    Smaller(OwnSegment, Sealed),
}
