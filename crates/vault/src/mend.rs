//! Mending: comparing every segment there is with the local database, and marking for publication what the vault cannot show.
//!
//! What must hold: a line's records vanish only after one other line took over all of them; a line is taken over as far as it was seen
//! and no further; the changed line and the new numbers are one transaction, so that no record counts as published in a segment
//! that is given up.
//! What it deliberately does not do: write to the store. The next push does, and until it has, nothing of a leaving line is touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::device::{Device, Step};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash, RecordId};
use crate::maintain::{Removal, RepairReport};
use crate::manifest::{ManifestRef, SegmentEntry, Takeover, forks, join_takeovers};
use crate::push::check_line;
use crate::replica::{Change, Replica, Source};
use crate::seal::Place;
use crate::state::{self, Leaving, NodeState, OwnState};
use crate::vault::MANIFESTS;
use crate::verify::{Line, Survey, VerifyReport, ids, live_keys, named_sizes};

/// What a reading of all segments showed.
#[derive(Default)]
struct Shown {
    readable: HashSet<String>,
    in_own: HashSet<RecordId>,
    in_others: HashSet<RecordId>,
    in_leaving: HashSet<RecordId>,
    /// Segments of those that leave that were applied here before: this device publishes their records, whether they can be read or not.
    applied: HashSet<ObjectHash>,
    /// Those that leave of which everything was applied here, up to the newest manifest that was seen.
    whole: BTreeMap<NodeId, Seen>,
    /// Whether a live segment of this device's own holds what was forgotten.
    is_stained: bool,
}

/// A line of which everything was applied here before.
struct Seen {
    state: NodeState,
    /// What it had taken over.
    removed: BTreeMap<NodeId, Takeover>,
}

impl Seen {
    /// Whether the store shows nothing of it beyond what was read, so that it is known whether a manifest can be read now or not.
    fn is_all(&self, refs: &[ManifestRef]) -> bool {
        let newest = self.state.newest;
        let is_read = |fork: &ManifestRef| *fork == newest || self.state.forks.contains(&fork.hash);
        refs.last() == Some(&newest) && forks(refs).iter().all(is_read)
    }
}

/// What becomes of this device's own line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on.
    Stays,
    /// The store lost its end: a new line takes the rest over.
    Lost,
    /// Somebody else writes there: it is left alone, and a new line begins.
    Disputed,
}

