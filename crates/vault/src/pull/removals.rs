//! What changes about who is in the vault: devices that others took over, and lines that are shorter than they were.
//!
//! What must hold: a line counts as taken over only as far as the takeover says; of one that was given up in part, whoever has applied any of it
//! publishes what the vault cannot show; a device that finds itself taken over goes on under a
//! new identity; a line that went back is named until a person accepts it. What it deliberately does not do: touch the store.

use std::collections::BTreeMap;

use super::{PullMode, PullReport, Work};
use crate::device::{Device, Listing};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, ManifestRef, Takeover};
use crate::replica::Replica;
use crate::state::{self, NodeState, OwnState};
use crate::vault::MANIFESTS;

impl<R: Replica> Device<'_, R> {
    /// Takes note of devices that others removed.
    pub(super) fn heed_removals(
        &mut self,
        mut own: OwnState,
        listing: &Listing,
        known: &mut BTreeMap<NodeId, NodeState>,
        work: &mut BTreeMap<NodeId, (Work, Manifest)>,
    ) -> Result<OwnState, VaultError> {
        let said = |by: NodeId, removed: &BTreeMap<NodeId, Takeover>| {
            let taken = removed.clone().into_iter();
            taken.map(move |(node, takeover)| (by, node, takeover))
        };
        let removals: Vec<(NodeId, NodeId, Takeover)> = work
            .iter()
            .flat_map(|(by, (_, manifest))| said(*by, &manifest.removed))
            .chain(said(own.node, &own.removed))
            .collect();
        let mut changes = vec![];
        let takeovers = own.leaving.len();
        own.leaving.retain(|node, leaving| {
            listing
                .nodes
                .get(node)
                .is_none_or(|refs| !leaving.takeover.is_outlived(refs))
        });
        if own.leaving.len() < takeovers {
            // It came back before its records were published under this identity: it keeps them.
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        }
        for (by, node, takeover) in removals {
            if node == own.node {
                // Somebody took this device's records over and will remove its objects: it goes on under a new identity.
                own = self.reborn(own, true)?;
            }
            // What a removed device wrote later is still read: nothing is lost. A rotated key is what shuts it out.
            if listing
                .nodes
                .get(&node)
                .is_some_and(|refs| takeover.is_outlived(refs))
            {
                continue;
            }
            work.remove(&node);
            let gives_up = takeover.is_partial && by != own.node;
            let node_state = known
                .entry(node)
                .or_insert_with(|| NodeState::gone(&takeover));
            let may_have_more = gives_up && !node_state.applied.is_empty();
            if node_state.remove(by, takeover) {
                changes.push(state::keep(self.state_keys.node(node), node_state));
                own.lacking |= may_have_more;
            }
        }
        if own.lacking {
            changes.push(state::keep(self.state_keys.own(), &own));
        }
        if !changes.is_empty() {
            state::save(self.replica, &changes)?;
        }
        Ok(own)
    }

    /// Notes whose line shows less than was seen of it `before` this pull.
    pub(super) fn heed_regressions(
        &mut self,
        mut own: OwnState,
        listing: &Listing,
        before: &BTreeMap<NodeId, NodeState>,
        known: &BTreeMap<NodeId, NodeState>,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<OwnState, VaultError> {
        for (node, seen) in before {
            let is_removed = known
                .get(node)
                .is_some_and(|state| state.removed_by.is_some());
            if *node == own.node || is_removed {
                continue;
            }
            let shown = listing.nodes.get(node).and_then(|refs| refs.last());
            if shown.is_none_or(|shown| shown.sequence < seen.newest.sequence) {
                self.regressed(&mut own, *node, seen, shown, mode, report)?;
            }
        }
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
            let accepted = self.accept_regression(own, node, node_state.newest.sequence)?;
            let changes = [
                accepted,
                state::keep(self.state_keys.own(), own),
                state::forget(self.state_keys.node(node)),
            ];
            return state::save(self.replica, &changes);
        }
        report.problems.push(regression(node, node_state, shown));
        Ok(())
    }
}

/// What is said of a line that shows less than was seen of it.
pub(crate) fn regression(node: NodeId, seen: &NodeState, shown: Option<&ManifestRef>) -> Problem {
    let shown = shown.map_or_else(|| "none".to_owned(), |shown| shown.sequence.to_string());
    Problem {
        key: format!("{MANIFESTS}{node}"),
        kind: ProblemKind::Regression,
        detail: format!(
            "manifest sequence regression detected: manifest {} of device {} was seen before, the store now shows {shown}",
            seen.newest.sequence, seen.name
        ),
    }
}
