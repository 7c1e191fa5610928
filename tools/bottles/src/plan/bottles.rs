//! The bottles of a plan: how large they are, which manifests name them, which of them have to be fetched.
//!
//! What must hold: what the base does not name and the store has is proved before it is relied on; where the store was listed, what is not as long
//! as it should be is not there; a manifest is held in memory only where
//! another one lies in its place: a first run meets thousands of them.

use super::api_files::is_lost;
use super::{FormulaFailure, Plan, PlanError, Planner, chain, is_right, trusts_checksums};
use crate::api::Bottle;
use crate::log::{FileEntry, Held};
use crate::manifest::Index;
use crate::names;
use crate::platform::Platform;
use crate::upstream::UpstreamErrorKind;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use store::StoreError;
use transfer::Digest;

/// Where portable-ruby lies; it is no formula of every API.
pub(super) const PORTABLE_RUBY: &str = "portable-ruby";

/// What lies in the store, if it was listed: keys and sizes.
#[derive(Clone, Copy)]
pub(super) struct Present<'p>(pub(super) Option<&'p HashMap<String, u64>>);

impl Present<'_> {
    /// Tells whether a file is there and as long as it should be, as far as is known.
    fn may_have(self, key: &str, entry: &FileEntry) -> bool {
        self.0
            .is_none_or(|present| present.get(key) == Some(&entry.size))
    }

    fn size(self, key: &str) -> Option<u64> {
        self.0?.get(key).copied()
    }
}

