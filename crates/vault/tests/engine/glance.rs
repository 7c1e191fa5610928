//! A glance says what a push or a pull would say, and changes nothing.

use testkit::FaultyStore;
use vault::{Device, Glance, Keyring, Look, ResetMode, VaultError};

use crate::desk::{Desk, keys, perfect_store, vault_file, wait};

impl Desk {
    pub(crate) fn glance(&mut self, look: Look) -> Result<Glance, VaultError> {
        let before = self.replica.clone();
        let glance =
            wait(Device::new(&self.vault, &mut self.replica, &self.options, &mut ()).glance(look));
        assert_eq!(self.replica.content(), before.content());
        glance
    }
}

fn cost(store: &FaultyStore, number: usize) -> u64 {
    store.for_device(number).operations()
}

#[test]
fn news_and_what_it_costs() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    for (look, spent) in [(Look::Listing, 1), (Look::VaultFile, 2)] {
        let before = cost(&store, 2);
        let glance = two.glance(look).expect("all is well");
        assert_eq!((glance.devices, glance.news_from), (1, 1));
        assert!(glance.conflict.is_none());
        assert_eq!(cost(&store, 2) - before, spent);
    }
    wait(two.pull()).expect("a perfect store");
    for desk in [&mut one, &mut two] {
        assert_eq!(
            desk.glance(Look::Listing).expect("all is well").news_from,
            0
        );
    }
}

#[test]
fn an_emptied_store_is_no_store_without_news() {
    let store = perfect_store();
    let (mut one, mut fresh) = (Desk::at(1, &store), Desk::at(2, &store));
    assert_eq!(fresh.glance(Look::Listing).expect("a new vault").devices, 0);
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    for key in store.objects().keys() {
        store.remove_raw(key);
    }
    for desk in [&mut one, &mut fresh] {
        let error = desk.glance(Look::Listing).expect_err("nothing is there");
        assert!(matches!(error, VaultError::NoVault(_)), "{error}");
    }
    // Its description alone was put back: a push says that what it published is gone.
    store.put_raw("vault.json", vault_file(&keys()).to_bytes());
    let glance = one.glance(Look::Listing).expect("the vault is there");
    assert!(matches!(
        glance.conflict,
        Some(VaultError::Regression { .. })
    ));
    // What a reset has given up is no conflict.
    one.reset(ResetMode::NewIdentity);
    let glance = one.glance(Look::Listing).expect("the vault is there");
    assert!(glance.conflict.is_none());
}

#[test]
fn a_damaged_description_a_rotation_and_a_takeover() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    for (desk, from) in [(&mut one, 0), (&mut two, 10)] {
        desk.add(from..from + 5);
        wait(desk.push()).expect("a perfect store");
    }
    store.put_raw("vault.json", "{");
    one.glance(Look::Listing).expect("it was not read");
    let damaged = |error: VaultError| matches!(error, VaultError::DamagedVaultFile(_));
    assert!(damaged(one.glance(Look::VaultFile).expect_err("no JSON")));
    store.remove_raw("vault.json");
    let gone = one.glance(Look::VaultFile).expect_err("gone");
    assert!(matches!(gone, VaultError::NoVaultFile(_)));
    store.put_raw("vault.json", vault_file(&keys()).to_bytes());
    wait(one.remove(two.own().node)).expect("removed");
    one.days_pass(8);
    one.add(20..21);
    one.forget(20);
    wait(one.push()).expect("a perfect store");
    let glance = two.glance(Look::Listing).expect("all is well");
    assert!(glance.conflict.is_none(), "a push goes on by itself");
    let newer: Keyring = keys().rotated();
    store.put_raw("vault.json", vault_file(&newer).to_bytes());
    store.put_raw("manifests/epoch-00000002", "x");
    let error = one.glance(Look::Listing).expect_err("a newer key");
    assert!(matches!(error, VaultError::Rotated { .. }), "{error}");
}
