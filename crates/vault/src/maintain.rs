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

/// How much a reset forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetMode {
    /// Everything, the identity too, unless nothing was ever published under it.
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
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Which node is to leave.
#[derive(Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) node: NodeId,
    /// Whether it may go although not everything of it can be read.
    pub(crate) gives_up_unreadable: bool,
}

impl<R: Replica> Device<'_, R> {
    /// Forgets what was published and seen. The history, the keys and the store are not touched.
    ///
    /// # Errors
    /// The database's.
    pub fn reset(&mut self, mode: ResetMode) -> Result<(), VaultError> {
        let own = self.own()?;
        let names = self
            .replica
            .keys(&self.state_keys.all())
            .map_err(|source| VaultError::Replica {
                doing: "list the sync state",
                source,
            })?;
        // An identity that wrote no manifest is nobody's yet. It stays, so that what an interrupted push left in the store is cleared
        // away by the next one.
        let is_published = own.newest.is_some() || own.relearn;
        let stays = match mode {
            ResetMode::NewIdentity => !is_published,
            ResetMode::LocalOnly => true,
            ResetMode::Emptied => false,
        };
        let attempts = self.state_keys.attempts();
        let mut changes: Vec<Change> = names
            .into_iter()
            .filter(|name| !stays || *name != attempts)
            .map(state::forget)
            .collect();
        let mut next = if stays {
            // A manifest that was under way may name what is garbage without it.
            let garbage = if self.has_intent()? {
                vec![]
            } else {
                own.garbage
            };
            OwnState {
                relearn: is_published || mode == ResetMode::LocalOnly,
                lacking: own.lacking,
                former: own.former,
                earlier: own.earlier,
                left: own.left,
                garbage,
                removed: own.removed,
                ..OwnState::fresh(own.node)
            }
        } else {
            own.reborn((self.options.new_node)(), mode == ResetMode::Emptied)
        };
        next.lacking |= mode == ResetMode::Emptied;
        next.lenient = true;
        changes.push(state::keep(self.state_keys.own(), &next));
        state::save(self.replica, &changes)
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
    /// The store's or the database's. If anything of the device cannot be read now, that is a problem in the report, and nothing is
    /// removed.
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

    fn has_intent(&self) -> Result<bool, VaultError> {
        Ok(state::load::<_, Intent>(self.replica, &self.state_keys.intent())?.is_some())
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
