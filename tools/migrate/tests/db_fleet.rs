//! Plan, ledger, audit and balance against PostgreSQL with Readur's tables, and every trap of the fleet.
//!
//! What must hold: each document and trap comes out as the fleet expects; taking everything back leaves equal tables.
//! What it deliberately does not do: copy. What the engine would do to a file is played by a few lines here.

use bytes::Bytes;
use futures::StreamExt;
use migrate::audit::{AuditOptions, AuditReport, FindingKind, audit};
use migrate::db::{Database, DatabaseOptions, open_database};
use migrate::ledger::DbLedger;
use migrate::mapping::Mapping;
use migrate::plan::{Direction, Notes, PlanOptions, Planner};
use migrate::reconcile::{Balance, ReconcileOptions, reconcile};
use migrate::resolve::{PathMap, Paths, Symlinks};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::readur::{self, Expect, Flaw, Fleet, FleetOptions, Snapshot, Trap};
use transfer::{Digest, Item, Ledger, Outcome};

/// A fleet with traps, opened as the tool opens it.
struct Scene {
    fleet: Fleet,
    traps: Vec<Trap>,
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    bucket: Store,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// The rows say `/app/uploads`, which is a scratch folder here.
    async fn new(seed: u64) -> Scene {
        Scene::of(seed, 60).await
    }

    async fn of(seed: u64, documents: usize) -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let database = testkit::Postgres::shared().database();
        readur::install(&database);
        let options = FleetOptions {
            seed,
            documents,
            shown: Some("/app/uploads".to_owned()),
            ..FleetOptions::default()
        };
        let mut fleet = Fleet::build(&database, folder.path(), &options);
        let (traps, objects) = fleet.traps();
        let url = "memory:".parse().expect("a store URL");
        let (tuning, env) = (store::Tuning::default(), store::Environment::default());
        let bucket = Store::open(&url, &tuning, &env).await.expect("memory");
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
        let paths = Paths {
            upload: "/app/uploads".to_owned(),
            base: PathBuf::from("/"),
            maps: vec![PathMap {
                from: "/app/uploads".to_owned(),
                to: fleet.uploads.clone(),
            }],
            symlinks: Symlinks::Inside,
        };
        Scene {
            fleet,
            traps,
            db,
            mapping,
            paths: Arc::new(paths),
            bucket,
            _folder: folder,
        }
    }

    async fn plan(&self, options: PlanOptions) -> (Vec<Item>, Notes) {
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        let planner = Planner::new(db, mapping, paths, options);
        let items: Vec<_> = planner.stream().collect().await;
        let items = items
            .into_iter()
            .map(|item| item.expect("an item"))
            .collect();
        (items, planner.notes())
    }

    fn ledger(&self) -> DbLedger {
        let (db, mapping, paths) = (
            Arc::clone(&self.db),
            Arc::clone(&self.mapping),
            Arc::clone(&self.paths),
        );
        DbLedger::new(db, mapping, paths)
    }

    /// Copies what the engine would copy, and switches it over.
    async fn migrate(&self) -> Vec<Item> {
        let (items, _) = self.plan(PlanOptions::default()).await;
        let good: Vec<Item> = items
            .into_iter()
            .filter(|item| trouble(item).is_none())
            .collect();
        for blob in good.iter().flat_map(|item| &item.blobs) {
            let bytes = Bytes::from(fs::read(&blob.source).expect("a file"));
            self.bucket.put(&blob.key, bytes).await.expect("an object");
        }
        let ledger = self.ledger();
        for batch in good.chunks(50) {
            let outcomes = ledger.commit(batch).await.expect("a commit");
            assert!(
                outcomes.iter().all(|outcome| *outcome == Outcome::Done),
                "{outcomes:?}"
            );
        }
        good
    }

    async fn audit(&self, hash: bool) -> AuditReport {
        let options = AuditOptions {
            hash,
            bucket: Some(self.bucket.clone()),
            ..AuditOptions::default()
        };
        audit(&*self.db, &self.mapping, &self.paths, &options)
            .await
            .expect("an audit")
    }

    async fn balance(&self) -> Balance {
        let options = ReconcileOptions::default();
        reconcile(
            &*self.db,
            &self.mapping,
            &self.paths,
            &self.bucket,
            &options,
        )
        .await
        .expect("a balance")
    }

    fn tables(&self) -> Snapshot {
        Snapshot::tables(&self.fleet.database)
    }
}

