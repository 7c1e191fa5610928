//! Push: publish what the local database has and the vault has not.
//!
//! The order is what makes it safe: segments first, under names that follow from their content; then one manifest that names them; then
//! the local cursor. A manifest whose answer was lost is written again, byte for byte, before anything else is.
//!
//! What must hold: after an interruption anywhere, the next push leads to the same vault; nothing that a manifest names was not
//! written before it. What it deliberately does not do: overwrite or delete anything another device wrote (but see `devices`).

mod clean;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use crate::device::{Device, Step, fetch};
use crate::error::VaultError;
use crate::ids::{from_hex, to_hex};
use crate::manifest::{Manifest, ManifestRef, SegmentEntry};
use crate::replica::Replica;
use crate::seal::{self, ObjectKind, Place, Sealed};
use crate::state::{self, Garbage, Intent, OwnSegment, OwnState, PushProgress};
use crate::tiers;

/// How a push treats what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// Publish what is pending; stop at a conflict.
    Pending,
    /// Publish everything that was not learnt from this vault, again.
    Full,
    /// Take a new identity and publish everything that was not learnt from this vault under it: the way past a conflict.
    Force,
}

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReport {
    /// Records published for the first time by this push.
    pub records: u64,
    /// Segments written.
    pub segments: u64,
    /// Bytes of segments and manifest written.
    pub bytes: u64,
    /// Segments that were replaced by one larger one.
    pub merged: u64,
    /// Segments rewritten without forgotten records.
    pub rewritten: u64,
    /// Objects removed after their grace period.
    pub removed: u64,
    /// Records that an interrupted earlier push had already uploaded.
    pub resumed: u64,
    /// Whether a manifest was written at all.
    pub published: bool,
}

/// A push on its way to its manifest.
struct Draft {
    own: OwnState,
    /// Everything of this device that is in the store: published, or uploaded by an interrupted push.
    stored: Vec<OwnSegment>,
    /// What the next manifest will list.
    live: Vec<OwnSegment>,
    erased: Vec<u64>,
    changed: bool,
    report: PushReport,
}

