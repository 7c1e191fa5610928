//! Taking over the lines that this device itself left: what was forgotten must not stay in them for ever.
//!
//! What must hold: a line goes only if all of it can be read, and only after everything in it that was not forgotten is in this
//! device's own line (the takeover is published by the same manifest that holds it, as for a removed device). A line that somebody
//! else may still be writing to (a clone of this machine) is left alone until it has not moved for a grace period; should the other
//! come back later, it finds itself taken over, goes on under a new identity and publishes again what it has.
//! Where two machines gave the newest number twice, both ends are taken over and named. Where one of two machines removed what the other's
//! manifest still names, the segment is not missed if the line shows that its records went on (see `lineage`).
//! What it deliberately does not do: fail a push because an old line cannot be read now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::device::{Device, Listing, Step};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash, RecordId};
use crate::lineage::Lineage;
use crate::manifest::{Manifest, ManifestRef, Takeover, forks, join_takeovers};
use crate::replica::{Replica, Source};
use crate::seal::{ObjectKind, Place};
use crate::state::{self, Leaving, Left, NodeState, OwnState};
use crate::vault::SEGMENTS;
use crate::verify::ids;

/// Who took a line over has so many grace periods to remove it before this device, whose line it was too, does.
const OTHERS_PATIENCE: i64 = 3;

