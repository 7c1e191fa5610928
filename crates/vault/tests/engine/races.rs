//! Several devices change `vault.json` at once: whatever the store does with conditions, what was acknowledged opens the vault, who lost is
//! told, and a device that went on with a key that does not hold comes back with everything it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::Store;
use testkit::{Conditional, Faults, FaultyStore};
use vault::{KdfCost, Keyring, ResetMode, Secret, Vault, VaultError, VaultFile};

use crate::desk::{Desk, PASSPHRASE, keys, newcomer, perfect_store, wait};

const CHEAP: KdfCost = KdfCost::CHEAP_FOR_TESTS;
const ALL: [Conditional; 3] = [
    Conditional::Honest,
    Conditional::Ignored,
    Conditional::Refused,
];

/// A store with a vault in it, where several devices can be at work at once.
fn busy_store(conditional: Conditional) -> FaultyStore {
    let store = perfect_store();
    store.set_faults(Faults {
        conditional,
        ..Faults::none()
    });
    store.set_yielding(true);
    store
}

fn vault_at(store: &FaultyStore, device: usize, keys: Keyring) -> Vault {
    let store = Arc::new(store.for_device(device));
    Vault::new(Store::from_object_store(store, ""), keys)
}

fn secret(text: &str) -> Secret {
    Secret::Passphrase(text.into())
}

/// Whoever is at work meanwhile has done what it was about to do.
async fn pause() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn file_in(store: &FaultyStore) -> VaultFile {
    VaultFile::parse(&store.objects()["vault.json"]).expect("is one")
}

fn opens(store: &FaultyStore, text: &str) -> bool {
    file_in(store).unlock(&secret(text)).is_ok()
}

async fn rotate(vault: Vault, text: &str) -> Result<(), VaultError> {
    let from = vault.check_file().await?;
    let rotation = vault.begin_rotation(&from, &[&secret(text)], CHEAP)?;
    let rotated = Vault::new(vault.store().clone(), rotation.keys.clone());
    rotated.rotate(&rotation, pause).await
}

async fn add(vault: Vault, text: &str) -> Result<usize, VaultError> {
    vault.check_file().await?;
    vault.add_slot(&secret(text), CHEAP, pause).await
}

#[test]
fn of_two_rotations_at_once_one_holds_and_the_other_is_told() {
    for conditional in ALL {
        for late in 0..8 {
            let store = busy_store(conditional);
            let one = rotate(vault_at(&store, 1, keys()), "one");
            let two = async {
                for _ in 0..late {
                    tokio::task::yield_now().await;
                }
                rotate(vault_at(&store, 2, keys()), "two").await
            };
            let (one, two) = wait(async { tokio::join!(one, two) });
            let told = [("one", &one), ("two", &two)];
            for (text, outcome) in told {
                assert_eq!(
                    opens(&store, text),
                    outcome.is_ok(),
                    "{conditional:?} {late} {text}: {outcome:?}"
                );
            }
            let lost: Vec<_> = told
                .iter()
                .filter_map(|(_, told)| told.as_ref().err())
                .collect();
            let is_told = |error: &&&VaultError| {
                matches!(error, VaultError::Overtaken | VaultError::Rotated { .. })
            };
            assert_eq!(lost.iter().filter(is_told).count(), 1, "{lost:?}");
        }
    }
}

#[test]
fn an_older_epoch_never_stays_in_a_newer_ones_place() {
    for conditional in ALL {
        // The rotation is about to be written, or is, while the other device has read the file and not written it yet.
        for held in 0..4 {
            let store = busy_store(conditional);
            let adding = add(vault_at(&store, 2, keys()), "added");
            let rotating = async {
                for _ in 0..held {
                    tokio::task::yield_now().await;
                }
                rotate(vault_at(&store, 1, keys()), "rotated").await
            };
            let (added, rotated) = wait(async { tokio::join!(adding, rotating) });
            rotated.expect("the newer key holds");
            assert!(opens(&store, "rotated"), "{conditional:?} {held}");
            assert_eq!(file_in(&store).epoch, 2);
            // What was added before the rotation ended with it, as everything did that opened the vault then.
            assert!(!opens(&store, "added") && !opens(&store, PASSPHRASE));
            if let Err(error) = added {
                assert!(
                    matches!(error, VaultError::Rotated { epoch: 2 }),
                    "{error:?}"
                );
            }
        }
    }
}

