//! An upstream, a store that can be made to fail, and what must hold of a mirror whatever happened.

use bottles::api::jws::PublicKey;
use bottles::hashfile::HashFile;
use bottles::log::{self, Generation, GenerationId, Log};
use bottles::sample::{self, Sample, SampleServer};
use bottles::selection::Selection;
use bottles::sync::{self, SyncError, SyncOptions, SyncReport};
use bottles::upstream::{Upstream, UpstreamOptions};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::{Environment, Store, Tuning};
use testkit::{Faults, FaultyStore};
use transfer::{Digest, Retry, Silent, StopSignal};

/// The time that the first run of a test has.
pub const FIRST: i64 = 1_790_000_000;

pub struct World {
    pub server: SampleServer,
    pub handle: FaultyStore,
    pub store: Store,
    pub state: tempfile::TempDir,
    /// What its runs ask for; none takes the default.
    pub platforms: BTreeSet<String>,
}

impl World {
    pub async fn new() -> World {
        World::serving(Sample::embedded()).await
    }

    pub async fn serving(sample: Sample) -> World {
        let server = SampleServer::start(sample)
            .await
            .expect("the sample starts");
        let handle = FaultyStore::new(1, Faults::none());
        World {
            server,
            store: Store::from_object_store(Arc::new(handle.for_device(0)), ""),
            handle,
            state: tempfile::tempdir().expect("a directory"),
            platforms: BTreeSet::new(),
        }
    }

    /// One of a single platform, for tests of many runs: it does all that one of five does.
    pub async fn small(sample: Sample) -> World {
        World {
            platforms: ["x86_64_linux".to_owned()].into(),
            ..World::serving(sample).await
        }
    }

    /// Another machine with the same mirror, to which the upstream shows itself otherwise.
    pub async fn beside(&self, device: usize, sample: Sample) -> World {
        let handle = self.handle.for_device(device);
        World {
            server: SampleServer::start(sample)
                .await
                .expect("the sample starts"),
            store: Store::from_object_store(Arc::new(handle.clone()), ""),
            handle,
            state: tempfile::tempdir().expect("a directory"),
            platforms: self.platforms.clone(),
        }
    }

    /// Begins a run, and does something else once it is about to make one more than so many operations on the store, or has ended.
    pub async fn run_and_meet<T>(
        &self,
        options: &SyncOptions,
        operations: u64,
        other: impl Future<Output = T>,
    ) -> (Result<SyncReport, SyncError>, T) {
        self.handle.hold_at(operations);
        let is_done = std::cell::Cell::new(false);
        let run = async {
            let outcome = self.run(options).await;
            is_done.set(true);
            outcome
        };
        let meeting = async {
            while !self.handle.is_held() && !is_done.get() {
                tokio::task::yield_now().await;
            }
            let met = other.await;
            self.handle.release();
            met
        };
        tokio::join!(run, meeting)
    }

    pub fn upstream(&self) -> Arc<Upstream> {
        self.upstream_through(&self.server.registry(), &Environment::default())
    }

    /// The upstream as it is reached at another root.
    pub fn upstream_through(&self, root: &str, env: &Environment) -> Arc<Upstream> {
        let options = UpstreamOptions {
            api: format!("{root}/api").parse().expect("an address"),
            registry: root.parse().expect("an address"),
            authorization: None,
            attempts: 3,
            pause: Duration::from_millis(1),
        };
        let upstream = Upstream::new(options, &Tuning::default(), env);
        Arc::new(upstream.expect("the client is made"))
    }

    pub fn options(&self, formulae: &[&str], now: i64) -> SyncOptions {
        SyncOptions {
            selection: Selection {
                formulae: formulae.iter().map(|name| (*name).to_owned()).collect(),
                platforms: self.platforms.clone(),
                ..Selection::default()
            },
            replaces_selection: false,
            skip: BTreeSet::new(),
            dry_run: false,
            publishes_incomplete: false,
            accepts_shrinking: false,
            checks_store: false,
            concurrency: 1,
            now: Timestamp::from_second(now).expect("a time"),
            key: Some(PublicKey::from_pem(sample::PUBLIC_KEY.as_bytes()).expect("a key")),
            retry: Retry {
                attempts: 1,
                ..Retry::default()
            },
            state_dir: self.state.path().to_owned(),
            external: None,
        }
    }

