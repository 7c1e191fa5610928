//! The plan's options, on a small database.

use super::*;
use crate::db::{DatabaseOptions, open_database};
use crate::resolve::Symlinks;
use std::path::PathBuf;
use std::time::Duration;

const ALICE: &str = "11111111-1111-4111-8111-111111111111";

/// Two documents on disk and one in the bucket, with an image that is not as long as its row says.
struct Scene {
    folder: tempfile::TempDir,
    db: Arc<dyn Database>,
}

impl Scene {
    async fn new() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("app.db");
        let database = rusqlite::Connection::open(&file).expect("a database");
        database
            .execute_batch(&format!(
                "CREATE TABLE documents (id TEXT PRIMARY KEY, file_path TEXT, user_id TEXT, created_at TEXT, filename TEXT, \
                 file_size INTEGER, file_hash TEXT, mime_type TEXT); \
                 CREATE TABLE failed_documents (id TEXT PRIMARY KEY, file_path TEXT, original_path TEXT, user_id TEXT, \
                 created_at TEXT, filename TEXT); \
                 INSERT INTO documents VALUES \
                 ('a', '/up/documents/a.txt', '{ALICE}', '2024-05-06 07:08:09', 'a.txt', 5, NULL, 'text/plain'), \
                 ('b', '/up/documents/b.jpg', NULL, '2024-05-06 07:08:09', 'b.jpg', 99, NULL, 'image/jpeg'), \
                 ('c', 's3://documents/x/2024/05/c.txt', '{ALICE}', '2024-05-06 07:08:09', 'c.txt', 7, NULL, 'text/plain'); \
                 INSERT INTO failed_documents VALUES \
                 ('f', '/up/documents/a.txt', '/up/documents/a.txt', '{ALICE}', NULL, 'a.txt'), \
                 ('g', '/up/documents/g.txt', '/up/documents/g.txt', NULL, NULL, 'g.txt'), \
                 ('h', '/up/documents/g.txt', NULL, NULL, NULL, 'g.txt')"
            ))
            .expect("the tables");
        for name in ["a.txt", "b.jpg", "g.txt"] {
            let path = folder.path().join("up/documents").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, name).expect("a file");
        }
        let options = DatabaseOptions {
            timeout: Duration::from_secs(5),
            runner: "test".to_owned(),
        };
        let url = format!("sqlite:{}", file.display());
        let db = open_database(&url, &options, &Mapping::readur())
            .await
            .expect("it opens");
        Scene { folder, db }
    }

    async fn plan(&self, options: PlanOptions) -> (Vec<Item>, Notes) {
        let root = self.folder.path().join("up");
        let paths = Paths {
            upload: "/up".to_owned(),
            base: PathBuf::from("/"),
            maps: vec![crate::resolve::PathMap {
                from: "/up".to_owned(),
                to: root,
            }],
            symlinks: Symlinks::Inside,
        };
        let mapping = Arc::new(Mapping::readur());
        let planner = Planner::new(Arc::clone(&self.db), mapping, Arc::new(paths), options);
        let items = planner
            .stream()
            .map(|item| item.expect("an item"))
            .collect()
            .await;
        (items, planner.notes())
    }
}

fn ids(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

fn changes(item: &Item) -> Vec<String> {
    let context: Context = serde_json::from_value(item.context.clone()).expect("a context");
    context
        .changes
        .iter()
        .map(|change| format!("{change}: {} -> {}", change.old, change.new))
        .collect()
}

#[tokio::test]
async fn rows_that_repeat_a_path_are_in_the_item_of_the_first() {
    let scene = Scene::new().await;
    let (items, notes) = scene.plan(PlanOptions::default()).await;
    assert_eq!(
        ids(&items),
        ["documents/a", "documents/b", "failed_documents/g"]
    );
    let new = format!("s3://documents/{ALICE}/2024/05/a.txt");
    let old = "/up/documents/a.txt";
    assert_eq!(
        changes(&items[0]),
        [
            format!("documents.file_path of a: {old} -> {new}"),
            format!("failed_documents.file_path of f: {old} -> {new}"),
            format!("failed_documents.original_path of f: {old} -> {new}"),
        ]
    );
    assert_eq!(changes(&items[2]).len(), 3, "g's other column and h");
    assert_eq!((notes.rows, notes.items, notes.followers), (3, 3, 4));
    assert_eq!(
        notes.total(),
        Estimate {
            files: 3,
            bytes: 15
        }
    );
    // The picture was turned upright after its length was noted.
    assert_eq!(
        (
            notes.warning_count,
            notes.wrong_size,
            items[1].blobs[0].size
        ),
        (1, 0, None)
    );
    assert_eq!(items[0].blobs[0].size, Some(5));
}

#[tokio::test]
async fn the_same_plan_is_made_every_time() {
    let scene = Scene::new().await;
    let (first, _) = scene.plan(PlanOptions::default()).await;
    let (second, _) = scene.plan(PlanOptions::default()).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn options_narrow_and_dress_the_plan() {
    let scene = Scene::new().await;
    let options = PlanOptions {
        user: Some(ALICE.to_owned()),
        any_content: true,
        storage_class: Some("STANDARD_IA".to_owned()),
        ..PlanOptions::default()
    };
    let (items, _) = scene.plan(options).await;
    assert_eq!(ids(&items), ["documents/a"]);
    let blob = &items[0].blobs[0];
    assert_eq!(blob.size, None);
    assert_eq!(
        blob.attributes.storage_class.as_deref(),
        Some("STANDARD_IA")
    );
    assert_eq!(blob.attributes.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn other_directions_start_from_the_bucket() {
    let scene = Scene::new().await;
    let thumbnail = format!("thumbnails/{ALICE}/c_thumb.jpg");
    let there = Arc::new([(thumbnail.as_str(), 9)].into_iter().collect::<Listing>());
    let plan = |direction| PlanOptions {
        direction,
        objects: Some(Arc::clone(&there)),
        ..PlanOptions::default()
    };
    let (back, _) = scene.plan(plan(Direction::S3ToLocal)).await;
    assert_eq!(ids(&back), ["documents/c"]);
    assert_eq!(
        changes(&back[0]),
        ["documents.file_path of c: s3://documents/x/2024/05/c.txt -> /up/documents/c.txt"]
    );
    let ends: Vec<_> = back[0]
        .blobs
        .iter()
        .map(|blob| (blob.source.as_str(), blob.key.as_str()))
        .collect();
    assert_eq!(
        ends,
        [
            ("documents/x/2024/05/c.txt", "documents/c.txt"),
            (thumbnail.as_str(), "thumbnails/c_thumb.jpg")
        ]
    );
    let (across, _) = scene.plan(plan(Direction::S3ToS3)).await;
    let blob = &across[0].blobs[0];
    assert_eq!(
        (blob.source.as_str(), blob.key.as_str()),
        ("documents/x/2024/05/c.txt", "documents/x/2024/05/c.txt")
    );
    assert_eq!(across[0].blobs.len(), 2);
    let stays = "s3://documents/x/2024/05/c.txt";
    assert_eq!(
        changes(&across[0]),
        [format!("documents.file_path of c: {stays} -> {stays}")]
    );
}
