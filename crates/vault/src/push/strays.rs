//! What was uploaded under this device's own identity and is not known to it: by a copy of this machine that was lost in the middle of a
//! push, say. What it holds may be forgotten later, and nobody else would ever clear it away.
//!
//! What must hold: nothing goes that was not read and made this device's own first, by the very push that notes it as garbage. Should the
//! manifest that names it be under way after all, then its records are in this device's line, and the line is disputed in time.
//! What it deliberately does not do: fail a push because something cannot be read now; look more often than once a grace period.

use std::collections::{BTreeMap, BTreeSet};

use crate::device::Device;
use crate::error::VaultError;
use crate::ids::ObjectHash;
use crate::replica::Replica;
use crate::seal::Place;
use crate::state::{self, Garbage, OwnState, PushProgress};

impl<R: Replica> Device<'_, R> {
    /// Takes in what strayed into this device's line, if it is time to look. The first time only sets the time.
    pub(super) async fn take_in_strays(
        &mut self,
        mut own: OwnState,
    ) -> Result<OwnState, VaultError> {
        if !self.is_sweep_due(&own) {
            return Ok(own);
        }
        let is_first = own.swept_ms == 0;
        own.swept_ms = self.now_ms();
        if !is_first {
            match self.sweep(&mut own).await {
                Err(error @ VaultError::Store { .. }) => {
                    tracing::warn!(%error, "this device's own segments could not be looked through");
                }
                outcome => outcome?,
            }
        }
        state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        Ok(own)
    }

    /// Whether a push would look for strays, or set the time from which it will.
    pub(super) fn is_sweep_due(&self, own: &OwnState) -> bool {
        let since_ms = self.now_ms().abs_diff(own.swept_ms);
        own.swept_ms == 0 || since_ms >= self.options.grace_ms.unsigned_abs()
    }

    async fn sweep(&mut self, own: &mut OwnState) -> Result<(), VaultError> {
        let known = self.known_keys(own)?;
        let mut strays = self.segments_of(own.node).await?;
        strays.retain(|key, _| !known.contains(key));
        let since_ms = self.now_ms();
        let adopted = self.adopt(own, &strays).await?;
        // A copy that is about to name them must find that the line has moved on, also where nothing in them was new.
        own.outdated |= !adopted.is_empty();
        own.garbage.extend(adopted.into_iter().map(|key| Garbage {
            key,
            since_ms,
            forgotten: true,
        }));
        Ok(())
    }

    /// Reads segments of this device's line that it does not know (keys and stored sizes) and makes their records its own. Returns those
    /// that could be read.
    pub(crate) async fn adopt(
        &mut self,
        own: &mut OwnState,
        strays: &BTreeMap<String, u64>,
    ) -> Result<Vec<String>, VaultError> {
        let mut adopted = vec![];
        if strays.is_empty() {
            return Ok(adopted);
        }
        // What this device learnt again from its own line counts as learnt: a stray that repeats it makes none of it this device's own.
        let is_all_own = own.live.iter().all(|segment| segment.local);
        self.read_segments(strays, |this, key, outcome| {
            if let Ok((_, batch)) = outcome {
                this.salvage(batch)?;
                adopted.push(key.to_owned());
                if is_all_own {
                    let hash: Option<ObjectHash> = Place::parse(key).map(|(_, hash)| hash);
                    own.held.entry(own.node).or_default().extend(hash);
                }
            }
            Ok(())
        })
        .await?;
        Ok(adopted)
    }

    /// The keys of all segments that this device itself wrote, or is about to write.
    fn known_keys(&self, own: &OwnState) -> Result<BTreeSet<String>, VaultError> {
        let progress: PushProgress =
            state::load(self.replica, &self.state_keys.progress())?.unwrap_or_default();
        let segments = own.live.iter().chain(&progress.segments);
        let mut known: BTreeSet<String> = segments
            .map(|segment| segment.entry.key(own.node))
            .collect();
        known.extend(own.garbage.iter().map(|garbage| garbage.key.clone()));
        known.extend(self.attempts()?);
        Ok(known)
    }
}
