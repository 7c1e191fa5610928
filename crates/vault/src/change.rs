//! Changes of `vault.json`, the one object that several devices may replace.
//!
//! What must hold: a change is acknowledged only once the store, read again after a pause, shows it, in `vault.json` itself or in one that
//! goes on from it; an older epoch never takes a newer one's place, and where it did, the newer one is put back; of two devices that
//! rotate at once one is told that its key does not hold.
//!
//! Where the store compares before it writes, two changes do not meet at all. Not every store does, and not every one that says so: that
//! is what the pause is for. Who read before this device wrote has written by then, since a change takes all about as long. One that
//! stalled for longer can still write over a change that was acknowledged; then the keys that lost are kept apart
//! ([`Keyring::after`]), and nothing that they sealed is lost.
//!
//! What it deliberately does not do: keep keys (the tool does, before the store knows of them), or wait (the tool says how).

use bytes::Bytes;
use store::{ErrorKind, Version};

use crate::error::VaultError;
use crate::keys::{KdfCost, Keyring, Secret, Slot, VaultFile};
use crate::vault::{VAULT_FILE, VAULT_FILE_BYTES_MAX, Vault};

/// So often a change is tried anew after others changed the file.
const ATTEMPTS_MAX: usize = 8;

/// A rotation that the store does not know of yet.
#[derive(Debug)]
pub struct Rotation {
    /// The keys once it holds.
    pub keys: Keyring,
    /// What to keep on this device before the store knows of it: the old keys, with the new one beside them.
    pub awaiting: Keyring,
    file: VaultFile,
}

/// What the file in the store is to a change.
enum Look {
    /// It has it.
    Ours,
    /// It is to be replaced by this.
    Replace(VaultFile),
}

impl Vault {
    /// Makes a new key, and the file that only these secrets open. The store does not know of either yet.
    ///
    /// # Errors
    /// [`VaultError::BadPhrase`] if a recovery phrase is not valid.
    pub fn begin_rotation(
        &self,
        from: &VaultFile,
        secrets: &[&Secret],
        cost: KdfCost,
    ) -> Result<Rotation, VaultError> {
        let (keys, entropy) = (self.keys(), self.entropy());
        let next = keys.rotated_by(entropy);
        let generation = from.generation + 1;
        let domain = &from.domain;
        let file = VaultFile::build_by(entropy, &next, domain, generation, secrets, cost)?;
        let awaiting = keys.awaiting(&next);
        let keys = next.after(&awaiting)?.keys;
        Ok(Rotation {
            keys,
            awaiting,
            file,
        })
    }

    /// Makes a rotation hold. This vault has its keys.
    ///
    /// # Errors
    /// [`VaultError::Overtaken`] if another device's holds; the store's, and then it is not certain that it does not.
    pub async fn rotate(
        &self,
        rotation: &Rotation,
        pause: impl AsyncFn(),
    ) -> Result<(), VaultError> {
        let next = &rotation.file;
        let look = |found: Option<&VaultFile>| match found
            .map(|found| (found, found.check(self.keys())))
        {
            Some((found, Ok(()))) if found.has_ways_of(next) => Ok(Look::Ours),
            // It was this device's, and all ways in were changed since.
            Some((_, Ok(()))) => Err(VaultError::Overtaken),
            Some((_, Err(VaultError::OldVaultFile { .. }))) => Ok(Look::Replace(next.clone())),
            Some((_, Err(VaultError::OtherKey { .. } | VaultError::Rotated { .. }))) => {
                Err(VaultError::Overtaken)
            }
            Some((_, Err(error))) => Err(error),
            None => Err(VaultError::NoVaultFile(self.store().describe())),
        };
        self.change(look, pause).await.map(drop)
    }

    /// Adds a way in, and returns how many there are.
    ///
    /// # Errors
    /// [`VaultError::Rotated`] if the key was rotated meanwhile, and nothing was added; the store's.
    pub async fn add_slot(
        &self,
        secret: &Secret,
        cost: KdfCost,
        pause: impl AsyncFn(),
    ) -> Result<usize, VaultError> {
        let slot = Slot::wrap(self.keys(), secret, cost, self.entropy())?;
        let look = |found: Option<&VaultFile>| {
            let place = || VaultError::NoVaultFile(self.store().describe());
            let found = found.ok_or_else(place)?;
            found.check(self.keys())?;
            if found.slots.contains(&slot) {
                return Ok(Look::Ours);
            }
            found
                .with_made(self.keys(), slot.clone())
                .map(Look::Replace)
        };
        Ok(self.change(look, pause).await?.slots.len())
    }

    /// Puts `file` where `vault.json` is gone, or is one from before a rotation that this device knows of. One of these keys that is
    /// there already stays.
    ///
    /// # Errors
    /// As [`VaultFile::check`] for what is there instead; the store's.
    pub async fn put_back(
        &self,
        file: &VaultFile,
        pause: impl AsyncFn(),
    ) -> Result<(), VaultError> {
        file.check(self.keys())?;
        let look = |found: Option<&VaultFile>| match found.map(|found| found.check(self.keys())) {
            Some(Ok(())) => Ok(Look::Ours),
            None | Some(Err(VaultError::OldVaultFile { .. })) => Ok(Look::Replace(file.clone())),
            Some(Err(error)) => Err(error),
        };
        self.change(look, pause).await.map(drop)
    }

    /// Replaces the file until what `look` wants is there and stays there.
    async fn change(
        &self,
        look: impl Fn(Option<&VaultFile>) -> Result<Look, VaultError>,
        pause: impl AsyncFn(),
    ) -> Result<VaultFile, VaultError> {
        let mut has_paused = false;
        let mut failure = None;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.read_version().await?;
            match (look(found.as_ref().map(|(file, _)| file))?, found) {
                (Look::Ours, Some((file, _))) if has_paused => {
                    self.tell(&file);
                    return Ok(file);
                }
                (Look::Ours, _) => {}
                (Look::Replace(next), found) => {
                    // It may be on its way all the same; it was looked for, and is not there.
                    if let Some(failure) = failure.take() {
                        return Err(failure);
                    }
                    let seen = found.map(|(_, seen)| seen);
                    failure = self.exchange(&next, seen.as_ref()).await.err();
                }
            }
            pause().await;
            has_paused = true;
        }
        Err(failure.unwrap_or(VaultError::Contended))
    }

    /// Writes the file, unless somebody else was there first.
    async fn exchange(&self, next: &VaultFile, seen: Option<&Version>) -> Result<(), VaultError> {
        let bytes = Bytes::from(next.to_bytes());
        let store = self.store();
        let written = match seen {
            Some(seen) => store.exchange(VAULT_FILE, seen, bytes).await.map(drop),
            None => store.put(VAULT_FILE, bytes).await,
        };
        match written {
            Err(error) if error.kind() == ErrorKind::Precondition => Ok(()),
            written => written.map_err(VaultError::store(
                "the vault's description could not be written",
            )),
        }
    }

    async fn read_version(&self) -> Result<Option<(VaultFile, Version)>, VaultError> {
        match self
            .store()
            .get_version(VAULT_FILE, VAULT_FILE_BYTES_MAX)
            .await
        {
            Ok((bytes, seen)) => Ok(Some((VaultFile::parse(&bytes)?, seen))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::store(
                "the vault's description could not be read",
            )(error)),
        }
    }
}
