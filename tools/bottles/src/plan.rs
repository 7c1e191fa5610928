//! What a run has to do: what the API offers and the selection wants, against what the mirror has.
//!
//! What must hold: a bottle counts as there only if the current generation names it, or its bytes in the store were proved; a size comes
//! from a manifest and from nowhere else; what is wrong with one formula is a failure of that formula, of which the mirror keeps what it
//! has; what it has had does not drop out unnamed (`removed`); each file of the upstream is asked for once.

mod api_files;
mod bottles;
mod removed;
mod skipped;
mod unserved;

pub use removed::{Removed, Why};
pub use unserved::Unserved;
pub(crate) use unserved::unserved;

use crate::api::jws::PublicKey;
use crate::api::{ApiError, Bottle, Catalogue, formulae::Formulae, packages};
use crate::log::{self, ApiEntry, FileEntry, Generation, Held};
use crate::platform::Platform;
use crate::selection::{self, Resolved, Selection, SelectionError};
use crate::upstream::{Upstream, UpstreamError};
use api_files::ApiFiles;
use bottles::Present;
use bytes::Bytes;
use futures::StreamExt;
use skipped::Unmet;
use std::collections::{BTreeMap, BTreeSet};
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
    Upstream {
        /// The path of the file below the API's root.
        path: String,
        /// What went wrong.
        #[source]
        error: UpstreamError,
    },
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
    /// There is no API: what the selection comes to cannot be known, which is not the same as nothing.
    #[error(
        "the API at {0} has neither a formula.jws.json that names bottles nor a packages file for a platform that is asked for"
    )]
    NoApi(String),
    /// The upstream has much less than the mirror has: more likely it is broken than that so much was removed.
    #[error("the upstream has far less than the mirror: {}", .0.join("; "))]
    Shrunk(Vec<String>),
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
    /// The bytes of those that changed and are not in their places yet.
    pub manifest_bytes: BTreeMap<String, Bytes>,
    /// How many others changed: they lie in their places, where nothing was.
    pub manifests_placed: u64,
    /// All bottles that the next generation has.
    pub bottles: Vec<Held>,
    /// Those whose bytes have to be fetched, each blob once.
    pub missing: Vec<Held>,
    /// Formulae that could not be planned.
    pub failures: BTreeSet<FormulaFailure>,
    /// Selected or needed formulae without a bottle, by platform.
    pub without_bottle: BTreeMap<String, BTreeSet<String>>,
    /// What the mirror has had and the next generation has not, by formula.
    pub removed: Vec<Removed>,
    /// Bottles that the API names in place of some that the base has.
    pub changed: BTreeSet<Bottle>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Tells whether the next generation would be as the base is.
    #[must_use]
    pub fn is_nothing_new(&self, base: &Generation) -> bool {
        self.missing.is_empty()
            && self.api_bytes.is_empty()
            && self.manifest_bytes.is_empty()
            && self.manifests_placed == 0
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
    /// Formulae and API files that are passed over: of them the mirror keeps what it has.
    pub skip: &'p BTreeSet<String>,
    /// How many requests are made at once.
    pub concurrency: usize,
    /// The day, for what is new.
    pub today: String,
    /// Whether to look at what really lies in the store, whatever the base says.
    pub checks_store: bool,
    /// Only look: nothing is written.
    pub dry_run: bool,
    /// Whether the selection stands instead of what the mirror has: then what is left out is meant.
    pub replaces_selection: bool,
    /// Whether an upstream that has far less than the mirror is believed.
    pub accepts_shrinking: bool,
}

