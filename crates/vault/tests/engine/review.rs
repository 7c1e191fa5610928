//! What a harsh reading of the engine found, each as it was found: late arrivals, takeovers of takeovers, images of a machine started
//! twice, a disk that is not mounted.
//!
//! What must hold: nothing that was acknowledged goes, nothing that was forgotten stays, and no reset leads into a conflict.

use testkit::FaultyStore;
use vault::{PushMode, ResetMode};

use crate::desk::{Desk, GRACE_MS, perfect_store, wait};

const WEEK_DAYS: i64 = GRACE_MS / (24 * 3600 * 1000) + 1;

fn newcomer(store: &FaultyStore) -> (Vec<vault::Problem>, Vec<u64>) {
    let mut newcomer = Desk::at(9, store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    (pulled.problems, newcomer.kept().into_iter().collect())
}

/// A synced folder: the manifest of the clone's push arrives later than its segment.
#[test]
fn late_segment_of_a_clone_is_deleted_without_grace() {
    for by_hand in [true, false] {
        let store = perfect_store();
        let mut one = Desk::at(1, &store);
        let mut two = Desk::at(2, &store);
        two.add(0..10);
        wait(two.push()).expect("push");
        let mut clone = two.clone();
        let mut taker = if by_hand {
            one.add(50..51);
            wait(one.push()).expect("push");
            wait(one.pull()).expect("pull");
            wait(one.remove(two.own().node)).expect("removed");
            one
        } else {
            two.reset(ResetMode::NewIdentity);
            wait(two.push()).expect("push");
            two
        };
        taker.days_pass(WEEK_DAYS);
        // The clone pushes now; its store shows everything as it was.
        clone.add(20..25);
        let report = wait(clone.push()).expect("its line is as it left it");
        assert_eq!(report.records, 5);
        // The folder has delivered the segment but not yet the manifest.
        let newest = clone.own().newest.expect("it").key(clone.own().node);
        let object = store.objects()[&newest].clone();
        store.remove_raw(&newest);
        taker.add(60..61);
        taker.forget(60);
        wait(taker.push()).expect("push");
        store.put_raw(&newest, object);
        let (problems, kept) = newcomer(&store);
        assert!(
            (20..25).all(|n| kept.contains(&n)),
            "acknowledged and gone: by hand {by_hand}, {problems:?}"
        );
    }
}

/// A takeover that is newer is overwritten by an older one inherited.
#[test]
fn an_inherited_takeover_does_not_replace_a_newer_one() {
    let store = perfect_store();
    let mut one = Desk::at(3, &store);
    let mut two = Desk::at(2, &store);
    one.add(0..5);
    wait(one.push()).expect("push");
    two.add(10..15);
    wait(two.push()).expect("push");
    let lost = two.own().node;
    wait(one.pull()).expect("pull");
    wait(one.remove(lost)).expect("removed");
    // It was not lost.
    two.add(15..17);
    wait(two.push()).expect("push");
    wait(one.pull()).expect("pull");
    one.reset(ResetMode::NewIdentity);
    // Now it is.
    wait(one.pull()).expect("pull");
    let report = wait(one.remove(lost)).expect("removed");
    assert_eq!(report.problems, []);
    assert_eq!(one.own().removed[&lost].at, two.own().newest.unwrap());
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("push");
    let line = format!("/{lost}/");
    assert!(!store.objects().keys().any(|key| key.contains(&line)));
}

/// The consequence: what was forgotten would stay.
#[test]
fn an_inherited_takeover_consequence() {
    let store = perfect_store();
    let mut one = Desk::at(3, &store);
    let mut two = Desk::at(2, &store);
    one.add(0..5);
    wait(one.push()).expect("push");
    two.add(10..15);
    wait(two.push()).expect("push");
    let lost = two.own().node;
    wait(one.pull()).expect("pull");
    wait(one.remove(lost)).expect("removed");
    two.add(15..17);
    wait(two.push()).expect("push");
    wait(one.pull()).expect("pull");
    one.reset(ResetMode::NewIdentity);
    wait(one.pull()).expect("pull");
    wait(one.remove(lost)).expect("removed");
    one.forget(15);
    for _ in 0..6 {
        one.days_pass(WEEK_DAYS);
        wait(one.pull()).expect("pull");
        wait(one.push()).expect("push");
    }
    let line = format!("/{lost}/");
    let left: Vec<_> = store
        .objects()
        .keys()
        .filter(|key| key.contains(&line))
        .cloned()
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// An image of a machine that has joined and not pushed, started twice; the person resets the second.
#[test]
fn a_reset_gives_the_second_of_two_images_its_own_identity() {
    for pulls in [false, true] {
        let store = perfect_store();
        let mut image = Desk::at(1, &store);
        wait(image.pull()).expect("pull");
        let mut second = image.clone();
        // A clone has its own source of identities.
        second.options = Desk::at(2, &store).options;
        let before = second.own().node;
        second.reset(ResetMode::NewIdentity);
        assert_ne!(second.own().node, before, "pulls: {pulls}");
        if pulls {
            wait(second.pull()).expect("pull");
        }
        image.add(0..5);
        second.add(10..15);
        wait(image.push()).expect("push");
        wait(second.push()).expect("it was reset, so it has an identity of its own");
        wait(image.push()).expect("push");
    }
}

/// The answer of the first manifest was lost, the listing does not show it yet, and the person resets.
#[test]
fn a_reset_after_a_lost_answer() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..5);
    let handle = store.for_device(1);
    handle.crash_at(handle.operations() + 3, testkit::CrashPoint::AfterEffect);
    wait(one.push()).expect_err("it died before it heard the answer");
    handle.revive();
    let key = store
        .objects()
        .keys()
        .find(|k| k.starts_with("manifests/"))
        .cloned()
        .expect("written");
    let object = store.objects()[&key].clone();
    one.reset(ResetMode::NewIdentity);
    store.remove_raw(&key);
    one.add(5..6);
    wait(one.push()).expect("push");
    store.put_raw(&key, object);
    one.add(6..7);
    wait(one.push()).expect("a reset is the way out of trouble, not into it");
}

