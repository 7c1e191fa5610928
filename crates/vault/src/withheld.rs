//! Manifests that another device saw and that this store does not show: withheld, or still under way.
//!
//! What must hold: what is known to be missing is said by every pull and verification until it is there, until its line was taken over, or
//! until a person accepts that it is not to be had. What a person accepted is passed on in this device's manifest, which nobody without the
//! key can make, so that it is not asked anew on each device that joins; there it is told, once by a pull and by every verification.
//!
//! An acceptance is of one manifest and those before it: whatever the line is known to have had beyond that is missed as ever. It never
//! hides that a line went back from a device that saw so itself, for that one may have records to publish again.
//! What it deliberately does not do: say who keeps it back; pass on what a reset took for granted, which no person looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::{Device, Listing};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, ManifestRef};
use crate::pull::PullMode;
use crate::replica::{Change, Replica};
use crate::state::{self, NodeState, OwnState};
use crate::vault::MANIFESTS;
use crate::verify::Survey;

/// A manifest that somebody saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Missing {
    sequence: u64,
    by: NodeId,
    /// Whether that it is not there is accepted.
    accepted: bool,
    /// On which device a person did so: what is passed on.
    #[serde(default)]
    accepted_on: Option<NodeId>,
}

type AllMissing = BTreeMap<NodeId, Missing>;

impl<R: Replica> Device<'_, R> {
    /// Notes what the manifests that were just read say of others, and names what this store does not show of it.
    pub(crate) fn heed_withheld<'m>(
        &mut self,
        own: &mut OwnState,
        listing: &Listing,
        known: &BTreeMap<NodeId, NodeState>,
        read: impl Iterator<Item = (NodeId, &'m Manifest)> + Clone,
        mode: PullMode,
    ) -> Result<Vec<Problem>, VaultError> {
        let before = self.missing()?;
        let mut missing = before.clone();
        add_all(&mut missing, read);
        missing.retain(|node, missing| is_missed(own, known, listing, node, missing));
        let mut changes = vec![];
        if mode == PullMode::Force {
            let asked = missing.values_mut().filter(|one| !one.is_passed_on());
            for one in asked {
                one.accepted = true;
                one.accepted_on = Some(own.node);
                own.outdated = true;
            }
        } else if own.lenient {
            missing.values_mut().for_each(|one| one.accepted = true);
        }
        if missing != before {
            changes.push(self.missing_change(&missing));
            changes.push(state::keep(self.state_keys.own(), own));
            state::save(self.replica, &changes)?;
        }
        let is_told = |(node, one): &(&NodeId, &Missing)| {
            let known = before.get(*node);
            known.is_some_and(|known| known.is_passed_on()) || one.accepted_on == Some(own.node)
        };
        let mut told = remarks(missing.iter().filter(|one| !is_told(one)), &listing.nodes);
        told.extend(problems(&missing, &listing.nodes));
        Ok(told)
    }

    /// Notes that a person accepted that a line which this device saw itself went back.
    pub(crate) fn accept_regression(
        &self,
        own: &mut OwnState,
        node: NodeId,
        sequence: u64,
    ) -> Result<Change, VaultError> {
        let mut missing = self.missing()?;
        accept(&mut missing, own.node, node, sequence);
        own.outdated = true;
        Ok(self.missing_change(&missing))
    }

    /// What this device's next manifest says that a person accepted, here or elsewhere: of each line the number of a manifest.
    pub(crate) fn accepted(&self) -> Result<BTreeMap<NodeId, u64>, VaultError> {
        let missing = self.missing()?.into_iter();
        let passed_on = missing.filter(|(_, one)| one.is_passed_on());
        Ok(passed_on.map(|(node, one)| (node, one.sequence)).collect())
    }

    /// What a store whose listing is this one still does not show, of what was missed when this device pulled last.
    pub(crate) fn not_shown(
        &self,
        own: &OwnState,
        known: &BTreeMap<NodeId, NodeState>,
        listing: &Listing,
    ) -> Result<Vec<Problem>, VaultError> {
        let mut missing = self.missing()?;
        missing.retain(|node, missing| is_missed(own, known, listing, node, missing));
        Ok(problems(&missing, &listing.nodes))
    }

    fn missing_change(&self, missing: &AllMissing) -> Change {
        let key = self.state_keys.withheld();
        match missing.is_empty() {
            true => state::forget(key),
            false => state::keep(key, missing),
        }
    }

    /// The same from all manifests that are there, without noting anything.
    pub(crate) fn still_withheld(
        &self,
        own: &OwnState,
        survey: &Survey,
    ) -> Result<Vec<Problem>, VaultError> {
        let mut missing = self.missing()?;
        // What this device saw itself and is not shown any more has gone back: that is said of it already.
        let others = survey.lines.iter().filter(|(by, _)| !is_own(own, by));
        add_all(&mut missing, others.map(|(by, line)| (*by, &line.manifest)));
        let said = survey.lines.values().flat_map(|line| line.removed.keys());
        let gone: Vec<NodeId> = said.chain(own.removed.keys()).copied().collect();
        missing.retain(|node, missing| {
            shown(survey.manifests.get(node)) < missing.sequence
                && !gone.contains(node)
                && !is_own(own, node)
        });
        let mut told = remarks(missing.iter(), &survey.manifests);
        told.extend(problems(&missing, &survey.manifests));
        Ok(told)
    }

    fn missing(&self) -> Result<AllMissing, VaultError> {
        Ok(state::load(self.replica, &self.state_keys.withheld())?.unwrap_or_default())
    }
}

