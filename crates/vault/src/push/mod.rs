//! Push: publish what the local database has and the vault has not.
//!
//! The order is what makes it safe: segments first, under names that follow from their content; then one manifest that names them; then
//! the local cursor. A manifest whose answer was lost is written again, byte for byte, before anything else is.
//!
//! What must hold: after an interruption anywhere, the next push leads to the same vault; nothing that a manifest names was not
//! written before it. What it deliberately does not do: overwrite or delete anything another device wrote (but see `devices`).

mod begin;
mod clean;
mod idle;
mod retire;
mod rewrite;
mod strays;
mod twins;
mod upload;

use std::collections::BTreeSet;

pub(crate) use twins::is_begun_twice;

use serde::{Deserialize, Serialize};

use crate::device::{Device, Listing, Step};
use crate::error::VaultError;
use crate::ids::{NodeId, from_hex, to_hex};
use crate::manifest::{Manifest, ManifestRef, Takeover};
use crate::replica::Replica;
use crate::seal::{self, ObjectKind, Place, Sealed};
use crate::state::{self, Intent, NodeState, OwnSegment, OwnState};

/// How a push treats what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// Publish what is pending; stop at a conflict.
    Pending,
    /// Publish everything that was not learnt from this vault, again.
    Full,
    /// Take a new identity and publish everything that was not learnt from this vault under it: the way past a conflict. One that was
    /// taken before and never got its first manifest is kept, so that an interrupted push of this kind goes on.
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
    /// Lines of nodes that are gone, earlier identities of this device among them, that its manifest takes over.
    pub retired: u64,
    /// Whether a manifest was written at all.
    pub published: bool,
}

impl PushReport {
    /// Whether all that was written is a manifest, which names what was in the store already.
    pub fn is_only_manifest(&self) -> bool {
        let changes = self.records + self.segments + self.merged + self.rewritten;
        self.published && changes + self.removed + self.resumed + self.retired == 0
    }

    /// What two pushes did, one after the other. Records that the second publishes again count once.
    fn and(self, next: Self) -> Self {
        Self {
            records: self.records.max(next.records),
            segments: self.segments + next.segments,
            bytes: self.bytes + next.bytes,
            merged: self.merged + next.merged,
            rewritten: self.rewritten + next.rewritten,
            removed: self.removed + next.removed,
            resumed: self.resumed,
            retired: self.retired + next.retired,
            published: self.published || next.published,
        }
    }
}

/// Manifests are always compressed, whatever is chosen for records: they repeat themselves.
const MANIFEST_LEVEL: i32 = 3;

