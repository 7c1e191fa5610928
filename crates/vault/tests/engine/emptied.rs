//! A store that shows nothing any more: a disk that is not mounted, a bucket that was wiped.

use testkit::FaultyStore;
use vault::{PullMode, ResetMode, VaultError};

use crate::desk::{Desk, keys, perfect_store, vault_file, wait};

/// Two devices in sync, and a third of which only its records are left.
fn synced(store: &FaultyStore) -> (Desk, Desk) {
    let (mut one, mut two, mut lost) = (Desk::at(1, store), Desk::at(2, store), Desk::at(3, store));
    one.add(0..5);
    two.add(10..15);
    lost.add(20..25);
    for desk in [&mut lost, &mut one, &mut two] {
        wait(desk.push()).expect("a perfect store");
    }
    for desk in [&mut one, &mut two] {
        wait(desk.pull()).expect("a perfect store");
    }
    (one, two)
}

fn empty(store: &FaultyStore) {
    for key in store.objects().keys() {
        store.remove_raw(key);
    }
}

#[test]
fn nothing_is_done_while_the_disk_is_not_mounted() {
    let store = perfect_store();
    let (mut one, _) = synced(&store);
    let objects = store.objects();
    empty(&store);
    one.add(5..7);
    let before = one.own();
    let absent = |error: VaultError| matches!(error, VaultError::NoVault(_));
    assert!(absent(wait(one.pull()).expect_err("nothing is there")));
    assert!(absent(
        wait(one.pull_as(PullMode::Force)).expect_err("nothing is there")
    ));
    assert!(absent(wait(one.push()).expect_err("nothing is there")));
    assert!(absent(wait(one.repair()).expect_err("nothing is there")));
    assert!(absent(wait(one.verify()).expect_err("nothing is there")));
    assert_eq!(one.own(), before);
    assert!(store.objects().is_empty());
    for (key, object) in objects {
        store.put_raw(&key, object);
    }
    let report = wait(one.push()).expect("a perfect store");
    assert_eq!(report.records, 2, "{report:?}");
}

#[test]
fn a_store_that_was_emptied_is_filled_again() {
    let store = perfect_store();
    let (mut one, mut two) = synced(&store);
    empty(&store);
    one.add(5..7);
    two.add(15..17);
    // A person says that it is really empty.
    store.put_raw("vault.json", vault_file(&keys()).to_bytes());
    one.reset(ResetMode::Emptied);
    wait(one.pull()).expect("a perfect store");
    wait(one.push()).expect("a perfect store");
    let error = wait(two.push()).expect_err("somebody has to decide");
    assert!(error.is_conflict(), "{error}");
    wait(two.pull_as(PullMode::Force)).expect("a perfect store");
    wait(two.push()).expect("a perfect store");
    wait(one.pull()).expect("a perfect store");
    let mut newcomer = Desk::at(9, &store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(pulled.problems, []);
    for desk in [&one, &two, &newcomer] {
        assert_eq!(desk.kept(), (0..7).chain(10..17).chain(20..25).collect());
    }
}
