//! A prune that is long at work, and one that slept while others took it for dead.

use crate::meeting::{has, with_leftovers};
use crate::prune::{options, two_generations};
use crate::world::{FIRST, World};
use bottles::log::LogError;
use bottles::prune::{Moment, PruneOptions, Pruned, prune_by};
use bottles::rollback::{RollbackError, roll_back};
use std::cell::Cell;
use std::time::Duration;

/// Long after all that a mirror holds was made.
const LATER: u64 = FIRST as u64 + 30 * 86_400;

/// How long others wait for the word of a prune, and a little more.
const DEAD: u64 = 16 * 60;

/// The clock of a machine that tests let go on.
struct Clock<'w> {
    world: &'w World,
    passed: Cell<u64>,
}

impl<'w> Clock<'w> {
    fn of(world: &'w World) -> Clock<'w> {
        world.handle.set_clock_ms(LATER * 1000);
        let passed = Cell::new(0);
        Clock { world, passed }
    }

    fn pass(&self, seconds: u64) {
        self.passed.set(self.passed.get() + seconds);
        let now = LATER + self.passed.get();
        self.world.handle.set_clock_ms(now * 1000);
    }
}

/// Prunes on a machine on which only the clock that may be set goes on while it sleeps.
async fn prune(
    world: &World,
    options: PruneOptions,
    clock: &Clock<'_>,
    is_done: &Cell<bool>,
) -> Result<Pruned, LogError> {
    let start = Moment::now();
    let now = || Moment {
        wall: start.wall + Duration::from_secs(clock.passed.get()),
        ..start
    };
    let outcome = prune_by(&world.store, options, now).await;
    is_done.set(true);
    outcome
}

/// Waits until a prune stands still, or has ended; tells whether it stands still.
async fn held(world: &World, is_done: &Cell<bool>) -> bool {
    while !world.handle.is_held() && !is_done.get() {
        tokio::task::yield_now().await;
    }
    world.handle.is_held()
}

#[tokio::test]
async fn what_was_gone_back_to_while_a_prune_slept_stays_whole() {
    let mut gone_back = 0;
    for at in 0.. {
        let (world, first) = two_generations().await;
        let other = world.beside(1, bottles::sample::Sample::embedded()).await;
        let (clock, is_done) = (Clock::of(&world), Cell::new(false));
        world.handle.hold_at(at);
        let pruning = prune(&world, options(1, FIRST, 86_400), &clock, &is_done);
        let meeting = async {
            let was_held = held(&world, &is_done).await;
            clock.pass(DEAD);
            let outcome = roll_back(&other.store, &first).await;
            world.handle.release();
            (outcome, was_held)
        };
        let (pruned, (outcome, was_held)) = tokio::join!(pruning, meeting);
        // One that slept at its very end had nothing left to do but to take its note away.
        let is_held_up = matches!(pruned, Err(LogError::HeldUp));
        assert!(is_held_up || outcome.is_err(), "met at {at}: {pruned:?}");
        let expected = match outcome {
            Ok(_) => 1,
            // What it removed before it fell asleep.
            Err(RollbackError::Gone { .. } | RollbackError::Log(_)) => 2,
            Err(error) => panic!("met at {at}: {error}"),
        };
        gone_back += u64::from(expected == 1);
        let generation = world.check_files().await;
        assert_eq!(generation.number, expected, "met at {at}");
        world.check_static(&["jq"]);
        assert!(!world.objects().keys().any(|key| key.contains("/pruning-")));
        if !was_held {
            break;
        }
    }
    assert!(gone_back > 3, "a prune that slept stood in the way");
}

#[tokio::test]
async fn what_was_published_while_a_prune_slept_stays_whole() {
    let mut published = 0;
    for at in 0.. {
        let (early, asked, other, pruning) = with_leftovers().await;
        let (clock, is_done) = (Clock::of(&early), Cell::new(false));
        other.handle.hold_at(at);
        let pruning = prune(&other, pruning, &clock, &is_done);
        let meeting = async {
            let was_held = held(&other, &is_done).await;
            clock.pass(DEAD);
            let outcome = early.run(&asked).await;
            other.handle.release();
            (outcome, was_held)
        };
        let (_, (outcome, was_held)) = tokio::join!(pruning, meeting);
        let is_published = outcome.is_ok();
        published += u64::from(is_published);
        early.check_files().await;
        if !is_published {
            early.run(&asked).await.expect("now it ends");
        }
        assert!(has(&early.check_settled().await, "jq"), "met at {at}");
        if !was_held {
            break;
        }
    }
    assert!(published > 3, "a prune that slept stood in the way");
}

#[tokio::test]
async fn a_prune_that_is_long_at_work_is_not_taken_for_dead() {
    let (world, first) = two_generations().await;
    let other = world.beside(1, bottles::sample::Sample::embedded()).await;
    let (clock, is_done) = (Clock::of(&world), Cell::new(false));
    // Its note, and a look at the log.
    world.handle.hold_at(2);
    let pruning = prune(&world, options(1, FIRST, 86_400), &clock, &is_done);
    let meeting = async {
        for _ in 0..5 {
            assert!(held(&world, &is_done).await);
            clock.pass(8 * 60);
            let outcome = roll_back(&other.store, &first).await;
            assert!(matches!(outcome, Err(RollbackError::Pruning)));
            // One operation, which says that it is still at work.
            world.handle.hold_at(1);
        }
        assert!(held(&world, &is_done).await);
        world.handle.release();
    };
    let (pruned, ()) = tokio::join!(pruning, meeting);
    assert_eq!(pruned.expect("pruned").generations.len(), 1);
    assert!(!world.objects().keys().any(|key| key.contains("/pruning-")));
    assert_eq!(world.check_settled().await.number, 2);
}

#[tokio::test]
async fn a_prune_whose_clock_is_set_back_does_not_go_on() {
    let (world, _) = two_generations().await;
    world.handle.set_clock_ms(LATER * 1000);
    let start = Moment::now();
    let looks = Cell::new(0);
    // The machine sleeps at the fifth look, and its clock is set back to when that was.
    let now = || {
        looks.set(looks.get() + 1);
        let is_awake = looks.get() > 5;
        Moment {
            steady: start.steady + Duration::from_secs(if is_awake { 120 } else { 0 }),
            ..start
        }
    };
    world.handle.set_yielding(true);
    let before = world.objects();
    let outcome = prune_by(&world.store, options(1, FIRST, 86_400), now).await;
    assert!(matches!(outcome, Err(LogError::HeldUp)), "{outcome:?}");
    assert_eq!(world.objects(), before);
}