impl Planner<'_> {
    /// Makes the plan.
    ///
    /// # Errors
    /// If the API or the mirror cannot be read. What is wrong with single formulae is in the plan.
    pub async fn plan(&self, mut selection: Selection) -> Result<Plan, PlanError> {
        let mut files = ApiFiles::listed(self.store, self.key.is_some()).await?;
        let (wanted, platforms) = self.wanted(&mut files, &mut selection).await?;
        let keeps_all = wanted.are_needs_unknown();
        let mut plan = Plan {
            selection,
            api: files.entries,
            api_bytes: files.changed,
            manifests: BTreeMap::new(),
            manifest_bytes: BTreeMap::new(),
            manifests_placed: 0,
            bottles: Vec::new(),
            missing: Vec::new(),
            failures: files.failures,
            without_bottle: wanted.without_bottle,
            removed: Vec::new(),
            changed: wanted.changed,
            warnings: files.warnings,
        };
        plan.warnings.extend(wanted.unmet.warnings());
        plan.failures
            .extend(wanted.unusable.into_iter().map(unusable));
        plan.failures.extend(wanted.unknown.into_iter().map(gone));
        // What lies in the store matters only to who would fetch it.
        let is_listed = self.checks_store || self.is_anything_new(&wanted.bottles);
        let present = match is_listed {
            true => Some(crate::sync::listed(self.store).await?),
            false => None,
        };
        let present = Present(present.as_ref());
        self.size(&mut plan, wanted.bottles, present).await?;
        self.add_portable_ruby(&mut plan, &platforms, present)
            .await?;
        let kept = self.keep(&mut plan, keeps_all);
        self.settle_fates(&mut plan, wanted.fates, &kept)?;
        if plan.selection.all && plan.bottles.is_empty() && plan.failures.is_empty() {
            return Err(PlanError::NoApi(self.upstream.api().to_string()));
        }
        self.find_missing(&mut plan, present).await?;
        Ok(plan)
    }

    /// Reads what the API has for each platform, and what the selection comes to in it.
    async fn wanted(
        &self,
        files: &mut ApiFiles,
        selection: &mut Selection,
    ) -> Result<(Wanted, Vec<Platform>), PlanError> {
        self.fetch(files, FORMULAE, true).await?;
        for path in OLDER {
            self.fetch(files, path, false).await?;
        }
        let formulae = match files.payload(FORMULAE) {
            Some(payload) => Some(Formulae::read(&payload?).map_err(api_error(FORMULAE))?),
            None => None,
        };
        if let Some(formulae) = &formulae {
            files.count(FORMULAE, formulae.bottles());
        }
        if selection.platforms.is_empty() || selection.follows_defaults {
            let tags = formulae.iter().flat_map(Formulae::tags);
            let defaults = Platform::defaults(tags);
            selection
                .platforms
                .extend(defaults.iter().map(Platform::to_string));
        }
        let no_api = || PlanError::NoApi(self.upstream.api().to_string());
        if selection.platforms.is_empty() {
            return Err(no_api());
        }
        let mut wanted = Wanted {
            unmet: Unmet::of(self, selection),
            ..Wanted::default()
        };
        let mut platforms = Vec::new();
        for tag in &selection.platforms {
            // What the mirror remembers was checked when it was typed.
            let Ok(platform) = tag.parse::<Platform>() else {
                continue;
            };
            let path = format!("internal/packages.{tag}.jws.json");
            self.fetch(files, &path, true).await?;
            let mut catalogues = Vec::new();
            if let Some(payload) = files.payload(&path) {
                let read = packages::read(&payload?, &platform).map_err(api_error(&path))?;
                let offers = read.offers.values();
                files.count(&path, offers.filter(|offer| offer.bottle.is_some()).count());
                catalogues.push(read);
            }
            if let Some(formulae) = &formulae {
                catalogues.push(formulae.catalogue(&platform));
            }
            if catalogues.is_empty() {
                return Err(no_api());
            }
            wanted.unmet.meet(&catalogues);
            self.take(selection, &catalogues, &platform, &mut wanted)?;
            platforms.push(platform);
        }
        wanted.changed = unserved::changed(self.base, &wanted.bottles);
        wanted
            .bottles
            .retain(|bottle| !self.skip.contains(&bottle.formula));
        wanted.unusable.retain(|name, _| !self.skip.contains(name));
        Ok((wanted, platforms))
    }

    /// Takes what the selection comes to in each catalogue of a platform. Two catalogues were made at two times: clients of both
    /// generations must find theirs. What none of them has is an error if it was just typed, and else a failure by name: what
    /// is remembered may be removed upstream, and must not hold up the rest.
    fn take(
        &self,
        selection: &Selection,
        catalogues: &[Catalogue],
        platform: &Platform,
        wanted: &mut Wanted,
    ) -> Result<(), SelectionError> {
        let resolved = catalogues
            .iter()
            .map(|catalogue| selection.resolve(catalogue));
        let mut merged: Option<Resolved> = None;
        let mut names = BTreeSet::new();
        for mut found in resolved {
            names.extend(found.bottles.iter().map(|bottle| bottle.formula.clone()));
            wanted.bottles.append(&mut found.bottles);
            wanted.unusable.append(&mut found.unusable);
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
        for name in merged.unknown {
            let is_remembered = self.base.selection.formulae.contains(&name);
            match () {
                () if self.skip.contains(&name) => {}
                () if is_remembered || selection::is_of_tap(&name) => {
                    wanted.unknown.insert(name);
                }
                () => return Err(SelectionError::unknown(&name, catalogues)),
            }
        }
        let tag = platform.tag().to_owned();
        let fate = self.fate(platform, catalogues, &names);
        wanted.fates.insert(tag.clone(), fate);
        if !merged.without_bottle.is_empty() {
            wanted.without_bottle.insert(tag, merged.without_bottle);
        }
        Ok(())
    }
}

