//! Two machines under one identity: a cloned disk, a restored backup. It is noticed, named, and nothing is lost.

use std::sync::Arc;

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{ProblemKind, PushMode, ResetMode, Vault, VaultError};

use crate::desk::{Desk, keys, perfect_store, wait};

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
                .any(|problem| problem.kind == ProblemKind::Conflict),
            "{:?}",
            report.problems
        );
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