/// What the engine would have against an item's main blob.
fn trouble(item: &Item) -> Option<Flaw> {
    let blob = &item.blobs[0];
    let Ok(bytes) = fs::read(&blob.source) else {
        return Some(Flaw::Missing);
    };
    if blob.size.is_some_and(|size| size != bytes.len() as u64) {
        return Some(match bytes.len() as u64 {
            0 => Flaw::Empty,
            length if Some(length) < blob.size => Flaw::Truncated,
            _ => Flaw::Differs,
        });
    }
    blob.sha256
        .is_some_and(|digest| digest != Digest::of(&bytes))
        .then_some(Flaw::Differs)
}

fn by_id(items: &[Item]) -> HashMap<&str, &Item> {
    let map: HashMap<&str, &Item> = items.iter().map(|item| (item.id.as_str(), item)).collect();
    assert_eq!(map.len(), items.len(), "ids are unique");
    map
}

#[tokio::test]
async fn every_document_and_every_trap_is_planned_as_expected() {
    let scene = Scene::new(1).await;
    let (items, notes) = scene.plan(PlanOptions::default()).await;
    let planned = by_id(&items);
    for document in &scene.fleet.documents {
        let item = planned[format!("documents/{}", document.id).as_str()];
        assert_eq!(item.blobs[0].key, document.key());
        assert_eq!(PathBuf::from(&item.blobs[0].source), document.file);
        assert_eq!(trouble(item), None, "{}", item.id);
        assert_eq!(
            item.blobs.len() > 1,
            document.thumbnail.is_some(),
            "{}",
            item.id
        );
    }
    for image in &scene.fleet.images {
        let item = planned[format!("processed_images/{}", image.id).as_str()];
        assert_eq!(PathBuf::from(&item.blobs[0].source), image.file);
    }
    for trap in scene.traps.iter().filter(|trap| !trap.table.is_empty()) {
        let id = format!("{}/{}", trap.table, trap.id);
        let item = planned.get(id.as_str());
        let told = notes
            .exceptions
            .iter()
            .find(|exception| exception.item == id);
        match &trap.expect {
            Expect::Moves { key } => {
                let item = item.unwrap_or_else(|| panic!("{} is planned: {told:?}", trap.name));
                assert_eq!(&item.blobs[0].key, key, "{}", trap.name);
                assert_eq!(trouble(item), None, "{}", trap.name);
                assert_eq!(
                    fs::read(&item.blobs[0].source).ok(),
                    trap.content,
                    "{}",
                    trap.name
                );
            }
            Expect::Stays(flaw) => match item {
                Some(item) => assert_eq!(trouble(item), Some(*flaw), "{}", trap.name),
                None => assert!(told.is_some(), "{} is named", trap.name),
            },
            Expect::Kept | Expect::Audited(_) => {
                assert!(item.is_none() && told.is_none(), "{}", trap.name)
            }
        }
    }
    assert_eq!(notes.rows, notes.items + notes.exception_count);
    assert_eq!(notes.items, items.len() as u64);
}

