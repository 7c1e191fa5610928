//! Fetching what is missing: the bottles' bytes go from the registry to the store through the transfer engine.
//!
//! What must hold: a blob whose digest is not the one that its key says is never in the store; what an earlier run left under way is given
//! up before a new one begins; a stop ends within seconds, whatever the source does.

use super::SyncError;
use crate::log::Held;
use crate::plan::FormulaFailure;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Attributes, Store};
use transfer::{
    Blob, Digest, Ended, Engine, EngineParts, Event, ExceptionKind, Item, Journal,
    JournalErrorKind, Keepers, Ledger, LedgerError, Limits, Observer, Outcome, Proof, Retry,
    RunHeader, Source, Standing, Steps, StopSignal,
};

/// A prefix below which nothing lies: a blob's key is its digest, so what may lie under it already need not be looked for. What is there and
/// damaged is to be written over.
const NOTHING_LIES_HERE: &str = ".syncline/mirror/nothing";

/// More failures than this end a run: then it is the upstream that is ill, not a formula.
const FAILURES_MAX: u64 = 200;

/// Smaller bottles are held: one that is refused at first need not be fetched again then, and many are in memory at once.
const PASS_ON_MIN: u64 = 256 << 10;

/// So long what is in flight may go on once a stop was asked for.
const STOP_AT_MOST: Duration = Duration::from_secs(5);

/// Whoever looks for journals that were left behind, or makes one, holds it.
const LOCK: &str = "journals.lock";

/// What was fetched.
pub(crate) struct Fetched {
    pub(crate) stored: u64,
    pub(crate) bytes: u64,
    pub(crate) is_stopped: bool,
    pub(crate) failures: BTreeSet<FormulaFailure>,
}

/// How bottles are stored.
pub struct FetchOptions {
    /// So many at once.
    pub concurrency: usize,
    /// How often a failure of the store that may pass is waited for.
    pub retry: Retry,
    /// Where the journals of runs lie.
    pub state_dir: PathBuf,
    /// Who hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Who may ask to stop.
    pub stop: StopSignal,
}

/// Stores bottles from a source, each under its digest and only if it has that.
///
/// # Errors
/// If it cannot go on. What fails of single bottles is in the answer.
pub(crate) async fn store_all(
    store: &Store,
    source: Arc<dyn Source>,
    options: &FetchOptions,
    missing: &[Held],
) -> Result<Fetched, SyncError> {
    if missing.is_empty() {
        return Ok(Fetched {
            stored: 0,
            bytes: 0,
            is_stopped: options.stop.is_raised(),
            failures: BTreeSet::new(),
        });
    }
    let state = |error| SyncError::State {
        path: options.state_dir.clone(),
        error,
    };
    store::file::create_dir_durably(&options.state_dir).map_err(state)?;
    options.observer.event(Event::Planned {
        items: missing.len() as u64,
        bytes: missing.iter().map(|held| held.size).sum(),
    });
    let told = Arc::new(ByName::new(options.observer.clone(), missing));
    let observer: Arc<dyn Observer> = told.clone();
    let parts = |journal: Journal| EngineParts {
        journal,
        source: source.clone(),
        target: store.clone(),
        ledger: Arc::new(NoLedger),
        limits: limits(options),
        proof: Proof::Checksum,
        observer: observer.clone(),
        stop: options.stop.clone(),
        mirror: None,
        prefixes: vec![NOTHING_LIES_HERE.to_owned()],
        keepers: Keepers::default(),
        steps: Steps::all(),
    };
    for (journal, path) in left_by_the_dead(store, &options.state_dir).map_err(state)? {
        Engine::new(parts(journal)).abandon().await?;
        remove(&path).map_err(state)?;
    }
    let (journal, path) = new_journal(store, options)?;
    let mut engine = Engine::new(parts(journal));
    let (items, unproved): (Vec<Item>, Vec<&Held>) = items(missing);
    let plan = stream::iter(items.into_iter().map(Ok)).boxed();
    // In a place of its own: a run is large, and whoever awaits it would be as large on the stack.
    let work = Box::pin(engine.run(plan));
    let done = tokio::select! {
        done = work => done?,
        // As if the process had been killed: the next run gives up what the journal names.
        () = waited_for(&options.stop) => return Ok(told.so_far()),
    };
    drop(engine);
    remove(&path).map_err(state)?;
    let failures = done.exceptions.iter().map(|exception| FormulaFailure {
        formula: formula_of(missing, &exception.item),
        what: format!("{}: {}", exception.key, exception.message),
        remedy: remedy(exception.kind).to_owned(),
    });
    Ok(Fetched {
        stored: done.stored,
        bytes: done.bytes,
        is_stopped: done.ended == Ended::Stopped,
        failures: failures
            .chain(unproved.into_iter().map(without_digest))
            .collect(),
    })
}

