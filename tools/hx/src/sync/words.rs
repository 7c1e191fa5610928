//! Recovery words on their way to the person: kept from before the store knows of them until they were shown.
//!
//! What must hold: whatever ends a command between making words and showing them, the next `hx sync init` shows them; words that were shown
//! are kept nowhere. New words never take the place of others in the file before it is known which of them open the vault. Only the owner can read the file, which lies beside the key that the words stand for.
//!
//! What it deliberately does not do: show words that do not open the vault.

use std::path::PathBuf;
use std::time::Duration;

use console::Failure;
use vault::{Keyring, Secret, VaultFile, VaultId};

use crate::settings::Paths;

/// A write whose answer was lost arrives within a day, or not at all.
const UNDER_WAY_MAX: Duration = Duration::from_secs(24 * 3600);

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
    /// was begun within the last day: it may still come to hold, and they are for that.
    pub fn owed(&self, file: &VaultFile, keys: &Keyring) -> Option<String> {
        let kept = std::fs::read_to_string(&self.path).ok()?;
        let mut lines = kept.lines().rev().filter(|line| !line.is_empty());
        let opens = |line: &&str| file.unlock(&Secret::from_input(line)).is_ok();
        if let Some(phrase) = lines.find(opens) {
            return Some(phrase.to_owned());
        }
        if !keys.is_awaiting() || self.are_stale() {
            self.forget();
        }
        None
    }

    /// Forgets these alone: the change that they were made for did not take place.
    pub fn take_back(&self, phrase: &str) {
        let kept = std::fs::read_to_string(&self.path).unwrap_or_default();
        let others = kept.lines().filter(|line| *line != phrase);
        let text: String = others.fold(String::new(), |text, line| text + line + "\n");
        if text.is_empty() {
            return self.forget();
        }
        // What is left opens nothing, and the next init finds that out.
        let _ = store::file::atomic_write_private(&self.path, text.as_bytes());
    }

    /// Whether they lie here for so long that what they were made for cannot be under way to the store any more.
    fn are_stale(&self) -> bool {
        let file = std::fs::metadata(&self.path).and_then(|file| file.modified());
        file.is_ok_and(|kept| kept.elapsed().is_ok_and(|age| age > UNDER_WAY_MAX))
    }

    /// Forgets them: they were shown, or open nothing.
    pub fn forget(&self) {
        // What is left is shown once more by the next init.
        let _ = std::fs::remove_file(&self.path);
    }
}
