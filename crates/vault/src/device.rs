//! One device at work on a vault: what push, pull, verification and repair share.
//!
//! What must hold: a device works alone on its database while it holds a [`Device`] (the tool locks); time and new identities come from
//! [`Options`], so that a simulation can repeat a run exactly.
//!
//! What it deliberately does not do: prompt, print, or choose between `--force` and not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use store::ErrorKind;

use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, ManifestRef};
use crate::marks::{self, epoch_of};
use crate::replica::Replica;
use crate::seal::{self, ObjectKind, Place};
use crate::state::{self, Intent, OwnState, PushProgress, StateKeys};
use crate::vault::{MANIFESTS, Vault};

/// Limits and circumstances of one run. No `Default`: the tool decides each.
#[derive(Clone)]
pub struct Options {
    /// What this device calls itself in its manifests.
    pub node_name: String,
    /// A segment is cut when its records take about this many bytes uncompressed.
    pub segment_raw_bytes_max: usize,
    /// A segment is cut at this many records.
    pub segment_records_max: usize,
    /// How many records are read from the local database at a time.
    pub batch_records: usize,
    /// How many uploads run side by side.
    pub uploads: usize,
    /// How many downloads run side by side.
    pub downloads: usize,
    /// About how many bytes of segments may be in memory at once; one always may.
    pub memory_bytes_max: usize,
    /// The zstd level, or `None` to store uncompressed.
    pub compression: Option<i32>,
    /// How long a replaced object stays for slow readers, in milliseconds.
    pub grace_ms: i64,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Makes a new identity.
    pub new_node: Arc<dyn Fn() -> NodeId + Send + Sync>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("node_name", &self.node_name)
            .finish_non_exhaustive()
    }
}

/// What happens during a run, for progress and timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A phase begins: `list`, `manifests`, `segments`, `apply`, `seal`, `upload`, `publish`, `clean up`, `verify`.
    Phase(&'static str),
    /// So many objects with so many bytes and records are to be moved.
    Planned {
        /// Objects.
        objects: u64,
        /// Bytes; zero where not known yet.
        bytes: u64,
        /// Records.
        records: u64,
    },
    /// One object was moved.
    Moved {
        /// Its bytes.
        bytes: u64,
        /// Its records.
        records: u64,
    },
    /// This device goes on under a new identity: another machine wrote under the one that it had, which both began to use.
    Parted,
}

/// Hears what happens during a run.
pub trait Observer {
    /// Called at every step, from the task that runs; must not block.
    fn step(&mut self, step: Step);
}

/// Hears nothing.
impl Observer for () {
    fn step(&mut self, _: Step) {}
}

/// A manifest has some hundred bytes for each live segment, of which there are few.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// A device at work on a vault.
pub struct Device<'a, R> {
    pub(crate) vault: &'a Vault,
    pub(crate) replica: &'a mut R,
    pub(crate) options: &'a Options,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) state_keys: StateKeys,
}

impl<R> fmt::Debug for Device<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

/// All manifests in the store, by node, ascending.
pub(crate) struct Listing {
    pub(crate) nodes: BTreeMap<NodeId, Vec<ManifestRef>>,
    pub(crate) foreign: Vec<Problem>,
    /// Whether nobody needs to be told of the newest key: it has its mark, or these are one device's manifests alone.
    pub(crate) is_announced: bool,
    /// When they were asked for, in milliseconds since the Unix epoch by this device's clock.
    pub(crate) at_ms: i64,
}

impl<'a, R: Replica> Device<'a, R> {
    /// A device at work.
    pub fn new(
        vault: &'a Vault,
        replica: &'a mut R,
        options: &'a Options,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let state_keys = StateKeys::new(vault.keys().vault());
        Self {
            vault,
            replica,
            options,
            observer,
            state_keys,
        }
    }

    /// This device's own state; the first time its identity is made, and kept before it is used.
    pub(crate) fn own(&mut self) -> Result<OwnState, VaultError> {
        if let Some(own) = state::load(self.replica, &self.state_keys.own())? {
            return Ok(own);
        }
        let own = OwnState::fresh((self.options.new_node)());
        state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        Ok(own)
    }

    /// Everything numbered up to here that was not learnt is in this device's own segments, or will be once an interrupted push is
    /// finished. Such a record never comes to count as learnt: two devices could else each leave it to the other.
    /// While a takeover is not published no record does: what the next manifest must hold may be in others' segments too, but they
    /// could be in the middle of leaving it to this device.
    pub(crate) fn published_floor(&self, own: &OwnState) -> Result<u64, VaultError> {
        if !own.leaving.is_empty() {
            return Ok(u64::MAX);
        }
        let intent: Option<Intent> = state::load(self.replica, &self.state_keys.intent())?;
        let progress: Option<PushProgress> =
            state::load(self.replica, &self.state_keys.progress())?;
        Ok(own
            .published
            .max(intent.map_or(0, |intent| intent.then.published))
            .max(progress.map_or(0, |progress| progress.reached)))
    }

