//! What a device knows of a vault without asking the store: for `status`.
//!
//! What must hold: reading it changes nothing and sends nothing. What it deliberately does not do: judge.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Problem, VaultError};
use crate::ids::{NodeId, VaultId};
use crate::replica::Replica;
use crate::state::{self, Intent, OwnState, StateKeys};

/// One device as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOverview {
    /// Its identity.
    pub node: NodeId,
    /// What it calls itself.
    pub name: String,
    /// The number of its newest manifest.
    pub sequence: u64,
    /// When it wrote that, in milliseconds since the Unix epoch by its own clock.
    pub written_ms: i64,
    /// Records in its live segments.
    pub records: u64,
    /// Their bytes in the store.
    pub bytes: u64,
    /// Whether everything of it was applied here.
    pub complete: bool,
    /// Who took its records over, if it was removed.
    pub removed_by: Option<NodeId>,
    /// Whether it is this device.
    pub this: bool,
    /// Whether this device had this identity before: until a reset, or a conflict that it was published past.
    #[serde(default)]
    pub earlier: bool,
    /// With `earlier`: whether somebody wrote there after this device had left it: a copy of this machine, if not this machine itself
    /// before it was set back.
    #[serde(default)]
    pub goes_on: bool,
}

/// What a device knows of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The vault.
    pub vault: VaultId,
    /// Records here that are not in the vault yet, as far as is known.
    pub pending: u64,
    /// Records that are in the vault under an earlier identity of this device, and are still to be published under the new one.
    #[serde(default)]
    pub again: u64,
    /// Live segments of this device.
    pub segments: u64,
    /// Replaced objects that wait for their removal.
    pub garbage: u64,
    /// Whether a push was interrupted and the next one will finish it.
    pub interrupted: bool,
    /// The devices, this one first (if it has published).
    pub devices: Vec<DeviceOverview>,
    /// Devices that this one took over; what is left of their objects goes after the grace period.
    #[serde(default)]
    pub removed: Vec<NodeId>,
    /// Devices that this one is taking over: its next push publishes that.
    #[serde(default)]
    pub leaving: Vec<NodeId>,
    /// What the last pull or verification could not read.
    pub problems: Vec<Problem>,
}

impl Overview {
    /// Reads it from the local database.
    ///
    /// # Errors
    /// The database's.
    pub fn read<R: Replica>(
        replica: &R,
        vault: VaultId,
        own_name: &str,
    ) -> Result<Self, VaultError> {
        let keys = StateKeys::new(vault);
        let own: Option<OwnState> = state::load(replica, &keys.own())?;
        let progress: Option<state::PushProgress> = state::load(replica, &keys.progress())?;
        let intent: Option<Intent> = state::load(replica, &keys.intent())?;
        let interrupted = progress.is_some() || intent.is_some();
        let (pending, again) = match &own {
            Some(own) => unpublished(replica, own, progress.as_ref())?,
            None => (count_own(replica, 0)?, 0),
        };
        let was_own = |node: &NodeId| own.as_ref().is_some_and(|own| own.earlier.contains(node));
        let mut devices: Vec<_> = own.iter().map(|own| this_device(own, own_name)).collect();
        devices.extend(
            state::load_nodes(replica, &keys)?
                .into_iter()
                .map(|(node, state)| DeviceOverview {
                    earlier: was_own(&node),
                    goes_on: own
                        .as_ref()
                        .is_some_and(|own| own.is_written_on(node, state.newest)),
                    node,
                    name: state.name,
                    sequence: state.newest.sequence,
                    written_ms: state.written_ms,
                    records: state.records,
                    bytes: state.bytes,
                    complete: state.complete,
                    removed_by: state.removed_by,
                    this: false,
                }),
        );
        Ok(Self {
            vault,
            pending,
            again,
            segments: own.as_ref().map_or(0, |own| own.live.len() as u64),
            garbage: own.as_ref().map_or(0, |own| own.garbage.len() as u64),
            interrupted,
            devices,
            leaving: leaving(own.as_ref(), intent.as_ref()),
            removed: own.map_or_else(Vec::new, |own| own.removed.into_keys().collect()),
            problems: state::load(replica, &keys.quarantine())?.unwrap_or_default(),
        })
    }
}

/// What the vault does not have yet, and what it only is to get again. What an interrupted push has uploaded again counts as done.
fn unpublished<R: Replica>(
    replica: &R,
    own: &OwnState,
    progress: Option<&state::PushProgress>,
) -> Result<(u64, u64), VaultError> {
    let in_vault = own.in_vault();
    let pending = count_own(replica, in_vault)?;
    let reached = progress.map_or(0, |progress| progress.reached.min(in_vault));
    let all = count_own(replica, own.published.max(reached))?;
    Ok((pending, all.saturating_sub(pending)))
}

/// The devices whose takeover was begun here and is not published yet, or is not known to be.
fn leaving(own: Option<&OwnState>, intent: Option<&Intent>) -> Vec<NodeId> {
    let Some(own) = own else {
        return vec![];
    };
    let intended = intent.iter().flat_map(|intent| intent.then.removed.keys());
    let begun = intended.filter(|node| !own.removed.contains_key(node));
    let all: BTreeSet<NodeId> = own.leaving.keys().chain(begun).copied().collect();
    all.into_iter().collect()
}

fn count_own<R: Replica>(replica: &R, after: u64) -> Result<u64, VaultError> {
    replica
        .count_own(after)
        .map_err(|source| VaultError::Replica {
            doing: "count what is pending",
            source,
        })
}

fn this_device(own: &OwnState, name: &str) -> DeviceOverview {
    DeviceOverview {
        node: own.node,
        name: name.to_owned(),
        sequence: own.newest.map_or(0, |newest| newest.sequence),
        written_ms: 0,
        records: own.live.iter().map(|segment| segment.entry.records).sum(),
        bytes: own.live.iter().map(|segment| segment.entry.bytes).sum(),
        complete: true,
        removed_by: None,
        this: true,
        earlier: false,
        goes_on: false,
    }
}
