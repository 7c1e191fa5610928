//! Two vaults in one place: what an earlier vault of this device left there is taken in, published, and cleared away.
//!
//! It comes about where two machines each made a vault before they met, and a tool that syncs folders then kept one `vault.json` of the
//! two. Whoever joins the vault that was kept has the key of the other one still.
//!
//! What must hold: an object is removed only after everything of the other vaults authenticated under their keys (or the person gave up what
//! does not), its records were taken in as this device's own, a push that knows them has succeeded, and `vault.json` still says that the place
//! is this vault's. What was forgotten there does not come back: what was replaced is taken in only if all that could hold the tombstone is.
//!
//! What it deliberately does not do: ask whether another device still writes to the other vault. Its own database has its records still,
//! and those that were here are published by then.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Entry, ErrorKind};

use crate::device::{Device, Step};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::keys::Keyring;
use crate::maintain::RepairReport;
use crate::manifest::{Manifest, ManifestRef, forks};
use crate::marks::epoch_of;
use crate::pull::decode;
use crate::replica::{Replica, Source};
use crate::seal::{self, OBJECT_BYTES_MAX, Place};
use crate::vault::{MANIFESTS, SEGMENTS};

/// What was found of earlier vaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absorbed {
    /// Objects of theirs that were removed.
    pub objects: u64,
    /// Records in them that this device did not have.
    pub recovered: u64,
    /// What is wrong with objects of theirs. Unless it is given up, nothing was removed.
    pub problems: Vec<Problem>,
}

/// What is there of earlier vaults.
#[derive(Default)]
struct Found<'k> {
    /// Manifests, and marks of rotations.
    manifests: Vec<String>,
    /// Segments.
    segments: BTreeMap<String, &'k Keyring>,
    /// Segments that a newest manifest names.
    live: BTreeSet<String>,
    manifest_problems: Vec<Problem>,
    segment_problems: Vec<Problem>,
}

impl Found<'_> {
    /// The segments that can be taken in without bringing back what was forgotten.
    ///
    /// A manifest is written after the segments that it names, and what it replaces holds nothing that they do not, but for what was
    /// forgotten. So what is live is safe by itself; everything is if everything can be read; and where the newest manifest is unreadable,
    /// an older one says of nothing that it is live.
    fn safe(&self) -> Vec<String> {
        let broken: BTreeSet<&String> = self
            .segment_problems
            .iter()
            .map(|problem| &problem.key)
            .collect();
        let (all_named, all_read) = (self.manifest_problems.is_empty(), broken.is_empty());
        let is_safe = |key: &&String| all_read || (all_named && self.live.contains(*key));
        let segments = self.segments.keys().filter(is_safe);
        segments
            .filter(|key| !broken.contains(key))
            .cloned()
            .collect()
    }
}

