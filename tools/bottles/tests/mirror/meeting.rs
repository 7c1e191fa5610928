//! Several at once on one mirror: whatever one of them has ended well with is there at the end, at whichever moment they met.

use crate::world::{FIRST, World};
use bottles::log::{self, Generation, Log};
use bottles::prune::{PruneOptions, prune};
use bottles::rollback::roll_back;
use bottles::sample::{Sample, formulae};
use bottles::sync::{SyncOptions, rebuild_hash};
use std::sync::OnceLock;
use std::time::Duration;
use testkit::CrashPoint;

/// The upstream at three times: what it is at first, and twice later. Signatures differ each time they are made, so each is made once.
fn at_time(time: usize) -> Sample {
    static TIMES: OnceLock<[Sample; 3]> = OnceLock::new();
    let times = TIMES.get_or_init(|| {
        let mut last = formulae();
        for formula in &mut last {
            match formula.name.as_str() {
                "jq" => formula.version = "1.8.1".to_owned(),
                "tree" => formula.version = "2.2.0".to_owned(),
                // The same tag, other bytes: it was built anew without saying so.
                "wget" => formula.filling += 1,
                _ => {}
            }
        }
        [
            Sample::embedded(),
            Sample::a_week_later(),
            Sample::of(&last),
        ]
    });
    times[time].clone()
}

pub fn has(generation: &Generation, name: &str) -> bool {
    let mut bottles = generation.bottles.iter();
    bottles.any(|held| held.formula == name)
}

/// A mirror of `tree` and `wget`, and a machine whose upstream is a week later.
async fn early() -> (World, SyncOptions) {
    let world = World::small(at_time(0)).await;
    world.sync(&["tree", "wget"], FIRST).await;
    world.server.replace(at_time(1));
    let options = world.options(&["jq"], FIRST + 1);
    (world, options)
}

#[tokio::test]
async fn two_runs_that_see_two_upstreams_lose_nothing_wherever_they_meet() {
    for at in 0.. {
        let (early, options) = early().await;
        let late = early.beside(1, at_time(2)).await;
        let theirs = late.options(&["gtk+"], FIRST + 2);
        let (outcome, (met, was_held)) = early
            .run_and_meet(&options, at, async {
                let was_held = early.handle.is_held();
                (late.run(&theirs).await, was_held)
            })
            .await;
        let (own, met) = (outcome.expect("it ends"), met.expect("it ends"));
        assert!(own.failures.is_empty() && met.failures.is_empty());
        let generation = early.check_settled().await;
        for name in ["tree", "wget", "jq", "gtk+"] {
            assert!(has(&generation, name), "met at {at}: {name} is lost");
            assert!(generation.selection.formulae.contains(name), "met at {at}");
        }
        early.check_static(&["tree", "wget", "jq", "gtk+"]);
        if !was_held {
            assert!(at > 30, "{at} operations are too few for a run");
            break;
        }
    }
}

#[tokio::test]
async fn what_one_run_has_published_stays_though_the_one_that_met_it_dies() {
    // Each of the last operations: from before the API's files to after the mark.
    let (alone, options) = early().await;
    let before = alone.handle.operations();
    alone.run(&options).await.expect("it ends");
    let operations = alone.handle.operations() - before;
    for at in operations.saturating_sub(30)..operations {
        for left in 0..2 {
            let (early, options) = early().await;
            let late = early.beside(1, at_time(2)).await;
            let theirs = late.options(&["gtk+"], FIRST + 2);
            let (_, met) = early
                .run_and_meet(&options, at, async {
                    let met = late.run(&theirs).await;
                    early.handle.crash_at(left, CrashPoint::AfterEffect);
                    met
                })
                .await;
            met.expect("it ends");
            early.handle.revive();
            let third = early.beside(2, at_time(2)).await;
            third.sync(&[], FIRST + 3).await;
            let generation = early.check_settled().await;
            assert!(
                has(&generation, "gtk+"),
                "met at {at} and died after {left}"
            );
            assert!(
                generation.selection.formulae.contains("gtk+"),
                "met at {at}"
            );
            early.check_static(&["tree", "wget", "gtk+"]);
        }
    }
}

