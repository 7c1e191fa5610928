//! Tests of the engine: a small world of files, rows and objects, and what may happen to it.

mod crashes;
mod left_alone;
mod odd;
mod others;
mod passing;
mod random;
mod runs;
mod servers;
mod shared_table;
mod stale;
mod way_back;

use crate::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::Store;

const MIRROR: &str = ".syncline/migrations";

/// Rows of a table: id to path.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<BTreeMap<String, String>>>);

impl Rows {
    fn set(&self, id: &str, path: &str) {
        let mut rows = self.0.lock().expect("rows");
        rows.insert(id.to_owned(), path.to_owned());
    }

    fn all(&self) -> BTreeMap<String, String> {
        self.0.lock().expect("rows").clone()
    }

    fn swap(&self, item: &Item, from: &str, to: &str) -> Outcome {
        let context = |name: &str| item.context[name].as_str().expect("context").to_owned();
        let mut rows = self.0.lock().expect("rows");
        match rows.get_mut(&item.id) {
            None => Outcome::Gone("the row".to_owned()),
            Some(row) if *row == context(from) => {
                *row = context(to);
                Outcome::Done
            }
            Some(row) if *row == context(to) => Outcome::AlreadyDone,
            Some(row) => Outcome::Changed(row.clone()),
        }
    }
}

#[async_trait]
impl Ledger for Rows {
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        Ok(items
            .iter()
            .map(|item| self.swap(item, "old", "new"))
            .collect())
    }

    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        Ok(items
            .iter()
            .map(|item| self.swap(item, "new", "old"))
            .collect())
    }

    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError> {
        let rows = self.all();
        let standing = |item: &Item| match item.context["new"].as_str() {
            new if new == item.context["old"].as_str() => {
                match rows.values().any(|row| Some(row.as_str()) == new) {
                    true => Standing::Alike,
                    false => Standing::Unnamed,
                }
            }
            new if rows.get(&item.id).map(String::as_str) == new => Standing::Switched,
            new if rows.values().any(|row| Some(row.as_str()) == new) => Standing::Named,
            _ => Standing::Unnamed,
        };
        Ok(items.iter().map(standing).collect())
    }

    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError> {
        let rows = self.all();
        let new = |item: &Item| item.context["new"].as_str().map(str::to_owned);
        Ok(items
            .iter()
            .map(|item| rows.get(&item.id).cloned() == new(item))
            .collect())
    }
}

/// Lets something happen as in a process of its own: nothing of it goes on when this returns.
fn in_a_process<T: Send>(act: impl AsyncFnOnce() -> T + Send) -> T {
    let process = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // Dropping it waits for work on files that has begun.
        runtime.expect("runtime").block_on(act())
    };
    std::thread::scope(|scope| scope.spawn(process).join()).expect("no panic")
}

/// Files, rows and a target.
struct World {
    dir: tempfile::TempDir,
    rows: Rows,
    target: Store,
    items: Vec<Item>,
    limits: Limits,
    proof: Proof,
    n_journals: AtomicU32,
}

/// What a file is: its bytes, time of change, mode.
type FileShape = (Digest, (i64, i64), u32);

/// Everything that must be as it was, or as it should be.
#[derive(Clone, Debug, PartialEq)]
struct Picture {
    files: BTreeMap<PathBuf, FileShape>,
    rows: BTreeMap<String, String>,
    objects: BTreeMap<String, Digest>,
}

impl World {
    /// A world of so many documents, every third with a thumbnail.
    fn new(n: usize) -> World {
        let target = Store::from_object_store(Arc::new(InMemory::new()), "");
        World::with(target, n)
    }

