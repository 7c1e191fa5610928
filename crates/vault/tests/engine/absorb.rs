//! Two vaults in one place, and a device that has the keys of both.
//!
//! What must hold: what the vault that was not kept left there ends in the other one, and nothing of it goes before; what was forgotten
//! there does not come back, whatever of it cannot be read.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{Absorbed, Device, Keyring, Observer, RepairReport, Step, Vault, VaultError};

use crate::desk::{Desk, GRACE_MS, keys, perfect_store, vault_file, wait};

/// The keys of the vault that is kept.
fn kept_keys() -> Keyring {
    let text = format!(r#"{{"vault":"{:032x}","keys":["{:064x}"]}}"#, 0xca7, 0xd06);
    Keyring::from_secret_json(&text).expect("well formed")
}

fn store_of(store: &FaultyStore, number: u64) -> Store {
    Store::from_object_store(Arc::new(store.for_device(number as usize)), "")
}

/// A device that is in the vault that is kept.
fn desk_in_kept(number: u64, store: &FaultyStore) -> Desk {
    Desk::with_keys(number, store_of(store, number), kept_keys())
}

/// A place where one vault held 0 to 9 without 3, and another, with 20 and 21, was kept.
fn place() -> FaultyStore {
    let store = perfect_store();
    let mut lost = Desk::at(1, &store);
    lost.add(0..6);
    wait(lost.push()).expect("a perfect store");
    lost.add(6..10);
    wait(lost.push()).expect("a perfect store");
    lost.forget(3);
    wait(lost.push()).expect("a perfect store");
    store.put_raw("vault.json", vault_file(&kept_keys()).to_bytes());
    let mut kept = desk_in_kept(2, &store);
    kept.add(20..22);
    wait(kept.push()).expect("a perfect store");
    store
}

/// The same objects in another store.
fn copy_of(store: &FaultyStore) -> FaultyStore {
    let copy = FaultyStore::new(1, Faults::none());
    for (key, bytes) in store.objects() {
        copy.put_raw(&key, bytes);
    }
    copy
}

fn absorb(
    desk: &mut Desk,
    observer: &mut dyn Observer,
) -> Result<(RepairReport, Absorbed), VaultError> {
    absorb_as(desk, observer, false)
}

fn absorb_as(
    desk: &mut Desk,
    observer: &mut dyn Observer,
    gives_up: bool,
) -> Result<(RepairReport, Absorbed), VaultError> {
    let mut device = Device::new(&desk.vault, &mut desk.replica, &desk.options, observer);
    wait(device.absorb(&[keys()], gives_up))
}

/// The objects that are sealed for the vault that was not kept.
fn of_lost(store: &FaultyStore) -> Vec<String> {
    let id = keys().vault().0;
    let objects = store.objects().into_iter();
    let is_theirs = |bytes: &[u8]| bytes.len() > 21 && bytes[5..21] == id;
    objects
        .filter(|(_, bytes)| is_theirs(bytes))
        .map(|(key, _)| key)
        .collect()
}

fn everything() -> BTreeSet<u64> {
    (0..10).filter(|n| *n != 3).chain(20..22).collect()
}

#[test]
fn what_the_other_vault_left_is_published_in_this_one_and_removed() {
    let store = place();
    let left = of_lost(&store).len() as u64;
    let mut heir = desk_in_kept(4, &store);
    let (report, absorbed) = absorb(&mut heir, &mut ()).expect("a perfect store");
    assert_eq!(report.problems, [], "what was absorbed is no problem");
    assert_eq!((absorbed.objects, absorbed.problems), (left, vec![]));
    assert!(of_lost(&store).is_empty());
    let mut newcomer = desk_in_kept(5, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), everything());
    assert!(wait(newcomer.verify()).expect("a perfect store").is_sound());
    let (_, again) = absorb(&mut heir, &mut ()).expect("a perfect store");
    assert_eq!(again, Absorbed::default());
}

