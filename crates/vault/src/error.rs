//! What can go wrong with a vault, named by what a person can do about it.
//!
//! What must hold: `Display` says this level only, `source()` the next; every error knows its remedy in words that name no tool
//! (a tool puts its own command in front). What it deliberately does not do: decide exit codes (that is `console`'s).

use store::StoreError;

use crate::ids::{NodeId, VaultId};

/// Why a vault operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The store failed; the cause has its own kind and remedy.
    #[error("{doing}")]
    Store {
        /// What the vault was about to do.
        doing: String,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The passphrase or recovery phrase opens no slot of this vault.
    #[error("the passphrase or recovery phrase does not open this vault")]
    WrongKey,
    /// The recovery phrase is not a valid one.
    #[error("the recovery phrase is not valid: {0}")]
    BadPhrase(String),
    /// There is no vault at the place.
    #[error("there is no vault in {0}")]
    NoVault(String),
    /// `vault.json` is gone from the place, and the rest of the vault is not.
    #[error("vault.json is gone from {0}, though objects of the vault are there")]
    NoVaultFile(String),
    /// `vault.json` cannot be understood.
    #[error("vault.json is damaged: {0}")]
    DamagedVaultFile(String),
    /// `vault.json` has another key of its epoch than this device.
    #[error(
        "vault.json is not under the key of epoch {epoch} that this device has: another device rotated the key at the same time, and its key holds; or somebody changed the file"
    )]
    OtherKey {
        /// The epoch of the file.
        epoch: u32,
    },
    /// `vault.json` is this vault's, from before a rotation that this device knows of.
    #[error(
        "vault.json is an old one: it has epoch {epoch}, and the key was rotated to epoch {newest}; an old copy was put back, or another device wrote over the newer one"
    )]
    OldVaultFile {
        /// The epoch of the file.
        epoch: u32,
        /// The newest that this device has a key of.
        newest: u32,
    },
    /// A synced folder shows that the key was rotated, and its `vault.json` does not have that key yet.
    #[error("vault.json is still under way: it lacks the key of epoch {lacks}")]
    LateVaultFile {
        /// The epoch of the key that it lacks.
        lacks: u32,
    },
    /// Another device rotated the key while this one did.
    #[error(
        "another device rotated the key at the same moment, and its key holds: the passphrase and the words that were made here open nothing"
    )]
    Overtaken,
    /// Other devices went on changing `vault.json`.
    #[error("other devices keep changing vault.json: nothing was changed by this one")]
    Contended,
    /// `vault.json` has as many ways in as it may have.
    #[error("vault.json has {0} ways in, and there may be no more")]
    TooManySlots(usize),
    /// The store holds another vault than the one this device belongs to.
    #[error("the store holds vault {found}, but this device belongs to vault {expected}")]
    OtherVault {
        /// The vault of this device.
        expected: VaultId,
        /// The vault in the store.
        found: VaultId,
    },
    /// Something was written by a newer version.
    #[error("{0} was written by a newer version of Syncline")]
    NewerFormat(String),
    /// The key was rotated and this device has not got the new one.
    #[error("the vault's key was rotated (epoch {epoch}); this device has only the older one")]
    Rotated {
        /// The newest epoch.
        epoch: u32,
    },
    /// Two manifests with one sequence number: a cloned machine, a restored backup, or somebody else writes under this identity.
    #[error("sequence number conflict: {what}")]
    SequenceConflict {
        /// Whose manifests.
        node: NodeId,
        /// What was found against what was expected.
        what: String,
    },
    /// The store shows an older state than was seen before.
    #[error("manifest sequence regression detected: {what}")]
    Regression {
        /// Whose manifests.
        node: NodeId,
        /// What was found against what was expected.
        what: String,
    },
    /// The local database failed.
    #[error("the local database could not {doing}")]
    Replica {
        /// What it was asked to do.
        doing: &'static str,
        /// Its own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The local database counts other records than it gives.
    #[error(
        "the local database is damaged: it counts {counted} records to publish, and gives {given} of them; nothing was published"
    )]
    Miscounted {
        /// How many there are to publish, after its own count.
        counted: u64,
        /// How many it gave.
        given: u64,
    },
    /// The vault's own state in the local database cannot be understood.
    #[error("the sync state `{key}` in the local database is damaged")]
    DamagedState {
        /// Its name.
        key: String,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A total time limit ran out; everything done so far is kept.
    #[error("the time limit of {0} seconds ran out")]
    TimedOut(u64),
}

