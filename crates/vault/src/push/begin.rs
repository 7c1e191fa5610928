//! The first manifest of a line, which begins where nobody can see what this device wrote there before; and any that comes late.
//!
//! What must hold: before it is written, `vault.json` has shown that this is the vault, and the other lines that none of them took this
//! one over. A copy of this machine may have written a first manifest too, and its line may have been taken over and removed since:
//! nobody would read what begins there anew, for its numbers are those that were taken over. All that may happen between the look and
//! the manifest, while a push stalls; so it is asked once more afterwards, before the manifest counts as written.
//! What it deliberately does not do: ask for later manifests, which the line itself vouches for, unless the push took long.

use super::Draft;
use crate::device::{Device, Listing};
use crate::error::VaultError;
use crate::replica::Replica;
use crate::state::OwnState;

/// A push that takes longer than this (ten minutes) from its look at the line to its manifest looks once more: a machine that slept
/// may find its line taken over. A quicker one is spared the request: should a takeover have come in between all the same, then the line
/// is there for a whole grace period, with this manifest beyond or beside what was taken over, and the next push is told.
const STALLED_MS: u64 = 10 * 60 * 1000;

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
        let Some((by, takeover)) = self.taken_over(draft.own.node, listing, None).await? else {
            return Ok(true);
        };
        self.yield_line(draft.own.clone(), listing, by, takeover)?;
        Ok(false)
    }

    /// Asks, right after a manifest was written and before it counts, whether the line is still this device's, where that may have
    /// changed since `listing`: nobody would read a manifest whose number was taken over meanwhile. If it is another's, this device has
    /// a new identity.
    pub(super) async fn is_heard(
        &mut self,
        own: &OwnState,
        listing: &Listing,
    ) -> Result<bool, VaultError> {
        let begins = own.newest.is_none();
        // Whichever way the clock was set.
        let has_stalled = self.now_ms().abs_diff(listing.at_ms) >= STALLED_MS;
        if !begins && !has_stalled {
            return Ok(true);
        }
        // A first manifest had all lines asked before it.
        let asked = begins.then_some(listing);
        let (now, _) = self.look_at_own_line(own.clone(), true, asked).await?;
        Ok(now.node == own.node)
    }
}
