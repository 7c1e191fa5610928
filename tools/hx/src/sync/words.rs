//! Recovery words on their way to the person: kept from before the store knows of them until they were shown.
//!
//! What must hold: whatever ends a command between making words and showing them, the next `hx sync init` shows them; words that were shown
//! are kept nowhere. Only the owner can read the file, which lies beside the key that the words stand for.
//!
//! What it deliberately does not do: show words that do not open the vault.

use std::path::PathBuf;

use console::Failure;
use vault::{Secret, VaultFile, VaultId};

use crate::settings::Paths;

/// Where words that were not shown yet lie.
#[derive(Clone, Debug)]
pub struct Words {
    path: PathBuf,
}

impl Words {
    /// Those of a vault.
    pub fn of(paths: &Paths, vault: VaultId) -> Self {
        Self {
            path: paths.keys_dir().join(format!("{vault}.words")),
        }
    }

    /// Keeps them until they are shown.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn keep(&self, phrase: &str) -> Result<(), Failure> {
        store::file::atomic_write_private(&self.path, phrase.as_bytes())
            .map_err(|error| Failure::io("keep the recovery words", &self.path, &error))
    }

    /// Those that are still to be shown, if they open the vault. Others are no use to anybody, and go.
    pub fn owed(&self, file: &VaultFile) -> Option<String> {
        let phrase = std::fs::read_to_string(&self.path).ok()?;
        if file.unlock(&Secret::from_input(&phrase)).is_ok() {
            return Some(phrase);
        }
        self.forget();
        None
    }

    /// Forgets them: they were shown, or open nothing.
    pub fn forget(&self) {
        // What is left is shown once more by the next init.
        let _ = std::fs::remove_file(&self.path);
    }
}
