//! The first manifest of a line, for records that arrive while the push that publishes them is under way.

use vault::{PushReport, ResetMode, VaultError};

use crate::desk::{Desk, WEEK_DAYS, newcomer, perfect_store, wait};

/// So often a push looks for records before it begins to upload.
const LOOKS: u32 = 2;

/// A push that sees no records until it uploads.
fn push_late(desk: &mut Desk) -> Result<PushReport, VaultError> {
    desk.replica.late.set(LOOKS);
    wait(desk.push())
}

#[test]
fn what_arrives_during_a_push_is_not_published_where_the_vault_does_not_show() {
    let store = perfect_store();
    let mut other = Desk::at(2, &store);
    other.add(0..3);
    wait(other.push()).expect("a perfect store");
    let mut one = Desk::at(1, &store);
    wait(one.pull()).expect("a perfect store");
    let file = store.objects()["vault.json"].clone();
    store.remove_raw("vault.json");
    push_late(&mut one).expect("nothing to do harms nobody");
    one.add(10..12);
    push_late(&mut one).expect_err("it may be another place");
    assert_eq!(one.own().newest, None);
    store.put_raw("vault.json", file);
    wait(one.push()).expect("a perfect store");
    assert_eq!(newcomer(&store).0, (0..3).chain(10..12).collect());
}

#[test]
fn what_arrives_during_a_push_does_not_begin_a_line_that_came_and_went() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    wait(one.push()).expect("nothing to do, but it has its identity");
    let mut copy = one.copied_to(2, &store);
    let shared = copy.own().node;
    // Twice: one manifest more is what the copy's first would be numbered below.
    for n in [0..2, 2..3] {
        one.add(n);
        wait(one.push()).expect("a perfect store");
    }
    one.reset(ResetMode::NewIdentity);
    wait(one.push()).expect("a perfect store");
    one.days_pass(WEEK_DAYS);
    wait(one.push()).expect("a perfect store");
    copy.add(20..25);
    let report = push_late(&mut copy).expect("a perfect store");
    assert_eq!(report.records, 5, "{report:?}");
    assert_ne!(copy.own().node, shared);
    let wanted = (0..3).chain(20..25).collect();
    assert_eq!(newcomer(&store), (wanted, [].into()));
}
