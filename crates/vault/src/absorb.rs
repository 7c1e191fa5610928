//! Two vaults in one place: what an earlier vault of this device left there is taken in, published, and cleared away.
//!
//! It comes about where two machines each made a vault before they met, and a tool that syncs folders then kept one `vault.json` of the
//! two. Whoever joins the vault that was kept has the key of the other one still.
//!
//! What must hold: an object is removed only after it authenticated under the other vault's key, all its records were taken in, and a
//! push that knows them has succeeded; what does not authenticate stays and is named.
//! What it deliberately does not do: ask whether another device still writes to the other vault. It would find its objects gone, which
//! it notices, and has its records still; those that were here are published by then.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Entry, ErrorKind};

use crate::device::{Device, Step};
use crate::error::{Problem, VaultError};
use crate::ids::NodeId;
use crate::keys::Keyring;
use crate::pull::decode;
use crate::push::PushMode;
use crate::replica::{Replica, Source};
use crate::seal::{self, Place};
use crate::vault::{MANIFESTS, SEGMENTS};

/// What was found of earlier vaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absorbed {
    /// Objects of theirs that were removed.
    pub objects: u64,
    /// Records in them that this device did not have.
    pub recovered: u64,
    /// Objects of theirs that could not be read, and stay.
    pub problems: Vec<Problem>,
}

impl<R: Replica> Device<'_, R> {
    /// Takes in whatever other vaults left in this vault's place, if their key is in `earlier`; publishes it here and removes it there.
    ///
    /// # Errors
    /// If the place does not hold this vault ([`VaultError::OtherVault`], [`VaultError::NoVault`]), or the push, the store or the database
    /// fails; then nothing was removed, or less than all, and it can be run again.
    pub async fn absorb(&mut self, earlier: &[Keyring]) -> Result<Absorbed, VaultError> {
        let mut absorbed = Absorbed::default();
        if earlier.is_empty() {
            return Ok(absorbed);
        }
        self.vault.check_file().await?;
        self.observer.step(Step::Phase("list"));
        let mut lines: BTreeMap<NodeId, Option<&Keyring>> = BTreeMap::new();
        let mut read = vec![];
        // A manifest is gone before the segments that it names.
        for prefix in [MANIFESTS, SEGMENTS] {
            let listed = self.vault.store().list(prefix).await;
            let listed =
                listed.map_err(VaultError::store("the vault's objects could not be listed"))?;
            for Entry { key, .. } in listed {
                let Some((place, _)) = Place::parse(&key) else {
                    continue;
                };
                // One object speaks for its line: an identity belongs to one vault.
                if lines.get(&place.node).is_some_and(Option::is_none) {
                    continue;
                }
                let Some(object) = self.get_if_there(&key).await? else {
                    continue;
                };
                let of_line = *lines.entry(place.node).or_insert_with(|| {
                    let claimed = seal::claimed_vault(&object)?;
                    earlier.iter().find(|keys| keys.vault() == claimed)
                });
                let Some(keys) = of_line else {
                    continue;
                };
                match self.take_in_earlier(keys, &key, &object)? {
                    Ok(added) => {
                        absorbed.recovered += added;
                        read.push(key);
                    }
                    Err(problem) => absorbed.problems.push(problem),
                }
            }
        }
        if read.is_empty() {
            return Ok(absorbed);
        }
        self.push(PushMode::Pending).await?;
        self.observer.step(Step::Phase("clean up"));
        let removed = self.vault.store().delete(&read).await;
        removed.map_err(VaultError::store(
            "what an earlier vault left here could not be removed",
        ))?;
        absorbed.objects = read.len() as u64;
        Ok(absorbed)
    }

    async fn get_if_there(&self, key: &str) -> Result<Option<Bytes>, VaultError> {
        match self.vault.store().get(key).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::store(format!("{key} could not be read"))(error)),
        }
    }

    /// Applies the records of a segment; a manifest has none. Returns how many were new. The inner error is about that object alone.
    fn take_in_earlier(
        &mut self,
        keys: &Keyring,
        key: &str,
        object: &[u8],
    ) -> Result<Result<u64, Problem>, VaultError> {
        let opened = seal::open(keys, key, object).map_err(|error| Problem {
            key: key.to_owned(),
            kind: error.kind,
            detail: error.detail,
        });
        let records = opened.and_then(|plaintext| match key.starts_with(SEGMENTS) {
            true => decode::<R>(key, &plaintext),
            false => Ok(vec![]),
        });
        let records = match records {
            Ok(records) => records,
            Err(problem) => return Ok(Err(problem)),
        };
        let applied = self.replica.apply(records, Source::Salvage, &[]);
        let applied = applied.map_err(|source| VaultError::Replica {
            doing: "apply what was read",
            source,
        })?;
        Ok(Ok(applied.added))
    }
}
