//! An opened vault: a store, the keys to it, and `vault.json`.
//!
//! What must hold: `vault.json`, which authenticates, decides whether keys are right and new enough; anything else in the store is only
//! a reason to look at it. What it deliberately does not do: ask for secrets, or know of devices.

use std::sync::Arc;

use store::{ErrorKind, Store};

use crate::entropy::Entropy;
use crate::error::VaultError;
use crate::keys::{KdfCost, Keyring, Secret, VaultFile};

/// The key of the vault file.
pub const VAULT_FILE: &str = "vault.json";
/// `vault.json` has some kilobytes, and never more than this: what is larger is no such file, and is not read.
pub(crate) const VAULT_FILE_BYTES_MAX: u64 = 1 << 20;
/// What the keys of all manifests begin with.
pub const MANIFESTS: &str = "manifests/";
/// What the keys of all segments begin with.
pub const SEGMENTS: &str = "objects/segments/";

/// An opened vault: a store and the keys to it.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    keys: Keyring,
    witness: Witness,
    entropy: Entropy,
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
            entropy: Entropy::system(),
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

    /// Takes the random bytes of new keys and ways in from `entropy`.
    #[must_use]
    pub fn drawing_from(self, entropy: Entropy) -> Self {
        Self { entropy, ..self }
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// Reads `vault.json`; `None` if the store has none.
    ///
    /// # Errors
    /// If the store fails or the file is damaged.
    pub async fn read_file(store: &Store) -> Result<Option<VaultFile>, VaultError> {
        match store.get_up_to(VAULT_FILE, VAULT_FILE_BYTES_MAX).await {
            Ok(bytes) => VaultFile::parse(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::store(
                "the vault's description could not be read",
            )(error)),
        }
    }

    /// Creates the vault of these keys with a slot for each secret, and reads it back.
    ///
    /// # Errors
    /// If the store fails, or another device created a vault in the same place at the same time ([`VaultError::OtherVault`]).
    pub async fn create(
        store: Store,
        keys: Keyring,
        domain: &str,
        secrets: &[&Secret],
        cost: KdfCost,
    ) -> Result<Self, VaultError> {
        let vault = Self::new(store, keys);
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
    /// [`VaultError::NoVault`], [`VaultError::NoVaultFile`], what [`VaultFile::check`] says, or the store's own.
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

    pub(crate) fn tell(&self, file: &VaultFile) {
        if let Some(witness) = &self.witness.0 {
            witness(file);
        }
    }

    pub(crate) async fn manifests(&self) -> Result<Vec<String>, VaultError> {
        let entries = self.store.list(MANIFESTS).await.map_err(VaultError::store(
            "the vault's manifests could not be listed",
        ))?;
        Ok(entries.into_iter().map(|entry| entry.key).collect())
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
