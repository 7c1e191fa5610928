//! The marks that rotations leave among the manifests, so that every device that lists them looks at `vault.json` again.
//!
//! What must hold: a mark is only a reason to look; `vault.json`, which authenticates, decides which key holds. A mark with a newer epoch
//! than `vault.json` has stops a device only if it proves that somebody with this vault's key left it: anybody who can write to the store
//! can make one that does not, and such a one is named and passed over.
//!
//! What it deliberately does not do: show that there was no rotation. Who can write to the store can remove a mark.

use store::ErrorKind;

use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::VaultId;
use crate::vault::Vault;

/// What the keys of the marks begin with.
const EPOCH_MARK: &str = "manifests/epoch-";
/// A mark has a few lines.
const MARK_BYTES_MAX: u64 = 4096;
/// What the line of a mark that proves it begins with.
const PROOF: &str = "mac ";
/// Each mark that is newer than the keys costs a request: a hostile store must not take for ever.
const MARKS_MAX: usize = 16;

/// The epoch that a mark names.
pub(crate) fn epoch_of(key: &str) -> Option<u32> {
    let digits = key.strip_prefix(EPOCH_MARK)?;
    let is_one = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// What is said of a mark that nothing backs.
pub(crate) fn unbacked(key: String) -> Problem {
    Problem {
        key,
        kind: ProblemKind::Foreign,
        detail: "it says that the key was rotated, and neither vault.json nor anything in it shows that: it is passed over, and can be removed"
            .into(),
    }
}

impl Vault {
    /// The epoch of a newer key than these, if a mark in the store proves that this vault has one.
    ///
    /// # Errors
    /// The store's.
    pub async fn newer_epoch(&self) -> Result<Option<u32>, VaultError> {
        let keys = self.manifests().await?;
        let mut newest = None;
        for (key, epoch) in self.newer_than_ours(keys.iter().map(String::as_str)) {
            if self.is_backed(key, epoch).await? {
                newest = newest.max(Some(epoch));
            }
        }
        Ok(newest)
    }

    /// Leaves a mark among the manifests that a newer key holds, so that every device that lists them looks at `vault.json` again
    /// before it seals anything with an older one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn mark_epoch(&self) -> Result<(), VaultError> {
        let epoch = self.keys().epoch();
        let key = format!("{EPOCH_MARK}{epoch:08x}");
        let mut text = format!(
            "{}\nthe key was rotated; see vault.json\n",
            self.keys().vault()
        );
        if let Some(proof) = self.keys().mark_mac(epoch) {
            text.push_str(&format!("{PROOF}{proof}\n"));
        }
        self.store()
            .put(&key, text.into())
            .await
            .map_err(VaultError::store("the rotation could not be announced"))
    }

    /// Leaves the mark of these keys' epoch if the store shows none: the rotation may have been cut off before it. Costs nothing more than
    /// a listing where there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn announce_epoch(&self) -> Result<(), VaultError> {
        if self.keys().epoch() == 1 {
            return Ok(());
        }
        let keys = self.manifests().await?;
        match self.is_announced_by(keys.iter().map(String::as_str)) {
            true => Ok(()),
            false => self.announce_unless_old().await,
        }
    }

    /// Whether these keys have the mark of their epoch. The first has none.
    pub(crate) fn is_announced_by<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        let epoch = self.keys().epoch();
        epoch == 1 || keys.any(|key| epoch_of(key) == Some(epoch))
    }

    /// `vault.json` is asked first: a mark that it does not back would lock everybody out.
    pub(crate) async fn announce_unless_old(&self) -> Result<(), VaultError> {
        match self.is_described().await? {
            true => self.mark_epoch().await,
            false => Ok(()),
        }
    }

    /// Whether `vault.json` is under these keys. Where it has another key than this device seals with, that is said: who joins by it could
    /// not read what was sealed. What else is wrong with the file is for those to say who need it.
    ///
    /// # Errors
    /// What [`Vault::check_file`] says of another key or vault, or the store's.
    pub(crate) async fn is_described(&self) -> Result<bool, VaultError> {
        match self.check_file().await {
            Ok(_) => Ok(true),
            Err(
                error @ (VaultError::Store { .. }
                | VaultError::OldVaultFile { .. }
                | VaultError::OtherKey { .. }
                | VaultError::OtherVault { .. }
                | VaultError::Rotated { .. }),
            ) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Whether the keys are as new as the marks in the store prove: an old `vault.json` that was put back must not let anybody in.
    ///
    /// # Errors
    /// [`VaultError::Rotated`], [`VaultError::OldVaultFile`] if `vault.json` is older than the vault (in a synced folder
    /// [`VaultError::LateVaultFile`]), or the store's.
    pub async fn check_epoch(&self) -> Result<(), VaultError> {
        let keys = self.manifests().await?;
        self.heed_epoch(keys.iter().map(String::as_str))
            .await
            .map(drop)
    }

    /// Looks at `vault.json` if a mark says that there is a newer key. Returns the marks that nothing backs.
    pub(crate) async fn heed_epoch<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<Vec<String>, VaultError> {
        let marks = self.newer_than_ours(keys);
        if marks.is_empty() {
            return Ok(vec![]);
        }
        self.check_file().await?;
        let mut passed_over = vec![];
        for (key, epoch) in marks {
            if self.is_backed(key, epoch).await? {
                return Err(match self.store().is_folder() {
                    // A program that syncs a folder may bring the mark first.
                    true => VaultError::LateVaultFile { lacks: epoch },
                    false => VaultError::OldVaultFile {
                        epoch: self.keys().epoch(),
                        newest: epoch,
                    },
                });
            }
            passed_over.push(key.to_owned());
        }
        Ok(passed_over)
    }

    /// The marks that name a later epoch than these keys, the nearest first: of those the keys can say something.
    fn newer_than_ours<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Vec<(&'k str, u32)> {
        let mut marks: Vec<_> = keys
            .filter_map(|key| Some((key, epoch_of(key)?)))
            .filter(|(_, epoch)| *epoch > self.keys().epoch())
            .collect();
        marks.sort_by_key(|(_, epoch)| *epoch);
        marks.truncate(MARKS_MAX);
        marks
    }

    /// Which vault a mark says that it is of; the first marks said nothing. A vault that was once in the same place may have left it.
    pub(crate) async fn marked_by(&self, key: &str) -> Result<Option<VaultId>, VaultError> {
        Ok(named(&self.read_mark(key).await?))
    }

    /// What a mark says: nothing if it is gone, or no mark.
    async fn read_mark(&self, key: &str) -> Result<String, VaultError> {
        match self.store().get_up_to(key, MARK_BYTES_MAX).await {
            Ok(mark) => Ok(String::from_utf8_lossy(&mark).into_owned()),
            Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                Ok(String::new())
            }
            Err(error) => Err(VaultError::store(format!("{key} could not be read"))(error)),
        }
    }

    /// Whether a mark is of this vault and was made by who had its key before.
    async fn is_backed(&self, key: &str, epoch: u32) -> Result<bool, VaultError> {
        let text = self.read_mark(key).await?;
        let said = text.lines().find_map(|line| line.strip_prefix(PROOF));
        let said = said.and_then(|said| blake3::Hash::from_hex(said).ok());
        let proof = self.keys().mark_mac(epoch);
        let proof = proof.and_then(|proof| blake3::Hash::from_hex(proof).ok());
        // Comparing hashes takes the same time wherever they differ.
        Ok(named(&text) == Some(self.keys().vault()) && said.is_some() && said == proof)
    }
}

fn named(mark: &str) -> Option<VaultId> {
    mark.lines().next().and_then(|line| line.parse().ok())
}
