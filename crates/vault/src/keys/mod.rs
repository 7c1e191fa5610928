//! The vault's keys: random per epoch, wrapped in `vault.json` by slots, kept on a device in a keyring.
//!
//! What must hold: a passphrase or recovery phrase only ever unwraps; the data keys are random. A keyring that was opened from a
//! `vault.json` has proved, by that file's message authentication code, that it belongs to it. Secrets are wiped when dropped and never printed.
//!
//! What it deliberately does not do: store anything (a tool puts [`Keyring::to_secret_json`] where only its owner reads it);
//! remember the recovery phrase, which is shown once.

mod kept;
mod slot;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::Entropy;
use crate::error::VaultError;
use crate::ids::{VaultId, random_bytes, to_hex};

pub use slot::{KdfCost, Slot, SlotKind, WrappedKey};
use slot::{unwrap_previous, wrap_previous};

/// The data keys of a vault, one an epoch; the newest seals, all open.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Keyring {
    #[zeroize(skip)]
    vault: VaultId,
    /// Keys of the epochs 1, 2, …
    keys: Vec<[u8; 32]>,
    /// Keys that belong to no epoch: one that this device made for a rotation and that `vault.json` does not have (yet), or had not in the
    /// end because another device's took its place. What was sealed with one can be read here; nothing is sealed with it any more.
    apart: Vec<[u8; 32]>,
}

/// What became of this device's keys when others opened `vault.json`.
#[derive(Debug)]
pub struct Succession {
    /// The keys from now on; those that were given up are kept apart.
    pub keys: Keyring,
    /// Whether a key was given up that objects of this device may be sealed with. No other device can read those.
    pub gave_up: bool,
}

/// The keys derived from one epoch's key, one a purpose.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Subkeys {
    pub(crate) encryption: [u8; 32],
    pub(crate) nonce: [u8; 32],
}

/// What a person gives to open a vault.
#[derive(ZeroizeOnDrop)]
pub enum Secret {
    /// A passphrase, stretched with Argon2id (RFC 9106).
    Passphrase(String),
    /// The 24 words shown when the vault was created (BIP-39, English), 256 bits.
    RecoveryPhrase(String),
}

impl Secret {
    /// Takes a text for a recovery phrase if it has 24 words of that list, for a passphrase otherwise.
    pub fn from_input(text: &str) -> Self {
        let text = text.trim_end_matches(['\r', '\n']);
        let words: Vec<_> = text.split_whitespace().collect();
        if words.len() == 24
            && words.iter().all(|word| {
                bip39::Language::English
                    .find_word(&word.to_lowercase())
                    .is_some()
            })
        {
            return Self::RecoveryPhrase(words.join(" ").to_lowercase());
        }
        Self::Passphrase(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, {} epochs)", self.vault, self.keys.len())
    }
}

/// `vault.json`: the only object that is ever replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFile {
    /// `syncline-vault`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// The vault.
    pub vault: VaultId,
    /// Whose records it holds, for example `hx`.
    pub domain: String,
    /// How often the file was changed.
    pub generation: u64,
    /// The newest epoch; the slots wrap its key.
    pub epoch: u32,
    /// The ways in.
    pub slots: Vec<Slot>,
    /// The keys of the earlier epochs, each wrapped by the one after it, oldest first.
    pub previous: Vec<WrappedKey>,
    /// Keyed BLAKE3 over all the other fields, hexadecimal.
    pub mac: String,
}

const FILE_FORMAT: &str = "syncline-vault";
const FILE_VERSION: u32 = 1;
/// Each slot costs time to try: a hostile file must not take for ever.
const SLOTS_MAX: usize = 64;

impl Keyring {
    /// Makes a new vault's identity and first key.
    pub fn generate() -> Self {
        Self {
            vault: VaultId::random(),
            keys: vec![random_bytes()],
            apart: vec![],
        }
    }

    /// The vault these keys belong to.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// The newest epoch, counted from 1.
    pub fn epoch(&self) -> u32 {
        self.keys.len() as u32
    }

    /// Adds a new random key for the next epoch.
    #[must_use]
    pub fn rotated(&self) -> Self {
        self.rotated_by(&Entropy::system())
    }

