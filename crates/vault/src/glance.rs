//! A glance at the store: what the next pull and push would find there.
//!
//! What must hold: nothing is changed, here or there; what would make a push or a pull fail at once is said in the same words; it needs no
//! lock, so a sync may run and end meanwhile.
//! What it deliberately does not do: read what is new. While there is anything new it does not judge what the store shows of other devices'
//! lines, since the news may say what became of them; but what the last pull missed and the store still does not show is said.

use std::collections::BTreeMap;

use crate::device::{Device, Listing};
use crate::error::{Problem, VaultError};
use crate::ids::NodeId;
use crate::pull::regression;
use crate::push::check_line;
use crate::replica::Replica;
use crate::state::{self, NodeState, OwnState};
use crate::vault::MANIFESTS;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// One listing; `vault.json` only if the listing leaves a doubt.
    Listing,
    /// The listing and `vault.json`: one request more.
    VaultFile,
}

/// What a glance showed.
#[derive(Debug)]
pub struct Glance {
    /// Devices of which the store has a manifest.
    pub devices: u64,
    /// Devices whose newest manifest was not read here yet.
    pub news_from: u64,
    /// A conflict about this device's own line, which waits for a person.
    pub conflict: Option<VaultError>,
    /// What the store does not show of other devices, though it was published: withheld, put back, or still under way.
    pub hidden: Vec<Problem>,
}

impl<R: Replica> Device<'_, R> {
    /// Looks at the store.
    ///
    /// # Errors
    /// The store's or the database's; or that the vault is gone from there, damaged, another one or has a newer key.
    pub async fn glance(&mut self, look: Look) -> Result<Glance, VaultError> {
        let own: Option<OwnState> = state::load(self.replica, &self.state_keys.own())?;
        // What a pull learns meanwhile may be newer than the listing.
        let before = state::load_nodes(self.replica, &self.state_keys)?;
        let listing = self.list_manifests(MANIFESTS).await?;
        // An empty store looks like a disk that is not mounted, and like a vault in which nothing was published yet.
        if look == Look::VaultFile || listing.nodes.is_empty() {
            self.vault.check_file().await?;
        }
        let conflict = match &own {
            Some(own) => self.conflict(own, &listing).await?,
            None => None,
        };
        let known = state::load_nodes(self.replica, &self.state_keys)?;
        let is_news = |node: &NodeId, newest: u64| {
            let is_own = own.as_ref().is_some_and(|own| own.node == *node);
            let is_read = |state: &NodeState| state.newest.sequence >= newest;
            !is_own && !known.get(node).is_some_and(is_read)
        };
        let newest = |(node, refs): (&NodeId, &Vec<crate::manifest::ManifestRef>)| {
            Some((*node, refs.last()?.sequence))
        };
        let lines: Vec<(NodeId, u64)> = listing.nodes.iter().filter_map(newest).collect();
        let news = lines.iter().filter(|(node, newest)| is_news(node, *newest));
        let news_from = news.count() as u64;
        let hidden = match &own {
            Some(own) => self.hidden(own, &before, &listing, news_from)?,
            None => vec![],
        };
        Ok(Glance {
            devices: lines.len() as u64,
            news_from,
            conflict,
            hidden,
        })
    }

    /// What the listing does not show of what others published.
    fn hidden(
        &self,
        own: &OwnState,
        known: &BTreeMap<NodeId, NodeState>,
        listing: &Listing,
        news_from: u64,
    ) -> Result<Vec<Problem>, VaultError> {
        let mut hidden = self.not_shown(own, known, listing)?;
        let is_other =
            |node: &NodeId, state: &NodeState| *node != own.node && state.removed_by.is_none();
        let others = known.iter().filter(|(node, state)| is_other(node, state));
        for (node, seen) in others.filter(|_| news_from == 0) {
            let shown = listing.nodes.get(node).and_then(|refs| refs.last());
            if shown.is_none_or(|shown| shown.sequence < seen.newest.sequence) {
                hidden.push(regression(*node, seen, shown));
            }
        }
        Ok(hidden)
    }

    /// What a push would say of this device's own line, if it could not go on by itself.
    pub(crate) async fn conflict(
        &self,
        own: &OwnState,
        listing: &Listing,
    ) -> Result<Option<VaultError>, VaultError> {
        if own.relearn || own.is_unclaimed() {
            return Ok(None);
        }
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        let Err(error) = check_line(&self.with_intended(own)?, found) else {
            return Ok(None);
        };
        if self.is_twin(own, listing)? {
            return Ok(None);
        }
        let now: Option<OwnState> = state::load(self.replica, &self.state_keys.own())?;
        let has_moved = now.as_ref() != Some(own);
        let goes_on = has_moved || self.taken_over(own.node, listing, None).await?.is_some();
        Ok((!goes_on).then_some(error))
    }
}
