//! One run: plan, fetch, publish.
//!
//! What must hold: nothing is published unless all of it is there, but for what a person asked to be left out by name; whatever a run dies
//! at, the mirror serves what it served before, and the next run fetches again at most the bottles and manifests that were under way, and
//! the API files, which are stored only when all bottles are there.

pub mod fetch;
mod merge;
mod rebuild;

pub use rebuild::{Rebuilt, rebuild_hash};

use crate::api::jws::PublicKey;
use crate::hashfile::{HashFile, Merged};
use crate::log::{self, Generation, GenerationId, Log, LogError};
use crate::plan::{self, FormulaFailure, Plan, PlanError, Planner, Removed, Unserved};
use crate::publish::{self, Seen, Settled};
use crate::selection::Selection;
use crate::upstream::{Registry, Upstream};
use fetch::FetchOptions;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use store::{Store, StoreError};
use transfer::{Observer, Retry, StopSignal};

/// What a run is to do.
pub struct SyncOptions {
    /// What is selected in addition to what the mirror has, or instead of it.
    pub selection: Selection,
    /// Whether the selection stands instead of what the mirror has.
    pub replaces_selection: bool,
    /// Formulae that are passed over.
    pub skip: BTreeSet<String>,
    /// Only plan.
    pub dry_run: bool,
    /// Publish what there is although formulae failed; they stay as they were.
    pub publishes_incomplete: bool,
    /// Believe an upstream that has far less than the mirror.
    pub accepts_shrinking: bool,
    /// Look at what really lies in the store, whatever the log says.
    pub checks_store: bool,
    /// How many bottles are fetched at once.
    pub concurrency: usize,
    /// The time, for what is new.
    pub now: Timestamp,
    /// The key that API files are checked with.
    pub key: Option<PublicKey>,
    /// How often a failure of the store that may pass is waited for.
    pub retry: Retry,
    /// Where the journals of runs lie.
    pub state_dir: PathBuf,
    /// A hash file of another tool: what it says is taken up where the mirror has the very bottle, and believed nowhere else.
    pub external: Option<HashFile>,
}

