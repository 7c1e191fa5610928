//! Sealing: how one object's bytes are compressed, encrypted and bound to its place, and opened again.
//!
//! Stored form: a 61-byte header, a 24-byte nonce, then XChaCha20-Poly1305 ciphertext with its 16-byte tag
//! (RFC 8439, draft-irtf-cfrg-xchacha-03). The header is the associated data, so the object cannot be moved to another vault,
//! node, range or kind. The object's name ends in the hash of all its bytes, so it cannot be cut or changed.
//!
//! What must hold: sealing is deterministic (the nonce is a keyed hash of header and plaintext, as in SIV modes, RFC 5297), so that a retry writes the
//! very same object; equal nonces therefore only ever meet equal plaintexts. Nothing is returned before it authenticates.
//!
//! What it deliberately does not do: know what the plaintext means; keep keys (see `keys`); touch a store.

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::error::ProblemKind;
use crate::ids::{NodeId, ObjectHash, VaultId};
use crate::keys::{Keyring, Subkeys};

/// The version of the object format that this code writes; it reads 1 to this.
pub const FORMAT_VERSION: u8 = 1;
const MAGIC: &[u8; 3] = b"SLV";
const HEADER_LEN: usize = 3 + 1 + 1 + 16 + 16 + 4 + 8 + 8 + 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// No plaintext larger than this is written or accepted: a decompression bomb stops here.
pub(crate) const PLAINTEXT_BYTES_MAX: usize = 1 << 30;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A batch of records.
    Segment,
    /// A node's table of contents.
    Manifest,
}

/// Where an object belongs: everything its name says but the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: ObjectKind,
    /// Who wrote it.
    pub node: NodeId,
    /// A segment's first local number, a manifest's sequence number.
    pub first: u64,
    /// A segment's last local number; zero for manifests.
    pub last: u64,
}

impl Place {
    /// The object's key under the store's prefix.
    pub fn key(&self, hash: ObjectHash) -> String {
        let Self {
            node, first, last, ..
        } = self;
        match self.kind {
            ObjectKind::Segment => {
                format!("objects/segments/{node}/{first:016x}-{last:016x}-{hash}")
            }
            ObjectKind::Manifest => format!("manifests/{node}/{first:016x}-{hash}"),
        }
    }

    /// Reads a key; `None` if nothing of ours is named so.
    pub fn parse(key: &str) -> Option<(Self, ObjectHash)> {
        let number = |text: &str| -> Option<u64> {
            let well_formed = text.len() == 16
                && !text
                    .bytes()
                    .any(|byte| byte.is_ascii_uppercase() || byte == b'+');
            well_formed
                .then(|| u64::from_str_radix(text, 16).ok())
                .flatten()
        };
        if let Some(rest) = key.strip_prefix("manifests/") {
            let (node, name) = rest.split_once('/')?;
            let (sequence, hash) = name.split_once('-')?;
            let place = Self {
                kind: ObjectKind::Manifest,
                node: node.parse().ok()?,
                first: number(sequence)?,
                last: 0,
            };
            return Some((place, hash.parse().ok()?));
        }
        let (node, name) = key.strip_prefix("objects/segments/")?.split_once('/')?;
        let mut parts = name.splitn(3, '-');
        let place = Self {
            kind: ObjectKind::Segment,
            node: node.parse().ok()?,
            first: number(parts.next()?)?,
            last: number(parts.next()?)?,
        };
        Some((place, parts.next()?.parse().ok()?))
    }
}

/// An object ready to be stored.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its key under the store's prefix.
    pub key: String,
    /// The hash that its name ends in.
    pub hash: ObjectHash,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why an object could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// One sentence of detail.
    pub detail: String,
    /// Whether it is whole as it was named, and no key that is here opens it.
    pub is_by_key: bool,
}

/// No object that can be opened is larger.
pub(crate) const OBJECT_BYTES_MAX: u64 =
    (HEADER_LEN + NONCE_LEN + PLAINTEXT_BYTES_MAX + TAG_LEN) as u64;

/// Compresses (zstd at `level`, or not at all) and encrypts `plaintext` for its place, under the newest key.
///
/// # Panics
/// If the plaintext is larger than 1 GiB; callers cut batches far below.
pub fn seal(keys: &Keyring, place: Place, plaintext: &[u8], level: Option<i32>) -> Sealed {
    assert!(
        plaintext.len() <= PLAINTEXT_BYTES_MAX,
        "a batch is cut long before it is this large"
    );
    let packed = level
        .and_then(|level| zstd::bulk::compress(plaintext, level).ok())
        .filter(|packed| packed.len() < plaintext.len());
    let (body, raw_len) = match &packed {
        Some(packed) => (packed.as_slice(), plaintext.len() as u32),
        None => (plaintext, 0),
    };
    let header = header(keys.vault(), keys.epoch(), place, raw_len);
    let subkeys = keys
        .subkeys(keys.epoch())
        .expect("a keyring holds its newest key");
    let nonce = synthetic_nonce(&subkeys.nonce, &header, body);
    let cipher = XChaCha20Poly1305::new((&subkeys.encryption).into());
    let sealed = cipher
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: body,
                aad: &header,
            },
        )
        .expect("encrypting in memory fails only above 256 GiB");
    let mut object = Vec::with_capacity(HEADER_LEN + NONCE_LEN + sealed.len());
    object.extend_from_slice(&header);
    object.extend_from_slice(&nonce);
    object.extend_from_slice(&sealed);
    let hash = ObjectHash::of(&object);
    Sealed {
        key: place.key(hash),
        hash,
        bytes: object.into(),
    }
}