impl VaultError {
    /// Wraps a store error with what was being done.
    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        let doing = doing.into();
        move |source| Self::Store { doing, source }
    }

    /// Whether the failure is a conflict of identities that `--force` or a reset resolves.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::SequenceConflict { .. } | Self::Regression { .. }
        )
    }
}

/// Something wrong with one object; the rest of the vault is not affected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// The object's key under the store's prefix.
    pub key: String,
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// One sentence of detail.
    pub detail: String,
}

/// The kinds of problem one object can have.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A manifest refers to it and the store does not have it (yet).
    Missing,
    /// Its bytes do not authenticate, or its name does not match its bytes.
    Corrupt,
    /// It authenticates, but belongs to another vault.
    OtherVault,
    /// Nothing in the vault has such a name (a stray file, a conflict copy): it is ignored.
    Foreign,
    /// No manifest refers to it; its records may be known from elsewhere.
    Orphan,
    /// No manifest refers to it, and what it holds is nowhere else, as far as this device knows.
    Unnamed,
    /// It holds a record that was forgotten and will be removed.
    Forgotten,
    /// It was moved to cold storage and must be restored before it can be read.
    Archived,
    /// It needs a key that this device does not have.
    NoKey,
    /// It is whole, and under a key that `vault.json`, in a folder that another program syncs, does not have yet.
    LateKey,
    /// It was written by a newer version.
    NewerFormat,
    /// The store shows an older state of a device than was seen before.
    Regression,
    /// One device has two histories, of which this store shows one; or this device's own line has.
    Conflict,
    /// Two machines wrote under one identity, which is not this device's. What both wrote is read.
    Twins,
    /// It cannot be used, and this device goes on without it: it belongs to an earlier identity of this device, or was accepted.
    Accepted,
    /// Another device saw a newer state of a device than this store shows.
    Withheld,
}

impl ProblemKind {
    /// Whether data of the vault cannot be read because of it (as against a mere remark).
    pub fn is_serious(self) -> bool {
        !matches!(
            self,
            Self::Foreign | Self::Orphan | Self::Forgotten | Self::Accepted | Self::Twins
        )
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Missing => {
                "run the pull again (a synced folder may still be catching up); if it stays missing, `sync repair --manifest` re-publishes what this device has"
            }
            Self::Corrupt => {
                "the damaged object is ignored; `sync repair --manifest` on a device that has its records publishes them again, and the device that wrote it then leaves it out; if that one is lost, `sync devices remove` takes its place"
            }
            Self::OtherVault => {
                "two vaults share this place: delete nothing; this machine is in the vault that was kept (`sync status` shows the vault of each machine), so nothing is to be done here; on each machine whose `sync verify` says that the store holds another vault, `sync init` with this URL joins the one that was kept and `sync repair` then takes over and clears away what the other left, or `sync init` with a prefix of its own moves to a place of its own; either publishes everything they have"
            }
            Self::Foreign => "nothing: it is ignored",
            Self::Orphan => {
                "nothing: left by an interrupted push or kept for slow readers; `sync repair --manifest` reads it if its records are unknown"
            }
            Self::Unnamed => {
                "run `sync` on the device that wrote it: its push is under way or was cut off, or somebody removed its manifest; if that device is lost, `sync repair --manifest` here publishes what these objects hold"
            }
            Self::Forgotten => {
                "its owner's next push rewrites it and removes it after the grace period; for a lost device use `sync devices remove`"
            }
            Self::Archived => {
                "restore the object from the archive tier and exclude this prefix from the bucket's lifecycle rule"
            }
            Self::NoKey => "run `sync init` again with the new passphrase to fetch the rotated key",
            Self::LateKey => {
                "wait for the sync tool, then run it again; if it stays, `sync init` on a device that has the newer key puts the newer vault.json back (if no device ever rotated the key, somebody forged this object, and it can be removed)"
            }
            Self::NewerFormat => "update Syncline on this device",
            Self::Regression | Self::Conflict => {
                "`sync pull --force` accepts what the store shows, keeps everything local, and publishes the rest on the next push"
            }
            Self::Twins => {
                "run `sync` on both machines (an image of one was started twice, or a backup of it put back): each goes on under an identity of its own, or says how, and about a week later nothing is left of the shared one; if neither will ever sync again, `sync devices remove` takes over what both wrote"
            }
            Self::Accepted => {
                "nothing: what this device has of it, its next push publishes again; another device's next push replaces its manifest"
            }
            Self::Withheld => {
                "run the pull again later: it may be under way; if it stays, ask who can write to the store, and `sync repair` on each device that still has its records; `sync pull --force` accepts that it is gone, and after this device's next push devices that join are not asked again"
            }
        }
    }
}
