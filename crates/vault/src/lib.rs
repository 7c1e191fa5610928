//! An end-to-end encrypted, replicated log of records over a store that offers no more than PUT, GET, LIST and DELETE of whole objects.
//!
//! Every device appends under an identity of its own and nobody runs a server. A device's records travel in *segments*; its *manifest*
//! names the live ones. Merging is a union by record id, so the order of arrival never matters. `docs/format.md` describes the bytes.
//!
//! What must hold: what a push acknowledged stays readable by every device that has the key; the store's owner learns no content and
//! changes none unnoticed; no conditional write, rename or lock of the store is relied on.
//!
//! How that follows, each rule kept in one place:
//!
//! - *Names follow from content*, so an object that was garbage may come back live. Garbage never lists what the newest manifest
//!   names, and the garbage of a line that is disputed is dropped (`state`, `push`).
//! - *Every record is somebody's own.* What a device learnt from another's live segment is never in its own segments, and what is in
//!   its own segments (published, in an unsettled intent, in an unfinished push, or about to be taken over) never comes to count as
//!   learnt. Otherwise two devices could each leave a record to the other, and the next merges would drop it (`Device::published_floor`).
//! - *A line's records vanish only after one other line took over all of them*: nothing of it goes that was not read, or is known to be
//!   elsewhere, unless a person gives that up (`mend`, `push::retire`, [`Device::remove_damaged_device`]). After a conflict a device
//!   publishes everything again under a new identity (`OwnState::reborn`); it takes the old line over once nobody seems to write there, and whoever does all the same finds out and is reborn in turn.
//! - *An object is removed only by its writer, or by who took its line over*, after the grace period, and never while a manifest
//!   that counts names it (`push::clean`). What lies under an identity of a device without being its own is read and published by it
//!   before (`push::strays`).
//! - *What cannot be read now is never treated as gone*: it holds nothing else up, is named, and is asked for again. What is gone and not
//!   missed, because its records are known to be elsewhere, does not keep a line from being taken over: the line itself may show it
//!   (`lineage`), and a device knows it of identities that it left itself (`OwnState::held`). A removal by hand asks the line alone.
//!
//! What it deliberately does not do: know what a record means (that is the tool's [`Replica`]), read the environment, or print.

mod absorb;
mod accept;
mod change;
mod device;
mod entropy;
mod error;
mod glance;
mod ids;
mod keys;
mod lineage;
mod maintain;
mod manifest;
mod marks;
mod mend;
mod overview;
mod pull;
mod push;
mod replica;
mod seal;
mod selftest;
mod state;
mod tiers;
mod vault;
mod verify;
mod withheld;

pub use absorb::Absorbed;
pub use change::Rotation;
pub use device::{Device, Observer, Options, Step};
pub use entropy::Entropy;
pub use error::{Problem, ProblemKind, VaultError};
pub use glance::{Glance, Look};
pub use ids::{InvalidId, NodeId, ObjectHash, RecordId, VaultId};
pub use keys::{
    KdfCost, Keyring, Secret, Slot, SlotKind, Succession, VaultFile, WrappedKey,
    new_recovery_phrase,
};
pub use maintain::{RepairReport, ResetMode};
pub use manifest::{Manifest, ManifestRef, SegmentEntry, Takeover};
pub use overview::{DeviceOverview, Overview};
pub use pull::{PullMode, PullReport};
pub use push::{PushMode, PushReport};
pub use replica::{Applied, Change, Malformed, Replica, ReplicaError, Source};
pub use seal::{FORMAT_VERSION, ObjectKind, OpenError, Place, Sealed, open, seal};
pub use selftest::{SelfTest, self_test};
pub use state::{
    Garbage, Intent, Leaving, Left, NodeState, OwnSegment, OwnState, PushProgress, Retired,
    StateKeys,
};
pub use vault::{MANIFESTS, SEGMENTS, VAULT_FILE, Vault};
pub use verify::{VerifyMode, VerifyReport};
