//! The vault's keys on this device: one file a vault, readable by its owner only.
//!
//! What must hold: the file is private from the moment it exists and is replaced as a whole. Losing it loses nothing but convenience:
//! `hx sync init` with the passphrase or the recovery phrase brings it back.
//!
//! What it deliberately does not do: use the desktop's keychain. Most machines that people sync a shell history to have none, and a
//! second place would have to be kept in step.

use std::io;
use std::path::PathBuf;

use console::{Exit, Failure};
use vault::{Keyring, VaultId};

use crate::settings::Paths;

/// Where the keys of one vault lie.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file of a vault.
    pub fn of(paths: &Paths, vault: VaultId) -> Self {
        Self {
            path: paths.keys_dir().join(format!("{vault}.json")),
        }
    }

    /// Reads the keys of every other vault that this device was in. What cannot be read is left out: no sync hangs on it.
    pub fn others(paths: &Paths, vault: VaultId) -> Vec<Keyring> {
        let files = std::fs::read_dir(paths.keys_dir()).into_iter().flatten();
        let texts = files
            .flatten()
            .filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts
            .filter_map(|text| Keyring::from_secret_json(&text).ok())
            .filter(|keys| keys.vault() != vault)
            .collect()
    }

    /// Where it lies.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Reads the keys; none if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn read(&self) -> Result<Option<Keyring>, Failure> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io("read the key file", &self.path, &error)),
        };
        Keyring::from_secret_json(&text).map(Some).map_err(|_| {
            Failure::new(Exit::WrongKey, format!("the key file {} is damaged", self.path.display()))
                .hint("Move it away and run `hx sync init --store URL` again: it asks for the passphrase and writes a new one.")
        })
    }

    /// Writes the keys.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, keys: &Keyring) -> Result<(), Failure> {
        store::file::atomic_write_private(&self.path, keys.to_secret_json().as_bytes())
            .map_err(|error| Failure::io("write the key file", &self.path, &error))
    }

    /// Removes the keys of a vault that did not come to be.
    pub fn remove(&self) {
        // One that stays opens nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}
