//! What a person has already accepted is no failure any more: after a reset, with `--force`, and for earlier identities of this device.
//!
//! What must hold: nothing is hidden, only demoted: every problem stays in the report by name.
//! What it deliberately does not do: demote a missing or damaged segment of another device, whose records nobody may have.

use crate::device::Device;
use crate::error::{ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::pull::{PullMode, PullReport};
use crate::replica::Replica;
use crate::state::{self, NodeState};
use crate::vault::MANIFESTS;

impl<R: Replica> Device<'_, R> {
    /// Demotes the problems that were accepted. The first pull after a reset takes the store as it is.
    pub(crate) fn demote_accepted(
        &mut self,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<(), VaultError> {
        let mut own = self.own()?;
        let accepts_manifests = own.lenient || mode == PullMode::Force;
        for problem in &mut report.problems {
            let Some(node) = node_of(&problem.key) else {
                continue;
            };
            // What an earlier identity of this device published is published again under the new one.
            let is_earlier = own.earlier.contains(&node) && is_unusable(problem.kind);
            // An older manifest of that device was read in place of the damaged one.
            let has_fallback = accepts_manifests
                && problem.kind == ProblemKind::Corrupt
                && problem.key.starts_with(MANIFESTS)
                && state::load::<_, NodeState>(self.replica, &self.state_keys.node(node))?
                    .is_some();
            if is_earlier || has_fallback {
                problem.kind = ProblemKind::Accepted;
            }
        }
        if own.lenient {
            own.lenient = false;
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        }
        Ok(())
    }
}

fn is_unusable(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::Missing | ProblemKind::Corrupt | ProblemKind::Archived | ProblemKind::NoKey
    )
}

/// Whose object a key names.
fn node_of(key: &str) -> Option<NodeId> {
    let rest = key
        .strip_prefix(MANIFESTS)
        .or_else(|| key.strip_prefix(crate::vault::SEGMENTS))?;
    rest.split('/').next()?.parse().ok()
}