impl Planner<'_> {
    /// Tells whether there is a bottle that the base has not: then it matters what lies in the store.
    pub(super) fn is_anything_new(&self, wanted: &BTreeSet<Bottle>) -> bool {
        let known: HashSet<Bottle> = self.base.bottles.iter().map(Held::bottle).collect();
        wanted.iter().any(|bottle| !known.contains(bottle))
    }

    /// Finds the size of every bottle, in the base or in its manifest.
    pub(super) async fn size(
        &self,
        plan: &mut Plan,
        wanted: BTreeSet<Bottle>,
        present: Present<'_>,
    ) -> Result<(), PlanError> {
        let known: HashMap<Bottle, &Held> = self
            .base
            .bottles
            .iter()
            .map(|held| (held.bottle(), held))
            .collect();
        let mut by_manifest: BTreeMap<String, Vec<Bottle>> = BTreeMap::new();
        for bottle in wanted {
            let tag = names::manifest_tag(&bottle.version, bottle.rebuild);
            let key = names::manifest_key(&bottle.formula, &tag);
            by_manifest.entry(key).or_default().push(bottle);
        }
        let mut to_fetch = Vec::new();
        for (key, bottles) in by_manifest {
            let entry = self.base.manifests.get(&key);
            let held: Option<Vec<Held>> = bottles
                .iter()
                .map(|bottle| known.get(bottle).map(|held| (*held).clone()))
                .collect();
            let entry = entry.filter(|entry| present.may_have(&key, entry));
            match (entry, held) {
                (Some(entry), Some(held)) => {
                    plan.manifests.insert(key, entry.clone());
                    plan.bottles.extend(held);
                }
                _ => to_fetch.push((key, bottles)),
            }
        }
        let mut fetched = stream::iter(to_fetch)
            .map(|(key, bottles)| async move {
                let found = self.place_manifest(&key, &bottles, present).await;
                (key, bottles, found)
            })
            .buffer_unordered(self.concurrency.max(1));
        while let Some((key, bottles, found)) = fetched.next().await {
            let formula = bottles
                .first()
                .map(|bottle| bottle.formula.clone())
                .unwrap_or_default();
            match found {
                Ok((manifest, sizes)) => {
                    for (bottle, size) in bottles.into_iter().zip(sizes) {
                        let held = known.get(&bottle).filter(|held| held.size == size);
                        let date = held.map_or(self.today.clone(), |held| held.date.clone());
                        plan.bottles.push(held_of(bottle, size, date));
                    }
                    add_manifest(plan, key, manifest);
                }
                Err(ManifestTrouble::Store(error)) => return Err(error.into()),
                Err(ManifestTrouble::Formula(what, remedy)) => {
                    let remedy = remedy.to_owned();
                    plan.failures.insert(FormulaFailure {
                        formula,
                        what,
                        remedy,
                    });
                }
            }
        }
        plan.bottles.sort();
        Ok(())
    }

    /// Reads a manifest that names all the bottles, and puts it into its place if nothing lies there: no API names it yet.
    async fn place_manifest(
        &self,
        key: &str,
        bottles: &[Bottle],
        present: Present<'_>,
    ) -> Result<(Manifest, Vec<u64>), ManifestTrouble> {
        let (bytes, sizes, is_stored) = self.manifest(key, bottles, present).await?;
        let manifest = self.placed(key, bytes, is_stored, present).await;
        Ok((manifest.map_err(ManifestTrouble::Store)?, sizes))
    }

    async fn placed(
        &self,
        key: &str,
        bytes: Bytes,
        is_stored: bool,
        present: Present<'_>,
    ) -> Result<Manifest, StoreError> {
        let entry = FileEntry {
            sha256: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let is_known =
            self.base.manifests.get(key) == Some(&entry) && present.may_have(key, &entry);
        let is_free = present.0.is_some() && present.size(key).is_none();
        let standing = match () {
            () if is_known => Place::Known,
            () if is_stored || self.dry_run => Place::Placed,
            () if is_free => {
                // Not blindly: another run may have been here since the store was listed.
                crate::publish::replace(self.store, key, bytes).await?;
                Place::Placed
            }
            () => Place::Held(bytes),
        };
        Ok(Manifest { entry, standing })
    }

    /// Reads a manifest that names all the bottles: from the mirror, if an earlier run got so far, or from the upstream; tells whether it is
    /// the mirror's.
    async fn manifest(
        &self,
        key: &str,
        bottles: &[Bottle],
        present: Present<'_>,
    ) -> Result<(Bytes, Vec<u64>, bool), ManifestTrouble> {
        // What is not as long as the base says is damaged, also where it can be read still; no earlier run has put it there.
        let known = self.base.manifests.get(key);
        let is_cut = known.is_some_and(|entry| !present.may_have(key, entry));
        if present.size(key).is_some() && !is_cut {
            match self.store.get(key).await {
                Ok(bytes) => {
                    if let Ok(sizes) = sizes_in(&bytes, bottles) {
                        return Ok((bytes, sizes, true));
                    }
                }
                // Cut, or gone since: the upstream has it.
                Err(error) if is_lost(&error) => {}
                Err(error) => return Err(ManifestTrouble::Store(error)),
            }
        }
        let found = self.upstream.manifest(key).await;
        let bytes = found
            .map_err(|error| {
                let remedy = match error.kind() {
                    UpstreamErrorKind::Server => {
                        "run again later; if it stays, check --registry, or pass it over with --skip NAME: then clients cannot install it"
                    }
                    _ => error.remedy(),
                };
                ManifestTrouble::Formula(chain(&error), remedy)
            })?
            .ok_or_else(|| {
                let what = format!("the upstream has no manifest {key}");
                ManifestTrouble::Formula(what, "run again later: the API may be ahead of the registry; or pass it over with --skip NAME: then clients cannot install it")
            })?;
        let sizes = sizes_in(&bytes, bottles).map_err(|error| {
            ManifestTrouble::Formula(
                format!("{key}: {}", chain(&error)),
                "run again later: the API may be ahead of the registry; or pass it over with --skip NAME: then clients cannot install it",
            )
        })?;
        Ok((bytes, sizes, false))
    }

    /// Adds the Ruby that clients of the given releases pin, for each platform.
    pub(super) async fn add_portable_ruby(
        &self,
        plan: &mut Plan,
        platforms: &[Platform],
        present: Present<'_>,
    ) -> Result<(), PlanError> {
        for version in plan.selection.portable_ruby.clone() {
            let key = names::manifest_key(PORTABLE_RUBY, &version);
            let mut read = self.ruby(&key, &version, platforms, present).await;
            if matches!(&read, Ok((_, _, true, failures)) if !failures.is_empty()) {
                // What lies in the mirror is of no use: it is not to stand in the way of a better one.
                read = self.ruby(&key, &version, platforms, Present(None)).await;
            }
            let (held, bytes, is_stored, failures) = match read {
                Ok(read) => read,
                Err(ManifestTrouble::Store(error)) => return Err(error.into()),
                Err(ManifestTrouble::Formula(what, _)) => {
                    plan.failures.insert(no_ruby(what));
                    continue;
                }
            };
            if !failures.is_empty() {
                plan.failures.extend(failures.into_iter().map(no_ruby));
                continue;
            }
            plan.bottles.extend(held);
            let manifest = self.placed(&key, bytes, is_stored, present).await?;
            add_manifest(plan, key, manifest);
        }
        plan.bottles.sort();
        plan.bottles.dedup();
        Ok(())
    }

    /// Reads a version's manifest, and finds in it the Ruby of each platform, or what is wrong; tells whether the manifest is the mirror's.
    async fn ruby(
        &self,
        key: &str,
        version: &str,
        platforms: &[Platform],
        present: Present<'_>,
    ) -> Result<(Vec<Held>, Bytes, bool, Vec<String>), ManifestTrouble> {
        let (bytes, _, is_stored) = self.manifest(key, &[], present).await?;
        let index = Index::parse(&bytes)
            .map_err(|error| ManifestTrouble::Formula(chain(&error), "run again later"))?;
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for platform in platforms {
            match self.ruby_for(&index, version, platform) {
                Ok(held) => found.push(held),
                Err(what) => failures.push(what),
            }
        }
        Ok((found, bytes, is_stored, failures))
    }

    /// Finds the Ruby of a version for a platform. No signed API names its digest, so all that is known of it is what the manifest says: a digest
    /// that is none, or an entry of another version, is an error.
    fn ruby_for(&self, index: &Index, version: &str, platform: &Platform) -> Result<Held, String> {
        let tags = index.tags();
        let chosen = platform.choose(tags.iter().copied());
        let tag =
            chosen.ok_or_else(|| format!("portable-ruby {version} is not built for {platform}"))?;
        let (bottle, size) = index
            .bottle(PORTABLE_RUBY, version, tag)
            .map_err(|error| chain(&error))?;
        let is_known = |known: &&Held| known.bottle() == bottle && known.size == size;
        let known = self.base.bottles.iter().find(is_known);
        Ok(known
            .cloned()
            .unwrap_or_else(|| held_of(bottle, size, self.today.clone())))
    }

    /// Of a formula that failed or is passed over the mirror keeps what it has, and of all that the plan has not if it cannot be known what is
    /// needed. Returns their names.
    pub(super) fn keep(&self, plan: &mut Plan, keeps_all: bool) -> BTreeSet<String> {
        let mut failed: BTreeSet<String> = plan
            .failures
            .iter()
            .map(|failure| failure.formula.clone())
            .chain(self.skip.iter().cloned())
            .collect();
        if keeps_all {
            let planned = plan.bottles.iter().map(|held| held.formula.as_str());
            let planned: BTreeSet<&str> = planned.collect();
            let others = self.base.bottles.iter().map(|held| &held.formula);
            failed.extend(
                others
                    .filter(|name| !planned.contains(name.as_str()))
                    .cloned(),
            );
        }
        let kept = self
            .base
            .bottles
            .iter()
            .filter(|held| failed.contains(&held.formula));
        for held in kept {
            let key = held.manifest_key();
            if let Some(entry) = self.base.manifests.get(&key) {
                plan.manifests.entry(key).or_insert_with(|| entry.clone());
            }
            plan.bottles.push(held.clone());
        }
        plan.bottles.sort();
        plan.bottles.dedup();
        failed
    }

    /// Finds the blobs that have to be fetched. One that lies in the store and that no generation vouches for is read first.
    pub(super) async fn find_missing(
        &self,
        plan: &mut Plan,
        present: Present<'_>,
    ) -> Result<(), PlanError> {
        let vouched: BTreeSet<String> = self.base.bottles.iter().map(Held::blob_key).collect();
        let mut asked = BTreeSet::new();
        let mut doubtful = Vec::new();
        for held in &plan.bottles {
            let key = held.blob_key();
            if !asked.insert(key.clone()) {
                continue;
            }
            let size = present.size(&key);
            match (vouched.contains(&key), present.0.is_some(), size) {
                (true, false, _) => {}
                (true, true, Some(size)) if size == held.size => {}
                (false, true, Some(size)) if size == held.size => doubtful.push(held.clone()),
                _ => plan.missing.push(held.clone()),
            }
        }
        // Who only looks writes nothing to find out, and takes the store's word: what is wrong with it the run itself finds.
        let trusts = !doubtful.is_empty() && (self.dry_run || trusts_checksums(self.store).await);
        let proved = stream::iter(doubtful)
            .map(|held| async move {
                let is_right = is_right(self.store, &held.blob_key(), &held.sha256, trusts).await;
                is_right.map(|is_right| (held, is_right))
            })
            .buffer_unordered(self.concurrency.max(1));
        let proved: Vec<_> = proved.collect().await;
        for outcome in proved {
            let (held, is_right) = outcome?;
            if !is_right {
                plan.missing.push(held);
            }
        }
        plan.missing.sort();
        Ok(())
    }
}