/// Checks and opens the object stored under `key`, and gives its plaintext.
///
/// # Errors
/// Everything that is not exactly what was sealed for this key and vault, named by kind.
pub fn open(keys: &Keyring, key: &str, object: &[u8]) -> Result<Vec<u8>, OpenError> {
    let Some((place, hash)) = Place::parse(key) else {
        return Err(OpenError {
            kind: ProblemKind::Foreign,
            detail: "no object of a vault has such a name".into(),
            is_by_key: false,
        });
    };
    let corrupt = |detail: String| OpenError {
        kind: ProblemKind::Corrupt,
        detail,
        is_by_key: false,
    };
    if ObjectHash::of(object) != hash {
        return Err(corrupt(format!(
            "its {} bytes do not have the hash that its name promises",
            object.len()
        )));
    }
    if object.len() < HEADER_LEN + NONCE_LEN + TAG_LEN || &object[..3] != MAGIC {
        return Err(corrupt(
            "it does not begin like an object of a vault".into(),
        ));
    }
    if object[3] > FORMAT_VERSION {
        return Err(OpenError {
            kind: ProblemKind::NewerFormat,
            detail: format!("it has format version {}", object[3]),
            is_by_key: false,
        });
    }
    let (head, rest) = object.split_at(HEADER_LEN);
    let (nonce, sealed) = rest.split_at(NONCE_LEN);
    let vault = VaultId(array(&head[5..21]));
    if vault != keys.vault() {
        return Err(OpenError {
            kind: ProblemKind::OtherVault,
            detail: format!("it belongs to vault {vault}"),
            is_by_key: false,
        });
    }
    let epoch = u32::from_le_bytes(array(&head[37..41]));
    let raw_len = u32::from_le_bytes(array(&head[57..61]));
    if head != header(vault, epoch, place, raw_len) {
        return Err(corrupt(
            "its header says that it belongs to another place".into(),
        ));
    }
    let body = decrypt(keys, epoch, (head, nonce, sealed))?;
    unpack(body, raw_len as usize).ok_or_else(|| corrupt("its content does not decompress".into()))
}

/// Decrypts under the key of an epoch, or one that belongs to none.
fn decrypt(
    keys: &Keyring,
    epoch: u32,
    (head, nonce, sealed): (&[u8], &[u8], &[u8]),
) -> Result<Vec<u8>, OpenError> {
    let opened = |subkeys: Subkeys| {
        let cipher = XChaCha20Poly1305::new((&subkeys.encryption).into());
        let nonce = XNonce::from(array::<NONCE_LEN>(nonce));
        let payload = Payload {
            msg: sealed,
            aad: head,
        };
        cipher.decrypt(&nonce, payload).ok()
    };
    let of_epoch = keys.subkeys(epoch);
    let (kind, detail) = match of_epoch {
        Some(_) => (
            ProblemKind::Corrupt,
            "it does not authenticate under the vault's key".to_owned(),
        ),
        None => (
            ProblemKind::NoKey,
            format!("it is sealed with the key of epoch {epoch}"),
        ),
    };
    of_epoch
        .into_iter()
        .chain(keys.subkeys_apart())
        .find_map(opened)
        .ok_or(OpenError {
            kind,
            detail,
            is_by_key: true,
        })
}

/// The epoch that a stored object says it was sealed in, unchecked: enough to know which key to fetch.
pub(crate) fn claimed_epoch(object: &[u8]) -> Option<u32> {
    (object.len() >= HEADER_LEN).then(|| u32::from_le_bytes(array(&object[37..41])))
}

/// The vault that a stored object says it belongs to, unchecked: enough to know which key to try.
pub(crate) fn claimed_vault(object: &[u8]) -> Option<VaultId> {
    (object.len() >= HEADER_LEN).then(|| VaultId(array(&object[5..21])))
}

fn unpack(body: Vec<u8>, raw_len: usize) -> Option<Vec<u8>> {
    if raw_len == 0 {
        return Some(body);
    }
    if raw_len > PLAINTEXT_BYTES_MAX {
        return None;
    }
    zstd::bulk::decompress(&body, raw_len)
        .ok()
        .filter(|plaintext| plaintext.len() == raw_len)
}

fn header(vault: VaultId, epoch: u32, place: Place, raw_len: u32) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..3].copy_from_slice(MAGIC);
    bytes[3] = FORMAT_VERSION;
    bytes[4] = match place.kind {
        ObjectKind::Segment => 1,
        ObjectKind::Manifest => 2,
    };
    bytes[5..21].copy_from_slice(&vault.0);
    bytes[21..37].copy_from_slice(&place.node.0);
    bytes[37..41].copy_from_slice(&epoch.to_le_bytes());
    bytes[41..49].copy_from_slice(&place.first.to_le_bytes());
    bytes[49..57].copy_from_slice(&place.last.to_le_bytes());
    bytes[57..61].copy_from_slice(&raw_len.to_le_bytes());
    bytes
}

fn synthetic_nonce(key: &[u8; 32], header: &[u8], body: &[u8]) -> [u8; NONCE_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(&(header.len() as u64).to_le_bytes())
        .update(header)
        .update(body);
    array(&hasher.finalize().as_bytes()[..NONCE_LEN])
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .try_into()
        .expect("the caller cut exactly this many bytes")
}

#[cfg(test)]
mod tests;
