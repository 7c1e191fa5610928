//! What a device remembers about a vault between runs, kept in the tool's database through [`Replica`].
//!
//! What must hold: each value changes in the same transaction as the records it speaks of; losing all of it costs time, never records
//! (a reset device reads everything again and publishes what is missing).
//!
//! What it deliberately does not do: hold keys; hold anything that the store's owner could use if it were lost.

mod garbage;
mod left;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::garbage::{Garbage, Unreadable};
use crate::error::{Problem, VaultError};
use crate::ids::{NodeId, ObjectHash, VaultId};
use crate::manifest::{Manifest, ManifestRef, SegmentEntry, Takeover, join_takeovers};
use crate::replica::{Change, Replica};
use crate::seal::Place;

/// What this device has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnState {
    /// This device's writing identity.
    pub node: NodeId,
    /// Its newest manifest; `None` before the first push.
    pub newest: Option<ManifestRef>,
    /// Everything numbered up to here and not learnt from the vault is published.
    pub published: u64,
    /// The live segments of the newest manifest.
    pub live: Vec<OwnSegment>,
    /// Replaced segments that still wait for their removal.
    pub garbage: Vec<Garbage>,
    /// The manifests before the newest that are still in the store, oldest first.
    #[serde(default)]
    pub older: Vec<ManifestRef>,
    /// Manifests that were removed not long ago: a listing that is behind may still show them.
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// Identities of this device that were given up after a conflict, or whose lines were not listed any more for long: their records
    /// are published again under this one.
    #[serde(default)]
    pub former: Vec<NodeId>,
    /// Nodes whose records this one took over, as its newest manifest says.
    #[serde(default)]
    pub removed: BTreeMap<NodeId, Takeover>,
    /// Nodes whose records this one is taking over: the next manifest says so and holds them. Until then nothing of theirs is
    /// touched, and no record of this device comes to count as learnt.
    #[serde(default)]
    pub leaving: BTreeMap<NodeId, Leaving>,
    /// All identities that this device gave up, after a conflict or by a reset.
    #[serde(default)]
    pub earlier: Vec<NodeId>,
    /// What is known of the lines of those identities, until this device takes them over.
    #[serde(default)]
    pub left: BTreeMap<NodeId, Left>,
    /// Segments of those lines, and of its present one, whose records this device has on its own account: it published them, or has them
    /// from somebody else's line; or will, once it has found what it is `lacking`. Should one be gone, nobody misses it. Of a line that was
    /// taken over they are kept, for somebody may come back there and name them once more.
    #[serde(default)]
    pub held: BTreeMap<NodeId, BTreeSet<ObjectHash>>,
    /// When the lines that this device took over were last searched for what came late, in milliseconds since the Unix epoch by this
    /// device's clock.
    #[serde(default)]
    pub searched_ms: i64,
    /// When its own line was last searched for what it did not write itself, in milliseconds since the Unix epoch by this device's clock.
    #[serde(default)]
    pub swept_ms: i64,
    /// Lines of which objects wait for their removal and no manifest is listed, since when, in milliseconds since the Unix epoch by this
    /// device's clock: after a while nothing of them can come any more.
    #[serde(default)]
    pub unlisted: BTreeMap<NodeId, i64>,
    /// Segments that strayed into this device's lines, by key, and could not be read.
    #[serde(default)]
    pub unreadable: BTreeMap<String, Unreadable>,
    /// Set by a reset: the next pull takes the store as it is.
    #[serde(default)]
    pub lenient: bool,
    /// Set while a push that publishes everything again is under way. `published` stays as it is until its manifest is written, so
    /// that no record counts as another device's while the segment that holds it is about to be replaced.
    #[serde(default)]
    pub full: bool,
    /// Set by a repair that gave segments up which the newest manifest still names: the next push writes a manifest without them,
    /// even if nothing is pending.
    #[serde(default)]
    pub outdated: bool,
    /// Set once an older state of the store was accepted, or a line was given up that this device had learnt again after a reset: what
    /// only the lost part, or that line, holds is to be found and published again.
    #[serde(default)]
    pub lacking: bool,
    /// Set by a reset that keeps the identity: the next pull learns from the store what was published.
    #[serde(default)]
    pub relearn: bool,
    /// Set by a reset that keeps the identity, until a manifest is written: should the store show one all the same, it is somebody
    /// else's (an image of this machine was started twice, say), and the identity is given up.
    #[serde(default)]
    pub unclaimed: bool,
    /// Set when this identity took another's place, until its first manifest is written: everything numbered up to here that was not
    /// learnt is in the vault under an earlier identity, as far as is known, and is only to be published again.
    #[serde(default)]
    pub again: Option<u64>,
    /// Set where a live segment that the database cannot make again was seen to hold forgotten records, which were never here: the next
    /// push looks into those segments even if nothing was erased since.
    #[serde(default)]
    pub stained: bool,
    /// The newest key, by its fingerprint, once `vault.json` showed after it was made that it holds: two devices may rotate at once.
    #[serde(default)]
    pub proved: Option<String>,
}

