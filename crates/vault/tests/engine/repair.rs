//! Repair: what was damaged or deleted in the store comes back from whoever still has it.

use std::collections::BTreeSet;

use testkit::FaultyStore;

use crate::desk::{Desk, perfect_store, wait};

/// A change to the object under a key.
type Harm = fn(&FaultyStore, &str);

fn delete(store: &FaultyStore, key: &str) {
    assert!(store.remove_raw(key));
}

fn damage(store: &FaultyStore, key: &str) {
    let mut object = store.objects()[key].to_vec();
    let middle = object.len() / 2;
    object[middle] ^= 0x40;
    store.put_raw(key, object);
}

fn everything() -> BTreeSet<u64> {
    (0..30).chain(50..60).filter(|n| *n != 4).collect()
}

fn room() -> (FaultyStore, Desk, Desk) {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    one.options.segment_records_max = 10;
    one.add(0..30);
    two.add(50..60);
    wait(async {
        one.push().await?;
        two.push().await?;
        one.forget(4);
        one.push().await?;
        two.pull().await?;
        one.pull().await
    })
    .expect("a perfect store");
    assert_eq!(one.kept(), everything());
    (store, one, two)
}

/// After a repair by `desk` a newcomer reads everything, and the repairer finds its own line sound.
fn is_mended(store: &FaultyStore, desk: &mut Desk, what: &str) {
    let report = wait(desk.repair()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut newcomer = Desk::at(9, store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), everything(), "{what}: {report:?}");
    assert_eq!(desk.kept(), everything(), "{what}");
    let node = desk.own().node.to_string();
    let verified = wait(desk.verify()).expect("a perfect store");
    let ours = verified
        .problems
        .iter()
        .find(|problem| problem.key.contains(&node) && problem.kind.is_serious());
    assert_eq!(ours, None, "{what}");
}

#[test]
fn each_object_deleted_or_damaged_comes_back_from_its_author_or_another() {
    let count = room().0.objects().len();
    for harm in [delete as Harm, damage as Harm] {
        for nth in 0..count {
            for by_author in [true, false] {
                let (store, mut one, mut two) = room();
                let key = store.objects().keys().nth(nth).cloned().expect("counted");
                if key == "vault.json" {
                    continue;
                }
                harm(&store, &key);
                let desk = if by_author { &mut one } else { &mut two };
                is_mended(
                    &store,
                    desk,
                    &format!("{key}, mended by its author: {by_author}"),
                );
            }
        }
    }
}

#[test]
fn a_store_with_nothing_but_the_vault_file_is_filled_again() {
    let (store, mut one, _) = room();
    for key in store.objects().keys().filter(|key| *key != "vault.json") {
        store.remove_raw(key);
    }
    is_mended(&store, &mut one, "everything but vault.json deleted");
}

#[test]
fn segments_without_a_manifest_are_read() {
    let (store, one, _) = room();
    drop(one);
    for key in store
        .objects()
        .keys()
        .filter(|key| key.starts_with("manifests/"))
    {
        store.remove_raw(key);
    }
    let mut rescuer = Desk::at(5, &store);
    let report = wait(rescuer.repair()).expect("a perfect store");
    assert_eq!(rescuer.kept(), everything(), "{report:?}");
    let mut newcomer = Desk::at(9, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), everything());
}
