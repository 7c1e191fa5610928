//! An image of a machine that was in the vault and had published nothing was started twice: both begin one line. Each finds out at its next
//! sync and goes on by itself, and nobody else takes anything for damaged.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{Look, NodeId, ProblemKind, Vault};

use crate::desk::{Desk, keys, line, newcomer, perfect_store, wait};

/// Two machines of one image, which has its identity and published nothing.
fn started_twice(store: &FaultyStore) -> (Desk, Desk, NodeId) {
    let mut one = Desk::at(1, store);
    wait(one.push()).expect("nothing to do, but it has its identity");
    let twin = one.copied_to(2, store);
    let shared = one.own().node;
    (one, twin, shared)
}

/// What each of them publishes before it can see the other's: their manifests collide from the first on.
fn both_begin(store: &FaultyStore, one: &mut Desk, twin: &mut Desk, pushes: u64) {
    let elsewhere = FaultyStore::new(1, Faults::none());
    for (key, object) in store.objects() {
        elsewhere.put_raw(&key, object);
    }
    let home = twin.vault.clone();
    twin.vault = Vault::new(
        Store::from_object_store(Arc::new(elsewhere.clone()), ""),
        keys(),
    );
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    for n in 0..pushes {
        twin.add(20 + n..21 + n);
        wait(twin.push()).expect("a perfect store");
    }
    for (key, object) in elsewhere.objects() {
        store.put_raw(&key, object);
    }
    twin.vault = home;
}

#[test]
fn the_second_goes_on_under_an_identity_of_its_own_where_the_first_has_published() {
    for pulls in [true, false] {
        let store = perfect_store();
        let (mut one, mut twin, shared) = started_twice(&store);
        one.add(0..5);
        wait(one.push()).expect("a perfect store");
        twin.add(20..22);
        if pulls {
            let pulled = wait(twin.pull()).expect("a perfect store");
            assert_eq!(pulled.problems, []);
            assert_eq!(twin.kept(), (0..5).chain(20..22).collect());
        }
        let report = wait(twin.push()).expect("it finds out by itself");
        assert_eq!(report.records, 2, "{report:?}");
        assert_ne!(twin.own().node, shared);
        one.add(5..7);
        wait(one.push()).expect("its line is as it left it");
        assert_eq!(one.own().node, shared, "one of them keeps it");
        let everything = (0..7).chain(20..22).collect();
        assert_eq!(newcomer(&store), (everything, BTreeSet::new()));
    }
}

#[test]
fn both_go_on_by_themselves_where_both_have_begun_and_others_read_both_ends() {
    for pushes in [1, 3] {
        let store = perfect_store();
        let (mut one, mut twin, shared) = started_twice(&store);
        let mut reader = Desk::at(3, &store);
        both_begin(&store, &mut one, &mut twin, pushes);
        let everything: BTreeSet<u64> = (0..5).chain(20..20 + pushes).collect();
        let told = wait(reader.pull()).expect("a perfect store").problems;
        let kinds: Vec<ProblemKind> = told.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, [ProblemKind::Twins], "it is told once: {told:?}");
        assert_eq!(reader.kept(), everything);
        let verified = wait(reader.verify()).expect("a perfect store");
        assert!(verified.is_sound(), "{:?}", verified.problems);
        assert_eq!(wait(reader.pull()).expect("a perfect store").problems, []);
        for desk in [&mut one, &mut twin] {
            let pulled = wait(desk.pull()).expect("a perfect store");
            assert_eq!(pulled.problems, []);
            assert_eq!(desk.kept(), everything);
            wait(desk.push()).expect("a perfect store");
            assert_ne!(desk.own().node, shared);
        }
        assert_ne!(one.own().node, twin.own().node);
        one.forget(3);
        twin.forget(20);
        for _ in 0..5 {
            one.week_passes();
            twin.week_passes();
            wait(reader.pull()).expect("a perfect store");
        }
        assert_eq!(line(&store, "manifests", shared), Vec::<String>::new());
        let verified = wait(reader.verify()).expect("a perfect store");
        assert_eq!((verified.is_sound(), verified.forgotten_left), (true, 0));
        let left = everything.into_iter().filter(|n| *n != 3 && *n != 20);
        assert_eq!(newcomer(&store), (left.collect(), BTreeSet::new()));
    }
}

#[test]
fn who_knew_one_end_reads_the_other_and_is_told_once() {
    let store = perfect_store();
    let (mut one, mut twin, _) = started_twice(&store);
    let mut readers = [Desk::at(3, &store), Desk::at(4, &store)];
    both_begin(&store, &mut one, &mut twin, 2);
    let all = store.objects();
    // Each end comes first for one of them.
    for (reader, hides_one) in readers.iter_mut().zip([true, false]) {
        let hidden = match hides_one {
            true => &one,
            false => &twin,
        };
        let own = hidden.own();
        let keys = own.older.iter().chain(&own.newest);
        let keys: Vec<String> = keys.map(|manifest| manifest.key(own.node)).collect();
        for key in &keys {
            store.remove_raw(key);
        }
        assert_eq!(wait(reader.pull()).expect("a perfect store").problems, []);
        for key in keys {
            store.put_raw(&key, all[&key].clone());
        }
        let told = wait(reader.pull()).expect("a perfect store").problems;
        assert!(
            matches!(told.as_slice(), [one] if one.kind == ProblemKind::Twins),
            "{told:?}"
        );
        assert_eq!(reader.kept(), (0..5).chain(20..22).collect());
        let again = wait(reader.pull()).expect("a perfect store");
        assert_eq!((again.problems, again.segments), (vec![], 0));
    }
}

#[test]
fn a_status_says_nothing_of_what_the_next_sync_mends() {
    let store = perfect_store();
    let (mut one, mut twin, _) = started_twice(&store);
    both_begin(&store, &mut one, &mut twin, 1);
    for desk in [&mut one, &mut twin] {
        let glance = desk.glance(Look::Listing).expect("all is well");
        assert!(glance.conflict.is_none(), "{:?}", glance.conflict);
    }
}

#[test]
fn nothing_is_said_of_a_line_of_two_once_somebody_took_it_over() {
    let store = perfect_store();
    let (mut one, mut twin, shared) = started_twice(&store);
    both_begin(&store, &mut one, &mut twin, 1);
    let mut reader = Desk::at(3, &store);
    reader.add(30..31);
    wait(reader.pull()).expect("a perfect store");
    wait(reader.remove(shared)).expect("all of it can be read");
    wait(reader.push()).expect("a perfect store");
    let mut late = Desk::at(4, &store);
    wait(late.pull()).expect("a perfect store");
    for desk in [&mut reader, &mut late] {
        let told = wait(desk.pull()).expect("a perfect store").problems;
        assert_eq!(told, [], "nothing is to be done");
    }
}
