//! The engine over plan and ledger, with PostgreSQL, Readur's tables and every trap: there, away from the disk, and back.
//!
//! What must hold: after a rollback tree, tables and bucket equal the start; no document's bytes are unreachable at any time.
//! What it deliberately does not do: S3 and crashes, which the command's own tests have.

use migrate::db::{Database, DatabaseOptions, open_database};
use migrate::ledger::DbLedger;
use migrate::listing::Listing;
use migrate::mapping::Mapping;
use migrate::plan::{Direction, PlanOptions, Planner};
use migrate::reconcile::{ReconcileOptions, reconcile};
use migrate::resolve::{PathMap, Paths, Symlinks};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::readur::{self, Expect, Fleet, FleetOptions, Snapshot, Trap};
use transfer::{
    Engine, EngineParts, Files, Journal, Limits, Objects, Proof, RemoveOptions, Report,
    RollbackOptions, RunHeader, Silent, Source, Steps, StopSignal,
};

struct Scene {
    fleet: Fleet,
    traps: Vec<Trap>,
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    bucket: Store,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new(seed: u64) -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let database = testkit::Postgres::shared().database();
        readur::install(&database);
        let options = FleetOptions {
            seed,
            documents: 40,
            shown: Some("/app/uploads".to_owned()),
            ..FleetOptions::default()
        };
        let mut fleet = Fleet::build(&database, folder.path(), &options);
        let (traps, objects) = fleet.traps();
        let bucket = open_folder(&folder.path().join("bucket"));
        for (key, content) in objects {
            bucket.put(&key, content.into()).await.expect("an object");
        }
        let mapping = Arc::new(Mapping::readur());
        let options = DatabaseOptions {
            timeout: Duration::from_secs(30),
            runner: "test".to_owned(),
        };
        let db = open_database(&database.url(), &options, &mapping)
            .await
            .expect("the database opens");
        let paths = Arc::new(Paths {
            upload: "/app/uploads".to_owned(),
            base: PathBuf::from("/"),
            maps: vec![PathMap {
                from: "/app/uploads".to_owned(),
                to: fleet.uploads.clone(),
            }],
            symlinks: Symlinks::Inside,
        });
        Scene {
            fleet,
            traps,
            db,
            mapping,
            paths,
            bucket,
            folder,
        }
    }

    /// Tree, tables and bucket, without what the tool keeps of its own.
    fn state(&self) -> [Snapshot; 3] {
        let bucket = Snapshot::tree(&self.folder.path().join("bucket"));
        [
            Snapshot::tree(&self.fleet.uploads),
            Snapshot::tables(&self.fleet.database),
            // Folders that are empty again are no objects.
            bucket.without(|name| !self.is_object(name)),
        ]
    }

    fn is_object(&self, name: &str) -> bool {
        self.folder.path().join("bucket").join(name).is_file()
    }

    fn engine(&self, name: &str, source: Arc<dyn Source>, target: Store) -> Engine {
        let path = self.folder.path().join(format!("{name}.journal"));
        let journal = if path.exists() {
            Journal::open(&path)
        } else {
            let header = RunHeader {
                run_id: name.to_owned(),
                tool: "test".to_owned(),
                version: "0".to_owned(),
                started: jiff::Timestamp::UNIX_EPOCH,
                parameters: serde_json::Value::Null,
            };
            Journal::create(&path, header)
        };
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        Engine::new(EngineParts {
            journal: journal.expect("a journal"),
            source,
            target,
            ledger: Arc::new(DbLedger::new(db, mapping, paths)),
            limits: Limits {
                batch: 16,
                ..Limits::default()
            },
            proof: Proof::ReadBack,
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
            mirror: None,
            keepers: transfer::Keepers::default(),
            prefixes: Vec::new(),
            steps: Steps::all(),
        })
    }

    fn forward(&self) -> Engine {
        self.engine("forward", Arc::new(Files::new()), self.bucket.clone())
    }

    fn planner(&self, options: PlanOptions) -> Planner {
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        Planner::new(db, mapping, paths, options)
    }

    async fn migrate(&self) -> Report {
        let plan = self.planner(PlanOptions::default()).stream();
        self.forward().run(plan).await.expect("a run")
    }

    /// Where the traps are that cannot be moved, by the names of their rows.
    fn stay(&self) -> Vec<String> {
        let stays = |trap: &&Trap| matches!(trap.expect, Expect::Stays(_));
        let name = |trap: &Trap| format!("{}/{}", trap.table, trap.id);
        self.traps.iter().filter(stays).map(name).collect()
    }

    async fn left(&self, direction: Direction) -> Vec<String> {
        let options = ReconcileOptions {
            direction,
            ..ReconcileOptions::default()
        };
        let drawn = reconcile(
            &*self.db,
            &self.mapping,
            &self.paths,
            &self.bucket,
            &options,
        )
        .await;
        let exceptions = drawn.expect("a balance").exceptions;
        let mut names: Vec<String> = exceptions.into_iter().map(|found| found.item).collect();
        names.sort();
        names
    }
}