impl<R: Replica> Device<'_, R> {
    /// Mends what can be mended in the local database.
    pub(crate) async fn mend_here(
        &mut self,
        remove: Option<Removal>,
    ) -> Result<RepairReport, VaultError> {
        let own = self.stay()?;
        let mut seen = VerifyReport::default();
        let survey = self.survey(&mut seen).await?;
        let fate = self.fate(&own, &survey)?;
        if fate == Fate::Disputed {
            self.observer.step(Step::Parted);
        }
        let itself = Removal {
            node: own.node,
            gives_up_unreadable: true,
        };
        let mut removals: Vec<Removal> = remove
            .into_iter()
            .filter(|removal| removal.node != own.node)
            .collect();
        removals.extend(
            (fate == Fate::Lost && survey.manifests.contains_key(&own.node)).then_some(itself),
        );
        let mut report = RepairReport::default();
        let mut shown = self.take_in(&own, &survey, &removals, &mut report).await?;
        shown.note_seen(
            &removals,
            &state::load_nodes(self.replica, &self.state_keys)?,
        );
        report.problems.extend(
            seen.problems
                .into_iter()
                .filter(|problem| problem.kind.is_serious()),
        );
        let others = survey.lines.iter().filter(|(node, _)| **node != own.node);
        report
            .problems
            .extend(others.flat_map(|(node, line)| line.missed(*node, &survey)));
        let mut leaving = vec![];
        for removal in removals {
            match shown.leaving(&survey, removal) {
                Ok(taken_over) => {
                    report.removed |= removal.node != own.node;
                    report.given_up += shown.given_up(&survey, removal.node);
                    leaving.push((removal.node, taken_over));
                }
                Err(problem) => {
                    report.problems.push(problem);
                    return Ok(report);
                }
            }
        }
        if fate == Fate::Stays {
            report.cleared = damaged(&own, &report).len() as u64;
        }
        let changes = self.mended(own, fate, &survey, &shown, leaving, &report);
        report.republished = self
            .replica
            .republish_all_but(&shown.ids(), &changes)
            .map_err(|source| VaultError::Replica {
                doing: "mark what is missing from the vault",
                source,
            })?;
        Ok(report)
    }

    /// Gives takeovers up that were not published yet: nothing of theirs was touched, and they are decided anew.
    fn stay(&mut self) -> Result<OwnState, VaultError> {
        let mut own = self.own()?;
        if !own.leaving.is_empty() {
            own.leaving.clear();
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        }
        Ok(own)
    }

    fn fate(&self, own: &OwnState, survey: &Survey) -> Result<Fate, VaultError> {
        let found = survey
            .manifests
            .get(&own.node)
            .map_or(&[][..], Vec::as_slice);
        Ok(match check_line(&self.with_intended(own)?, found) {
            Ok(()) => Fate::Stays,
            Err(VaultError::Regression { .. }) => Fate::Lost,
            Err(_) => Fate::Disputed,
        })
    }

    /// Applies every readable segment, and tells what is where.
    async fn take_in(
        &mut self,
        own: &OwnState,
        survey: &Survey,
        removals: &[Removal],
        report: &mut RepairReport,
    ) -> Result<Shown, VaultError> {
        let mut live = live_keys(survey);
        // This device knows what is live of its own, even if its newest manifest cannot be read.
        live.extend(own.live.iter().map(|segment| segment.entry.key(own.node)));
        let leaving: BTreeSet<NodeId> = removals.iter().map(|removal| removal.node).collect();
        let floor = self.published_floor(own)?;
        let mut shown = Shown::default();
        self.read_segments(
            &survey.present,
            &named_sizes(survey),
            |this, key, outcome| {
                let records = match outcome {
                    Err(problem) => {
                        report.problems.push(problem);
                        return Ok(());
                    }
                    Ok((_, records)) => records,
                };
                let node = Place::parse(key)
                    .expect("only keys of segments were asked for")
                    .0
                    .node;
                let (is_live, leaves) = (live.contains(key), leaving.contains(&node));
                let is_shown = is_live && !own.is_on_own_account(key);
                shown.note(
                    key,
                    (is_shown, leaves, node == own.node),
                    ids::<R>(&records),
                );
                shown.is_stained |=
                    is_live && node == own.node && this.holds_forgotten(&records)?;
                let is_ours_too = own.is_ours_too(node);
                let source = if !is_live || leaves || node == own.node {
                    Source::Salvage
                } else {
                    Source::Vault {
                        unpublished_above: if is_ours_too { u64::MAX } else { floor },
                    }
                };
                let applied = this.replica.apply(records, source, &[]).map_err(|source| {
                    VaultError::Replica {
                        doing: "apply what was read",
                        source,
                    }
                })?;
                report.recovered += applied.added;
                Ok(())
            },
        )
        .await?;
        Ok(shown)
    }

    /// This device's line without what cannot be read of it, or a new line, and with the nodes that leave.
    fn mended(
        &self,
        own: OwnState,
        fate: Fate,
        survey: &Survey,
        shown: &Shown,
        leaving: Vec<(NodeId, Leaving)>,
        report: &RepairReport,
    ) -> Vec<Change> {
        let mut changes = vec![state::forget(self.state_keys.progress())];
        let mut next = OwnState {
            lacking: false,
            ..own
        };
        if fate == Fate::Stays {
            let named = next.live.len();
            next.live.retain(|segment| {
                let key = segment.entry.key(next.node);
                survey.present.get(&key) == Some(&segment.entry.bytes)
                    && shown.readable.contains(&key)
            });
            let damaged = damaged(&next, report);
            let newest = next.newest.map(|newest| newest.key(next.node));
            next.stained |= shown.is_stained;
            next.outdated |=
                next.live.len() < named || damaged.iter().any(|key| Some(key) == newest.as_ref());
            next.discard(damaged, i64::MIN, true);
        } else {
            next = next.reborn((self.options.new_node)(), true);
            changes.push(state::forget(self.state_keys.intent()));
        }
        for (node, leaving) in leaving {
            changes.push(state::forget(self.state_keys.node(node)));
            next.leaving.insert(node, leaving);
        }
        changes.push(state::keep(self.state_keys.own(), &next));
        changes
    }
}

