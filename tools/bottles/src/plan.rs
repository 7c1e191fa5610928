//! What a run has to do: what the API offers and the selection wants, against what the mirror has.
//!
//! What must hold: a bottle counts as there only if the current generation names it, or its bytes in the store were proved; a size comes
//! from a manifest and from nowhere else; what is wrong with one formula is a failure of that formula.

use crate::api::jws::PublicKey;
mod api_files;

use crate::api::{ApiError, Bottle, Catalogue, formulae::Formulae, packages};
use crate::log::{self, ApiEntry, FileEntry, Generation, Held};
use crate::manifest::Index;
use crate::names;
use crate::platform::Platform;
use crate::selection::{Resolved, Selection, SelectionError};
use crate::upstream::{Upstream, UpstreamError};
use api_files::ApiFiles;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use store::{Honesty, Store, StoreError};
use transfer::Digest;

/// The file of earlier clients that lists all formulae.
const FORMULAE: &str = "formula.jws.json";

/// Files that earlier clients ask for besides.
const OLDER: [&str; 3] = [
    "cask.jws.json",
    "formula_tap_migrations.jws.json",
    "cask_tap_migrations.jws.json",
];

/// Where portable-ruby lies; it is no formula of every API.
const PORTABLE_RUBY: &str = "portable-ruby";

/// What is wrong with one formula.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct FormulaFailure {
    /// The formula.
    pub formula: String,
    /// What is wrong, with its causes.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// A plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The upstream failed.
    #[error("the upstream's API could not be read")]
    Upstream(#[from] UpstreamError),
    /// The mirror failed.
    #[error("the mirror could not be read")]
    Store(#[from] StoreError),
    /// The mirror's log is damaged.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// An API file is damaged, or not Homebrew's.
    #[error("the API file {path} cannot be used")]
    Api {
        /// Its path below the API's root.
        path: String,
        /// What is wrong with it.
        #[source]
        error: ApiError,
    },
    /// The selection names what does not exist.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Nothing says for which platforms.
    #[error(
        "the API at {0} has neither formula.jws.json nor a packages file for a platform that is asked for"
    )]
    NoApi(String),
}

/// What is new.
pub struct Plan {
    /// What is selected, with the platforms filled in.
    pub selection: Selection,
    /// The API's files as they are now.
    pub api: BTreeMap<String, ApiEntry>,
    /// The bytes of those that changed.
    pub api_bytes: BTreeMap<String, Bytes>,
    /// The manifests of all bottles, by their keys.
    pub manifests: BTreeMap<String, FileEntry>,
    /// The bytes of those that changed.
    pub manifest_bytes: BTreeMap<String, Bytes>,
    /// All bottles that the next generation has.
    pub bottles: Vec<Held>,
    /// Those whose bytes have to be fetched, each blob once.
    pub missing: Vec<Held>,
    /// Formulae that could not be planned.
    pub failures: BTreeSet<FormulaFailure>,
    /// Selected or needed formulae without a bottle, by platform.
    pub without_bottle: BTreeMap<String, BTreeSet<String>>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Tells whether the next generation would be as the base is.
    #[must_use]
    pub fn is_nothing_new(&self, base: &Generation) -> bool {
        self.missing.is_empty()
            && self.failures.is_empty()
            && self.api_bytes.is_empty()
            && self.manifest_bytes.is_empty()
            && self.selection == base.selection
            && self.bottles == base.bottles
    }

    /// Returns how many bytes are to be fetched.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|held| held.size).sum()
    }
}

/// What planning works with.
pub struct Planner<'p> {
    /// The upstream.
    pub upstream: &'p Arc<Upstream>,
    /// The mirror.
    pub store: &'p Store,
    /// The current generation.
    pub base: &'p Generation,
    /// The key that API files are checked with, if there is one.
    pub key: Option<&'p PublicKey>,
    /// Formulae that are passed over.
    pub skip: &'p BTreeSet<String>,
    /// How many requests are made at once.
    pub concurrency: usize,
    /// The day, for what is new.
    pub today: String,
    /// What lies in the store, if it was listed: keys and sizes.
    pub present: Option<&'p HashMap<String, u64>>,
}