/// A run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It could not be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store failed.
    #[error("the mirror's store failed")]
    Store(#[from] StoreError),
    /// The log is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Copying could not go on.
    #[error("the bottles could not be fetched")]
    Run(#[from] transfer::RunError),
    /// The journal failed.
    #[error("the journal of the run failed")]
    Journal(#[from] transfer::JournalError),
    /// The state directory failed.
    #[error("the state directory {path} cannot be used")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The flat layout was asked for where it cannot be had.
    #[error("the flat layout needs names that stand for other objects, and {0} has no such thing")]
    NoReferences(String),
    /// Nothing is selected, here or in the mirror.
    #[error("nothing is selected, and the mirror is empty")]
    NothingSelected,
}

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SyncReport {
    /// Bottles of the selection, each platform's counted.
    pub bottles: u64,
    /// Their bytes, each file counted once.
    pub bytes: u64,
    /// Files that had to be fetched.
    pub missing: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Files that were fetched and stored.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Manifests that changed.
    pub manifests: u64,
    /// API files that changed.
    pub api_files: u64,
    /// What failed, by formula.
    pub failures: BTreeSet<FormulaFailure>,
    /// What has no bottle, by platform.
    pub without_bottle: BTreeMap<String, BTreeSet<String>>,
    /// What the mirror has had and has no more, or will have no more, by formula.
    pub removed: Vec<Removed>,
    /// What was passed over, or failed while the rest is published, and clients can no longer install.
    pub unserved: Vec<Unserved>,
    /// The platforms.
    pub platforms: BTreeSet<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Whether no portable-ruby is selected, without which a client may not start.
    pub no_portable_ruby: bool,
    /// Whether clients on an old Linux would miss what they install with anything.
    pub no_glibc: bool,
    /// The generation that was published.
    pub published: Option<String>,
    /// Whether it was asked to stop.
    pub stopped: bool,
    /// Whether the mirror was up to date.
    pub nothing_new: bool,
    /// Requests to the store.
    pub store_requests: u64,
    /// What of another tool's hash file the mirror has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Merged>,
}

impl SyncReport {
    /// What failed stays as it was, so nothing of it goes.
    fn keep_failed(&mut self) {
        let failures = &self.failures;
        let is_kept = |removed: &Removed| {
            let mut failures = failures.iter();
            failures.any(|failure| failure.formula == removed.formula)
        };
        self.removed.retain(|removed| !is_kept(removed));
    }

    /// Says what clients can no longer install.
    fn find_unserved(&mut self, plan: &Plan, options: &SyncOptions) {
        let changed = plan.changed.iter();
        let is_left = |bottle: &&crate::api::Bottle| {
            options.publishes_incomplete || options.skip.contains(&bottle.formula)
        };
        self.unserved = plan::unserved(changed.filter(is_left), &plan.bottles);
        let unserved = self.unserved.iter();
        self.warnings.extend(unserved.map(Unserved::warning));
    }

    /// That of a run that was asked to stop before it did anything.
    pub(crate) fn stopped() -> Self {
        Self {
            stopped: true,
            ..Self::default()
        }
    }
}

/// Runs once.
///
/// # Errors
/// If it cannot go on. What is wrong with single formulae is in the report.
pub async fn run(
    store: &Store,
    upstream: &Arc<Upstream>,
    options: &SyncOptions,
    observer: Arc<dyn Observer>,
    stop: StopSignal,
) -> Result<SyncReport, SyncError> {
    if options.selection.flat && !store.can_refer() {
        return Err(SyncError::NoReferences(store.describe()));
    }
    let mut seen = Seen::load(&options.state_dir, store);
    if options.checks_store {
        seen = seen.forgotten();
    }
    let Start {
        log,
        base,
        settled,
        warning,
    } = start(store, options, &mut seen).await?;
    let selection = selection_of(options, &base);
    if selection.is_empty() {
        return Err(SyncError::NothingSelected);
    }
    let planner = planner((store, upstream), &base, options, warning.is_some());
    // A plan can be dropped at any point: all it leaves are manifests in empty places, which no API names.
    let mut plan = tokio::select! {
        planned = Box::pin(planner.plan(selection)) => planned?,
        () = stop.raised() => return Ok(finished(store, SyncReport::stopped())),
    };
    let mut report = report_of(&plan);
    report.warnings.extend(warning);
    let is_nothing_new = plan.is_nothing_new(&base);
    if options.dry_run || is_nothing_new {
        report.nothing_new = is_nothing_new && plan.failures.is_empty();
        report.find_unserved(&plan, options);
        if is_nothing_new && !options.dry_run {
            settle(store, options, &mut seen, settled, &mut report).await?;
        }
        return Ok(finished(store, report));
    }
    let fetching = FetchOptions {
        concurrency: options.concurrency,
        retry: options.retry,
        state_dir: options.state_dir.clone(),
        observer,
        stop,
    };
    let source = Arc::new(Registry(upstream.clone()));
    let fetched = fetch::store_all(store, source, &fetching, &plan.missing).await?;
    report.fetched = fetched.stored;
    report.fetched_bytes = fetched.bytes;
    report.stopped = fetched.is_stopped;
    report.failures.extend(fetched.failures);
    if report.stopped || (!report.failures.is_empty() && !options.publishes_incomplete) {
        return Ok(finished(store, report));
    }
    drop_failed(&mut plan, &base, &report.failures);
    report.keep_failed();
    report.find_unserved(&plan, options);
    let next = next_generation(&log, &base, &plan, options.now);
    let manifests = &plan.manifest_bytes;
    let id = publish::publish(store, &log, &base, &next, manifests, &plan.api_bytes).await?;
    let (id, next) = merge::with_others(store, merge::marked(&log), id, next).await?;
    report.published = Some(id.to_string());
    report.bottles = next.bottles.len() as u64;
    report.bytes = next.bytes();
    settle(store, options, &mut seen, None, &mut report).await?;
    Ok(finished(store, report))
}

fn planner<'p>(
    (store, upstream): (&'p Store, &'p Arc<Upstream>),
    base: &'p Generation,
    options: &'p SyncOptions,
    is_base_lost: bool,
) -> Planner<'p> {
    Planner {
        upstream,
        store,
        base,
        key: options.key.as_ref(),
        skip: &options.skip,
        concurrency: options.concurrency,
        today: options.now.strftime("%Y-%m-%d").to_string(),
        checks_store: options.checks_store || is_base_lost,
        dry_run: options.dry_run,
        replaces_selection: options.replaces_selection,
        accepts_shrinking: options.accepts_shrinking,
    }
}

/// What a run begins with.
struct Start {
    log: Log,
    base: Generation,
    /// What was settled, unless this run only looks.
    settled: Option<Settled>,
    /// What a person should know: the current generation could not be read, and nothing is known of what lies in the store.
    warning: Option<String>,
}

