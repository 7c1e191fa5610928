//! Which manifests of one line go on from which, and whether a segment that is gone is missed.
//!
//! What must hold: whoever writes a manifest has, in the segments it names, everything that the one before it named, less what was
//! forgotten. So where two machines wrote one line, and one replaced and removed what the other's manifest still names, nothing is lost
//! as long as the end of the first one's history can be read. A segment counts as accounted for only by an end that is whole itself:
//! two ends that each lack something are not taken as each other's witnesses. It holds for whoever takes a line over: the device that
//! left it, or another that removes it by hand.
//! What it deliberately does not do: fetch, or judge objects that are there and cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ObjectHash;
use crate::manifest::{Manifest, ManifestRef};

/// Manifests of one line that were read: the segments that each names, and what it goes on from.
#[derive(Default)]
pub(crate) struct Lineage {
    read: BTreeMap<(u64, ObjectHash), Known>,
}

struct Known {
    previous: Option<ManifestRef>,
    segments: Vec<ObjectHash>,
}

impl Lineage {
    /// Adds one that was read.
    pub(crate) fn add(&mut self, at: ManifestRef, manifest: &Manifest) {
        let known = Known {
            previous: manifest.previous,
            segments: manifest.segments.iter().map(|entry| entry.hash).collect(),
        };
        self.read.insert((at.sequence, at.hash), known);
    }

    pub(crate) fn has(&self, at: ManifestRef) -> bool {
        self.read.contains_key(&(at.sequence, at.hash))
    }

    /// Whether everything that the segments in `gone` held, which `heads` name, is in what else the heads name. Each head must have been read.
    pub(crate) fn accounts_for(&self, heads: &[ManifestRef], gone: &BTreeSet<ObjectHash>) -> bool {
        let mut lacking: Vec<ManifestRef> = heads.to_vec();
        let mut carried = BTreeSet::new();
        loop {
            let before = lacking.len();
            lacking.retain(|head| {
                let is_whole = self.names(*head).is_some_and(|segments| {
                    segments
                        .iter()
                        .all(|hash| !gone.contains(hash) || carried.contains(hash))
                });
                if is_whole {
                    self.carry(*head, &mut carried);
                }
                !is_whole
            });
            if lacking.is_empty() || lacking.len() == before {
                return lacking.is_empty();
            }
        }
    }

    fn names(&self, at: ManifestRef) -> Option<&[ObjectHash]> {
        let known = self.read.get(&(at.sequence, at.hash))?;
        Some(&known.segments)
    }

    /// Notes what a whole head has: all that it and the manifests it goes on from ever named.
    fn carry(&self, head: ManifestRef, carried: &mut BTreeSet<ObjectHash>) {
        let mut next = Some(head);
        while let Some(at) = next.take() {
            let Some(known) = self.read.get(&(at.sequence, at.hash)) else {
                return;
            };
            carried.extend(&known.segments);
            // Numbers fall on the way back; what says otherwise is followed no further.
            next = known
                .previous
                .filter(|previous| previous.sequence < at.sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::SegmentEntry;

    fn hash(n: u8) -> ObjectHash {
        ObjectHash([n; 16])
    }

    fn at(sequence: u64, twin: u8) -> ManifestRef {
        ManifestRef {
            sequence,
            hash: hash(twin),
        }
    }

    /// A line of manifests, each as where it is, what it goes on from, and the segments that it names.
    fn line(manifests: &[(ManifestRef, Option<ManifestRef>, &[u8])]) -> Lineage {
        let mut lineage = Lineage::default();
        for (at, previous, names) in manifests {
            let entry = |n: &u8| SegmentEntry {
                first: 1,
                last: 1,
                hash: hash(*n),
                records: 1,
                bytes: 1,
                raw_bytes: 1,
                newest: 0,
                replaces: vec![],
            };
            let manifest = Manifest {
                name: String::new(),
                written_ms: 0,
                previous: *previous,
                segments: names.iter().map(entry).collect(),
                seen: BTreeMap::new(),
                removed: BTreeMap::new(),
                accepted: BTreeMap::new(),
            };
            lineage.add(*at, &manifest);
        }
        lineage
    }

    fn gone(names: &[u8]) -> BTreeSet<ObjectHash> {
        names.iter().map(|n| hash(*n)).collect()
    }

    #[test]
    fn what_a_whole_end_goes_on_from_is_not_missed() {
        let common = at(1, 0);
        let (one, twin, end) = (at(2, 1), at(2, 2), at(3, 0));
        let lineage = line(&[
            (common, None, &[10, 11]),
            (one, Some(common), &[12]),
            (twin, Some(common), &[10, 11, 20]),
            (end, Some(one), &[13]),
        ]);
        let heads = [end, one, twin];
        assert!(lineage.accounts_for(&heads, &gone(&[])));
        // The first machine merged all it had, twice.
        assert!(lineage.accounts_for(&heads, &gone(&[10, 11, 12])));
        // What only its twin ever had, and the end itself, are another matter.
        assert!(!lineage.accounts_for(&heads, &gone(&[10, 20])));
        assert!(!lineage.accounts_for(&heads, &gone(&[10, 13])));
    }

    #[test]
    fn two_ends_that_lack_something_are_not_each_others_witnesses() {
        let (early, late) = (at(1, 0), at(2, 0));
        let (one, twin) = (at(3, 1), at(3, 2));
        let lineage = line(&[
            (early, None, &[10]),
            (late, Some(early), &[11]),
            (one, Some(late), &[10]),
            (twin, Some(late), &[11]),
        ]);
        assert!(!lineage.accounts_for(&[one, twin], &gone(&[10, 11])));
        assert!(lineage.accounts_for(&[one, twin], &gone(&[10])));
        assert!(lineage.accounts_for(&[one, twin], &gone(&[11])));
    }

    #[test]
    fn a_history_with_a_gap_or_a_ring_says_nothing() {
        let (lost, one, twin) = (at(1, 0), at(2, 1), at(2, 2));
        let lineage = line(&[(one, Some(lost), &[11]), (twin, Some(lost), &[10])]);
        assert!(!lineage.accounts_for(&[one, twin], &gone(&[10])));
        assert!(!lineage.accounts_for(&[one, at(9, 9)], &gone(&[])));
        let ring = line(&[(one, Some(one), &[11]), (twin, Some(one), &[10])]);
        assert!(!ring.accounts_for(&[one, twin], &gone(&[10])));
    }
}
