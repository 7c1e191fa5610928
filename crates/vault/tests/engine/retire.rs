//! Lines that a device itself left: what was forgotten does not stay in them, and whoever still lives under one loses nothing.

use testkit::FaultyStore;
use vault::{NodeId, ObjectKind, Place, PushMode, Replica, ResetMode};

use crate::desk::{Desk, WEEK_DAYS, keys, line, newcomer, perfect_store, wait};
use crate::replica::{SimRecord, SimReplica};

/// The segments in the store that hold record `n`.
fn holders(store: &FaultyStore, n: u64) -> Vec<String> {
    let is_it = |record: &SimRecord| matches!(record, SimRecord::Put(_, value) if *value == n);
    store
        .objects()
        .into_iter()
        .filter(|(key, _)| {
            Place::parse(key).is_some_and(|(place, _)| place.kind == ObjectKind::Segment)
        })
        .filter(|(key, object)| {
            let plaintext = vault::open(&keys(), key, object).expect("opens");
            SimReplica::decode(&plaintext)
                .expect("decodes")
                .iter()
                .any(is_it)
        })
        .map(|(key, _)| key)
        .collect()
}

/// Nothing of this line is left.
fn expect_no_line(store: &FaultyStore, node: NodeId) {
    for kind in ["manifests", "objects/segments"] {
        assert_eq!(line(store, kind, node), Vec::<String>::new());
    }
}

/// A newcomer has exactly these, and a verification finds nothing forgotten.
fn expect_all(store: &FaultyStore, wanted: impl Iterator<Item = u64>) {
    assert_eq!(newcomer(store), (wanted.collect(), [].into()));
}

#[test]
fn what_was_forgotten_leaves_the_line_that_a_reset_left() {
    for (pulls, forces) in [(true, false), (false, false), (true, true), (false, true)] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        one.add(0..10);
        wait(one.push()).expect("a perfect store");
        let before = one.own().node;
        if forces {
            wait(one.push_as(PushMode::Force)).expect("a perfect store");
        } else {
            one.reset(ResetMode::NewIdentity);
        }
        assert_ne!(one.own().node, before);
        if pulls {
            wait(one.pull()).expect("a perfect store");
        }
        one.forget(3);
        wait(one.push()).expect("a perfect store");
        // Slow readers have a week.
        assert_ne!(holders(&store, 3), Vec::<String>::new());
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
        assert_eq!(
            holders(&store, 3),
            Vec::<String>::new(),
            "pulls: {pulls}, forces: {forces}"
        );
        expect_no_line(&store, before);
        expect_all(&store, (0..10).filter(|n| *n != 3));
        assert_eq!(
            wait(one.verify()).expect("a perfect store").forgotten_left,
            0
        );
    }
}

#[test]
fn a_clone_under_an_identity_that_was_left_loses_nothing() {
    for sleeps in [false, true] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        one.add(0..10);
        wait(one.push()).expect("a perfect store");
        let mut clone = one.clone();
        clone.replica.fuse = None;
        one.reset(ResetMode::NewIdentity);
        one.forget(3);
        wait(one.push()).expect("a perfect store");
        clone.add(20..25);
        if sleeps {
            one.days_pass(WEEK_DAYS);
            wait(one.push()).expect("a perfect store");
            let before = clone.own().node;
            wait(clone.push()).expect("it finds out by itself that its line was taken over");
            assert_ne!(clone.own().node, before);
        } else {
            wait(clone.push()).expect("it has not heard of it");
            one.days_pass(WEEK_DAYS);
            wait(one.push()).expect("a perfect store");
        }
        wait(clone.pull()).expect("a perfect store");
        wait(clone.push()).expect("a perfect store");
        for _ in 0..3 {
            for desk in [&mut one, &mut clone] {
                desk.week_passes();
            }
        }
        assert_eq!(holders(&store, 3), Vec::<String>::new(), "sleeps: {sleeps}");
        expect_all(&store, (0..10).filter(|n| *n != 3).chain(20..25));
    }
}

