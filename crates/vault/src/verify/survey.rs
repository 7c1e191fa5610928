//! One reading of the store: every manifest, and which segments are there.
//!
//! What must hold: nothing is changed; what a listing cannot show is an error, never a short survey; lines that somebody took over
//! speak for nobody. What it deliberately does not do: read segments.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::TryStreamExt;
use store::Entry;

use super::VerifyReport;
use crate::device::foreign;
use crate::device::{Device, Step};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash};
use crate::lineage::Lineage;
use crate::manifest::{Manifest, ManifestRef, SegmentEntry, Takeover, forks, join_takeovers};
use crate::pull::twins;
use crate::push::is_begun_twice;
use crate::replica::Replica;
use crate::seal::{ObjectKind, Place};
use crate::state::{self, OwnState};
use crate::vault::{MANIFESTS, SEGMENTS};

impl<R: Replica> Device<'_, R> {
    /// Lists everything and reads every manifest.
    pub(crate) async fn survey(&mut self, report: &mut VerifyReport) -> Result<Survey, VaultError> {
        let listing = self.list_manifests(MANIFESTS).await?;
        let own = self.own()?;
        self.heed_emptiness(&own, &listing).await?;
        let conflict = self.conflict(&own, &listing).await?;
        let segments = self.list_segments(report).await?;
        report.problems.extend(listing.foreign.iter().cloned());
        self.name_litter(report).await?;
        let mut survey = Survey {
            lines: BTreeMap::new(),
            present: segments,
            manifests: listing.nodes,
            conflict,
        };
        let mut seen: BTreeMap<NodeId, ManifestRef> =
            state::load_nodes(self.replica, &self.state_keys)?
                .into_iter()
                .filter(|(_, state)| state.removed_by.is_none())
                .map(|(node, state)| (node, state.newest))
                .collect();
        seen.extend(own.newest.map(|newest| (own.node, newest)));
        report.problems.extend(
            seen.into_iter()
                .filter_map(|(node, seen)| survey.regression(node, seen)),
        );
        self.observer.step(Step::Phase("manifests"));
        for (node, refs) in &survey.manifests {
            if let Some(line) = self.survey_line(*node, refs, report).await? {
                survey.lines.insert(*node, line);
            }
        }
        report.problems.extend(self.still_withheld(&own, &survey)?);
        let removed = survey.leave_out_removed(&own);
        // What is left of those speaks for nobody, and need not be readable.
        report.problems.retain(|problem| {
            let of = Place::parse(&problem.key);
            let manifest = of.filter(|(place, _)| place.kind == ObjectKind::Manifest);
            let is_gone = manifest.is_some_and(|(place, _)| removed.contains(&place.node));
            problem.kind != ProblemKind::Corrupt || !is_gone
        });
        // Of a line that both machines began, this device's next sync goes on elsewhere by itself.
        let disputed = self.with_intended(&own)?;
        for (node, refs) in survey.standing() {
            let is_disputed = node == own.node && !is_begun_twice(&disputed, refs);
            let told = numbered_twice(node, refs, is_disputed);
            report.problems.extend(told);
        }
        report.devices = survey.lines.len() as u64;
        report.segments = survey
            .lines
            .values()
            .map(|line| line.live.len() as u64)
            .sum();
        Ok(survey)
    }

    async fn survey_line(
        &self,
        node: NodeId,
        refs: &[ManifestRef],
        report: &mut VerifyReport,
    ) -> Result<Option<Line>, VaultError> {
        let forks = forks(refs);
        let mut line: Option<Line> = None;
        let mut unread_heads = 0;
        let mut newer: Option<(ManifestRef, Option<ManifestRef>)> = None;
        let mut of_forks = vec![];
        let (mut lineage, mut heads) = (Lineage::default(), vec![]);
        for manifest_ref in refs.iter().rev() {
            let is_head = refs.last() == Some(manifest_ref) || forks.contains(manifest_ref);
            let manifest = match self.fetch_manifest(node, *manifest_ref).await? {
                Ok(manifest) => manifest,
                Err(problem) => {
                    unread_heads += u32::from(is_head);
                    report.problems.push(problem);
                    continue;
                }
            };
            report.manifests += 1;
            lineage.add(*manifest_ref, &manifest);
            heads.extend(is_head.then_some(*manifest_ref));
            // Where both of two histories are shown, that is said by their numbers.
            if let Some((newer, previous)) = newer
                && newer.sequence == manifest_ref.sequence + 1
                && previous != Some(*manifest_ref)
                && previous.is_none_or(|previous| !refs.contains(&previous))
            {
                report.problems.push(conflict(
                    newer.key(node),
                    format!(
                        "it does not follow on manifest {} ({})",
                        manifest_ref.sequence, manifest_ref.hash
                    ),
                ));
            }
            newer = Some((*manifest_ref, manifest.previous));
            if line.is_none() {
                line = Some(Line {
                    live: manifest.segments.clone(),
                    removed: manifest.removed.clone(),
                    manifest,
                    is_whole: false,
                    lineage: Lineage::default(),
                    heads: vec![],
                });
            } else if let Some(line) = &mut line
                && is_head
            {
                of_forks.extend(manifest.segments);
                join_takeovers(&mut line.removed, manifest.removed);
            }
        }
        if let Some(line) = &mut line {
            line.live.extend(of_forks);
            line.live
                .sort_by_key(|entry| (entry.first, entry.last, entry.hash));
            line.live.dedup_by_key(|entry| entry.hash);
            line.is_whole = unread_heads == 0;
            (line.lineage, line.heads) = (lineage, heads);
        }
        Ok(line)
    }

    /// Names what sync tools left: copies of objects under other names, most of all. In a bucket they leave nothing.
    async fn name_litter(&self, report: &mut VerifyReport) -> Result<(), VaultError> {
        let store = self.vault.store();
        if !store.is_folder() {
            return Ok(());
        }
        let listed: Result<Vec<Entry>, _> = store.list_stream("").try_collect().await;
        let all = listed.map_err(VaultError::store("the store could not be listed"))?;
        let litter = all.into_iter().filter(Entry::is_litter);
        report.problems.extend(litter.map(|entry| Problem {
            detail: "a sync tool or a desktop left it: it is ignored".into(),
            ..foreign(entry.key)
        }));
        Ok(())
    }

    async fn list_segments(
        &mut self,
        report: &mut VerifyReport,
    ) -> Result<BTreeMap<String, u64>, VaultError> {
        let entries: Vec<Entry> =
            self.vault
                .store()
                .list(SEGMENTS)
                .await
                .map_err(VaultError::store(
                    "the vault's segments could not be listed",
                ))?;
        let mut present = BTreeMap::new();
        for entry in entries {
            if matches!(
                Place::parse(&entry.key),
                Some((
                    Place {
                        kind: ObjectKind::Segment,
                        ..
                    },
                    _
                ))
            ) {
                present.insert(entry.key, entry.size);
            } else {
                report.problems.push(foreign(entry.key));
            }
        }
        Ok(present)
    }
}

