//! Manifests that another device saw and that this store does not show: withheld, or still under way.
//!
//! What must hold: what is known to be missing is said by every pull and verification until it is there, until its line was taken over, or
//! until a person accepts that it is not to be had. What it deliberately does not do: say who keeps it back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::{Device, Listing};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, ManifestRef};
use crate::pull::PullMode;
use crate::replica::Replica;
use crate::state::{self, NodeState, OwnState};
use crate::vault::MANIFESTS;
use crate::verify::Survey;

/// A manifest that somebody saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Missing {
    sequence: u64,
    by: NodeId,
    /// Whether a person has accepted that it is not there.
    accepted: bool,
}

type AllMissing = BTreeMap<NodeId, Missing>;

impl<R: Replica> Device<'_, R> {
    /// Notes what the manifests that were just read say of others, and names what this store does not show of it.
    pub(crate) fn heed_withheld<'m>(
        &mut self,
        own: &OwnState,
        listing: &Listing,
        known: &BTreeMap<NodeId, NodeState>,
        read: impl Iterator<Item = (NodeId, &'m Manifest)>,
        mode: PullMode,
    ) -> Result<Vec<Problem>, VaultError> {
        let before = self.missing()?;
        let mut missing = before.clone();
        for (by, manifest) in read {
            add(&mut missing, by, manifest);
        }
        let is_gone = |node: &NodeId| {
            let state = known.get(node);
            state.is_some_and(|state| state.removed_by.is_some()) || own.removed.contains_key(node)
        };
        missing.retain(|node, missing| {
            shown(listing.nodes.get(node)) < missing.sequence
                && !is_gone(node)
                && !is_own(own, node)
        });
        if mode == PullMode::Force || own.lenient {
            missing.values_mut().for_each(|one| one.accepted = true);
        }
        if missing != before {
            let key = self.state_keys.withheld();
            let change = match missing.is_empty() {
                true => state::forget(key),
                false => state::keep(key, &missing),
            };
            state::save(self.replica, &[change])?;
        }
        Ok(problems(&missing, &listing.nodes))
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
        for (by, line) in others {
            add(&mut missing, *by, &line.manifest);
        }
        let said = survey.lines.values().flat_map(|line| line.removed.keys());
        let gone: Vec<NodeId> = said.chain(own.removed.keys()).copied().collect();
        missing.retain(|node, missing| {
            shown(survey.manifests.get(node)) < missing.sequence
                && !gone.contains(node)
                && !is_own(own, node)
        });
        Ok(problems(&missing, &survey.manifests))
    }

    fn missing(&self) -> Result<AllMissing, VaultError> {
        Ok(state::load(self.replica, &self.state_keys.withheld())?.unwrap_or_default())
    }
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