    pub(crate) fn rotated_by(&self, entropy: &Entropy) -> Self {
        let mut next = self.clone();
        next.keys.push(entropy.bytes());
        next
    }

    pub(crate) fn subkeys(&self, epoch: u32) -> Option<Subkeys> {
        let key = self.keys.get((epoch as usize).checked_sub(1)?)?;
        Some(self.subkeys_of(key))
    }

    /// Those of the keys that belong to no epoch.
    pub(crate) fn subkeys_apart(&self) -> impl Iterator<Item = Subkeys> + '_ {
        self.apart.iter().map(|key| self.subkeys_of(key))
    }

    fn subkeys_of(&self, key: &[u8; 32]) -> Subkeys {
        Subkeys {
            encryption: self.derive("syncline vault v1 encryption", key),
            nonce: self.derive("syncline vault v1 nonce", key),
        }
    }

    /// Says which key is the newest, without giving anything of it away.
    pub(crate) fn fingerprint(&self) -> String {
        to_hex(&self.derive("syncline vault v1 fingerprint", self.newest())[..8])
    }

    fn derive(&self, context: &str, key: &[u8; 32]) -> [u8; 32] {
        let mut material = Zeroizing::new([0; 48]);
        material[..32].copy_from_slice(key);
        material[32..].copy_from_slice(&self.vault.0);
        blake3::derive_key(context, material.as_slice())
    }

    fn newest(&self) -> &[u8; 32] {
        self.keys.last().expect("a keyring is never empty")
    }
}

/// A new random recovery phrase: 24 words, 256 bits. Show it once; it is not kept.
pub fn new_recovery_phrase() -> Zeroizing<String> {
    let entropy: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes());
    let phrase = bip39::Mnemonic::from_entropy(entropy.as_slice()).expect("32 bytes make 24 words");
    Zeroizing::new(phrase.to_string())
}

impl VaultFile {
    /// Makes the file of a keyring with one slot for each secret.
    ///
    /// # Errors
    /// [`VaultError::BadPhrase`] if a recovery phrase is not valid.
    pub fn build(
        keys: &Keyring,
        domain: &str,
        generation: u64,
        secrets: &[&Secret],
        cost: KdfCost,
    ) -> Result<Self, VaultError> {
        Self::build_by(&Entropy::system(), keys, domain, generation, secrets, cost)
    }

    /// As [`VaultFile::build`], with random bytes from elsewhere.
    ///
    /// # Errors
    /// As [`VaultFile::build`].
    pub fn build_by(
        entropy: &Entropy,
        keys: &Keyring,
        domain: &str,
        generation: u64,
        secrets: &[&Secret],
        cost: KdfCost,
    ) -> Result<Self, VaultError> {
        let slots = secrets
            .iter()
            .map(|secret| Slot::wrap(keys, secret, cost, entropy))
            .collect::<Result<_, _>>()?;
        let previous = keys
            .keys
            .windows(2)
            .map(|pair| wrap_previous(keys.vault, &pair[0], &pair[1], entropy))
            .collect();
        let mut file = Self {
            format: FILE_FORMAT.into(),
            version: FILE_VERSION,
            vault: keys.vault,
            domain: domain.into(),
            generation,
            epoch: keys.epoch(),
            slots,
            previous,
            mac: String::new(),
        };
        file.mac = file.mac_under(keys);
        Ok(file)
    }