/// Reads what is current, after making up for what runs that died or met others left undone.
async fn start(store: &Store, options: &SyncOptions, seen: &mut Seen) -> Result<Start, SyncError> {
    let outcome = match options.dry_run {
        true => look(store).await,
        false => match merge::catch_up(store).await {
            Ok(()) => publish::settle(store, seen).await.map(|settled| {
                settled.map(|settled| {
                    let (log, base) = (settled.log.clone(), settled.generation.clone());
                    (log, base, Some(settled))
                })
            }),
            Err(error) => Err(error),
        },
    };
    let warning = match outcome {
        Ok(Some((log, base, settled))) => {
            return Ok(Start {
                log,
                base,
                settled,
                warning: None,
            });
        }
        Ok(None) => None,
        // What it said was selected is lost. Who says it once more gets a mirror again.
        Err(error @ LogError::Damaged { .. }) if !options.selection.is_empty() => {
            Some(format!("{error}; what lies in the store is looked at"))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Start {
        log: Log::read(store).await?,
        base: Generation::empty(options.now),
        settled: None,
        warning,
    })
}

async fn look(store: &Store) -> Result<Option<(Log, Generation, Option<Settled>)>, LogError> {
    let log = Log::read(store).await?;
    let Some(id) = log.current() else {
        return Ok(None);
    };
    let base = log::read(store, id).await?;
    Ok(Some((log, base, None)))
}

/// Leaves the files under their names, the hash file too, as the current generation wants them, from what was settled already.
async fn settle(
    store: &Store,
    options: &SyncOptions,
    seen: &mut Seen,
    found: Option<Settled>,
    report: &mut SyncReport,
) -> Result<(), SyncError> {
    let external = options.external.as_ref();
    let whole = publish::settle_whole(store, seen, found, external, Some(options.now)).await?;
    if let Some(whole) = whole {
        report.warnings.extend(whole.warnings);
        report.external = whole.external;
        if options.checks_store {
            let generation = &whole.settled.generation;
            publish::mend_copies(store, generation).await?;
            if report.published.is_none() {
                crate::flat::put_right(store, generation).await?;
            }
        }
    }
    Ok(())
}

/// Returns what the mirror is to hold from now on. What is passed over by name is not remembered, unless it was before.
fn selection_of(options: &SyncOptions, base: &Generation) -> Selection {
    let mut selection = match options.replaces_selection {
        true => Selection::default(),
        false => base.selection.clone(),
    };
    let mut asked = options.selection.clone();
    asked.formulae.retain(|name| !options.skip.contains(name));
    selection.extend(asked);
    if selection.platforms.is_empty() {
        selection.follows_defaults = true;
    }
    selection
}

/// Lists what lies below the registry's part of a mirror.
///
/// # Errors
/// If the store cannot be listed to its end.
pub async fn listed(store: &Store) -> Result<HashMap<String, u64>, StoreError> {
    let mut found = HashMap::new();
    let mut entries = store.list_stream(crate::names::CORE);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        found.insert(entry.key, entry.size);
    }
    Ok(found)
}

fn report_of(plan: &Plan) -> SyncReport {
    let mut counted = BTreeSet::new();
    let once = plan
        .bottles
        .iter()
        .filter(|held| counted.insert(held.blob_key()));
    SyncReport {
        bottles: plan.bottles.len() as u64,
        bytes: once.map(|held| held.size).sum(),
        missing: plan.missing.len() as u64,
        missing_bytes: plan.missing_bytes(),
        manifests: plan.manifest_bytes.len() as u64 + plan.manifests_placed,
        api_files: plan.api_bytes.len() as u64,
        failures: plan.failures.clone(),
        without_bottle: plan.without_bottle.clone(),
        removed: plan.removed.clone(),
        platforms: plan.selection.platforms.clone(),
        warnings: plan.warnings.clone(),
        no_portable_ruby: plan.selection.portable_ruby.is_empty(),
        no_glibc: lacks_glibc(&plan.selection),
        ..SyncReport::default()
    }
}

fn lacks_glibc(selection: &Selection) -> bool {
    let is_linux = |tag: &String| tag.ends_with("_linux");
    let has = selection.all || selection.formulae.contains("glibc");
    !has && selection.platforms.iter().any(is_linux)
}

fn finished(store: &Store, mut report: SyncReport) -> SyncReport {
    report.store_requests = store.usage().requests();
    report
}

/// Takes bottles that could not be fetched out of the plan; their formulae stay as the base has them.
fn drop_failed(plan: &mut Plan, base: &Generation, failures: &BTreeSet<FormulaFailure>) {
    let failed: BTreeSet<&str> = failures
        .iter()
        .map(|failure| failure.formula.as_str())
        .collect();
    plan.bottles
        .retain(|held| !failed.contains(held.formula.as_str()));
    for held in base
        .bottles
        .iter()
        .filter(|held| failed.contains(held.formula.as_str()))
    {
        plan.bottles.push(held.clone());
    }
    plan.bottles.sort();
    plan.bottles.dedup();
    let named: BTreeSet<String> = plan
        .bottles
        .iter()
        .map(crate::log::Held::manifest_key)
        .collect();
    plan.manifests.retain(|key, _| named.contains(key));
    plan.manifest_bytes.retain(|key, _| named.contains(key));
    for key in named {
        if let Some(entry) = base.manifests.get(&key) {
            plan.manifests.entry(key).or_insert_with(|| entry.clone());
        }
    }
}

fn next_generation(log: &Log, base: &Generation, plan: &Plan, now: Timestamp) -> Generation {
    let current = log.current();
    // What another mirror has made is that one's; from here on this one goes its own way.
    let is_own = current.is_none_or(|id| log.origin_of(id).is_none());
    let next = Generation {
        number: log.next_number(),
        base: current.map(GenerationId::to_string),
        mirror: base.mirror.clone().filter(|_| is_own),
        selection: plan.selection.clone(),
        api: plan.api.clone(),
        manifests: plan.manifests.clone(),
        bottles: plan.bottles.clone(),
        ..Generation::empty(now.max(base.created))
    };
    next.with_mirror()
}