impl Missing {
    fn is_passed_on(&self) -> bool {
        self.accepted && self.accepted_on.is_some()
    }
}

/// Adds what manifests say of others: first what was seen, then what was accepted of it, in whichever order they came.
fn add_all<'m>(
    missing: &mut AllMissing,
    read: impl Iterator<Item = (NodeId, &'m Manifest)> + Clone,
) {
    for (by, manifest) in read.clone() {
        add(missing, by, manifest);
    }
    for (by, manifest) in read {
        for (node, sequence) in &manifest.accepted {
            accept(missing, by, *node, *sequence);
        }
    }
}

/// A person accepted on device `by` that a manifest of `node`, and what came before it, is not to be had.
fn accept(missing: &mut AllMissing, by: NodeId, node: NodeId, sequence: u64) {
    let known = missing.get(&node);
    let is_said = |known: &Missing| known.sequence == sequence && known.is_passed_on();
    if known.is_some_and(|known| known.sequence > sequence || is_said(known)) {
        return;
    }
    let seen_by = known
        .filter(|known| known.sequence == sequence)
        .map_or(by, |known| known.by);
    let accepted = Missing {
        sequence,
        by: seen_by,
        accepted: true,
        accepted_on: Some(by),
    };
    missing.insert(node, accepted);
}

/// Whether a manifest is to be missed still.
fn is_missed(
    own: &OwnState,
    known: &BTreeMap<NodeId, NodeState>,
    listing: &Listing,
    node: &NodeId,
    missing: &Missing,
) -> bool {
    let state = known.get(node);
    let is_gone =
        state.is_some_and(|state| state.removed_by.is_some()) || own.removed.contains_key(node);
    shown(listing.nodes.get(node)) < missing.sequence && !is_gone && !is_own(own, node)
}

fn add(missing: &mut AllMissing, by: NodeId, manifest: &Manifest) {
    for (node, seen) in &manifest.seen {
        if missing
            .get(node)
            .is_none_or(|known| known.sequence < seen.sequence)
        {
            let seen = Missing {
                sequence: seen.sequence,
                by,
                accepted: false,
                accepted_on: None,
            };
            missing.insert(*node, seen);
        }
    }
}

/// What became of this device's own lines it knows better.
fn is_own(own: &OwnState, node: &NodeId) -> bool {
    *node == own.node || own.earlier.contains(node) || own.former.contains(node)
}

fn shown(refs: Option<&Vec<ManifestRef>>) -> u64 {
    refs.and_then(|refs| refs.last())
        .map_or(0, |manifest| manifest.sequence)
}

fn problems(missing: &AllMissing, listed: &BTreeMap<NodeId, Vec<ManifestRef>>) -> Vec<Problem> {
    let open = missing.iter().filter(|(_, missing)| !missing.accepted);
    open.map(|(node, missing)| Problem {
        key: format!("{MANIFESTS}{node}"),
        kind: ProblemKind::Withheld,
        detail: format!(
            "device {} saw manifest {} of device {node}, this store shows {}",
            missing.by,
            missing.sequence,
            shown(listed.get(node))
        ),
    })
    .collect()
}

/// What was accepted, in words: unless nobody but who accepted it says that it ever was.
fn remarks<'m>(
    missing: impl Iterator<Item = (&'m NodeId, &'m Missing)>,
    listed: &BTreeMap<NodeId, Vec<ManifestRef>>,
) -> Vec<Problem> {
    let remark = |(node, missing): (&NodeId, &Missing)| {
        let is_missed = |on: &NodeId| missing.accepted && *on != missing.by;
        let on = missing.accepted_on.filter(is_missed)?;
        Some(Problem {
            key: format!("{MANIFESTS}{node}"),
            kind: ProblemKind::Accepted,
            detail: format!(
                "device {} saw manifest {} of device {node}, this store shows {}: a person accepted on device {on} that it is not to be had, so it is not waited for; if it comes back it is read",
                missing.by,
                missing.sequence,
                shown(listed.get(node))
            ),
        })
    };
    missing.filter_map(remark).collect()
}
