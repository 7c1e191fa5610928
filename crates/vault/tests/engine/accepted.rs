//! What a person accepted on one device is told on the others and not asked again; nobody without the key can say that it was.

use bytes::Bytes;
use testkit::FaultyStore;
use vault::{
    Keyring, Look, Manifest, ObjectKind, Place, Problem, ProblemKind, PullMode, ResetMode,
};

use crate::desk::{Desk, keys, line, perfect_store, wait};

/// A store that keeps all manifests of the first device but its first back; the second one saw all.
fn withholding() -> (FaultyStore, Desk, Desk, Vec<(String, Bytes)>) {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    for n in 0..3 {
        one.add(n * 10..n * 10 + 10);
        wait(one.push()).expect("a perfect store");
    }
    wait(two.pull()).expect("a perfect store");
    two.add(100..101);
    wait(two.push()).expect("a perfect store");
    let hidden = hide(&store, &one);
    (store, one, two, hidden)
}

/// Hides all manifests of a device but its first, and returns them.
fn hide(store: &FaultyStore, desk: &Desk) -> Vec<(String, Bytes)> {
    let keys = line(store, "manifests", desk.own().node).split_off(1);
    let take = |key: String| {
        let bytes = store.objects()[&key].clone();
        store.remove_raw(&key);
        (key, bytes)
    };
    keys.into_iter().map(take).collect()
}

/// Segments that only hidden manifests name belong to nobody, as far as can be seen.
fn kinds(problems: &[Problem]) -> Vec<ProblemKind> {
    let kinds = problems.iter().map(|problem| problem.kind);
    kinds.filter(|kind| *kind != ProblemKind::Orphan).collect()
}

/// What the first pull and a verification of a device that joins say.
fn told(number: u64, store: &FaultyStore) -> (Desk, Vec<Problem>, Vec<Problem>) {
    let mut joins = Desk::at(number, store);
    let pulled = wait(joins.pull()).expect("a perfect store");
    let verified = wait(joins.verify()).expect("a perfect store");
    (joins, pulled.problems, verified.problems)
}

#[test]
fn what_was_accepted_on_one_device_is_told_on_the_next_and_not_asked_again() {
    let (store, one, mut two, _) = withholding();
    let mut accepts = Desk::at(3, &store);
    wait(accepts.pull_as(PullMode::Force)).expect("a perfect store");
    // Until it is published nobody else knows.
    let (_, pulled, _) = told(4, &store);
    assert_eq!(kinds(&pulled), [ProblemKind::Withheld]);
    assert!(wait(accepts.push()).expect("a perfect store").published);
    assert!(!wait(accepts.push()).expect("a perfect store").published);

    let (mut joins, pulled, verified) = told(5, &store);
    assert_eq!(kinds(&pulled), [ProblemKind::Accepted], "{pulled:?}");
    let says = format!("a person accepted on device {}", accepts.own().node);
    assert!(pulled[0].detail.contains(&says), "{pulled:?}");
    // What is there and unnamed is told by a verification all the same: the records are nowhere else.
    let unnamed = ProblemKind::Unnamed;
    let expected = [unnamed, unnamed, ProblemKind::Accepted];
    assert_eq!(kinds(&verified), expected, "{verified:?}");
    let again = wait(joins.pull()).expect("a perfect store");
    assert!(again.problems.is_empty(), "it is told once: {again:?}");

    // It outlives the device on which it was accepted.
    joins.add(200..201);
    wait(joins.push()).expect("a perfect store");
    for key in line(&store, "manifests", accepts.own().node) {
        store.remove_raw(&key);
    }
    let (_, pulled, _) = told(6, &store);
    assert!(
        !pulled
            .iter()
            .any(|problem| problem.key.ends_with(&one.own().node.to_string())
                && problem.kind == ProblemKind::Withheld),
        "{pulled:?}"
    );

    // What is published after it is missed as ever. The second device saw the line go back itself, and is asked itself.
    let went_back = wait(two.pull()).expect("a perfect store");
    assert!(kinds(&went_back.problems).contains(&ProblemKind::Regression));
}

#[test]
fn what_lies_beyond_an_acceptance_is_missed_as_ever() {
    let (store, mut one, mut two, hidden) = withholding();
    let mut accepts = Desk::at(3, &store);
    wait(accepts.pull_as(PullMode::Force)).expect("a perfect store");
    wait(accepts.push()).expect("a perfect store");
    let (mut early, ..) = told(4, &store);
    // It comes back, the line goes on, and is hidden again.
    for (key, bytes) in hidden {
        store.put_raw(&key, bytes);
    }
    one.add(400..401);
    wait(one.push()).expect("a perfect store");
    wait(two.pull()).expect("a perfect store");
    two.add(101..102);
    wait(two.push()).expect("a perfect store");
    hide(&store, &one);
    let (mut later, pulled, _) = told(5, &store);
    assert!(
        kinds(&pulled).contains(&ProblemKind::Withheld),
        "{pulled:?}"
    );
    // That is accepted too, and who hears of it first hears of it in full.
    wait(later.pull_as(PullMode::Force)).expect("a perfect store");
    wait(later.push()).expect("a perfect store");
    let said: Vec<_> = line(&store, "manifests", two.own().node)
        .into_iter()
        .map(|key| (key.clone(), store.objects()[&key].clone()))
        .collect();
    let newest = said.last().expect("it has pushed").clone();
    store.remove_raw(&newest.0);
    wait(early.pull()).expect("a perfect store");
    store.put_raw(&newest.0, newest.1);
    let pulled = wait(early.pull()).expect("a perfect store");
    assert!(
        !kinds(&pulled.problems).contains(&ProblemKind::Withheld),
        "{pulled:?}"
    );
}

