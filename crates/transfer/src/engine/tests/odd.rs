//! Odd sources, ledgers and stores: each has its outcome, and nothing is lost.

use super::*;
use testkit::{Faults, FaultyStore};

fn kinds(report: &Report) -> Vec<(&str, ExceptionKind)> {
    let exceptions = report.exceptions.iter();
    let mut kinds: Vec<_> = exceptions
        .map(|found| (found.item.as_str(), found.kind))
        .collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn what_is_wrong_with_a_source_leaves_its_item_out() {
    let mut world = World::new(9);
    let source =
        |world: &World, item: usize, blob: usize| world.items[item].blobs[blob].source.clone();
    fs::remove_file(source(&world, 0, 0)).expect("removes");
    fs::write(source(&world, 1, 0), "cut").expect("writes");
    fs::remove_file(source(&world, 2, 0)).expect("removes");
    fs::create_dir(source(&world, 2, 0)).expect("makes");
    fs::remove_file(source(&world, 3, 1)).expect("removes a thumbnail");
    world.items[4].blobs[0].sha256 = Some(Digest::of(b"something else"));
    world.items[5].blobs[0].sha256 =
        Some(Digest::of(&fs::read(source(&world, 5, 0)).expect("reads")));
    world.items[6].blobs[0].key = "documents//odd/../key".to_owned();
    let before = world.rows.all();
    let report = world.run().await.expect("runs");
    use ExceptionKind as Kind;
    let expected = [
        ("document-0", Kind::Missing),
        ("document-1", Kind::WrongSize),
        ("document-2", Kind::NotAFile),
        ("document-3", Kind::OptionalMissing),
        ("document-4", Kind::WrongDigest),
        ("document-6", Kind::Refused),
    ];
    assert_eq!(kinds(&report), expected);
    assert_eq!(
        (report.committed, report.left_out, report.failed),
        (4, 4, 1)
    );
    let after = world.rows.all();
    for item in [0, 1, 2, 4, 6] {
        let id = format!("document-{item}");
        assert_eq!(after[&id], before[&id], "the row stays");
    }
    assert!(
        report
            .exceptions
            .iter()
            .all(|found| found.remedy.len() > 10 && found.message.len() > 10)
    );
    // What was mended is taken up by the next run.
    fs::write(source(&world, 0, 0), "").expect("restores");
    world.items[4].blobs[0].sha256 = None;
    let report = world.run().await.expect("runs");
    assert_eq!(report.committed, 2);
    assert_eq!(world.journal().await.exceptions().expect("reads").len(), 4);
}

#[tokio::test]
async fn failures_are_counted_and_bounded() {
    let mut world = World::new(12);
    for item in &mut world.items {
        item.blobs[0].key = format!("..//{}", item.id);
    }
    world.limits.max_failures = Some(3);
    let error = world.run().await.expect_err("too many");
    assert_eq!(error.kind(), RunErrorKind::TooManyFailures);
    assert!(error.report().failed > 3 && error.report().committed == 0);
    assert!(error.remedy().contains("resume"));
}

/// Rows that somebody changes just before the batch is switched, or that answer badly.
struct Meddler {
    rows: Rows,
    before: Box<dyn Fn(&Rows) + Send + Sync>,
    after: Box<dyn Fn() -> Result<(), LedgerError> + Send + Sync>,
}

#[async_trait]
impl Ledger for Meddler {
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        (self.before)(&self.rows);
        let outcomes = self.rows.commit(items).await?;
        (self.after)().map(|()| outcomes)
    }

    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        self.rows.revert(items).await
    }

    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError> {
        self.rows.standing(items).await
    }

    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError> {
        self.rows.is_switched(items).await
    }
}

async fn run_meddled(
    world: &World,
    before: impl Fn(&Rows) + Send + Sync + 'static,
    after: impl Fn() -> Result<(), LedgerError> + Send + Sync + 'static,
) -> Result<Report, RunError> {
    let mut parts = world.parts(Steps::all()).await;
    parts.ledger = Arc::new(Meddler {
        rows: world.rows.clone(),
        before: Box::new(before),
        after: Box::new(after),
    });
    let plan = stream::iter(world.plan().into_iter().map(Ok)).boxed();
    Engine::new(parts).run(plan).await
}