/// All that one reading of the store shows.
pub(crate) struct Survey {
    /// The lines that nobody took over and of which a manifest can be read.
    pub(crate) lines: BTreeMap<NodeId, Line>,
    /// The segments that are there, with their sizes.
    pub(crate) present: BTreeMap<String, u64>,
    /// The manifests that are there.
    pub(crate) manifests: BTreeMap<NodeId, Vec<ManifestRef>>,
    /// What a push of this device would say of its own line, if it could not go on by itself.
    pub(crate) conflict: Option<VaultError>,
}

/// One node's manifests, read.
pub(crate) struct Line {
    /// The newest manifest that can be read.
    pub(crate) manifest: Manifest,
    /// The live segments: its own, and those of second histories.
    pub(crate) live: Vec<SegmentEntry>,
    /// What it took over, second histories included.
    pub(crate) removed: BTreeMap<NodeId, Takeover>,
    /// Whether the newest manifest there is, and every second history, could be read.
    pub(crate) is_whole: bool,
    lineage: Lineage,
    /// The newest manifest and that of every second history, those that could be read.
    heads: Vec<ManifestRef>,
}

impl Line {
    /// Whether these segments, which it names and which are gone, are not missed: all they held went on into others of it.
    pub(crate) fn accounts_for(&self, gone: &BTreeSet<ObjectHash>) -> bool {
        self.lineage.accounts_for(&self.heads, gone)
    }