#[test]
fn a_stalled_addition_that_writes_over_a_rotation_is_told_and_the_rotation_is_put_back() {
    let store = busy_store(Conditional::Ignored);
    let vault = vault_at(&store, 2, keys());
    let slow = store.for_device(2);
    // Its look at the file, its look at the state to replace; then it waits.
    slow.hold_at(2);
    let adding = add(vault, "added");
    let rotating = async {
        while !slow.is_held() {
            tokio::task::yield_now().await;
        }
        let file = rotate(vault_at(&store, 1, keys()), "rotated");
        let release = async {
            while file_in(&store).epoch == 1 {
                tokio::task::yield_now().await;
            }
            slow.release();
        };
        tokio::join!(file, release).0
    };
    let (added, rotated) = wait(async { tokio::join!(adding, rotating) });
    rotated.expect("it is put back");
    assert!(
        matches!(added, Err(VaultError::Rotated { epoch: 2 })),
        "{added:?}"
    );
    assert!(opens(&store, "rotated"));
}

#[test]
fn of_two_passphrases_added_at_once_both_open_the_vault() {
    for conditional in ALL {
        for late in 0..6 {
            let store = busy_store(conditional);
            let one = add(vault_at(&store, 1, keys()), "one");
            let two = async {
                for _ in 0..late {
                    tokio::task::yield_now().await;
                }
                add(vault_at(&store, 2, keys()), "two").await
            };
            let (one, two) = wait(async { tokio::join!(one, two) });
            for (text, outcome) in [("one", one), ("two", two)] {
                outcome.expect("there is room for both");
                assert!(opens(&store, text), "{conditional:?} {late} {text}");
            }
            assert!(opens(&store, PASSPHRASE));
        }
    }
}

/// A device that goes on with a key that does not hold, as one did that rotated at the same moment as another, each writing over the other.
fn split() -> (FaultyStore, Desk, Desk) {
    let store = perfect_store();
    let (mut winner, mut loser) = (Desk::at(1, &store), Desk::at(2, &store));
    for (desk, numbers) in [(&mut winner, 0..10), (&mut loser, 10..20)] {
        desk.add(numbers);
        wait(desk.push()).expect("a perfect store");
    }
    wait(loser.pull()).expect("a perfect store");
    for (desk, device, text) in [(&mut loser, 2, "lost"), (&mut winner, 1, "kept")] {
        let rotated = keys().rotated();
        let file = VaultFile::build(&rotated, "test", 2, &[&secret(text)], CHEAP).expect("builds");
        store.put_raw("vault.json", file.to_bytes());
        desk.vault = vault_at(&store, device, rotated);
        wait(desk.vault.mark_epoch()).expect("a perfect store");
        let numbers = if device == 2 { 20..30 } else { 30..40 };
        desk.add(numbers);
        wait(desk.push()).expect("it is as if nobody else had rotated");
    }
    (store, winner, loser)
}

#[test]
fn a_device_whose_key_does_not_hold_is_told_before_it_seals_anything_more() {
    let (store, mut winner, mut loser) = split();
    let told = wait(loser.pull()).expect_err("its key is none");
    assert!(
        matches!(told, VaultError::OtherKey { epoch: 2 }),
        "{told:?}"
    );
    // The other one is in the right, and goes on.
    let pulled = wait(winner.pull()).expect("goes on");
    assert!(
        pulled
            .problems
            .iter()
            .any(|problem| problem.detail.contains("was overtaken")),
        "{pulled:?}"
    );
    // One that only pushes, and has not pushed with this key yet.
    let mut fresh = Desk::at(3, &store);
    fresh.add(50..51);
    wait(fresh.push()).expect_err("it has not got the new key");
    fresh.vault = vault_at(&store, 3, loser.vault.keys().clone());
    let before = store.objects();
    let told = wait(fresh.push()).expect_err("its key is none");
    assert!(
        matches!(told, VaultError::OtherKey { epoch: 2 }),
        "{told:?}"
    );
    assert_eq!(store.objects(), before, "nothing was sealed");
}

#[test]
fn a_device_whose_key_does_not_hold_comes_back_with_everything_it_has() {
    let (store, mut winner, mut loser) = split();
    loser.add(40..45);
    let opened = file_in(&store).unlock(&secret("kept")).expect("opens");
    let succession = opened.after(loser.vault.keys()).expect("one vault");
    assert!(succession.gave_up);
    // Through the file on its disk, as a tool keeps it.
    let text = succession.keys.to_secret_json();
    let kept = Keyring::from_secret_json(&text).expect("reads");
    loser.reset(ResetMode::NewIdentity);
    loser.vault = vault_at(&store, 2, kept);
    for _ in 0..2 {
        wait(loser.pull()).expect("it has the key now");
        wait(loser.push()).expect("it has the key now");
        wait(winner.pull()).expect("a perfect store");
    }
    let all: BTreeSet<u64> = (0..45).collect();
    assert_eq!(loser.kept(), all);
    assert_eq!(winner.kept(), all);
    let mut fresh = Desk::with_keys(
        7,
        Store::from_object_store(Arc::new(store.for_device(7)), ""),
        winner.vault.keys().clone(),
    );
    let pulled = wait(fresh.pull()).expect("a perfect store");
    assert_eq!(fresh.kept(), all, "{pulled:?}");
    // What nobody else can read is gone after the grace period, and the vault is sound for everybody.
    loser.week_passes();
    loser.week_passes();
    let verified = wait(winner.verify()).expect("a perfect store");
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(newcomer_with(&store, winner.vault.keys()), all);
}