#[tokio::test]
async fn rows_that_somebody_changes_meanwhile_are_not_touched() {
    let mut world = World::new(5);
    let before = |rows: &Rows| {
        rows.0.lock().expect("rows").remove("document-0");
        rows.set("document-1", "/files/moved");
    };
    let report = run_meddled(&world, before, || Ok(())).await.expect("runs");
    assert_eq!((report.committed, report.changed, report.gone), (3, 1, 1));
    use ExceptionKind as Kind;
    let expected = [
        ("document-0", Kind::ItemGone),
        ("document-1", Kind::ItemChanged),
    ];
    assert_eq!(kinds(&report), expected);
    assert_eq!(
        world.objects().await.len(),
        4,
        "their objects are gone again"
    );
    assert_eq!(world.rows.all()["document-1"], "/files/moved");
    // The row's new path is planned by the next run.
    world.items[1].context["old"] = "/files/moved".into();
    assert_eq!(world.run().await.expect("runs").committed, 1);
}

#[tokio::test]
async fn a_database_that_is_lost_stops_the_run_and_nothing_is_undone() {
    for is_late in [false, true] {
        let world = World::new(6);
        let start = world.picture().await;
        let lost = || LedgerError::new("the connection was lost").with_remedy("start it");
        let error = match is_late {
            // It took effect, and nobody heard of it.
            true => run_meddled(&world, |_| {}, move || Err(lost())).await,
            false => {
                run_meddled(
                    &world,
                    |rows| rows.0.lock().expect("rows").clear(),
                    move || Err(lost()),
                )
                .await
            }
        };
        let error = error.expect_err("stops");
        assert_eq!(error.kind(), RunErrorKind::Ledger);
        assert!(error.remedy() == "start it" && error.ledger_error().is_some());
        assert!(world.journal().await.tally().of(State::Committing) > 0);
        start
            .rows
            .iter()
            .filter(|_| !is_late)
            .for_each(|(id, path)| world.rows.set(id, path));
        let report = world.run().await.expect("goes on");
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(world.journal().await.tally().of(State::Committed), 6);
        world.rollback().await.expect("rolls back");
        assert_eq!(world.picture().await, start);
    }
}

#[tokio::test]
async fn a_database_that_stumbles_is_asked_again() {
    let world = World::new(3);
    let calls = Arc::new(Mutex::new(0));
    let seen = calls.clone();
    let stumble = move || {
        let mut calls = seen.lock().expect("calls");
        *calls += 1;
        match *calls {
            1 | 2 => Err(LedgerError::new("deadlock").retryable(true)),
            _ => Ok(()),
        }
    };
    let report = run_meddled(&world, |_| {}, stumble).await.expect("runs");
    assert_eq!((report.committed, *calls.lock().expect("calls")), (3, 3));
}

fn faulty(faults: Faults, n: usize) -> (World, FaultyStore) {
    let store = FaultyStore::new(7, faults);
    let target = Store::from_object_store(Arc::new(store.clone()), "");
    (World::with(target, n), store)
}

#[tokio::test]
async fn requests_that_fail_now_and_then_are_sent_again() {
    let faults = Faults {
        error_before: 30,
        error_after: 30,
        cut_list: 200,
        cut_read: 100,
        corrupt_read: 100,
        ..Faults::none()
    };
    let (mut world, store) = faulty(Faults::none(), 20);
    let start = world.picture().await;
    world.limits.retry.attempts = 40;
    store.set_faults(faults.clone());
    let report = world.run().await.expect("runs");
    assert!(report.is_clean(), "{report:?}");
    world.remove_sources(Steps::all()).await.expect("removes");
    // What arrives damaged too often in a row is named, and comes back with the next attempt.
    let mut attempts = 1;
    while !world.rollback().await.expect("rolls back").is_clean() {
        attempts += 1;
        assert!(attempts < 20, "it never gets through");
    }
    store.heal();
    assert_eq!(world.picture().await, start);
}