#[tokio::test]
async fn failed_documents_follow_their_document_or_are_items_of_their_own() {
    let scene = Scene::of(2, 500).await;
    let (items, _) = scene.plan(PlanOptions::default()).await;
    let planned = by_id(&items);
    let paths: HashSet<&str> = scene
        .fleet
        .documents
        .iter()
        .map(|document| document.path.as_str())
        .collect();
    let mut seen = [0; 2];
    for failed in &scene.fleet.failed {
        let Some(path) = &failed.path else { continue };
        let own = planned.get(format!("failed_documents/{}", failed.id).as_str());
        let is_copy = paths.contains(path.as_str());
        seen[usize::from(is_copy)] += 1;
        assert_eq!(own.is_none(), is_copy, "{path}");
        if let Some(item) = own {
            assert_eq!(trouble(item), None);
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "the fleet has both: {seen:?}");
}

#[tokio::test]
async fn everything_is_switched_in_all_tables_and_taken_back_to_the_last_column() {
    let scene = Scene::new(3).await;
    let before = scene.tables();
    let moved = scene.migrate().await;
    let after = scene.tables();
    // Nothing but paths may differ, and `updated_at` is a column like any other.
    let sql = "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'";
    let stored: usize = scene
        .fleet
        .database
        .sql(sql)
        .trim()
        .parse()
        .expect("a number");
    let documents = moved
        .iter()
        .filter(|item| item.id.starts_with("documents/"))
        .count();
    assert_eq!(stored, documents + 2, "two traps were there before");
    let stale = "SELECT count(*) FROM failed_documents f JOIN documents d ON f.existing_document_id = d.id \
                 WHERE d.file_path LIKE 's3://%' AND f.file_path LIKE '/app%'";
    assert_eq!(scene.fleet.database.sql(stale).trim(), "0");
    assert_ne!(before, after);
    let ledger = scene.ledger();
    let again = ledger.commit(&moved).await.expect("a commit");
    assert!(again.iter().all(|outcome| *outcome == Outcome::AlreadyDone));
    let may_go = ledger.is_switched(&moved).await.expect("an answer");
    for (item, may) in moved.iter().zip(may_go) {
        let is_link = std::path::Path::new(&item.blobs[0].source).is_symlink();
        assert_eq!(may, !is_link, "{}", item.id);
    }
    let (left, _) = scene.plan(PlanOptions::default()).await;
    assert!(
        left.iter().all(|item| trouble(item).is_some()),
        "only what is damaged is left"
    );
    for batch in moved.chunks(70) {
        let outcomes = ledger.revert(batch).await.expect("a revert");
        assert!(
            outcomes.iter().all(|outcome| *outcome == Outcome::Done),
            "{outcomes:?}"
        );
    }
    before.assert_same(&scene.tables(), "after taking everything back");
    assert!(
        ledger
            .revert(&moved)
            .await
            .expect("a revert")
            .iter()
            .all(|o| *o == Outcome::AlreadyDone)
    );
    assert!(
        ledger
            .is_switched(&moved)
            .await
            .expect("an answer")
            .iter()
            .all(|may| !may)
    );
}

#[tokio::test]
async fn rows_that_the_guides_replace_has_bent_are_mended_by_taking_back() {
    let scene = Scene::new(4).await;
    let before = scene.tables();
    let moved = scene.migrate().await;
    scene.fleet.database.sql(
        "UPDATE documents SET file_path = REPLACE(file_path, 's3://', '/app/uploads/') WHERE file_path LIKE 's3://%'",
    );
    let report = scene.audit(false).await;
    let documents = moved
        .iter()
        .filter(|item| item.id.starts_with("documents/"))
        .count() as u64;
    // Three of the traps' paths become, or were, bent too.
    assert_eq!(report.counts[&FindingKind::BentPath], documents + 3);
    // Going forward mends them as well, where the file is still there under the document's id.
    let (items, notes) = scene.plan(PlanOptions::default()).await;
    let planned = by_id(&items);
    for item in moved
        .iter()
        .filter(|item| item.id.starts_with("documents/"))
    {
        let told = notes
            .exceptions
            .iter()
            .find(|exception| exception.item == item.id);
        match (planned.get(item.id.as_str()), told) {
            (Some(again), None) => assert_eq!(again.blobs[0].key, item.blobs[0].key),
            (None, Some(told)) => assert!(told.remedy.contains("--rollback"), "{told:?}"),
            other => panic!("{} is either planned or named: {other:?}", item.id),
        }
    }
    let outcomes = scene.ledger().revert(&moved).await.expect("a revert");
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Done),
        "{outcomes:?}"
    );
    let trapped: HashSet<String> = scene
        .traps
        .iter()
        .filter(|trap| trap.path.starts_with("s3://"))
        .map(|trap| trap.id.clone())
        .collect();
    let without =
        |snapshot: Snapshot| snapshot.without(|name| trapped.iter().any(|id| name.contains(id)));
    without(before).assert_same(&without(scene.tables()), "after taking everything back");
}

