//! Segments whose manifests somebody removed from the store. Nothing is lost, nobody takes it for fine, and each way out works.

use std::collections::BTreeSet;

use testkit::FaultyStore;
use vault::{NodeId, ProblemKind, PullMode};

use crate::desk::{Desk, line, newcomer, perfect_store, wait};

/// A device that published, one that read that, and the identity whose manifests are gone: all, or only the newest.
fn cleaned_up(store: &FaultyStore, all: bool) -> (Desk, Desk, NodeId) {
    let (mut one, mut two) = (Desk::at(1, store), Desk::at(2, store));
    two.add(20..23);
    wait(two.push()).expect("a perfect store");
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    one.add(5..7);
    wait(one.push()).expect("a perfect store");
    wait(two.pull()).expect("a perfect store");
    let shared = one.own().node;
    let manifests = line(store, "manifests", shared);
    let kept = if all { 0 } else { 1 };
    for key in &manifests[kept..] {
        store.remove_raw(key);
    }
    (one, two, shared)
}

fn everything() -> BTreeSet<u64> {
    (0..7).chain(20..23).collect()
}

/// Everybody has everything, and nobody has anything to complain of.
fn all_is_well(store: &FaultyStore, desks: &mut [&mut Desk]) {
    for _ in 0..2 {
        for desk in desks.iter_mut() {
            let pulled = wait(desk.pull()).expect("a perfect store");
            assert_eq!(pulled.problems, []);
            wait(desk.push()).expect("a perfect store");
            assert_eq!(desk.kept(), everything());
        }
    }
    assert_eq!(newcomer(store), (everything(), BTreeSet::new()));
    for desk in desks.iter_mut() {
        let verified = wait(desk.verify()).expect("a perfect store");
        assert!(verified.is_sound(), "{:?}", verified.problems);
    }
}

#[test]
fn everybody_who_saw_them_says_so() {
    for all in [true, false] {
        let store = perfect_store();
        let (mut one, mut two, _) = cleaned_up(&store, all);
        let refused = wait(one.push()).expect_err("the store lost what it wrote");
        assert!(refused.is_conflict(), "{refused}");
        for desk in [&mut one, &mut two] {
            let pulled = wait(desk.pull()).expect("a perfect store");
            let verified = wait(desk.verify()).expect("a perfect store");
            for problems in [pulled.problems, verified.problems] {
                let kinds: BTreeSet<_> = problems.iter().map(|one| one.kind).collect();
                assert!(kinds.contains(&ProblemKind::Regression), "{problems:?}");
            }
        }
    }
}

#[test]
fn the_device_that_wrote_them_publishes_anew() {
    for all in [true, false] {
        for repairs in [true, false] {
            let store = perfect_store();
            let (mut one, mut two, _) = cleaned_up(&store, all);
            match repairs {
                true => drop(wait(one.repair()).expect("a perfect store")),
                false => drop(wait(one.pull_as(PullMode::Force)).expect("a perfect store")),
            }
            wait(one.push()).expect("a perfect store");
            assert_eq!(newcomer(&store).0, everything());
            wait(two.pull_as(PullMode::Force)).expect("a perfect store");
            all_is_well(&store, &mut [&mut one, &mut two]);
        }
    }
}

#[test]
fn another_device_publishes_them_where_the_one_that_wrote_them_is_lost() {
    for all in [true, false] {
        for repairs in [true, false] {
            let store = perfect_store();
            let (_, mut two, _) = cleaned_up(&store, all);
            if repairs {
                wait(two.repair()).expect("a perfect store");
                assert_eq!(newcomer(&store).0, everything());
            }
            wait(two.pull_as(PullMode::Force)).expect("a perfect store");
            wait(two.push()).expect("a perfect store");
            all_is_well(&store, &mut [&mut two]);
        }
    }
}

#[test]
fn who_never_saw_them_is_told_by_a_verification_and_can_publish_them() {
    for all in [true, false] {
        let store = perfect_store();
        let (mut one, two, _) = cleaned_up(&store, all);
        drop(two);
        let mut joined = Desk::at(5, &store);
        wait(joined.pull()).expect("a perfect store");
        assert_ne!(joined.kept(), everything());
        let verified = wait(joined.verify()).expect("a perfect store");
        let serious = verified.problems.iter().filter(|one| one.kind.is_serious());
        let kinds: BTreeSet<_> = serious.map(|one| one.kind).collect();
        assert_eq!(
            kinds,
            BTreeSet::from([ProblemKind::Unnamed]),
            "{verified:?}"
        );
        let repaired = wait(joined.repair()).expect("a perfect store");
        assert!(repaired.recovered >= 2, "{repaired:?}");
        let verified = wait(joined.verify()).expect("a perfect store");
        assert!(verified.is_sound(), "{:?}", verified.problems);
        assert_eq!(newcomer(&store).0, everything());
        // The device that wrote them comes back.
        wait(one.pull_as(PullMode::Force)).expect("a perfect store");
        all_is_well(&store, &mut [&mut one, &mut joined]);
    }
}
