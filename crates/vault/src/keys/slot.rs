//! Slots: the ways into a vault. Each wraps the newest key under a key made from a secret.
//!
//! What must hold: a secret only ever unwraps; what a slot asks for in memory and time is bounded before it is spent.
//! What it deliberately does not do: say which slot a wrong secret was meant for.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Keyring, Secret};
use crate::entropy::Entropy;
use crate::error::VaultError;
use crate::ids::{VaultId, from_hex, to_hex};

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
        memory_kib: 1 << 20,
        passes: 16,
        lanes: 16,
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

/// An older key under the next newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// 24 bytes, hexadecimal.
    pub nonce: String,
    /// The wrapped key with its tag, hexadecimal.
    pub wrapped: String,
}

impl Slot {
    pub(crate) fn wrap(
        keys: &Keyring,
        secret: &Secret,
        cost: KdfCost,
        entropy: &Entropy,
    ) -> Result<Self, VaultError> {
        let salt: [u8; 16] = entropy.bytes();
        let (kind, argon2id) = match secret {
            Secret::Passphrase(_) => (SlotKind::Passphrase, Some(cost)),
            Secret::RecoveryPhrase(_) => (SlotKind::Recovery, None),
        };
        let wrapping = wrapping_key(secret, argon2id, &salt)?;
        let (nonce, wrapped) = wrap_key(&wrapping, keys.vault, keys.newest(), entropy);
        Ok(Self {
            id: to_hex(&entropy.bytes::<4>()),
            kind,
            argon2id,
            salt: to_hex(&salt),
            nonce,
            wrapped,
        })
    }

    pub(super) fn unwrap(&self, vault: VaultId, secret: &Secret) -> Option<[u8; 32]> {
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

pub(super) fn wrap_previous(
    vault: VaultId,
    older: &[u8; 32],
    newer: &[u8; 32],
    entropy: &Entropy,
) -> WrappedKey {
    let wrapping = blake3::derive_key("syncline vault v1 previous epoch", newer);
    let (nonce, wrapped) = wrap_key(&wrapping, vault, older, entropy);
    WrappedKey { nonce, wrapped }
}

pub(super) fn unwrap_previous(
    vault: VaultId,
    wrapped: &WrappedKey,
    newer: &[u8; 32],
) -> Option<[u8; 32]> {
    let wrapping = blake3::derive_key("syncline vault v1 previous epoch", newer);
    unwrap_key(&wrapping, vault, &wrapped.nonce, &wrapped.wrapped)
}

fn wrap_key(
    wrapping: &[u8; 32],
    vault: VaultId,
    key: &[u8; 32],
    entropy: &Entropy,
) -> (String, String) {
    let nonce: [u8; 24] = entropy.bytes();
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
