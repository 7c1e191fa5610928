//! Getting out of trouble: reset, repair, and taking over a lost device's records.
//!
//! What must hold: none of these can lose a record; each may be interrupted and run again.
//! What it deliberately does not do: decide that they are needed.

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::{Problem, VaultError};
use crate::ids::NodeId;
use crate::push::{PushMode, PushReport};
use crate::replica::{Change, Replica};
use crate::state::{self, Intent, OwnState};
use crate::vault::MANIFESTS;

/// How much a reset forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetMode {
    /// Everything, the identity too; unless all that was ever done under it is a push that stopped before its manifest.
    NewIdentity,
    /// Everything but the identity: the next pull learns from the store what this device published.
    LocalOnly,
    /// Everything, and that anything is in the store: it was emptied. The next push publishes whatever this device has and the store
    /// does not show, other devices' records too.
    Emptied,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Records read from the store that this device did not have.
    pub recovered: u64,
    /// Records that this device has and the vault could not show any more.
    pub republished: u64,
    /// The push that published them.
    pub push: PushReport,
    /// Damaged objects of this device's own line that stood for nothing any more, or were replaced, and are removed.
    #[serde(default)]
    pub cleared: u64,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Whether the device that was to be removed leaves.
    #[serde(default)]
    pub removed: bool,
    /// How many records were given up with it, at most: those of its segments that cannot be read and that were never applied here.
    #[serde(default)]
    pub given_up: u64,
}

/// Which node is to leave.
#[derive(Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) node: NodeId,
    /// Whether it may go although not everything of it can be read.
    pub(crate) gives_up_unreadable: bool,
}

impl<R: Replica> Device<'_, R> {
    /// Forgets what was published and seen. The history, the keys and the store are not touched. Returns whether the device has a
    /// new identity.
    ///
    /// # Errors
    /// The database's.
    pub fn reset(&mut self, mode: ResetMode) -> Result<bool, VaultError> {
        let own = self.own()?;
        let names = self
            .replica
            .keys(&self.state_keys.all())
            .map_err(|source| VaultError::Replica {
                doing: "list the sync state",
                source,
            })?;
        let intent: Option<Intent> = state::load(self.replica, &self.state_keys.intent())?;
        let is_published = own.newest.is_some() || own.relearn;
        // What an interrupted push left in the store is cleared away only by who goes on under its identity. Without any, an image of
        // this machine may be about to use the same identity; with a manifest under way it may be published.
        let attempts = self.attempts()?;
        let is_interrupted = !attempts.is_empty() && intent.is_none();
        let stays = match mode {
            ResetMode::NewIdentity => !is_published && is_interrupted,
            ResetMode::LocalOnly => true,
            ResetMode::Emptied => false,
        };
        let attempts_name = self.state_keys.attempts();
        let mut changes: Vec<Change> = names
            .into_iter()
            .filter(|name| !stays || *name != attempts_name)
            .map(state::forget)
            .collect();
        let mut next = if stays {
            // A manifest that was under way may name what is garbage without it.
            let garbage = if intent.is_some() {
                vec![]
            } else {
                own.garbage
            };
            OwnState {
                relearn: is_published || mode == ResetMode::LocalOnly,
                unclaimed: true,
                lacking: own.lacking,
                former: own.former,
                earlier: own.earlier,
                left: own.left,
                garbage,
                removed: own.removed,
                ..OwnState::fresh(own.node)
            }
        } else {
            let mut next = own.reborn((self.options.new_node)(), mode == ResetMode::Emptied);
            if !is_published {
                let first = intent.and_then(|intent| intent.then.newest);
                next.leave_unpublished(own.node, first, attempts, self.now_ms());
            }
            next
        };
        next.lacking |= mode == ResetMode::Emptied;
        // What was published where is forgotten, too.
        next.again = None;
        next.lenient = true;
        changes.push(state::keep(self.state_keys.own(), &next));
        state::save(self.replica, &changes)?;
        Ok(!stays)
    }

    /// Reads every segment that survives, named by a manifest or not; takes in what is unknown; publishes again what this device
    /// has and the vault cannot show.
    ///
    /// # Errors
    /// The store's or the database's.
    pub async fn repair(&mut self) -> Result<RepairReport, VaultError> {
        self.mend(None).await
    }

    /// Takes over the records of a device that will not come back, publishes them under this one, and marks its objects for removal.
    /// Should it come back after all, it goes on under a new identity.
    ///
    /// # Errors
    /// The store's or the database's. If anything of the device cannot be read now that was not applied here before, that is a problem in
    /// the report, and nothing is removed.
    pub async fn remove_device(&mut self, node: NodeId) -> Result<RepairReport, VaultError> {
        self.mend(Some(Removal {
            node,
            gives_up_unreadable: false,
        }))
        .await
    }

    /// As [`Device::remove_device`], for a device some of whose objects are damaged or gone for good: what only they held, and no
    /// device has, is given up.
    ///
    /// # Errors
    /// As for [`Device::remove_device`].
    pub async fn remove_damaged_device(
        &mut self,
        node: NodeId,
    ) -> Result<RepairReport, VaultError> {
        self.mend(Some(Removal {
            node,
            gives_up_unreadable: true,
        }))
        .await
    }

    /// Whether the store shows a manifest of a device. Of one whose manifests nobody could read, its listing is all that is known.
    ///
    /// # Errors
    /// The store's, or that it does not hold this vault.
    pub async fn is_listed(&mut self, node: NodeId) -> Result<bool, VaultError> {
        let listing = self.list_manifests(MANIFESTS).await?;
        Ok(listing.nodes.contains_key(&node))
    }

    async fn mend(&mut self, remove: Option<Removal>) -> Result<RepairReport, VaultError> {
        match self.settle_intent().await {
            // The line is disputed: what it was about to say is said under a new identity.
            Err(error) if error.is_conflict() => {
                let own = self.own()?;
                self.reborn(own, true)?;
            }
            settled => settled?,
        }
        let mut report = self.mend_here(remove).await?;
        report.push = self.push(PushMode::Pending).await?;
        Ok(report)
    }
}