#[test]
fn whatever_is_damaged_stays_and_nothing_forgotten_comes_back() {
    let store = place();
    for damaged in of_lost(&store) {
        let store = copy_of(&store);
        let mut bytes = store.objects()[&damaged].to_vec();
        *bytes.last_mut().expect("it has bytes") ^= 1;
        store.put_raw(&damaged, bytes);
        let before = of_lost(&store);
        let mut heir = desk_in_kept(4, &store);
        let (_, absorbed) = absorb(&mut heir, &mut ()).expect("a perfect store");
        let named = |absorbed: &Absorbed| {
            let mut problems = absorbed.problems.iter();
            problems.any(|problem| problem.key == damaged)
        };
        assert!(named(&absorbed), "{damaged}: {absorbed:?}");
        assert_eq!(of_lost(&store), before, "nothing goes before all is read");
        let mut newcomer = desk_in_kept(5, &store);
        wait(newcomer.pull()).expect("a perfect store");
        assert!(!newcomer.kept().contains(&3), "{damaged}");
        assert!(newcomer.kept().is_superset(&(20..22).collect()));
        // Given up, it goes.
        let given_up = copy_of(&store);
        let mut other = desk_in_kept(6, &given_up);
        let (_, absorbed) = absorb_as(&mut other, &mut (), true).expect("a perfect store");
        assert!(named(&absorbed) && of_lost(&given_up).is_empty());
        assert!(!other.kept().contains(&3), "{damaged}");
        // Whole again, it is taken in, too.
        store.put_raw(&damaged, place().objects()[&damaged].clone());
        absorb(&mut heir, &mut ()).expect("a perfect store");
        wait(newcomer.pull()).expect("a perfect store");
        assert_eq!(newcomer.kept(), everything(), "{damaged}");
        assert!(of_lost(&store).is_empty());
    }
}

#[test]
fn a_rotation_of_the_other_vault_is_none_of_this_one() {
    let store = perfect_store();
    let rotated = keys().rotated();
    let lost = Vault::new(store_of(&store, 1), rotated.clone());
    wait(lost.mark_epoch()).expect("a perfect store");
    store.put_raw("vault.json", vault_file(&rotated).to_bytes());
    let mut one = Desk::with_keys(1, store_of(&store, 1), rotated.clone());
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    store.put_raw("vault.json", vault_file(&kept_keys()).to_bytes());

    let mut heir = desk_in_kept(4, &store);
    heir.add(20..22);
    wait(heir.pull()).expect("the mark names another vault");
    wait(heir.push()).expect("the mark names another vault");
    let (_, absorbed) = wait(
        Device::new(&heir.vault, &mut heir.replica, &heir.options, &mut ())
            .absorb(&[rotated], false),
    )
    .expect("a perfect store");
    assert_eq!(absorbed.objects, 3, "a manifest, a segment and the mark");
    assert!(!store.objects().keys().any(|key| key.contains("epoch-")));
    assert_eq!(heir.kept(), (0..3).chain(20..22).collect());
}

/// Puts the other vault's `vault.json` back at a step.
struct TurnsBack {
    store: FaultyStore,
    at: &'static str,
}

impl Observer for TurnsBack {
    fn step(&mut self, step: Step) {
        if step == Step::Phase(self.at) {
            self.store
                .put_raw("vault.json", vault_file(&keys()).to_bytes());
        }
    }
}

#[test]
fn nothing_goes_where_the_other_vault_is_kept_after_all() {
    for at in ["verify", "publish"] {
        let store = place();
        let before = of_lost(&store);
        let mut turns = TurnsBack {
            store: store.clone(),
            at,
        };
        let mut heir = desk_in_kept(4, &store);
        absorb(&mut heir, &mut turns).expect_err("the place is not this vault's any more");
        assert_eq!(of_lost(&store), before, "{at}");
    }
}

#[test]
fn a_line_that_is_disputed_does_not_keep_the_other_vault_from_being_taken_in() {
    let store = place();
    let mut heir = desk_in_kept(4, &store);
    heir.add(30..33);
    wait(heir.push()).expect("a perfect store");
    let own = heir.own().node;
    let manifests = store.objects().into_keys();
    let of_own: Vec<String> = manifests
        .filter(|key| key.starts_with(&format!("manifests/{own}/")))
        .collect();
    assert!(!of_own.is_empty() && of_own.iter().all(|key| store.remove_raw(key)));
    heir.clock
        .fetch_add(2 * GRACE_MS, std::sync::atomic::Ordering::Relaxed);
    absorb(&mut heir, &mut ()).expect("a repair mends the line");
    assert!(of_lost(&store).is_empty());
    let mut newcomer = desk_in_kept(5, &store);
    wait(newcomer.pull()).expect("a perfect store");
    let wanted: BTreeSet<u64> = everything().into_iter().chain(30..33).collect();
    assert_eq!(newcomer.kept(), wanted);
}
