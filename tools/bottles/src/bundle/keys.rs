//! The keys of a site: one signs what leaves, the other side trusts its public half.
//!
//! What must hold: the private key's file is readable by its owner only; no file is written over.

use super::{BundleError, file_error};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::path::Path;

/// How the line of a public key begins.
const PUBLIC: &str = "homebrew-sync-ed25519 ";

/// How the line of a private key begins.
const PRIVATE: &str = "homebrew-sync-ed25519-private ";

/// A key that signs bundles.
pub struct SigningKey(Ed25519KeyPair);

/// A key whose bundles are taken in.
pub struct TrustedKey(Vec<u8>);

impl SigningKey {
    /// Makes a new key and writes it to a file, its public half beside it with `.pub` at the end.
    ///
    /// # Errors
    /// If a file cannot be written, or is there already.
    pub fn create(path: &Path) -> Result<(), BundleError> {
        let taken = || {
            std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "there is a file of that name",
            )
        };
        let public = path.with_added_extension("pub");
        // A public half without its private one may be another's, whom this side trusts.
        for path in [path, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(file_error(path)(taken()));
            }
        }
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pair =
            pair.map_err(|_| file_error(path)(std::io::Error::other("no random numbers")))?;
        let key = SigningKey::from_pkcs8(path, pair.as_ref())?;
        let private = format!("{PRIVATE}{}\n", BASE64_STANDARD.encode(pair.as_ref()));
        store::file::atomic_write_private(path, private.as_bytes()).map_err(file_error(path))?;
        let line = format!("{PUBLIC}{}\n", BASE64_STANDARD.encode(key.0.public_key()));
        store::file::atomic_write(&public, line.as_bytes()).map_err(file_error(&public))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If the file holds none.
    pub fn read(path: &Path) -> Result<SigningKey, BundleError> {
        SigningKey::from_pkcs8(path, &line(path, PRIVATE)?)
    }

    fn from_pkcs8(path: &Path, bytes: &[u8]) -> Result<SigningKey, BundleError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes);
        pair.map(SigningKey).map_err(|_| BundleError::Key {
            path: path.to_owned(),
        })
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(bytes))
    }
}

impl TrustedKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// If the file holds none.
    pub fn read(path: &Path) -> Result<TrustedKey, BundleError> {
        line(path, PUBLIC).map(TrustedKey)
    }

    pub(super) fn fits(&self, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(signature.trim()) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(bytes, &signature).is_ok()
    }
}

fn line(path: &Path, begins: &str) -> Result<Vec<u8>, BundleError> {
    let text = std::fs::read_to_string(path).map_err(file_error(path))?;
    let key = text.trim().strip_prefix(begins.trim_end()).map(str::trim);
    let key = key.and_then(|key| BASE64_STANDARD.decode(key).ok());
    key.ok_or_else(|| BundleError::Key {
        path: path.to_owned(),
    })
}
