//! Taking over a lost device's records: nothing goes that another line does not hold, and a device that comes back loses nothing.

use vault::{ProblemKind, PushMode, ResetMode};

use crate::desk::{Desk, GRACE_MS, line, newcomer, perfect_store, wait};

#[test]
fn a_lost_devices_records_and_forgetting_are_taken_over() {
    let store = perfect_store();
    let (mut lost, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
    lost.add(0..10);
    wait(lost.push()).expect("a perfect store");
    wait(heir.pull()).expect("a perfect store");
    heir.forget(3);
    let node = lost.own().node;
    let report = wait(heir.remove(node)).expect("a perfect store");
    // What the lost device had, and what was forgotten here meanwhile.
    assert_eq!(report.republished, 10, "{report:?}");
    // Slow readers have a week.
    let of_lost = |key: &&String| key.contains(&node.to_string());
    assert_ne!(store.objects().keys().filter(of_lost).count(), 0);
    heir.days_pass(GRACE_MS / (24 * 3600 * 1000) + 1);
    wait(heir.push()).expect("a perfect store");
    assert_eq!(
        store.objects().keys().filter(of_lost).count(),
        0,
        "{:?}",
        store.objects().keys()
    );
    let mut newcomer = Desk::at(3, &store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), (0..10).filter(|n| *n != 3).collect());
    assert_eq!(pulled.problems, []);
    assert_eq!(
        wait(newcomer.verify())
            .expect("a perfect store")
            .forgotten_left,
        0
    );
}

#[test]
fn a_device_that_was_not_lost_after_all_keeps_everything() {
    for months in [false, true] {
        let store = perfect_store();
        let (mut back, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
        back.add(0..10);
        wait(back.push()).expect("a perfect store");
        let node = back.own().node;
        wait(heir.remove(node)).expect("a perfect store");
        back.add(10..15);
        if months {
            heir.days_pass(100);
            wait(heir.push()).expect("a perfect store");
            // It finds out by itself.
            let report = wait(back.push()).expect("a perfect store");
            assert_eq!(report.records, 15);
            assert_ne!(back.own().node, node);
        } else {
            // It has not heard of it yet: what it says later than the takeover counts.
            wait(back.push()).expect("a perfect store");
            let its = |key: &&String| key.contains(&node.to_string());
            let before = store.objects().keys().filter(its).count();
            heir.days_pass(100);
            wait(heir.push()).expect("a perfect store");
            let after = store.objects().keys().filter(its).count();
            assert_eq!(before, after, "what a live manifest names is not removed");
        }
        wait(back.pull()).expect("a perfect store");
        assert_ne!(back.own().node, node, "it goes on under a new identity");
        wait(back.push()).expect("a perfect store");
        wait(heir.pull()).expect("a perfect store");
        let mut newcomer = Desk::at(3, &store);
        wait(newcomer.pull()).expect("a perfect store");
        for desk in [&back, &heir, &newcomer] {
            assert_eq!(desk.kept(), (0..15).collect(), "months: {months}");
        }
    }
}

#[test]
fn nothing_is_removed_while_something_cannot_be_read() {
    let store = perfect_store();
    let (mut lost, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
    lost.add(0..10);
    wait(lost.push()).expect("a perfect store");
    let own = lost.own();
    let key = own.live[0].entry.key(own.node);
    let object = store.objects()[&key].clone();
    store.remove_raw(&key);
    let report = wait(heir.remove(own.node)).expect("a perfect store");
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Missing
                && problem.key == format!("manifests/{}", own.node)),
        "{report:?}"
    );
    heir.days_pass(100);
    heir.add(20..21);
    heir.forget(20);
    wait(heir.push()).expect("a perfect store");
    // It was only late.
    store.put_raw(&key, object);
    let mut newcomer = Desk::at(3, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), (0..10).collect());
}

