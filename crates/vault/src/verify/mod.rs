//! Verification: re-read what is in the store, authenticate it, and say of every object what it is.
//!
//! What must hold: nothing is changed, neither in the store nor in the database (but for the note of what was found); every object
//! under the vault's keys is accounted for.
//! What it deliberately does not do: repair (see `maintain`).

mod survey;

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use futures::stream;
use serde::{Deserialize, Serialize};
use store::Entry;

use crate::device::{Device, MANIFESTS, SEGMENTS, Step, fetch};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, RecordId};
use crate::manifest::{Manifest, ManifestRef, SegmentEntry, forks, outlives};
use crate::pull::{decode, foreign};
use crate::replica::Replica;
use crate::seal::{ObjectKind, Place};
use crate::state::{self, OwnState};

/// How deep a verification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Manifests, and whether every segment they name is there with the right size.
    Manifest,
    /// Also every segment, every byte.
    Full,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Devices in the vault, this one included.
    pub devices: u64,
    /// Manifests read and authenticated.
    pub manifests: u64,
    /// Live segments.
    pub segments: u64,
    /// Bytes of the objects that were read.
    pub bytes_read: u64,
    /// Records in the segments that were read.
    pub records: u64,
    /// Objects that wait for their removal or belong to nobody: orphans.
    pub orphans: u64,
    /// Forgotten records that are still in some object.
    pub forgotten_left: u64,
    /// What is wrong or remarkable, per object.
    pub problems: Vec<Problem>,
}

/// All that one reading of the store shows.
pub(crate) struct Survey {
    /// The lines that nobody took over and of which a manifest can be read.
    pub(crate) lines: BTreeMap<NodeId, Line>,
    /// The segments that are there, with their sizes.
    pub(crate) present: BTreeMap<String, u64>,
    /// The manifests that are there.
    pub(crate) manifests: BTreeMap<NodeId, Vec<ManifestRef>>,
}

/// One node's manifests, read.
pub(crate) struct Line {
    /// The newest that can be read.
    pub(crate) newest: ManifestRef,
    /// What that one says.
    pub(crate) manifest: Manifest,
    /// The live segments: its own, and those of second histories.
    pub(crate) live: Vec<SegmentEntry>,
    /// Whether the newest manifest there is, and every second history, could be read.
    pub(crate) is_whole: bool,
}

impl Survey {
    /// Leaves the lines out that somebody took over: what is left of them speaks for nobody.
    fn leave_out_removed(&mut self, own: &OwnState) {
        let said: Vec<(NodeId, ManifestRef)> = self
            .lines
            .values()
            .flat_map(|line| &line.manifest.removed)
            .chain(&own.removed)
            .map(|(node, at)| (*node, *at))
            .collect();
        for (node, at) in said {
            if self
                .manifests
                .get(&node)
                .is_none_or(|refs| !outlives(refs, at))
            {
                self.lines.remove(&node);
            }
        }
    }
}

impl VerifyReport {
    /// Whether everything that manifests name can be read.
    pub fn is_sound(&self) -> bool {
        !self
            .problems
            .iter()
            .any(|problem| problem.kind.is_serious())
    }
}

