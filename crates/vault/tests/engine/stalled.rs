//! A copy of a machine that stops in the middle of a push, under an identity that both have: for good, or until the other has read and
//! cleared away what it had uploaded.

use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use testkit::FaultyStore;
use vault::{NodeId, ProblemKind, PushMode, ResetMode, VaultError};

use crate::desk::{Desk, GRACE_MS, perfect_store, wait};

const WEEK_DAYS: i64 = GRACE_MS / (24 * 3600 * 1000) + 1;
const WEEKS: usize = 5;

/// What lies in the line of `node`, below `kind`.
fn line(store: &FaultyStore, kind: &str, node: NodeId) -> Vec<String> {
    let line = format!("{kind}/{node}/");
    let keys = store.objects().into_keys();
    keys.filter(|key| key.starts_with(&line)).collect()
}

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
        desk.days_pass(WEEK_DAYS);
        wait(desk.pull()).expect("a perfect store");
        wait(desk.push()).expect("a perfect store");
    }
}

/// What a newcomer has, and of what kinds its problems are.
fn newcomer(store: &FaultyStore) -> (BTreeSet<u64>, BTreeSet<ProblemKind>) {
    let mut newcomer = Desk::at(9, store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    let kinds = pulled.problems.into_iter().map(|problem| problem.kind);
    (newcomer.kept(), kinds.collect())
}

/// Two machines with one identity, under which nobody wrote a manifest yet.
fn twins(store: &FaultyStore) -> (Desk, Desk) {
    store.set_yielding(true);
    let mut one = Desk::at(1, store);
    wait(one.push()).expect("nothing to do, but it has its identity");
    let mut twin = one.clone();
    twin.options = Desk::at(2, store).options;
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

#[test]
fn what_comes_late_to_a_line_that_was_taken_over_is_read_before_it_goes() {
    let store = perfect_store();
    store.set_yielding(true);
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let mut copy = one.clone();
    copy.options = Desk::at(2, &store).options;
    copy.add(20..25);
    let before = line(&store, "objects/segments", shared);
    let late = || {
        let mut keys = line(&store, "objects/segments", shared);
        keys.retain(|key| !before.contains(key));
        keys
    };
    let push = copy.push();
    let mut push = Box::pin(push);
    // It has looked at its line, and its segment arrives after the takeover.
    run_until(push.as_mut(), || !late().is_empty());
    let objects: Vec<_> = late()
        .into_iter()
        .map(|key| (store.objects()[&key].clone(), key))
        .collect();
    for (_, key) in &objects {
        store.remove_raw(key);
    }
    one.reset(ResetMode::NewIdentity);
    wait(one.push()).expect("a perfect store");
    for (object, key) in objects {
        store.put_raw(&key, object);
    }
    weeks_pass(&mut one);
    assert_eq!(late(), Vec::<String>::new(), "it was cleared away");
    // The copy dies.
    drop(push);
    let everything = (0..10).chain(20..25).collect();
    assert_eq!(newcomer(&store), (everything, BTreeSet::new()));
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
fn a_manifest_that_comes_weeks_late_is_told_that_its_number_was_taken_over() {
    let store = perfect_store();
    store.set_yielding(true);
    let mut one = Desk::at(1, &store);
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let mut copy = one.clone();
    let another = Desk::at(2, &store);
    (copy.options, copy.clock) = (another.options, another.clock);
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
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("a perfect store");
    assert_eq!(line(&store, "manifests", shared), Vec::<String>::new());
    clock.fetch_add(GRACE_MS, std::sync::atomic::Ordering::Relaxed);
    wait(push.as_mut()).expect("a perfect store");
    drop(push);
    assert_ne!(copy.own().node, shared);
    assert_eq!(newcomer(&store).0, (0..6).chain(20..25).collect());
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
    let mut copy = one.clone();
    copy.options = Desk::at(2, &store).options;
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
    assert!(problems.contains(&ProblemKind::Conflict), "{problems:?}");
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