#[test]
fn a_copy_that_never_wrote_does_not_begin_a_line_that_came_and_went() {
    for resets in [false, true] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        wait(one.push()).expect("nothing to do, but it has its identity");
        let mut copy = one.clone();
        copy.options = Desk::at(2, &store).options;
        let shared = copy.own().node;
        for n in 0..3 {
            one.add(n..n + 1);
            wait(one.push()).expect("a perfect store");
        }
        one.reset(ResetMode::NewIdentity);
        wait(one.push()).expect("a perfect store");
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
        expect_no_line(&store, shared);
        // Whatever it wrote under the old identity would be numbered below the takeover.
        if resets {
            copy.reset(ResetMode::LocalOnly);
        }
        copy.add(20..25);
        let report = wait(copy.push()).expect("a perfect store");
        assert_eq!(report.records, 5);
        assert_ne!(copy.own().node, shared);
        expect_all(&store, (0..3).chain(20..25));
    }
}

#[test]
fn what_a_copy_uploaded_is_not_lost_by_a_reset() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let mut copy = one.clone();
    copy.add(20..25);
    wait(copy.push()).expect("nobody else wrote");
    // The copy is lost; its segment has arrived, its manifest is late.
    let theirs = copy.own().newest.expect("it pushed").key(shared);
    let object = store.objects()[&theirs].clone();
    store.remove_raw(&theirs);
    one.reset(ResetMode::LocalOnly);
    wait(one.pull()).expect("a perfect store");
    wait(one.push()).expect("a perfect store");
    one.forget(3);
    for _ in 0..2 {
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
    }
    assert_eq!(holders(&store, 3), Vec::<String>::new());
    expect_all(&store, (0..10).chain(20..25).filter(|n| *n != 3));
    store.put_raw(&theirs, object);
    let mut newcomer = Desk::at(9, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert!((20..25).all(|n| newcomer.kept().contains(&n)));
}

#[test]
fn a_line_that_somebody_goes_on_writing_is_left_alone() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    let mut clone = one.clone();
    let shared = one.own().node;
    clone.add(20..22);
    wait(clone.push()).expect("nobody else wrote");
    one.add(10..12);
    wait(one.push()).expect_err("somebody else wrote there");
    wait(one.push_as(PushMode::Force)).expect("a perfect store");
    for day in 0..60 {
        // A clone's clock is the same one here.
        one.days_pass(1);
        if day % 5 == 0 {
            clone.add(100 + day..101 + day);
            wait(clone.push()).expect("its line is as it left it");
        }
        wait(one.push()).expect("a perfect store");
    }
    assert_eq!(clone.own().node, shared);
    assert!(!one.own().removed.contains_key(&shared));
    // It is lost: after a quiet week the other takes its line over.
    one.days_pass(WEEK_DAYS);
    let report = wait(one.push()).expect("a perfect store");
    assert_eq!(report.retired, 1, "{report:?}");
    expect_all(
        &store,
        (0..5)
            .chain(10..12)
            .chain(20..22)
            .chain((0..60).step_by(5).map(|day| 100 + day)),
    );
}

#[test]
fn an_old_line_that_cannot_be_read_stays_and_fails_no_push() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let own = one.own();
    let key = own.live[0].entry.key(own.node);
    let object = store.objects()[&key].clone();
    store.remove_raw(&key);
    one.reset(ResetMode::NewIdentity);
    let report = wait(one.push()).expect("the old line is not needed");
    assert_eq!((report.records, report.retired), (10, 0), "{report:?}");
    // It was only late.
    store.put_raw(&key, object);
    one.days_pass(WEEK_DAYS);
    let report = wait(one.push()).expect("a perfect store");
    assert_eq!(report.retired, 1, "{report:?}");
    expect_all(&store, 0..10);
}

#[test]
fn what_an_interrupted_push_left_is_cleared_away_even_after_a_reset() {
    for mode in [ResetMode::NewIdentity, ResetMode::LocalOnly] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        one.add(0..10);
        let handle = store.for_device(1);
        handle.crash_at(handle.operations() + 3, testkit::CrashPoint::BeforeEffect);
        wait(one.push()).expect_err("it died before its manifest");
        handle.revive();
        assert_eq!(holders(&store, 3).len(), 1);
        one.reset(mode);
        one.forget(3);
        wait(one.push()).expect("a perfect store");
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
        assert_eq!(holders(&store, 3), Vec::<String>::new(), "{mode:?}");
        expect_all(&store, (0..10).filter(|n| *n != 3));
    }
}

