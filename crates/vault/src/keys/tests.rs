//! Slots, epochs and what a hostile `vault.json` may try.

use super::*;

const CHEAP: KdfCost = KdfCost::CHEAP_FOR_TESTS;

fn passphrase(text: &str) -> Secret {
    Secret::Passphrase(text.into())
}

#[test]
fn each_slot_opens_and_nothing_else_does() {
    let keys = Keyring::generate();
    let phrase = Secret::from_input(&new_recovery_phrase());
    assert!(matches!(phrase, Secret::RecoveryPhrase(_)));
    let file =
        VaultFile::build(&keys, "hx", 1, &[&passphrase("a"), &phrase], CHEAP).expect("build");
    let file = VaultFile::parse(&file.to_bytes()).expect("parse");
    for secret in [&passphrase("a"), &phrase] {
        assert_eq!(file.unlock(secret).expect("opens").keys, keys.keys);
    }
    for secret in [
        passphrase("b"),
        passphrase(""),
        Secret::from_input(&new_recovery_phrase()),
    ] {
        assert!(matches!(file.unlock(&secret), Err(VaultError::WrongKey)));
    }
}

#[test]
fn a_changed_file_is_named_damaged() {
    let keys = Keyring::generate();
    let file = VaultFile::build(&keys, "hx", 1, &[&passphrase("a")], CHEAP).expect("build");
    let changes: [fn(&mut VaultFile); 3] = [
        |file| file.domain = "other".into(),
        |file| file.generation = 9,
        |file| file.slots.push(file.slots[0].clone()),
    ];
    for change in changes {
        let mut changed = file.clone();
        change(&mut changed);
        assert!(matches!(
            changed.unlock(&passphrase("a")),
            Err(VaultError::DamagedVaultFile(_))
        ));
    }
    let foreign = VaultFile {
        vault: VaultId([0; 16]),
        ..file
    };
    assert!(matches!(
        foreign.unlock(&passphrase("a")),
        Err(VaultError::WrongKey)
    ));
}

#[test]
fn a_rotation_keeps_the_old_keys_and_an_old_copy_is_noticed() {
    let first = Keyring::generate();
    let old_file = VaultFile::build(&first, "hx", 1, &[&passphrase("a")], CHEAP).expect("build");
    let third = first.rotated().rotated();
    let new_file = VaultFile::build(&third, "hx", 2, &[&passphrase("b")], CHEAP).expect("build");
    assert_eq!(
        new_file.unlock(&passphrase("b")).expect("opens").keys,
        third.keys
    );
    assert!(matches!(
        new_file.unlock(&passphrase("a")),
        Err(VaultError::WrongKey)
    ));
    assert!(matches!(
        new_file.check(&first),
        Err(VaultError::Rotated { epoch: 3 })
    ));
    assert!(matches!(
        old_file.check(&third),
        Err(VaultError::OldVaultFile {
            epoch: 1,
            newest: 3
        })
    ));
}

#[test]
fn a_second_passphrase_can_be_added_by_who_has_the_keys() {
    let keys = Keyring::generate();
    let file = VaultFile::build(&keys, "hx", 1, &[&passphrase("a")], CHEAP).expect("build");
    let more = file.with_slot(&keys, &passphrase("b"), CHEAP).expect("add");
    assert!(more.unlock(&passphrase("a")).is_ok() && more.unlock(&passphrase("b")).is_ok());
    assert!(
        file.with_slot(&Keyring::generate(), &passphrase("c"), CHEAP)
            .is_err()
    );
}

#[test]
fn an_exhausting_cost_is_refused_at_once() {
    let keys = Keyring::generate();
    let mut file = VaultFile::build(&keys, "hx", 1, &[&passphrase("a")], CHEAP).expect("build");
    file.slots[0].argon2id = Some(KdfCost {
        memory_kib: u32::MAX,
        passes: u32::MAX,
        lanes: 1,
    });
    assert!(matches!(
        file.unlock(&passphrase("a")),
        Err(VaultError::WrongKey)
    ));
}

#[test]
fn the_keyring_survives_its_file_and_shows_nothing() {
    let keys = Keyring::generate().rotated();
    let text = keys.to_secret_json();
    assert_eq!(
        Keyring::from_secret_json(&text).expect("reads").keys,
        keys.keys
    );
    for bad in [
        "",
        "{}",
        "{\"vault\":\"x\",\"keys\":[]}",
        &text.replace("\"keys\":[\"", "\"keys\":[\"00"),
    ] {
        assert!(Keyring::from_secret_json(bad).is_err(), "{bad}");
    }
    assert!(!format!("{keys:?}").contains(&to_hex(&keys.keys[0])));
    assert!(!format!("{:?}", passphrase("hunter2")).contains("hunter2"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        proptest::prop_assert!(VaultFile::parse(&bytes).is_err());
    }
}