#[tokio::test]
async fn a_store_that_spoils_what_it_keeps_is_found_out() {
    let spoils = Faults {
        corrupt_read: 1000,
        ..Faults::none()
    };
    let (mut world, store) = faulty(Faults::none(), 6);
    fs::write(&world.items[0].blobs[0].source, "x").expect("an empty file cannot be spoilt");
    world.items[0].blobs[0].size = Some(1);
    let before = world.rows.all();
    store.set_faults(spoils);
    let report = world.run().await.expect("runs");
    assert_eq!((report.committed, report.failed), (0, 6));
    assert_eq!(report.verification_failures(), 6);
    assert_eq!(world.rows.all(), before);
    store.heal();
    assert_eq!(world.objects().await.len(), 0, "spoilt objects are removed");
    world.limits.stop_on_verification_failure = true;
    store.set_faults(Faults {
        corrupt_read: 1000,
        ..Faults::none()
    });
    let error = world.run().await.expect_err("stops");
    assert_eq!(error.kind(), RunErrorKind::Verification);
    store.heal();
    assert!(world.run().await.expect("runs").is_clean());
    assert_eq!(world.verify(true).await.exceptions, []);
}

#[tokio::test]
async fn a_store_that_is_gone_stops_the_run_until_it_is_back() {
    let (world, store) = faulty(Faults::none(), 10);
    store.crash_after(25);
    let error = world.run().await.expect_err("stops");
    assert_eq!(error.kind(), RunErrorKind::Store);
    assert!(error.store_error().is_some() && error.remedy().contains("resume"));
    store.heal();
    let report = world.run().await.expect("goes on");
    assert!(report.is_clean(), "{report:?}");
    let tally = world.journal().await.tally();
    assert_eq!((tally.of(State::Committed), tally.total()), (10, 10));
}

#[tokio::test]
async fn verification_tells_what_is_missing_and_what_differs() {
    let world = World::new(8);
    world.run().await.expect("runs");
    world
        .target
        .delete(&["documents/document-1".to_owned()])
        .await
        .expect("deletes");
    let longer = Bytes::from_static(b"longer than it was, which the size alone shows");
    world
        .target
        .put("documents/document-7", longer)
        .await
        .expect("puts");
    let mut other = world
        .target
        .get("documents/document-4")
        .await
        .expect("gets")
        .to_vec();
    other[3] ^= 1;
    world
        .target
        .put("documents/document-4", other.into())
        .await
        .expect("puts");
    let found = world.verify(false).await;
    assert_eq!((found.missing, found.differing), (1, 1), "{found:?}");
    let found = world.verify(true).await;
    assert_eq!((found.missing, found.differing, found.read_back), (1, 2, 8));
    let mut engine = Engine::new(world.parts(Steps::all()).await);
    let options = VerifyOptions {
        sample: Sample::Count(3),
        read_back: false,
    };
    let found = engine.verify(options).await.expect("verifies");
    assert_eq!((found.items, found.checked >= 3), (8, true));
    drop(engine);
    // None of these sources may go.
    let report = world.remove_sources(Steps::all()).await.expect("removes");
    assert_eq!((report.failed, world.picture().await.files.len()), (3, 3));
}

#[tokio::test]
async fn a_source_that_changed_since_is_neither_removed_nor_overwritten() {
    let world = World::new(3);
    world.run().await.expect("runs");
    let edited = &world.items[1].blobs[0].source;
    fs::write(edited, "edited since").expect("writes");
    let report = world.remove_sources(Steps::all()).await.expect("removes");
    assert_eq!(
        kinds(&report),
        [("document-1", ExceptionKind::SourceChanged)]
    );
    assert_eq!(fs::read(edited).expect("reads"), b"edited since");
    let report = world.rollback().await.expect("rolls back");
    assert_eq!(
        kinds(&report),
        [("document-1", ExceptionKind::SourceChanged)]
    );
    assert_eq!((report.reverted, report.restored), (2, 3));
    assert_eq!(fs::read(edited).expect("reads"), b"edited since");
    assert!(world.objects().await.contains_key("documents/document-1"));
    fs::remove_file(edited).expect("makes way");
    world.rollback().await.expect("rolls back the rest");
    assert_eq!(world.objects().await.len(), 0);
}

