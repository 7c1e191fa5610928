//! Shows that the faulty store is reproducible, that each fault can be seen, and that healing ends them all.

use super::*;
use crate::Rng;
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStoreExt;

/// Runs an operation, which must be complete at its first poll.
fn block_on<T>(operation: impl Future<Output = T>) -> T {
    operation
        .now_or_never()
        .expect("operations of a simulated store never wait")
}

fn put(store: &FaultyStore, key: &str, text: &str) -> Result<PutResult> {
    block_on(store.put(&Path::from(key), PutPayload::from(text.as_bytes().to_vec())))
}

fn get(store: &FaultyStore, key: &str) -> Result<Bytes> {
    block_on(async { store.get(&Path::from(key)).await?.bytes().await })
}

fn list(store: &FaultyStore, prefix: &str) -> Result<Vec<String>> {
    let prefix = Path::from(prefix);
    block_on(
        store
            .list(Some(&prefix))
            .map_ok(|meta| meta.location.to_string())
            .try_collect(),
    )
}

/// A mixed workload of three devices; returns what each operation came to.
fn workload(store: &FaultyStore, seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut seen = Vec::new();
    for n in 0..600 {
        let device = store.for_device(rng.index(3));
        let key = format!("a/{}", rng.below(40));
        let outcome = match rng.below(4) {
            0 => format!("{:?}", list(&device, "a")),
            1 => format!("{:?}", get(&device, &key)),
            2 => format!("{:?}", block_on(device.delete(&Path::from(key)))),
            _ => format!("{:?}", put(&device, &key, &format!("value {n}"))),
        };
        seen.push(outcome);
    }
    seen
}

#[test]
fn one_seed_reproduces_a_run_exactly() {
    let (a, b) = (
        FaultyStore::new(42, Faults::harsh()),
        FaultyStore::new(42, Faults::harsh()),
    );
    assert_eq!(workload(&a, 1), workload(&b, 1));
    assert_eq!(a.trace_digest(), b.trace_digest());
    assert_eq!(a.trace(), b.trace());
    assert_eq!(a.objects(), b.objects());
    let other = FaultyStore::new(43, Faults::harsh());
    workload(&other, 1);
    assert_ne!(a.trace_digest(), other.trace_digest());
}

#[test]
fn without_faults_it_is_an_ordinary_store() {
    let store = FaultyStore::new(1, Faults::none());
    put(&store, "a/x", "one").expect("put");
    put(&store, "a/x", "two").expect("overwrite");
    put(&store, "b/y", "three").expect("put");
    let other = store.for_device(1);
    assert_eq!(get(&other, "a/x").expect("get"), "two");
    assert_eq!(list(&other, "a").expect("list"), ["a/x"]);
    assert!(matches!(get(&other, "a/z"), Err(Error::NotFound { .. })));
    block_on(other.delete(&Path::from("a/x"))).expect("delete");
    assert!(list(&store, "a").expect("list").is_empty());
    let top = block_on(store.list_with_delimiter(None)).expect("list");
    assert_eq!(top.common_prefixes, [Path::from("b")]);
}

#[test]
fn conditions_are_honest_ignored_or_refused() {
    let create = |store: &FaultyStore| {
        let options = PutOptions {
            mode: PutMode::Create,
            ..Default::default()
        };
        block_on(store.put_opts(&Path::from("k"), PutPayload::from_static(b"new"), options))
    };
    let store = FaultyStore::new(1, Faults::none());
    put(&store, "k", "old").expect("put");
    assert!(matches!(create(&store), Err(Error::AlreadyExists { .. })));
    store.set_faults(Faults {
        conditional: Conditional::Refused,
        ..Faults::none()
    });
    assert!(matches!(create(&store), Err(Error::NotImplemented { .. })));
    store.set_faults(Faults {
        conditional: Conditional::Ignored,
        ..Faults::none()
    });
    create(&store).expect("overwrites in silence");
    assert_eq!(get(&store, "k").expect("get"), "new");
}

#[test]
fn an_error_before_leaves_nothing_and_an_error_after_leaves_the_object() {
    let store = FaultyStore::new(
        1,
        Faults {
            error_before: 1000,
            ..Faults::none()
        },
    );
    put(&store, "before", "x").expect_err("must fail");
    store.set_faults(Faults {
        error_after: 1000,
        ..Faults::none()
    });
    put(&store, "after", "x").expect_err("must fail");
    assert_eq!(store.objects().keys().collect::<Vec<_>>(), ["after"]);
}