/// A live segment of this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnSegment {
    /// As the manifest has it.
    #[serde(flatten)]
    pub entry: SegmentEntry,
    /// Whether the local database can make it again. Not so for segments relearnt after a reset: those are never merged.
    pub local: bool,
}

/// A node whose records are being taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Its newest manifests, all of whose records this device has made its own.
    #[serde(rename = "at")]
    pub takeover: Takeover,
    /// Its objects, to be removed once the grace period after the takeover is over.
    pub keys: Vec<String>,
    /// The segments that its newest manifests name and that need not be there any more: what was read of them and, of an earlier identity
    /// of this device, what it had before or the line itself shows to be elsewhere. Of use only for such an identity, and kept for no other.
    #[serde(default)]
    pub held: BTreeSet<ObjectHash>,
    /// What it had taken over itself.
    pub removed: BTreeMap<NodeId, Takeover>,
}

/// The line of an identity that this device gave up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The newest manifest that this device wrote there: a line that still ends in it was left by everybody.
    pub written: Option<ManifestRef>,
    /// What the line ended in when it was last looked at, if that is something else: another machine may be writing there.
    pub seen: Option<ManifestRef>,
    /// Since when it does, in milliseconds since the Unix epoch by this device's clock.
    pub since_ms: i64,
    /// Whether it may well have no manifest: at most `written` was under way when the identity was given up, and nothing before it.
    #[serde(default)]
    pub unpublished: bool,
}

/// A manifest that this device removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The manifest.
    pub manifest: ManifestRef,
    /// Since when, in milliseconds since the Unix epoch by this device's clock.
    pub since_ms: i64,
}

/// What this device has seen of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// What it calls itself.
    pub name: String,
    /// The newest manifest that was read.
    pub newest: ManifestRef,
    /// When it says it wrote that, in milliseconds since the Unix epoch.
    pub written_ms: i64,
    /// Whether every live segment of that manifest was applied.
    pub complete: bool,
    /// The live segments (and, while a pull is unfinished, others) that were applied.
    pub applied: Vec<ObjectHash>,
    /// How many records its live segments hold.
    pub records: u64,
    /// How many bytes they take in the store.
    pub bytes: u64,
    /// Who took over its records, if it was removed: as far as `newest`.
    #[serde(default)]
    pub removed_by: Option<NodeId>,
    /// The hashes of other manifests with the number of `newest` that were taken over with it.
    #[serde(default)]
    pub twins: Vec<ObjectHash>,
    /// Whether the takeover gave up what could not be read.
    #[serde(default)]
    pub is_partial: bool,
    /// Second manifests with the number of another (a conflict) whose records were applied too.
    #[serde(default)]
    pub forks: Vec<ObjectHash>,
}

/// A push that was begun: segments that are in the store but in no manifest yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushProgress {
    /// What was uploaded, contiguous from the last published number on.
    pub segments: Vec<OwnSegment>,
    /// Everything numbered up to here is in them.
    pub reached: u64,
}

/// A manifest that is about to be written, or was written without the answer arriving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its key.
    pub key: String,
    /// Its bytes, hexadecimal: a retry writes the very same object.
    pub object: String,
    /// The state that holds once it is written.
    pub then: OwnState,
    /// The erased numbers that it deals with.
    pub erased: Vec<u64>,
}

/// Reads and writes the vault's state by name.
#[derive(Clone, Copy, Debug)]
pub struct StateKeys {
    vault: VaultId,
}

impl StateKeys {
    /// The names for one vault.
    pub fn new(vault: VaultId) -> Self {
        Self { vault }
    }

