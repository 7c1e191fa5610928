//! What simulated devices do about the keys of their vault, as the tool's commands do it: rotate the key, add a passphrase, come (back) in.
//!
//! What must hold: what a device keeps in files changes in the same order against the store as the tool's does it
//! (`hx sync key rotate`, `key add-passphrase`, `init`), and after a crash nothing more is written.
//! What it deliberately does not do: ask anybody. The person knows every passphrase that was ever typed, and none of the words.

use std::sync::{Arc, Mutex, PoisonError};

use store::Store;
use vault::{
    Device, Entropy, KdfCost, Keyring, MANIFESTS, ResetMode, Secret, Vault, VaultError, VaultFile,
};

use super::Machine;
use super::pauses::Pauses;

const CHEAP: KdfCost = KdfCost::CHEAP_FOR_TESTS;

/// Something about the keys. The numbers are those of passphrases that are typed for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyAct {
    /// A new key, which only this passphrase opens.
    Rotate(u32),
    /// One more way in.
    Add(u32),
    /// Into the vault that is there, or its description put back; with this passphrase if it must be a new one.
    Init(u32),
}

/// A way into the vault that a person was told of, and the newest key when it was made.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) number: u32,
    pub(super) key: String,
    pub(super) is_rotation: bool,
}

/// What a device keeps in files beside its database.
pub(super) struct Keys {
    pub(super) kept: Keyring,
    /// `vault.json` as the store showed it last.
    copy: Arc<Mutex<Option<VaultFile>>>,
    /// Whether the store was found to have lost everything.
    emptied: bool,
}

/// What all devices' acts share.
pub(super) struct About {
    pub(super) pauses: Pauses,
    pub(super) entropy: Entropy,
    /// How many passphrases were ever typed.
    pub(super) typed: u32,
}

/// The passphrase of a number.
pub(super) fn passphrase(number: u32) -> Secret {
    Secret::Passphrase(format!("passphrase {number}"))
}

/// The keys of all epochs, oldest first.
pub(super) fn chain(keys: &Keyring) -> Vec<String> {
    let json: serde_json::Value =
        serde_json::from_str(&keys.to_secret_json()).expect("it is its own");
    let keys = json["keys"].as_array().expect("a list").iter();
    keys.map(|key| key.as_str().expect("a text").to_owned())
        .collect()
}

/// Opens a description with whatever the person knows.
pub(super) fn unlock(file: &VaultFile, typed: u32) -> Result<Keyring, VaultError> {
    let opened = (0..typed).rev().map(|n| file.unlock(&passphrase(n)));
    opened
        .into_iter()
        .find(|opened| !matches!(opened, Err(VaultError::WrongKey)))
        .unwrap_or(Err(VaultError::WrongKey))
}

impl Keys {
    pub(super) fn new(kept: Keyring) -> Self {
        Self {
            kept,
            copy: Arc::default(),
            emptied: false,
        }
    }

    /// As they are on an image of this device's disk.
    pub(super) fn imaged(&self) -> Self {
        let copy = self.copied();
        Self {
            kept: self.kept.clone(),
            copy: Arc::new(Mutex::new(copy)),
            emptied: self.emptied,
        }
    }

    fn copied(&self) -> Option<VaultFile> {
        let copy = self.copy.lock();
        copy.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this device could put the description of these keys back.
    pub(super) fn has_copy_of(&self, keys: &Keyring) -> bool {
        self.copied().is_some_and(|copy| copy.check(keys).is_ok())
    }

    /// A vault whose descriptions are kept here, unless they are older than what is.
    pub(super) fn open(&self, store: Store, keys: Keyring, entropy: &Entropy) -> Vault {
        let copy = Arc::clone(&self.copy);
        let witness = move |file: &VaultFile| {
            let mut kept = copy.lock().unwrap_or_else(PoisonError::into_inner);
            let age = |file: &VaultFile| (file.epoch, file.generation);
            if kept.as_ref().is_none_or(|kept| age(file) >= age(kept)) {
                *kept = Some(file.clone());
            }
        };
        Vault::new(store, keys)
            .witnessed(witness)
            .drawing_from(entropy.clone())
    }
}

impl Machine {
    /// Does it, and returns the way in that the person is told of.
    pub(super) async fn change_keys(
        &mut self,
        act: KeyAct,
        about: &About,
    ) -> Result<Option<Way>, VaultError> {
        match act {
            KeyAct::Rotate(number) => self.rotate(number, about).await.map(Some),
            KeyAct::Add(number) => self.add_way(number, about).await.map(Some),
            KeyAct::Init(number) => self.come_in(number, about).await,
        }
    }

    async fn rotate(&mut self, number: u32, about: &About) -> Result<Way, VaultError> {
        let vault = self.opened(self.keys.kept.clone(), about);
        let file = vault.check_file().await?;
        let rotation = vault.begin_rotation(&file, &[&passphrase(number)], CHEAP)?;
        self.keep(rotation.awaiting.clone(), about)?;
        let rotated = self.opened(rotation.keys.clone(), about);
        let index = self.index;
        let pause = async || about.pauses.pause(index).await;
        if let Err(error) = rotated.rotate(&rotation, pause).await {
            // The person is told which key holds, as far as that can be said.
            let _ = vault.check_file().await;
            return Err(error);
        }
        self.keep(rotation.keys.clone(), about)?;
        // That no mark could be left is only a warning; unless the process died meanwhile, and nothing was told.
        let marked = rotated.mark_epoch().await;
        if self.store.is_crashed() {
            marked?;
        }
        Ok(way(number, &rotation.keys, true))
    }

