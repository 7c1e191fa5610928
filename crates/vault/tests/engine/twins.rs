//! Two machines under one identity: a cloned disk, a restored backup. It is noticed, named, and nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{NodeId, ProblemKind, PushMode, Replica, ResetMode, StateKeys, Vault, VaultError};

use crate::desk::{Desk, GRACE_MS, keys, perfect_store, wait};

const WEEK_DAYS: i64 = GRACE_MS / (24 * 3600 * 1000) + 1;

#[test]
fn a_clone_is_told_and_goes_on_under_its_own_identity() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    let mut clone = one.clone();
    one.add(10..12);
    wait(one.push()).expect("a perfect store");
    clone.add(20..22);
    let refused = wait(clone.push()).expect_err("somebody else wrote there");
    assert!(
        matches!(refused, VaultError::SequenceConflict { .. }),
        "{refused:?}"
    );
    wait(clone.push_as(PushMode::Force)).expect("a perfect store");
    assert_ne!(clone.own().node, one.own().node);
    wait(one.push()).expect("its line is as it left it");
    everybody_has_everything(&store, &mut [&mut one, &mut clone]);
}

#[test]
fn two_histories_are_both_read_and_a_reset_takes_neither_for_its_own() {
    for reset in [false, true] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        one.add(0..5);
        wait(one.push()).expect("a perfect store");
        // Both push before either sees the other's.
        let elsewhere = FaultyStore::new(1, Faults::none());
        for (key, object) in store.objects() {
            elsewhere.put_raw(&key, object);
        }
        let mut clone = one.clone();
        clone.vault = Vault::new(
            Store::from_object_store(Arc::new(elsewhere.clone()), ""),
            keys(),
        );
        one.add(10..12);
        clone.add(20..22);
        wait(one.push()).expect("a perfect store");
        wait(clone.push()).expect("a perfect store");
        for (key, object) in elsewhere.objects() {
            store.put_raw(&key, object);
        }
        let mut reader = Desk::at(5, &store);
        let report = wait(reader.pull()).expect("a perfect store");
        assert!(
            report
                .problems
                .iter()
                .any(|problem| problem.kind == ProblemKind::Twins),
            "{:?}",
            report.problems
        );
        let verified = wait(reader.verify()).expect("a perfect store");
        assert!(verified.is_sound(), "{:?}", verified.problems);
        assert_eq!(reader.kept(), (0..5).chain(10..12).chain(20..22).collect());
        // The clone is lost; the other finds out, or is reset before it does.
        let node = one.own().node;
        if reset {
            one.reset(ResetMode::LocalOnly);
            wait(one.pull()).expect("a perfect store");
        } else {
            wait(one.push()).expect_err("there are two histories");
            wait(one.push_as(PushMode::Force)).expect("a perfect store");
        }
        assert_ne!(one.own().node, node, "by reset: {reset}");
        one.days_pass(100);
        one.add(30..31);
        one.forget(30);
        wait(one.push()).expect("a perfect store");
        everybody_has_everything(&store, &mut [&mut one, &mut reader]);
    }
}

fn everybody_has_everything(store: &FaultyStore, desks: &mut [&mut Desk]) {
    let mut newcomer = Desk::at(9, store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(
        newcomer.kept(),
        (0..5).chain(10..12).chain(20..22).collect()
    );
    for desk in desks {
        wait(desk.pull()).expect("a perfect store");
        assert_eq!(desk.kept(), newcomer.kept());
    }
}

/// Two histories from manifest 2 on: a clone, now lost, wrote one manifest, whose arrival was late; the other machine went on, merged
/// and removed what the clone's manifest still names. Returns the other machine, and the clone's new segment, which is still late.
fn merged_away(store: &FaultyStore) -> (Desk, (String, Bytes)) {
    let mut one = Desk::at(1, store);
    one.options.segment_records_max = 2;
    one.add(0..6);
    wait(one.push()).expect("a perfect store");
    let mut clone = one.clone();
    clone.add(20..21);
    let before = store.objects();
    wait(clone.push()).expect("nobody else wrote");
    let mut theirs = store.objects();
    theirs.retain(|key, _| !before.contains_key(key));
    for key in theirs.keys() {
        store.remove_raw(key);
    }
    one.options.segment_records_max = 1000;
    one.add(10..13);
    wait(one.push_as(PushMode::Full)).expect("a perfect store");
    one.forget(12);
    wait(one.push()).expect("a perfect store");
    one.days_pass(WEEK_DAYS);
    one.add(13..14);
    let report = wait(one.push()).expect("a perfect store");
    assert!(report.removed >= 3, "{report:?}");
    let (manifest, object) = theirs.pop_first().expect("manifests come first");
    store.put_raw(&manifest, object);
    let late = theirs.pop_first().expect("and a segment");
    assert!(manifest.starts_with("manifests/") && theirs.is_empty());
    wait(one.push()).expect_err("somebody else wrote there");
    (one, late)
}

/// The segments of `node` in the store.
fn segments(store: &FaultyStore, node: NodeId) -> Vec<String> {
    let line = format!("objects/segments/{node}/");
    let keys = store.objects().into_keys();
    keys.filter(|key| key.starts_with(&line)).collect()
}

#[test]
fn a_twin_whose_segments_were_merged_away_is_taken_over() {
    for by_hand in [false, true] {
        let store = perfect_store();
        let (mut one, (key, object)) = merged_away(&store);
        store.put_raw(&key, object);
        let shared = one.own().node;
        let mut heir = Desk::at(5, &store);
        if by_hand {
            wait(heir.pull()).expect("a perfect store");
            let report = wait(heir.remove(shared)).expect("a perfect store");
            assert_eq!(
                report
                    .problems
                    .iter()
                    .find(|problem| problem.key.starts_with("manifests/")
                        && problem.kind == ProblemKind::Missing),
                None
            );
        } else {
            wait(one.push_as(PushMode::Force)).expect("a perfect store");
            heir = one;
        }
        heir.forget(4);
        for _ in 0..4 {
            heir.days_pass(WEEK_DAYS);
            wait(heir.push()).expect("a perfect store");
        }
        assert_eq!(
            segments(&store, shared),
            Vec::<String>::new(),
            "by hand: {by_hand}"
        );
        let mut newcomer = Desk::at(9, &store);
        let pulled = wait(newcomer.pull()).expect("a perfect store");
        assert_eq!(pulled.problems, []);
        let wanted = (0..6).filter(|n| *n != 4).chain([10, 11, 13, 20]);
        assert_eq!(newcomer.kept(), wanted.collect());
    }
}

#[test]
fn a_twin_of_which_something_else_is_missing_waits_for_it() {
    let store = perfect_store();
    // What only the clone ever had is merely late.
    let (mut one, (key, object)) = merged_away(&store);
    let shared = one.own().node;
    wait(one.push_as(PushMode::Force)).expect("a perfect store");
    for _ in 0..4 {
        one.days_pass(WEEK_DAYS);
        let report = wait(one.push()).expect("a perfect store");
        assert_eq!(report.retired, 0, "{report:?}");
    }
    assert_ne!(segments(&store, shared), Vec::<String>::new());
    store.put_raw(&key, object);
    for _ in 0..3 {
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
    }
    assert_eq!(segments(&store, shared), Vec::<String>::new());
    let mut newcomer = Desk::at(9, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), (0..6).chain([10, 11, 13, 20]).collect());
}