#[tokio::test]
async fn a_generation_that_nobody_merged_is_merged_by_the_next_run() {
    let world = World::small(at_time(0)).await;
    world.sync(&["tree"], FIRST).await;
    let log = Log::read(&world.store).await.expect("listed");
    world.sync(&["wget"], FIRST + 1).await;
    // A run that had seen only the first one died right after its mark, and its mark holds.
    let (id, theirs) = world.current().await.expect("published");
    let mut own = Generation { ..theirs.clone() };
    own.selection.formulae.remove("wget");
    own.bottles.retain(|held| held.formula == "tree");
    own.manifests.retain(|key, _| key.contains("/tree/"));
    for day in 0.. {
        own.created = jiff::Timestamp::from_second(FIRST + day).expect("a time");
        if own.id() > id {
            break;
        }
    }
    let own = log::write(&world.store, &own).await.expect("written");
    log::mark(&world.store, &log, &own).await.expect("marked");
    assert!(!has(&world.current().await.expect("published").1, "wget"));
    let log = Log::read(&world.store).await.expect("listed");
    assert_eq!(log.rivals(), [&id]);
    assert_eq!(log.named("2").len(), 2);
    assert_eq!(log.named(id.as_str()), [&id]);
    world.sync(&[], FIRST + 9).await;
    assert!(has(&world.check_settled().await, "wget"));
    // What was gone back from on purpose is not taken up again.
    let first = log.named("1")[0].clone();
    roll_back(&world.store, &first).await.expect("gone back to");
    let report = world.sync(&[], FIRST + 10).await;
    assert!(report.nothing_new, "{report:?}");
    assert!(!has(&world.check_settled().await, "wget"));
}

#[tokio::test]
async fn a_rollback_during_a_sync_leaves_one_whole_state_whoever_wins() {
    for at in 0.. {
        let (early, options) = early().await;
        early.sync(&[], FIRST).await;
        early.server.replace(at_time(2));
        let other = early.beside(1, at_time(0)).await;
        let log = Log::read(&early.store).await.expect("listed");
        let first = log.named("1")[0].clone();
        let (outcome, (back, was_held)) = early
            .run_and_meet(&options, at, async {
                let was_held = early.handle.is_held();
                (roll_back(&other.store, &first).await, was_held)
            })
            .await;
        let report = outcome.expect("it ends");
        back.expect("gone back to");
        let generation = early.check_files().await;
        match was_held {
            // Who goes back while a sync is under way is told so, and the sync goes forward.
            true => assert!(
                generation.number > 1 || report.published.is_some(),
                "met at {at}"
            ),
            false => {
                assert_eq!(generation.number, 1);
                break;
            }
        }
        // And the next run finds nothing to put right.
        if generation.number > 1 {
            assert!(early.sync(&[], FIRST + 3).await.nothing_new, "met at {at}");
            early.check_settled().await;
        }
    }
}

#[tokio::test]
async fn files_that_somebody_wrote_over_are_put_right_though_there_is_nothing_new() {
    let world = World::small(at_time(0)).await;
    world.sync(&["jq"], FIRST).await;
    let key = "api/cask.jws.json";
    let objects = world.objects();
    let Some(whole) = objects.get(key).or(objects.get("api/formula.jws.json")) else {
        panic!("there is no API file");
    };
    let key = match objects.contains_key(key) {
        true => key,
        false => "api/formula.jws.json",
    };
    // Of the same length: only its contents differ.
    let mut other = whole.to_vec();
    other.reverse();
    world.handle.put_raw(key, other);
    let report = world.sync(&[], FIRST + 1).await;
    assert!(report.nothing_new);
    assert_eq!(&world.objects()[key], whole);
    world.handle.remove_raw(key);
    assert!(world.sync(&[], FIRST + 2).await.nothing_new);
    assert_eq!(&world.objects()[key], whole);
}

/// A mirror in which a run that died has left bottles behind, long ago; another machine, and how that one prunes.
pub async fn with_leftovers() -> (World, SyncOptions, World, PruneOptions) {
    let week = 7 * 86_400;
    let (early, options) = early().await;
    early.handle.set_clock_ms(FIRST as u64 * 1000);
    let mut failing = at_time(1);
    let missing = "v2/homebrew/core/jq/manifests/1.8.0";
    failing.registry.remove(missing).expect("it was there");
    early.server.replace(failing);
    early.sync(&["jq"], FIRST).await;
    early.server.replace(at_time(1));
    early.handle.set_clock_ms((FIRST + 2 * week) as u64 * 1000);
    let other = early.beside(1, at_time(0)).await;
    let pruning = PruneOptions {
        keep: 1,
        grace: Duration::from_secs(86_400),
        dry_run: false,
        now: jiff::Timestamp::from_second(FIRST).expect("a time"),
    };
    (early, options, other, pruning)
}