/// Objects of this device's own line whose bytes are wrong: nobody can use them, so they need not wait for slow readers.
fn damaged(own: &OwnState, report: &RepairReport) -> Vec<String> {
    let of_own = |key: &str| Place::parse(key).is_some_and(|(place, _)| place.node == own.node);
    report
        .problems
        .iter()
        .filter(|problem| problem.kind == ProblemKind::Corrupt && of_own(&problem.key))
        .map(|problem| problem.key.clone())
        .collect()
}

impl Shown {
    /// Takes note of what was applied here before of those that leave.
    fn note_seen(&mut self, removals: &[Removal], known: &BTreeMap<NodeId, NodeState>) {
        for Removal { node, .. } in removals {
            let Some(state) = known.get(node) else {
                continue;
            };
            self.applied.extend(&state.applied);
            if state.complete && state.removed_by.is_none() {
                let theirs = known.iter().filter(|(_, of)| of.removed_by == Some(*node));
                let removed = theirs
                    .filter_map(|(heir, of)| Some((*heir, of.taken_over()?)))
                    .collect();
                let state = state.clone();
                self.whole.insert(*node, Seen { state, removed });
            }
        }
    }

    fn note(
        &mut self,
        key: &str,
        (is_live, leaves, is_own): (bool, bool, bool),
        ids: impl Iterator<Item = RecordId>,
    ) {
        self.readable.insert(key.to_owned());
        match (is_live, leaves, is_own) {
            (_, true, _) => self.in_leaving.extend(ids),
            (true, _, true) => self.in_own.extend(ids),
            (true, _, false) => self.in_others.extend(ids),
            _ => {}
        }
    }

    /// What need not be published again.
    ///
    /// What a leaving node has counts only if this device's own line has it too. That another node has it is not enough: somebody may
    /// be removing that one at this moment.
    fn ids(mut self) -> HashSet<RecordId> {
        self.in_own
            .extend(self.in_others.difference(&self.in_leaving));
        self.in_own
    }

    /// What is to be said about a node that leaves, or why it cannot leave.
    fn leaving(&self, survey: &Survey, removal: Removal) -> Result<Leaving, Problem> {
        let node = removal.node;
        let refused = |why: &str| Problem {
            key: format!("{MANIFESTS}{node}"),
            kind: ProblemKind::Missing,
            detail: format!("{why}, so nothing was removed"),
        };
        let refs = |node: &NodeId| survey.manifests.get(node).map_or(&[][..], Vec::as_slice);
        let line = survey.lines.get(&node);
        let seen = self
            .whole
            .get(&node)
            .filter(|seen| seen.is_all(refs(&node)));
        let (Some(mut takeover), true) = (
            Takeover::of(refs(&node)),
            line.is_some() || seen.is_some() || removal.gives_up_unreadable,
        ) else {
            return Err(refused("no manifest of this device can be read"));
        };
        let is_read =
            seen.is_some() || line.is_some_and(|line| self.has_all_of(survey, node, line));
        if !is_read && !removal.gives_up_unreadable {
            return Err(refused("not everything of this device can be read now"));
        }
        takeover.is_partial = !is_read;
        let mut removed = line.map(|line| line.removed.clone()).unwrap_or_default();
        join_takeovers(
            &mut removed,
            seen.map(|seen| seen.removed.clone()).unwrap_or_default(),
        );
        let heirs: Vec<NodeId> = removed.keys().copied().chain([node]).collect();
        let live: Vec<&SegmentEntry> = line.iter().flat_map(|line| &line.live).collect();
        let keys = self.keys_that_go(survey, removal, &heirs, (&live, seen));
        let is_held = |entry: &&&SegmentEntry| {
            self.readable.contains(&entry.key(node)) || self.applied.contains(&entry.hash)
        };
        Ok(Leaving {
            takeover,
            keys,
            held: live
                .iter()
                .filter(is_held)
                .map(|entry| entry.hash)
                .chain(
                    seen.into_iter()
                        .flat_map(|seen| seen.state.applied.iter().copied()),
                )
                .collect(),
            removed,
        })
    }

