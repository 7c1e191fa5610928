//! What a store keeps back, and what it blows up.

use store::Store;
use vault::{ProblemKind, PullMode, VaultError};

use crate::desk::{Desk, line, perfect_store, wait};

#[test]
fn a_manifest_that_is_kept_back_is_named_until_it_is_there() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    for n in 0..3 {
        one.add(n * 10..n * 10 + 10);
        wait(one.push()).expect("a perfect store");
    }
    wait(two.pull()).expect("a perfect store");
    two.add(100..101);
    wait(two.push()).expect("a perfect store");

    let hidden = line(&store, "manifests", one.own().node).split_off(1);
    let kept: Vec<_> = hidden
        .iter()
        .map(|key| (key.clone(), store.objects()[key].clone()))
        .collect();
    for key in &hidden {
        store.remove_raw(key);
    }
    let mut fresh = Desk::at(3, &store);
    let withheld = |problems: &[vault::Problem]| {
        let mut kinds = problems.iter().map(|problem| problem.kind);
        kinds.any(|kind| kind == ProblemKind::Withheld)
    };
    // The first pull reads who saw it; the others do not any more.
    for _ in 0..3 {
        let pulled = wait(fresh.pull()).expect("a perfect store");
        assert!(withheld(&pulled.problems), "{pulled:?}");
        assert!(!wait(fresh.verify()).expect("a perfect store").is_sound());
    }
    // One that never pulled: verification reads all manifests.
    let verified = wait(Desk::at(4, &store).verify()).expect("a perfect store");
    assert!(withheld(&verified.problems), "{verified:?}");

    // A person may accept it.
    let mut patient = fresh.copied_to(5, &store);
    let accepted = wait(patient.pull_as(PullMode::Force)).expect("a perfect store");
    assert!(!withheld(&accepted.problems), "{accepted:?}");
    let pulled = wait(patient.pull()).expect("a perfect store");
    assert!(!withheld(&pulled.problems), "{pulled:?}");

    for (key, object) in kept {
        store.put_raw(&key, object);
    }
    let pulled = wait(fresh.pull()).expect("a perfect store");
    assert!(pulled.problems.is_empty(), "{pulled:?}");
    assert!(wait(fresh.verify()).expect("a perfect store").is_sound());
    assert_eq!(fresh.kept(), (0..30).chain([100]).collect());
}

#[test]
fn an_object_that_was_blown_up_is_named_and_not_read() {
    let dir = tempfile::tempdir().expect("scratch");
    let url = store::StoreUrl::from_folder(dir.path());
    let open = || wait(Store::open(&url, &Default::default(), &Default::default())).expect("opens");
    let file = crate::desk::vault_file(&crate::desk::keys()).to_bytes();
    wait(open().put("vault.json", file.clone().into())).expect("writes");
    let mut one = Desk::new(1, open());
    one.add(0..10);
    wait(one.push()).expect("writes");
    let blow_up = |key: &str| {
        let file = std::fs::File::options()
            .write(true)
            .open(dir.path().join(key))
            .expect("opens");
        let before = file.metadata().expect("is there").len();
        // A hole: there is no room for so much in memory, and no time to read it.
        file.set_len(1 << 42).expect("grows");
        (file, before)
    };
    let entries = wait(open().list("")).expect("lists");
    for prefix in ["manifests/", "objects/segments/"] {
        let key = &entries
            .iter()
            .find(|entry| entry.key.starts_with(prefix))
            .expect("is there")
            .key;
        let (blown, before) = blow_up(key);
        let mut fresh = Desk::new(2, open());
        let pulled = wait(fresh.pull()).expect("the rest can be read");
        let named = |problems: &[vault::Problem]| {
            problems
                .iter()
                .any(|one| one.key == *key && one.kind == ProblemKind::Corrupt)
        };
        assert!(named(&pulled.problems), "{pulled:?}");
        let verified = wait(fresh.verify()).expect("the rest can be read");
        assert!(named(&verified.problems), "{verified:?}");
        wait(fresh.repair()).expect("the rest can be read");
        blown.set_len(before).expect("shrinks");
    }
    let (blown, before) = blow_up("vault.json");
    let mut fresh = Desk::new(3, open());
    fresh.add(20..21);
    let told = wait(fresh.push()).expect_err("it is no description");
    assert!(matches!(told, VaultError::Store { .. }), "{told:?}");
    blown.set_len(before).expect("shrinks");
    wait(fresh.push()).expect("it is there again");
}