impl<R: Replica> Device<'_, R> {
    /// As [`Device::repair`]; besides, whatever other vaults left in this vault's place, if their key is in `earlier`, is taken in,
    /// published here and removed there. If anything of it cannot be read, only what is safe is taken in and nothing is removed, unless
    /// `gives_up_unreadable`.
    ///
    /// # Errors
    /// If the place does not hold this vault ([`VaultError::OtherVault`], [`VaultError::NoVault`]), or the repair, the store or the database
    /// fails; then nothing was removed, or less than all, and it can be run again.
    pub async fn absorb(
        &mut self,
        earlier: &[Keyring],
        gives_up_unreadable: bool,
    ) -> Result<(RepairReport, Absorbed), VaultError> {
        if earlier.is_empty() {
            return Ok((self.repair().await?, Absorbed::default()));
        }
        self.vault.check_file().await?;
        let mut found = self.find_earlier(earlier).await?;
        for (key, keys) in &found.segments {
            if let Err(problem) = self.read_earlier(keys, key).await? {
                found.segment_problems.push(problem);
            }
        }
        let mut absorbed = Absorbed::default();
        for key in found.safe() {
            match self.take_in_earlier(found.segments[&key], &key).await? {
                Ok(added) => absorbed.recovered += added,
                Err(problem) => found.segment_problems.push(problem),
            }
        }
        let mut report = self.repair().await?;
        absorbed.problems.append(&mut found.manifest_problems);
        absorbed.problems.append(&mut found.segment_problems);
        if absorbed.problems.is_empty() || gives_up_unreadable {
            let segments = found.segments.into_keys().collect();
            absorbed.objects = self
                .clear_earlier([found.manifests, segments], &mut report)
                .await?;
        }
        let named: HashSet<&String> = absorbed
            .problems
            .iter()
            .map(|problem| &problem.key)
            .collect();
        report
            .problems
            .retain(|problem| !named.contains(&problem.key));
        Ok((report, absorbed))
    }

    /// Lists everything, and opens the manifests of earlier vaults.
    async fn find_earlier<'k>(&mut self, earlier: &'k [Keyring]) -> Result<Found<'k>, VaultError> {
        self.observer.step(Step::Phase("list"));
        let mut found = Found::default();
        // Most objects are this vault's own. One that says so speaks for its line: an identity belongs to one vault.
        let mut ours: BTreeSet<NodeId> = BTreeSet::new();
        let mut lines: BTreeMap<NodeId, Vec<(ManifestRef, Manifest)>> = BTreeMap::new();
        for Entry { key, .. } in self.list_raw(MANIFESTS).await? {
            if epoch_of(&key).is_some() {
                let named = self.vault.marked_by(&key).await?;
                let is_theirs =
                    named.is_some_and(|vault| earlier.iter().any(|keys| keys.vault() == vault));
                found.manifests.extend(is_theirs.then_some(key));
                continue;
            }
            let Some((keys, node, object)) = self.of_earlier(&key, earlier, &mut ours).await?
            else {
                continue;
            };
            match open_manifest(keys, &key, &object) {
                Ok(manifest) => lines.entry(node).or_default().push(manifest),
                Err(problem) => found.manifest_problems.push(problem),
            }
            found.manifests.push(key);
        }
        for (node, mut line) in lines {
            line.sort_by_key(|(manifest, _)| (manifest.sequence, manifest.hash));
            let refs: Vec<ManifestRef> = line.iter().map(|(manifest, _)| *manifest).collect();
            let mut heads = forks(&refs);
            heads.extend(refs.last());
            let named = line.iter().filter(|(manifest, _)| heads.contains(manifest));
            let segments = named.flat_map(|(_, manifest)| &manifest.segments);
            found.live.extend(segments.map(|entry| entry.key(node)));
        }
        for Entry { key, .. } in self.list_raw(SEGMENTS).await? {
            if let Some((keys, ..)) = self.of_earlier(&key, earlier, &mut ours).await? {
                found.segments.insert(key, keys);
            }
        }
        let gone = found
            .live
            .iter()
            .filter(|key| !found.segments.contains_key(*key));
        found.segment_problems.extend(
            gone.map(|key| Problem {
                key: key.clone(),
                kind: ProblemKind::Missing,
                detail:
                    "a manifest of another vault names it, and it is not there or cannot be read"
                        .into(),
            }),
        );
        Ok(found)
    }

    /// Reads a segment of an earlier vault. The inner error is about that object alone.
    async fn read_earlier(
        &self,
        keys: &Keyring,
        key: &str,
    ) -> Result<Result<Vec<R::Record>, Problem>, VaultError> {
        let object = match self.get(key).await? {
            Ok(object) => object,
            Err(problem) => return Ok(Err(problem)),
        };
        Ok(open(keys, key, &object).and_then(|plaintext| decode::<R>(key, &plaintext)))
    }

    /// Applies a segment's records as this device's own. Returns how many were new. The inner error is about that object alone.
    async fn take_in_earlier(
        &mut self,
        keys: &Keyring,
        key: &str,
    ) -> Result<Result<u64, Problem>, VaultError> {
        let records = match self.read_earlier(keys, key).await? {
            Ok(records) => records,
            Err(problem) => return Ok(Err(problem)),
        };
        let failed = |doing| move |source| VaultError::Replica { doing, source };
        let ids: HashSet<_> = records.iter().map(R::id).collect();
        let applied = self.replica.apply(records, Source::Salvage, &[]);
        let applied = applied.map_err(failed("apply what was read"))?;
        // Somebody else's copy in this vault may be on its way out, left to the one that is removed here.
        let unlearned = self.replica.unlearn(&ids, &[]);
        unlearned.map_err(failed("mark what is to be published"))?;
        Ok(Ok(applied.added))
    }

    /// Removes what is published by now, and leaves it out of what a repair saw before. Returns how many objects there were.
    async fn clear_earlier(
        &mut self,
        groups: [Vec<String>; 2],
        report: &mut RepairReport,
    ) -> Result<u64, VaultError> {
        // Weeks may have gone by.
        self.vault.check_file().await?;
        self.observer.step(Step::Phase("clean up"));
        let mut removed = HashSet::new();
        // Manifests are gone before the segments that they name.
        for keys in groups {
            let gone = self.vault.store().delete(&keys).await;
            gone.map_err(VaultError::store(
                "what an earlier vault left here could not be removed",
            ))?;
            removed.extend(keys);
        }
        report
            .problems
            .retain(|problem| !removed.contains(&problem.key));
        Ok(removed.len() as u64)
    }

    async fn list_raw(&self, prefix: &str) -> Result<Vec<Entry>, VaultError> {
        let listed = self.vault.store().list(prefix).await;
        listed.map_err(VaultError::store("the vault's objects could not be listed"))
    }

    /// Fetches an object and says whose keys it needs, if it says that it is of an earlier vault. What cannot be read at all is for the
    /// repair to name.
    async fn of_earlier<'k>(
        &self,
        key: &str,
        earlier: &'k [Keyring],
        ours: &mut BTreeSet<NodeId>,
    ) -> Result<Option<(&'k Keyring, NodeId, Bytes)>, VaultError> {
        let Some((Place { node, .. }, _)) = Place::parse(key) else {
            return Ok(None);
        };
        if ours.contains(&node) {
            return Ok(None);
        }
        let Ok(object) = self.get(key).await? else {
            return Ok(None);
        };
        let claimed = seal::claimed_vault(&object);
        if claimed == Some(self.vault.keys().vault()) {
            ours.insert(node);
        }
        let keys = earlier.iter().find(|keys| Some(keys.vault()) == claimed);
        Ok(keys.map(|keys| (keys, node, object)))
    }

    /// Fetches an object. The inner error is about that object alone.
    async fn get(&self, key: &str) -> Result<Result<Bytes, Problem>, VaultError> {
        let error = match self.vault.store().get_up_to(key, OBJECT_BYTES_MAX).await {
            Ok(object) => return Ok(Ok(object)),
            Err(error) => error,
        };
        let kind = match error.kind() {
            ErrorKind::NotFound => ProblemKind::Missing,
            ErrorKind::Archived => ProblemKind::Archived,
            ErrorKind::Corrupt => ProblemKind::Corrupt,
            _ => return Err(VaultError::store(format!("{key} could not be read"))(error)),
        };
        Ok(Err(Problem {
            key: key.to_owned(),
            kind,
            detail: error.to_string(),
        }))
    }
}

fn open(keys: &Keyring, key: &str, object: &[u8]) -> Result<Vec<u8>, Problem> {
    seal::open(keys, key, object).map_err(|error| Problem {
        key: key.to_owned(),
        kind: error.kind,
        detail: error.detail,
    })
}

fn open_manifest(
    keys: &Keyring,
    key: &str,
    object: &[u8],
) -> Result<(ManifestRef, Manifest), Problem> {
    let plaintext = open(keys, key, object)?;
    let manifest = serde_json::from_slice(&plaintext).map_err(|error| Problem {
        key: key.to_owned(),
        kind: ProblemKind::Corrupt,
        detail: format!("invalid manifest format ({error})"),
    })?;
    let (place, hash) = Place::parse(key).expect("it was opened under this name");
    Ok((
        ManifestRef {
            sequence: place.first,
            hash,
        },
        manifest,
    ))
}
