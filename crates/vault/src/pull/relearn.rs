//! After a reset that kept the identity: learning from the store what this device had published.
//!
//! What must hold: a line that somebody else may have written to, or that cannot be read as a whole, is given up for a new identity, under
//! which all that no other line shows is published, what was learnt here from the old one too;
//! what was forgotten before it was ever here does not stay in a line that is kept.
//! What it deliberately does not do: trust the order of what a listing shows.

use std::collections::BTreeSet;

use super::decode;
use crate::device::{Device, fetch};
use crate::error::VaultError;
use crate::manifest::{Manifest, ManifestRef, forks};
use crate::replica::{Change, Replica, Source};
use crate::state::{self, OwnSegment, OwnState};
use crate::vault::MANIFESTS;

impl<R: Replica> Device<'_, R> {
    /// After a reset that kept the identity: learns from the store what this device had published.
    pub(crate) async fn relearn(&mut self) -> Result<OwnState, VaultError> {
        let mut own = self.own()?;
        let listing = self
            .list_manifests(&format!("{MANIFESTS}{}/", own.node))
            .await?;
        let refs = listing.nodes.get(&own.node).cloned().unwrap_or_default();
        let Some((newest, older)) = refs.split_last() else {
            // An empty listing may be that of a disk that is not mounted: only the vault's description shows that it is the place.
            self.vault.check_file().await?;
            own.relearn = false;
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
            return Ok(own);
        };
        // With two histories nobody can say which manifests were this device's.
        let manifest = match self.fetch_manifest(own.node, *newest).await? {
            Ok(manifest) if forks(&refs).is_empty() && follows(newest, &manifest, older) => {
                manifest
            }
            _ => return self.reborn(own, true),
        };
        if !self.learn_again(&mut own, &manifest).await? {
            return self.reborn(own, true);
        }
        own.newest = Some(*newest);
        own.older = older.to_vec();
        own.published = 0;
        own.live = manifest
            .segments
            .into_iter()
            .map(|entry| OwnSegment {
                entry,
                local: false,
            })
            .collect();
        own.removed = manifest.removed;
        let live: BTreeSet<_> = own
            .live
            .iter()
            .map(|segment| segment.entry.key(own.node))
            .collect();
        own.garbage.retain(|garbage| !live.contains(&garbage.key));
        own.relearn = false;
        let changes = self.disowned(&mut own, &live).await?;
        state::save(self.replica, &changes)?;
        Ok(own)
    }

    /// Reads the segments of its line and compares them with the database. Returns whether all could be read; what was counts as learnt by
    /// then, though from nobody else.
    async fn learn_again(
        &mut self,
        own: &mut OwnState,
        manifest: &Manifest,
    ) -> Result<bool, VaultError> {
        let mut read = vec![];
        for entry in &manifest.segments {
            let key = entry.key(own.node);
            let plaintext = fetch(self.vault, &key, entry.bytes).await?;
            let Ok(records) = plaintext.and_then(|plaintext| decode::<R>(&key, &plaintext)) else {
                own.lacking |= !read.is_empty();
                own.held.entry(own.node).or_default().extend(read);
                return Ok(false);
            };
            // Such a record is not added, so nothing is erased later either: only this says that its segment holds it.
            own.stained |= self.holds_forgotten(&records)?;
            let source = Source::Vault {
                unpublished_above: 0,
            };
            self.replica
                .apply(records, source, &[])
                .map_err(|source| VaultError::Replica {
                    doing: "compare its records with the store's",
                    source,
                })?;
            read.push(entry.hash);
        }
        Ok(true)
    }

    /// What this device had written and no manifest names any more is as good as forgotten: it counts as attempts of the next push,
    /// which writes a manifest for its sake, so that a clone of this machine learns that the line has moved on.
    ///
    /// Not all of it need be this device's: the manifest of a copy of this machine may be under way. So what is not known to be its own is
    /// read and made its own first; what cannot be read is not touched.
    async fn disowned(
        &mut self,
        own: &mut OwnState,
        live: &BTreeSet<String>,
    ) -> Result<Vec<Change>, VaultError> {
        let mut attempts = self.attempts()?;
        attempts.extend(own.garbage.iter().map(|garbage| garbage.key.clone()));
        attempts.retain(|key| !live.contains(key));
        let mut strays = self.segments_of(own.node).await?;
        strays.retain(|key, _| !live.contains(key) && !attempts.contains(key));
        attempts.extend(self.adopt(own, &strays).await?);
        attempts.sort();
        attempts.dedup();
        own.outdated |= !attempts.is_empty();
        Ok(vec![
            state::keep(self.state_keys.attempts(), &attempts),
            state::keep(self.state_keys.own(), own),
        ])
    }
}

/// Whether a manifest names the one listed before it, if that is the one just before it.
fn follows(newest: &ManifestRef, manifest: &Manifest, older: &[ManifestRef]) -> bool {
    older.last().is_none_or(|before| {
        before.sequence + 1 != newest.sequence || manifest.previous == Some(*before)
    })
}