    fn with(target: Store, n: usize) -> World {
        let mut world = World {
            dir: tempfile::tempdir().expect("scratch"),
            rows: Rows::default(),
            target,
            items: Vec::new(),
            limits: Limits {
                parallel: 3,
                batch: 4,
                retry: Retry {
                    attempts: 6,
                    pause: Duration::ZERO,
                    pause_max: Duration::ZERO,
                },
                ..Limits::default()
            },
            proof: Proof::Checksum,
            n_journals: AtomicU32::new(0),
        };
        fs::create_dir(world.files()).expect("directory");
        (0..n).for_each(|number| world.add(number));
        world
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn add(&mut self, number: usize) {
        let id = format!("document-{number}");
        let content = format!("{id} ").repeat(number % 7 * 20);
        let mut blobs = vec![self.blob("document", &id, content.as_bytes())];
        if number.is_multiple_of(3) {
            blobs.push(self.blob("thumbnail", &format!("{id}_thumb"), b"small"));
        }
        let old = blobs[0].source.clone();
        let new = format!("s3://{}", blobs[0].key);
        self.rows.set(&id, &old);
        let context = serde_json::json!({"old": old, "new": new});
        self.items.push(Item { id, blobs, context });
    }

    fn blob(&self, role: &str, name: &str, content: &[u8]) -> Blob {
        let path = self.files().join(name);
        fs::write(&path, content).expect("file");
        let mode = if name.ends_with('1') { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        Blob {
            role: role.to_owned(),
            source: path.to_str().expect("path").to_owned(),
            key: format!("{role}s/{name}"),
            size: Some(content.len() as u64),
            sha256: None,
            required: role == "document",
            attributes: Attributes::default(),
        }
    }

    /// What a tool would plan now: the rows that are local still.
    fn plan(&self) -> Vec<Item> {
        let rows = self.rows.all();
        let is_local = |item: &&Item| {
            rows.get(&item.id)
                .is_some_and(|path| !path.starts_with("s3://"))
        };
        self.items.iter().filter(is_local).cloned().collect()
    }

    fn journal_path(&self) -> PathBuf {
        let n = self.n_journals.load(Ordering::Relaxed);
        self.dir.path().join(format!("run-{n}.journal"))
    }

    /// Begins another journal.
    fn fresh_journal(&self) {
        self.n_journals.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the journal; tasks of an engine that was dropped may hold it for a moment still.
    async fn journal(&self) -> Journal {
        let path = self.journal_path();
        let header = RunHeader {
            run_id: format!("run-{}", self.n_journals.load(Ordering::Relaxed)),
            tool: "test".to_owned(),
            version: "0".to_owned(),
            started: jiff::Timestamp::UNIX_EPOCH,
            parameters: serde_json::Value::Null,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let opened = match path.exists() {
                true => Journal::open(&path),
                false => Journal::create(&path, header.clone()),
            };
            match opened {
                Err(error)
                    if error.kind() == JournalErrorKind::Locked && Instant::now() < deadline =>
                {
                    tokio::task::yield_now().await;
                }
                opened => return opened.expect("journal"),
            }
        }
    }

    async fn parts(&self, steps: Steps) -> EngineParts {
        EngineParts {
            journal: self.journal().await,
            source: Arc::new(Files::new()),
            target: self.target.clone(),
            ledger: Arc::new(self.rows.clone()),
            limits: self.limits.clone(),
            proof: self.proof,
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
            mirror: Some(Mirror {
                store: self.target.clone(),
                prefix: MIRROR.to_owned(),
            }),
            keepers: Keepers::default(),
            prefixes: Vec::new(),
            steps,
        }
    }

    async fn run(&self) -> Result<Report, RunError> {
        self.run_with(Steps::all()).await
    }

    async fn run_with(&self, steps: Steps) -> Result<Report, RunError> {
        let plan = stream::iter(self.plan().into_iter().map(Ok)).boxed();
        Engine::new(self.parts(steps).await).run(plan).await
    }

    async fn rollback(&self) -> Result<Report, RunError> {
        self.rollback_with(Steps::all()).await
    }

    async fn rollback_with(&self, steps: Steps) -> Result<Report, RunError> {
        let mut engine = Engine::new(self.parts(steps).await);
        engine.rollback(RollbackOptions::default()).await
    }

    async fn remove_sources(&self, steps: Steps) -> Result<Report, RunError> {
        let mut engine = Engine::new(self.parts(steps).await);
        engine.remove_sources(RemoveOptions::default()).await
    }

    async fn verify(&self, read_back: bool) -> VerifyReport {
        let sample = Sample::All;
        let mut engine = Engine::new(self.parts(Steps::all()).await);
        let report = engine.verify(VerifyOptions { sample, read_back }).await;
        report.expect("verifies")
    }

    async fn picture(&self) -> Picture {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.files()).expect("lists") {
            let path = entry.expect("entry").path();
            let found = fs::metadata(&path).expect("metadata");
            let shape = (found.mtime(), found.mtime_nsec());
            let bytes = Digest::of(&fs::read(&path).expect("reads"));
            files.insert(path, (bytes, shape, found.mode() & 0o7777));
        }
        Picture {
            files,
            rows: self.rows.all(),
            objects: self.digests().await,
        }
    }

    async fn digests(&self) -> BTreeMap<String, Digest> {
        let objects = self.objects().await.into_iter();
        objects
            .map(|(key, bytes)| (key, Digest::of(&bytes)))
            .collect()
    }

    /// The objects, without the journal's copy.
    async fn objects(&self) -> BTreeMap<String, Bytes> {
        let mut objects = BTreeMap::new();
        for entry in self.target.list("").await.expect("lists") {
            if !entry.key.starts_with(MIRROR) {
                let bytes = self.target.get(&entry.key).await.expect("reads");
                objects.insert(entry.key, bytes);
            }
        }
        objects
    }
}