/// A push on its way to its manifest.
struct Draft {
    own: OwnState,
    /// Everything of this device that is in the store: published, or uploaded by an interrupted push.
    stored: Vec<OwnSegment>,
    /// What the next manifest will list.
    live: Vec<OwnSegment>,
    erased: Vec<u64>,
    /// Whether a live segment may hold what was forgotten.
    forgets: bool,
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
            PushMode::Force => self.forced(own).await?,
            PushMode::Full => self.unpublished(own)?,
            PushMode::Pending => own,
        };
        let own = if own.relearn {
            self.relearn().await?
        } else {
            own
        };
        let own = if own.lacking {
            self.find_lacking().await?
        } else {
            own
        };
        let begins = self.is_about_to_begin(&own)?;
        let (own, listing) = self.look_at_own_line(own, begins, None).await?;
        self.heed_description(&own, &listing).await?;
        let own = self.retire_earlier(own, &listing).await?;
        let own = self.take_in_strays(own, &listing).await?;
        let own = self.take_in_latecomers(own).await?;
        let mut draft = self.draft(own)?;
        let proof = self.vault.keys().fingerprint();
        let is_proved = draft.own.newest.is_some() && draft.own.proved.as_ref() == Some(&proof);
        if !is_proved && !self.is_idle_at_home(&draft, &listing)? {
            // Nothing here shows that this is the place; or that the key is the one that holds.
            self.vault.check_file().await?;
            draft.own.proved = Some(proof);
        }
        self.upload_pending(&mut draft).await?;
        self.rewrite_forgotten(&mut draft).await?;
        if draft.changed {
            // What was uploaded under an identity that is another's now is noted, and goes with its line.
            if draft.own.newest.is_none() && !begins && !self.may_begin(&draft, &listing).await? {
                return Box::pin(self.push(PushMode::Pending)).await;
            }
            if !self.publish(&mut draft, &listing).await? {
                return Box::pin(self.push(PushMode::Pending)).await;
            }
            if draft.own.lacking {
                let again = Box::pin(self.push(PushMode::Pending)).await?;
                return Ok(draft.report.and(again));
            }
        } else if draft.forgets {
            // Nothing live of this device held what was forgotten.
            draft.own.hasten();
            let change = state::keep(self.state_keys.own(), &draft.own);
            self.replica
                .clear_erased(&draft.erased, &[change])
                .map_err(|source| VaultError::Replica {
                    doing: "note what was forgotten",
                    source,
                })?;
        }
        self.clean_up(&mut draft).await?;
        Ok(draft.report)
    }

    /// A new identity, and everything is pending under it; or the one that an earlier push of this kind took and did not come to use.
    /// The store is looked at first: while it is out of reach, or is not mounted, nothing is given up.
    async fn forced(&mut self, own: OwnState) -> Result<OwnState, VaultError> {
        let listing = self.list_manifests(crate::vault::MANIFESTS).await?;
        self.vault.check_file().await?;
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        let is_unused = own.newest.is_none() && own.again.is_some();
        if is_unused && check_line(&self.with_intended(&own)?, found).is_ok() {
            self.settle_intent().await?;
            return self.own();
        }
        self.reborn(own, true)
    }

    /// Finishes a manifest that was about to be written when an earlier push stopped.
    pub(crate) async fn settle_intent(&mut self) -> Result<(), VaultError> {
        let Some(intent) = state::load::<_, Intent>(self.replica, &self.state_keys.intent())?
        else {
            return Ok(());
        };
        // Months may have passed: if others took this line over meanwhile, nothing may be added to it.
        let own = self.own()?;
        let node = own.node;
        let begins = own.newest.is_none();
        let (own, listing) = self.look_at_own_line(own, begins, None).await?;
        if own.node != node {
            return Ok(());
        }
        if begins {
            // Nothing here shows that this is the place.
            self.vault.check_file().await?;
        }
        self.deliver(&own, intent, &listing, true).await.map(drop)
    }

    /// Writes a manifest, and counts it as written unless another device turns out to have the line by now: then this one has a new
    /// identity, and the outcome is none. Where it names what an earlier push uploaded (`resumes`), or took long, it is asked whether that is
    /// still there.
    async fn deliver(
        &mut self,
        own: &OwnState,
        intent: Intent,
        listing: &Listing,
        resumes: bool,
    ) -> Result<Option<OwnState>, VaultError> {
        let object = from_hex(&intent.object).unwrap_or_default();
        self.put(&intent.key, object.into()).await?;
        if !self.is_heard(own, listing).await? {
            return Ok(None);
        }
        let mut then = intent.then;
        if resumes || self.has_stalled(listing) {
            then.lacking |= !self.is_all_there(own, &then).await?;
        }
        self.commit(&then, &intent.erased)?;
        Ok(Some(then))
    }

    /// This device's line as it may be by now: a manifest whose answer was lost is its own too.
    pub(crate) fn with_intended(&self, own: &OwnState) -> Result<OwnState, VaultError> {
        let intent: Option<Intent> = state::load(self.replica, &self.state_keys.intent())?;
        let mut own = own.clone();
        own.older
            .extend(intent.and_then(|intent| intent.then.newest));
        Ok(own)
    }

    /// After an older state of the store was accepted: marks what it lacks for publishing.
    async fn find_lacking(&mut self) -> Result<OwnState, VaultError> {
        self.mend_here(None).await?;
        self.own()
    }

    fn commit(&mut self, then: &OwnState, erased: &[u64]) -> Result<(), VaultError> {
        let changes = [
            state::keep(self.state_keys.own(), then),
            state::forget(self.state_keys.intent()),
            state::forget(self.state_keys.progress()),
            state::forget(self.state_keys.attempts()),
        ];
        self.replica
            .clear_erased(erased, &changes)
            .map_err(|source| VaultError::Replica {
                doing: "note what was published",
                source,
            })
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
        let changes = [
            state::keep(self.state_keys.own(), &own),
            state::forget(self.state_keys.progress()),
        ];
        state::save(self.replica, &changes)?;
        Ok(own)
    }

    /// Sees whether somebody else wrote under this identity, or the store lost what this device wrote. An identity that was never used,
    /// that another machine began to use as well, or that another device says it took over, is given up for a new one at once. Whether one did is asked also of a line that `begins`,
    /// but not of those that are as in `asked`.
    async fn look_at_own_line(
        &mut self,
        own: OwnState,
        begins: bool,
        asked: Option<&Listing>,
    ) -> Result<(OwnState, Listing), VaultError> {
        let listing = self.list_manifests(crate::vault::MANIFESTS).await?;
        self.heed_emptiness(&own, &listing).await?;
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        let checked = check_line(&self.with_intended(&own)?, found);
        if checked.is_ok() && !begins {
            return Ok((own, listing));
        }
        if checked.is_err() && own.is_unclaimed() {
            return Ok((self.part(own)?, listing));
        }
        let taken = self.taken_over(own.node, &listing, asked).await?;
        match taken {
            Some((by, takeover)) => Ok((self.yield_line(own, &listing, by, takeover)?, listing)),
            None if self.is_twin(&own, &listing)? => Ok((self.part(own)?, listing)),
            None => checked.map(|()| (own, listing)),
        }
    }

    /// Sees that `vault.json` is no older than the key that this device seals with: who joins by an old one could not read what is sealed,
    /// and a way in that a rotation closed would be open again. Where the mark of the key is there, nothing hints at it: then the file is
    /// read where that is no request, and else once a grace period.
    async fn heed_description(&self, own: &OwnState, listing: &Listing) -> Result<(), VaultError> {
        if !listing.is_announced {
            return self.vault.announce_unless_old().await;
        }
        let is_cheap = self.vault.store().is_folder();
        if self.vault.keys().epoch() > 1 && (is_cheap || self.is_sweep_due(own)) {
            self.vault.is_described().await?;
        }
        Ok(())
    }

    /// Whether another machine began this device's line as well.
    pub(crate) fn is_twin(&self, own: &OwnState, listing: &Listing) -> Result<bool, VaultError> {
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        Ok(is_begun_twice(&self.with_intended(own)?, found))
    }

    /// Goes on under a new identity, since another machine has this one too.
    pub(crate) fn part(&mut self, own: OwnState) -> Result<OwnState, VaultError> {
        self.observer.step(Step::Parted);
        self.reborn(own, true)
    }

    /// Goes on under a new identity after `by` took this one's line over.
    fn yield_line(
        &mut self,
        own: OwnState,
        listing: &Listing,
        by: NodeId,
        takeover: Takeover,
    ) -> Result<OwnState, VaultError> {
        tracing::info!(node = %own.node, %by, "another device took this one's records over: everything is published under a new identity");
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        if !takeover.is_outlived(found) {
            let mut state = NodeState::gone(&takeover);
            state.remove(by, takeover);
            let change = state::keep(self.state_keys.node(own.node), &state);
            state::save(self.replica, &[change])?;
        }
        self.reborn(own, true)
    }

    /// Who says in the newest manifest of another line that it took a node's records over. It costs a request a line, so it is asked
    /// only where the line is not as this device left it, or begins; and not of lines that end as they did when they were `asked`.
    pub(crate) async fn taken_over(
        &self,
        node: NodeId,
        listing: &Listing,
        asked: Option<&Listing>,
    ) -> Result<Option<(NodeId, Takeover)>, VaultError> {
        let is_asked = |by: &NodeId, refs: &Vec<ManifestRef>| {
            asked.is_some_and(|asked| {
                asked.nodes.get(by).and_then(|refs| refs.last()) == refs.last()
            })
        };
        let others = listing.nodes.iter().filter(|(by, _)| **by != node);
        for (by, refs) in others.filter(|(by, refs)| !is_asked(by, refs)) {
            for newest in refs.iter().rev() {
                // One that cannot be read says nothing: the one before it is asked, as by a pull.
                if let Ok(mut manifest) = self.fetch_manifest(*by, *newest).await? {
                    if let Some(takeover) = manifest.removed.remove(&node) {
                        return Ok(Some((*by, takeover)));
                    }
                    break;
                }
            }
        }
        Ok(None)
    }

    fn draft(&mut self, own: OwnState) -> Result<Draft, VaultError> {
        let erased = self.forgotten_here()?;
        // Segments from before a full push are replaced by it; those the database cannot make again stay.
        let keep = |segment: &&OwnSegment| !own.full || !segment.local;
        let live: Vec<_> = own.live.iter().filter(keep).cloned().collect();
        // What an interrupted push left, and nothing is pending any more, goes by a manifest that does not name it.
        let left_over = !self.attempts()?.is_empty();
        Ok(Draft {
            changed: live.len() != own.live.len()
                || !own.leaving.is_empty()
                || own.outdated
                || left_over,
            stored: own.live.clone(),
            live,
            forgets: !erased.is_empty() || own.stained,
            own,
            erased,
            report: PushReport::default(),
        })
    }

    /// The numbers of records that were forgotten and may still be in this device's segments.
    fn forgotten_here(&self) -> Result<Vec<u64>, VaultError> {
        self.replica.erased().map_err(|source| VaultError::Replica {
            doing: "list what was forgotten",
            source,
        })
    }

    /// Writes the manifest and moves the local cursor; or finds that the line is another's by now, and returns false.
    async fn publish(&mut self, draft: &mut Draft, listing: &Listing) -> Result<bool, VaultError> {
        self.observer.step(Step::Phase("publish"));
        draft
            .live
            .sort_by_key(|segment| (segment.entry.first, segment.entry.last));
        let own = &draft.own;
        draft.report.retired = own.leaving.len() as u64;
        let now_ms = self.now_ms();
        let sequence = own.newest.map_or(1, |newest| newest.sequence + 1);
        let mut then = OwnState {
            live: draft.live.clone(),
            ..own.clone()
        };
        then.take_over(now_ms);
        let sealed = self.seal_manifest(own, sequence, &then)?;
        then.older.extend(own.newest);
        then.newest = Some(ManifestRef {
            sequence,
            hash: sealed.hash,
        });
        then.published = then
            .live
            .iter()
            .filter(|segment| segment.local)
            .map(|segment| segment.entry.last)
            .max()
            .unwrap_or(0)
            .max(own.published);
        then.full = false;
        then.outdated = false;
        then.unclaimed = false;
        then.again = None;
        then.discard(replaced(draft), now_ms, draft.forgets);
        if draft.forgets {
            then.hasten();
        }
        then.discard(self.attempts()?, now_ms, true);
        // Names follow from content, so a segment that was replaced may have come back.
        let live: BTreeSet<String> = draft
            .live
            .iter()
            .map(|segment| segment.entry.key(own.node))
            .collect();
        then.garbage.retain(|garbage| !live.contains(&garbage.key));
        let intent = Intent {
            key: sealed.key.clone(),
            object: to_hex(&sealed.bytes),
            then,
            erased: draft.erased.clone(),
        };
        state::save(
            self.replica,
            &[state::keep(self.state_keys.intent(), &intent)],
        )?;
        let resumes = draft.report.resumed > 0;
        let Some(then) = self.deliver(&draft.own, intent, listing, resumes).await? else {
            return Ok(false);
        };
        draft.own = then;
        draft.report.bytes += sealed.bytes.len() as u64;
        draft.report.published = true;
        Ok(true)
    }

    fn seal_manifest(
        &self,
        own: &OwnState,
        sequence: u64,
        then: &OwnState,
    ) -> Result<Sealed, VaultError> {
        let nodes = state::load_nodes(self.replica, &self.state_keys)?;
        let manifest = Manifest {
            name: self.options.node_name.clone(),
            written_ms: self.now_ms(),
            previous: own.newest,
            segments: then.entries(),
            seen: nodes
                .iter()
                .filter(|(_, state)| state.complete)
                .map(|(node, state)| (*node, state.newest))
                .collect(),
            removed: then.removed.clone(),
            accepted: self.accepted()?,
        };
        let plaintext = serde_json::to_vec(&manifest).expect("plain data serialises");
        let place = Place {
            kind: ObjectKind::Manifest,
            node: own.node,
            first: sequence,
            last: 0,
        };
        Ok(seal::seal(
            self.vault.keys(),
            place,
            &plaintext,
            Some(MANIFEST_LEVEL),
        ))
    }

    /// Notes that a segment is about to be written. One that no manifest comes to name, because this push stops or its answer is lost and
    /// the next one cuts differently, is removed after the grace period like any other that was replaced.
    fn announce(&mut self, key: &str) -> Result<(), VaultError> {
        let mut attempts = self.attempts()?;
        if attempts.iter().all(|known| known != key) {
            attempts.push(key.to_owned());
            state::save(
                self.replica,
                &[state::keep(self.state_keys.attempts(), &attempts)],
            )?;
        }
        Ok(())
    }

    pub(crate) fn attempts(&self) -> Result<Vec<String>, VaultError> {
        Ok(state::load(self.replica, &self.state_keys.attempts())?.unwrap_or_default())
    }

    async fn put(&self, key: &str, bytes: bytes::Bytes) -> Result<(), VaultError> {
        self.vault
            .store()
            .put(key, bytes)
            .await
            .map_err(VaultError::store(format!("{key} could not be written")))
    }
}