#[tokio::test]
async fn what_others_do_meanwhile_is_told_and_not_overwritten() {
    let scene = Scene::new(5).await;
    let (items, _) = scene.plan(PlanOptions::default()).await;
    let good: Vec<Item> = items
        .into_iter()
        .filter(|item| trouble(item).is_none())
        .collect();
    let database = &scene.fleet.database;
    let id = |n: usize| good[n].id.trim_start_matches("documents/").to_owned();
    let batch = &good[..4];
    assert!(batch.iter().all(|item| item.id.starts_with("documents/")));
    database.sql(&format!(
        "UPDATE documents SET file_path = '/app/uploads/documents/new.pdf' WHERE id = '{}'",
        id(0)
    ));
    database.sql(&format!("DELETE FROM documents WHERE id = '{}'", id(1)));
    // Its text recognition failed meanwhile: the document is gone, a failed document has its path.
    database.sql(&format!(
        "INSERT INTO failed_documents (user_id, filename, file_path, failure_reason, failure_stage, ingestion_source) \
         SELECT user_id, filename, file_path, 'other', 'ocr', 'upload' FROM documents WHERE id = '{}'; \
         DELETE FROM documents WHERE id = '{}'",
        id(2), id(2)
    ));
    let ledger = scene.ledger();
    let outcomes = ledger.commit(batch).await.expect("a commit");
    assert!(
        matches!(&outcomes[0], Outcome::Changed(text) if text.contains("new.pdf")),
        "{outcomes:?}"
    );
    assert!(
        matches!(&outcomes[1], Outcome::Gone(text) if text.contains(&id(1))),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[2..], [Outcome::Done, Outcome::Done]);
    let stored = "SELECT count(*) FROM failed_documents WHERE file_path LIKE 's3://documents/%'";
    let follows: u32 = database.sql(stored).trim().parse().expect("a number");
    assert!(follows >= 1);
    let may_go = ledger.is_switched(batch).await.expect("an answer");
    assert_eq!(may_go, [false, false, false, true]);
    // After the move another failure copies the new path: taking back must find it.
    database.sql(&format!(
        "INSERT INTO failed_documents (user_id, filename, file_path, failure_reason, failure_stage, ingestion_source) \
         SELECT user_id, filename, file_path, 'other', 'ocr', 'upload' FROM documents WHERE id = '{}'",
        id(3)
    ));
    let outcomes = ledger.revert(batch).await.expect("a revert");
    assert_eq!(outcomes[2..], [Outcome::Done, Outcome::Done]);
    assert_eq!(database.sql(stored).trim(), "0");
}

#[tokio::test]
async fn a_source_that_another_row_still_needs_may_not_go() {
    let scene = Scene::new(6).await;
    let moved = scene.migrate().await;
    let find = |name: &str| {
        let trap = scene
            .traps
            .iter()
            .find(|trap| trap.name == name)
            .expect("a trap");
        moved
            .iter()
            .find(|item| item.id.ends_with(&trap.id))
            .expect("it was moved")
    };
    let (first, second) = (
        find("one-file-first").clone(),
        find("one-file-second").clone(),
    );
    let ledger = scene.ledger();
    assert_eq!(
        ledger
            .is_switched(std::slice::from_ref(&first))
            .await
            .expect("an answer"),
        [true]
    );
    ledger
        .revert(std::slice::from_ref(&second))
        .await
        .expect("a revert");
    let fresh = scene.ledger();
    assert_eq!(
        fresh.is_switched(&[first]).await.expect("an answer"),
        [false]
    );
}