    /// Of [`OwnState`].
    pub fn own(&self) -> String {
        format!("vault/{}/own", self.vault)
    }
    /// Of [`PushProgress`].
    pub fn progress(&self) -> String {
        format!("vault/{}/push", self.vault)
    }
    /// Of the keys of segments that were about to be written since the last manifest.
    pub fn attempts(&self) -> String {
        format!("vault/{}/attempts", self.vault)
    }
    /// Of [`Intent`].
    pub fn intent(&self) -> String {
        format!("vault/{}/intent", self.vault)
    }
    /// Of how many records were applied of segments that a pull was cut off in.
    pub fn begun(&self) -> String {
        format!("vault/{}/begun", self.vault)
    }
    /// Of the list of [`Problem`]s found by the last pull or verification.
    pub fn quarantine(&self) -> String {
        format!("vault/{}/quarantine", self.vault)
    }
    /// Of the highest generation of `vault.json` that was seen, a number.
    pub fn generation(&self) -> String {
        format!("vault/{}/generation", self.vault)
    }
    /// Of the manifests that others saw and this store does not show.
    pub(crate) fn withheld(&self) -> String {
        format!("vault/{}/withheld", self.vault)
    }
    /// Of one [`NodeState`].
    pub fn node(&self, node: NodeId) -> String {
        format!("vault/{}/node/{node}", self.vault)
    }
    /// What the names of all [`NodeState`]s begin with.
    pub fn nodes(&self) -> String {
        format!("vault/{}/node/", self.vault)
    }
    /// What all names for this vault begin with.
    pub fn all(&self) -> String {
        format!("vault/{}/", self.vault)
    }
}

/// Reads one value.
pub(crate) fn load<R: Replica, T: DeserializeOwned>(
    replica: &R,
    key: &str,
) -> Result<Option<T>, VaultError> {
    let bytes = replica.load(key).map_err(|source| VaultError::Replica {
        doing: "read the sync state",
        source,
    })?;
    bytes
        .map(|bytes| {
            serde_json::from_slice(&bytes).map_err(|source| VaultError::DamagedState {
                key: key.into(),
                source,
            })
        })
        .transpose()
}

/// A change that keeps a value.
pub(crate) fn keep<T: Serialize>(key: String, value: &T) -> Change {
    (
        key,
        Some(serde_json::to_vec(value).expect("plain data serialises")),
    )
}

/// A change that forgets a value.
pub(crate) fn forget(key: String) -> Change {
    (key, None)
}

/// Saves changes.
pub(crate) fn save<R: Replica>(replica: &mut R, changes: &[Change]) -> Result<(), VaultError> {
    replica.save(changes).map_err(|source| VaultError::Replica {
        doing: "save the sync state",
        source,
    })
}

/// What was seen of every other node.
pub(crate) fn load_nodes<R: Replica>(
    replica: &R,
    keys: &StateKeys,
) -> Result<BTreeMap<NodeId, NodeState>, VaultError> {
    let prefix = keys.nodes();
    let names = replica
        .keys(&prefix)
        .map_err(|source| VaultError::Replica {
            doing: "list the sync state",
            source,
        })?;
    let mut nodes = BTreeMap::new();
    for name in names {
        let Ok(node) = name[prefix.len()..].parse() else {
            continue;
        };
        if let Some(state) = load(replica, &name)? {
            nodes.insert(node, state);
        }
    }
    Ok(nodes)
}

impl OwnState {
    /// A device that has published nothing.
    pub fn fresh(node: NodeId) -> Self {
        Self {
            node,
            newest: None,
            published: 0,
            live: vec![],
            garbage: vec![],
            older: vec![],
            retired: vec![],
            former: vec![],
            removed: BTreeMap::new(),
            leaving: BTreeMap::new(),
            earlier: vec![],
            left: BTreeMap::new(),
            held: BTreeMap::new(),
            searched_ms: 0,
            swept_ms: 0,
            unlisted: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            lenient: false,
            full: false,
            outdated: false,
            lacking: false,
            relearn: false,
            unclaimed: false,
            again: None,
            stained: false,
            proved: None,
        }
    }

    /// A new identity for a device that gives its old one up.
    ///
    /// Everything not learnt from the vault becomes pending again. After a conflict (`disputed`) the old identity's objects do not
    /// count as published, since another machine may write under it.
    pub(crate) fn reborn(&self, node: NodeId, disputed: bool) -> Self {
        let mut next = Self::fresh(node);
        next.removed.clone_from(&self.removed);
        next.former.clone_from(&self.former);
        next.earlier.clone_from(&self.earlier);
        next.earlier.push(self.node);
        next.left.clone_from(&self.left);
        let left = Left {
            written: self.newest,
            ..Left::default()
        };
        next.left.insert(self.node, left);
        next.held.clone_from(&self.held);
        next.garbage.clone_from(&self.garbage);
        next.unlisted.clone_from(&self.unlisted);
        next.unreadable.clone_from(&self.unreadable);
        next.lacking = self.lacking;
        next.again = Some(self.in_vault());
        if disputed {
            // Names follow from content: what is garbage here may be live for the other machine that has this identity.
            let node = self.node;
            // None of their records counts as learnt, and from now on nothing comes to do so from that line: all are published again.
            // Those of relearnt segments do count as learnt, though from nobody else: what no other line shows is looked for first.
            let hashes = self.live.iter().map(|segment| segment.entry.hash);
            next.held.entry(node).or_default().extend(hashes);
            next.lacking |= self.live.iter().any(|segment| !segment.local);
            next.garbage.retain(|garbage| {
                Place::parse(&garbage.key).is_some_and(|(place, _)| place.node != node)
            });
            next.former.push(node);
        }
        next
    }

