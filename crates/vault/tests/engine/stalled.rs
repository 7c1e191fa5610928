//! A copy of a machine that stops in the middle of a push, under an identity that both have: for good, or until the other has read and
//! cleared away what it had uploaded.

use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use testkit::FaultyStore;
use vault::{NodeId, ProblemKind, PushMode, ResetMode, VaultError};

use crate::desk::{Desk, GRACE_MS, WEEK_DAYS, line, newcomer, perfect_store, wait};

const WEEKS: usize = 5;

/// Lets something run until the store shows it to be so far, and no further.
fn run_until(mut future: Pin<&mut impl Future>, so_far: impl Fn() -> bool) {
    let mut context = Context::from_waker(Waker::noop());
    while !so_far() {
        let is_over = future.as_mut().poll(&mut context).is_ready();
        assert!(!is_over, "it was to stall before its end");
    }
}

fn weeks_pass(desk: &mut Desk) {
    for _ in 0..WEEKS {
        desk.week_passes();
    }
}

/// Two machines with one identity, under which nobody wrote a manifest yet.
fn twins(store: &FaultyStore) -> (Desk, Desk) {
    store.set_yielding(true);
    let mut one = Desk::at(1, store);
    wait(one.push()).expect("nothing to do, but it has its identity");
    let twin = one.copied_to(2, store);
    (one, twin)
}

#[test]
fn what_was_uploaded_before_a_first_manifest_that_never_came_is_taken_in_and_goes() {
    let store = perfect_store();
    let (mut one, mut twin) = twins(&store);
    let shared = one.own().node;
    twin.add(20..25);
    let is_uploaded = || !line(&store, "objects/segments", shared).is_empty();
    // It is lost in the middle of its push.
    run_until(pin!(twin.push()), is_uploaded);
    one.add(0..10);
    wait(one.push_as(PushMode::Force)).expect("a perfect store");
    assert_ne!(one.own().node, shared);
    assert!(is_uploaded());
    one.days_pass(WEEK_DAYS);
    let report = wait(one.push()).expect("a perfect store");
    assert_eq!(report.records, 5, "they are as good as its own: {report:?}");
    one.forget(21);
    wait(one.push()).expect("a perfect store");
    assert!(is_uploaded(), "its manifest may be under way");
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("a perfect store");
    assert!(!is_uploaded());
    let wanted = (0..10).chain(20..25).filter(|n| *n != 21);
    assert_eq!(newcomer(&store), (wanted.collect(), BTreeSet::new()));
}

#[test]
fn a_twin_whose_segments_were_cleared_away_before_its_first_manifest_loses_nothing() {
    for dies in [false, true] {
        let store = perfect_store();
        let (mut one, mut twin) = twins(&store);
        let shared = one.own().node;
        twin.add(20..25);
        let uploaded = || line(&store, "objects/segments", shared);
        let mut push = Box::pin(twin.push());
        run_until(push.as_mut(), || !uploaded().is_empty());
        one.add(0..10);
        wait(one.push_as(PushMode::Force)).expect("a perfect store");
        weeks_pass(&mut one);
        assert_eq!(uploaded(), Vec::<String>::new());
        // It wakes, and names what is gone.
        wait(push.as_mut()).expect("nothing tells it");
        drop(push);
        assert_eq!(line(&store, "manifests", shared).len(), 1);
        let (kept, problems) = newcomer(&store);
        assert_eq!(kept, (0..10).chain(20..25).collect());
        assert_eq!(problems, BTreeSet::from([ProblemKind::Missing]));
        one.forget(21);
        if !dies {
            twin.add(30..31);
            wait(twin.push()).expect("its line is as it left it");
        }
        weeks_pass(&mut one);
        if !dies {
            twin.add(31..32);
            wait(twin.push()).expect("it finds out by itself that its line was taken over");
            assert_ne!(twin.own().node, shared);
            weeks_pass(&mut twin);
            weeks_pass(&mut one);
        }
        assert_eq!(uploaded(), Vec::<String>::new(), "dies: {dies}");
        let later = if dies { 0..0 } else { 30..32 };
        let wanted = (0..10).chain(20..25).filter(|n| *n != 21).chain(later);
        assert_eq!(newcomer(&store), (wanted.collect(), BTreeSet::new()));
    }
}

/// A device that gave up the identity `shared`, and what a copy of it uploads there after all.
struct Late {
    one: Desk,
    shared: NodeId,
    objects: Vec<(String, bytes::Bytes)>,
}

