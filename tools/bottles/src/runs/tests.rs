//! Tests of the records of runs.

use super::*;
use std::sync::Arc;

fn store() -> Store {
    Store::from_object_store(Arc::new(object_store::memory::InMemory::new()), "")
}

fn record(store: &Store, second: i64) -> RunRecord {
    let now = Timestamp::from_second(1_790_000_000 + second).expect("a time");
    RunRecord::begin(&store.describe(), "host", Trigger::Manual, now)
}

#[tokio::test]
async fn only_the_last_stay_and_runs_at_once_lose_nothing() {
    let store = store();
    for second in 0..i64::try_from(KEPT).expect("a number") + 5 {
        write(&store, &record(&store, second))
            .await
            .expect("written");
    }
    let found = read(&store, usize::MAX, &[]).await.expect("read").runs;
    assert_eq!(found.len(), KEPT);
    assert_eq!(found[0].started.as_second(), 1_790_000_005);
    // Two of the same moment.
    let (a, b) = (record(&store, 500), record(&store, 500));
    let (one, two) = tokio::join!(write(&store, &a), write(&store, &b));
    one.and(two).expect("written");
    let found = read(&store, 2, &[]).await.expect("read").runs;
    let mut expected = [a.id.as_str(), b.id.as_str()];
    expected.sort_unstable();
    assert_eq!([&found[0].id, &found[1].id], expected);
}

#[tokio::test]
async fn a_clock_that_is_behind_loses_nothing_and_what_is_no_record_is_passed_over() {
    let store = store();
    for second in 0..i64::try_from(KEPT).expect("a number") {
        write(&store, &record(&store, second))
            .await
            .expect("written");
    }
    let behind = record(&store, -1_000_000);
    write(&store, &behind).await.expect("written");
    write(&store, &record(&store, 1000)).await.expect("written");
    let junk = format!("{}/junk.json", folder());
    store.put(&junk, "{".into()).await.expect("written");
    let found = read(&store, usize::MAX, &[]).await.expect("read");
    assert!(found.runs.contains(&behind));
    assert_eq!(found.runs.len(), KEPT);
}

#[tokio::test]
async fn a_run_that_died_is_taken_for_killed_once_and_one_under_way_is_not() {
    let place = tempfile::tempdir().expect("a directory");
    let store = store();
    let (dead, alive, ended) = (record(&store, 1), record(&store, 2), record(&store, 3));
    drop(Begun::new(place.path(), &dead).expect("begun"));
    let begun = Begun::new(place.path(), &alive).expect("begun");
    let other = Begun::new(place.path(), &ended).expect("begun");
    let mut done = ended.clone();
    done.outcome = RunOutcome::Published;
    other.end(&done).expect("ended");
    let outcomes = |found: &[RunRecord]| found.iter().map(|run| run.outcome).collect::<Vec<_>>();
    let expected = [
        RunOutcome::Killed,
        RunOutcome::Running,
        RunOutcome::Published,
    ];
    let name = store.describe();
    let found = local_runs(place.path(), &name).expect("read");
    assert_eq!(outcomes(&found), expected);
    assert!(
        local_runs(place.path(), "elsewhere")
            .expect("read")
            .is_empty()
    );
    let killed = take_killed(place.path(), &name).expect("taken");
    assert_eq!(
        killed.iter().map(|run| &run.id).collect::<Vec<_>>(),
        [&dead.id]
    );
    assert!(take_killed(place.path(), &name).expect("taken").is_empty());
    let found = local_runs(place.path(), &name).expect("read");
    assert_eq!(outcomes(&found), expected);
    begun.end(&alive).expect("ended");
}

#[test]
fn runs_that_end_at_once_on_one_machine_each_keep_their_record() {
    let place = tempfile::tempdir().expect("a directory");
    let store = store();
    let end = |thread: i64| {
        for number in 0..80 {
            let record = record(&store, 100 * thread + number);
            take_killed(place.path(), &record.store).expect("taken");
            let begun = Begun::new(place.path(), &record).expect("begun");
            match number % 4 {
                // It dies.
                0 => drop(begun),
                _ => begun.end(&record).expect("its record is kept"),
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn({
                let end = &end;
                move || end(thread)
            });
        }
    });
}

#[tokio::test]
async fn who_asks_the_store_for_the_time_takes_nothing_from_who_asks_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let url: store::StoreUrl = dir.path().display().to_string().parse().expect("a store");
    let environment = store::Environment::default();
    let store = Store::open(&url, &store::Tuning::default(), &environment).await;
    let store = store.expect("it opens");
    let asking = (0..400).map(|_| crate::log::store_time(&store));
    for time in futures::future::join_all(asking).await {
        time.expect("it is told");
    }
    let log = crate::log::Log::read(&store).await.expect("listed");
    assert!(log.clocks.is_empty());
}

#[test]
fn a_record_stays_small_and_has_no_secret() {
    let store = store();
    let mut record = record(&store, 0);
    let failure = |number: usize| FormulaFailure {
        formula: format!("formula{number}"),
        what: "x".repeat(10_000),
        remedy: String::new(),
    };
    let report = SyncReport {
        failures: (0..5000).map(failure).collect(),
        ..SyncReport::default()
    };
    record.take_report(&report);
    record.take_error(
        "https://user:hunter2@example.com refused",
        Some("ask https://user:hunter2@example.com"),
    );
    assert_eq!(record.failed, 5000);
    assert!(record.encode().len() < 10_000);
    assert!(!record.encode().contains("hunter2"), "{record:?}");
    assert_eq!(RunRecord::parse(record.encode().as_bytes()), Some(record));
}