#[test]
fn a_crash_lasts_until_the_device_is_revived() {
    let store = FaultyStore::new(1, Faults::none());
    store.crash_at(1, CrashPoint::AfterEffect);
    put(&store, "one", "x").expect("before the crash");
    put(&store, "two", "x").expect_err("crashes after its effect");
    put(&store, "three", "x").expect_err("is dead");
    assert!(store.is_crashed());
    put(&store.for_device(1), "four", "x").expect("the others live");
    store.revive();
    store.crash_at(0, CrashPoint::BeforeEffect);
    put(&store, "five", "x").expect_err("crashes before its effect");
    store.revive();
    put(&store, "six", "x").expect("alive again");
    assert_eq!(
        store.objects().keys().collect::<Vec<_>>(),
        ["four", "one", "six", "two"]
    );
    assert_eq!(store.operations(), 5);
}

#[test]
fn a_late_object_reaches_the_others_later_and_the_writer_at_once() {
    let faults = Faults {
        late_arrival: 1000,
        late_ticks_max: 50,
        ..Faults::none()
    };
    let store = FaultyStore::new(5, faults);
    let other = store.for_device(1);
    let (mut late_list, mut late_get) = (0, 0);
    for n in 0..40 {
        let key = format!("a/{n}");
        put(&store, &key, "x").expect("put");
        assert!(get(&store, &key).is_ok(), "a device reads its own writes");
        late_get += usize::from(get(&other, &key).is_err());
        late_list += usize::from(!list(&other, "a").expect("list").contains(&key));
    }
    assert!(late_list > 0 && late_get > 0);
    other.advance(100);
    assert_eq!(list(&other, "a").expect("list").len(), 40);
}

#[test]
fn a_listing_is_stale_or_breaks_off_with_an_error() {
    let store = FaultyStore::new(
        5,
        Faults {
            stale_list: 1000,
            stale_ticks_max: 30,
            ..Faults::none()
        },
    );
    for n in 0..40 {
        put(&store, &format!("a/{n}"), "x").expect("put");
    }
    let shortest = (0..20)
        .map(|_| list(&store, "a").expect("list").len())
        .min();
    assert!(shortest < Some(40));
    store.set_faults(Faults {
        cut_list: 1000,
        ..Faults::none()
    });
    assert!((0..20).all(|_| list(&store, "a").is_err()));
}

#[test]
fn a_spoilt_read_never_spoils_the_object() {
    let text = "some text that is long enough";
    let store = FaultyStore::new(
        5,
        Faults {
            corrupt_read: 1000,
            ..Faults::none()
        },
    );
    put(&store, "k", text).expect("put");
    let spoilt = get(&store, "k").expect("get");
    assert_eq!(spoilt.len(), text.len());
    assert_ne!(spoilt, text);
    store.set_faults(Faults {
        cut_read: 1000,
        ..Faults::none()
    });
    assert!(get(&store, "k").expect("get").len() < text.len());
    store.heal();
    assert_eq!(get(&store, "k").expect("get"), text);
}

#[test]
fn healing_shows_all_devices_the_same() {
    let store = FaultyStore::new(9, Faults::harsh());
    workload(&store, 2);
    store.for_device(2).crash_after(0);
    list(&store.for_device(2), "a").expect_err("crashed");
    store.heal();
    let truth: Vec<String> = store.objects().into_keys().collect();
    let mut sorted: Vec<Vec<String>> = (0..3)
        .map(|d| list(&store.for_device(d), "a").expect("list"))
        .collect();
    assert!(!truth.is_empty());
    assert!(sorted.iter_mut().all(|listing| *listing == truth));
}

#[test]
fn tampering_is_seen_at_once() {
    let store = FaultyStore::new(1, Faults::harsh());
    store.put_raw("k", "planted");
    assert_eq!(store.objects()["k"], "planted");
    assert!(store.remove_raw("k"));
    assert!(!store.remove_raw("k"));
    assert!(store.objects().is_empty());
}

#[test]
fn a_yielding_store_lets_two_take_turns_and_does_the_same() {
    let store = FaultyStore::new(1, Faults::none());
    store.set_yielding(true);
    let path = Path::from("a");
    let mut write = Box::pin(store.put(&path, PutPayload::from_static(b"1")));
    assert!(write.as_mut().now_or_never().is_none(), "it yields first");
    assert!(
        store.objects().is_empty(),
        "nothing happens before its turn"
    );
    assert!(write.as_mut().now_or_never().is_some());
    store.set_yielding(false);
    assert_eq!(get(&store, "a").expect("there"), "1");
}