    async fn add_way(&mut self, number: u32, about: &About) -> Result<Way, VaultError> {
        let vault = self.opened(self.keys.kept.clone(), about);
        vault.check_file().await?;
        let index = self.index;
        let pause = async || about.pauses.pause(index).await;
        vault.add_slot(&passphrase(number), CHEAP, pause).await?;
        Ok(way(number, vault.keys(), false))
    }

    async fn come_in(&mut self, number: u32, about: &About) -> Result<Option<Way>, VaultError> {
        let kept = self.keys.kept.clone();
        let found = Vault::read_file(self.vault.store()).await?;
        let mut told = None;
        let (keys, gave_up) = match found {
            None => {
                told = self.put_back(number, about).await?;
                (kept, false)
            }
            Some(file) => match (kept.settled_by(&file), file.check(&kept)) {
                (Some(settled), _) => (settled.keys, settled.gave_up),
                (None, Err(VaultError::OldVaultFile { .. })) => {
                    told = self.put_back(number, about).await?;
                    (kept, false)
                }
                (None, Err(VaultError::Rotated { .. } | VaultError::OtherKey { .. })) => {
                    let next = unlock(&file, about.typed)?.after(&kept)?;
                    (next.keys, next.gave_up)
                }
                (None, checked) => {
                    checked?;
                    (kept, false)
                }
            },
        };
        let vault = self.opened(keys.clone(), about);
        vault.check_epoch().await?;
        if gave_up {
            self.reset_to(&vault, ResetMode::NewIdentity)?;
            *self
                .keys
                .copy
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.keep(keys, about)?;
        // So that it is kept here.
        let _ = vault.check_file().await;
        if std::mem::take(&mut self.keys.emptied) {
            self.reset_to(&vault, ResetMode::Emptied)?;
        }
        Ok(told)
    }

    /// Puts the description back as it was last seen; without a copy there is a new one, and a new passphrase.
    async fn put_back(&mut self, number: u32, about: &About) -> Result<Option<Way>, VaultError> {
        let vault = self.opened(self.keys.kept.clone(), about);
        if let Some(epoch) = vault.newer_epoch().await? {
            return Err(VaultError::Rotated { epoch });
        }
        let keys = vault.keys();
        let copy = self.keys.copied().filter(|copy| copy.check(keys).is_ok());
        let is_new = copy.is_none();
        let file = match copy {
            Some(copy) => copy,
            None => {
                let secrets = [&passphrase(number)];
                let generation = Device::new(&vault, &mut self.replica, &self.options, &mut ())
                    .next_generation()?;
                VaultFile::build_by(&about.entropy, keys, "sim", generation, &secrets, CHEAP)?
            }
        };
        let listed = vault.store().list(MANIFESTS).await;
        self.keys.emptied |= listed.map_err(found_nothing)?.is_empty();
        let index = self.index;
        let pause = async || about.pauses.pause(index).await;
        vault.put_back(&file, pause).await?;
        Ok(is_new.then(|| way(number, keys, false)))
    }

    fn reset_to(&mut self, vault: &Vault, mode: ResetMode) -> Result<(), VaultError> {
        Device::new(vault, &mut self.replica, &self.options, &mut ())
            .reset(mode)
            .map(drop)
    }

    fn opened(&self, keys: Keyring, about: &About) -> Vault {
        let store = self.vault.store().clone();
        self.keys.open(store, keys, &about.entropy)
    }

    /// Writes the key file.
    fn keep(&mut self, keys: Keyring, about: &About) -> Result<(), VaultError> {
        let died = |source| VaultError::Replica {
            doing: "write the key file",
            source,
        };
        if self.store.is_crashed() {
            return Err(died("the process died".into()));
        }
        self.replica.burn().map_err(died)?;
        self.vault = self.opened(keys.clone(), about);
        self.keys.kept = keys;
        Ok(())
    }
}

fn found_nothing(source: store::StoreError) -> VaultError {
    VaultError::Store {
        doing: "the vault's manifests could not be listed".into(),
        source,
    }
}

fn way(number: u32, keys: &Keyring, is_rotation: bool) -> Way {
    let key = chain(keys).pop().expect("a keyring is never empty");
    Way {
        number,
        key,
        is_rotation,
    }
}

/// Whether a person is told to come in anew.
pub(super) fn is_locked_out(error: &VaultError) -> bool {
    matches!(
        error,
        VaultError::Rotated { .. }
            | VaultError::OtherKey { .. }
            | VaultError::OldVaultFile { .. }
            | VaultError::Overtaken
            | VaultError::NoVault(_)
            | VaultError::NoVaultFile(_)
    )
}