    /// Reads the object `vault.json`.
    ///
    /// # Errors
    /// [`VaultError::DamagedVaultFile`], or [`VaultError::NewerFormat`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let damaged = |error: serde_json::Error| VaultError::DamagedVaultFile(error.to_string());
        let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
        if head.format != FILE_FORMAT {
            return Err(VaultError::DamagedVaultFile(format!(
                "its format is `{}`",
                head.format
            )));
        }
        if head.version > FILE_VERSION {
            return Err(VaultError::NewerFormat("vault.json".into()));
        }
        let file: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        if file.slots.len() > SLOTS_MAX {
            let slots = file.slots.len();
            return Err(VaultError::DamagedVaultFile(format!(
                "it has {slots} slots"
            )));
        }
        Ok(file)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("plain data serialises");
        bytes.push(b'\n');
        bytes
    }

    /// Opens the vault with a secret.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] if no slot opens; [`VaultError::DamagedVaultFile`] if one opens but the file was changed.
    pub fn unlock(&self, secret: &Secret) -> Result<Keyring, VaultError> {
        let newest = self
            .slots
            .iter()
            .find_map(|slot| slot.unwrap(self.vault, secret))
            .ok_or(VaultError::WrongKey)?;
        let mut keys = vec![newest];
        for wrapped in self.previous.iter().rev() {
            let newer = keys.last().expect("begun with one");
            keys.push(
                unwrap_previous(self.vault, wrapped, newer)
                    .ok_or_else(|| tampered("an older key does not open"))?,
            );
        }
        keys.reverse();
        let keys = Keyring {
            vault: self.vault,
            keys,
            apart: vec![],
        };
        match self.is_under(&keys) && self.epoch == keys.epoch() {
            true => Ok(keys),
            false => Err(tampered(
                "its authentication code is wrong: somebody changed it",
            )),
        }
    }

    /// Whether this file belongs to `keys` and is as it was written.
    ///
    /// # Errors
    /// [`VaultError::OtherVault`], [`VaultError::Rotated`], [`VaultError::OldVaultFile`], [`VaultError::OtherKey`], or
    /// [`VaultError::DamagedVaultFile`].
    pub fn check(&self, keys: &Keyring) -> Result<(), VaultError> {
        if self.vault != keys.vault {
            return Err(VaultError::OtherVault {
                expected: keys.vault,
                found: self.vault,
            });
        }
        if self.epoch > keys.epoch() {
            return Err(VaultError::Rotated { epoch: self.epoch });
        }
        if self.epoch < keys.epoch() {
            let then = keys.up_to(self.epoch);
            return Err(match then.is_some_and(|then| self.is_under(&then)) {
                true => VaultError::OldVaultFile {
                    epoch: self.epoch,
                    newest: keys.epoch(),
                },
                false => VaultError::OtherKey { epoch: self.epoch },
            });
        }
        if self.is_under(keys) {
            return Ok(());
        }
        // Of the first epoch there is one key. Of a later one two devices may each have made one.
        Err(match self.epoch {
            0..=1 => tampered("its authentication code is wrong: somebody changed it"),
            epoch => VaultError::OtherKey { epoch },
        })
    }

    /// Whether its authentication code was made with the newest of these keys.
    fn is_under(&self, keys: &Keyring) -> bool {
        let found = blake3::Hash::from_hex(&self.mac).ok();
        // Comparing hashes takes the same time wherever they differ; the text itself has only one form.
        let same = found == blake3::Hash::from_hex(self.mac_under(keys)).ok();
        same && !self.mac.bytes().any(|byte| byte.is_ascii_uppercase())
    }

    /// Adds a way in. Requires the keys, so nobody else can.
    ///
    /// # Errors
    /// As [`VaultFile::check`].
    pub fn with_slot(
        &self,
        keys: &Keyring,
        secret: &Secret,
        cost: KdfCost,
    ) -> Result<Self, VaultError> {
        self.with_made(keys, Slot::wrap(keys, secret, cost, &Entropy::system())?)
    }

    /// Adds a way in that was made already: for another state of the file, perhaps.
    pub(crate) fn with_made(&self, keys: &Keyring, slot: Slot) -> Result<Self, VaultError> {
        self.check(keys)?;
        let mut file = self.clone();
        file.slots.push(slot);
        if file.slots.len() > SLOTS_MAX {
            return Err(VaultError::TooManySlots(SLOTS_MAX));
        }
        file.generation += 1;
        file.mac = file.mac_under(keys);
        Ok(file)
    }

    /// Whether all ways into `other` are ways into this one.
    pub(crate) fn has_ways_of(&self, other: &Self) -> bool {
        other.slots.iter().all(|slot| self.slots.contains(slot))
    }

    fn mac_under(&self, keys: &Keyring) -> String {
        let bare = Self {
            mac: String::new(),
            ..self.clone()
        };
        let key = keys.derive("syncline vault v1 vault.json", keys.newest());
        let bytes = serde_json::to_vec(&bare).expect("plain data serialises");
        blake3::keyed_hash(&key, &bytes).to_hex().to_string()
    }
}

fn tampered(why: &str) -> VaultError {
    VaultError::DamagedVaultFile(why.into())
}

#[cfg(test)]
mod tests;