#[tokio::test]
async fn when_source_and_object_are_gone_the_row_stays_and_is_named() {
    let world = World::new(3);
    world.run().await.expect("runs");
    world.remove_sources(Steps::all()).await.expect("removes");
    world
        .target
        .delete(&["documents/document-1".to_owned()])
        .await
        .expect("deletes");
    let report = world.rollback().await.expect("rolls back");
    assert_eq!(
        kinds(&report),
        [("document-1", ExceptionKind::ObjectMissing)]
    );
    assert_eq!(report.reverted, 2);
    assert!(world.rows.all()["document-1"].starts_with("s3://"));
}

#[tokio::test]
async fn two_items_with_one_key_and_two_with_one_source() {
    let mut world = World::new(4);
    let start = world.picture().await;
    // Equal content under one key is shared; other content is a clash.
    let content = fs::read(&world.items[1].blobs[0].source).expect("reads");
    let same = world.files().join("document-2");
    fs::write(&same, &content).expect("writes");
    world.items[2].blobs[0].size = Some(content.len() as u64);
    world.items[2].blobs[0].key = world.items[1].blobs[0].key.clone();
    world.items[3].blobs[0].key = world.items[1].blobs[0].key.clone();
    world.items[3].blobs[0].size = None;
    let report = world.run().await.expect("runs");
    assert_eq!(kinds(&report), [("document-3", ExceptionKind::Clash)]);
    assert_eq!((report.committed, report.already_there), (3, 1));
    world.remove_sources(Steps::all()).await.expect("removes");
    let report = world.rollback().await.expect("rolls back");
    assert_eq!((report.reverted, report.restored), (3, 4));
    assert_eq!(world.picture().await.objects, start.objects);
    assert_eq!(world.rows.all(), start.rows);
}

#[tokio::test]
async fn a_source_that_another_item_needs_is_kept() {
    let mut world = World::new(2);
    let shared = world.items[0].blobs[0].source.clone();
    let size = world.items[0].blobs[0].size;
    world.items[1].blobs[0].source = shared.clone();
    world.items[1].blobs[0].size = size;
    world.items[1].blobs[0].key = "..//odd".to_owned();
    let report = world.run().await.expect("runs");
    assert_eq!((report.committed, report.failed), (1, 1));
    let report = world.remove_sources(Steps::all()).await.expect("removes");
    assert_eq!(kinds(&report), [("document-0", ExceptionKind::ItemChanged)]);
    assert!(std::path::Path::new(&shared).exists());
}

#[tokio::test]
async fn a_half_rolled_back_run_is_not_run_on() {
    let world = World::new(6);
    world.run().await.expect("runs");
    let error = world
        .rollback_with(Steps::fail_at(5))
        .await
        .expect_err("ends");
    assert_eq!(error.kind(), RunErrorKind::Crash);
    let error = world.run().await.expect_err("is refused");
    assert_eq!(error.kind(), RunErrorKind::Mismatch);
    assert!(error.remedy().contains("finish the rollback"));
    world.rollback().await.expect("rolls back");
    world.run().await.expect("runs");
}

#[tokio::test]
async fn objects_with_names_like_litter_are_seen() {
    let mut world = World::new(2);
    world.items[1].blobs[0].key = "documents/notes.bak".to_owned();
    let other = Bytes::from_static(b"somebody else's");
    world
        .target
        .put("documents/notes.bak", other.clone())
        .await
        .expect("puts");
    let report = world.run().await.expect("runs");
    assert_eq!(kinds(&report), [("document-1", ExceptionKind::Clash)]);
    assert_eq!(
        world.target.get("documents/notes.bak").await.expect("gets"),
        other
    );
}