/// The objects of this device that the next manifest does not name.
fn replaced(draft: &Draft) -> Vec<String> {
    let kept: BTreeSet<_> = draft
        .live
        .iter()
        .map(|segment| segment.entry.hash)
        .collect();
    let replaced = draft
        .stored
        .iter()
        .filter(|segment| !kept.contains(&segment.entry.hash));
    replaced
        .map(|segment| segment.entry.key(draft.own.node))
        .collect()
}

/// Compares what this device wrote with what the store shows of it.
pub(crate) fn check_line(own: &OwnState, found: &[ManifestRef]) -> Result<(), VaultError> {
    let node = own.node;
    if let Some(stranger) = twins::strangers(own, found).next() {
        let what = format!(
            "the store has manifest {} ({}) of this device, which it did not write: another machine uses the same identity, or this one was restored from a backup",
            stranger.sequence, stranger.hash
        );
        return Err(VaultError::SequenceConflict { node, what });
    }
    match own.newest {
        Some(newest) if !found.contains(&newest) => {
            let shown = found
                .last()
                .map_or_else(|| "none".into(), |manifest| manifest.sequence.to_string());
            let what = format!(
                "this device wrote manifest {}, the store shows {shown}: it was put back to an earlier state, or its listing is behind",
                newest.sequence
            );
            Err(VaultError::Regression { node, what })
        }
        _ => Ok(()),
    }
}