    pub async fn run(&self, options: &SyncOptions) -> Result<SyncReport, SyncError> {
        let (upstream, observer) = (self.upstream(), Arc::new(Silent));
        sync::run(&self.store, &upstream, options, observer, StopSignal::new()).await
    }

    /// Runs, and expects that it can go on to its end.
    pub async fn sync(&self, formulae: &[&str], now: i64) -> SyncReport {
        self.run(&self.options(formulae, now))
            .await
            .expect("the run ends")
    }

    pub async fn current(&self) -> Option<(GenerationId, Generation)> {
        let log = Log::read(&self.store).await.expect("the log is listed");
        let id = log.current()?.clone();
        let generation = log::read(&self.store, &id)
            .await
            .expect("the generation is read");
        Some((id, generation))
    }

    /// Checks that everything that the current generation names is there, byte for byte, and that nothing lies under a digest that it does not have.
    pub async fn check(&self) -> Option<Generation> {
        let objects = self.handle.objects();
        for (key, bytes) in &objects {
            if let Some((_, digest)) = key.rsplit_once("/blobs/sha256:") {
                assert_eq!(Digest::of(bytes).to_string(), digest, "{key}");
            }
        }
        let (_, generation) = self.current().await?;
        for held in &generation.bottles {
            let bytes = objects
                .get(&held.blob_key())
                .unwrap_or_else(|| panic!("{} is gone", held.blob_key()));
            assert_eq!(bytes.len() as u64, held.size);
            assert!(
                generation.manifests.contains_key(&held.manifest_key()),
                "{held:?}"
            );
        }
        for (key, entry) in &generation.manifests {
            log::read_file(&self.store, key, entry)
                .await
                .unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        for (path, entry) in &generation.api {
            let key = format!("api/{path}");
            log::read_file(&self.store, &key, &entry.file)
                .await
                .unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        Some(generation)
    }

    /// Checks what a client of plain static files meets: whatever the packages file under its name lists of the formulae is there.
    pub fn check_static(&self, formulae: &[&str]) {
        let objects = self.handle.objects();
        let Some(file) = objects.get("api/internal/packages.x86_64_linux.jws.json") else {
            return;
        };
        let envelope = bottles::api::jws::Envelope::parse(file).expect("an envelope");
        let platform = "x86_64_linux".parse().expect("a platform");
        let catalogue =
            bottles::api::packages::read(&envelope.payload, &platform).expect("it is read");
        for name in formulae {
            let bottle = catalogue.offers[*name]
                .bottle
                .clone()
                .expect("it has a bottle");
            let key = bottles::names::blob_key(&bottle.formula, &bottle.sha256);
            assert!(objects.contains_key(&key), "{key} is listed and not there");
            let tag = bottles::names::manifest_tag(&bottle.version, bottle.rebuild);
            let key = bottles::names::manifest_key(&bottle.formula, &tag);
            let manifest = objects
                .get(&key)
                .unwrap_or_else(|| panic!("{key} is asked for and not there"));
            let index = bottles::manifest::Index::parse(manifest).expect("an index");
            index.size_of(&bottle).expect("the manifest names it");
        }
    }

    /// Checks that once nobody is at work the files under their names are exactly those of the current generation.
    pub async fn check_files(&self) -> Generation {
        let generation = self.check().await.expect("something is published");
        let objects = self.handle.objects();
        let api = generation.api.iter();
        let api = api.map(|(path, entry)| (format!("api/{path}"), entry.file.sha256));
        let manifests = generation.manifests.iter();
        let manifests = manifests.map(|(key, entry)| (key.clone(), entry.sha256));
        for (key, sha256) in api.chain(manifests) {
            let there = objects.get(&key).map(|bytes| Digest::of(bytes));
            assert_eq!(there, Some(sha256), "{key}");
        }
        generation
    }

    /// Checks the files, and that the hash file says the same.
    pub async fn check_settled(&self) -> Generation {
        let generation = self.check_files().await;
        let expected = HashFile::of(&generation, None, Timestamp::UNIX_EPOCH);
        let names = |file: &HashFile| file.bottles.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&self.hash_file()), names(&expected));
        generation
    }

    pub fn hash_file(&self) -> HashFile {
        let objects = self.handle.objects();
        HashFile::parse(&objects[bottles::hashfile::KEY]).expect("the hash file is read")
    }

    /// All that a store holds.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.handle.objects()
    }
}
