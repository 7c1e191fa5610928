//! Runs, rollbacks and removals that end at every step in turn, over SQLite: going on finishes, going back restores.
//!
//! What must hold: tree, tables and bucket equal those of an uninterrupted run, or the start, byte for byte.
//! What it deliberately does not do: kill a process; the command's own tests do.

use migrate::db::{DatabaseOptions, open_database};
use migrate::ledger::DbLedger;
use migrate::mapping::Mapping;
use migrate::plan::{PlanOptions, Planner};
use migrate::resolve::{PathMap, Paths, Symlinks};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::readur::Snapshot;
use transfer::{
    Engine, EngineParts, Files, Journal, Limits, Proof, RemoveOptions, RollbackOptions, RunError,
    RunErrorKind, RunHeader, Silent, Steps, StopSignal,
};

const USER: &str = "11111111-1111-4111-8111-111111111111";

/// What is done to a scene.
#[derive(Clone, Copy, Debug)]
enum Act {
    Run,
    Rollback,
    Remove,
}

/// An application in a folder of its own.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// Four documents: one with a thumbnail and rows that repeat its path, two on one file, one without a file.
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("documents/a.txt", "first"),
            ("documents/b.txt", "second"),
            ("documents/g.txt", "only a failed document knows it"),
            ("thumbnails/a_thumb.jpg", "small"),
        ] {
            let path = folder.path().join("up").join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        fs::create_dir(folder.path().join("bucket")).expect("a folder");
        let database =
            rusqlite::Connection::open(folder.path().join("app.db")).expect("a database");
        database
            .execute_batch(&format!(
                "CREATE TABLE documents (id TEXT PRIMARY KEY, file_path TEXT, user_id TEXT, created_at TEXT, filename TEXT, \
                 file_size INTEGER); \
                 CREATE TABLE failed_documents (id TEXT PRIMARY KEY, file_path TEXT, original_path TEXT, user_id TEXT, \
                 created_at TEXT, filename TEXT); \
                 INSERT INTO documents VALUES \
                 ('a', '/up/documents/a.txt', '{USER}', '2024-05-06 07:08:09', 'a.txt', 5), \
                 ('b', '/up/documents/b.txt', NULL, '2024-05-06 07:08:09', 'b.txt', 6), \
                 ('c', '/up/documents/b.txt', NULL, '2024-05-06 07:08:09', 'b.txt', 6), \
                 ('d', '/up/documents/lost.txt', NULL, '2024-05-06 07:08:09', 'lost.txt', 6); \
                 INSERT INTO failed_documents VALUES \
                 ('f', '/up/documents/a.txt', '/up/documents/a.txt', '{USER}', NULL, 'a.txt'), \
                 ('g', '/up/documents/g.txt', NULL, NULL, NULL, 'g.txt')"
            ))
            .expect("the tables");
        Scene { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The start, with new files in new places.
    fn state(&self) -> String {
        let tree = Snapshot::tree(&self.at("up")).without(|name| self.at("up").join(name).is_dir());
        let files: Vec<String> = tree
            .names()
            .map(|name| format!("{name} {}", content(&self.at("up").join(name))))
            .collect();
        let bucket = Snapshot::tree(&self.at("bucket"));
        let objects: Vec<String> = bucket
            .names()
            .filter(|name| self.at("bucket").join(name).is_file())
            .map(|name| format!("{name} {}", content(&self.at("bucket").join(name))))
            .collect();
        format!(
            "{}\n{}\n{}",
            files.join("\n"),
            objects.join("\n"),
            self.rows()
        )
    }

    fn rows(&self) -> String {
        let database = rusqlite::Connection::open(self.at("app.db")).expect("the database opens");
        let sql = "SELECT group_concat(line, char(10)) FROM (SELECT id || ' ' || file_path AS line FROM documents \
                   UNION ALL SELECT id || ' ' || file_path || ' ' || coalesce(original_path, '') FROM failed_documents ORDER BY 1)";
        database.query_row(sql, [], |row| row.get(0)).expect("rows")
    }

    /// Does something, which ends early at a step; says whether it came to its end. Each time is a process of its own, as far
    /// as one process can play that: dropping the runtime waits for what still works in the background.
    fn act(&self, act: Act, steps: Steps) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let done = runtime.block_on(async {
            let (mut engine, planner) = self.engine(steps).await;
            match act {
                Act::Run => engine.run(planner.stream()).await,
                Act::Rollback => engine.rollback(RollbackOptions::default()).await,
                Act::Remove => engine.remove_sources(RemoveOptions::default()).await,
            }
        });
        drop(runtime);
        let crashed = |error: &RunError| error.kind() == RunErrorKind::Crash;
        match done {
            Ok(_) => true,
            Err(error) if crashed(&error) => false,
            Err(error) => panic!("{act:?}: {error}: {:?}", std::error::Error::source(&error)),
        }
    }

    async fn engine(&self, steps: Steps) -> (Engine, Planner) {
        let mapping = Arc::new(Mapping::readur());
        let options = DatabaseOptions {
            timeout: Duration::from_secs(10),
            runner: "test".to_owned(),
        };
        let url = format!("sqlite:{}", self.at("app.db").display());
        let db = open_database(&url, &options, &mapping)
            .await
            .expect("the database opens");
        let paths = Arc::new(Paths {
            upload: "/up".to_owned(),
            base: PathBuf::from("/"),
            maps: vec![PathMap {
                from: "/up".to_owned(),
                to: self.at("up"),
            }],
            symlinks: Symlinks::Inside,
        });
        let ledger = DbLedger::new(Arc::clone(&db), Arc::clone(&mapping), Arc::clone(&paths));
        let planner = Planner::new(db, mapping, paths, PlanOptions::default());
        let engine = Engine::new(EngineParts {
            journal: open_journal(&self.at("run.journal")),
            source: Arc::new(Files::new()),
            target: Store::plain_folder(&self.at("bucket")),
            ledger: Arc::new(ledger),
            limits: Limits {
                batch: 2,
                parallel: 1,
                ..Limits::default()
            },
            proof: Proof::ReadBack,
            observer: Arc::new(Silent),
            stop: StopSignal::new(),
            mirror: None,
            keepers: transfer::Keepers::default(),
            prefixes: Vec::new(),
            steps,
        });
        (engine, planner)
    }
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

fn open_journal(path: &Path) -> Journal {
    if path.exists() {
        return Journal::open(path).expect("the journal opens");
    }
    let header = RunHeader {
        run_id: "run".to_owned(),
        tool: "test".to_owned(),
        version: "0".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
        parameters: serde_json::Value::Null,
    };
    Journal::create(path, header).expect("a journal")
}

/// Prepares a scene by `before`, ends `act` at each step in turn, does `after`, and compares.
fn at_every_step(before: &[Act], act: Act, after: &[Act], expected: &str) {
    for step in 1.. {
        let scene = Scene::new();
        for act in before {
            assert!(scene.act(*act, Steps::all()));
        }
        let ended = scene.act(act, Steps::fail_at(step));
        for act in after {
            assert!(scene.act(*act, Steps::all()));
        }
        assert_eq!(
            scene.state(),
            expected,
            "{act:?} ended at step {step}, then {after:?}"
        );
        if ended {
            assert!(step > 5, "{act:?} has steps");
            return;
        }
        assert!(step < 1000, "it never ends");
    }
}

/// The state after some acts that nothing interrupts.
fn uninterrupted(acts: &[Act]) -> String {
    let scene = Scene::new();
    for act in acts {
        assert!(scene.act(*act, Steps::all()));
    }
    scene.state()
}

#[test]
fn a_run_that_ends_anywhere_can_be_finished_and_undone() {
    let (start, end) = (uninterrupted(&[]), uninterrupted(&[Act::Run]));
    assert!(
        start.contains("c /up/documents/b.txt") && end.contains("c s3://documents/"),
        "{end}"
    );
    at_every_step(&[], Act::Run, &[Act::Run], &end);
    at_every_step(&[], Act::Run, &[Act::Rollback], &start);
}

#[test]
fn a_rollback_that_ends_anywhere_can_be_finished() {
    let start = uninterrupted(&[]);
    at_every_step(&[Act::Run], Act::Rollback, &[Act::Rollback], &start);
}

#[test]
fn a_removal_that_ends_anywhere_can_be_finished_and_undone() {
    let (start, end) = (uninterrupted(&[]), uninterrupted(&[Act::Run, Act::Remove]));
    assert!(
        !end.contains("documents/a.txt first\n"),
        "the source is gone: {end}"
    );
    at_every_step(&[Act::Run], Act::Remove, &[Act::Remove], &end);
    at_every_step(&[Act::Run], Act::Remove, &[Act::Rollback], &start);
    at_every_step(
        &[Act::Run, Act::Remove],
        Act::Rollback,
        &[Act::Rollback],
        &start,
    );
}
