//! What was uploaded under this device's own identity and is not known to it: by a copy of this machine that was lost in the middle of a
//! push, say. What it holds may be forgotten later, and nobody else would ever clear it away. The same goes for identities that this device
//! gave up before anybody was seen to write a manifest under them, and for lines that it took over (or left to others who did), where
//! somebody may have uploaded something since and named it nowhere yet.
//!
//! What must hold: nothing goes that was not read and made this device's own first, by the very push that notes it as garbage. Should the
//! manifest that names it be under way after all, then its records are in this device's line. The own line is disputed in time; one that
//! was given up is listed then, and is taken over like any other that somebody wrote to.
//! What it deliberately does not do: fail a push because something cannot be read now; look more often than once a grace period, and at
//! what is damaged only now and then.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::device::{Device, Listing};
use crate::error::VaultError;
use crate::ids::{NodeId, ObjectHash};
use crate::replica::Replica;
use crate::seal::Place;
use crate::state::{self, OwnState, PushProgress};
use crate::verify::ids;

/// A stray that could not be read is read again once its size is another one, or after so many grace periods: it may be restored, or
/// have come in pieces, but most likely it stays as it is.
const UNREADABLE_PATIENCE: i64 = 8;

impl<R: Replica> Device<'_, R> {
    /// Takes in what strayed into this device's lines, if it is time to look. The first time only sets the time.
    pub(super) async fn take_in_strays(
        &mut self,
        mut own: OwnState,
        listing: &Listing,
    ) -> Result<OwnState, VaultError> {
        if !self.is_sweep_due(&own) {
            return Ok(own);
        }
        let is_first = own.swept_ms == 0;
        own.swept_ms = self.now_ms();
        if !is_first {
            note_unswept(self.sweep(&mut own).await)?;
            for node in own.never_listed(listing.nodes.keys()) {
                note_unswept(self.sweep_left(&mut own, node).await)?;
            }
        }
        state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        Ok(own)
    }

    /// Whether a push would look for strays, or set the time from which it will.
    pub(super) fn is_sweep_due(&self, own: &OwnState) -> bool {
        let since_ms = self.now_ms().abs_diff(own.swept_ms);
        own.swept_ms == 0 || since_ms >= self.options.grace_ms.unsigned_abs()
    }

    async fn sweep(&mut self, own: &mut OwnState) -> Result<(), VaultError> {
        let known = self.known_keys(own)?;
        let mut strays = self.segments_of(own.node).await?;
        strays.retain(|key, _| !known.contains(key));
        self.leave_out_unreadable(own, own.node, &mut strays);
        let since_ms = self.now_ms();
        let adopted = self.adopt(own, &strays).await?;
        // A copy that is about to name them must find that the line has moved on, also where nothing in them was new.
        own.outdated |= !adopted.is_empty();
        own.discard(adopted, since_ms, true);
        Ok(())
    }

    /// As [`Device::sweep`] for a line that was given up and of which no manifest was ever seen. What this device itself uploaded there is
    /// read as well: it may have changed its mind since about what is its own.
    async fn sweep_left(&mut self, own: &mut OwnState, node: NodeId) -> Result<(), VaultError> {
        let mut strays = self.segments_of(node).await?;
        // One that went and is there once more is read once more.
        let waiting = own.garbage.iter().map(|garbage| &garbage.key);
        let waiting: BTreeSet<&String> = waiting.filter(|key| own.has_taken_in(key)).collect();
        strays.retain(|key, _| !waiting.contains(key));
        self.take_in_left(own, node, strays).await
    }

    /// Takes in what came late to the lines that are gone, if it is time to look: two listings a line, once a grace period. Lines without
    /// any manifest are left to [`Device::take_in_strays`]. One that cannot be looked through now holds no other up.
    pub(super) async fn take_in_latecomers(
        &mut self,
        mut own: OwnState,
    ) -> Result<OwnState, VaultError> {
        let since_ms = self.now_ms().abs_diff(own.searched_ms);
        let has_left = !own.removed.is_empty() || !own.earlier.is_empty();
        if !has_left || since_ms < self.options.grace_ms.unsigned_abs() {
            return Ok(own);
        }
        own.searched_ms = self.now_ms();
        let unseen = own.never_listed(std::iter::empty());
        let lines = own.removed.keys().chain(&own.earlier).copied();
        for node in &lines.collect::<BTreeSet<_>>() - &unseen {
            note_unswept(self.search(&mut own, node).await)?;
        }
        state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        Ok(own)
    }

    async fn search(&mut self, own: &mut OwnState, node: NodeId) -> Result<(), VaultError> {
        if !self.is_gone(own, node).await? {
            return Ok(());
        }
        let mut late = self.segments_of(node).await?;
        // What waits there was read before it became garbage, or is this device's own.
        let waiting: BTreeSet<&String> = own.garbage.iter().map(|garbage| &garbage.key).collect();
        late.retain(|key, _| !waiting.contains(key));
        self.take_in_left(own, node, late).await
    }

    /// Reads segments of a line that this device left or took over (keys and stored sizes), and makes all that they hold its own. What
    /// was read is garbage from now on.
    async fn take_in_left(
        &mut self,
        own: &mut OwnState,
        node: NodeId,
        mut strays: BTreeMap<String, u64>,
    ) -> Result<(), VaultError> {
        self.leave_out_unreadable(own, node, &mut strays);
        if strays.is_empty() {
            return Ok(());
        }
        let since_ms = self.now_ms();
        let (mut next, mut held, mut read) = (own.clone(), HashSet::new(), vec![]);
        self.read_segments(&strays, &BTreeMap::new(), |this, key, outcome| {
            match (outcome, Place::parse(key)) {
                (Ok((_, batch)), Some((_, hash))) => {
                    held.extend(ids::<R>(&batch));
                    this.salvage(batch)?;
                    next.held.entry(node).or_default().insert(hash);
                    read.push(key.to_owned());
                }
                (Err(problem), _) => next.note_unread(&problem, strays[key], since_ms),
                (Ok(_), None) => {}
            }
            Ok(())
        })
        .await?;
        next.discard(read, since_ms, true);
        if !held.is_empty() {
            // Nothing of it may be left to somebody who in turn may have read it there.
            let change = state::keep(self.state_keys.own(), &next);
            self.replica
                .unlearn(&held, &[change])
                .map_err(|source| VaultError::Replica {
                    doing: "mark what strayed into its earlier identities",
                    source,
                })?;
        }
        *own = next;
        Ok(())
    }

    /// Leaves out what could not be read not long ago, and forgets that of what is not there any more.
    fn leave_out_unreadable(
        &self,
        own: &mut OwnState,
        node: NodeId,
        strays: &mut BTreeMap<String, u64>,
    ) {
        let is_there = |key: &String| {
            let is_other = Place::parse(key).is_none_or(|(place, _)| place.node != node);
            is_other || strays.contains_key(key)
        };
        own.unreadable.retain(|key, _| is_there(key));
        let patience_ms = self.options.grace_ms * UNREADABLE_PATIENCE;
        strays.retain(|key, bytes| !own.is_unreadable(key, *bytes, self.now_ms(), patience_ms));
    }

    /// Reads segments of this device's line that it does not know (keys and stored sizes) and makes their records its own. Returns those
    /// that could be read.
    pub(crate) async fn adopt(
        &mut self,
        own: &mut OwnState,
        strays: &BTreeMap<String, u64>,
    ) -> Result<Vec<String>, VaultError> {
        let mut adopted = vec![];
        if strays.is_empty() {
            return Ok(adopted);
        }
        // What this device learnt again from its own line counts as learnt: a stray that repeats it makes none of it this device's own.
        let is_all_own = own.live.iter().all(|segment| segment.local);
        let since_ms = self.now_ms();
        self.read_segments(strays, &BTreeMap::new(), |this, key, outcome| {
            let (_, batch) = match outcome {
                Ok(read) => read,
                Err(problem) => {
                    own.note_unread(&problem, strays[key], since_ms);
                    return Ok(());
                }
            };
            this.salvage(batch)?;
            adopted.push(key.to_owned());
            if is_all_own {
                let hash: Option<ObjectHash> = Place::parse(key).map(|(_, hash)| hash);
                own.held.entry(own.node).or_default().extend(hash);
            }
            Ok(())
        })
        .await?;
        Ok(adopted)
    }

    /// The keys of all segments that this device itself wrote, or is about to write.
    fn known_keys(&self, own: &OwnState) -> Result<BTreeSet<String>, VaultError> {
        let progress: PushProgress =
            state::load(self.replica, &self.state_keys.progress())?.unwrap_or_default();
        let segments = own.live.iter().chain(&progress.segments);
        let mut known: BTreeSet<String> = segments
            .map(|segment| segment.entry.key(own.node))
            .collect();
        known.extend(own.garbage.iter().map(|garbage| garbage.key.clone()));
        known.extend(self.attempts()?);
        Ok(known)
    }
}

/// What cannot be looked through now fails no push.
fn note_unswept(outcome: Result<(), VaultError>) -> Result<(), VaultError> {
    if let Err(error @ VaultError::Store { .. }) = outcome {
        tracing::warn!(%error, "the segments of an identity of this device could not be looked through");
        return Ok(());
    }
    outcome
}