impl<R: Replica> Device<'_, R> {
    /// Publishes what is pending.
    ///
    /// # Errors
    /// A conflict, the store's, the database's. Whatever was done stays done; run it again.
    pub async fn push(&mut self, mode: PushMode) -> Result<PushReport, VaultError> {
        if mode != PushMode::Force {
            self.settle_intent().await?;
        }
        let own = self.own()?;
        let own = match mode {
            PushMode::Force => self.reborn(own, true)?,
            PushMode::Full => self.unpublished(own)?,
            PushMode::Pending => own,
        };
        let own = if own.relearn { self.relearn().await? } else { own };
        let own = if own.lacking { self.find_lacking().await? } else { own };
        self.check_own_line(&own).await?;
        if own.newest.is_none() {
            self.vault.check_file().await?;
        }
        let mut draft = self.draft(own)?;
        self.upload_pending(&mut draft).await?;
        self.rewrite_forgotten(&mut draft).await?;
        if draft.changed {
            self.publish(&mut draft).await?;
        } else if !draft.erased.is_empty() {
            // Nothing of this device held what was forgotten.
            self.replica.clear_erased(&draft.erased, &[]).map_err(|source| VaultError::Replica { doing: "note what was forgotten", source })?;
        }
        self.clean_up(&mut draft).await?;
        Ok(draft.report)
    }

    /// Finishes a manifest that was about to be written when an earlier push stopped.
    pub(crate) async fn settle_intent(&mut self) -> Result<(), VaultError> {
        let Some(intent) = state::load::<_, Intent>(self.replica, &self.state_keys.intent())? else { return Ok(()) };
        // Months may have passed: if others took this line over meanwhile, nothing may be added to it.
        let mut own = self.own()?;
        own.older.extend(intent.then.newest);
        self.check_own_line(&own).await?;
        let object = from_hex(&intent.object).unwrap_or_default();
        self.put(&intent.key, object.into()).await?;
        self.commit(intent.then, &intent.erased)
    }

    /// After an older state of the store was accepted: marks what it lacks for publishing.
    async fn find_lacking(&mut self) -> Result<OwnState, VaultError> {
        self.mend_here(None).await?;
        self.own()
    }

    fn commit(&mut self, then: OwnState, erased: &[u64]) -> Result<(), VaultError> {
        let changes = [
            state::keep(self.state_keys.own(), &then),
            state::forget(self.state_keys.intent()),
            state::forget(self.state_keys.progress()),
        ];
        self.replica
            .clear_erased(erased, &changes)
            .map_err(|source| VaultError::Replica { doing: "note what was published", source })
    }

    pub(crate) fn reborn(&mut self, own: OwnState, disputed: bool) -> Result<OwnState, VaultError> {
        let own = own.reborn((self.options.new_node)(), disputed);
        let changes = [
            state::keep(self.state_keys.own(), &own),
            state::forget(self.state_keys.intent()),
            state::forget(self.state_keys.progress()),
        ];
        state::save(self.replica, &changes)?;
        Ok(own)
    }

    /// Everything is to be published again under the same identity: the old segments are replaced.
    fn unpublished(&mut self, mut own: OwnState) -> Result<OwnState, VaultError> {
        own.full = true;
        let changes = [state::keep(self.state_keys.own(), &own), state::forget(self.state_keys.progress())];
        state::save(self.replica, &changes)?;
        Ok(own)
    }

    /// Sees whether somebody else wrote under this identity, or the store lost what this device wrote.
    async fn check_own_line(&mut self, own: &OwnState) -> Result<(), VaultError> {
        let listing = self.list_manifests(&format!("{}{}/", crate::device::MANIFESTS, own.node)).await?;
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        check_line(own, found)
    }

    fn draft(&mut self, own: OwnState) -> Result<Draft, VaultError> {
        let erased = self.replica.erased().map_err(|source| VaultError::Replica { doing: "list what was forgotten", source })?;
        // Segments from before a full push are replaced by it; those the database cannot make again stay.
        let keep = |segment: &&OwnSegment| !own.full || !segment.local;
        let live: Vec<_> = own.live.iter().filter(keep).cloned().collect();
        Ok(Draft { changed: live.len() != own.live.len() || !own.leaving.is_empty(), stored: own.live.clone(), live, own, erased, report: PushReport::default() })
    }

    /// Seals and uploads everything pending, oldest first, in segments that grow towards the past.
    async fn upload_pending(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        let resumed: PushProgress = state::load(self.replica, &self.state_keys.progress())?.unwrap_or_default();
        let mut reached = if draft.own.full { 0 } else { draft.own.published };
        if resumed.reached > reached {
            reached = resumed.reached;
            draft.report.resumed = resumed.segments.iter().map(|segment| segment.entry.records).sum();
            draft.report.records += draft.report.resumed;
            draft.live.extend(resumed.segments.iter().cloned());
            draft.stored.extend(resumed.segments.iter().cloned());
            draft.changed = true;
        }
        let head = self.replica.head().map_err(|source| VaultError::Replica { doing: "find its newest record", source })?;
        let pending = self.replica.count_own(reached).map_err(|source| VaultError::Replica { doing: "count what is pending", source })?;
        self.observer.step(Step::Planned { objects: 0, bytes: 0, records: pending });
        if pending == 0 {
            return Ok(());
        }
        draft.changed = true;
        draft.report.records += pending;
        if pending <= tiers::NEWEST_SEGMENT_RECORDS as u64 {
            self.upload_merged(draft, reached, head, pending).await?;
        } else {
            self.upload_many(draft, PushProgress { reached, segments: resumed.segments }, head, pending).await?;
        }
        Ok(())
    }

    /// A small push: one segment, which takes small neighbours in, so that there never are many.
    async fn upload_merged(&mut self, draft: &mut Draft, reached: u64, head: u64, pending: u64) -> Result<(), VaultError> {
        let start = tiers::merge_from(&draft.live, pending);
        let merged = draft.live.split_off(start);
        let mut first = merged.first().map_or(reached + 1, |segment| segment.entry.first);
        draft.report.merged = merged.len() as u64;
        while first <= head {
            let Some((segment, sealed)) = self.seal_next(first, head, usize::MAX, draft)? else { break };
            self.put(&sealed.key, sealed.bytes.clone()).await?;
            self.count(draft, &segment);
            first = segment.entry.last + 1;
            draft.live.push(segment);
        }
        Ok(())
    }

    /// A large push: several uploads side by side, remembered as they finish.
    async fn upload_many(&mut self, draft: &mut Draft, mut progress: PushProgress, head: u64, mut pending: u64) -> Result<(), VaultError> {
        let mut next = progress.reached + 1;
        let mut waiting: BTreeMap<usize, OwnSegment> = BTreeMap::new();
        let (mut made, mut done) = (0_usize, 0_usize);
        let mut flying = FuturesUnordered::new();
        let mut flying_bytes = 0;
        loop {
            while next <= head && pending > 0 && flying.len() < self.options.uploads && (flying.is_empty() || flying_bytes < self.options.memory_bytes_max) {
                let Some((segment, sealed)) = self.seal_next(next, head, tiers::cut(pending), draft)? else {
                    next = head + 1;
                    break;
                };
                next = segment.entry.last + 1;
                pending = pending.saturating_sub(segment.entry.records);
                flying_bytes += sealed.bytes.len() + segment.entry.raw_bytes as usize;
                let store = self.vault.store().clone();
                let index = made;
                made += 1;
                flying.push(async move {
                    let outcome = store.put(&sealed.key, sealed.bytes).await;
                    (index, segment, outcome)
                });
            }
            let Some((index, segment, outcome)) = flying.next().await else { break };
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
            state::save(self.replica, &[state::keep(self.state_keys.progress(), &progress)])?;
        }
        Ok(())
    }

    /// Reads records from `first` on and seals them; `None` if there are none.
    fn seal_next(&mut self, first: u64, head: u64, records_max: usize, draft: &Draft) -> Result<Option<(OwnSegment, Sealed)>, VaultError> {
        let records_max = records_max.min(self.options.segment_records_max);
        let mut batch = Vec::new();
        let (mut next, mut size) = (first, 0);
        let mut last = head;
        'read: while next <= head && batch.len() < records_max {
            let limit = self.options.batch_records.min(records_max - batch.len()).max(1);
            let rows = self.replica.own(next, head, limit).map_err(|source| VaultError::Replica { doing: "read its records", source })?;
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
                batch.push(record);
            }
            if next > head {
                last = head;
            }
        }
        if batch.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.seal_batch(draft, first, last, &batch)))
    }

    fn seal_batch(&self, draft: &Draft, first: u64, last: u64, batch: &[R::Record]) -> (OwnSegment, Sealed) {
        let plaintext = R::encode(batch);
        let place = Place { kind: ObjectKind::Segment, node: draft.own.node, first, last };
        let sealed = seal::seal(self.vault.keys(), place, &plaintext, self.options.compression);
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

    /// Rewrites the segments that hold forgotten records.
    async fn rewrite_forgotten(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        if draft.erased.is_empty() {
            return Ok(());
        }
        let numbers: BTreeSet<u64> = draft.erased.iter().copied().collect();
        let mut live = Vec::with_capacity(draft.live.len());
        let mut unsure = false;
        for segment in std::mem::take(&mut draft.live) {
            let touched = !segment.local || numbers.range(segment.entry.first..=segment.entry.last).next().is_some();
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
        }
        Ok(())
    }

    async fn without_forgotten(&mut self, draft: &Draft, segment: &OwnSegment) -> Result<Rewrite, VaultError> {
        let entry = &segment.entry;
        let batch: Vec<R::Record> = if segment.local {
            let rows = self.replica.own(entry.first, entry.last, usize::MAX).map_err(|source| VaultError::Replica { doing: "read its records", source })?;
            rows.into_iter().map(|(_, record)| record).collect()
        } else {
            let Ok(plaintext) = fetch(self.vault, &entry.key(draft.own.node)).await? else { return Ok(Rewrite::Unsure) };
            let Ok(records) = R::decode(&plaintext) else { return Ok(Rewrite::Unsure) };
            let mut kept = vec![];
            for record in records {
                if !self.replica.is_forgotten(&record).map_err(|source| VaultError::Replica { doing: "look a record up", source })? {
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

    /// Writes the manifest and moves the local cursor.
    async fn publish(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        self.observer.step(Step::Phase("publish"));
        draft.live.sort_by_key(|segment| (segment.entry.first, segment.entry.last));
        let own = &draft.own;
        let nodes = state::load_nodes(self.replica, &self.state_keys)?;
        let now_ms = self.now_ms();
        let sequence = own.newest.map_or(1, |newest| newest.sequence + 1);
        let mut then = OwnState { live: draft.live.clone(), ..own.clone() };
        then.take_over(now_ms);
        let manifest = Manifest {
            name: self.options.node_name.clone(),
            written_ms: now_ms,
            previous: own.newest,
            segments: then.entries(),
            seen: nodes.iter().filter(|(_, state)| state.complete).map(|(node, state)| (*node, state.newest)).collect(),
            removed: then.removed.clone(),
        };
        let plaintext = serde_json::to_vec(&manifest).expect("plain data serialises");
        let place = Place { kind: ObjectKind::Manifest, node: own.node, first: sequence, last: 0 };
        let sealed = seal::seal(self.vault.keys(), place, &plaintext, Some(3));
        then.older.extend(own.newest);
        then.newest = Some(ManifestRef { sequence, hash: sealed.hash });
        then.published = then.live.iter().filter(|segment| segment.local).map(|segment| segment.entry.last).max().unwrap_or(0).max(own.published);
        then.full = false;
        then.garbage.extend(replaced(draft, now_ms));
        // Names follow from content, so a segment that was replaced may have come back.
        let live: BTreeSet<String> = draft.live.iter().map(|segment| segment.entry.key(own.node)).collect();
        then.garbage.retain(|garbage| !live.contains(&garbage.key));
        let intent = Intent { key: sealed.key.clone(), object: to_hex(&sealed.bytes), then: then.clone(), erased: draft.erased.clone() };
        state::save(self.replica, &[state::keep(self.state_keys.intent(), &intent)])?;
        self.put(&sealed.key, sealed.bytes.clone()).await?;
        self.commit(then.clone(), &draft.erased)?;
        draft.own = then;
        draft.report.bytes += sealed.bytes.len() as u64;
        draft.report.published = true;
        Ok(())
    }

    fn count(&mut self, draft: &mut Draft, segment: &OwnSegment) {
        draft.report.segments += 1;
        draft.report.bytes += segment.entry.bytes;
        self.observer.step(Step::Moved { bytes: segment.entry.bytes, records: segment.entry.records });
    }

    async fn put(&self, key: &str, bytes: bytes::Bytes) -> Result<(), VaultError> {
        self.vault.store().put(key, bytes).await.map_err(VaultError::store(format!("{key} could not be written")))
    }
}

enum Rewrite {
    Unchanged,
    /// It could not be read.
    Unsure,
    Empty,
    Smaller(OwnSegment, Sealed),
}

/// The objects of this device that the next manifest does not name.
fn replaced(draft: &Draft, now_ms: i64) -> Vec<Garbage> {
    let kept: BTreeSet<_> = draft.live.iter().map(|segment| segment.entry.hash).collect();
    let forgotten = !draft.erased.is_empty();
    draft
        .stored
        .iter()
        .filter(|segment| !kept.contains(&segment.entry.hash))
        .map(|segment| Garbage { key: segment.entry.key(draft.own.node), since_ms: now_ms, forgotten })
        .collect()
}

/// Compares what this device wrote with what the store shows of it.
pub(crate) fn check_line(own: &OwnState, found: &[ManifestRef]) -> Result<(), VaultError> {
    let node = own.node;
    let mine = |manifest: &ManifestRef| own.newest == Some(*manifest) || own.older.contains(manifest);
    let retired = |manifest: &ManifestRef| own.retired.iter().any(|retired| retired.manifest == *manifest);
    if let Some(stranger) = found.iter().find(|manifest| !mine(manifest) && !retired(manifest)) {
        let what = format!("the store has manifest {} ({}) of this device, which it did not write: another machine uses the same identity, or this one was restored from a backup", stranger.sequence, stranger.hash);
        return Err(VaultError::SequenceConflict { node, what });
    }
    match own.newest {
        Some(newest) if !found.contains(&newest) => {
            let shown = found.last().map_or_else(|| "none".into(), |manifest| manifest.sequence.to_string());
            let what = format!("this device wrote manifest {}, the store shows {shown}: it was put back to an earlier state, or its listing is behind", newest.sequence);
            Err(VaultError::Regression { node, what })
        }
        _ => Ok(()),
    }
}