#[test]
fn a_line_that_was_taken_over_and_written_to_once_more_goes_too() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let mut clone = one.clone();
    clone.options = Desk::at(2, &store).options;
    clone.options.segment_records_max = 10;
    one.reset(ResetMode::NewIdentity);
    wait(one.push()).expect("a perfect store");
    // The clone, whose store is behind, adds to the line; it names what is removed before its manifest arrives.
    clone.add(20..25);
    wait(clone.push()).expect("it has not heard of it");
    let theirs = clone.own().newest.expect("it pushed").key(shared);
    let kept: Vec<String> = clone
        .own()
        .live
        .iter()
        .map(|segment| segment.entry.key(shared))
        .collect();
    let before = one.own().removed[&shared].at.key(shared);
    let objects = store.objects();
    store.remove_raw(&theirs);
    for key in &kept {
        store.remove_raw(key);
    }
    for key in objects.keys().filter(|key| **key == before) {
        store.remove_raw(key);
    }
    one.add(11..12);
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("a perfect store");
    store.put_raw(&theirs, objects[&theirs].clone());
    // What is new in it arrives as well; what was taken over does not come back.
    let is_new = |key: &&String| {
        let plaintext = vault::open(&keys(), key, &objects[*key]).expect("opens");
        let records = SimReplica::decode(&plaintext).expect("decodes");
        !records
            .iter()
            .any(|record| matches!(record, SimRecord::Put(_, 0..10)))
    };
    for key in kept.iter().filter(is_new) {
        store.put_raw(key, objects[key].clone());
    }
    assert!(
        kept.iter().any(|key| !is_new(&key)),
        "it names what is gone"
    );
    one.forget(21);
    for _ in 0..4 {
        one.week_passes();
    }
    expect_no_line(&store, shared);
    expect_all(
        &store,
        (0..12)
            .filter(|n| *n != 10)
            .chain(20..25)
            .filter(|n| *n != 21),
    );
}

#[test]
fn what_a_lost_copy_uploaded_under_the_same_identity_is_taken_in_and_goes() {
    for names_it_later in [false, true] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        one.add(0..10);
        wait(one.push()).expect("a perfect store");
        let shared = one.own().node;
        let mut clone = one.clone();
        clone.options = Desk::at(2, &store).options;
        clone.add(20..25);
        wait(clone.push()).expect("nobody else wrote");
        // Its segment arrives, its manifest does not.
        let theirs = clone.own().newest.expect("it pushed").key(shared);
        let object = store.objects()[&theirs].clone();
        store.remove_raw(&theirs);
        assert_eq!(holders(&store, 21).len(), 1);
        one.days_pass(WEEK_DAYS);
        let report = wait(one.push()).expect("a perfect store");
        assert_eq!(report.records, 5, "they are as good as its own: {report:?}");
        one.forget(21);
        wait(one.push()).expect("a perfect store");
        assert_ne!(
            holders(&store, 21),
            Vec::<String>::new(),
            "a reader may be slow"
        );
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
        assert_eq!(holders(&store, 21), Vec::<String>::new());
        if names_it_later {
            store.put_raw(&theirs, object);
            wait(one.push()).expect_err("somebody else wrote there");
            wait(one.push_as(PushMode::Force)).expect("a perfect store");
            for _ in 0..4 {
                one.days_pass(WEEK_DAYS);
                wait(one.push()).expect("a perfect store");
            }
            expect_no_line(&store, shared);
        }
        expect_all(&store, (0..10).chain(20..25).filter(|n| *n != 21));
    }
}

#[test]
fn what_waits_in_a_line_that_nobody_lists_any_more_goes_in_the_end() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    one.forget(3);
    wait(one.push()).expect("a perfect store");
    let before = one.own().node;
    one.reset(ResetMode::NewIdentity);
    // Somebody removed them, or their listing is behind.
    let manifests: Vec<_> = line(&store, "manifests", before)
        .into_iter()
        .map(|key| (key.clone(), store.objects()[&key].clone()))
        .collect();
    for (key, _) in &manifests {
        store.remove_raw(key);
    }
    for week in 1..10 {
        one.week_passes();
        let is_there = !holders(&store, 3).is_empty();
        assert_eq!(is_there, week < 5, "in week {week}");
    }
    expect_no_line(&store, before);
    expect_all(&store, (0..10).filter(|n| *n != 3));
    // They come after all.
    for (key, object) in manifests {
        store.put_raw(&key, object);
    }
    for _ in 0..5 {
        one.week_passes();
    }
    expect_no_line(&store, before);
    expect_all(&store, (0..10).filter(|n| *n != 3));
}