    /// The objects of a node that leaves, and of those that it had taken over, that go with it: what cannot be read goes as well where it is
    /// here, or is given up.
    fn keys_that_go(
        &self,
        survey: &Survey,
        removal: Removal,
        heirs: &[NodeId],
        (live, seen): (&[&SegmentEntry], Option<&Seen>),
    ) -> Vec<String> {
        let node = removal.node;
        let is_theirs =
            |key: &&String| Place::parse(key).is_some_and(|(place, _)| heirs.contains(&place.node));
        let manifest_keys = |node: &NodeId| {
            let refs = survey.manifests.get(node).map_or(&[][..], Vec::as_slice);
            refs.iter()
                .map(|manifest: &ManifestRef| manifest.key(*node))
                .collect::<Vec<_>>()
        };
        let applied: HashSet<String> = live
            .iter()
            .filter(|entry| self.applied.contains(&entry.hash))
            .map(|entry| entry.key(node))
            .collect();
        let is_seen =
            |hash: &ObjectHash| seen.is_some_and(|seen| seen.state.applied.contains(hash));
        let goes = |key: &&String| {
            let its = Place::parse(key).filter(|(place, _)| place.node == node);
            self.readable.contains(*key)
                || applied.contains(*key)
                || its.is_some_and(|(_, hash)| removal.gives_up_unreadable || is_seen(&hash))
        };
        let present = survey.present.keys().filter(is_theirs);
        let mut keys: Vec<String> = present.filter(goes).cloned().collect();
        keys.extend(heirs.iter().flat_map(manifest_keys));
        keys.sort();
        keys
    }

    /// Whether all of a line was read now or before, or is not missed. What cannot be read now may be there tomorrow: a synced folder is
    /// still catching up, say.
    fn has_all_of(&self, survey: &Survey, node: NodeId, line: &Line) -> bool {
        let is_unread = |entry: &&SegmentEntry| {
            !self.readable.contains(&entry.key(node)) && !self.applied.contains(&entry.hash)
        };
        let is_gone = |entry: &SegmentEntry| !survey.present.contains_key(&entry.key(node));
        let unread: Vec<_> = line.live.iter().filter(is_unread).collect();
        let gone: BTreeSet<_> = unread.iter().map(|entry| entry.hash).collect();
        line.is_whole
            && (unread.is_empty()
                || (unread.iter().all(|entry| is_gone(entry)) && line.accounts_for(&gone)))
    }

    /// How many records the segments of a node hold, at most, that can be neither read nor had from here.
    fn given_up(&self, survey: &Survey, node: NodeId) -> u64 {
        let live = survey
            .lines
            .get(&node)
            .into_iter()
            .flat_map(|line| &line.live);
        let is_lost = |entry: &&SegmentEntry| {
            !self.readable.contains(&entry.key(node)) && !self.applied.contains(&entry.hash)
        };
        live.filter(is_lost).map(|entry| entry.records).sum()
    }
}
