//! The bottles of a plan: how large they are, which manifests name them, which of them have to be fetched.
//!
//! What must hold: what the base does not name and the store has is proved before it is relied on.

use super::{FormulaFailure, Plan, PlanError, Planner, chain, is_right, trusts_checksums};
use crate::api::Bottle;
use crate::log::{FileEntry, Held};
use crate::manifest::Index;
use crate::names;
use crate::platform::Platform;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use store::StoreError;
use transfer::Digest;

/// Where portable-ruby lies; it is no formula of every API.
const PORTABLE_RUBY: &str = "portable-ruby";

/// What lies in the store, if it was listed: keys and sizes.
#[derive(Clone, Copy)]
pub(super) struct Present<'p>(pub(super) Option<&'p HashMap<String, u64>>);

impl Present<'_> {
    /// Tells whether a key is there, as far as is known.
    fn may_have(self, key: &str) -> bool {
        self.0.is_none_or(|present| present.contains_key(key))
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
            match (entry, held, present.may_have(&key)) {
                (Some(entry), Some(held), true) => {
                    plan.manifests.insert(key, entry.clone());
                    plan.bottles.extend(held);
                }
                _ => to_fetch.push((key, bottles)),
            }
        }
        let fetched = stream::iter(to_fetch)
            .map(|(key, bottles)| async move {
                let found = self.manifest(&key, &bottles, present).await;
                (key, bottles, found)
            })
            .buffer_unordered(self.concurrency.max(1));
        let fetched: Vec<_> = fetched.collect().await;
        for (key, bottles, found) in fetched {
            let formula = bottles
                .first()
                .map(|bottle| bottle.formula.clone())
                .unwrap_or_default();
            match found {
                Ok((bytes, sizes)) => {
                    for (bottle, size) in bottles.into_iter().zip(sizes) {
                        let held = known.get(&bottle).filter(|held| held.size == size);
                        let date = held.map_or(self.today.clone(), |held| held.date.clone());
                        plan.bottles.push(held_of(bottle, size, date));
                    }
                    self.add_manifest(plan, key, bytes, present);
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

    fn add_manifest(&self, plan: &mut Plan, key: String, bytes: Bytes, present: Present<'_>) {
        let entry = FileEntry {
            sha256: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let is_known = self.base.manifests.get(&key) == Some(&entry) && present.may_have(&key);
        if !is_known {
            plan.manifest_bytes.insert(key.clone(), bytes);
        }
        plan.manifests.insert(key, entry);
    }

    /// Reads a manifest that names all the bottles: from the mirror, if an earlier run got so far, or from the upstream.
    async fn manifest(
        &self,
        key: &str,
        bottles: &[Bottle],
        present: Present<'_>,
    ) -> Result<(Bytes, Vec<u64>), ManifestTrouble> {
        if present.size(key).is_some() {
            let bytes = self.store.get(key).await.map_err(ManifestTrouble::Store)?;
            if let Ok(sizes) = sizes_in(&bytes, bottles) {
                return Ok((bytes, sizes));
            }
        }
        let found = self.upstream.manifest(key).await;
        let bytes = found
            .map_err(|error| ManifestTrouble::Formula(chain(&error), error.remedy()))?
            .ok_or_else(|| {
                let what = format!("the upstream has no manifest {key}");
                ManifestTrouble::Formula(what, "run again later: the API may be ahead of the registry; or pass it over with --skip NAME")
            })?;
        let sizes = sizes_in(&bytes, bottles).map_err(|error| {
            ManifestTrouble::Formula(
                format!("{key}: {}", chain(&error)),
                "run again later: the API may be ahead of the registry; or pass it over with --skip NAME",
            )
        })?;
        Ok((bytes, sizes))
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
            let failure = |what: String| {
                FormulaFailure {
                formula: PORTABLE_RUBY.to_owned(),
                what,
                remedy: "see which version the client pins: Library/Homebrew/vendor/portable-ruby-version".to_owned(),
            }
            };
            let found = match self.manifest(&key, &[], present).await {
                Ok((bytes, _)) => bytes,
                Err(ManifestTrouble::Store(error)) => return Err(error.into()),
                Err(ManifestTrouble::Formula(what, _)) => {
                    plan.failures.insert(failure(what));
                    continue;
                }
            };
            let index = match Index::parse(&found) {
                Ok(index) => index,
                Err(error) => {
                    plan.failures.insert(failure(chain(&error)));
                    continue;
                }
            };
            let listed = index.bottles(PORTABLE_RUBY);
            for platform in platforms {
                let tags = listed.iter().map(|(bottle, _)| bottle.tag.as_str());
                let chosen = platform.choose(tags);
                let bottle = listed
                    .iter()
                    .find(|(bottle, _)| Some(bottle.tag.as_str()) == chosen);
                match bottle {
                    Some((bottle, size)) => {
                        let held = held_of(bottle.clone(), *size, self.today.clone());
                        let known = self
                            .base
                            .bottles
                            .iter()
                            .find(|known| known.bottle() == *bottle);
                        plan.bottles.push(known.cloned().unwrap_or(held));
                    }
                    None => {
                        let what = format!("portable-ruby {version} is not built for {platform}");
                        plan.failures.insert(failure(what));
                    }
                }
            }
            self.add_manifest(plan, key, found, present);
        }
        plan.bottles.sort();
        plan.bottles.dedup();
        Ok(())
    }

    /// Of a formula that failed or is passed over the mirror keeps what it has.
    pub(super) fn keep(&self, plan: &mut Plan) {
        let failed: BTreeSet<String> = plan
            .failures
            .iter()
            .map(|failure| failure.formula.clone())
            .chain(self.skip.iter().cloned())
            .collect();
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
        let trusts = !doubtful.is_empty() && trusts_checksums(self.store).await;
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