#[test]
fn who_applied_all_of_a_line_takes_it_over_though_no_manifest_of_it_can_be_read_now() {
    let store = perfect_store();
    let (mut lost, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
    lost.add(0..10);
    wait(lost.push()).expect("a perfect store");
    wait(heir.pull()).expect("a perfect store");
    let mut behind = heir.clone();
    lost.add(10..15);
    wait(lost.push()).expect("a perfect store");
    wait(heir.pull()).expect("a perfect store");
    let node = lost.own().node;
    for key in line(&store, "manifests", node) {
        store.put_raw(&key, b"cut".to_vec());
    }
    for key in line(&store, "objects/segments", node) {
        store.put_raw(&key, b"cut".to_vec());
    }
    let report = wait(behind.remove(node)).expect("a perfect store");
    assert!(!report.removed, "it did not see the end: {report:?}");
    let report = wait(heir.remove(node)).expect("a perfect store");
    assert!(report.removed, "{report:?}");
    assert_eq!(report.given_up, 0);
    let (kept, problems) = newcomer(&store);
    assert_eq!(kept, (0..15).collect());
    assert!(problems.is_empty(), "{problems:?}");
    heir.week_passes();
    assert!(line(&store, "manifests", node).is_empty());
    assert!(line(&store, "objects/segments", node).is_empty());
    assert_eq!(newcomer(&store).0, (0..15).collect());
}

#[test]
fn what_a_takeover_gives_up_is_published_by_whoever_has_it() {
    for is_gone in [true, false] {
        let store = perfect_store();
        let (mut lost, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
        let mut witness = Desk::at(3, &store);
        heir.add(20..22);
        wait(heir.push()).expect("a perfect store");
        wait(lost.pull()).expect("a perfect store");
        lost.add(0..10);
        lost.forget(20);
        wait(lost.push()).expect("a perfect store");
        wait(witness.pull()).expect("a perfect store");
        let own = lost.own();
        for segment in own.live {
            let key = segment.entry.key(own.node);
            match is_gone {
                true => drop(store.remove_raw(&key)),
                false => store.put_raw(&key, b"damaged".to_vec()),
            }
        }
        let report = wait(heir.remove_damaged(own.node)).expect("a perfect store");
        assert!(report.removed && report.given_up > 0, "{report:?}");
        wait(heir.push()).expect("a perfect store");
        // Nobody has to be told to repair.
        wait(witness.pull()).expect("a perfect store");
        let published = wait(witness.push()).expect("a perfect store");
        assert_eq!(published.records, 11, "{published:?}");
        wait(witness.pull()).expect("a perfect store");
        let idle = wait(witness.push()).expect("a perfect store");
        assert_eq!(idle.records, 0, "once is enough");
        wait(heir.pull()).expect("a perfect store");
        wait(heir.push()).expect("a perfect store");
        let mut newcomer = Desk::at(4, &store);
        wait(newcomer.pull()).expect("a perfect store");
        for desk in [&heir, &witness, &newcomer] {
            let expected = (0..10).chain([21]).collect();
            assert_eq!(desk.kept(), expected, "gone: {is_gone}");
        }
    }
}

#[test]
fn a_takeover_that_was_interrupted_is_given_up_by_a_reset_or_a_repair() {
    for reset in [false, true] {
        let store = perfect_store();
        let (mut lost, mut heir) = (Desk::at(1, &store), Desk::at(2, &store));
        lost.add(0..10);
        wait(lost.push()).expect("a perfect store");
        wait(heir.pull()).expect("a perfect store");
        let node = lost.own().node;
        // Dies at its first upload.
        let handle = store.for_device(2);
        let reads = store.objects().len() as u64 + 1;
        handle.crash_at(reads + 1, testkit::CrashPoint::BeforeEffect);
        wait(heir.remove(node)).expect_err("it died");
        handle.revive();
        assert!(!heir.own().leaving.is_empty(), "the takeover had begun");
        if reset {
            heir.reset(ResetMode::LocalOnly);
        } else {
            wait(heir.repair()).expect("a perfect store");
        }
        wait(heir.pull()).expect("a perfect store");
        heir.days_pass(100);
        heir.add(20..21);
        heir.forget(20);
        wait(heir.push()).expect("a perfect store");
        let mut newcomer = Desk::at(3, &store);
        wait(newcomer.pull()).expect("a perfect store");
        assert_eq!(newcomer.kept(), (0..10).collect(), "by reset: {reset}");
    }
}

#[test]
fn a_forgotten_record_counts_once_however_many_objects_hold_it() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    one.add(3..5);
    // What is replaced stays for slow readers.
    wait(one.push_as(PushMode::Full)).expect("a perfect store");
    one.forget(1);
    let seen = wait(one.verify()).expect("a perfect store");
    let holders = seen.problems.iter();
    let holders = holders.filter(|problem| problem.kind == ProblemKind::Forgotten);
    assert_eq!((holders.count(), seen.forgotten_left), (2, 1), "{seen:?}");
}
