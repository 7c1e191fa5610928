//! Whole runs without trouble: there, again, back.

use super::*;

#[tokio::test]
async fn everything_is_stored_and_switched_and_the_sources_stay() {
    let world = World::new(10);
    let before = world.picture().await;
    let report = world.run().await.expect("runs");
    assert_eq!((report.planned, report.committed), (10, 10));
    assert_eq!((report.stored, report.already_there), (14, 0));
    assert!(report.is_clean(), "{report:?}");
    let after = world.picture().await;
    assert_eq!(after.files, before.files);
    assert_eq!(after.objects.len(), 14);
    assert!(
        after
            .rows
            .values()
            .all(|path| path.starts_with("s3://documents/document-"))
    );
    let found = world.verify(true).await;
    assert_eq!((found.items, found.checked, found.read_back), (10, 14, 14));
    assert_eq!(found.exceptions, []);
}

#[tokio::test]
async fn running_again_does_nothing() {
    let world = World::new(5);
    world.run().await.expect("runs");
    let after = world.picture().await;
    world.fresh_journal();
    let puts = world.target.usage().puts;
    let report = world.run().await.expect("runs");
    assert_eq!((report.planned, report.stored, report.committed), (0, 0, 0));
    assert_eq!(world.picture().await, after);
    assert_eq!(report.usage.lists, 0, "nothing is to be compared");
    assert_eq!(
        world.target.usage().puts - puts,
        0,
        "not even a copy of the journal, which would hide that of the run before"
    );
}

#[tokio::test]
async fn a_rollback_restores_the_start() {
    let world = World::new(10);
    let before = world.picture().await;
    world.run().await.expect("runs");
    let report = world.rollback().await.expect("rolls back");
    assert_eq!((report.reverted, report.objects_removed), (10, 14));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(world.picture().await, before);
    let again = world.rollback().await.expect("rolls back");
    assert_eq!((again.reverted, again.objects_removed), (0, 0));
    let report = world
        .run()
        .await
        .expect("runs once more with the same journal");
    assert_eq!(report.committed, 10);
}

#[tokio::test]
async fn sources_are_removed_and_come_back_with_time_and_mode() {
    let world = World::new(10);
    let before = world.picture().await;
    world.run().await.expect("runs");
    let report = world.remove_sources(Steps::all()).await.expect("removes");
    assert_eq!(report.sources_removed, 14);
    assert!(world.picture().await.files.is_empty());
    assert_eq!(world.journal().await.tally().of(State::Removed), 10);
    let report = world.rollback().await.expect("rolls back");
    assert_eq!((report.restored, report.reverted), (14, 10));
    assert_eq!(world.picture().await, before);
}

#[tokio::test]
async fn only_sources_that_were_moved_before_the_moment_are_removed() {
    let world = World::new(3);
    world.run().await.expect("runs");
    for (moment, removed) in [(jiff::Timestamp::UNIX_EPOCH, 0), (jiff::Timestamp::MAX, 4)] {
        let mut engine = Engine::new(world.parts(Steps::all()).await);
        let options = RemoveOptions {
            switched_before: Some(moment),
            dry_run: false,
        };
        let report = engine.remove_sources(options).await.expect("removes");
        assert_eq!(report.sources_removed, removed, "{moment}");
    }
}

#[tokio::test]
async fn an_equal_object_is_taken_over_and_never_removed() {
    let world = World::new(4);
    let blob = &world.items[1].blobs[0];
    let content = fs::read(&blob.source).expect("reads");
    world
        .target
        .put(&blob.key, content.into())
        .await
        .expect("puts");
    let before = world.picture().await;
    let report = world.run().await.expect("runs");
    assert_eq!(
        (report.stored, report.already_there, report.committed),
        (5, 1, 4)
    );
    world.rollback().await.expect("rolls back");
    assert_eq!(world.picture().await, before);
}

#[tokio::test]
async fn another_object_is_never_overwritten() {
    let world = World::new(4);
    let key = world.items[3].blobs[1].key.clone();
    let other = Bytes::from_static(b"another");
    world.target.put(&key, other.clone()).await.expect("puts");
    let key = world.items[2].blobs[0].key.clone();
    world.target.put(&key, other.clone()).await.expect("puts");
    let report = world.run().await.expect("runs");
    assert_eq!(
        report.committed, 3,
        "a thumbnail may be missing, a document not"
    );
    let kinds: Vec<_> = report.exceptions.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [ExceptionKind::Clash, ExceptionKind::Clash]);
    assert_eq!(world.target.get(&key).await.expect("reads"), other);
    assert_eq!(world.journal().await.tally().of(State::LeftOut), 1);
    assert_eq!(world.journal().await.exceptions().expect("reads").len(), 2);
}

#[tokio::test]
async fn a_limit_and_a_wish_to_stop_end_a_run_that_can_go_on() {
    let mut world = World::new(10);
    world.limits.max_items = Some(3);
    let report = world.run().await.expect("runs");
    assert_eq!((report.ended, report.committed), (Ended::LimitReached, 3));
    world.limits.max_items = None;
    let parts = world.parts(Steps::all()).await;
    parts.stop.raise();
    let plan = stream::iter(world.plan().into_iter().map(Ok)).boxed();
    let report = Engine::new(parts).run(plan).await.expect("stops");
    assert_eq!((report.ended, report.committed), (Ended::Stopped, 0));
    let report = world.run().await.expect("goes on");
    assert_eq!((report.ended, report.committed), (Ended::Complete, 7));
}

#[tokio::test]
async fn large_blobs_go_in_parts() {
    let mut world = World::new(0);
    world.limits.multipart_threshold = 1 << 20;
    let content: Vec<u8> = (0..23_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    let blob = world.blob("document", "large", &content);
    world.rows.set("large", &blob.source);
    let context = serde_json::json!({"old": blob.source, "new": "s3://large"});
    let id = "large".to_owned();
    let blobs = vec![blob];
    world.items.push(Item { id, blobs, context });
    let before = world.picture().await;
    let report = world.run().await.expect("runs");
    assert_eq!((report.stored, report.bytes), (1, 23_000_000), "{report:?}");
    assert_eq!(world.objects().await["documents/large"], content);
    world.remove_sources(Steps::all()).await.expect("removes");
    world.rollback().await.expect("rolls back");
    assert_eq!(world.picture().await, before);
}

#[tokio::test]
async fn a_run_is_rolled_back_from_the_copy_in_the_target() {
    let world = World::new(9);
    let before = world.picture().await;
    world.run().await.expect("runs");
    world.remove_sources(Steps::all()).await.expect("removes");
    fs::remove_file(world.journal_path()).expect("loses the journal");
    let runs = Journal::mirrored_runs(&world.target, MIRROR)
        .await
        .expect("lists");
    assert_eq!(runs, ["run-0"]);
    let path = world.journal_path();
    let journal = Journal::from_mirror(&world.target, MIRROR, "run-0", &path).await;
    drop(journal.expect("rebuilds"));
    world.rollback().await.expect("rolls back");
    assert_eq!(world.picture().await, before);
}
