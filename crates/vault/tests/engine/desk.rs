//! A device on a desk: a vault, a database in memory and options that a test can turn.
//!
//! What must hold: time and identities are the test's; every desk of one room has the same keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{
    Device, KdfCost, Keyring, NodeId, Observer, Options, OwnState, ProblemKind, PullMode,
    PullReport, PushMode, PushReport, RecordId, RepairReport, Replica, ResetMode, Secret,
    StateKeys, Vault, VaultError, VaultFile, VerifyMode, VerifyReport,
};

use crate::replica::{SimRecord, SimReplica};

/// The grace period of every desk.
pub(crate) const GRACE_MS: i64 = 7 * 24 * 3600 * 1000;

/// After so many days its grace period is over.
pub(crate) const WEEK_DAYS: i64 = GRACE_MS / (24 * 3600 * 1000) + 1;

/// What `vault.json` of the tests is opened with.
pub(crate) const PASSPHRASE: &str = "the tests' passphrase";

/// Keys that are the same in every run.
pub(crate) fn keys() -> Keyring {
    let text = format!(
        r#"{{"vault":"{:032x}","keys":["{:064x}"]}}"#,
        0xa11ce, 0xb0b
    );
    Keyring::from_secret_json(&text).expect("well formed")
}

/// `vault.json` for these keys.
pub(crate) fn vault_file(keys: &Keyring) -> VaultFile {
    let secret = Secret::Passphrase(PASSPHRASE.into());
    VaultFile::build(keys, "test", 1, &[&secret], KdfCost::CHEAP_FOR_TESTS).expect("builds")
}

/// A perfect store with a vault in it.
pub(crate) fn perfect_store() -> FaultyStore {
    let store = FaultyStore::new(1, Faults::none());
    store.put_raw("vault.json", vault_file(&keys()).to_bytes());
    store
}

/// The record that `n` stands for.
pub(crate) fn id(n: u64) -> RecordId {
    RecordId(u128::from(n).to_be_bytes())
}

/// What lies in the line of `node`, below `kind`.
pub(crate) fn line(store: &FaultyStore, kind: &str, node: NodeId) -> Vec<String> {
    let line = format!("{kind}/{node}/");
    let keys = store.objects().into_keys();
    keys.filter(|key| key.starts_with(&line)).collect()
}

/// What a newcomer has, and of what kinds its problems are.
pub(crate) fn newcomer(store: &FaultyStore) -> (BTreeSet<u64>, BTreeSet<ProblemKind>) {
    let mut newcomer = Desk::at(9, store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    let kinds = pulled.problems.into_iter().map(|problem| problem.kind);
    (newcomer.kept(), kinds.collect())
}

/// Runs a future with a runtime of its own.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(future)
}

/// A device.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) vault: Vault,
    pub(crate) replica: SimReplica,
    pub(crate) options: Options,
    pub(crate) clock: Arc<AtomicI64>,
}

impl Desk {
    /// The `number`th device at a store: its identities begin with its number.
    pub(crate) fn new(number: u64, store: Store) -> Self {
        Self::with_keys(number, store, keys())
    }

    /// As [`Desk::new`], with keys of the test's own.
    pub(crate) fn with_keys(number: u64, store: Store, keys: Keyring) -> Self {
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let time = Arc::clone(&clock);
        let nodes = AtomicU64::new(number * 1000 + 1);
        let options = Options {
            node_name: format!("desk {number}"),
            segment_raw_bytes_max: 1 << 20,
            segment_records_max: 1 << 20,
            batch_records: 1000,
            uploads: 4,
            downloads: 4,
            memory_bytes_max: 64 << 20,
            compression: Some(3),
            grace_ms: GRACE_MS,
            now_ms: Arc::new(move || time.load(Ordering::Relaxed)),
            new_node: Arc::new(move || {
                NodeId(u128::from(nodes.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
            }),
        };
        Self {
            vault: Vault::new(store, keys),
            replica: SimReplica::default(),
            options,
            clock,
        }
    }

    /// The `number`th device at a simulated store.
    pub(crate) fn at(number: u64, store: &FaultyStore) -> Self {
        let store = store.for_device(number as usize);
        Self::new(number, Store::from_object_store(Arc::new(store), ""))
    }

    /// A copy of this machine, with a clock and new identities of its own: those of the `number`th device.
    pub(crate) fn copied_to(&self, number: u64, store: &FaultyStore) -> Self {
        let another = Self::at(number, store);
        Self {
            replica: self.replica.clone(),
            vault: self.vault.clone(),
            ..another
        }
    }

    /// A week passes here, and this device syncs.
    pub(crate) fn week_passes(&mut self) {
        self.days_pass(WEEK_DAYS);
        wait(self.pull()).expect("a perfect store");
        wait(self.push()).expect("a perfect store");
    }

    /// Records are born here.
    pub(crate) fn add(&mut self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.replica
                .add(SimRecord::Put(id(n), n))
                .expect("the database works");
        }
    }

    /// A record is forgotten here.
    pub(crate) fn forget(&mut self, n: u64) {
        self.replica
            .add(SimRecord::Forget(id(n)))
            .expect("the database works");
    }

    /// What is here, by number.
    pub(crate) fn kept(&self) -> BTreeSet<u64> {
        self.replica.content().0.into_values().collect()
    }

    /// Time passes here.
    pub(crate) fn days_pass(&self, days: i64) {
        self.clock
            .fetch_add(days * 24 * 3600 * 1000, Ordering::Relaxed);
    }

    /// What this device remembers of its line.
    pub(crate) fn own(&self) -> OwnState {
        let key = StateKeys::new(self.vault.keys().vault()).own();
        let bytes = self
            .replica
            .load(&key)
            .expect("reads")
            .expect("it has published");
        serde_json::from_slice(&bytes).expect("its own state")
    }

    pub(crate) async fn push(&mut self) -> Result<PushReport, VaultError> {
        self.push_as(PushMode::Pending).await
    }

    pub(crate) async fn push_as(&mut self, mode: PushMode) -> Result<PushReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .push(mode)
            .await
    }

    pub(crate) async fn pull(&mut self) -> Result<PullReport, VaultError> {
        self.pull_as(PullMode::New).await
    }

    pub(crate) async fn pull_as(&mut self, mode: PullMode) -> Result<PullReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .pull(mode)
            .await
    }

    pub(crate) async fn pull_seen_by(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<PullReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, observer)
            .pull(PullMode::New)
            .await
    }

    pub(crate) async fn verify(&mut self) -> Result<VerifyReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .verify(VerifyMode::Full)
            .await
    }

    pub(crate) async fn repair(&mut self) -> Result<RepairReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .repair()
            .await
    }

    pub(crate) async fn remove(&mut self, node: NodeId) -> Result<RepairReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .remove_device(node)
            .await
    }

    pub(crate) async fn remove_damaged(
        &mut self,
        node: NodeId,
    ) -> Result<RepairReport, VaultError> {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .remove_damaged_device(node)
            .await
    }

    pub(crate) fn has_nothing_to_push(&mut self) -> bool {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .has_nothing_to_push()
            .expect("the database works")
    }

    pub(crate) fn reset(&mut self, mode: ResetMode) {
        Device::new(&self.vault, &mut self.replica, &self.options, &mut ())
            .reset(mode)
            .expect("the database works");
    }
}
