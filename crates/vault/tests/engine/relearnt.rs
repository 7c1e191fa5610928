//! What a device learnt again from its own line, after a reset that kept its identity, when that line is given up all the same.

use testkit::FaultyStore;
use vault::{NodeId, PushMode, ResetMode};

use crate::desk::{Desk, WEEK_DAYS, line, newcomer, perfect_store, wait};

/// A device with records 0 to 2 in its line, learnt again from there.
fn relearnt(store: &FaultyStore) -> Desk {
    let mut one = Desk::at(1, store);
    one.add(0..3);
    wait(one.push()).expect("a perfect store");
    one.reset(ResetMode::LocalOnly);
    wait(one.pull()).expect("a perfect store");
    assert!(one.own().live.iter().all(|segment| !segment.local));
    one
}

/// What the store has of a line.
fn objects(store: &FaultyStore, node: NodeId) -> Vec<String> {
    let kinds = ["manifests", "objects/segments"];
    kinds.map(|kind| line(store, kind, node)).concat()
}

/// Takes what the store has of a line out of it, but for `kept`.
fn hide(store: &FaultyStore, node: NodeId, kept: &[String]) -> Vec<(String, bytes::Bytes)> {
    let hidden = objects(store, node)
        .into_iter()
        .filter(|key| !kept.contains(key));
    let hidden: Vec<_> = hidden
        .map(|key| (key.clone(), store.objects()[&key].clone()))
        .collect();
    for (key, _) in &hidden {
        store.remove_raw(key);
    }
    hidden
}

#[test]
fn it_is_published_again_under_a_new_identity_also_where_it_is_gone() {
    let store = perfect_store();
    let mut one = relearnt(&store);
    let node = one.own().node;
    store.remove_raw(&one.own().live[0].entry.key(node));
    let report = wait(one.push_as(PushMode::Force)).expect("a perfect store");
    assert_eq!(report.records, 3, "{report:?}");
    assert_ne!(one.own().node, node);
    assert_eq!(newcomer(&store).0, (0..3).collect());
}

#[test]
fn a_segment_that_went_with_an_earlier_takeover_keeps_no_line() {
    let store = perfect_store();
    let mut one = relearnt(&store);
    let node = one.own().node;
    let begun = objects(&store, node);
    one.add(10..13);
    wait(one.push()).expect("a perfect store");
    assert!(one.own().live.iter().any(|segment| !segment.local));
    // Another device, whose listing is behind, takes the line over as far as it sees it, and removes that.
    let rest = hide(&store, node, &begun);
    let mut taker = Desk::at(5, &store);
    wait(taker.pull()).expect("a perfect store");
    assert!(wait(taker.remove(node)).expect("a perfect store").removed);
    taker.days_pass(WEEK_DAYS);
    taker.add(20..21);
    wait(taker.push()).expect("a perfect store");
    assert!(begun.iter().all(|key| !store.objects().contains_key(key)));
    for (key, object) in rest {
        store.put_raw(&key, object);
    }
    // The line goes on beyond that, so it is alive, and names what is gone.
    wait(one.pull()).expect("a perfect store");
    assert_ne!(one.own().node, node, "it was told");
    one.forget(11);
    for _ in 0..4 {
        one.week_passes();
    }
    assert_eq!(objects(&store, node), Vec::<String>::new());
    let wanted = (0..3).chain([10, 12, 20]).collect();
    assert_eq!(newcomer(&store), (wanted, [].into()));
}

#[test]
fn what_is_nowhere_else_is_not_taken_for_held_before_it_was_looked_for() {
    let store = perfect_store();
    let mut one = relearnt(&store);
    let node = one.own().node;
    let relearnt = one.own().live[0].entry.key(node);
    // A clone writes there as well; the segment is lost, and nobody else ever read it.
    let mut clone = one.copied_to(2, &store);
    clone.add(20..22);
    wait(clone.push()).expect("nobody else wrote");
    store.remove_raw(&relearnt);
    one.add(10..11);
    wait(one.push()).expect_err("somebody else wrote there");
    let report = wait(one.push_as(PushMode::Force)).expect("a perfect store");
    assert_eq!(report.records, 4, "what was lost is among them: {report:?}");
    for _ in 0..4 {
        one.week_passes();
    }
    assert_eq!(objects(&store, node), Vec::<String>::new());
    let wanted = (0..3).chain([10, 20, 21]).collect();
    assert_eq!(newcomer(&store), (wanted, [].into()));
}
