//! A push past a conflict that is cut off: it tells the truth about what is pending, and goes on under the identity that it took.

use testkit::{CrashPoint, FaultyStore};
use vault::{Overview, PushMode};

use crate::desk::{Desk, perfect_store, wait};

/// A device with 40 published records and one that is not; a clone of it wrote under its identity.
fn cloned(store: &FaultyStore) -> Desk {
    let mut one = Desk::at(1, store);
    // Several segments a push, so that it can be cut off between them.
    one.options.uploads = 1;
    one.options.segment_records_max = 8;
    one.add(0..40);
    wait(one.push()).expect("a perfect store");
    let mut clone = one.clone();
    clone.add(90..91);
    wait(clone.push()).expect("a perfect store");
    one.add(50..51);
    wait(one.push()).expect_err("somebody else writes there");
    one
}

fn overview(desk: &Desk) -> Overview {
    Overview::read(&desk.replica, desk.vault.keys().vault(), "").expect("the database works")
}

/// How many lines the store shows.
fn lines(store: &FaultyStore) -> usize {
    let objects = store.objects();
    let node = |key: &String| {
        Some(
            key.strip_prefix("manifests/")?
                .split('/')
                .next()?
                .to_owned(),
        )
    };
    let lines: std::collections::BTreeSet<_> = objects.keys().filter_map(node).collect();
    lines.len()
}

#[test]
fn a_forced_push_that_does_not_reach_the_store_changes_nothing() {
    let store = perfect_store();
    let mut one = cloned(&store);
    let (before, shown) = (one.own(), overview(&one));
    assert_eq!((shown.pending, shown.again), (1, 0));
    let handle = store.for_device(1);
    handle.crash_at(1, CrashPoint::BeforeEffect);
    wait(one.push_as(PushMode::Force)).expect_err("it is out of reach");
    handle.revive();
    assert_eq!(one.own(), before);
    assert_eq!(overview(&one), shown);
}

#[test]
fn a_forced_push_that_is_cut_off_goes_on() {
    for again in [PushMode::Force, PushMode::Pending] {
        for operation in 3..40 {
            for point in [CrashPoint::BeforeEffect, CrashPoint::AfterEffect] {
                let store = perfect_store();
                let mut one = cloned(&store);
                let left = one.own().node;
                let handle = store.for_device(1);
                handle.crash_at(operation, point);
                if wait(one.push_as(PushMode::Force)).is_ok() {
                    assert!(operation > 8, "it takes many steps");
                    break;
                }
                handle.revive();
                let what = format!("{again:?} after step {operation}, {point:?}");
                let (taken, shown) = (one.own().node, overview(&one));
                assert_eq!(shown.pending, 1, "{what}: the others are in the vault");
                assert!(taken == left || (1..=40).contains(&shown.again), "{what}");
                if taken == left && again == PushMode::Pending {
                    continue;
                }
                wait(one.push_as(again)).expect("a perfect store");
                assert!(taken == left || one.own().node == taken, "{what}");
                let shown = overview(&one);
                assert_eq!((shown.pending, shown.again), (0, 0), "{what}");
                assert_eq!(lines(&store), 2, "{what}: no identity too many");
                let mut newcomer = Desk::at(9, &store);
                wait(newcomer.pull()).expect("a perfect store");
                let all = (0..40).chain([50, 90]).collect();
                assert_eq!(newcomer.kept(), all, "{what}");
            }
        }
    }
}

#[test]
fn a_forced_push_of_one_who_has_published_takes_a_new_identity_each_time() {
    let store = perfect_store();
    let mut one = cloned(&store);
    let mut taken = vec![one.own().node];
    for _ in 0..2 {
        wait(one.push_as(PushMode::Force)).expect("a perfect store");
        taken.push(one.own().node);
    }
    taken.dedup();
    assert_eq!(taken.len(), 3);
}