    /// Everything numbered up to here that was not learnt is in the vault, under this identity or an earlier one.
    pub(crate) fn in_vault(&self) -> u64 {
        self.published.max(self.again.unwrap_or_default())
    }

    /// Whether a reset kept this identity and nothing is known to be published under it: should the store show otherwise, it is given up.
    pub(crate) fn is_unclaimed(&self) -> bool {
        self.unclaimed && self.newest.is_none()
    }

    /// Makes what was being taken over part of the next manifest.
    pub(crate) fn take_over(&mut self, now_ms: i64) {
        self.prune_held();
        for (node, leaving) in std::mem::take(&mut self.leaving) {
            if self.earlier.contains(&node) {
                self.held.entry(node).or_default().extend(leaving.held);
            }
            let inherited = leaving
                .removed
                .into_iter()
                .filter(|(other, _)| *other != self.node);
            join_takeovers(
                &mut self.removed,
                inherited.chain([(node, leaving.takeover)]),
            );
            self.discard(leaving.keys, now_ms, true);
        }
    }

    /// The live segments as a manifest lists them.
    pub(crate) fn entries(&self) -> Vec<SegmentEntry> {
        self.live
            .iter()
            .map(|segment| segment.entry.clone())
            .collect()
    }
}

impl NodeState {
    /// A device of which only its removal is known.
    pub(crate) fn gone(takeover: &Takeover) -> Self {
        Self {
            name: String::new(),
            newest: takeover.at,
            written_ms: 0,
            complete: true,
            applied: vec![],
            records: 0,
            bytes: 0,
            removed_by: None,
            twins: vec![],
            is_partial: false,
            forks: vec![],
        }
    }

    /// Notes a takeover, and returns whether that is new. An older one does not hide a newer.
    pub(crate) fn remove(&mut self, by: NodeId, takeover: Takeover) -> bool {
        let taken = match self.taken_over() {
            None => takeover,
            Some(mut taken) => {
                taken.join(takeover);
                taken
            }
        };
        let is_new = self.taken_over().as_ref() != Some(&taken);
        if is_new {
            self.removed_by = Some(by);
            self.newest = taken.at;
            self.twins = taken.twins;
            self.is_partial = taken.is_partial;
        }
        is_new
    }

    /// How far somebody took it over.
    pub(crate) fn taken_over(&self) -> Option<Takeover> {
        self.removed_by.map(|_| Takeover {
            at: self.newest,
            twins: self.twins.clone(),
            is_partial: self.is_partial,
        })
    }

    /// Whether somebody took it over, and a line of which `refs` are listed has nothing beyond that.
    pub(crate) fn is_removed(&self, refs: &[ManifestRef]) -> bool {
        self.taken_over()
            .is_some_and(|takeover| !takeover.is_outlived(refs))
    }

    /// Makes the next pull fetch everything again.
    pub(crate) fn unapply(&mut self) {
        self.complete = false;
        self.applied.clear();
        self.forks.clear();
    }

    /// What is known once a manifest was read but nothing of it applied.
    pub(crate) fn read(manifest: &Manifest, newest: ManifestRef, applied: Vec<ObjectHash>) -> Self {
        Self {
            name: manifest.name.clone(),
            newest,
            written_ms: manifest.written_ms,
            complete: false,
            applied,
            records: manifest.records(),
            bytes: manifest.bytes(),
            removed_by: None,
            twins: vec![],
            is_partial: false,
            forks: vec![],
        }
    }
}

/// What a person should know of the last pull or verification.
pub(crate) fn quarantine_change(keys: &StateKeys, problems: &[Problem]) -> Change {
    if problems.is_empty() {
        forget(keys.quarantine())
    } else {
        keep(keys.quarantine(), &problems)
    }
}