impl Late {
    fn new(store: &FaultyStore) -> Self {
        store.set_yielding(true);
        let mut one = Desk::at(1, store);
        one.add(0..10);
        wait(one.push()).expect("a perfect store");
        let shared = one.own().node;
        let mut copy = one.copied_to(2, store);
        copy.add(20..25);
        let before = line(store, "objects/segments", shared);
        let uploaded = || {
            let mut keys = line(store, "objects/segments", shared);
            keys.retain(|key| !before.contains(key));
            keys
        };
        // It has looked at its line, and its segment arrives after the takeover. Then it dies.
        run_until(pin!(copy.push()), || !uploaded().is_empty());
        let objects: Vec<_> = uploaded()
            .into_iter()
            .map(|key| (key.clone(), store.objects()[&key].clone()))
            .collect();
        for (key, _) in &objects {
            store.remove_raw(key);
        }
        one.reset(ResetMode::NewIdentity);
        wait(one.push()).expect("a perfect store");
        Self {
            one,
            shared,
            objects,
        }
    }
}

#[test]
fn what_comes_late_to_a_line_that_was_taken_over_is_read_before_it_goes() {
    let store = perfect_store();
    let mut late = Late::new(&store);
    for (key, object) in late.objects {
        store.put_raw(&key, object);
    }
    weeks_pass(&mut late.one);
    let left = line(&store, "objects/segments", late.shared);
    assert_eq!(left, Vec::<String>::new(), "it was cleared away");
    let everything = (0..10).chain(20..25).collect();
    assert_eq!(newcomer(&store), (everything, BTreeSet::new()));
}

#[test]
fn what_comes_late_and_is_damaged_is_not_read_every_week() {
    for is_cut in [true, false] {
        let store = perfect_store();
        let Late {
            mut one, objects, ..
        } = Late::new(&store);
        for (key, object) in &objects {
            let mut damaged = object.to_vec();
            match is_cut {
                true => damaged.truncate(object.len() / 2),
                false => damaged[object.len() / 2] ^= 1,
            }
            store.put_raw(key, damaged);
        }
        weeks_pass(&mut one);
        let handle = store.for_device(1);
        let mut requests = || {
            let before = handle.operations();
            one.week_passes();
            handle.operations() - before
        };
        let with = requests();
        for (key, _) in &objects {
            store.remove_raw(key);
        }
        assert_eq!(with, requests(), "it is not asked for");
        // What is whole is read at once if it shows, and in time if it does not.
        for (key, object) in objects {
            store.put_raw(&key, object);
        }
        one.week_passes();
        assert_eq!(newcomer(&store).0, (0..10).chain(20..25).collect());
    }
}

#[test]
fn a_first_manifest_that_comes_after_its_line_came_and_went_is_told() {
    let store = perfect_store();
    let (mut one, mut twin) = twins(&store);
    let shared = one.own().node;
    twin.add(20..25);
    let uploaded = || !line(&store, "objects/segments", shared).is_empty();
    let mut push = Box::pin(twin.push());
    run_until(push.as_mut(), uploaded);
    for n in 0..3 {
        one.add(n..n + 1);
        wait(one.push()).expect("a perfect store");
    }
    one.reset(ResetMode::NewIdentity);
    wait(one.push()).expect("a perfect store");
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("a perfect store");
    assert_eq!(line(&store, "manifests", shared), Vec::<String>::new());
    // It wakes; the other one is lost.
    wait(push.as_mut()).expect("a perfect store");
    drop(push);
    assert_ne!(twin.own().node, shared);
    assert_eq!(newcomer(&store).0, (0..3).chain(20..25).collect());
}

#[test]
fn a_manifest_that_comes_late_is_told_that_its_number_was_taken_over() {
    const HALF_AN_HOUR_MS: i64 = 30 * 60 * 1000;
    for late_ms in [HALF_AN_HOUR_MS, GRACE_MS] {
        let store = perfect_store();
        store.set_yielding(true);
        let mut one = Desk::at(1, &store);
        one.add(0..3);
        wait(one.push()).expect("a perfect store");
        let shared = one.own().node;
        let mut copy = one.copied_to(2, &store);
        let clock = copy.clock.clone();
        copy.add(20..25);
        let before = line(&store, "objects/segments", shared);
        let uploaded = || line(&store, "objects/segments", shared) != before;
        let mut push = Box::pin(copy.push());
        run_until(push.as_mut(), uploaded);
        for n in 3..6 {
            one.add(n..n + 1);
            wait(one.push()).expect("a perfect store");
        }
        one.reset(ResetMode::NewIdentity);
        wait(one.push()).expect("a perfect store");
        if late_ms == GRACE_MS {
            one.days_pass(WEEK_DAYS);
            wait(one.push()).expect("a perfect store");
            assert_eq!(line(&store, "manifests", shared), Vec::<String>::new());
        }
        clock.fetch_add(late_ms, std::sync::atomic::Ordering::Relaxed);
        wait(push.as_mut()).expect("a perfect store");
        drop(push);
        assert_ne!(copy.own().node, shared, "{late_ms}");
        assert_eq!(newcomer(&store).0, (0..6).chain(20..25).collect());
    }
}