/// Tells whether the store's word for a digest proves anything: whether it refuses an object whose digest is wrong. To find out, something is written.
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
    /// Those of them, and of what is passed over, that the API names in place of some that the base has.
    changed: BTreeSet<Bottle>,
    unusable: BTreeMap<String, String>,
    /// Names that the API has not.
    unknown: BTreeSet<String>,
    /// By platform.
    without_bottle: BTreeMap<String, BTreeSet<String>>,
    /// Names that are passed over and are nobody's.
    unmet: Unmet,
    /// What becomes of what the mirror has, by platform.
    fates: BTreeMap<String, removed::Fate>,
}

impl Wanted {
    /// Tells whether there is a formula of which it cannot be known what it needs: then whatever the mirror has may be needed.
    fn are_needs_unknown(&self) -> bool {
        !self.unknown.is_empty() || !self.unusable.is_empty()
    }
}

fn gone(formula: String) -> FormulaFailure {
    let (what, remedy) = match selection::is_of_tap(&formula) {
        true => (
            "it is of a tap, and only homebrew/core is mirrored",
            "pass it over with --skip NAME",
        ),
        false => (
            "the API knows no such formula any more; the mirror has it from before",
            "pass it over with --skip NAME, or name all that is wanted anew with --replace",
        ),
    };
    FormulaFailure {
        formula,
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn unusable((formula, what): (String, String)) -> FormulaFailure {
    FormulaFailure {
        formula,
        what: format!("its entry in the API cannot be used: {what}"),
        remedy: "see whether --api leads to Homebrew's own API, or pass it over with --skip NAME"
            .to_owned(),
    }
}

fn api_error(path: &str) -> impl Fn(ApiError) -> PlanError {
    let path = path.to_owned();
    move |error| PlanError::Api {
        path: path.clone(),
        error,
    }
}

/// Tells whether a path below the API's root is one of the files that are mirrored.
#[must_use]
pub fn is_api_file(path: &str) -> bool {
    let tag = path.strip_prefix("internal/packages.");
    let tag = tag.and_then(|rest| rest.strip_suffix(".jws.json"));
    path == FORMULAE
        || OLDER.contains(&path)
        || tag.is_some_and(|tag| tag.parse::<Platform>().is_ok())
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
