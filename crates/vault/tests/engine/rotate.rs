//! Rotation: a new key for what comes, the old ones for what was; a device without the new key is told so.

use std::sync::Arc;

use store::Store;
use vault::{KdfCost, Secret, Vault, VaultError, VaultFile};

use crate::desk::{Desk, WEEK_DAYS, keys, perfect_store, wait};

#[test]
fn old_epochs_stay_readable_and_an_old_key_is_told() {
    let store = perfect_store();
    let (mut one, mut left_out) = (Desk::at(1, &store), Desk::at(2, &store));
    one.add(0..10);
    wait(one.push()).expect("a perfect store");
    wait(left_out.pull()).expect("a perfect store");

    let rotated = keys().rotated();
    let secret = Secret::Passphrase("the new passphrase".into());
    let file = VaultFile::build(&rotated, "test", 2, &[&secret], KdfCost::CHEAP_FOR_TESTS)
        .expect("builds");
    let inner = || Store::from_object_store(Arc::new(store.for_device(1)), "");
    one.vault = Vault::new(inner(), rotated);
    wait(one.vault.write_file(&file)).expect("a perfect store");
    left_out.add(30..31);
    wait(one.vault.mark_epoch()).expect("a perfect store");
    let before = store.objects();
    let refused = wait(left_out.push()).expect_err("it has not got the key");
    assert!(
        matches!(refused, VaultError::Rotated { epoch: 2 }),
        "{refused:?}"
    );
    assert_eq!(
        store.objects(),
        before,
        "nothing was sealed with the old key"
    );
    one.add(10..20);
    wait(one.push()).expect("a perfect store");

    let refused = wait(left_out.pull()).expect_err("it has not got the key");
    assert!(
        matches!(refused, VaultError::Rotated { epoch: 2 }),
        "{refused:?}"
    );
    assert_eq!(left_out.kept().len(), 11, "what it had stays");

    let found = wait(Vault::read_file(&inner()))
        .expect("reads")
        .expect("is there");
    let old = Secret::Passphrase(crate::desk::PASSPHRASE.into());
    assert!(matches!(found.unlock(&old), Err(VaultError::WrongKey)));
    let opened = found.unlock(&secret).expect("the new passphrase opens");
    let mut joined = Desk::with_keys(3, inner(), opened.clone());
    wait(joined.pull()).expect("a perfect store");
    assert_eq!(joined.kept(), (0..20).collect());
    left_out.vault = Vault::new(inner(), opened);
    wait(left_out.pull()).expect("it has the key now");
    wait(left_out.push()).expect("it has the key now");
    assert_eq!(left_out.kept(), (0..20).chain([30]).collect());
}

#[test]
fn a_push_finds_out_that_the_description_was_set_back_though_its_mark_is_there() {
    let store = perfect_store();
    let old = store.objects()["vault.json"].clone();
    let mut one = Desk::at(1, &store);
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    let rotated = keys().rotated();
    let file = crate::desk::vault_file(&rotated);
    one.vault = Vault::new(one.vault.store().clone(), rotated);
    wait(one.vault.write_file(&file)).expect("a perfect store");
    wait(one.vault.mark_epoch()).expect("a perfect store");
    one.add(3..4);
    wait(one.push()).expect("a perfect store");
    store.put_raw("vault.json", old);
    // A push costs three requests, and nothing says that anything is amiss.
    let before = store.for_device(1).operations();
    one.add(4..5);
    wait(one.push()).expect("it does not look each time");
    assert_eq!(store.for_device(1).operations() - before, 3);
    one.days_pass(WEEK_DAYS);
    one.add(5..6);
    let before = store.objects();
    for _ in 0..2 {
        let told = wait(one.push()).expect_err("an old copy of vault.json was put back");
        let expected = matches!(
            told,
            VaultError::OldVaultFile {
                epoch: 1,
                newest: 2
            }
        );
        assert!(expected, "{told:?}");
    }
    assert_eq!(store.objects(), before);
    store.put_raw("vault.json", file.to_bytes());
    wait(one.push()).expect("it is the newer one again");
    assert_eq!(one.own().published, 6);
}