impl<R: Replica> Device<'_, R> {
    /// Begins to take over what this device left, if the listing shows any of it. Without any it costs nothing.
    pub(super) async fn retire_earlier(
        &mut self,
        mut own: OwnState,
        listing: &Listing,
    ) -> Result<OwnState, VaultError> {
        let before = own.left.clone();
        let due = self.due(&mut own, listing)?;
        if due.is_empty() {
            if own.left != before {
                state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
            }
            return Ok(own);
        }
        self.observer.step(Step::Phase("retire"));
        let mut held = HashSet::new();
        let mut changes = vec![];
        for (node, at) in due {
            let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
            let is_held = self.is_held_by_another(node, refs)?;
            match self.take_in_line(&own, node, listing, is_held).await {
                Ok(Ok((leaving, records))) => {
                    held.extend(records);
                    own.leaving.insert(node, leaving);
                    own.left.remove(&node);
                    changes.push(state::forget(self.state_keys.node(node)));
                }
                outcome => {
                    self.put_off(&mut own, node, at);
                    note_unread(node, outcome.map(Result::err))?;
                }
            }
        }
        changes.push(state::keep(self.state_keys.own(), &own));
        self.replica
            .unlearn(&held, &changes)
            .map_err(|source| VaultError::Replica {
                doing: "mark what its earlier identities held",
                source,
            })?;
        Ok(own)
    }

    /// The lines that may be taken over now, with their newest manifests. Notes which ones have moved.
    fn due(
        &self,
        own: &mut OwnState,
        listing: &Listing,
    ) -> Result<Vec<(NodeId, ManifestRef)>, VaultError> {
        let now_ms = self.now_ms();
        let mut due = vec![];
        for node in own.earlier.iter().copied().collect::<BTreeSet<_>>() {
            let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
            let Some(at) = refs.last().copied() else {
                continue;
            };
            let is_gone = own
                .removed
                .get(&node)
                .is_some_and(|takeover| !takeover.is_outlived(refs));
            if is_gone || own.leaving.contains_key(&node) {
                continue;
            }
            let is_others = self.is_held_by_another(node, refs)?;
            let patience_ms = self.options.grace_ms * if is_others { OTHERS_PATIENCE } else { 1 };
            let left = own.left.entry(node).or_default();
            if left.written == Some(at) && forks(refs).is_empty() && !is_others {
                due.push((node, at));
            } else if left.seen != Some(at) || now_ms < left.since_ms {
                left.seen = Some(at);
                left.since_ms = now_ms;
            } else if now_ms.saturating_sub(left.since_ms) >= patience_ms {
                due.push((node, at));
            }
        }
        Ok(due)
    }

    /// Whether another line is known to hold all of this one.
    fn is_held_by_another(&self, node: NodeId, refs: &[ManifestRef]) -> Result<bool, VaultError> {
        let known: Option<NodeState> = state::load(self.replica, &self.state_keys.node(node))?;
        Ok(known.is_some_and(|known| known.is_removed(refs)))
    }

    /// What cannot be read today is looked at again after a grace period, not at every push.
    fn put_off(&self, own: &mut OwnState, node: NodeId, at: ManifestRef) {
        let left = Left {
            written: None,
            seen: Some(at),
            since_ms: self.now_ms(),
            unpublished: false,
        };
        own.left.insert(node, left);
    }

    /// Reads a whole line and applies it as this device's own. The inner error is what could not be read. Where another line holds all
    /// of it (`is_held`), that one's writer may have removed a part of it already.
    async fn take_in_line(
        &mut self,
        own: &OwnState,
        node: NodeId,
        listing: &Listing,
        is_held: bool,
    ) -> Result<Result<(Leaving, HashSet<RecordId>), Problem>, VaultError> {
        let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
        let manifests = match self.heads(node, refs).await? {
            Ok(heads) => heads,
            Err(problem) => return Ok(Err(problem)),
        };
        let takeover = Takeover::of(refs).expect("only lines that are listed are due");
        let live: BTreeMap<String, ObjectHash> = manifests
            .iter()
            .flat_map(|(_, manifest)| &manifest.segments)
            .map(|entry| (entry.key(node), entry.hash))
            .collect();
        let mut reading = self.read_line(node, &live).await?;
        if !is_held {
            let held = own.held_of(node);
            reading.gone.retain(|hash, _| !held.contains(hash));
            if reading.unread.is_none() && !reading.gone.is_empty() {
                reading.unread = self.missed(node, refs, &manifests, &reading.gone).await?;
            }
        }
        if let Some(problem) = reading.unread {
            return Ok(Err(problem));
        }
        let mut keys = std::mem::take(&mut reading.keys);
        keys.extend(refs.iter().map(|manifest| manifest.key(node)));
        let mut removed = BTreeMap::new();
        for (_, manifest) in manifests {
            join_takeovers(&mut removed, manifest.removed);
        }
        for (heir, taken) in removed
            .iter()
            .filter(|(heir, _)| !own.removed.contains_key(heir))
        {
            let remains = self.remains(*heir, taken, listing).await?;
            keys.extend(remains.keys);
            reading.records.extend(remains.records);
        }
        keys.sort();
        let leaving = Leaving {
            takeover,
            keys,
            held: live
                .into_values()
                .filter(|hash| !is_held || !reading.gone.contains_key(hash))
                .collect(),
            removed,
        };
        Ok(Ok((leaving, reading.records)))
    }

    /// Reads and applies every segment of a line, those that it names (`live`) and those that it does not.
    async fn read_line(
        &mut self,
        node: NodeId,
        live: &BTreeMap<String, ObjectHash>,
    ) -> Result<Reading, VaultError> {
        let mut present = self.segments_of(node).await?;
        // One that a listing does not show yet is asked for all the same.
        for key in live.keys() {
            present.entry(key.clone()).or_default();
        }
        let mut reading = Reading::default();
        self.read_segments(&present, &BTreeMap::new(), |this, key, outcome| {
            match outcome {
                Ok((_, batch)) => {
                    reading.records.extend(ids::<R>(&batch));
                    reading.keys.push(key.to_owned());
                    this.salvage(batch)?;
                }
                Err(problem) => match live.get(key) {
                    Some(hash) if problem.kind == ProblemKind::Missing => {
                        reading.gone.insert(*hash, problem);
                    }
                    Some(_) => reading.unread = Some(problem),
                    None => {}
                },
            }
            Ok(())
        })
        .await?;
        Ok(reading)
    }

    /// A line's newest manifest, followed by that of every second history.
    async fn heads(
        &self,
        node: NodeId,
        refs: &[ManifestRef],
    ) -> Result<Result<Vec<(ManifestRef, Manifest)>, Problem>, VaultError> {
        let mut manifests = vec![];
        for head in refs.last().into_iter().chain(&forks(refs)) {
            match self.fetch_manifest(node, *head).await? {
                Ok(manifest) => manifests.push((*head, manifest)),
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(manifests))
    }

    /// One of the segments that the heads name and that are gone, unless the older manifests show that none of them is missed.
    async fn missed(
        &self,
        node: NodeId,
        refs: &[ManifestRef],
        heads: &[(ManifestRef, Manifest)],
        gone: &BTreeMap<ObjectHash, Problem>,
    ) -> Result<Option<Problem>, VaultError> {
        let mut lineage = Lineage::default();
        for (at, manifest) in heads {
            lineage.add(*at, manifest);
        }
        for older in refs {
            if !lineage.has(*older)
                && let Ok(manifest) = self.fetch_manifest(node, *older).await?
            {
                lineage.add(*older, &manifest);
            }
        }
        let heads: Vec<ManifestRef> = heads.iter().map(|(at, _)| *at).collect();
        let names: BTreeSet<ObjectHash> = gone.keys().copied().collect();
        Ok(if lineage.accounts_for(&heads, &names) {
            None
        } else {
            gone.values().next().cloned()
        })
    }

    pub(crate) fn salvage(&mut self, records: Vec<R::Record>) -> Result<(), VaultError> {
        self.replica
            .apply(records, Source::Salvage, &[])
            .map(drop)
            .map_err(|source| VaultError::Replica {
                doing: "apply what was found under an identity of its own",
                source,
            })
    }

    /// Reads what is still in the store of a line that the one to be taken over had itself taken over: some of it may have come late, and
    /// be in nobody's line.
    async fn remains(
        &mut self,
        node: NodeId,
        taken: &Takeover,
        listing: &Listing,
    ) -> Result<Reading, VaultError> {
        let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
        if taken.is_outlived(refs) {
            return Ok(Reading::default());
        }
        let mut reading = self.read_line(node, &BTreeMap::new()).await?;
        let manifests = refs.iter().map(|manifest| manifest.key(node));
        reading.keys.extend(manifests);
        Ok(reading)
    }

    pub(crate) async fn segments_of(
        &self,
        node: NodeId,
    ) -> Result<BTreeMap<String, u64>, VaultError> {
        let entries = self
            .vault
            .store()
            .list(&format!("{SEGMENTS}{node}/"))
            .await
            .map_err(VaultError::store(
                "the segments of one device could not be listed",
            ))?;
        let is_segment = |key: &str| {
            Place::parse(key)
                .is_some_and(|(place, _)| place.kind == ObjectKind::Segment && place.node == node)
        };
        Ok(entries
            .into_iter()
            .filter(|entry| is_segment(&entry.key))
            .map(|entry| (entry.key, entry.size))
            .collect())
    }
}

/// What reading a line showed.
#[derive(Default)]
struct Reading {
    /// The segments that were read.
    keys: Vec<String>,
    records: HashSet<RecordId>,
    /// Segments that the line names and that are gone.
    gone: BTreeMap<ObjectHash, Problem>,
    /// One that it names and that is there, or may be, and cannot be read.
    unread: Option<Problem>,
}

/// An old line that cannot be read does not fail a push; a rotated key or a broken database does.
fn note_unread(
    node: NodeId,
    outcome: Result<Option<Problem>, VaultError>,
) -> Result<(), VaultError> {
    match outcome {
        Ok(problem) => {
            // Every pull and verification names it to the person; here it only stays.
            let (key, detail) = problem.map(|problem| (problem.key, problem.detail)).unzip();
            tracing::info!(key, detail, %node, "an earlier identity of this device could not be read as a whole, so it stays for now");
            Ok(())
        }
        Err(error @ VaultError::Store { .. }) => {
            tracing::info!(%error, %node, "an earlier identity of this device could not be read, so it stays for now");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
