//! The first half of a push: what is pending is sealed and uploaded.
//!
//! What must hold: segments are cut from ascending numbers without a gap, so that a later push knows from one number where to go on;
//! what was uploaded is noted before the next begins to count on it; what was counted as pending was read.
//! What it deliberately does not do: write a manifest.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Draft;
use crate::device::{Device, Step};
use crate::error::VaultError;
use crate::manifest::SegmentEntry;
use crate::replica::Replica;
use crate::seal::{self, ObjectKind, Place, Sealed};
use crate::state::{self, OwnSegment, PushProgress};
use crate::tiers;

impl<R: Replica> Device<'_, R> {
    /// Seals and uploads everything pending, oldest first, in segments that grow towards the past.
    pub(super) async fn upload_pending(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        let resumed: PushProgress =
            state::load(self.replica, &self.state_keys.progress())?.unwrap_or_default();
        let mut reached = if draft.own.full {
            0
        } else {
            draft.own.published
        };
        if resumed.reached > reached {
            reached = resumed.reached;
            draft.report.resumed = resumed
                .segments
                .iter()
                .map(|segment| segment.entry.records)
                .sum();
            draft.report.records += draft.report.resumed;
            draft.live.extend(resumed.segments.iter().cloned());
            draft.stored.extend(resumed.segments.iter().cloned());
            draft.changed = true;
        }
        let head = self.replica.head().map_err(|source| VaultError::Replica {
            doing: "find its newest record",
            source,
        })?;
        let pending = self
            .replica
            .count_own(reached)
            .map_err(|source| VaultError::Replica {
                doing: "count what is pending",
                source,
            })?;
        self.observer.step(Step::Planned {
            objects: 0,
            bytes: 0,
            records: pending,
        });
        if pending > 0 || draft.own.full || draft.forgets {
            // What a damaged database leaves out would never be missed here.
            self.replica.vouch().map_err(|source| VaultError::Replica {
                doing: "vouch for what is to be published",
                source,
            })?;
        }
        if pending == 0 {
            return Ok(());
        }
        draft.changed = true;
        let given = if pending <= tiers::NEWEST_SEGMENT_RECORDS as u64 {
            self.upload_merged(draft, reached, head, pending).await?
        } else {
            self.upload_many(
                draft,
                PushProgress {
                    reached,
                    segments: resumed.segments,
                },
                head,
                pending,
            )
            .await?
        };
        draft.report.records += given;
        self.heed_count((reached, head), given)
    }

    /// Whether everything pending was read. What was counted before may have been forgotten meanwhile, and what came since has numbers above
    /// `head`; so it is counted now. What was uploaded without the rest is no step towards a manifest.
    fn heed_count(&mut self, (reached, head): (u64, u64), given: u64) -> Result<(), VaultError> {
        let counted = |after| {
            let counted = self.replica.count_own(after);
            counted.map_err(|source| VaultError::Replica {
                doing: "count what is pending",
                source,
            })
        };
        // What came between the two would only make the difference smaller.
        let counted = counted(reached)?.saturating_sub(counted(head)?);
        if counted <= given {
            return Ok(());
        }
        state::save(self.replica, &[state::forget(self.state_keys.progress())])?;
        Err(VaultError::Miscounted { counted, given })
    }

    /// A small push: one segment, which takes small neighbours in, so that there never are many. Says how many records above `reached` it has.
    async fn upload_merged(
        &mut self,
        draft: &mut Draft,
        reached: u64,
        head: u64,
        pending: u64,
    ) -> Result<u64, VaultError> {
        let start = tiers::merge_from(&draft.live, pending);
        let merged = draft.live.split_off(start);
        let mut first = merged
            .first()
            .map_or(reached + 1, |segment| segment.entry.first);
        draft.report.merged = merged.len() as u64;
        let mut given = 0;
        while first <= head {
            let asked = (first, head, reached);
            let Some((segment, sealed, above)) = self.seal_next(asked, usize::MAX, draft)? else {
                break;
            };
            given += above;
            self.announce(&sealed.key)?;
            self.put(&sealed.key, sealed.bytes.clone()).await?;
            self.count(draft, &segment);
            first = segment.entry.last + 1;
            draft.live.push(segment);
        }
        Ok(given)
    }

    /// A large push: several uploads side by side, remembered as they finish. Says how many records they have.
    async fn upload_many(
        &mut self,
        draft: &mut Draft,
        mut progress: PushProgress,
        head: u64,
        mut pending: u64,
    ) -> Result<u64, VaultError> {
        let (reached, mut given) = (progress.reached, 0);
        let mut next = reached + 1;
        let mut waiting: BTreeMap<usize, OwnSegment> = BTreeMap::new();
        let (mut made, mut done) = (0_usize, 0_usize);
        let mut flying = FuturesUnordered::new();
        let mut flying_bytes = 0;
        loop {
            while next <= head
                && pending > 0
                && flying.len() < self.options.uploads
                && (flying.is_empty() || flying_bytes < self.options.memory_bytes_max)
            {
                let asked = (next, head, reached);
                let Some((segment, sealed, above)) =
                    self.seal_next(asked, tiers::cut(pending), draft)?
                else {
                    next = head + 1;
                    break;
                };
                given += above;
                next = segment.entry.last + 1;
                pending = pending.saturating_sub(segment.entry.records);
                flying_bytes += sealed.bytes.len() + segment.entry.raw_bytes as usize;
                self.announce(&sealed.key)?;
                let store = self.vault.store().clone();
                let index = made;
                made += 1;
                flying.push(async move {
                    let outcome = store.put(&sealed.key, sealed.bytes).await;
                    (index, segment, outcome)
                });
            }
            let Some((index, segment, outcome)) = flying.next().await else {
                break;
            };
            outcome.map_err(VaultError::store("a segment could not be written"))?;
            flying_bytes -= (segment.entry.bytes + segment.entry.raw_bytes) as usize;
            self.count(draft, &segment);
            waiting.insert(index, segment);
            while let Some(segment) = waiting.remove(&done) {
                progress.reached = segment.entry.last;
                progress.segments.push(segment.clone());
                draft.live.push(segment);
                done += 1;
            }
            state::save(
                self.replica,
                &[state::keep(self.state_keys.progress(), &progress)],
            )?;
        }
        Ok(given)
    }

    /// Reads records from `first` on and seals them, and says how many have numbers above `reached`; `None` if there are none.
    fn seal_next(
        &mut self,
        (first, head, reached): (u64, u64, u64),
        records_max: usize,
        draft: &Draft,
    ) -> Result<Option<(OwnSegment, Sealed, u64)>, VaultError> {
        let records_max = records_max.min(self.options.segment_records_max);
        let mut batch = Vec::new();
        let (mut next, mut size, mut above) = (first, 0, 0);
        let mut last = head;
        'read: while next <= head && batch.len() < records_max {
            let limit = self
                .options
                .batch_records
                .min(records_max - batch.len())
                .max(1);
            let rows =
                self.replica
                    .own(next, head, limit)
                    .map_err(|source| VaultError::Replica {
                        doing: "read its records",
                        source,
                    })?;
            if rows.len() < limit {
                next = head + 1;
            }
            for (number, record) in rows {
                let record_size = R::size(&record);
                // One oversized record gets a segment of its own and never holds up the rest.
                if !batch.is_empty() && size + record_size > self.options.segment_raw_bytes_max {
                    last = number - 1;
                    break 'read;
                }
                size += record_size;
                next = next.max(number + 1);
                last = number;
                above += u64::from(number > reached);
                batch.push(record);
            }
            if next > head {
                last = head;
            }
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let (segment, sealed) = self.seal_batch(draft, first, last, &batch);
        Ok(Some((segment, sealed, above)))
    }

    pub(super) fn seal_batch(
        &self,
        draft: &Draft,
        first: u64,
        last: u64,
        batch: &[R::Record],
    ) -> (OwnSegment, Sealed) {
        let plaintext = R::encode(batch);
        let place = Place {
            kind: ObjectKind::Segment,
            node: draft.own.node,
            first,
            last,
        };
        let sealed = seal::seal(
            self.vault.keys(),
            place,
            &plaintext,
            self.options.compression,
        );
        let entry = SegmentEntry {
            first,
            last,
            hash: sealed.hash,
            records: batch.len() as u64,
            bytes: sealed.bytes.len() as u64,
            raw_bytes: plaintext.len() as u64,
            newest: batch.iter().map(R::time_us).max().unwrap_or_default(),
            replaces: vec![],
        };
        (OwnSegment { entry, local: true }, sealed)
    }

    pub(super) fn count(&mut self, draft: &mut Draft, segment: &OwnSegment) {
        draft.report.segments += 1;
        draft.report.bytes += segment.entry.bytes;
        self.observer.step(Step::Moved {
            bytes: segment.entry.bytes,
            records: segment.entry.records,
        });
    }
}
