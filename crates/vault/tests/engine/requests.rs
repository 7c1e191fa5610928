//! What a sync costs, in requests and bytes.

use vault::{Observer, Step};

use crate::desk::{Desk, perfect_store, wait};

#[derive(Default)]
struct Watch {
    moved: Vec<(u64, u64)>,
}

impl Observer for Watch {
    fn step(&mut self, step: Step) {
        if let Step::Moved { bytes, records } = step {
            self.moved.push((bytes, records));
        }
    }
}

#[test]
fn nothing_new_costs_one_request_and_one_record_three() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    let cost = |number: usize| store.for_device(number).operations();
    for n in 0..200 {
        one.add(n..n + 1);
        let before = cost(1);
        wait(one.push()).expect("a perfect store");
        let spent = cost(1) - before;
        // The first also checks that the vault is the right one, and looks once more afterwards; a bulk removal comes now and then, one request on a real store.
        let most = if n == 0 { 5 } else { 3 };
        let removed = (store
            .trace()
            .last()
            .is_some_and(|line| line.contains("delete"))) as u64;
        assert!(spent <= most || removed == 1, "push {n} cost {spent}");
    }
    wait(two.pull()).expect("a perfect store");
    let before = cost(2);
    wait(two.pull()).expect("a perfect store");
    assert_eq!(cost(2) - before, 1);
    let before = cost(1);
    wait(one.push()).expect("a perfect store");
    assert_eq!(
        cost(1) - before,
        1,
        "an idle push only looks at its own line"
    );
    assert_eq!(one.kept(), two.kept());
    assert!(
        one.own().live.len() <= 20,
        "{} segments",
        one.own().live.len()
    );
    one.days_pass(8);
    one.forget(0);
    wait(one.push()).expect("a perfect store");
    assert!(
        store.objects().len() <= 80,
        "{} objects",
        store.objects().len()
    );
}

#[test]
fn one_who_has_nothing_of_its_own_pays_no_more() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    let cost = |number: usize| store.for_device(number).operations();
    let idle = |desk: &mut Desk| {
        let before = cost(2);
        let report = wait(desk.push()).expect("a perfect store");
        assert_eq!(report, vault::PushReport::default());
        cost(2) - before
    };
    assert_eq!(idle(&mut two), 2, "it knows nobody there yet");
    wait(two.pull()).expect("a perfect store");
    assert_eq!(idle(&mut two), 1);
    // What it writes is written only to the right vault.
    two.add(10..11);
    let file = store.objects()["vault.json"].clone();
    store.remove_raw("vault.json");
    wait(two.push()).expect_err("there is no vault");
    let segments = |store: &testkit::FaultyStore| {
        let objects = store.objects();
        let is_segment = |key: &&String| key.starts_with(vault::SEGMENTS);
        objects.keys().filter(is_segment).count()
    };
    assert_eq!(segments(&store), 1);
    store.put_raw("vault.json", file);
    let before = cost(2);
    wait(two.push()).expect("a perfect store");
    // Once in the life of an identity: does the other line say that it took this one over, and is it the same afterwards?
    assert_eq!(cost(2) - before, 6);
}

#[test]
fn whether_a_push_after_a_pull_can_be_spared() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    assert!(!one.has_nothing_to_push(), "it has seen nothing at all");
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    wait(two.pull()).expect("a perfect store");
    assert!(one.has_nothing_to_push() && two.has_nothing_to_push());
    two.add(10..11);
    assert!(!two.has_nothing_to_push(), "a new record");
    let handle = store.for_device(2);
    handle.crash_at(2, testkit::CrashPoint::AfterEffect);
    wait(two.push()).expect_err("it died");
    handle.revive();
    assert!(!two.has_nothing_to_push(), "an attempt to clear away");
    wait(two.push()).expect("a perfect store");
    assert!(two.has_nothing_to_push());
    two.forget(10);
    assert!(!two.has_nothing_to_push(), "something was forgotten");
    wait(two.push()).expect("a perfect store");
    assert!(!two.has_nothing_to_push(), "the old object waits");
    one.reset(vault::ResetMode::NewIdentity);
    assert!(!one.has_nothing_to_push(), "a line was left");
}

#[test]
fn joining_a_large_vault_takes_few_requests_and_the_newest_come_first() {
    const RECORDS: u64 = 200_000;
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    one.add(0..RECORDS);
    one.options.segment_raw_bytes_max = 64 << 20;
    let before = store.for_device(1).operations();
    wait(one.push()).expect("a perfect store");
    assert!(store.for_device(1).operations() - before <= 60);
    let mut two = Desk::at(2, &store);
    let mut watch = Watch::default();
    wait(two.pull_seen_by(&mut watch)).expect("a perfect store");
    let requests = store.for_device(2).operations();
    assert!(requests <= 60, "{requests} requests");
    assert_eq!(two.kept().len() as u64, RECORDS);
    let total: u64 = watch.moved.iter().map(|(bytes, _)| bytes).sum();
    let (first_bytes, first_records) = watch.moved[0];
    assert!(
        first_records >= 10_000,
        "{first_records} records came first"
    );
    assert!(
        first_bytes * 10 <= total,
        "{first_bytes} of {total} bytes came first"
    );
}