#[test]
fn what_was_forgotten_before_a_reset_leaves_the_line_that_a_clone_wrote() {
    for rescue in [Rescue::Reset, Rescue::Repair] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        wait(one.push()).expect("nothing to do, but it has its identity");
        let mut clone = one.clone();
        let mut other = Desk::at(2, &store);
        other.forget(3);
        wait(other.push()).expect("a perfect store");
        wait(one.pull()).expect("a perfect store");
        clone.add(0..10);
        wait(clone.push()).expect("nobody else wrote");
        assert_eq!(one.kept(), BTreeSet::new());
        one.reset(ResetMode::LocalOnly);
        wait(one.pull()).expect("a perfect store");
        if rescue == Rescue::Repair {
            // An older version did not note it.
            let name = StateKeys::new(keys().vault()).own();
            let mut own = one.own();
            own.stained = false;
            let bytes = serde_json::to_vec(&own).expect("plain data");
            one.replica
                .save(&[(name, Some(bytes))])
                .expect("the database works");
            wait(one.repair()).expect("a perfect store");
        }
        assert_eq!(one.own().node, clone.own().node);
        wait(one.push()).expect("a perfect store");
        assert!(!one.own().stained);
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
        assert_eq!(
            wait(one.verify()).expect("a perfect store").forgotten_left,
            0,
            "{rescue:?}"
        );
        let mut newcomer = Desk::at(9, &store);
        wait(newcomer.pull()).expect("a perfect store");
        assert_eq!(newcomer.kept(), (0..10).filter(|n| *n != 3).collect());
    }
}

/// How a device comes to look into segments that it cannot make again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescue {
    Reset,
    Repair,
}

#[test]
fn what_a_reset_left_to_the_store_is_published_again_and_not_missed_should_it_be_gone() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    let shared = one.own().node;
    let key = one.own().live[0].entry.key(shared);
    // What it published is the store's now: under this identity it would not publish that again.
    one.reset(ResetMode::LocalOnly);
    wait(one.pull()).expect("a perfect store");
    let mut clone = one.clone();
    clone.add(20..21);
    wait(clone.push()).expect("nobody else wrote");
    wait(one.push()).expect_err("somebody else wrote there");
    let report = wait(one.push_as(PushMode::Force)).expect("a perfect store");
    assert_eq!(report.records, 10, "nobody else has them: {report:?}");
    let object = store.objects()[&key].clone();
    store.remove_raw(&key);
    let everything = (0..10).chain([20]).collect::<BTreeSet<u64>>();
    let kept = || {
        let mut newcomer = Desk::at(9, &store);
        wait(newcomer.pull()).expect("a perfect store");
        newcomer.kept()
    };
    assert_eq!(kept(), everything);
    let mut retired = 0;
    for _ in 0..3 {
        one.days_pass(WEEK_DAYS);
        retired += wait(one.push()).expect("a perfect store").retired;
    }
    assert_eq!(retired, 1);
    assert_eq!(kept(), everything);
    // It was only late.
    store.put_raw(&key, object);
    for _ in 0..3 {
        one.days_pass(WEEK_DAYS);
        wait(one.push()).expect("a perfect store");
    }
    assert_eq!(segments(&store, shared), Vec::<String>::new());
    assert_eq!(kept(), everything);
}
