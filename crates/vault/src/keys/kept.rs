//! A keyring on its device: how it is written down, and how it changes when `vault.json` does.
//!
//! What must hold: no key is ever dropped that anything may be sealed with; a key that belongs to no epoch seals nothing.
//! What it deliberately does not do: decide which `vault.json` holds (the store does).

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Keyring, Succession, VaultFile};
use crate::error::VaultError;
use crate::ids::{VaultId, from_hex, to_hex};

impl Keyring {
    /// The keys as JSON, for a place that only their owner can read.
    pub fn to_secret_json(&self) -> Zeroizing<String> {
        let written =
            |keys: &[[u8; 32]]| -> Vec<_> { keys.iter().map(|key| to_hex(key)).collect() };
        let mut stored = serde_json::json!({ "vault": self.vault, "keys": written(&self.keys) });
        if !self.apart.is_empty() {
            stored["apart"] = written(&self.apart).into();
        }
        Zeroizing::new(stored.to_string())
    }

    /// Reads [`Keyring::to_secret_json`].
    ///
    /// # Errors
    /// [`VaultError::DamagedVaultFile`] if it is anything else.
    pub fn from_secret_json(text: &str) -> Result<Self, VaultError> {
        #[derive(Deserialize)]
        struct Stored {
            vault: VaultId,
            keys: Vec<String>,
            #[serde(default)]
            apart: Vec<String>,
        }
        let damaged =
            || VaultError::DamagedVaultFile("the key file of this device is not one".into());
        let stored: Stored = serde_json::from_str(text).map_err(|_| damaged())?;
        let read = |texts: &[String]| -> Result<Vec<[u8; 32]>, VaultError> {
            let keys = texts.iter().map(|key| from_hex(key)?.try_into().ok());
            keys.collect::<Option<_>>().ok_or_else(damaged)
        };
        let keys = read(&stored.keys)?;
        if keys.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            vault: stored.vault,
            keys,
            apart: read(&stored.apart)?,
        })
    }

    /// These keys, with the newest of `next` beside them: for a rotation that may or may not come to hold. Kept before the store knows
    /// of the new key, it locks nobody out; and nothing is sealed with the new key before it is known to hold.
    #[must_use]
    pub fn awaiting(&self, next: &Keyring) -> Self {
        let mut kept = self.clone();
        kept.set_apart(*next.newest());
        kept
    }

    /// Whether there is a key beside these that `vault.json` may have by now, or may get: one that was made for a rotation, and of which it
    /// was not seen that another device's holds instead. One that was given up counts too; nothing tells the two apart for certain.
    pub fn is_awaiting(&self) -> bool {
        !self.apart.is_empty()
    }

    /// The keys of this device that a `vault.json` is under: those it has, or with one in front that was kept apart.
    pub fn settled_by(&self, file: &VaultFile) -> Option<Succession> {
        if file.check(self).is_ok() {
            return Some(Succession {
                keys: self.clone(),
                gave_up: false,
            });
        }
        let before = (file.epoch as usize).checked_sub(1)?;
        let older = self.keys.get(..before).filter(|older| !older.is_empty())?;
        let with = |newest: &[u8; 32]| Self {
            vault: self.vault,
            keys: older.iter().copied().chain([*newest]).collect(),
            apart: vec![],
        };
        let found = self
            .apart
            .iter()
            .map(with)
            .find(|keys| file.check(keys).is_ok())?;
        found.after(self).ok()
    }

    /// Goes on from the keys that this device had before, now that a secret opened newer ones. What is not among these is kept apart.
    ///
    /// # Errors
    /// [`VaultError::DamagedVaultFile`] if the two do not even begin with the same key: they are of two vaults.
    pub fn after(mut self, before: &Keyring) -> Result<Succession, VaultError> {
        if self.vault != before.vault || self.keys.first() != before.keys.first() {
            return Err(VaultError::DamagedVaultFile(
                "it says that it is this device's vault, and its keys are of another".into(),
            ));
        }
        let given_up: Vec<[u8; 32]> = before
            .keys
            .iter()
            .enumerate()
            .filter(|(at, key)| self.keys.get(*at) != Some(*key))
            .map(|(_, key)| *key)
            .collect();
        let gave_up = !given_up.is_empty();
        for key in before.apart.iter().chain(&given_up) {
            self.set_apart(*key);
        }
        Ok(Succession {
            keys: self,
            gave_up,
        })
    }

    fn set_apart(&mut self, key: [u8; 32]) {
        if !self.keys.contains(&key) && !self.apart.contains(&key) {
            self.apart.push(key);
        }
    }

    /// The keys that this device had up to an epoch.
    pub(super) fn up_to(&self, epoch: u32) -> Option<Self> {
        let keys = self.keys.get(..epoch as usize)?;
        (!keys.is_empty()).then(|| Self {
            vault: self.vault,
            keys: keys.to_vec(),
            apart: vec![],
        })
    }

    /// What a mark says to prove that whoever left it had the key before: `None` for an epoch of which these keys say nothing.
    pub(crate) fn mark_mac(&self, epoch: u32) -> Option<String> {
        let key = self.keys.get((epoch as usize).checked_sub(2)?)?;
        let key = self.derive("syncline vault v1 epoch mark", key);
        Some(
            blake3::keyed_hash(&key, &epoch.to_le_bytes())
                .to_hex()
                .to_string(),
        )
    }
}