#[tokio::test]
async fn the_audit_names_every_trap_and_nothing_else() {
    let scene = Scene::new(7).await;
    let before = scene.tables();
    let report = scene.audit(true).await;
    before.assert_same(&scene.tables(), "after an audit");
    let mut expected = HashSet::new();
    for trap in &scene.traps {
        let flaw = match &trap.expect {
            Expect::Stays(flaw) | Expect::Audited(flaw) => *flaw,
            // Its row is local: nothing names the object that an interrupted run has left.
            Expect::Moves { key } if trap.name == "object-there-already" => {
                expected.insert((FindingKind::ObjectWithoutRow, key.clone()));
                continue;
            }
            _ => continue,
        };
        let kind = match flaw {
            Flaw::Missing if trap.name == "link-dangling" => FindingKind::Symlink,
            Flaw::Missing => FindingKind::RowWithoutFile,
            Flaw::Empty | Flaw::Truncated => FindingKind::SizeDiffers,
            Flaw::Differs if trap.name == "grown" => FindingKind::SizeDiffers,
            Flaw::Differs => FindingKind::HashDiffers,
            Flaw::NotAFile => FindingKind::NotAFile,
            Flaw::LinkOutside => FindingKind::Symlink,
            Flaw::KeyTooLong => FindingKind::KeyTooLong,
            Flaw::Bent => FindingKind::BentPath,
            Flaw::NoPath => FindingKind::EmptyPath,
            Flaw::NoObject => FindingKind::RowWithoutObject,
            Flaw::NoRow => FindingKind::FileWithoutRow,
        };
        expected.insert((kind, trap.id.clone()));
    }
    let told: HashSet<(FindingKind, String)> = report
        .findings
        .iter()
        .filter(|finding| {
            !matches!(
                finding.kind,
                FindingKind::LegacyPath | FindingKind::SharedFile | FindingKind::StaleCopy
            )
        })
        .map(|finding| {
            let name = if finding.row.is_empty() {
                finding.path.clone()
            } else {
                finding.row.clone()
            };
            (finding.kind, name)
        })
        .collect();
    let missing: Vec<_> = expected.difference(&told).collect();
    let surplus: Vec<_> = told.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing {missing:?}\nsurplus {surplus:?}"
    );
    assert_eq!(report.counts[&FindingKind::LegacyPath], 5);
    assert_eq!(report.counts[&FindingKind::SharedFile], 1);
    assert!(!report.is_sound());
}

#[tokio::test]
async fn the_balance_names_what_was_left_and_what_is_lost() {
    let scene = Scene::new(8).await;
    let moved = scene.migrate().await;
    let balance = scene.balance().await;
    let expected: HashSet<String> = scene
        .traps
        .iter()
        .filter(|trap| match &trap.expect {
            Expect::Stays(_) => true,
            Expect::Audited(flaw) => [Flaw::NoObject, Flaw::NoPath].contains(flaw),
            _ => false,
        })
        .map(|trap| format!("{}/{}", trap.table, trap.id))
        .collect();
    let told: HashSet<String> = balance
        .exceptions
        .iter()
        .map(|exception| exception.item.clone())
        .collect();
    assert_eq!(told, expected);
    assert_eq!(balance.rows, balance.in_place + balance.left + balance.lost);
    assert_eq!(balance.in_place, balance.rows - expected.len() as u64);
    assert!(!balance.is_balanced() && !moved.is_empty());
    assert_eq!(balance.lost, 1);
}

#[tokio::test]
async fn the_way_back_from_the_bucket_makes_the_paths_that_the_application_would_make() {
    let scene = Scene::new(9).await;
    let moved = scene.migrate().await;
    let keys: Vec<&str> = moved
        .iter()
        .flat_map(|item| item.blobs.iter().map(|blob| blob.key.as_str()))
        .collect();
    let options = PlanOptions {
        direction: Direction::S3ToLocal,
        objects: Some(Arc::new(keys.iter().map(|key| (*key, 1)).collect())),
        ..PlanOptions::default()
    };
    let (items, _) = scene.plan(options).await;
    let planned = by_id(&items);
    for document in &scene.fleet.documents {
        let item = planned[format!("documents/{}", document.id).as_str()];
        assert_eq!(item.blobs[0].source, document.key());
        let name = document.path.trim_start_matches("/app/uploads/");
        assert_eq!(
            item.blobs[0].key, name,
            "the fleet's names are the application's"
        );
        assert_eq!(item.blobs.len() > 1, document.thumbnail.is_some());
    }
    let ledger = scene.ledger();
    let back: Vec<Item> = moved
        .iter()
        .filter_map(|item| planned.get(item.id.as_str()).map(|item| (*item).clone()))
        .collect();
    assert_eq!(back.len(), moved.len());
    assert!(
        ledger
            .commit(&back)
            .await
            .expect("a commit")
            .iter()
            .all(|o| *o == Outcome::Done)
    );
    assert!(
        ledger
            .is_switched(&back)
            .await
            .expect("an answer")
            .iter()
            .all(|may| *may)
    );
}
