//! What a failing copy and a rollback must leave alone: objects of others, objects that were written since, files elsewhere.

use super::*;
use testkit::{Faults, FaultyStore};

/// Objects of a store, one of which only ever fails, after a person has put something in its place in the target.
struct OneFails {
    others: Objects,
    failing: Objects,
    key: String,
    target: Store,
}

#[async_trait]
impl Source for OneFails {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        if blob.source != self.key {
            return self.others.open(blob, whole_max, piece).await;
        }
        let put = self.target.put(&blob.key, "by hand".into()).await;
        put.expect("puts");
        self.failing.open(blob, whole_max, piece).await
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        self.others.digest(blob).await
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: stream::BoxStream<'static, Result<Bytes, store::StoreError>>,
    ) -> Result<(), SourceError> {
        self.others.restore(blob, stored, body).await
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        self.others.remove(blob, equal).await
    }
}

/// A plan of the same items with the objects of their first run as sources; rows stay as they are.
fn between(world: &World) -> stream::BoxStream<'static, Result<Item, PlanError>> {
    let items = world.items.iter().map(|item| {
        let blobs = item.blobs.iter().map(|blob| Blob {
            source: blob.key.clone(),
            ..blob.clone()
        });
        Item {
            id: item.id.clone(),
            blobs: blobs.collect(),
            context: serde_json::json!({"old": item.context["new"], "new": item.context["new"]}),
        }
    });
    let items: Vec<_> = items.map(Ok).collect();
    stream::iter(items).boxed()
}

/// What an engine needs to copy those objects into another store.
async fn parts_between(world: &World, target: &Store, steps: Steps) -> EngineParts {
    EngineParts {
        source: Arc::new(Objects::new(world.target.clone())),
        target: target.clone(),
        mirror: None,
        ..world.parts(steps).await
    }
}

/// Every request of a store fails.
fn always() -> Faults {
    Faults {
        error_before: 1000,
        ..Faults::none()
    }
}

fn memory(name: &str) -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), name)
}

#[tokio::test]
async fn nothing_is_taken_away_where_only_the_source_failed() {
    let mut world = World::new(6);
    world.limits.parallel = 1;
    world.limits.batch = 2;
    world.limits.retry.attempts = 2;
    world.run().await.expect("runs");
    world.fresh_journal();
    let target = memory("other");
    let failing = Store::from_object_store(Arc::new(FaultyStore::new(1, always())), "");
    let key = "documents/document-5";
    let parts = EngineParts {
        source: Arc::new(OneFails {
            others: Objects::new(world.target.clone()),
            failing: Objects::new(failing),
            key: key.to_owned(),
            target: target.clone(),
        }),
        ..parts_between(&world, &target, Steps::all()).await
    };
    let report = Engine::new(parts).run(between(&world)).await;
    let report = report.expect("runs");
    assert_eq!(report.exceptions.len(), 1, "{report:?}");
    assert_eq!(report.exceptions[0].kind, ExceptionKind::Refused);
    let found = target.get(key).await.expect("what a person put there");
    assert_eq!(&found[..], b"by hand");
}

#[tokio::test]
async fn copies_that_others_may_read_go_only_when_that_is_allowed_and_only_if_they_are_ours_still()
{
    let world = World::new(6);
    world.run().await.expect("runs");
    world.fresh_journal();
    let target = memory("other");
    let parts = || parts_between(&world, &target, Steps::all());
    let report = Engine::new(parts().await).run(between(&world)).await;
    let report = report.expect("runs");
    assert!(report.is_clean() && report.committed == 6, "{report:?}");
    let n_copies = target.list("").await.expect("lists").len();
    // One source is gone: the rollback brings it back all the same.
    let gone = ["documents/document-1".to_owned()];
    let before = world.objects().await;
    world.target.delete(&gone).await.expect("deletes");
    let keep = RollbackOptions {
        objects: MadeObjects::Keep,
        ..RollbackOptions::default()
    };
    let report = Engine::new(parts().await).rollback(keep).await;
    let report = report.expect("rolls back");
    assert!(report.is_clean() && report.restored == 1, "{report:?}");
    assert_eq!(world.objects().await, before);
    assert_eq!(target.list("").await.expect("lists").len(), n_copies);
    // Meanwhile the application has written one anew, and a source has gone.
    let anew = "documents/document-2";
    target.put(anew, "anew".into()).await.expect("puts");
    world.target.delete(&gone).await.expect("deletes");
    let remove = RollbackOptions {
        objects: MadeObjects::Remove,
        ..RollbackOptions::default()
    };
    let report = Engine::new(parts().await).rollback(remove).await;
    let report = report.expect("rolls back");
    let mut kept: Vec<&str> = report.exceptions.iter().map(|it| it.key.as_str()).collect();
    kept.sort_unstable();
    assert_eq!(kept, [gone[0].as_str(), anew], "{report:?}");
    let mut left: Vec<String> = Vec::new();
    for entry in target.list("").await.expect("lists") {
        left.push(entry.key);
    }
    left.sort_unstable();
    assert_eq!(left, [gone[0].as_str(), anew]);
}