/// Says what to do about a bottle that failed. To pass it over is for what is wrong with itself: where the registry or the network fails, all others
/// would have to be passed over too.
fn remedy(kind: ExceptionKind) -> &'static str {
    use ExceptionKind as Kind;
    match kind {
        Kind::Permission => {
            "the registry refuses it: for one that needs an account, set HOMEBREW_DOCKER_REGISTRY_TOKEN; check --registry and the proxy (HTTPS_PROXY), then run again: what is stored stays"
        }
        Kind::Unreadable => {
            "check the network and the proxy (HTTPS_PROXY), then run again: what is stored stays; if the registry asks for fewer requests, later, or with a smaller --concurrency"
        }
        Kind::Missing => {
            "run again later: the API may be ahead of the registry; or pass it over with --skip NAME, and clients cannot install it until a run has fetched it"
        }
        Kind::Verification | Kind::Refused | Kind::ObjectMissing | Kind::Clash | Kind::BadKey => {
            "see the cause, and whether the mirror's store is well; then run again: what is stored stays"
        }
        _ => {
            "run again; if it stays, the upstream's file is broken: pass it over with --skip NAME, and clients cannot install it until a run has fetched it"
        }
    }
}

/// Waits until a stop was asked for, and what is in flight has had its time: an upstream that hangs must not hold it up.
async fn waited_for(stop: &StopSignal) {
    stop.raised().await;
    tokio::time::sleep(STOP_AT_MOST).await;
}

/// Opens the journals that earlier runs over this store have left behind; not those that somebody works on, and not those that cannot be read.
/// Another run may be at the same: what it has taken or removed is its affair.
fn left_by_the_dead(store: &Store, dir: &Path) -> std::io::Result<Vec<(Journal, PathBuf)>> {
    let _alone = alone(dir)?;
    let mut found = Vec::new();
    for path in left_behind(dir)? {
        match Journal::open(&path) {
            Ok(journal) if journal.header().parameters["store"] == store.describe() => {
                found.push((journal, path));
            }
            Ok(_) => {}
            Err(error)
                if [JournalErrorKind::Locked, JournalErrorKind::NotFound]
                    .contains(&error.kind()) => {}
            // It may name uploads that the store keeps, and bills, until they are ended.
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a journal of an earlier run cannot be read, and stays");
            }
        }
    }
    Ok(found)
}

