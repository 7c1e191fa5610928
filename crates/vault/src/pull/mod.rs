//! Pull: learn what other devices published.
//!
//! One listing of the manifests says what is new: their names carry number and hash. Missing segments are fetched side by side,
//! the newest first, and each is applied in one local transaction together with the note that it was.
//!
//! What must hold: the order of arrival never matters; what cannot be read is named and holds nothing else up; a listing that
//! shows less than was seen before is never believed in silence.
//! What it deliberately does not do: write to the store.

mod manifests;
mod relearn;
mod removals;
mod segments;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use serde::{Deserialize, Serialize};

use crate::device::{Device, Listing, MANIFESTS, Step, fetch};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash};
use crate::manifest::{Manifest, ManifestRef, SegmentEntry, forks, outlives};
use crate::push::check_line;
use crate::replica::{Replica, Source};
use crate::state::{self, NodeState, OwnSegment, OwnState};

/// How a pull treats what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullMode {
    /// Fetch what is new.
    New,
    /// Fetch everything again.
    Full,
    /// Accept what the store shows, even if it is less than was seen before; after a conflict, give up this device's identity.
    Force,
}

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullReport {
    /// Records that were new here.
    pub added: u64,
    /// Records that were fetched and already known.
    pub known: u64,
    /// Segments fetched.
    pub segments: u64,
    /// Bytes of segments fetched.
    pub bytes: u64,
    /// Other devices in the vault.
    pub devices: u64,
    /// What could not be read, or is not as it was; empty when all is well.
    pub problems: Vec<Problem>,
}

/// So often a pull reads the manifests again when objects they name are gone.
const ROUNDS_MAX: usize = 3;

/// One node's share of a pull.
struct Work {
    state: NodeState,
    /// The live segments that the node is complete with.
    live: BTreeSet<ObjectHash>,
    /// The second histories that were read along.
    forks: Vec<ObjectHash>,
    missing: Vec<SegmentEntry>,
    /// How its records count: those of a disputed identity of this device do not count as learnt.
    source: Source,
    failed: bool,
}

