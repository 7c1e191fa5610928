//! The vault's keys: random per epoch, wrapped in `vault.json` by slots, kept on a device in a keyring.
//!
//! What must hold: a passphrase or recovery phrase only ever unwraps; the data keys are random. A keyring that was opened from a
//! `vault.json` has proved, by that file's message authentication code, that it belongs to it. Secrets are wiped when dropped and never printed.
//!
//! What it deliberately does not do: store anything (a tool puts [`Keyring::to_secret_json`] where only its owner reads it);
//! remember the recovery phrase, which is shown once.

mod slot;

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::VaultError;
use crate::ids::{VaultId, from_hex, random_bytes, to_hex};

/// The data keys of a vault, one an epoch; the newest seals, all open.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Keyring {
    #[zeroize(skip)]
    vault: VaultId,
    /// Keys of the epochs 1, 2, …
    keys: Vec<[u8; 32]>,
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

/// What a passphrase costs to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// RFC 9106, section 4, second recommended option: 64 MiB, 3 passes, 4 lanes.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 65_536,
        passes: 3,
        lanes: 4,
    };
    /// As cheap as Argon2 allows. For tests and throw-away vaults, where thousands are opened; never for a person's.
    pub const CHEAP_FOR_TESTS: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    /// More than this is refused when read: a hostile `vault.json` must not exhaust the machine.
    const MAX: Self = Self {
        memory_kib: 4 << 20,
        passes: 64,
        lanes: 64,
    };

    fn is_acceptable(self) -> bool {
        self.memory_kib <= Self::MAX.memory_kib
            && self.passes <= Self::MAX.passes
            && self.lanes <= Self::MAX.lanes
    }
}

/// How one slot wraps the newest key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// A random name, to remove it by.
    pub id: String,
    /// `passphrase` or `recovery`.
    pub kind: SlotKind,
    /// Argon2id's cost; absent for recovery phrases, which need no stretching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argon2id: Option<KdfCost>,
    /// 16 bytes, hexadecimal.
    pub salt: String,
    /// 24 bytes, hexadecimal.
    pub nonce: String,
    /// The wrapped key with its tag, hexadecimal.
    pub wrapped: String,
}

/// The kinds of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// Opened by a passphrase.
    Passphrase,
    /// Opened by the recovery phrase.
    Recovery,
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

/// An older key under the next newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// 24 bytes, hexadecimal.
    pub nonce: String,
    /// The wrapped key with its tag, hexadecimal.
    pub wrapped: String,
}

const FILE_FORMAT: &str = "syncline-vault";
const FILE_VERSION: u32 = 1;

impl Keyring {
    /// Makes a new vault's identity and first key.
    pub fn generate() -> Self {
        Self {
            vault: VaultId::random(),
            keys: vec![random_bytes()],
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
        let mut next = self.clone();
        next.keys.push(random_bytes());
        next
    }

    pub(crate) fn subkeys(&self, epoch: u32) -> Option<Subkeys> {
        let key = self.keys.get((epoch as usize).checked_sub(1)?)?;
        Some(Subkeys {
            encryption: self.derive("syncline vault v1 encryption", key),
            nonce: self.derive("syncline vault v1 nonce", key),
        })
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

    /// The keys as JSON, for a place that only their owner can read.
    pub fn to_secret_json(&self) -> Zeroizing<String> {
        let keys: Vec<_> = self.keys.iter().map(|key| to_hex(key)).collect();
        Zeroizing::new(serde_json::json!({ "vault": self.vault, "keys": keys }).to_string())
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
        }
        let damaged =
            || VaultError::DamagedVaultFile("the key file of this device is not one".into());
        let stored: Stored = serde_json::from_str(text).map_err(|_| damaged())?;
        let keys: Option<Vec<[u8; 32]>> = stored
            .keys
            .iter()
            .map(|key| from_hex(key)?.try_into().ok())
            .collect();
        keys.filter(|keys| !keys.is_empty())
            .map(|keys| Self {
                vault: stored.vault,
                keys,
            })
            .ok_or_else(damaged)
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
        let slots = secrets
            .iter()
            .map(|secret| Slot::wrap(keys, secret, cost))
            .collect::<Result<_, _>>()?;
        let previous = keys
            .keys
            .windows(2)
            .map(|pair| wrap_previous(keys.vault, &pair[0], &pair[1]))
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
        serde_json::from_slice(bytes).map_err(damaged)
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
        };
        self.check(&keys)?;
        Ok(keys)
    }