#[test]
fn that_a_line_went_back_is_accepted_once_too() {
    let (store, _, mut two, _) = withholding();
    let pulled = wait(two.pull_as(PullMode::Force)).expect("a perfect store");
    assert!(pulled.problems.is_empty(), "{pulled:?}");
    let (_, pulled, _) = told(4, &store);
    assert_eq!(kinds(&pulled), [ProblemKind::Withheld]);
    wait(two.push()).expect("a perfect store");
    let (joins, pulled, _) = told(5, &store);
    assert!(
        pulled.iter().all(|problem| !problem.kind.is_serious()),
        "{pulled:?}"
    );
    assert!(joins.kept().len() > 30, "what it had is published again");
}

#[test]
fn what_a_reset_takes_for_granted_is_not_passed_on() {
    let (store, ..) = withholding();
    let mut resets = Desk::at(3, &store);
    resets.add(500..501);
    wait(resets.push()).expect("a perfect store");
    resets.reset(ResetMode::LocalOnly);
    let pulled = wait(resets.pull()).expect("a perfect store");
    assert!(!kinds(&pulled.problems).contains(&ProblemKind::Withheld));
    resets.add(501..502);
    wait(resets.push()).expect("a perfect store");
    let (_, pulled, _) = told(5, &store);
    assert_eq!(kinds(&pulled), [ProblemKind::Withheld], "no person looked");
}

#[test]
fn who_has_only_the_store_cannot_say_that_anything_was_accepted() {
    let (store, one, ..) = withholding();
    let other = Keyring::from_secret_json(
        &keys()
            .to_secret_json()
            .replace(&format!("{:064x}", 0xb0b), &format!("{:064x}", 0xbad)),
    )
    .expect("well formed");
    let forged = Manifest {
        name: "nobody".into(),
        written_ms: 0,
        previous: None,
        segments: vec![],
        seen: [].into(),
        removed: [].into(),
        accepted: [(one.own().node, 3)].into(),
    };
    let node = vault::NodeId([9; 16]);
    let place = Place {
        kind: ObjectKind::Manifest,
        node,
        first: 1,
        last: 0,
    };
    let plaintext = serde_json::to_vec(&forged).expect("serialises");
    let sealed = vault::seal(&other, place, &plaintext, None);
    store.put_raw(&sealed.key, sealed.bytes);
    // Nor can the true manifest of a device that did accept it be moved to another line.
    let mut accepts = Desk::at(7, &store);
    wait(accepts.pull_as(PullMode::Force)).expect("a perfect store");
    wait(accepts.push()).expect("a perfect store");
    let (from, to) = (accepts.own().node, vault::NodeId([8; 16]));
    let key = line(&store, "manifests", from).remove(0);
    let moved = key.replace(&from.to_string(), &to.to_string());
    store.put_raw(&moved, store.objects()[&key].clone());
    store.remove_raw(&key);
    let (_, pulled, verified) = told(5, &store);
    for problems in [pulled, verified] {
        assert!(kinds(&problems).contains(&ProblemKind::Withheld));
        assert!(kinds(&problems).contains(&ProblemKind::Corrupt));
    }
    // Made with the key, the same is heeded: so it was the key that was missing.
    store.remove_raw(&sealed.key);
    store.remove_raw(&moved);
    let sealed = vault::seal(&keys(), place, &plaintext, None);
    store.put_raw(&sealed.key, sealed.bytes);
    let (_, pulled, _) = told(6, &store);
    assert_eq!(kinds(&pulled), [ProblemKind::Accepted], "{pulled:?}");
    assert!(pulled[0].detail.contains(&node.to_string()), "{pulled:?}");
}

#[test]
fn a_glance_says_what_the_store_keeps_back() {
    let (store, one, mut two, _) = withholding();
    let (mut joins, ..) = told(5, &store);
    for (desk, kind) in [
        (&mut joins, ProblemKind::Withheld),
        (&mut two, ProblemKind::Regression),
    ] {
        let glance = desk.glance(Look::Listing).expect("all else is well");
        assert_eq!(kinds(&glance.hidden), [kind], "{glance:?}");
        assert!(glance.hidden[0].key.ends_with(&one.own().node.to_string()));
        wait(desk.pull_as(PullMode::Force)).expect("a perfect store");
        let glance = desk.glance(Look::Listing).expect("all is well");
        assert!(glance.hidden.is_empty(), "{glance:?}");
    }
}
