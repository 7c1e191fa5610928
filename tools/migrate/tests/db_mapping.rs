//! The worked examples of mappings, each against tables as the application has them.
//!
//! What must hold: an example works as printed: every file with a row is planned once, from where it is to the key that the
//! application will ask for, and the rows stay as they are.

use futures::StreamExt;
use migrate::audit::{AuditOptions, audit};
use migrate::db::{Database, DatabaseOptions, open_database};
use migrate::ledger::DbLedger;
use migrate::mapping::Mapping;
use migrate::plan::{Direction, PlanOptions, Planner};
use migrate::reconcile::{ReconcileOptions, reconcile};
use migrate::resolve::{Paths, Symlinks};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use transfer::{Exception, Item, Ledger, Outcome};

async fn open(url: &str, mapping: &Mapping) -> Arc<dyn Database> {
    let options = DatabaseOptions {
        timeout: Duration::from_secs(30),
        runner: "test".to_owned(),
    };
    open_database(url, &options, mapping)
        .await
        .expect("the database opens")
}

fn example(name: &str) -> Arc<Mapping> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    Arc::new(Mapping::from_file(&path).expect("the example is a mapping"))
}

fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

/// An application's database and files, with an empty bucket.
struct Scene {
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    bucket: Store,
}

impl Scene {
    async fn new(db: Arc<dyn Database>, mapping: Arc<Mapping>, root: &Path) -> Scene {
        let paths = Arc::new(Paths {
            upload: root.display().to_string(),
            base: "/".into(),
            maps: Vec::new(),
            symlinks: Symlinks::Inside,
        });
        let url = "memory:".parse().expect("a store URL");
        let (tuning, env) = (store::Tuning::default(), store::Environment::default());
        let bucket = Store::open(&url, &tuning, &env).await.expect("memory");
        Scene {
            db,
            mapping,
            paths,
            bucket,
        }
    }

    async fn plan(&self, direction: Direction) -> Vec<Item> {
        let options = PlanOptions {
            direction,
            ..PlanOptions::default()
        };
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        let planner = Planner::new(db, mapping, paths, options);
        let items = planner
            .stream()
            .map(|item| item.expect("an item"))
            .collect()
            .await;
        let notes = planner.notes();
        assert_eq!((notes.exception_count, notes.legacy), (0, 0));
        items
    }

    async fn exceptions(&self) -> Vec<Exception> {
        let options = ReconcileOptions::default();
        let drawn = reconcile(
            &*self.db,
            &self.mapping,
            &self.paths,
            &self.bucket,
            &options,
        )
        .await;
        drawn.expect("a balance").exceptions
    }

    /// Copies files; returns the media type of each key.
    async fn copy(&self, items: &[Item]) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        for blob in items.iter().flat_map(|item| &item.blobs) {
            let bytes = fs::read(&blob.source).expect("a file");
            assert!(blob.size.is_none_or(|size| size == bytes.len() as u64));
            self.bucket
                .put(&blob.key, bytes.into())
                .await
                .expect("an object");
            keys.insert(
                blob.key.clone(),
                blob.attributes.content_type.clone().unwrap_or_default(),
            );
        }
        keys
    }

    /// The rows never change, so every way is done already.
    async fn switch_both_ways(&self, items: &[Item]) {
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        let ledger = DbLedger::new(db, mapping, paths);
        for way in [ledger.commit(items).await, ledger.revert(items).await] {
            assert!(
                way.expect("an answer")
                    .iter()
                    .all(|outcome| *outcome == Outcome::AlreadyDone)
            );
        }
        assert!(
            ledger
                .is_switched(items)
                .await
                .expect("an answer")
                .iter()
                .all(|may| *may)
        );
    }
}

