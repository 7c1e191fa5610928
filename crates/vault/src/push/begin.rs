//! The first manifest of a line, which begins where nobody can see what this device wrote there before; and any that comes late.
//!
//! What must hold: before it is written, `vault.json` has shown that this is the vault, and the other lines that none of them took this
//! one over. A copy of this machine may have written a first manifest too, and its line may have been taken over and removed since:
//! nobody would read what begins there anew, for its numbers are those that were taken over. All that may happen between the look and
//! the manifest, while a push stalls; so it is asked once more afterwards, before the manifest counts as written.
//! Segments that were uploaded long before their manifest are looked for once it is written: those that are gone are published again.
//! What it deliberately does not do: ask for later manifests, which the line itself vouches for, unless the push took long.

use std::collections::BTreeSet;

use super::Draft;
use crate::device::{Device, Listing};
use crate::error::VaultError;
use crate::ids::ObjectHash;
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
        if !begins && !self.has_stalled(listing) {
            return Ok(true);
        }
        // A first manifest had all lines asked before it.
        let asked = begins.then_some(listing);
        let (now, _) = self.look_at_own_line(own.clone(), true, asked).await?;
        Ok(now.node == own.node)
    }

    /// Whether it is so long since `listing` that others may have done anything.
    pub(super) fn has_stalled(&self, listing: &Listing) -> bool {
        // Whichever way the clock was set.
        self.now_ms().abs_diff(listing.at_ms) >= STALLED_MS
    }

    /// Whether the segments that a manifest names for the first time are there. A copy of this machine that gave the identity up clears away
    /// what no manifest named for a grace period: what an interrupted push left, or one that stalls for so long. It has the records
    /// on its own account by then; but a manifest is not to name what is gone. Asked after the manifest was written: from then on nobody
    /// takes them for abandoned.
    pub(super) async fn is_all_there(
        &self,
        before: &OwnState,
        then: &OwnState,
    ) -> Result<bool, VaultError> {
        let named: BTreeSet<ObjectHash> = before
            .live
            .iter()
            .map(|segment| segment.entry.hash)
            .collect();
        let mut new = then
            .live
            .iter()
            .filter(|segment| !named.contains(&segment.entry.hash))
            .peekable();
        if new.peek().is_none() {
            return Ok(true);
        }
        let present = self.segments_of(then.node).await?;
        Ok(new.all(|segment| present.contains_key(&segment.entry.key(then.node))))
    }
}
