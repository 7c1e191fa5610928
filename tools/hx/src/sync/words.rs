//! Recovery words on their way to the person: kept from before the store knows of them until they were shown.
//!
//! What must hold: whatever ends a command between making words and showing them, the next `hx sync init` shows them; words that were shown
//! are kept nowhere. New words never take the place of others in the file before it is known which of them open the vault. Only the owner can read the file, which lies beside the key that the words stand for.
//!
//! What it deliberately does not do: show words that do not open the vault.

use std::path::PathBuf;

use console::Failure;
use vault::{Keyring, Secret, VaultFile, VaultId};

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

    /// Where they lie.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Whether any are kept here: which of them open the vault is for [`Words::owed`] to say, which takes long.
    pub fn are_kept(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() > 0)
    }

    /// Whether words of any vault are kept on this device.
    pub fn are_any_kept(paths: &Paths) -> bool {
        let files = std::fs::read_dir(paths.keys_dir()).into_iter().flatten();
        let is_words = |name: PathBuf| name.extension().is_some_and(|end| end == "words");
        files.flatten().any(|file| is_words(file.path()))
    }

    /// Keeps them until they are shown, beside those that are kept already: which of them open the vault is not known yet.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn keep(&self, phrase: &str) -> Result<(), Failure> {
        let before = std::fs::read_to_string(&self.path).unwrap_or_default();
        let lines = before.lines().filter(|line| *line != phrase);
        let text: String = lines
            .chain([phrase])
            .fold(String::new(), |text, line| text + line + "\n");
        store::file::atomic_write_private(&self.path, text.as_bytes())
            .map_err(|error| Failure::io("keep the recovery words", &self.path, &error))
    }

    /// Those that are still to be shown, if they open the vault. Others are no use to anybody, and go; unless a rotation of this device
    /// may still come to hold, which they are for then.
    pub fn owed(&self, file: &VaultFile, keys: &Keyring) -> Option<String> {
        let kept = std::fs::read_to_string(&self.path).ok()?;
        let mut lines = kept.lines().rev().filter(|line| !line.is_empty());
        let opens = |line: &&str| file.unlock(&Secret::from_input(line)).is_ok();
        if let Some(phrase) = lines.find(opens) {
            return Some(phrase.to_owned());
        }
        if !keys.is_awaiting() {
            self.forget();
        }
        None
    }

    /// Forgets them: they were shown, or open nothing.
    pub fn forget(&self) {
        // What is left is shown once more by the next init.
        let _ = std::fs::remove_file(&self.path);
    }
}
