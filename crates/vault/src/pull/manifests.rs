//! Which manifests are new, and which segments they name that were not applied yet.
//!
//! What must hold: names alone decide what is fetched; a manifest that cannot be read is named, and an older one is read in its place.
//! What it deliberately does not do: fetch segments.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;

use super::{PullMode, PullReport, Work};
use crate::device::{Device, Listing, Step};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, ManifestRef, SegmentEntry, forks};
use crate::replica::{Replica, Source};
use crate::seal::Place;
use crate::state::{NodeState, OwnState};

impl<R: Replica> Device<'_, R> {
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
        // What became of its own earlier lines this device was told when it left them, and the other machine is told in turn. Of a line that
        // somebody took over nothing is to be done.
        let is_over = |node: &NodeId| {
            let refs = listing.nodes.get(node).map_or(&[][..], Vec::as_slice);
            let is_ours = own
                .removed
                .get(node)
                .is_some_and(|at| !at.is_outlived(refs));
            let is_removed = known.get(node).is_some_and(|state| state.is_removed(refs));
            is_ours || is_removed || own.earlier.contains(node)
        };
        report.problems.retain(|problem| {
            let of = Place::parse(&problem.key).map(|(place, _)| place.node);
            problem.kind != ProblemKind::Twins || of.is_none_or(|of| !is_over(&of))
        });
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
            let failed = !problems.is_empty();
            report.problems.extend(problems);
            let Some((manifest_ref, manifest, forks)) = found else {
                continue;
            };
            let listed = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
            report.problems.extend(
                known.get(&node).and_then(|before| {
                    other_history((node, listed), before, manifest_ref, &manifest)
                }),
            );
            // What this device has of a line that is disputed, or that it took over, it keeps publishing itself.
            let is_ours_too = own.is_ours_too(node);
            let source = Source::Vault {
                unpublished_above: if is_ours_too { u64::MAX } else { floor },
            };
            let mut share = Work::new(manifest_ref, &manifest, &forks, known.get(&node), source);
            share.keep_end_seen(known.get(&node), listed);
            share.failed = failed;
            known.insert(node, share.state.clone());
            work.insert(node, (share, manifest));
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
}

impl Work {
    fn new(
        newest: ManifestRef,
        manifest: &Manifest,
        forks: &[(ManifestRef, Manifest)],
        before: Option<&NodeState>,
        source: Source,
    ) -> Self {
        let mut state = NodeState::read(
            manifest,
            newest,
            before.map_or_else(Vec::new, |state| state.applied.clone()),
        );
        state.forks = before.map_or_else(Vec::new, |state| state.forks.clone());
        let all = || {
            manifest
                .segments
                .iter()
                .chain(forks.iter().flat_map(|(_, fork)| &fork.segments))
        };
        let applied: BTreeSet<_> = state.applied.iter().copied().collect();
        let is_known = |entry: &&SegmentEntry| {
            applied.contains(&entry.hash)
                || (!entry.replaces.is_empty()
                    && entry.replaces.iter().all(|hash| applied.contains(hash)))
        };
        let mut missing: Vec<_> = all().filter(|entry| !is_known(entry)).cloned().collect();
        missing.sort_by_key(|entry| entry.hash);
        missing.dedup_by_key(|entry| entry.hash);
        let live = all().map(|entry| entry.hash).collect();
        let forks = forks.iter().map(|(fork, _)| fork.hash).collect();
        Self {
            state,
            live,
            forks,
            missing,
            source,
            failed: false,
        }
    }

    /// Where the newest manifest that was read before turns out to be one of two with its number, it is not to be read again.
    fn keep_end_seen(&mut self, before: Option<&NodeState>, listed: &[ManifestRef]) {
        let seen = before.filter(|before| before.complete);
        let seen = seen.map(|before| before.newest);
        let is_fork = |seen: &ManifestRef| forks(listed).contains(seen);
        let seen = seen.filter(is_fork).map(|seen| seen.hash);
        self.state.forks.extend(seen);
    }
}

/// Whether a manifest does not go on from the one that was seen before, and that is not shown any more: then there is a second history,
/// of which this store shows one. Where it shows both, that was said already.
fn other_history(
    (node, listed): (NodeId, &[ManifestRef]),
    before: &NodeState,
    newest: ManifestRef,
    manifest: &Manifest,
) -> Option<Problem> {
    if listed.contains(&before.newest) {
        return None;
    }
    let [seen, shown] = [
        Some(before.newest),
        manifest
            .previous
            .filter(|previous| previous.sequence == before.newest.sequence),
    ];
    let replaced = newest.sequence == before.newest.sequence && newest != before.newest;
    if before.removed_by.is_some() || !(replaced || (shown.is_some() && shown != seen)) {
        return None;
    }
    Some(Problem {
        key: newest.key(node),
        kind: ProblemKind::Conflict,
        detail: format!(
            "sequence number conflict: device {node} has another manifest {} than was seen before",
            before.newest.sequence
        ),
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

/// What is said of manifests that share their number with another, or come from a history that the newest has left far behind, where not
/// all of them were `read` yet.
fn second_histories(
    node: NodeId,
    refs: &[ManifestRef],
    read: impl Fn(&ManifestRef) -> bool,
) -> Vec<Problem> {
    let forks = forks(refs);
    let of = |number: u64| refs.iter().filter(move |one| one.sequence == number);
    let numbers: BTreeSet<u64> = forks.iter().map(|fork| fork.sequence).collect();
    let told = numbers.into_iter().filter_map(|number| {
        let unread = of(number).rfind(|one| !read(one))?;
        Some(match of(number).count() {
            1 => Problem {
                key: unread.key(node),
                kind: ProblemKind::Conflict,
                detail: format!("sequence number conflict: device {node} has a second history that ends with manifest {number}; the records of both were read"),
            },
            _ => twins(node, *unread),
        })
    });
    told.collect()
}

/// What is said of one of two manifests with one number.
pub(crate) fn twins(node: NodeId, one: ManifestRef) -> Problem {
    Problem {
        key: one.key(node),
        kind: ProblemKind::Twins,
        detail: format!(
            "two machines write as device {node}: both have a manifest {}; what both wrote is read",
            one.sequence
        ),
    }
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
    report.problems.extend(second_histories(node, refs, read));
    let mut floor = 0;
    if let Some(state) = known {
        if state.is_removed(refs) {
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
