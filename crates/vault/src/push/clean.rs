//! The end of a push: removing, in one bulk request now and then, what nobody can still need.
//!
//! What must hold: an object goes only after its grace period, and never while a manifest that counts names it. Nothing of another line
//! becomes garbage unread (see `retire` and `strays`). Names follow from
//! content, so what this device gave up may be live again for somebody else: a clone of this machine that goes on under an identity
//! this one left, or a device that was taken over and came back. Their lines are read once more before anything of them goes.
//! What it deliberately does not do: fail a push. What was published stays published; the next push tries again.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use crate::device::{Device, Step};
use crate::error::{ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::forks;
use crate::replica::Replica;
use crate::seal::Place;
use crate::state::{self, Garbage, NodeState, OwnState, Retired};
use crate::vault::MANIFESTS;

/// So many manifests before the newest always stay; more are removed in bulk once the second number is reached.
const OLDER_KEPT: usize = 8;
pub(super) const OLDER_MAX: usize = 32;
/// No listing is behind by more than this: 30 days.
const BEHIND_MAX_MS: i64 = 30 * 24 * 3600 * 1000;

/// What is to become of another line's objects that this device was about to remove.
enum Verdict {
    /// They may go.
    Gone,
    /// Somebody writes there: none of them is this device's to remove.
    Alive,
    /// All may go but these.
    But(BTreeSet<String>),
    /// What was read there, and is this device's own, may go.
    TakenIn,
    /// It cannot be seen now; ask again another time.
    Unsure,
}

impl<R: Replica> Device<'_, R> {
    /// Removes what is due.
    pub(super) async fn clean_up(&mut self, draft: &mut Draft) -> Result<(), VaultError> {
        let now_ms = self.now_ms();
        let grace_ms = self.options.grace_ms;
        let mut then = draft.own.clone();
        if then.redate(now_ms) {
            state::save(self.replica, &[state::keep(self.state_keys.own(), &then)])?;
            draft.own = then.clone();
        }
        let is_due = |garbage: &Garbage| now_ms.saturating_sub(garbage.since_ms) >= grace_ms;
        let forgotten_due = then
            .garbage
            .iter()
            .any(|garbage| garbage.forgotten && is_due(garbage));
        if then.older.len() < OLDER_MAX && !forgotten_due {
            return Ok(());
        }
        self.observer.step(Step::Phase("clean up"));
        let (due, waiting): (Vec<Garbage>, Vec<Garbage>) = then.garbage.drain(..).partition(is_due);
        let (mut keys, unsure) = self.sort_out(&mut then, due).await;
        then.garbage = waiting;
        then.garbage.extend(unsure);
        let surplus = then.older.len().saturating_sub(OLDER_KEPT);
        keys.extend(
            then.older[..surplus]
                .iter()
                .map(|manifest| manifest.key(then.node)),
        );
        if !keys.is_empty()
            && let Err(error) = self.vault.store().delete(&keys).await
        {
            tracing::warn!(%error, "replaced objects could not be removed");
            return Ok(());
        }
        then.retired
            .retain(|retired| now_ms.saturating_sub(retired.since_ms) < BEHIND_MAX_MS);
        then.retired
            .extend(then.older.drain(..surplus).map(|manifest| Retired {
                manifest,
                since_ms: now_ms,
            }));
        state::save(self.replica, &[state::keep(self.state_keys.own(), &then)])?;
        draft.report.removed = keys.len() as u64;
        draft.own = then;
        Ok(())
    }

    /// The keys that may go, and what has to be asked about again. What belongs to somebody is in neither.
    async fn sort_out(
        &mut self,
        own: &mut OwnState,
        due: Vec<Garbage>,
    ) -> (Vec<String>, Vec<Garbage>) {
        let (mut keys, mut unsure) = (BTreeSet::new(), vec![]);
        let mut lines: BTreeMap<NodeId, Vec<Garbage>> = BTreeMap::new();
        for garbage in due {
            match Place::parse(&garbage.key) {
                // This push has just seen that nobody else writes under this identity.
                Some((place, _)) if place.node == own.node => drop(keys.insert(garbage.key)),
                Some((place, _)) => lines.entry(place.node).or_default().push(garbage),
                None => {}
            }
        }
        for (node, garbage) in lines {
            match self.verdict(own, node).await {
                Ok(Verdict::Gone) => {
                    own.has_removed(node, &garbage);
                    keys.extend(garbage.into_iter().map(|garbage| garbage.key));
                }
                Ok(Verdict::But(live)) => keys.extend(
                    garbage
                        .into_iter()
                        .map(|garbage| garbage.key)
                        .filter(|key| !live.contains(key)),
                ),
                // What was not read is noted again by who reads it (see `strays`).
                Ok(Verdict::TakenIn) => keys.extend(
                    garbage
                        .into_iter()
                        .map(|garbage| garbage.key)
                        .filter(|key| own.has_taken_in(key)),
                ),
                Ok(Verdict::Alive) => {}
                Ok(Verdict::Unsure) => unsure.extend(garbage),
                Err(error) => {
                    tracing::warn!(%error, %node, "a line could not be read, so nothing of it was removed");
                    unsure.extend(garbage);
                }
            }
        }
        (keys.into_iter().collect(), unsure)
    }

    /// Whether another's line is known to be gone as a whole: somebody took it over, and it has nothing beyond that.
    pub(super) async fn is_gone(
        &mut self,
        own: &mut OwnState,
        node: NodeId,
    ) -> Result<bool, VaultError> {
        Ok(matches!(self.verdict(own, node).await?, Verdict::Gone))
    }

    async fn verdict(&mut self, own: &mut OwnState, node: NodeId) -> Result<Verdict, VaultError> {
        let listing = self.list_manifests(&format!("{MANIFESTS}{node}/")).await?;
        let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
        if let Some(takeover) = own.removed.get(&node) {
            return Ok(if takeover.is_outlived(refs) {
                Verdict::Alive
            } else {
                Verdict::Gone
            });
        }
        let Some(newest) = refs.last() else {
            return match self.verdict_on_unlisted(own, node).await? {
                Verdict::Unsure => Ok(self.verdict_in_the_end(own, node)),
                sure => Ok(sure),
            };
        };
        own.unlisted.remove(&node);
        let mut live = BTreeSet::new();
        for head in forks(refs).iter().chain([newest]) {
            let Ok(manifest) = self.fetch_manifest(node, *head).await? else {
                return Ok(Verdict::Unsure);
            };
            live.extend(manifest.segments.iter().map(|entry| entry.key(node)));
        }
        Ok(Verdict::But(live))
    }

    /// Of a line of which no manifest is listed. It is known to be gone where somebody took it over; and where nobody is known to have
    /// written a manifest it may be that there never was one. What only this device uploaded there may go then, and what else was read.
    async fn verdict_on_unlisted(
        &self,
        own: &OwnState,
        node: NodeId,
    ) -> Result<Verdict, VaultError> {
        let known: Option<NodeState> = state::load(self.replica, &self.state_keys.node(node))?;
        if let Some(known) = known {
            // One that a pull saw has a manifest, whatever this listing shows.
            let is_gone = own.earlier.contains(&node) && known.removed_by.is_some();
            return Ok(if is_gone {
                Verdict::Gone
            } else {
                Verdict::Unsure
            });
        }
        let Some(left) = own.left.get(&node).filter(|left| left.is_unseen()) else {
            return Ok(Verdict::Unsure);
        };
        if let Some(first) = left.written {
            match self.fetch_manifest(node, first).await? {
                Err(problem) if problem.kind == ProblemKind::Missing => {}
                // It is there all the same: the next listing shows it, and what it names.
                _ => return Ok(Verdict::Unsure),
            }
        }
        Ok(if left.unpublished {
            Verdict::Gone
        } else {
            Verdict::TakenIn
        })
    }

    /// The end of all doubt about a line of which no manifest was listed at any look for so long that no listing is behind by as much:
    /// whatever wrote there is gone, and what waits there is this device's own. Should a manifest come after all, that is known.
    fn verdict_in_the_end(&self, own: &mut OwnState, node: NodeId) -> Verdict {
        let now_ms = self.now_ms();
        let since_ms = own.unlisted.entry(node).or_insert(now_ms);
        // A clock that was wrong then says nothing.
        *since_ms = now_ms.min(*since_ms);
        if now_ms.saturating_sub(*since_ms) < BEHIND_MAX_MS || !own.earlier.contains(&node) {
            return Verdict::Unsure;
        }
        if !own.is_ours_too(node) {
            own.former.push(node);
        }
        Verdict::Gone
    }
}