#[tokio::test]
async fn a_journal_from_elsewhere_restores_and_removes_nothing_out_of_place() {
    let mut world = World::new(3);
    let elsewhere = world.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("makes");
    let outside = elsewhere.join("authorized_keys");
    fs::write(&outside, "document-0 ").expect("writes");
    let blob = &mut world.items[1].blobs[0];
    fs::rename(&blob.source, &outside).expect("moves");
    blob.source = outside.to_str().expect("path").to_owned();
    let old = blob.source.clone();
    world.items[1].context["old"] = old.clone().into();
    world.rows.set("document-1", &old);
    let parts = || async {
        let places = Places::new(vec![world.files()], false);
        EngineParts {
            source: Arc::new(Files::within(places)),
            ..world.parts(Steps::all()).await
        }
    };
    let plan = stream::iter(world.items.clone().into_iter().map(Ok)).boxed();
    let report = Engine::new(parts().await).run(plan).await.expect("runs");
    assert!(report.is_clean() && report.committed == 3, "{report:?}");
    let outcome = Engine::new(parts().await)
        .remove_sources(RemoveOptions::default())
        .await;
    let report = outcome.expect("removes");
    assert_eq!(report.exceptions.len(), 1, "{report:?}");
    assert_eq!(report.exceptions[0].kind, ExceptionKind::Outside);
    assert_eq!(report.exceptions[0].source, old);
    assert!(outside.exists(), "what cannot be restored is not removed");
    fs::remove_file(&outside).expect("removes");
    let outcome = Engine::new(parts().await)
        .rollback(RollbackOptions::default())
        .await;
    let report = outcome.expect("rolls back");
    assert_eq!(report.exceptions.len(), 1, "{report:?}");
    assert_eq!(report.exceptions[0].kind, ExceptionKind::Outside);
    assert!(!outside.exists(), "nothing was written there");
    assert_eq!(report.reverted, 2, "the others are back");
    assert!(world.rows.all()["document-1"].starts_with("s3://"));
}