/// Keeps others from looking for journals that were left behind, until it is dropped: one that is just being made is not locked from the beginning,
/// and would be taken for one.
fn alone(dir: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(dir.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Removes a file, if somebody else has not.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Tells of bottles by the names of their files, not by their keys, which a person cannot read. The engine plans in batches; how much there
/// is in all was told before.
struct ByName {
    observer: Arc<dyn Observer>,
    names: HashMap<String, String>,
    stored: AtomicU64,
    bytes: AtomicU64,
}

impl ByName {
    fn new(observer: Arc<dyn Observer>, missing: &[Held]) -> ByName {
        let name = |held: &Held| {
            crate::names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild)
        };
        let names = missing.iter().map(|held| (held.blob_key(), name(held)));
        ByName {
            observer,
            names: names.collect(),
            stored: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// What a run has done that did not come to its end.
    fn so_far(&self) -> Fetched {
        Fetched {
            stored: self.stored.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            is_stopped: true,
            failures: BTreeSet::new(),
        }
    }
}

impl Observer for ByName {
    fn event(&self, event: Event) {
        self.observer.event(match event {
            Event::Planned { .. } => return,
            Event::Stored { item, bytes } => {
                self.stored.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                Event::Stored {
                    item: self.names.get(&item).cloned().unwrap_or(item),
                    bytes,
                }
            }
            other => other,
        });
    }
}

fn limits(options: &FetchOptions) -> Limits {
    Limits {
        // A key is the digest of its bytes, and what is damaged is fetched anew.
        writes_over: true,
        parallel: options.concurrency.max(1),
        max_failures: Some(FAILURES_MAX),
        // Whatever fits into memory goes whole: many a store compares the digest of nothing else, and would have to be read again.
        multipart_threshold: Limits::default().memory,
        pass_on: Some(PASS_ON_MIN),
        retry: options.retry,
        ..Limits::default()
    }
}

/// Makes items of bottles, but for those whose bytes could be compared with nothing.
fn items(missing: &[Held]) -> (Vec<Item>, Vec<&Held>) {
    let (mut items, mut unproved) = (Vec::new(), Vec::new());
    for held in missing {
        match held.sha256.parse() {
            Ok(sha256) => items.push(item(held, sha256)),
            Err(_) => unproved.push(held),
        }
    }
    (items, unproved)
}

fn without_digest(held: &Held) -> FormulaFailure {
    FormulaFailure {
        formula: held.formula.clone(),
        what: format!(
            "{:?} is no SHA-256 that its bottle could be compared with",
            held.sha256
        ),
        remedy: "pass it over with --skip NAME, and report this".to_owned(),
    }
}

fn item(held: &Held, sha256: Digest) -> Item {
    let key = held.blob_key();
    Item {
        id: key.clone(),
        blobs: vec![Blob {
            role: "bottle".to_owned(),
            source: key.clone(),
            key,
            size: Some(held.size),
            sha256: Some(sha256),
            required: true,
            attributes: Attributes {
                content_type: Some("application/gzip".to_owned()),
                ..Attributes::default()
            },
        }],
        context: serde_json::Value::Null,
    }
}

fn formula_of(missing: &[Held], key: &str) -> String {
    let held = missing.iter().find(|held| held.blob_key() == key);
    held.map_or_else(|| key.to_owned(), |held| held.formula.clone())
}

fn left_behind(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "journal")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn new_journal(store: &Store, options: &FetchOptions) -> Result<(Journal, PathBuf), SyncError> {
    let mut random = [0; 4];
    // Without it, the process's number still tells two runs apart.
    let _ = getrandom::fill(&mut random);
    let run_id = format!(
        "sync-{}-{:08x}",
        std::process::id(),
        u32::from_le_bytes(random)
    );
    let path = options.state_dir.join(format!("{run_id}.journal"));
    let header = RunHeader {
        run_id,
        tool: "homebrew-sync".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: Timestamp::now(),
        parameters: serde_json::json!({"store": store.describe()}),
    };
    let state = |error| SyncError::State {
        path: options.state_dir.clone(),
        error,
    };
    let _alone = alone(&options.state_dir).map_err(state)?;
    Ok((Journal::create(&path, header)?, path))
}

/// Nothing is switched item by item: the generation is published as a whole.
struct NoLedger;

#[async_trait]
impl Ledger for NoLedger {
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        Ok(vec![Outcome::Done; items.len()])
    }

    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        Ok(vec![Outcome::AlreadyDone; items.len()])
    }

    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError> {
        // An object under its digest may be named by any generation: it is never taken away on this word.
        Ok(vec![Standing::Named; items.len()])
    }

    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError> {
        Ok(vec![false; items.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use transfer::Silent;

    #[test]
    fn a_journal_that_is_just_being_made_is_nobodys_leftover() {
        let dir = tempfile::tempdir().expect("a directory");
        let memory = object_store::memory::InMemory::new();
        let store = Store::from_object_store(Arc::new(memory), "");
        let options = FetchOptions {
            concurrency: 1,
            retry: Retry::default(),
            state_dir: dir.path().to_owned(),
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
        };
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Others, who take what was left behind.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        let left = left_by_the_dead(&store, dir.path()).expect("looked");
                        for (journal, path) in left {
                            drop(journal);
                            remove(&path).expect("removed");
                        }
                    }
                });
            }
            let make = || {
                let (journal, path) = new_journal(&store, &options)?;
                let is_there = path.exists();
                drop(journal);
                Ok::<_, SyncError>(is_there)
            };
            let made: Vec<_> = (0..60).map(|_| make()).collect();
            is_done.store(true, Ordering::Relaxed);
            for made in made {
                assert!(made.expect("it is made"), "somebody took it");
            }
        });
        let left = left_by_the_dead(&store, dir.path()).expect("looked");
        assert_eq!(left_behind(dir.path()).expect("listed").len(), left.len());
    }
}