#[test]
fn a_reset_and_a_disk_that_is_not_mounted() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..5);
    wait(one.push()).expect("push");
    let objects = store.objects();
    one.reset(ResetMode::LocalOnly);
    for key in objects.keys() {
        store.remove_raw(key);
    }
    let outcome = wait(one.pull());
    for (key, object) in objects {
        store.put_raw(&key, object);
    }
    let pushed = wait(one.push());
    outcome.expect_err("nothing is there");
    pushed.expect("mounted again");
}

/// A pushing-only device under the line, after the takeover.
#[test]
fn a_clone_that_only_pushes() {
    let store = perfect_store();
    let mut two = Desk::at(2, &store);
    two.add(0..10);
    wait(two.push()).expect("push");
    let mut clone = two.clone();
    two.reset(ResetMode::NewIdentity);
    wait(two.push_as(PushMode::Pending)).expect("push");
    two.days_pass(WEEK_DAYS);
    two.add(30..31);
    wait(two.push()).expect("push");
    clone.add(20..25);
    let before = clone.own().node;
    let report = wait(clone.push()).expect("it finds out by itself that its line was taken over");
    assert_eq!(report.records, 15);
    assert_ne!(clone.own().node, before);
    let (problems, kept) = newcomer(&store);
    assert_eq!(problems, []);
    assert_eq!(
        kept,
        (0..10).chain(20..25).chain(30..31).collect::<Vec<_>>()
    );
}

/// The commonest conflict: both copies of a machine push once before either sees the other.
#[test]
fn twins_at_the_end_of_a_line() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("push");
    let shared = one.own().node;
    let mut clone = one.clone();
    clone.options = Desk::at(2, &store).options;
    one.add(20..21);
    wait(one.push()).expect("push");
    let key = one.own().newest.unwrap().key(shared);
    let object = store.objects()[&key].clone();
    store.remove_raw(&key);
    clone.add(30..31);
    wait(clone.push()).expect("push");
    store.put_raw(&key, object);
    for desk in [&mut one, &mut clone] {
        wait(desk.push()).expect_err("twins");
        wait(desk.pull_as(vault::PullMode::Force)).expect("pull");
        wait(desk.push()).expect("push");
    }
    one.forget(3);
    for _ in 0..8 {
        for desk in [&mut one, &mut clone] {
            desk.days_pass(4 * WEEK_DAYS);
            wait(desk.pull()).expect("pull");
            wait(desk.push()).expect("push");
        }
    }
    let line = format!("/{shared}/");
    assert_eq!(wait(one.verify()).expect("verify").forgotten_left, 0);
    let left: Vec<_> = store
        .objects()
        .keys()
        .filter(|key| key.contains(&line))
        .cloned()
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// The same, where both machines are lost: another one removes them.
#[test]
fn a_line_with_two_ends_is_removed_by_hand() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..10);
    wait(one.push()).expect("push");
    let shared = one.own().node;
    let mut clone = one.clone();
    one.add(20..21);
    wait(one.push()).expect("push");
    let key = one.own().newest.expect("it pushed").key(shared);
    let object = store.objects()[&key].clone();
    store.remove_raw(&key);
    clone.add(30..31);
    wait(clone.push()).expect("push");
    store.put_raw(&key, object);
    let mut heir = Desk::at(5, &store);
    wait(heir.pull()).expect("pull");
    wait(heir.remove(shared)).expect("removed");
    assert_eq!(heir.own().removed[&shared].twins.len(), 1);
    heir.forget(3);
    for _ in 0..2 {
        heir.days_pass(WEEK_DAYS);
        wait(heir.push()).expect("push");
    }
    let line = format!("/{shared}/");
    assert!(!store.objects().keys().any(|key| key.contains(&line)));
    let (problems, kept) = newcomer(&store);
    assert_eq!(problems, []);
    let wanted = (0..10).filter(|n| *n != 3).chain([20, 30]);
    assert_eq!(kept, wanted.collect::<Vec<_>>());
}