#[tokio::test]
async fn a_resumed_run_switches_to_no_object_that_has_gone_meanwhile() {
    for step in 1..80 {
        let world = World::new(5);
        let outcome = in_a_process(async || world.run_with(Steps::fail_at(step)).await);
        // Another run was undone, or a person cleared up: what no row names is gone.
        let rows = world.rows.all();
        let is_named = |item: &Item| rows[&item.id].starts_with("s3://");
        for item in world.items.iter().filter(|item| !is_named(item)) {
            for blob in &item.blobs {
                let gone = std::slice::from_ref(&blob.key);
                world.target.delete(gone).await.expect("deletes");
            }
        }
        if outcome.is_ok() {
            break;
        }
        let report = world.run().await.expect("resumes");
        assert!(report.is_clean(), "{step}: {report:?}");
        let objects = world.objects().await;
        for (id, path) in world.rows.all() {
            let key = path.strip_prefix("s3://").expect("is switched");
            assert!(objects.contains_key(key), "{step}: {id} leads nowhere");
        }
        assert_eq!(objects.len(), 7, "{step}");
        world.rollback().await.expect("rolls back");
        assert_eq!(world.objects().await.len(), 0, "{step}");
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_is_not_taken_for_one_that_is_gone() {
    for step in 1..40 {
        let store = FaultyStore::new(1, Faults::none());
        let world = World::with(Store::from_object_store(Arc::new(store.clone()), ""), 4);
        world.run().await.expect("runs");
        world.fresh_journal();
        let target = memory("other");
        let parts = |steps| parts_between(&world, &target, steps);
        let cut = in_a_process(async || {
            let mut engine = Engine::new(parts(Steps::fail_at(step)).await);
            engine.run(between(&world)).await
        });
        if cut.is_ok() {
            break;
        }
        store.set_faults(always());
        let undo = RollbackOptions {
            objects: MadeObjects::Remove,
            ..RollbackOptions::default()
        };
        let _ = Engine::new(parts(Steps::all()).await)
            .rollback(undo.clone())
            .await;
        store.heal();
        let report = Engine::new(parts(Steps::all()).await).rollback(undo).await;
        let report = report.expect("rolls back");
        assert!(report.exceptions.is_empty(), "{step}: {report:?}");
        let left = target.list("").await.expect("lists");
        assert!(left.is_empty(), "{step}: {left:?}");
    }
}

#[tokio::test]
async fn a_copy_that_a_row_may_name_stays_where_no_row_says_which_store_it_means() {
    let world = World::new(6);
    world.run().await.expect("runs");
    world.fresh_journal();
    let target = memory("other");
    let parts = parts_between(&world, &target, Steps::all()).await;
    let plan = between(&world);
    {
        let mut rows = world.rows.0.lock().expect("rows");
        let path = rows.remove("document-1").expect("a row");
        // It is another's by now; that of the next is gone.
        rows.insert("another".to_owned(), path);
        rows.remove("document-2").expect("a row");
    }
    let report = Engine::new(parts).run(plan).await.expect("runs");
    assert_eq!((report.gone, report.objects_removed), (2, 1), "{report:?}");
    let kept = report.exceptions.iter();
    let kept = kept.filter(|it| it.kind == ExceptionKind::ObjectKept);
    let kept: Vec<&str> = kept.map(|it| it.key.as_str()).collect();
    assert_eq!(kept, ["documents/document-1"], "{report:?}");
    target.head("documents/document-1").await.expect("is there");
}

#[tokio::test]
async fn what_comes_to_a_key_while_the_source_is_read_is_not_written_over() {
    for multipart_threshold in [u64::MAX, 1] {
        let mut world = World::new(6);
        world.limits.multipart_threshold = multipart_threshold;
        world.run().await.expect("runs");
        let out = world.dir.path().join("out");
        fs::create_dir(&out).expect("makes");
        let key = "documents/document-4";
        let objects = || Objects::new(world.target.clone());
        for target in [
            Store::plain_folder(&out),
            Store::from_object_store(Arc::new(InMemory::new()), "other"),
        ] {
            world.fresh_journal();
            let parts = EngineParts {
                source: Arc::new(OneFails {
                    others: objects(),
                    failing: objects(),
                    key: key.to_owned(),
                    target: target.clone(),
                }),
                ..parts_between(&world, &target, Steps::all()).await
            };
            let report = Engine::new(parts).run(between(&world)).await;
            let report = report.expect("goes to its end");
            let exceptions = report.exceptions.iter();
            let named: Vec<_> = exceptions.map(|it| (it.kind, &it.key[..])).collect();
            assert_eq!(named, [(ExceptionKind::Clash, key)]);
            assert_eq!(target.get(key).await.expect("is there"), "by hand");
            let listed = target.list("documents").await.expect("lists");
            assert_eq!(listed.len(), 6, "{listed:?}");
        }
        let names = fs::read_dir(out.join("documents")).expect("lists");
        assert_eq!(names.count(), 6, "nothing unfinished is left");
    }
}

/// Files in whose place a person puts another while one is brought back.
struct Overtaken {
    files: Files,
    path: String,
    n_times: AtomicU32,
}

#[async_trait]
impl Source for Overtaken {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        self.files.open(blob, whole_max, piece).await
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        self.files.digest(blob).await
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: stream::BoxStream<'static, Result<Bytes, store::StoreError>>,
    ) -> Result<(), SourceError> {
        if blob.source == self.path {
            self.n_times.fetch_add(1, Ordering::Relaxed);
            fs::write(&self.path, "by hand").expect("writes");
        }
        self.files.restore(blob, stored, body).await
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        self.files.remove(blob, equal).await
    }
}

#[tokio::test]
async fn a_file_that_comes_while_it_is_brought_back_is_not_written_over() {
    let world = World::new(6);
    world.run().await.expect("runs");
    world.remove_sources(Steps::all()).await.expect("removes");
    let before = world.picture().await;
    let path = world.items[4].blobs[0].source.clone();
    let source = Arc::new(Overtaken {
        files: Files::new(),
        path: path.clone(),
        n_times: AtomicU32::new(0),
    });
    let parts = EngineParts {
        source: source.clone(),
        ..world.parts(Steps::all()).await
    };
    let report = Engine::new(parts)
        .rollback(RollbackOptions::default())
        .await
        .expect("goes to its end");
    let named: Vec<_> = report
        .exceptions
        .iter()
        .map(|it| (it.kind, &it.key[..]))
        .collect();
    assert_eq!(
        named,
        [(ExceptionKind::SourceChanged, "documents/document-4")]
    );
    assert_eq!(report.reverted, 5, "{report:?}");
    assert_eq!(source.n_times.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read(&path).expect("is there"), b"by hand");
    let now = world.picture().await;
    assert_eq!(now.rows["document-4"], before.rows["document-4"]);
    assert!(now.objects.contains_key("documents/document-4"));
}

#[tokio::test]
async fn a_file_that_was_written_to_since_it_was_compared_stays() {
    let dir = tempfile::tempdir().expect("scratch");
    let folder = Store::plain_folder(dir.path());
    folder.put("file", "hello".into()).await.expect("puts");
    let e_tag = folder.head("file").await.expect("looks").e_tag;
    let e_tag = e_tag.expect("has a tag");
    fs::write(dir.path().join("file"), "other").expect("writes");
    let gone = folder.delete_unchanged("file", &e_tag).await;
    assert!(!gone.expect("looks"));
    let e_tag = folder.head("file").await.expect("looks").e_tag;
    for _ in 0..2 {
        let e_tag = e_tag.as_deref().expect("has a tag");
        let gone = folder.delete_unchanged("file", e_tag).await;
        assert!(gone.expect("removes"));
    }
    assert!(!dir.path().join("file").exists());
}
