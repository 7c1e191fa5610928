//! The first manifest of a line, which begins where nobody can see what this device wrote there before.
//!
//! What must hold: before it is written, `vault.json` has shown that this is the vault, and the other lines that none of them took this
//! one over. A copy of this machine may have written a first manifest too, and its line may have been taken over and removed since:
//! nobody would read what begins there anew, for its numbers are those that were taken over.
//! What it deliberately does not do: ask for later manifests, which the line itself vouches for.

use super::Draft;
use crate::device::{Device, Listing};
use crate::error::VaultError;
use crate::replica::Replica;
use crate::state::OwnState;

impl<R: Replica> Device<'_, R> {
    /// Whether the first manifest of a line is about to be written, as far as can be said before anything is uploaded.
    pub(super) fn is_about_to_begin(&self, own: &OwnState) -> Result<bool, VaultError> {
        Ok(own.newest.is_none() && self.pending(own)? > 0)
    }

    /// Asks, right before a first manifest, what was spared when the push began and had nothing to publish: records may have arrived since,
    /// or a line was taken over. If this device's line is another's, it has a new identity.
    pub(super) async fn may_begin(
        &mut self,
        draft: &Draft,
        listing: &Listing,
    ) -> Result<bool, VaultError> {
        self.vault.check_file().await?;
        let Some((by, takeover)) = self.taken_over(draft.own.node, listing).await? else {
            return Ok(true);
        };
        self.yield_line(draft.own.clone(), listing, by, takeover)?;
        Ok(false)
    }
}
