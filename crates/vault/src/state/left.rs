//! What a device knows of the lines that it gave up, and of what others uploaded there.
//!
//! What must hold: a segment counts as held only if all its records are this device's own, or somebody's whose line is not in question;
//! what is noted of a line that was given up is kept as long as anybody may write there. A reset that keeps the identity
//! (`reset --local-only`) keeps it as well, but for which segments are held: these are read anew.
//! What it deliberately does not do: ask the store.

use std::collections::BTreeSet;

use super::{Garbage, Left, OwnState};
use crate::ids::{NodeId, ObjectHash};
use crate::manifest::ManifestRef;
use crate::seal::{ObjectKind, Place};

impl OwnState {
    /// Notes that the line of `node` was given up before its first manifest, or while that was under way (`first`). Should it never
    /// have arrived, nobody else clears the segments away.
    pub(crate) fn leave_unpublished(
        &mut self,
        node: NodeId,
        first: Option<ManifestRef>,
        segments: Vec<String>,
        now_ms: i64,
    ) {
        let left = self.left.entry(node).or_default();
        left.written = first;
        left.unpublished = true;
        self.discard(segments, now_ms, true);
    }

    /// Whether a line that this device gave up, and that ends in `newest` now, is known to end in what this device did not write there.
    pub(crate) fn is_written_on(&self, node: NodeId, newest: ManifestRef) -> bool {
        let left = self
            .left
            .get(&node)
            .filter(|_| self.earlier.contains(&node));
        left.is_some_and(|left| {
            left.seen.is_some() || left.written.is_some_and(|written| written != newest)
        })
    }

    /// Whether what the database has of a line that is not this device's own is on its own account: it is disputed or was taken over,
    /// and nothing comes to count as learnt from it.
    pub(crate) fn is_ours_too(&self, node: NodeId) -> bool {
        self.former.contains(&node) || self.removed.contains_key(&node)
    }

    /// The identities that this device gave up and under which no manifest is known to have been written, of those not `listed` now.
    pub(crate) fn never_listed<'n>(
        &self,
        listed: impl Iterator<Item = &'n NodeId>,
    ) -> BTreeSet<NodeId> {
        let listed: BTreeSet<&NodeId> = listed.collect();
        let earlier = self.earlier.iter().filter(|node| !listed.contains(node));
        earlier
            .filter(|node| {
                let is_left = self.left.get(node).is_some_and(Left::is_unseen);
                is_left && !self.removed.contains_key(node)
            })
            .copied()
            .collect()
    }

    /// Whether a segment of a line that was given up was read, and what it holds is this device's own.
    pub(crate) fn has_taken_in(&self, key: &str) -> bool {
        Place::parse(key).is_some_and(|(place, hash)| {
            let held = self.held.get(&place.node);
            held.is_some_and(|held| held.contains(&hash))
        })
    }

    /// Notes that objects of a line that was given up are removed: nobody misses them, should a manifest name them after all.
    pub(crate) fn has_removed(&mut self, node: NodeId, objects: &[Garbage]) {
        if self.earlier.contains(&node) {
            let hashes = objects
                .iter()
                .filter_map(|object| Place::parse(&object.key))
                .filter(|(place, _)| place.kind == ObjectKind::Segment)
                .map(|(_, hash)| hash);
            self.held.entry(node).or_default().extend(hashes);
        }
    }

    /// The segments of a line that nobody misses should they be gone.
    pub(crate) fn held_of(&self, node: NodeId) -> BTreeSet<ObjectHash> {
        let is_settled = self.is_ours_too(node) && !self.lacking;
        let held = self.held.get(&node).filter(|_| is_settled);
        held.cloned().unwrap_or_default()
    }

    /// Whether a segment of a line that was given up counts for nothing when it is asked what others have: this device has its records
    /// on its own account, or is about to.
    pub(crate) fn is_on_own_account(&self, key: &str) -> bool {
        let is_left = |place: &Place| place.node != self.node && self.is_ours_too(place.node);
        Place::parse(key).is_some_and(|(place, _)| is_left(&place)) && self.has_taken_in(key)
    }

    /// Forgets which segments are held of lines that never were this device's: only who left a line asks for it.
    pub(super) fn prune_held(&mut self) {
        let (node, earlier) = (self.node, &self.earlier);
        self.held
            .retain(|line, _| *line == node || earlier.contains(line));
    }
}

impl Left {
    /// Whether nobody is known to have written a manifest there; one of this device may have been under way.
    pub(crate) fn is_unseen(&self) -> bool {
        self.seen.is_none() && (self.written.is_none() || self.unpublished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Takeover;
    use crate::state::Leaving;

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn leaving(n: u8) -> Leaving {
        let hash = ObjectHash([n; 16]);
        let at = ManifestRef { sequence: 1, hash };
        Leaving {
            takeover: Takeover {
                at,
                twins: vec![],
                is_partial: false,
            },
            keys: vec![],
            held: [hash].into(),
            removed: [].into(),
        }
    }

    #[test]
    fn what_is_held_is_kept_for_lines_of_its_own_only() {
        let mut own = OwnState::fresh(node(1)).reborn(node(2), true);
        let old = [ObjectHash([9; 16])];
        own.held.insert(node(2), old.into());
        own.held.insert(node(7), old.into());
        own.leaving.insert(node(1), leaving(1));
        own.leaving.insert(node(8), leaving(8));
        own.take_over(0);
        assert_eq!(own.held_of(node(1)), leaving(1).held);
        let kept: Vec<NodeId> = own.held.into_keys().collect();
        assert_eq!(kept, [node(1), node(2)]);
    }

    #[test]
    fn a_line_was_never_listed_only_if_nothing_of_it_is_known() {
        let mut own = OwnState::fresh(node(1)).reborn(node(2), true);
        let unseen = |own: &OwnState| own.never_listed(std::iter::empty());
        assert_eq!(unseen(&own), [node(1)].into());
        assert_eq!(own.never_listed([node(1)].iter()), [].into());
        let at = leaving(1).takeover.at;
        let left = own.left.clone();
        for (written, unpublished, is_unseen) in [
            (None, true, true),
            (Some(at), true, true),
            (Some(at), false, false),
        ] {
            let left = own.left.get_mut(&node(1)).expect("it left it");
            (left.written, left.unpublished) = (written, unpublished);
            assert_eq!(!unseen(&own).is_empty(), is_unseen);
        }
        own.left = left;
        own.left.get_mut(&node(1)).expect("it left it").seen = Some(at);
        assert_eq!(unseen(&own), [].into());
        own.left.clear();
        assert_eq!(unseen(&own), [].into());
    }
}