#[tokio::test]
async fn a_prune_during_a_sync_takes_nothing_that_is_published() {
    let mut refused = 0;
    for at in 0.. {
        let (early, options, other, pruning) = with_leftovers().await;
        let (outcome, was_held) = early
            .run_and_meet(&options, at, async {
                let was_held = early.handle.is_held();
                prune(&other.store, pruning).await.expect("pruned");
                was_held
            })
            .await;
        refused += u64::from(outcome.is_err());
        if outcome.is_err() {
            early.check_files().await;
            early.run(&options).await.expect("now it ends");
        }
        assert!(has(&early.check_settled().await, "jq"), "met at {at}");
        if !was_held {
            break;
        }
    }
    assert!(refused > 0, "no moment was one at which it matters");
}

#[tokio::test]
async fn a_sync_during_a_prune_publishes_nothing_that_is_taken() {
    let mut refused = 0;
    for at in 0.. {
        let (early, options, other, pruning) = with_leftovers().await;
        other.handle.hold_at(at);
        let is_done = std::cell::Cell::new(false);
        let pruning = async {
            let outcome = prune(&other.store, pruning).await;
            is_done.set(true);
            outcome
        };
        let meeting = async {
            while !other.handle.is_held() && !is_done.get() {
                tokio::task::yield_now().await;
            }
            let was_held = other.handle.is_held();
            let outcome = early.run(&options).await;
            other.handle.release();
            (outcome, was_held)
        };
        let (pruned, (outcome, was_held)) = tokio::join!(pruning, meeting);
        pruned.expect("pruned");
        early.check_files().await;
        if outcome.is_err() {
            refused += 1;
            early.run(&options).await.expect("now it ends");
        }
        assert!(has(&early.check_settled().await, "jq"), "met at {at}");
        if !was_held {
            break;
        }
    }
    assert!(refused > 0, "no moment was one at which it matters");
}

#[tokio::test]
async fn a_base_that_is_pruned_while_a_run_is_under_way_is_not_relied_on() {
    let mut refused = 0;
    for at in 0.. {
        let (early, options) = early().await;
        early.handle.set_clock_ms(FIRST as u64 * 1000);
        let other = early.beside(1, at_time(1)).await;
        let mut theirs = other.options(&["jq"], FIRST + 2);
        theirs.replaces_selection = true;
        let pruning = PruneOptions {
            keep: 1,
            grace: Duration::from_secs(2),
            dry_run: false,
            now: jiff::Timestamp::from_second(FIRST).expect("a time"),
        };
        let (outcome, was_held) = early
            .run_and_meet(&options, at, async {
                let was_held = early.handle.is_held();
                other.run(&theirs).await.expect("it ends");
                early.handle.set_clock_ms((FIRST + 100) as u64 * 1000);
                prune(&other.store, pruning).await.expect("pruned");
                was_held
            })
            .await;
        refused += u64::from(outcome.is_err());
        // Whatever is current is whole: a run that named what was gone has published nothing.
        early.check_settled().await;
        early.run(&options).await.expect("now it ends");
        assert!(has(&early.check_settled().await, "jq"), "met at {at}");
        if !was_held {
            break;
        }
    }
    assert!(refused > 0, "no moment was one at which it matters");
}

#[tokio::test]
async fn the_hash_file_is_that_of_what_is_current_whoever_wrote_it_last() {
    for is_rebuilt in [false, true] {
        for at in 0.. {
            let early = World::small(at_time(0)).await;
            early.sync(&["tree"], FIRST).await;
            let other = early.beside(1, at_time(0)).await;
            early.handle.hold_at(at);
            let is_done = std::cell::Cell::new(false);
            let run = async {
                let now = jiff::Timestamp::from_second(FIRST + 1).expect("a time");
                match is_rebuilt {
                    true => drop(
                        rebuild_hash(&early.store, None, now)
                            .await
                            .expect("rebuilt"),
                    ),
                    false => drop(early.sync(&[], FIRST + 1).await),
                }
                is_done.set(true);
            };
            let meeting = async {
                while !early.handle.is_held() && !is_done.get() {
                    tokio::task::yield_now().await;
                }
                let was_held = early.handle.is_held();
                other.sync(&["jq"], FIRST + 2).await;
                early.handle.release();
                was_held
            };
            let ((), was_held) = tokio::join!(run, meeting);
            assert!(has(&early.check_settled().await, "jq"), "met at {at}");
            if !was_held {
                break;
            }
        }
    }
}