    /// Whether this file belongs to `keys` and is as it was written.
    ///
    /// # Errors
    /// [`VaultError::OtherVault`], [`VaultError::Rotated`], or [`VaultError::DamagedVaultFile`].
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
            return Err(tampered(
                "it is older than the keys of this device: an old copy was put back",
            ));
        }
        let same = blake3::Hash::from_hex(&self.mac).ok()
            == blake3::Hash::from_hex(self.mac_under(keys)).ok();
        if same {
            Ok(())
        } else {
            Err(tampered(
                "its authentication code is wrong: somebody changed it",
            ))
        }
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
        self.check(keys)?;
        let mut file = self.clone();
        file.slots.push(Slot::wrap(keys, secret, cost)?);
        file.generation += 1;
        file.mac = file.mac_under(keys);
        Ok(file)
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

impl Slot {
    fn wrap(keys: &Keyring, secret: &Secret, cost: KdfCost) -> Result<Self, VaultError> {
        let salt: [u8; 16] = random_bytes();
        let (kind, argon2id) = match secret {
            Secret::Passphrase(_) => (SlotKind::Passphrase, Some(cost)),
            Secret::RecoveryPhrase(_) => (SlotKind::Recovery, None),
        };
        let wrapping = wrapping_key(secret, argon2id, &salt)?;
        let (nonce, wrapped) = wrap_key(&wrapping, keys.vault, keys.newest());
        Ok(Self {
            id: to_hex(&random_bytes::<4>()),
            kind,
            argon2id,
            salt: to_hex(&salt),
            nonce,
            wrapped,
        })
    }

    fn unwrap(&self, vault: VaultId, secret: &Secret) -> Option<[u8; 32]> {
        let fits = matches!(
            (self.kind, secret),
            (SlotKind::Passphrase, Secret::Passphrase(_))
                | (SlotKind::Recovery, Secret::RecoveryPhrase(_))
        );
        if !fits || self.argon2id.is_some_and(|cost| !cost.is_acceptable()) {
            return None;
        }
        let wrapping = wrapping_key(secret, self.argon2id, &from_hex(&self.salt)?).ok()?;
        unwrap_key(&wrapping, vault, &self.nonce, &self.wrapped)
    }
}

fn wrapping_key(
    secret: &Secret,
    cost: Option<KdfCost>,
    salt: &[u8],
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let mut key = Zeroizing::new([0; 32]);
    match (secret, cost) {
        (Secret::Passphrase(passphrase), Some(cost)) => {
            let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(
                |error| {
                    VaultError::DamagedVaultFile(format!("a slot's cost is impossible: {error}"))
                },
            )?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
                .map_err(|error| {
                    VaultError::DamagedVaultFile(format!("a slot cannot be computed: {error}"))
                })?;
        }
        (Secret::RecoveryPhrase(phrase), _) => {
            let phrase = bip39::Mnemonic::parse(phrase.as_str())
                .map_err(|error| VaultError::BadPhrase(error.to_string()))?;
            let mut material = Zeroizing::new(phrase.to_entropy());
            material.extend_from_slice(salt);
            *key = blake3::derive_key("syncline vault v1 recovery phrase", &material);
        }
        (Secret::Passphrase(_), None) => {
            return Err(VaultError::DamagedVaultFile(
                "a passphrase slot has no cost".into(),
            ));
        }
    }
    Ok(key)
}

fn wrap_previous(vault: VaultId, older: &[u8; 32], newer: &[u8; 32]) -> WrappedKey {
    let wrapping = blake3::derive_key("syncline vault v1 previous epoch", newer);
    let (nonce, wrapped) = wrap_key(&wrapping, vault, older);
    WrappedKey { nonce, wrapped }
}

fn unwrap_previous(vault: VaultId, wrapped: &WrappedKey, newer: &[u8; 32]) -> Option<[u8; 32]> {
    let wrapping = blake3::derive_key("syncline vault v1 previous epoch", newer);
    unwrap_key(&wrapping, vault, &wrapped.nonce, &wrapped.wrapped)
}

fn wrap_key(wrapping: &[u8; 32], vault: VaultId, key: &[u8; 32]) -> (String, String) {
    let nonce: [u8; 24] = random_bytes();
    let sealed = XChaCha20Poly1305::new(wrapping.into())
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: key,
                aad: &vault.0,
            },
        )
        .expect("32 bytes encrypt");
    (to_hex(&nonce), to_hex(&sealed))
}

fn unwrap_key(wrapping: &[u8; 32], vault: VaultId, nonce: &str, wrapped: &str) -> Option<[u8; 32]> {
    let nonce: [u8; 24] = from_hex(nonce)?.try_into().ok()?;
    let opened = XChaCha20Poly1305::new(wrapping.into())
        .decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: &from_hex(wrapped)?,
                aad: &vault.0,
            },
        )
        .ok()?;
    opened.try_into().ok()
}

#[cfg(test)]
mod tests;