    /// A store that shows nothing of a vault in which something was may be a disk that is not mounted, or another bucket. Only
    /// `vault.json`, which authenticates, shows that it is the place.
    pub(crate) async fn heed_emptiness(
        &self,
        own: &OwnState,
        listing: &Listing,
    ) -> Result<(), VaultError> {
        if !listing.nodes.is_empty() {
            return Ok(());
        }
        let names = self
            .replica
            .keys(&self.state_keys.nodes())
            .map_err(|source| VaultError::Replica {
                doing: "list the sync state",
                source,
            })?;
        if own.newest.is_some() || !names.is_empty() {
            self.vault.check_file().await?;
        }
        Ok(())
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.options.now_ms)()
    }

    /// Lists the manifests below `prefix`: one request for up to a thousand.
    pub(crate) async fn list_manifests(&mut self, prefix: &str) -> Result<Listing, VaultError> {
        self.observer.step(Step::Phase("list"));
        let at_ms = self.now_ms();
        let entries = self
            .vault
            .store()
            .list(prefix)
            .await
            .map_err(VaultError::store(
                "the vault's manifests could not be listed",
            ))?;
        let mut listing = Listing {
            nodes: BTreeMap::new(),
            foreign: vec![],
            is_announced: true,
            at_ms,
        };
        let keys = entries.iter().map(|entry| entry.key.as_str());
        if prefix == MANIFESTS {
            listing.is_announced = self.vault.is_announced_by(keys.clone());
        }
        let unbacked = self.vault.heed_epoch(keys).await?;
        listing
            .foreign
            .extend(unbacked.into_iter().map(marks::unbacked));
        for entry in entries {
            if epoch_of(&entry.key).is_some() {
                continue;
            }
            match Place::parse(&entry.key) {
                Some((
                    Place {
                        kind: ObjectKind::Manifest,
                        node,
                        first,
                        ..
                    },
                    hash,
                )) => {
                    listing.nodes.entry(node).or_default().push(ManifestRef {
                        sequence: first,
                        hash,
                    });
                }
                _ => listing.foreign.push(foreign(entry.key)),
            }
        }
        for refs in listing.nodes.values_mut() {
            refs.sort_unstable_by_key(|manifest| (manifest.sequence, manifest.hash));
            refs.dedup();
        }
        Ok(listing)
    }

    /// Fetches one manifest. The inner error is about that object alone.
    pub(crate) async fn fetch_manifest(
        &self,
        node: NodeId,
        manifest: ManifestRef,
    ) -> Result<Result<Manifest, Problem>, VaultError> {
        let key = manifest.key(node);
        let plaintext = match fetch(self.vault, &key, MANIFEST_BYTES_MAX).await? {
            Ok(plaintext) => plaintext,
            Err(problem) => return Ok(Err(problem)),
        };
        Ok(serde_json::from_slice(&plaintext).map_err(|error| Problem {
            kind: ProblemKind::Corrupt,
            detail: format!("manifest corruption detected: invalid manifest format ({error})"),
            key,
        }))
    }
}

/// Fetches and opens one object. The outer error is the store's (the run cannot go on), the inner is about this object alone.
///
/// What says that it has more than `bytes_max` bytes is not read: who can write to the store could fill the memory with it.
pub(crate) async fn fetch(
    vault: &Vault,
    key: &str,
    bytes_max: u64,
) -> Result<Result<Vec<u8>, Problem>, VaultError> {
    let problem = |kind, detail: String| {
        Ok(Err(Problem {
            key: key.to_owned(),
            kind,
            detail,
        }))
    };
    let object = match vault.store().get_up_to(key, bytes_max).await {
        Ok(object) => object,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound => problem(
                    ProblemKind::Missing,
                    "object not found: a manifest refers to it, but the store does not have it"
                        .into(),
                ),
                ErrorKind::Archived => problem(ProblemKind::Archived, error.to_string()),
                ErrorKind::Corrupt => problem(ProblemKind::Corrupt, error.to_string()),
                _ => Err(VaultError::store(format!("{key} could not be read"))(error)),
            };
        }
    };
    match seal::open(vault.keys(), key, &object) {
        Ok(plaintext) => Ok(Ok(plaintext)),
        Err(error) if error.kind == ProblemKind::NoKey => {
            let epoch = seal::claimed_epoch(&object).unwrap_or_default();
            // A forged header could claim any epoch: only the vault file, which authenticates, says whether the key was rotated.
            match vault.check_file().await {
                Err(VaultError::Rotated { epoch }) => Err(VaultError::Rotated { epoch }),
                // A program that syncs a folder brings its files in any order.
                _ if vault.store().is_folder() => problem(
                    ProblemKind::LateKey,
                    format!(
                        "vault.json is still under way: it lacks the key of epoch {epoch}, which this object is sealed with"
                    ),
                ),
                _ => problem(
                    ProblemKind::Corrupt,
                    format!("it claims the key of epoch {epoch}, which this vault never had"),
                ),
            }
        }
        Err(error) => {
            let mut detail = error.detail.clone();
            if key.starts_with(MANIFESTS) && error.kind == ProblemKind::Corrupt {
                detail.insert_str(0, "manifest corruption detected: ");
            }
            if is_under_our_key(vault, &error, &object) {
                // Somebody forged it; or two devices rotated the key at once, and one of the keys is none: of this device, perhaps.
                vault.check_file().await?;
                detail.push_str(
                    "; if two devices rotated the key at once, `sync init` on the one that was overtaken publishes anew what it wrote",
                );
            }
            problem(error.kind, detail)
        }
    }
}

/// Whether an object claims the newest key, which is not the vault's first, and does not open with it.
fn is_under_our_key(vault: &Vault, error: &seal::OpenError, object: &[u8]) -> bool {
    let epoch = vault.keys().epoch();
    error.kind == ProblemKind::Corrupt
        && error.is_by_key
        && epoch > 1
        && seal::claimed_epoch(object) == Some(epoch)
}

/// An object that is nobody's.
pub(crate) fn foreign(key: String) -> Problem {
    Problem {
        key,
        kind: ProblemKind::Foreign,
        detail: "no object of a vault has such a name".into(),
    }
}