/// A manifest of the next generation.
struct Manifest {
    entry: FileEntry,
    standing: Place,
}

/// Where its bytes are.
enum Place {
    /// Where the base has them.
    Known,
    /// In their place, or this is a dry run.
    Placed,
    /// Here; something else may lie in their place.
    Held(Bytes),
}

fn add_manifest(plan: &mut Plan, key: String, manifest: Manifest) {
    match manifest.standing {
        Place::Known => {}
        Place::Placed => plan.manifests_placed += 1,
        Place::Held(bytes) => {
            plan.manifest_bytes.insert(key.clone(), bytes);
        }
    }
    plan.manifests.insert(key, manifest.entry);
}

fn no_ruby(what: String) -> FormulaFailure {
    FormulaFailure {
        formula: PORTABLE_RUBY.to_owned(),
        what,
        remedy: "see which version the client pins: Library/Homebrew/vendor/portable-ruby-version"
            .to_owned(),
    }
}

enum ManifestTrouble {
    Store(StoreError),
    Formula(String, &'static str),
}

fn sizes_in(bytes: &[u8], bottles: &[Bottle]) -> Result<Vec<u64>, crate::manifest::ManifestError> {
    let index = Index::parse(bytes)?;
    bottles.iter().map(|bottle| index.size_of(bottle)).collect()
}

fn held_of(bottle: Bottle, size: u64, date: String) -> Held {
    Held {
        formula: bottle.formula,
        version: bottle.version,
        rebuild: bottle.rebuild,
        tag: bottle.tag,
        sha256: bottle.sha256,
        size,
        date,
    }
}