#[tokio::test]
async fn objects_come_back_to_files_and_go_on_to_another_store() {
    let world = World::new(6);
    let start = world.picture().await;
    world.run().await.expect("runs");
    let stored = world.objects().await;
    let items = world.items.iter().map(|item| {
        let blobs = item.blobs.iter().map(|blob| Blob {
            source: blob.key.clone(),
            ..blob.clone()
        });
        let context = serde_json::json!({"old": item.context["new"], "new": item.context["old"]});
        Item {
            id: item.id.clone(),
            blobs: blobs.collect(),
            context,
        }
    });
    let items: Vec<Item> = items.collect();
    let out = world.dir.path().join("out");
    fs::create_dir(&out).expect("makes");
    for target in [
        Store::plain_folder(&out),
        Store::from_object_store(Arc::new(InMemory::new()), "other"),
    ] {
        world.fresh_journal();
        let parts = || async {
            EngineParts {
                source: Arc::new(Objects::new(world.target.clone())),
                target: target.clone(),
                ..world.parts(Steps::all()).await
            }
        };
        let plan = stream::iter(items.clone().into_iter().map(Ok)).boxed();
        let report = Engine::new(parts().await).run(plan).await.expect("runs");
        assert!(report.is_clean() && report.committed == 6, "{report:?}");
        assert_eq!(world.rows.all(), start.rows);
        for (key, bytes) in &stored {
            assert_eq!(target.get(key).await.expect("gets"), bytes);
        }
        let removed = Engine::new(parts().await)
            .remove_sources(RemoveOptions::default())
            .await;
        assert_eq!(removed.expect("removes").sources_removed, 8);
        assert_eq!(world.objects().await.len(), 0);
        let report = Engine::new(parts().await)
            .rollback(RollbackOptions::default())
            .await;
        let report = report.expect("rolls back");
        assert_eq!(
            (report.restored, report.objects_removed),
            (8, 8),
            "{report:?}"
        );
        assert_eq!(world.objects().await, stored);
    }
    for entry in fs::read_dir(&out).expect("lists") {
        let dir = fs::read_dir(entry.expect("entry").path()).expect("is a directory");
        assert_eq!(
            dir.count(),
            0,
            "only directories are left: they may be the application's"
        );
    }
}

#[tokio::test]
async fn a_wish_to_stop_lets_what_is_in_flight_finish() {
    /// Asks to stop once so many items are stored.
    struct StopAfter(StopSignal, Mutex<u32>);
    impl Observer for StopAfter {
        fn event(&self, event: Event) {
            if let Event::Stored { .. } = event {
                let mut left = self.1.lock().expect("count");
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.0.raise();
                }
            }
        }
    }
    let world = World::new(20);
    let mut parts = world.parts(Steps::all()).await;
    parts.observer = Arc::new(StopAfter(parts.stop.clone(), Mutex::new(6)));
    let plan = stream::iter(world.plan().into_iter().map(Ok)).boxed();
    let report = Engine::new(parts).run(plan).await.expect("stops");
    assert_eq!(report.ended, Ended::Stopped);
    assert!((6..15).contains(&report.committed), "{report:?}");
    let tally = world.journal().await.tally();
    assert_eq!(
        tally.of(State::Stored) + tally.of(State::Committing),
        0,
        "what is stored is switched"
    );
    assert_eq!(world.run().await.expect("goes on").ended, Ended::Complete);
    assert_eq!(world.journal().await.tally().of(State::Committed), 20);
}

/// Appends to a file as soon as its item is stored.
struct Writer {
    item: String,
    path: String,
}

impl Observer for Writer {
    fn event(&self, event: Event) {
        if matches!(event, Event::Stored { item, .. } if item == self.item) {
            let mut content = fs::read(&self.path).expect("reads");
            content.extend_from_slice(b"one line more");
            fs::write(&self.path, content).expect("writes");
        }
    }
}

#[tokio::test]
async fn a_source_that_changed_between_copy_and_switch_is_copied_anew() {
    let mut world = World::new(5);
    let before = world.rows.all();
    let path = world.items[1].blobs[0].source.clone();
    let mut parts = world.parts(Steps::all()).await;
    parts.observer = Arc::new(Writer {
        item: "document-1".to_owned(),
        path: path.clone(),
    });
    let plan = stream::iter(world.plan().into_iter().map(Ok)).boxed();
    let report = Engine::new(parts).run(plan).await.expect("runs");
    assert_eq!((report.committed, report.left_out), (4, 1));
    assert_eq!(
        kinds(&report),
        [("document-1", ExceptionKind::SourceChanged)]
    );
    assert_eq!(world.rows.all()["document-1"], before["document-1"]);
    let key = world.items[1].blobs[0].key.clone();
    assert!(!world.objects().await.contains_key(&key), "it is of before");
    let content = fs::read(&path).expect("reads");
    world.items[1].blobs[0].size = Some(content.len() as u64);
    assert_eq!(world.run().await.expect("runs").committed, 1);
    assert_eq!(world.objects().await[&key], content);
}