    /// Its segments that are gone and missed.
    pub(crate) fn missed(&self, node: NodeId, survey: &Survey) -> Vec<Problem> {
        let is_gone = |entry: &&SegmentEntry| !survey.present.contains_key(&entry.key(node));
        let gone: Vec<&SegmentEntry> = self.live.iter().filter(is_gone).collect();
        if self.accounts_for(&gone.iter().map(|entry| entry.hash).collect()) {
            return vec![];
        }
        let missing = |entry: &SegmentEntry| Problem {
            key: entry.key(node),
            kind: ProblemKind::Missing,
            detail: "object not found: a manifest refers to it, but the store does not have it"
                .into(),
        };
        gone.into_iter().map(missing).collect()
    }
}

impl Survey {
    /// Whether a line shows less than was seen of it.
    fn regression(&self, node: NodeId, seen: ManifestRef) -> Option<Problem> {
        let shown = self.manifests.get(&node).and_then(|refs| refs.last());
        if shown.is_some_and(|shown| shown.sequence >= seen.sequence) {
            return None;
        }
        let shown = shown.map_or_else(|| "none".to_owned(), |shown| shown.sequence.to_string());
        Some(Problem {
            key: format!("{MANIFESTS}{node}"),
            kind: ProblemKind::Regression,
            detail: format!(
                "manifest sequence regression detected: manifest {} was seen before, the store now shows {shown}",
                seen.sequence
            ),
        })
    }

    /// The manifests that are there of the lines that nobody took over.
    fn standing(&self) -> impl Iterator<Item = (NodeId, &[ManifestRef])> {
        let all = self.manifests.iter();
        all.filter(|(node, _)| self.lines.contains_key(node))
            .map(|(node, refs)| (*node, refs.as_slice()))
    }

    /// Leaves the lines out that somebody took over: what is left of them speaks for nobody. Returns whose they are; this device's own it
    /// still has to clear up.
    fn leave_out_removed(&mut self, own: &OwnState) -> BTreeSet<NodeId> {
        let said: Vec<(NodeId, Takeover)> = self
            .lines
            .values()
            .flat_map(|line| &line.manifest.removed)
            .chain(&own.removed)
            .map(|(node, takeover)| (*node, takeover.clone()))
            .collect();
        let mut removed = BTreeSet::new();
        for (node, takeover) in said {
            if self
                .manifests
                .get(&node)
                .is_none_or(|refs| !takeover.is_outlived(refs))
            {
                self.lines.remove(&node);
                removed.extend((node != own.node).then_some(node));
            }
        }
        removed
    }
}

/// The numbers that two manifests of a line share. Of this device's own line (`is_disputed`) its person has to decide; of another's, that
/// one's.
fn numbered_twice(
    node: NodeId,
    refs: &[ManifestRef],
    is_disputed: bool,
) -> impl Iterator<Item = Problem> {
    let pairs = refs.windows(2);
    let pairs = pairs.filter(|pair| pair[0].sequence == pair[1].sequence);
    pairs.map(move |pair| {
        let number = pair[1].sequence;
        match is_disputed {
            true => conflict(
                pair[1].key(node),
                format!("this device has two manifests numbered {number}: another machine writes under the same identity"),
            ),
            false => twins(node, pair[1]),
        }
    })
}

fn conflict(key: String, what: String) -> Problem {
    Problem {
        key,
        kind: ProblemKind::Conflict,
        detail: format!("sequence number conflict: {what}"),
    }
}

/// The sizes of all segments that newest manifests name, by key.
pub(crate) fn named_sizes(survey: &Survey) -> BTreeMap<String, u64> {
    let lines = survey.lines.iter();
    lines
        .flat_map(|(node, line)| {
            line.live
                .iter()
                .map(|entry| (entry.key(*node), entry.bytes))
        })
        .collect()
}

/// The keys of all segments that newest manifests name.
pub(crate) fn live_keys(survey: &Survey) -> HashSet<String> {
    survey
        .lines
        .iter()
        .flat_map(|(node, line)| line.live.iter().map(|entry| entry.key(*node)))
        .collect()
}
