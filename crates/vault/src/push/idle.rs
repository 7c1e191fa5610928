//! Whether a push has anything to do: what an idle one may spare itself.
//!
//! What must hold: where anything would be written to the store, or removed from it, it is not idle; a store that may be empty or
//! another vault's is never spared a look at `vault.json`.
//! What it deliberately does not do: ask the store.

use super::Draft;
use super::clean::OLDER_MAX;
use crate::device::{Device, Listing};
use crate::error::VaultError;
use crate::ids::NodeId;
use crate::replica::Replica;
use crate::state::{self, Intent, OwnState};

impl<R: Replica> Device<'_, R> {
    /// Whether a push straight after a pull without any trouble has nothing to do, so that even its own listing can be spared: it would
    /// show what the pull's has just shown, and nothing would follow from it.
    ///
    /// A device that has never seen anything of the vault cannot know that: an empty store looks the same to its pull.
    ///
    /// # Errors
    /// The database's.
    pub fn has_nothing_to_push(&self) -> Result<bool, VaultError> {
        let Some(own) = state::load::<_, OwnState>(self.replica, &self.state_keys.own())? else {
            return Ok(false);
        };
        let has_seen = own.newest.is_some() || !self.seen()?.is_empty();
        let is_settled = state::load::<_, Intent>(self.replica, &self.state_keys.intent())?
            .is_none()
            && self.attempts()?.is_empty()
            && self.forgotten_here()?.is_empty();
        // Where it never wrote, only a copy of it can have left anything; its own first push looks.
        let sweeps = own.newest.is_some() && self.is_sweep_due(&own);
        let is_quiet = own.is_at_rest() && !sweeps;
        Ok(has_seen && is_settled && is_quiet && self.pending(&own)? == 0)
    }

    /// Whether a device that has published nothing has nothing to publish, and the listing shows a line that it knows: then a mistake
    /// about the place harms nobody, and `vault.json` need not say where it is.
    pub(super) fn is_idle_at_home(
        &self,
        draft: &Draft,
        listing: &Listing,
    ) -> Result<bool, VaultError> {
        if draft.changed || !draft.own.garbage.is_empty() || self.pending(&draft.own)? > 0 {
            return Ok(false);
        }
        Ok(self
            .seen()?
            .iter()
            .any(|node| listing.nodes.contains_key(node)))
    }

    pub(super) fn pending(&self, own: &OwnState) -> Result<u64, VaultError> {
        self.replica
            .count_own(own.published)
            .map_err(|source| VaultError::Replica {
                doing: "count what is pending",
                source,
            })
    }

    /// The devices of which anything was seen.
    fn seen(&self) -> Result<Vec<NodeId>, VaultError> {
        Ok(state::load_nodes(self.replica, &self.state_keys)?
            .into_keys()
            .collect())
    }
}

impl OwnState {
    /// Whether nothing is to be published again, taken over, relearnt or cleared away.
    fn is_at_rest(&self) -> bool {
        let is_clear = self.garbage.iter().all(|garbage| !garbage.forgotten)
            && self.older.len() < OLDER_MAX
            && self.leaving.is_empty()
            && self.earlier.is_empty()
            && self.removed.is_empty();
        let is_whole =
            !(self.full || self.outdated || self.lacking || self.relearn || self.stained);
        is_clear && is_whole && self.again.is_none()
    }
}