#[test]
fn a_first_manifest_under_way_is_not_finished_where_the_vault_does_not_show() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..3);
    let handle = store.for_device(1);
    handle.crash_at(handle.operations() + 3, testkit::CrashPoint::BeforeEffect);
    wait(one.push()).expect_err("it died at its manifest");
    handle.revive();
    let objects = store.objects();
    assert!(!objects.keys().any(|key| key.starts_with("manifests/")));
    // The disk is not mounted.
    for key in objects.keys() {
        store.remove_raw(key);
    }
    wait(one.push()).expect_err("it may be another place");
    assert_eq!(store.objects().len(), 0);
    for (key, object) in objects {
        store.put_raw(&key, object);
    }
    wait(one.push()).expect("a perfect store");
    assert_eq!(newcomer(&store), ((0..3).collect(), BTreeSet::new()));
}

#[test]
fn a_copy_that_stalls_until_its_segments_were_swept_is_told_and_nothing_is_lost() {
    let store = perfect_store();
    store.set_yielding(true);
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let mut copy = one.copied_to(2, &store);
    copy.options.segment_records_max = 5;
    copy.add(20..25);
    let before = line(&store, "objects/segments", shared);
    let uploaded = || -> Vec<String> {
        let mut keys = line(&store, "objects/segments", shared);
        keys.retain(|key| !before.contains(key));
        keys
    };
    let mut push = Box::pin(copy.push());
    run_until(push.as_mut(), || !uploaded().is_empty());
    let theirs = uploaded();
    // Else the records would get the same numbers here, and the segment the same name.
    one.add(11..12);
    for _ in 0..3 {
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
    }
    let is_there = |key: &String| store.objects().contains_key(key);
    assert!(!theirs.iter().any(is_there), "it was read and cleared away");
    wait(push.as_mut()).expect("it had looked before");
    drop(push);
    let everything: BTreeSet<u64> = (0..10).chain([11]).chain(20..25).collect();
    let (kept, problems) = newcomer(&store);
    assert_eq!(kept, everything);
    assert!(problems.contains(&ProblemKind::Twins), "{problems:?}");
    for desk in [&mut one, &mut copy] {
        let told = wait(desk.push()).expect_err("somebody else wrote there");
        assert!(
            matches!(told, VaultError::SequenceConflict { .. }),
            "{told:?}"
        );
        wait(desk.push_as(PushMode::Force)).expect("a perfect store");
    }
    one.forget(21);
    for _ in 0..2 {
        weeks_pass(&mut one);
        weeks_pass(&mut copy);
    }
    assert_eq!(
        line(&store, "objects/segments", shared),
        Vec::<String>::new()
    );
    let wanted = everything.into_iter().filter(|n| *n != 21);
    assert_eq!(newcomer(&store), (wanted.collect(), BTreeSet::new()));
}

/// A push dies at its `dying`th operation, a copy is made, the original gives the identity up and clears away what was uploaded, and
/// the copy goes on with the push.
fn go_on_with_what_was_cleared_away(records: u64, dying: u64) {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..records);
    let handle = store.for_device(1);
    handle.crash_at(
        handle.operations() + dying,
        testkit::CrashPoint::BeforeEffect,
    );
    wait(one.push()).expect_err("it died");
    handle.revive();
    let shared = one.own().node;
    assert!(!line(&store, "objects/segments", shared).is_empty());
    assert!(line(&store, "manifests", shared).is_empty());
    let mut copy = one.copied_to(2, &store);
    one.reset(ResetMode::NewIdentity);
    weeks_pass(&mut one);
    assert!(line(&store, "objects/segments", shared).is_empty());
    copy.days_pass(WEEK_DAYS);
    let report = wait(copy.push()).expect("a perfect store");
    assert!(report.published);
    let own = copy.own();
    for segment in &own.live {
        let key = segment.entry.key(own.node);
        assert!(store.objects().contains_key(&key), "{key} is named");
    }
    assert_eq!(newcomer(&store), ((0..records).collect(), BTreeSet::new()));
}

#[test]
fn an_interrupted_push_whose_segments_were_cleared_away_names_nothing_that_is_gone() {
    // Its manifest was under way.
    go_on_with_what_was_cleared_away(3, 3);
    // A part of its segments was uploaded.
    go_on_with_what_was_cleared_away(40_000, 4);
}
