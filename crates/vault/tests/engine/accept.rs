//! What a person accepted: demoted, never hidden, and named again while it lasts.

use vault::{ProblemKind, PullMode, ResetMode};

use crate::desk::{Desk, perfect_store, wait};

#[test]
fn a_damaged_manifest_is_accepted_once_and_loses_nothing() {
    for forces in [false, true] {
        let store = perfect_store();
        let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
        one.add(0..5);
        wait(one.push()).expect("a perfect store");
        wait(two.pull()).expect("a perfect store");
        one.add(5..8);
        wait(one.push()).expect("a perfect store");
        let own = one.own();
        let key = own.newest.expect("published").key(own.node);
        store.put_raw(&key, "damaged");
        let kinds = |report: &vault::PullReport| {
            let of_it = report.problems.iter().filter(|problem| problem.key == key);
            of_it.map(|problem| problem.kind).collect::<Vec<_>>()
        };
        let report = wait(two.pull()).expect("the rest is readable");
        assert_eq!(kinds(&report), [ProblemKind::Corrupt]);
        let report = if forces {
            wait(two.pull_as(PullMode::Force))
        } else {
            two.reset(ResetMode::NewIdentity);
            wait(two.pull())
        };
        let report = report.expect("accepted");
        assert_eq!(kinds(&report), [ProblemKind::Accepted], "forces: {forces}");
        assert_eq!(two.kept(), (0..5).collect());
        // Its author has not mended it yet, and there may be more in it than was read.
        let report = wait(two.pull()).expect("the rest is readable");
        assert_eq!(kinds(&report), [ProblemKind::Corrupt], "forces: {forces}");
        one.add(8..9);
        wait(one.push()).expect("a perfect store");
        let report = wait(two.pull()).expect("a perfect store");
        assert_eq!(report.problems, []);
        assert_eq!(two.kept(), (0..9).collect());
    }
}