impl Planner<'_> {
    /// Makes the plan.
    ///
    /// # Errors
    /// If the API or the mirror cannot be read. What is wrong with single formulae is in the plan.
    pub async fn plan(&self, mut selection: Selection) -> Result<Plan, PlanError> {
        let mut files = ApiFiles::default();
        self.fetch(&mut files, FORMULAE, true).await?;
        for path in OLDER {
            self.fetch(&mut files, path, false).await?;
        }
        let formulae = match files.payload(FORMULAE) {
            Some(payload) => Some(Formulae::read(&payload?).map_err(api_error(FORMULAE))?),
            None => None,
        };
        if selection.platforms.is_empty() {
            let defaults = formulae
                .iter()
                .flat_map(|formulae| Platform::defaults(formulae.tags()));
            selection.platforms = defaults.map(|platform| platform.tag().to_owned()).collect();
        }
        let mut wanted = Wanted::default();
        let mut without_bottle = BTreeMap::new();
        let mut warnings = std::mem::take(&mut files.warnings);
        let mut platforms = Vec::new();
        for tag in &selection.platforms {
            // What the mirror remembers was checked when it was typed.
            let Ok(platform) = tag.parse::<Platform>() else {
                continue;
            };
            let path = format!("internal/packages.{tag}.jws.json");
            self.fetch(&mut files, &path, true).await?;
            let mut catalogues = Vec::new();
            if let Some(payload) = files.payload(&path) {
                catalogues.push(packages::read(&payload?, &platform).map_err(api_error(&path))?);
            }
            if let Some(formulae) = &formulae {
                catalogues.push(formulae.catalogue(&platform));
            }
            if catalogues.is_empty() {
                return Err(PlanError::NoApi(self.upstream.api().to_string()));
            }
            let missing = self.take(&selection, &catalogues, &mut wanted)?;
            if !missing.is_empty() {
                without_bottle.insert(tag.clone(), missing);
            }
            platforms.push(platform);
        }
        drop(formulae);
        wanted
            .bottles
            .retain(|bottle| !self.skip.contains(&bottle.formula));
        wanted.unusable.retain(|name, _| !self.skip.contains(name));
        warnings.append(&mut files.warnings);
        let mut plan = Plan {
            selection,
            api: files.entries,
            api_bytes: files.changed,
            manifests: BTreeMap::new(),
            manifest_bytes: BTreeMap::new(),
            bottles: Vec::new(),
            missing: Vec::new(),
            failures: wanted.unusable.into_iter().map(unusable).collect(),
            without_bottle,
            warnings,
        };
        self.size(&mut plan, wanted.bottles).await?;
        self.add_portable_ruby(&mut plan, &platforms).await?;
        self.keep_failed(&mut plan);
        self.find_missing(&mut plan).await?;
        Ok(plan)
    }

    /// Takes what the selection comes to in each catalogue of a platform; returns what has a bottle in none of them. Two catalogues were
    /// made at two times: clients of both generations must find theirs.
    fn take(
        &self,
        selection: &Selection,
        catalogues: &[Catalogue],
        wanted: &mut Wanted,
    ) -> Result<BTreeSet<String>, SelectionError> {
        let resolved = catalogues
            .iter()
            .map(|catalogue| selection.resolve(catalogue));
        let mut merged: Option<Resolved> = None;
        for found in resolved {
            wanted.bottles.extend(found.bottles.iter().cloned());
            wanted.unusable.extend(found.unusable.clone());
            merged = Some(match merged {
                Some(before) => Resolved {
                    without_bottle: &before.without_bottle & &found.without_bottle,
                    unknown: &before.unknown & &found.unknown,
                    ..before
                },
                None => found,
            });
        }
        let merged = merged.unwrap_or_default();
        match merged.unknown.first() {
            Some(name) => Err(SelectionError::unknown(name, catalogues)),
            None => Ok(merged.without_bottle),
        }
    }

    /// Finds the size of every bottle, in the base or in its manifest.
    async fn size(&self, plan: &mut Plan, wanted: BTreeSet<Bottle>) -> Result<(), PlanError> {
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
            match (entry, held, self.is_there(&key)) {
                (Some(entry), Some(held), true) => {
                    plan.manifests.insert(key, entry.clone());
                    plan.bottles.extend(held);
                }
                _ => to_fetch.push((key, bottles)),
            }
        }
        let fetched = stream::iter(to_fetch)
            .map(|(key, bottles)| async move {
                let found = self.manifest(&key, &bottles).await;
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
                    self.add_manifest(plan, key, bytes);
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

    fn add_manifest(&self, plan: &mut Plan, key: String, bytes: Bytes) {
        let entry = FileEntry {
            sha256: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let is_known = self.base.manifests.get(&key) == Some(&entry) && self.is_there(&key);
        if !is_known {
            plan.manifest_bytes.insert(key.clone(), bytes);
        }
        plan.manifests.insert(key, entry);
    }

    /// Tells whether a key is there, as far as is known.
    fn is_there(&self, key: &str) -> bool {
        self.present.is_none_or(|present| present.contains_key(key))
    }

    /// Reads a manifest that names all the bottles: from the mirror, if an earlier run got so far, or from the upstream.
    async fn manifest(
        &self,
        key: &str,
        bottles: &[Bottle],
    ) -> Result<(Bytes, Vec<u64>), ManifestTrouble> {
        if self
            .present
            .is_some_and(|present| present.contains_key(key))
        {
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
    async fn add_portable_ruby(
        &self,
        plan: &mut Plan,
        platforms: &[Platform],
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
            let found = match self.manifest(&key, &[]).await {
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
            self.add_manifest(plan, key, found);
        }
        plan.bottles.sort();
        plan.bottles.dedup();
        Ok(())
    }

    /// Of a formula that failed the mirror keeps what it has.
    fn keep_failed(&self, plan: &mut Plan) {
        let failed: BTreeSet<&str> = plan
            .failures
            .iter()
            .map(|failure| failure.formula.as_str())
            .collect();
        let kept = self
            .base
            .bottles
            .iter()
            .filter(|held| failed.contains(held.formula.as_str()));
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
    async fn find_missing(&self, plan: &mut Plan) -> Result<(), PlanError> {
        let vouched: BTreeSet<String> = self.base.bottles.iter().map(Held::blob_key).collect();
        let mut asked = BTreeSet::new();
        let mut doubtful = Vec::new();
        for held in &plan.bottles {
            let key = held.blob_key();
            if !asked.insert(key.clone()) {
                continue;
            }
            let size = self.present.and_then(|present| present.get(&key));
            match (vouched.contains(&key), self.present.is_some(), size) {
                (true, false, _) => {}
                (true, true, Some(size)) if *size == held.size => {}
                (false, true, Some(size)) if *size == held.size => doubtful.push(held.clone()),
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

/// Tells whether the store's word for a digest proves anything: whether it refuses an object whose digest is wrong.
pub async fn trusts_checksums(store: &Store) -> bool {
    match store.checksum_honesty().await {
        Ok(honesty) => matches!(honesty, Honesty::Honest | Honesty::OnlyWhole),
        Err(error) => {
            tracing::debug!(%error, "the store's checksums could not be probed; what lies there is read");
            false
        }
    }
}

/// Tells whether an object has the digest that its key says: by the store's word, if that is trusted and it keeps one, or by reading it.
///
/// # Errors
/// If the store fails.
pub async fn is_right(
    store: &Store,
    key: &str,
    sha256: &str,
    trusts_checksums: bool,
) -> Result<bool, StoreError> {
    let Ok(wanted) = sha256.parse::<Digest>() else {
        return Ok(false);
    };
    if trusts_checksums && let Some(found) = store.head(key).await?.sha256 {
        return Ok(found == wanted.0);
    }
    let mut body = store.read(key, None).await?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    while let Some(bytes) = body.next().await {
        context.update(&bytes?);
    }
    Ok(context.finish().as_ref() == wanted.0)
}

/// What the selection comes to on all platforms.
#[derive(Default)]
struct Wanted {
    bottles: BTreeSet<Bottle>,
    unusable: BTreeMap<String, String>,
}

fn unusable((formula, what): (String, String)) -> FormulaFailure {
    FormulaFailure {
        formula,
        what: format!("its entry in the API cannot be used: {what}"),
        remedy: "see whether --api leads to Homebrew's own API, or pass it over with --skip NAME"
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

fn api_error(path: &str) -> impl Fn(ApiError) -> PlanError {
    let path = path.to_owned();
    move |error| PlanError::Api {
        path: path.clone(),
        error,
    }
}

/// Returns the key of an API file.
#[must_use]
pub fn api_key(path: &str) -> String {
    format!("api/{path}")
}

/// Writes an error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