fn newcomer_with(store: &FaultyStore, keys: &Keyring) -> BTreeSet<u64> {
    let inner = Store::from_object_store(Arc::new(store.for_device(8)), "");
    let mut newcomer = Desk::with_keys(8, inner, keys.clone());
    wait(newcomer.pull()).expect("a perfect store");
    newcomer.kept()
}

#[test]
fn a_rotation_that_was_cut_off_is_taken_up_by_the_key_that_was_kept() {
    let store = perfect_store();
    let vault = vault_at(&store, 1, keys());
    let from = wait(vault.check_file()).expect("sound");
    let rotation = vault
        .begin_rotation(&from, &[&secret("new")], CHEAP)
        .expect("makes");
    // Before the store knows, nothing is sealed with the new key.
    let kept = Keyring::from_secret_json(&rotation.awaiting.to_secret_json()).expect("reads");
    assert_eq!(kept.epoch(), 1);
    assert!(!kept.settled_by(&from).expect("holds").gave_up);
    let rotated = vault_at(&store, 1, rotation.keys.clone());
    wait(rotated.rotate(&rotation, pause)).expect("a perfect store");
    let file = file_in(&store);
    assert!(matches!(
        file.check(&kept),
        Err(VaultError::Rotated { epoch: 2 })
    ));
    let settled = kept.settled_by(&file).expect("it is the one that was kept");
    assert_eq!(settled.keys.epoch(), 2);
    assert!(!settled.gave_up);
    file.check(&settled.keys).expect("opens");
}

#[test]
fn a_mark_that_nothing_backs_stops_nobody_and_is_named() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    let vault = one.vault.keys().vault();
    let forged = [
        String::new(),
        format!("{vault}\nthe key was rotated; see vault.json\n"),
        format!(
            "{vault}\nthe key was rotated; see vault.json\nmac {}\n",
            "0".repeat(64)
        ),
    ];
    for (n, text) in forged.into_iter().enumerate() {
        let key = "manifests/epoch-00000002";
        store.put_raw(key, text);
        one.add(n as u64..n as u64 + 1);
        wait(one.push()).expect("nothing says that the mark is true");
        let pulled = wait(one.pull()).expect("nothing says that the mark is true");
        let named = pulled.problems.iter().find(|problem| problem.key == key);
        assert!(
            named.is_some_and(|problem| problem.detail.contains("can be removed")),
            "{pulled:?}"
        );
        assert_eq!(
            wait(one.vault.newer_epoch()).expect("a perfect store"),
            None
        );
        assert_eq!(newcomer(&store).0.len(), n + 1);
    }
    // One that who had the key left is heeded.
    let rotated = vault_at(&store, 1, keys().rotated());
    wait(rotated.mark_epoch()).expect("a perfect store");
    let told = wait(one.pull()).expect_err("an old copy of vault.json was put back");
    assert!(
        matches!(
            told,
            VaultError::OldVaultFile {
                epoch: 1,
                newest: 2
            }
        ),
        "{told:?}"
    );
}

#[test]
fn an_old_vault_file_is_replaced_by_the_newer_one_that_a_device_kept() {
    let store = perfect_store();
    let old = file_in(&store);
    let vault = vault_at(&store, 1, keys());
    let rotation = vault
        .begin_rotation(&old, &[&secret("new")], CHEAP)
        .expect("makes");
    let rotated = vault_at(&store, 1, rotation.keys.clone());
    wait(rotated.rotate(&rotation, pause)).expect("a perfect store");
    let newer = file_in(&store);
    store.put_raw("vault.json", old.to_bytes());
    assert!(matches!(
        wait(rotated.check_file()),
        Err(VaultError::OldVaultFile { .. })
    ));
    wait(rotated.put_back(&newer, pause)).expect("it is authentic");
    assert_eq!(file_in(&store), newer);
    // Who has only the older key puts nothing in a newer one's place.
    wait(vault.put_back(&old, pause)).expect_err("there is a newer one");
    assert_eq!(file_in(&store), newer);
}
