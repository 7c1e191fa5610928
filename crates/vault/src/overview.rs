//! What a device knows of a vault without asking the store: for `status`.
//!
//! What must hold: reading it changes nothing and sends nothing. What it deliberately does not do: judge.

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
}

/// What a device knows of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The vault.
    pub vault: VaultId,
    /// Records here that are not in the vault yet.
    pub pending: u64,
    /// Live segments of this device.
    pub segments: u64,
    /// Replaced objects that wait for their removal.
    pub garbage: u64,
    /// Whether a push was interrupted and the next one will finish it.
    pub interrupted: bool,
    /// The devices, this one first (if it has published).
    pub devices: Vec<DeviceOverview>,
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
        let interrupted =
            progress.is_some() || state::load::<_, Intent>(replica, &keys.intent())?.is_some();
        let published = own.as_ref().map_or(0, |own| own.published);
        let pending = replica
            .count_own(published)
            .map_err(|source| VaultError::Replica {
                doing: "count what is pending",
                source,
            })?;
        let was_own = |node: &NodeId| own.as_ref().is_some_and(|own| own.earlier.contains(node));
        let mut devices: Vec<_> = own.iter().map(|own| this_device(own, own_name)).collect();
        devices.extend(
            state::load_nodes(replica, &keys)?
                .into_iter()
                .map(|(node, state)| DeviceOverview {
                    earlier: was_own(&node),
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
            segments: own.as_ref().map_or(0, |own| own.live.len() as u64),
            garbage: own.as_ref().map_or(0, |own| own.garbage.len() as u64),
            interrupted,
            devices,
            problems: state::load(replica, &keys.quarantine())?.unwrap_or_default(),
        })
    }
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
    }
}