impl<R: Replica> Device<'_, R> {
    /// Learns what other devices published.
    ///
    /// # Errors
    /// The store's, the database's, or a rotated key. Problems of single objects are in the report instead.
    pub async fn pull(&mut self, mode: PullMode) -> Result<PullReport, VaultError> {
        let mut own = self.own()?;
        if own.relearn {
            own = self.relearn().await?;
        }
        let mut report = PullReport::default();
        for round in 1.. {
            let (next, gone) = self
                .pull_round(
                    own,
                    if round == 1 { mode } else { PullMode::New },
                    &mut report,
                )
                .await?;
            own = next;
            // A segment may have been replaced between the manifest's reading and its own: the next manifest names another.
            if !gone || round == ROUNDS_MAX {
                break;
            }
        }
        if own.lacking {
            // What came from the part that is lost counts as learnt, and is nowhere else now: the next push has to publish it.
            let mended = self.mend_here(None).await?;
            report.added += mended.recovered;
            report.problems.extend(mended.problems);
            report
                .problems
                .sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
            report.problems.dedup();
        }
        self.demote_accepted(mode, &mut report)?;
        state::save(
            self.replica,
            &[state::quarantine_change(&self.state_keys, &report.problems)],
        )?;
        Ok(report)
    }

    async fn pull_round(
        &mut self,
        mut own: OwnState,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<(OwnState, bool), VaultError> {
        report.problems.clear();
        let listing = self.list_manifests(MANIFESTS).await?;
        let mut known = state::load_nodes(self.replica, &self.state_keys)?;
        own = self.own_line(own, &listing, mode, report)?;
        if mode == PullMode::Full {
            known.values_mut().for_each(NodeState::unapply);
        }
        let mut work = self
            .read_manifests(&own, &listing, &mut known, mode, report)
            .await?;
        own = self.heed_removals(own, &listing, &mut known, &mut work, mode, report)?;
        report.devices = known.len() as u64;
        report
            .problems
            .extend(listing.foreign.into_iter().map(foreign));
        let gone = self.fetch_segments(&mut work, report).await?;
        self.complete(work)?;
        Ok((own, gone))
    }

    /// Compares this device's own line with the listing.
    fn own_line(
        &mut self,
        own: OwnState,
        listing: &Listing,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<OwnState, VaultError> {
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        // A manifest whose answer was lost is this device's own; the next push settles it.
        let intent: Option<state::Intent> = state::load(self.replica, &self.state_keys.intent())?;
        let own_and_intended = OwnState {
            older: own
                .older
                .iter()
                .copied()
                .chain(intent.as_ref().and_then(|intent| intent.then.newest))
                .collect(),
            ..own.clone()
        };
        match check_line(&own_and_intended, found) {
            Ok(()) => Ok(own),
            Err(error) if mode == PullMode::Force => {
                let lacking = own.lacking || matches!(error, VaultError::Regression { .. });
                self.reborn(OwnState { lacking, ..own }, true)
            }
            Err(error) => {
                let kind = if matches!(error, VaultError::Regression { .. }) {
                    ProblemKind::Regression
                } else {
                    ProblemKind::Conflict
                };
                report.problems.push(Problem {
                    key: format!("{MANIFESTS}{}", own.node),
                    kind,
                    detail: error.to_string(),
                });
                Ok(own)
            }
        }
    }

    /// Reads every manifest that was not read before, and finds the segments to fetch.
    pub(super) async fn read_manifests(
        &mut self,
        own: &OwnState,
        listing: &Listing,
        known: &mut BTreeMap<NodeId, NodeState>,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<BTreeMap<NodeId, (Work, Manifest)>, VaultError> {
        let mut wanted = vec![];
        for (node, refs) in &listing.nodes {
            if *node == own.node {
                continue;
            }
            wanted.extend(new_manifests(*node, refs, known.get(node), mode, report));
        }
        if !wanted.is_empty() {
            self.observer.step(Step::Phase("manifests"));
        }
        let floor = self.published_floor(own)?;
        let this = &*self;
        let fetched: Vec<_> = stream::iter(wanted.into_iter().map(|(node, refs)| async move {
            let newest = this.newest_readable(node, &refs).await;
            (node, newest)
        }))
        .buffered(self.options.downloads.max(1))
        .collect()
        .await;
        let mut work = BTreeMap::new();
        for (node, outcome) in fetched {
            let (found, problems) = outcome?;
            report.problems.extend(problems.iter().cloned());
            let Some((manifest_ref, manifest, forks)) = found else {
                continue;
            };
            let before = known.get(&node);
            let mut node_state = NodeState::read(
                &manifest,
                manifest_ref,
                before.map_or_else(Vec::new, |state| state.applied.clone()),
            );
            node_state.forks = before.map_or_else(Vec::new, |state| state.forks.clone());
            let all = || {
                manifest
                    .segments
                    .iter()
                    .chain(forks.iter().flat_map(|(_, fork)| &fork.segments))
            };
            let applied: BTreeSet<_> = node_state.applied.iter().copied().collect();
            let is_known = |entry: &&SegmentEntry| {
                applied.contains(&entry.hash)
                    || (!entry.replaces.is_empty()
                        && entry.replaces.iter().all(|hash| applied.contains(hash)))
            };
            let mut missing: Vec<_> = all().filter(|entry| !is_known(entry)).cloned().collect();
            missing.sort_by_key(|entry| entry.hash);
            missing.dedup_by_key(|entry| entry.hash);
            // What this device has of a line that is disputed, or that it took over, it keeps publishing itself.
            let is_ours_too = own.former.contains(&node) || own.removed.contains_key(&node);
            let unpublished_above = if is_ours_too { u64::MAX } else { floor };
            let failed = !problems.is_empty();
            let live = all().map(|entry| entry.hash).collect();
            known.insert(node, node_state.clone());
            let forks = forks.iter().map(|(fork, _)| fork.hash).collect();
            work.insert(
                node,
                (
                    Work {
                        state: node_state,
                        live,
                        forks,
                        missing,
                        source: Source::Vault { unpublished_above },
                        failed,
                    },
                    manifest,
                ),
            );
        }
        Ok(work)
    }

    /// The newest manifest of a node that can be read, going back through the older ones if it must.
    async fn newest_readable(
        &self,
        node: NodeId,
        refs: &NewManifests,
    ) -> Result<Readable, VaultError> {
        let mut problems = vec![];
        let mut forks = vec![];
        for fork in &refs.forks {
            match self.fetch_manifest(node, *fork).await? {
                Ok(manifest) => forks.push((*fork, manifest)),
                Err(problem) => problems.push(problem),
            }
        }
        for manifest_ref in refs.newest_first.iter() {
            match self.fetch_manifest(node, *manifest_ref).await? {
                Ok(manifest) => return Ok((Some((*manifest_ref, manifest, forks)), problems)),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((None, problems))
    }

    /// Takes note of devices that others removed, and of what other devices saw that this store does not show.
    pub(super) fn heed_removals(
        &mut self,
        mut own: OwnState,
        listing: &Listing,
        known: &mut BTreeMap<NodeId, NodeState>,
        work: &mut BTreeMap<NodeId, (Work, Manifest)>,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<OwnState, VaultError> {
        let removals: Vec<(NodeId, NodeId, ManifestRef)> = work
            .iter()
            .flat_map(|(by, (_, manifest))| {
                manifest.removed.iter().map(|(node, at)| (*by, *node, *at))
            })
            .chain(own.removed.iter().map(|(node, at)| (own.node, *node, *at)))
            .collect();
        let mut changes = vec![];
        let takeovers = own.leaving.len();
        own.leaving.retain(|node, leaving| {
            listing
                .nodes
                .get(node)
                .is_none_or(|refs| !outlives(refs, leaving.at))
        });
        if own.leaving.len() < takeovers {
            // It came back before its records were published under this identity: it keeps them.
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        }
        for (by, node, at) in removals {
            if node == own.node {
                // Somebody took this device's records over and will remove its objects: it goes on under a new identity.
                own = self.reborn(own, true)?;
                continue;
            }
            // What a removed device wrote later is still read: nothing is lost. A rotated key is what shuts it out.
            if listing
                .nodes
                .get(&node)
                .is_some_and(|refs| outlives(refs, at))
            {
                continue;
            }
            work.remove(&node);
            let node_state = known.entry(node).or_insert_with(|| NodeState::gone(at));
            if node_state.removed_by.is_none() {
                node_state.removed_by = Some(by);
                node_state.newest = at;
                changes.push(state::keep(self.state_keys.node(node), node_state));
            }
        }
        if !changes.is_empty() {
            state::save(self.replica, &changes)?;
        }
        for (node, node_state) in known.iter_mut() {
            if *node == own.node || node_state.removed_by.is_some() {
                continue;
            }
            let shown = listing.nodes.get(node).and_then(|refs| refs.last());
            if shown.is_none_or(|shown| shown.sequence < node_state.newest.sequence) {
                self.regressed(&mut own, *node, node_state, shown, mode, report)?;
            }
        }
        report.problems.extend(withheld(&own, listing, known, work));
        Ok(own)
    }

    fn regressed(
        &mut self,
        own: &mut OwnState,
        node: NodeId,
        node_state: &NodeState,
        shown: Option<&ManifestRef>,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<(), VaultError> {
        if mode == PullMode::Force {
            own.lacking = true;
            let changes = [
                state::keep(self.state_keys.own(), own),
                state::forget(self.state_keys.node(node)),
            ];
            return state::save(self.replica, &changes);
        }
        let shown = shown.map_or_else(|| "none".to_owned(), |shown| shown.sequence.to_string());
        report.problems.push(Problem {
            key: format!("{MANIFESTS}{node}"),
            kind: ProblemKind::Regression,
            detail: format!(
                "manifest sequence regression detected: manifest {} of device {} was seen before, the store now shows {shown}",
                node_state.newest.sequence, node_state.name
            ),
        });
        Ok(())
    }

    /// Fetches and applies what is missing, newest first. Returns whether objects were gone.
    pub(super) async fn fetch_segments(
        &mut self,
        work: &mut BTreeMap<NodeId, (Work, Manifest)>,
        report: &mut PullReport,
    ) -> Result<bool, VaultError> {
        let mut queue: Vec<(NodeId, SegmentEntry)> = work
            .iter()
            .flat_map(|(node, (work, _))| work.missing.iter().map(|entry| (*node, entry.clone())))
            .collect();
        queue.sort_by_key(|(node, entry)| (entry.newest, *node, entry.hash));
        if queue.is_empty() {
            return Ok(false);
        }
        self.observer.step(Step::Phase("segments"));
        let sum = |of: fn(&SegmentEntry) -> u64| queue.iter().map(|(_, entry)| of(entry)).sum();
        self.observer.step(Step::Planned {
            objects: queue.len() as u64,
            bytes: sum(|entry| entry.bytes),
            records: sum(|entry| entry.records),
        });
        let mut flying = FuturesUnordered::new();
        let mut flying_bytes = 0_u64;
        let mut gone = false;
        // The newest segment comes alone: a new device is useful before the rest competes for the line.
        let mut side_by_side = 1;
        loop {
            while flying.len() < side_by_side
                && (flying.is_empty() || flying_bytes < self.options.memory_bytes_max as u64)
            {
                let Some((node, entry)) = queue.pop() else {
                    break;
                };
                flying_bytes += entry.bytes + entry.raw_bytes;
                let vault = self.vault;
                flying.push(async move {
                    let plaintext = fetch(vault, &entry.key(node)).await;
                    (node, entry, plaintext)
                });
            }
            let Some((node, entry, outcome)) = flying.next().await else {
                break;
            };
            flying_bytes -= entry.bytes + entry.raw_bytes;
            side_by_side = self.options.downloads.max(1);
            let work = &mut work.get_mut(&node).expect("the queue was made from it").0;
            match outcome?.and_then(|plaintext| decode::<R>(&entry, node, &plaintext)) {
                Ok(records) => self.apply(node, work, &entry, records, report)?,
                Err(problem) => {
                    gone |= problem.kind == ProblemKind::Missing;
                    work.failed = true;
                    report.problems.push(problem);
                }
            }
        }
        Ok(gone)
    }

    fn apply(
        &mut self,
        node: NodeId,
        work: &mut Work,
        entry: &SegmentEntry,
        records: Vec<R::Record>,
        report: &mut PullReport,
    ) -> Result<(), VaultError> {
        work.state.applied.push(entry.hash);
        let change = state::keep(self.state_keys.node(node), &work.state);
        let applied = self
            .replica
            .apply(records, work.source, &[change])
            .map_err(|source| VaultError::Replica {
                doing: "apply what was pulled",
                source,
            })?;
        report.added += applied.added;
        report.known += applied.known;
        report.segments += 1;
        report.bytes += entry.bytes;
        self.observer.step(Step::Moved {
            bytes: entry.bytes,
            records: entry.records,
        });
        Ok(())
    }

    /// Notes which devices nothing is missing of.
    fn complete(&mut self, work: BTreeMap<NodeId, (Work, Manifest)>) -> Result<(), VaultError> {
        let mut changes = vec![];
        for (node, (mut work, manifest)) in work {
            if !work.failed {
                work.state.complete = true;
                work.state.applied = work.live.iter().copied().collect();
                work.state.forks.extend(work.forks);
            }
            work.state.written_ms = manifest.written_ms;
            changes.push(state::keep(self.state_keys.node(node), &work.state));
        }
        if changes.is_empty() {
            Ok(())
        } else {
            state::save(self.replica, &changes)
        }
    }

    /// After a reset that kept the identity: learns from the store what this device had published.
    pub(crate) async fn relearn(&mut self) -> Result<OwnState, VaultError> {
        let mut own = self.own()?;
        let listing = self
            .list_manifests(&format!("{MANIFESTS}{}/", own.node))
            .await?;
        let refs = listing.nodes.get(&own.node).cloned().unwrap_or_default();
        let Some((newest, older)) = refs.split_last() else {
            own.relearn = false;
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
            return Ok(own);
        };
        // With two histories nobody can say which manifests were this device's.
        let manifest = match self.fetch_manifest(own.node, *newest).await? {
            Ok(manifest) if forks(&refs).is_empty() && follows(newest, &manifest, older) => {
                manifest
            }
            _ => return self.reborn(own, true),
        };
        for entry in &manifest.segments {
            match fetch(self.vault, &entry.key(own.node))
                .await?
                .and_then(|plaintext| decode::<R>(entry, own.node, &plaintext))
            {
                Ok(records) => {
                    self.replica
                        .apply(
                            records,
                            Source::Vault {
                                unpublished_above: 0,
                            },
                            &[],
                        )
                        .map_err(|source| VaultError::Replica {
                            doing: "compare its records with the store's",
                            source,
                        })?;
                }
                Err(_) => return self.reborn(own, true),
            }
        }
        own.newest = Some(*newest);
        own.older = older.to_vec();
        own.published = 0;
        own.live = manifest
            .segments
            .into_iter()
            .map(|entry| OwnSegment {
                entry,
                local: false,
            })
            .collect();
        own.removed = manifest.removed;
        let live: BTreeSet<_> = own
            .live
            .iter()
            .map(|segment| segment.entry.key(own.node))
            .collect();
        own.garbage.retain(|garbage| !live.contains(&garbage.key));
        own.relearn = false;
        state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        Ok(own)
    }
}

/// Whether a manifest names the one listed before it, if that is the one just before it.
fn follows(newest: &ManifestRef, manifest: &Manifest, older: &[ManifestRef]) -> bool {
    older.last().is_none_or(|before| {
        before.sequence + 1 != newest.sequence || manifest.previous == Some(*before)
    })
}

/// A node's newest readable manifest and its forks, and what could not be read on the way.
type Readable = (
    Option<(ManifestRef, Manifest, Vec<(ManifestRef, Manifest)>)>,
    Vec<Problem>,
);

/// The manifests of one node that were not read before.
struct NewManifests {
    /// The newest, then older ones to fall back to.
    newest_first: Vec<ManifestRef>,
    /// Those that share their number with another.
    forks: Vec<ManifestRef>,
}

fn new_manifests(
    node: NodeId,
    refs: &[ManifestRef],
    known: Option<&NodeState>,
    mode: PullMode,
    report: &mut PullReport,
) -> Option<(NodeId, NewManifests)> {
    let newest = *refs.last()?;
    let read = |manifest: &ManifestRef| {
        known.is_some_and(|state| {
            (state.newest == *manifest && state.complete) || state.forks.contains(&manifest.hash)
        })
    };
    let forks: Vec<_> = forks(refs)
        .into_iter()
        .filter(|manifest| !read(manifest))
        .collect();
    for fork in &forks {
        report.problems.push(Problem {
            key: fork.key(node),
            kind: ProblemKind::Conflict,
            detail: format!("sequence number conflict: device {node} has two histories at manifest {}; the records of both were read", fork.sequence),
        });
    }
    let mut floor = 0;
    if let Some(state) = known {
        if state.removed_by.is_some() && !outlives(refs, state.newest) {
            return None;
        }
        let up_to_date = state.newest == newest && state.complete;
        let behind = newest.sequence < state.newest.sequence && mode != PullMode::Force;
        if (up_to_date || behind) && forks.is_empty() {
            return None;
        }
        floor = if state.complete {
            state.newest.sequence
        } else {
            0
        };
    }
    let newest_first = refs
        .iter()
        .rev()
        .filter(|manifest| manifest.sequence >= floor || mode == PullMode::Force)
        .copied()
        .collect();
    Some((
        node,
        NewManifests {
            newest_first,
            forks,
        },
    ))
}

/// What others saw of a device that this store does not show.
fn withheld(
    own: &OwnState,
    listing: &Listing,
    known: &BTreeMap<NodeId, NodeState>,
    work: &BTreeMap<NodeId, (Work, Manifest)>,
) -> Vec<Problem> {
    let mut problems = vec![];
    for (by, (_, manifest)) in work {
        for (node, seen) in &manifest.seen {
            let shown = listing
                .nodes
                .get(node)
                .and_then(|refs| refs.last())
                .map_or(0, |manifest| manifest.sequence);
            let removed = known
                .get(node)
                .is_some_and(|state| state.removed_by.is_some())
                || own.removed.contains_key(node);
            if shown < seen.sequence && !removed && *node != own.node {
                problems.push(Problem {
                    key: format!("{MANIFESTS}{node}"),
                    kind: ProblemKind::Withheld,
                    detail: format!(
                        "device {by} saw manifest {} of device {node}, this store shows {shown}",
                        seen.sequence
                    ),
                });
            }
        }
    }
    problems
}

pub(crate) fn decode<R: Replica>(
    entry: &SegmentEntry,
    node: NodeId,
    plaintext: &[u8],
) -> Result<Vec<R::Record>, Problem> {
    R::decode(plaintext).map_err(|error| Problem {
        key: entry.key(node),
        kind: ProblemKind::Corrupt,
        detail: format!("its records cannot be read: {error}"),
    })
}

pub(crate) fn foreign(key: String) -> Problem {
    Problem {
        key,
        kind: ProblemKind::Foreign,
        detail: "no object of a vault has such a name".into(),
    }
}
