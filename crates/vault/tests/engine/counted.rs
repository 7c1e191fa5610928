//! What is counted as pending is published, or nothing is: a database that gives less than it counts is damaged.

use vault::VaultError;

use crate::desk::{Desk, newcomer, perfect_store, wait};

#[test]
fn a_push_that_is_given_less_than_was_counted_publishes_nothing() {
    // A small push, and one that needs several segments.
    for n in [3, 40_000] {
        let store = perfect_store();
        let mut desk = Desk::at(1, &store);
        desk.add(0..5);
        wait(desk.push()).expect("a perfect store");
        desk.add(5..5 + n);
        desk.replica.hidden = Some(6);
        for _ in 0..2 {
            let told = wait(desk.push()).expect_err("one is withheld");
            let is_expected = matches!(told, VaultError::Miscounted { .. });
            assert!(is_expected, "{told:?}");
            assert_eq!(newcomer(&store).0, (0..5).collect());
        }
        desk.replica.hidden = None;
        wait(desk.push()).expect("a perfect store");
        assert_eq!(newcomer(&store).0, (0..5 + n).collect());
    }
}