fn open_folder(path: &Path) -> Store {
    std::fs::create_dir_all(path).expect("a folder");
    Store::plain_folder(path)
}

fn assert_same(before: &[Snapshot; 3], after: &[Snapshot; 3]) {
    for (n, what) in ["tree", "tables", "bucket"].into_iter().enumerate() {
        before[n].assert_same(&after[n], what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_moves_all_that_can_be_moved_and_a_rollback_restores_the_start() {
    let scene = Scene::new(21).await;
    let before = scene.state();
    let report = scene.migrate().await;
    before[0].assert_same(&scene.state()[0], "a migration touches no file");
    let mut expected = scene.stay();
    let lost = ["not-in-the-bucket", "no-path"];
    let lost = scene.traps.iter().filter(|trap| lost.contains(&trap.name));
    expected.extend(lost.map(|trap| format!("documents/{}", trap.id)));
    expected.sort();
    assert_eq!(scene.left(Direction::LocalToS3).await, expected);
    for trap in &scene.traps {
        if let Expect::Moves { key } = &trap.expect {
            let bytes = scene.bucket.get(key).await.expect(trap.name);
            assert_eq!(Some(bytes.to_vec()), trap.content, "{}", trap.name);
        }
    }
    assert!(report.committed > 60, "{report:?}");
    let again = scene.migrate().await;
    assert_eq!((again.committed, again.stored), (0, 0), "{again:?}");
    let undone = scene.forward().rollback(RollbackOptions::default()).await;
    let undone = undone.expect("a rollback");
    assert_eq!(undone.reverted, report.committed, "{undone:?}");
    assert_same(&before, &scene.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_may_go_later_and_a_rollback_brings_them_back() {
    let scene = Scene::new(22).await;
    let before = scene.state();
    scene.migrate().await;
    let removed = scene
        .forward()
        .remove_sources(RemoveOptions::default())
        .await;
    let removed = removed.expect("a removal");
    assert!(removed.sources_removed > 60, "{removed:?}");
    let document = &scene.fleet.documents[0];
    assert!(!document.file.exists());
    scene
        .forward()
        .rollback(RollbackOptions::default())
        .await
        .expect("a rollback");
    assert_same(&before, &scene.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_to_disk_needs_no_journal() {
    let scene = Scene::new(23).await;
    let before = scene.state();
    scene.migrate().await;
    scene
        .forward()
        .remove_sources(RemoveOptions::default())
        .await
        .expect("a removal");
    let objects = Listing::read(&scene.bucket, &[]).await.expect("a listing");
    let disk = open_folder(&scene.fleet.uploads);
    let mut back = scene.engine("back", Arc::new(Objects::new(scene.bucket.clone())), disk);
    let options = PlanOptions {
        direction: Direction::S3ToLocal,
        objects: Some(Arc::new(objects)),
        ..PlanOptions::default()
    };
    back.run(scene.planner(options).stream())
        .await
        .expect("a run");
    let tree = Snapshot::tree(&scene.fleet.uploads);
    for document in &scene.fleet.documents {
        let name = document
            .file
            .strip_prefix(&scene.fleet.uploads)
            .expect("it is below");
        let content = std::fs::read(&document.file).expect("it is back");
        assert_eq!(content.len() as u64, document.size, "{name:?}");
    }
    let paths = "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'";
    assert_eq!(
        scene.fleet.database.sql(paths).trim(),
        "1",
        "one names an object that is not there"
    );
    assert!(tree.len() + 10 > before[0].len());
}