impl<R: Replica> Device<'_, R> {
    /// Re-reads the vault.
    ///
    /// # Errors
    /// The store's, the database's, or a key that this device lacks. What is wrong with single objects is in the report.
    pub async fn verify(&mut self, mode: VerifyMode) -> Result<VerifyReport, VaultError> {
        self.vault.check_file().await?;
        let mut report = VerifyReport::default();
        let survey = self.survey(&mut report).await?;
        self.check_presence(&survey, &mut report);
        if mode == VerifyMode::Full {
            let keys: Vec<_> = survey
                .present
                .keys()
                .filter(|key| key.starts_with(SEGMENTS))
                .cloned()
                .collect();
            let live = live_keys(&survey);
            self.read_segments(keys, |this, key, outcome| {
                this.observe_segment(key, outcome, live.contains(key), &mut report)
            })
            .await?;
        }
        report
            .problems
            .sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        report.problems.dedup();
        let serious: Vec<_> = report
            .problems
            .iter()
            .filter(|problem| problem.kind.is_serious())
            .cloned()
            .collect();
        state::save(
            self.replica,
            &[state::quarantine_change(&self.state_keys, &serious)],
        )?;
        Ok(report)
    }

    /// Lists everything and reads every manifest.
    pub(crate) async fn survey(&mut self, report: &mut VerifyReport) -> Result<Survey, VaultError> {
        let listing = self.list_manifests(MANIFESTS).await?;
        let own = self.own()?;
        let segments = self.list_segments(report).await?;
        report
            .problems
            .extend(listing.foreign.iter().cloned().map(foreign));
        let mut survey = Survey {
            lines: BTreeMap::new(),
            present: segments,
            manifests: listing.nodes,
        };
        let mut known = state::load_nodes(self.replica, &self.state_keys)?;
        known.retain(|_, state| state.removed_by.is_none());
        for node in known
            .keys()
            .filter(|node| !survey.manifests.contains_key(node))
        {
            report.problems.push(Problem { key: format!("{MANIFESTS}{node}"), kind: ProblemKind::Regression, detail: "manifest sequence regression detected: a device that was seen before has no manifest in the store".into() });
        }
        if own.newest.is_some() && !survey.manifests.contains_key(&own.node) {
            report.problems.push(Problem { key: format!("{MANIFESTS}{}", own.node), kind: ProblemKind::Regression, detail: "manifest sequence regression detected: the manifests of this device are gone from the store".into() });
        }
        self.observer.step(Step::Phase("manifests"));
        for (node, refs) in &survey.manifests {
            if let Some(line) = self.survey_line(*node, refs, report).await? {
                survey.lines.insert(*node, line);
            }
        }
        survey.leave_out_removed(&own);
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
            if let Some((newer, previous)) = newer
                && newer.sequence == manifest_ref.sequence + 1
                && previous != Some(*manifest_ref)
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
                    newest: *manifest_ref,
                    live: manifest.segments.clone(),
                    manifest,
                    is_whole: false,
                });
            } else if forks.contains(manifest_ref) {
                of_forks.extend(manifest.segments);
            }
        }
        for pair in refs
            .windows(2)
            .filter(|pair| pair[0].sequence == pair[1].sequence)
        {
            report.problems.push(conflict(
                pair[1].key(node),
                format!(
                    "device {node} has two manifests numbered {}",
                    pair[1].sequence
                ),
            ));
        }
        if let Some(line) = &mut line {
            line.live.extend(of_forks);
            line.live
                .sort_by_key(|entry| (entry.first, entry.last, entry.hash));
            line.live.dedup_by_key(|entry| entry.hash);
            line.is_whole = unread_heads == 0;
        }
        Ok(line)
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

    fn check_presence(&self, survey: &Survey, report: &mut VerifyReport) {
        let live = live_keys(survey);
        for (node, line) in &survey.lines {
            for entry in &line.live {
                let key = entry.key(*node);
                match survey.present.get(&key) {
                    None => report.problems.push(Problem {
                        key,
                        kind: ProblemKind::Missing,
                        detail: format!(
                            "object not found: {} records of device {node} are not in the store",
                            entry.records
                        ),
                    }),
                    Some(size) if *size != entry.bytes => {
                        report.problems.push(Problem {
                            key,
                            kind: ProblemKind::Corrupt,
                            detail: format!("it has {size} bytes instead of {}", entry.bytes),
                        });
                    }
                    Some(_) => {}
                }
            }
        }
        for key in survey.present.keys().filter(|key| !live.contains(*key)) {
            report.orphans += 1;
            report.problems.push(Problem {
                key: key.clone(),
                kind: ProblemKind::Orphan,
                detail: "no newest manifest names it: replaced, or left by an interrupted push"
                    .into(),
            });
        }
    }

    fn observe_segment(
        &mut self,
        key: &str,
        outcome: Result<(u64, Vec<R::Record>), Problem>,
        live: bool,
        report: &mut VerifyReport,
    ) -> Result<(), VaultError> {
        match outcome {
            Err(problem) => report.problems.push(problem),
            Ok((bytes, records)) => {
                report.bytes_read += bytes;
                report.records += if live { records.len() as u64 } else { 0 };
                let mut left = 0;
                for record in &records {
                    left += u64::from(self.replica.is_forgotten(record).map_err(|source| {
                        VaultError::Replica {
                            doing: "look a record up",
                            source,
                        }
                    })?);
                }
                if left > 0 {
                    report.forgotten_left += left;
                    report.problems.push(Problem {
                        key: key.to_owned(),
                        kind: ProblemKind::Forgotten,
                        detail: format!("{left} forgotten records are still in it"),
                    });
                }
            }
        }
        Ok(())
    }

    /// Fetches, opens and decodes segments side by side, and hands each to `see`.
    pub(crate) async fn read_segments<F>(
        &mut self,
        keys: Vec<String>,
        mut see: F,
    ) -> Result<(), VaultError>
    where
        F: FnMut(&mut Self, &str, Result<(u64, Vec<R::Record>), Problem>) -> Result<(), VaultError>,
    {
        self.observer.step(Step::Phase("verify"));
        self.observer.step(Step::Planned {
            objects: keys.len() as u64,
            bytes: 0,
            records: 0,
        });
        let vault = self.vault;
        let mut fetched = stream::iter(keys)
            .map(|key| async move {
                let outcome = fetch(vault, &key).await;
                (key, outcome)
            })
            .buffered(self.options.downloads.max(1));
        while let Some((key, outcome)) = fetched.next().await {
            let outcome = outcome?.and_then(|plaintext| {
                let (place, hash) =
                    Place::parse(&key).expect("only keys of segments were asked for");
                let entry = SegmentEntry {
                    first: place.first,
                    last: place.last,
                    hash,
                    records: 0,
                    bytes: 0,
                    raw_bytes: 0,
                    newest: 0,
                    replaces: vec![],
                };
                Ok((
                    plaintext.len() as u64,
                    decode::<R>(&entry, place.node, &plaintext)?,
                ))
            });
            self.observer.step(Step::Moved {
                bytes: outcome.as_ref().map_or(0, |(bytes, _)| *bytes),
                records: 0,
            });
            see(self, &key, outcome)?;
        }
        Ok(())
    }
}

fn conflict(key: String, what: String) -> Problem {
    Problem {
        key,
        kind: ProblemKind::Conflict,
        detail: format!("sequence number conflict: {what}"),
    }
}

/// The keys of all segments that newest manifests name.
pub(crate) fn live_keys(survey: &Survey) -> HashSet<String> {
    survey
        .lines
        .iter()
        .flat_map(|(node, line)| line.live.iter().map(|entry| entry.key(*node)))
        .collect()
}

/// The ids in a batch.
pub(crate) fn ids<'a, R: Replica + 'a>(
    records: &'a [R::Record],
) -> impl Iterator<Item = RecordId> + 'a {
    records.iter().map(R::id)
}
