//! An opened vault: a store, the keys to it, and `vault.json`.
//!
//! What must hold: `vault.json`, which authenticates, decides whether keys are right and new enough; anything else in the store is only
//! a reason to look at it. What it deliberately does not do: ask for secrets, or know of devices.

use std::sync::Arc;

use store::{ErrorKind, Store};

use crate::error::VaultError;
use crate::ids::VaultId;
use crate::keys::{KdfCost, Keyring, Secret, VaultFile};

/// The key of the vault file.
pub const VAULT_FILE: &str = "vault.json";
/// What the keys of all manifests begin with.
pub const MANIFESTS: &str = "manifests/";
/// What the keys of all segments begin with.
pub const SEGMENTS: &str = "objects/segments/";

/// What the keys of the marks begin with that a rotation leaves among the manifests.
const EPOCH_MARK: &str = "manifests/epoch-";

/// The epoch that a mark names.
pub(crate) fn epoch_of(key: &str) -> Option<u32> {
    u32::from_str_radix(key.strip_prefix(EPOCH_MARK)?, 16).ok()
}

/// An opened vault: a store and the keys to it.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    keys: Keyring,
    witness: Witness,
}

/// Who is told of each `vault.json` that proved to be this vault's.
#[derive(Clone, Default)]
struct Witness(Option<Arc<Hear>>);

type Hear = dyn Fn(&VaultFile) + Send + Sync;

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Witness" } else { "-" })
    }
}

impl Vault {
    /// Uses keys that are already known. Sends nothing.
    pub fn new(store: Store, keys: Keyring) -> Self {
        Self {
            store,
            keys,
            witness: Witness::default(),
        }
    }

    /// Tells `witness` of every `vault.json` that is read or written and proves to be this vault's: it can be kept, and put back if the
    /// store loses it.
    #[must_use]
    pub fn witnessed(self, witness: impl Fn(&VaultFile) + Send + Sync + 'static) -> Self {
        Self {
            witness: Witness(Some(Arc::new(witness))),
            ..self
        }
    }

    /// Reads `vault.json`; `None` if the store has none.
    ///
    /// # Errors
    /// If the store fails or the file is damaged.
    pub async fn read_file(store: &Store) -> Result<Option<VaultFile>, VaultError> {
        match store.get(VAULT_FILE).await {
            Ok(bytes) => VaultFile::parse(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::store(
                "the vault's description could not be read",
            )(error)),
        }
    }

    /// Creates a vault with a slot for each secret and reads it back.
    ///
    /// # Errors
    /// If the store fails, or another device created a vault in the same place at the same time ([`VaultError::OtherVault`]).
    pub async fn create(
        store: Store,
        domain: &str,
        secrets: &[&Secret],
        cost: KdfCost,
    ) -> Result<Self, VaultError> {
        let vault = Self::new(store, Keyring::generate());
        let file = VaultFile::build(&vault.keys, domain, 1, secrets, cost)?;
        vault.write_file(&file).await?;
        Ok(vault)
    }

    /// Replaces `vault.json` and reads it back.
    ///
    /// # Errors
    /// If the store fails, or what comes back is not what was written.
    pub async fn write_file(&self, file: &VaultFile) -> Result<(), VaultError> {
        self.store
            .put(VAULT_FILE, file.to_bytes().into())
            .await
            .map_err(VaultError::store(
                "the vault's description could not be written",
            ))?;
        let found = Self::read_file(&self.store)
            .await?
            .ok_or_else(|| VaultError::NoVault(self.store.describe()))?;
        found.check(&self.keys)?;
        self.tell(&found);
        if found == *file {
            Ok(())
        } else {
            Err(VaultError::DamagedVaultFile(
                "another device changed it at the same time; try again".into(),
            ))
        }
    }

    /// Checks that the store still holds this vault with this key.
    ///
    /// # Errors
    /// [`VaultError::NoVault`], [`VaultError::NoVaultFile`], [`VaultError::OtherVault`], [`VaultError::Rotated`], damage, or the store's
    /// own.
    pub async fn check_file(&self) -> Result<VaultFile, VaultError> {
        let Some(file) = Self::read_file(&self.store).await? else {
            let place = self.store.describe();
            return Err(match self.manifests().await?.is_empty() {
                true => VaultError::NoVault(place),
                false => VaultError::NoVaultFile(place),
            });
        };
        file.check(&self.keys)?;
        self.tell(&file);
        Ok(file)
    }

    fn tell(&self, file: &VaultFile) {
        if let Some(witness) = &self.witness.0 {
            witness(file);
        }
    }

    async fn manifests(&self) -> Result<Vec<String>, VaultError> {
        let entries = self.store.list(MANIFESTS).await.map_err(VaultError::store(
            "the vault's manifests could not be listed",
        ))?;
        Ok(entries.into_iter().map(|entry| entry.key).collect())
    }

    /// The epoch of a newer key than these, if a mark in the store says that this vault has one.
    ///
    /// # Errors
    /// The store's.
    pub async fn newer_epoch(&self) -> Result<Option<u32>, VaultError> {
        let mut newest = None;
        for mark in self.manifests().await? {
            let epoch = epoch_of(&mark).filter(|epoch| *epoch > self.keys.epoch());
            if epoch > newest
                && self
                    .marked_by(&mark)
                    .await?
                    .is_none_or(|vault| vault == self.keys.vault())
            {
                newest = epoch;
            }
        }
        Ok(newest)
    }

    /// Leaves a mark among the manifests that a newer key holds, so that every device that lists them looks at `vault.json` again
    /// before it seals anything with an older one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn mark_epoch(&self) -> Result<(), VaultError> {
        let key = format!("{EPOCH_MARK}{:08x}", self.keys.epoch());
        let text = format!(
            "{}\nthe key was rotated; see vault.json\n",
            self.keys.vault()
        );
        self.store
            .put(&key, text.into())
            .await
            .map_err(VaultError::store("the rotation could not be announced"))
    }

    /// Whether the keys are as new as the marks in the store say: an old `vault.json` that was put back must not let anybody in.
    ///
    /// # Errors
    /// [`VaultError::Rotated`], [`VaultError::DamagedVaultFile`] if `vault.json` is older than the vault, or the store's.
    pub async fn check_epoch(&self) -> Result<(), VaultError> {
        let keys = self.manifests().await?;
        self.heed_epoch(keys.iter().map(String::as_str)).await
    }

    /// Which vault a mark says that it is of; the first marks said nothing. A vault that was once in the same place may have left it.
    pub(crate) async fn marked_by(&self, key: &str) -> Result<Option<VaultId>, VaultError> {
        let mark = self.store.get(key).await;
        let mark = mark.map_err(VaultError::store(format!("{key} could not be read")))?;
        let text = std::str::from_utf8(&mark).unwrap_or_default();
        Ok(text.lines().next().and_then(|line| line.parse().ok()))
    }

    /// A mark is only a reason to look: `vault.json`, which authenticates, decides.
    pub(crate) async fn heed_epoch<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<(), VaultError> {
        let newer = |key: &&str| epoch_of(key).is_some_and(|epoch| epoch > self.keys.epoch());
        let marks: Vec<&str> = keys.filter(newer).collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.check_file().await?;
        for mark in marks {
            let named = self.marked_by(mark).await?;
            if named.is_none_or(|vault| vault == self.keys.vault()) {
                return Err(VaultError::DamagedVaultFile(format!(
                    "it is older than the vault, whose key was rotated ({mark}): an old copy was put back"
                )));
            }
        }
        Ok(())
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The keys.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }
}
