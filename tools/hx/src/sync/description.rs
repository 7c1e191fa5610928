//! The vault's description (`vault.json`), kept on this device as the store last showed it.
//!
//! What must hold: only what proved to be the vault's own is kept, and nothing older takes its place; put back, it is the very file that
//! was lost, so that every passphrase and the recovery words go on opening the vault.
//!
//! What it deliberately does not do: fail a sync. A device without a copy can still make a new description, with new secrets. The copy is
//! no secret beyond the store's: the key in it is wrapped.

use std::path::PathBuf;

use vault::{Keyring, Vault, VaultFile, VaultId};

use crate::settings::Paths;

/// Where the copy of one vault's description lies.
#[derive(Clone, Debug)]
pub struct Description {
    path: PathBuf,
}

impl Description {
    /// The copy of a vault's.
    pub fn of(paths: &Paths, vault: VaultId) -> Self {
        Self {
            path: paths.keys_dir().join(format!("{vault}.description.json")),
        }
    }

    /// Has whatever `vault` reads or writes kept.
    pub fn keep_of(paths: &Paths, vault: Vault) -> Vault {
        let copy = Self::of(paths, vault.keys().vault());
        vault.witnessed(move |file| copy.keep(file))
    }

    /// The copy, if there is one that belongs to `keys`.
    pub fn read(&self, keys: &Keyring) -> Option<VaultFile> {
        self.kept().filter(|file| file.check(keys).is_ok())
    }

    /// Keeps a description that proved to be the vault's.
    pub fn keep(&self, file: &VaultFile) {
        let is_newer = |kept: VaultFile| {
            (file.epoch, file.generation) >= (kept.epoch, kept.generation) && *file != kept
        };
        if self.kept().is_none_or(is_newer) {
            // Where nothing may be written the older copy has to do.
            let _ = store::file::atomic_write_private(&self.path, &file.to_bytes());
        }
    }

    /// Forgets it: it is under a key that does not hold.
    pub fn forget(&self) {
        // One that stays is not taken for another key's.
        let _ = std::fs::remove_file(&self.path);
    }

    fn kept(&self) -> Option<VaultFile> {
        let bytes = std::fs::read(&self.path).ok()?;
        VaultFile::parse(&bytes).ok()
    }
}