/// Plans, copies and switches, then looks whether everything balances, forward and back.
async fn move_everything(
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    root: &Path,
) -> BTreeMap<String, String> {
    let scene = Scene::new(db, mapping, root).await;
    let items = scene.plan(Direction::LocalToS3).await;
    assert_eq!(
        scene.exceptions().await.len(),
        items.len(),
        "nothing is there yet"
    );
    let keys = scene.copy(&items).await;
    // Where keys begin anyhow, our own journals lie among them.
    let journal = scene.bucket.put(".syncline/migrations/1/1", "x".into());
    journal.await.expect("an object");
    scene.switch_both_ways(&items).await;
    assert_eq!(scene.exceptions().await, []);
    let options = AuditOptions {
        hash: true,
        bucket: Some(scene.bucket.clone()),
        ..AuditOptions::default()
    };
    let report = audit(&*scene.db, &scene.mapping, &scene.paths, &options)
        .await
        .expect("an audit");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let back = scene.plan(Direction::S3ToLocal).await;
    for item in &back {
        assert_eq!(
            item.blobs[0].source, item.blobs[0].key,
            "below the upload path it has the key's name"
        );
        let change = &item.context["changes"][0];
        assert_eq!(change["old"], change["new"], "no row changes");
    }
    assert_eq!(back.len(), items.len());
    keys
}

#[tokio::test]
async fn papra_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("documents");
    let file = folder.path().join("db.sqlite");
    let database = rusqlite::Connection::open(&file).expect("a database");
    let content = b"a letter";
    let digest = transfer::Digest::of(content);
    database
        .execute_batch(&format!(
            "CREATE TABLE documents (id TEXT PRIMARY KEY NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, \
             organization_id TEXT NOT NULL, created_by TEXT, original_name TEXT NOT NULL, original_size INTEGER NOT NULL DEFAULT 0, \
             original_storage_key TEXT NOT NULL, original_sha256_hash TEXT NOT NULL, name TEXT NOT NULL, mime_type TEXT NOT NULL); \
             INSERT INTO documents VALUES ('doc_1', 1735689600000, 1735689600000, 'org_a', NULL, 'letter.pdf', 8, \
             'org_a/originals/doc_1.pdf', '{digest}', 'letter', 'application/pdf'), \
             ('doc_2', 1735689600000, 1735689600000, 'org_a', 'usr_1', 'Ä letter', 8, \
             'org_a/originals/Ä letter', '{digest}', 'letter', 'application/x-letter')"
        ))
        .expect("the tables");
    write(&root, "org_a/originals/doc_1.pdf", content);
    write(&root, "org_a/originals/Ä letter", content);
    let mapping = example("papra.toml");
    let db = open(&format!("sqlite:{}", file.display()), &mapping).await;
    let keys = move_everything(db, mapping, &root).await;
    assert_eq!(keys["org_a/originals/doc_1.pdf"], "application/pdf");
    assert_eq!(keys["org_a/originals/Ä letter"], "application/x-letter");
}

#[tokio::test]
async fn mattermost_on_postgresql() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    let database = testkit::Postgres::shared().database();
    let place = "20250101/teams/noteam/channels/c1/users/u1/f1";
    database.sql(&format!(
        "CREATE TABLE fileinfo (id varchar(26) PRIMARY KEY, creatorid varchar(26), postid varchar(26), createat bigint, \
         path varchar(512), thumbnailpath varchar(512), previewpath varchar(512), name varchar(256), extension varchar(64), \
         size bigint, mimetype varchar(256)); \
         INSERT INTO fileinfo VALUES \
         ('f1', 'u1', 'p1', 1735689600000, '{place}/cat.png', '{place}/cat_thumb.jpg', '{place}/cat_preview.jpg', 'cat.png', 'png', 5, 'image/png'), \
         ('f2', 'u1', NULL, 1735689600001, '{place}/it''s a note.txt', '', NULL, 'it''s a note.txt', 'txt', 4, 'text/plain')"
    ));
    write(&root, &format!("{place}/cat.png"), b"a cat");
    write(&root, &format!("{place}/cat_thumb.jpg"), b"small");
    write(&root, &format!("{place}/cat_preview.jpg"), b"middle");
    write(&root, &format!("{place}/it's a note.txt"), b"note");
    let mapping = example("mattermost.toml");
    let db = open(&database.url(), &mapping).await;
    let keys = move_everything(db, mapping, &root).await;
    assert_eq!(keys.len(), 4);
    assert_eq!(keys[&format!("{place}/it's a note.txt")], "text/plain");
}
