//! What a rollback must not believe: that a restored source is good, that nobody has been here since, that all of a journal is its own doing.

use super::stale::{assert_reachable, overtaken};
use super::*;

/// Files on a disk that answers well and keeps other bytes.
struct Spoils(Files);

#[async_trait]
impl Source for Spoils {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        self.0.open(blob, whole_max, piece).await
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        self.0.digest(blob).await
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: stream::BoxStream<'static, Result<Bytes, store::StoreError>>,
    ) -> Result<(), SourceError> {
        self.0.restore(blob, stored, body).await?;
        let file = fs::OpenOptions::new().write(true).open(&blob.source);
        let mut file = file.expect("opens");
        let modified = file.metadata().and_then(|found| found.modified());
        if stored.size > 0 {
            std::io::Write::write_all(&mut file, &[0]).expect("spoils");
        }
        file.set_modified(modified.expect("has a time"))
            .expect("sets the time");
        Ok(())
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        self.0.remove(blob, equal).await
    }
}

#[tokio::test]
async fn a_restored_source_that_is_not_what_was_stored_costs_no_object() {
    let world = World::new(4);
    world.run().await.expect("runs");
    world.remove_sources(Steps::all()).await.expect("removes");
    let before = world.picture().await;
    let parts = EngineParts {
        source: Arc::new(Spoils(Files::new())),
        ..world.parts(Steps::all()).await
    };
    let mut engine = Engine::new(parts);
    let report = engine.rollback(RollbackOptions::default()).await;
    drop(engine);
    let report = report.expect("goes to its end");
    assert_eq!((report.reverted, report.objects_removed), (0, 0));
    assert_eq!(report.failed, 4, "{report:?}");
    let is_one = |it: &Exception| it.kind == ExceptionKind::Verification;
    assert!(report.exceptions.iter().all(is_one), "{report:?}");
    let now = world.picture().await;
    assert_eq!((now.rows, now.objects), (before.rows, before.objects));
}

#[tokio::test]
async fn a_source_of_two_items_is_restored_once() {
    let mut world = World::new(3);
    let shared = world.items[1].blobs[0].source.clone();
    fs::remove_file(&world.items[2].blobs[0].source).expect("removes");
    let size = world.items[1].blobs[0].size;
    let second = &mut world.items[2];
    (second.blobs[0].source, second.blobs[0].size) = (shared.clone(), size);
    second.context["old"] = shared.clone().into();
    world.rows.set("document-2", &shared);
    let before = world.picture().await;
    world.run().await.expect("runs");
    world.remove_sources(Steps::all()).await.expect("removes");
    let report = world.rollback().await.expect("rolls back");
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.restored, 3, "two documents on one file, a thumbnail");
    assert_eq!(world.picture().await, before);
}

#[tokio::test]
async fn a_rollback_that_goes_on_takes_no_object_that_another_run_has_switched_to() {
    for step in 1..100 {
        let world = World::new(4);
        world.run().await.expect("runs");
        let undone = in_a_process(async || world.rollback_with(Steps::fail_at(step)).await);
        if undone.is_ok() {
            return;
        }
        world.fresh_journal();
        world.run().await.expect("another run");
        world.n_journals.store(0, Ordering::Relaxed);
        world.rollback().await.expect("goes on");
        assert_reachable(&world, &format!("step {step}")).await;
    }
}

#[tokio::test]
async fn a_rollback_switches_nothing_back_that_the_run_only_planned() {
    for step in 1..100 {
        let Some(world) = overtaken(step).await else {
            return;
        };
        world.remove_sources(Steps::all()).await.expect("removes");
        world.n_journals.store(0, Ordering::Relaxed);
        let rows = world.rows.all();
        let planned: Vec<String> = {
            let entries = world
                .journal()
                .await
                .entries(|state| state == State::Planned);
            entries.map(|entry| entry.expect("reads").item.id).collect()
        };
        world.rollback().await.expect("rolls back");
        assert_reachable(&world, &format!("step {step}")).await;
        for id in planned {
            assert_eq!(world.rows.all()[&id], rows[&id], "step {step}");
        }
    }
}

#[tokio::test]
async fn what_the_application_wrote_to_a_key_is_kept_and_named() {
    let world = World::new(3);
    let before = world.picture().await;
    world.run().await.expect("runs");
    let key = "documents/document-1";
    let anew = Bytes::from_static(b"by the application");
    world.target.put(key, anew.clone()).await.expect("puts");
    for expected in [(3, 3), (0, 0)] {
        let report = world.rollback().await.expect("rolls back");
        assert_eq!((report.reverted, report.objects_removed), expected);
        assert_eq!(report.exceptions.len(), 1, "{report:?}");
        assert_eq!(report.exceptions[0].kind, ExceptionKind::ObjectKept);
        assert_eq!(report.exceptions[0].key, key);
    }
    let now = world.picture().await;
    assert_eq!((now.rows, now.files), (before.rows, before.files));
    assert_eq!(world.objects().await, [(key.to_owned(), anew)].into());
    let keys = vec![key.to_owned()];
    world.target.delete(&keys).await.expect("removes");
    let last = world.rollback().await.expect("rolls back");
    assert!(last.is_clean(), "nothing is kept any more: {last:?}");
}

#[tokio::test]
async fn an_item_that_was_lost_on_the_way_back_can_be_mended_and_taken_back() {
    let world = World::new(3);
    let before = world.picture().await;
    world.run().await.expect("runs");
    let switched = world.rows.all()["document-1"].clone();
    world.rows.set("document-1", "/elsewhere");
    let report = world.rollback().await.expect("rolls back");
    assert_eq!((report.reverted, report.changed), (2, 1));
    let again = world.rollback().await.expect("rolls back");
    assert!(again.is_clean(), "it was named: {again:?}");
    world.rows.set("document-1", &switched);
    let report = world.rollback().await.expect("rolls back");
    assert_eq!(report.reverted, 1, "{report:?}");
    assert_eq!(world.picture().await, before);
}
