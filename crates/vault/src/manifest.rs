//! Manifests: a node's table of contents, one immutable object a push, numbered, each naming the one before it.
//!
//! What must hold: the newest manifest of a node lists every live segment of it; a reader that has applied those has all its
//! records. What it deliberately does not do: list records, or say anything about another node but what was seen of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, ObjectHash};
use crate::seal::{ObjectKind, Place};

/// One live segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// The first local number it covers.
    pub first: u64,
    /// The last local number it covers, inclusive.
    pub last: u64,
    /// The hash its name ends in.
    pub hash: ObjectHash,
    /// How many records it holds.
    pub records: u64,
    /// Its size in the store, in bytes.
    pub bytes: u64,
    /// Its plaintext size in bytes, so that a reader can bound its memory before it fetches.
    pub raw_bytes: u64,
    /// The tool's time of its newest record, in microseconds since the Unix epoch: only to fetch the newest first.
    pub newest: i64,
    /// The segments that it was made from by leaving forgotten records out: a reader that applied all of them need not fetch it.
    /// Empty for a segment that brings anything new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<ObjectHash>,
}

impl SegmentEntry {
    /// The segment's key, written by `node`.
    pub fn key(&self, node: NodeId) -> String {
        Place {
            kind: ObjectKind::Segment,
            node,
            first: self.first,
            last: self.last,
        }
        .key(self.hash)
    }
}

/// A manifest that a node has written or was seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Counts the node's manifests from 1.
    pub sequence: u64,
    /// The hash its name ends in.
    pub hash: ObjectHash,
}

impl ManifestRef {
    /// The manifest's key, written by `node`.
    pub fn key(&self, node: NodeId) -> String {
        Place {
            kind: ObjectKind::Manifest,
            node,
            first: self.sequence,
            last: 0,
        }
        .key(self.hash)
    }
}

/// How far a line was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The last of its manifests.
    #[serde(flatten)]
    pub at: ManifestRef,
    /// The hashes of other manifests with that number, if two machines wrote there: they were taken over too. A reader that does not
    /// know of this field takes the line for alive, and loses nothing by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<ObjectHash>,
    /// Whether not all of it could be read, and the rest was given up: a device that has the rest publishes it. A reader that does not know of
    /// this field leaves that to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_partial: bool,
}

impl Takeover {
    /// Of a whole line, of which `refs` are listed, ascending; `None` if nothing is.
    pub(crate) fn of(refs: &[ManifestRef]) -> Option<Self> {
        let (at, older) = refs.split_last()?;
        let has_its_number = |other: &&ManifestRef| other.sequence == at.sequence;
        Some(Self {
            at: *at,
            twins: older
                .iter()
                .filter(has_its_number)
                .map(|twin| twin.hash)
                .collect(),
            is_partial: false,
        })
    }

    /// Whether a line, of which `refs` are listed, has anything that this does not cover.
    pub(crate) fn is_outlived(&self, refs: &[ManifestRef]) -> bool {
        let is_covered = |hash: &ObjectHash| *hash == self.at.hash || self.twins.contains(hash);
        refs.iter().any(|found| {
            found.sequence > self.at.sequence
                || (found.sequence == self.at.sequence && !is_covered(&found.hash))
        })
    }

    /// Covers what either of the two does: the holder of both has the records of both.
    pub(crate) fn join(&mut self, other: Self) {
        if other.at.sequence > self.at.sequence {
            *self = other;
        } else if other.at.sequence == self.at.sequence {
            let hashes = other.twins.into_iter().chain([other.at.hash]);
            self.twins.extend(hashes);
            self.twins.sort_unstable();
            self.twins.dedup();
            self.twins.retain(|hash| *hash != self.at.hash);
            self.is_partial |= other.is_partial;
        }
    }
}

/// Adds takeovers to others; what was taken over further stays so.
pub(crate) fn join_takeovers(
    known: &mut BTreeMap<NodeId, Takeover>,
    others: impl IntoIterator<Item = (NodeId, Takeover)>,
) {
    for (node, takeover) in others {
        match known.entry(node) {
            Entry::Vacant(entry) => drop(entry.insert(takeover)),
            Entry::Occupied(mut entry) => entry.get_mut().join(takeover),
        }
    }
}

/// A manifest this far behind its node's newest is none that the node itself kept (it keeps 40 at most).
const STRAY_DISTANCE: u64 = 64;

/// The manifests of a line, ascending, that its newest does not speak for: somebody else wrote under the same identity.
pub(crate) fn forks(refs: &[ManifestRef]) -> Vec<ManifestRef> {
    let Some(newest) = refs.last() else {
        return vec![];
    };
    let has_twin = |manifest: &ManifestRef| {
        refs.iter()
            .any(|other| other.sequence == manifest.sequence && other.hash != manifest.hash)
    };
    // A device removes its old manifests long before they are so many: this one comes from somewhere else.
    let is_stray = |manifest: &ManifestRef| manifest.sequence + STRAY_DISTANCE < newest.sequence;
    refs.iter()
        .filter(|manifest| *manifest != newest && (has_twin(manifest) || is_stray(manifest)))
        .copied()
        .collect()
}

/// The content of a manifest, stored as JSON. Unknown fields are ignored by readers of this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the device calls itself.
    pub name: String,
    /// When it was written, in milliseconds since the Unix epoch by that device's clock: shown to people, never relied on.
    pub written_ms: i64,
    /// The manifest before this one; `None` for the first.
    pub previous: Option<ManifestRef>,
    /// The live segments, by ascending `first`.
    pub segments: Vec<SegmentEntry>,
    /// The newest manifest of every other node that was fully applied when this one was written.
    pub seen: BTreeMap<NodeId, ManifestRef>,
    /// Nodes whose records this one has taken over; their manifests up to the one named are to be ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<NodeId, Takeover>,
    /// Of other nodes: the number of a manifest that was seen and is not shown, and that a person accepted, on this device or on one whose
    /// manifest said so, to be not to be had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<NodeId, u64>,
}

impl Manifest {
    /// All records in live segments.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// All bytes of live segments in the store.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}
