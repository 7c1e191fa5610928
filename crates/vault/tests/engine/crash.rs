//! Every crash point of a small session: the process dies at each store operation, before and after its effect, and at each local
//! transaction; afterwards everything is run again and must lead to the same history as if nothing had happened.

use std::collections::BTreeSet;

use testkit::{CrashPoint, FaultyStore};
use vault::VaultError;

use crate::desk::{Desk, id, perfect_store, wait};
use crate::replica::SimRecord;

/// What the one who crashes does, step by step. Each step may be run again.
const STEPS: usize = 9;

async fn step(desk: &mut Desk, step: usize) -> Result<(), VaultError> {
    match step {
        // Several segments, so that a crash falls between them.
        0 => {
            desk.push().await?;
        }
        1 => drop(desk.pull().await?),
        2 => desk.forget_once(3)?,
        3 => {
            desk.push().await?;
        }
        4 => drop(desk.pull().await?),
        // Enough small pushes for a merge.
        5 => {
            for n in 0..9 {
                desk.add_once(200 + n)?;
                desk.push().await?;
            }
        }
        6 => drop(desk.repair().await?),
        7 => {
            desk.days_pass(8);
            desk.forget_once(201)?;
            desk.push().await?;
        }
        _ => {
            desk.days_pass(8);
            desk.push().await?;
        }
    }
    Ok(())
}

impl Desk {
    fn forget_once(&mut self, n: u64) -> Result<(), VaultError> {
        let is_there = self.kept().contains(&n);
        self.once(is_there, SimRecord::Forget(id(n)))
    }

    fn add_once(&mut self, n: u64) -> Result<(), VaultError> {
        let is_new = !self.kept().contains(&n);
        self.once(is_new, SimRecord::Put(id(n), n))
    }

    fn once(&mut self, is_due: bool, record: SimRecord) -> Result<(), VaultError> {
        if !is_due {
            return Ok(());
        }
        self.replica
            .add(record)
            .map_err(|source| VaultError::Replica {
                doing: "take a record",
                source,
            })
    }
}

struct Room {
    store: FaultyStore,
    actor: Desk,
    other: Desk,
}

fn room() -> Room {
    let store = perfect_store();
    let mut actor = Desk::at(1, &store);
    actor.options.segment_records_max = 4;
    // A pulled segment is applied in two parts.
    actor.options.batch_records = 3;
    actor.add(0..10);
    let mut other = Desk::at(2, &store);
    other.add(100..106);
    wait(other.push()).expect("a perfect store");
    Room {
        store,
        actor,
        other,
    }
}

/// Where the process dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    Never,
    AtOperation(u64, CrashPoint),
    AtTransaction(u64),
}

/// Runs the session with one death in it; returns the histories of all, and whether death came.
fn session(death: Death) -> (Vec<BTreeSet<u64>>, bool) {
    let Room {
        store,
        mut actor,
        mut other,
    } = room();
    let handle = store.for_device(1);
    match death {
        Death::Never => {}
        Death::AtOperation(n, point) => handle.crash_at(n, point),
        Death::AtTransaction(n) => actor.replica.fuse = Some(n),
    }
    let mut died = false;
    for n in 0..STEPS {
        let outcome = wait(step(&mut actor, n));
        // A push whose last request fails has done its work: what it could not remove, the next one does.
        if outcome.is_err() || handle.is_crashed() {
            assert!(
                !died,
                "{death:?}: dies only once, but step {n} failed again: {outcome:?}"
            );
            died = true;
            handle.revive();
            actor.replica.fuse = None;
            wait(step(&mut actor, n))
                .unwrap_or_else(|error| panic!("{death:?}: step {n} after the restart: {error:?}"));
        }
    }
    // Not all of it was reached: the fuse is no part of the rest.
    handle.revive();
    actor.replica.fuse = None;
    actor.days_pass(8);
    wait(actor.push()).unwrap_or_else(|error| panic!("{death:?}: {error:?}"));
    let mut newcomer = Desk::at(3, &store);
    for desk in [&mut actor, &mut other, &mut newcomer] {
        let report = wait(desk.pull()).unwrap_or_else(|error| panic!("{death:?}: {error:?}"));
        assert!(
            report.problems.is_empty(),
            "{death:?}: {:?}",
            report.problems
        );
    }
    let seen = wait(newcomer.verify()).expect("a perfect store");
    assert!(seen.is_sound(), "{death:?}: {:?}", seen.problems);
    assert_eq!(seen.forgotten_left, 0, "{death:?}: {:?}", seen.problems);
    (vec![actor.kept(), other.kept(), newcomer.kept()], died)
}

#[test]
fn dying_anywhere_changes_nothing_in_the_end() {
    let (undisturbed, _) = session(Death::Never);
    let expected: BTreeSet<u64> = (0..10)
        .chain(100..106)
        .chain(200..209)
        .filter(|n| ![3, 201].contains(n))
        .collect();
    assert!(
        undisturbed.iter().all(|kept| *kept == expected),
        "{undisturbed:?}"
    );
    let (mut operations, mut transactions) = (0, 0);
    for point in [CrashPoint::BeforeEffect, CrashPoint::AfterEffect] {
        for n in 0.. {
            let (histories, died) = session(Death::AtOperation(n, point));
            assert_eq!(histories, undisturbed, "operation {n}, {point:?}");
            if !died {
                break;
            }
            operations += 1;
        }
    }
    for n in 0.. {
        let (histories, died) = session(Death::AtTransaction(n));
        assert_eq!(histories, undisturbed, "transaction {n}");
        if !died {
            break;
        }
        transactions += 1;
    }
    assert!(
        operations > 100 && transactions > 40,
        "{operations} operations, {transactions} transactions"
    );
}

#[test]
fn a_pull_that_is_cut_off_again_and_again_gets_there() {
    let store = perfect_store();
    let mut sender = Desk::at(1, &store);
    sender.add(0..100);
    wait(sender.push()).expect("a perfect store");
    let mut desk = Desk::at(2, &store);
    desk.options.batch_records = 10;
    wait(desk.push()).expect("a perfect store");
    let mut before = 0;
    for attempt in 0.. {
        // Time for the note that the only segment was begun; then for that and one part of it.
        desk.replica.fuse = Some(if attempt == 0 { 1 } else { 2 });
        let outcome = wait(desk.pull());
        desk.replica.fuse = None;
        if outcome.is_ok() {
            break;
        }
        let here = desk.kept().len();
        assert!(
            (here > before || attempt == 0 || here == 100) && attempt < 20,
            "attempt {attempt}: {here} records"
        );
        before = here;
    }
    assert_eq!(desk.kept().len(), 100);
    // What is fetched again on purpose is applied from its beginning.
    let report = wait(desk.pull_as(vault::PullMode::Full)).expect("a perfect store");
    assert_eq!((report.added, report.known), (0, 100));
}
