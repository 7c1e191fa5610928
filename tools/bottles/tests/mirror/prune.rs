//! Going back, and taking away what nobody needs.

use crate::world::{FIRST, World};
use bottles::log::{self, GenerationId, Log, LogError};
use bottles::prune::{PruneOptions, prune};
use bottles::rollback::{RollbackError, roll_back};
use jiff::Timestamp;
use std::time::Duration;
use testkit::CrashPoint;

pub fn options(keep: usize, now: i64, grace: u64) -> PruneOptions {
    PruneOptions {
        keep,
        grace: Duration::from_secs(grace),
        dry_run: false,
        now: Timestamp::from_second(now).expect("a time"),
    }
}

/// A mirror of two generations, and the first one's name.
pub async fn two_generations() -> (World, GenerationId) {
    let world = World::small(bottles::sample::Sample::embedded()).await;
    world.handle.set_clock_ms(FIRST as u64 * 1000);
    world.sync(&["jq"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let first = numbered(&world, 1).await;
    (world, first)
}

async fn numbered(world: &World, number: u64) -> GenerationId {
    let log = Log::read(&world.store).await.expect("listed");
    let [id] = log.named(&number.to_string())[..] else {
        panic!("there is not exactly one generation {number}");
    };
    id.clone()
}

async fn go_to(world: &World, number: u64) {
    let id = numbered(world, number).await;
    let settled = roll_back(&world.store, &id).await.expect("gone back to");
    assert_eq!(settled.id, id);
}

#[tokio::test]
async fn back_and_forth_clients_see_exactly_the_files_of_then() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let first = world.objects();
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let second = world.objects();
    let api = "api/internal/packages.x86_64_linux.jws.json";
    assert_ne!(first[api], second[api]);
    go_to(&world, 1).await;
    assert_eq!(world.objects()[api], first[api]);
    assert_eq!(world.check_settled().await.number, 1);
    world.check_static(&["jq"]);
    go_to(&world, 2).await;
    assert_eq!(world.objects()[api], second[api]);
    assert_eq!(world.check_settled().await.number, 2);
}

#[tokio::test]
async fn what_a_kept_generation_names_stays_and_the_rest_goes_after_the_grace_period() {
    let world = World::new().await;
    world.handle.set_clock_ms(FIRST as u64 * 1000);
    world.sync(&["jq"], FIRST).await;
    let week = 7 * 86_400;
    world.handle.set_clock_ms((FIRST + week) as u64 * 1000);
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + week).await;
    let before = world.objects();
    // It was current until just now.
    let soon = prune(&world.store, options(1, FIRST + week + 60, 86_400))
        .await
        .expect("pruned");
    assert_eq!(
        (soon.generations.len(), soon.waiting.len(), soon.objects),
        (0, 1, 0)
    );
    assert_eq!(world.objects(), before);
    // Kept by number.
    world.handle.set_clock_ms((FIRST + 3 * week) as u64 * 1000);
    let kept = prune(&world.store, options(2, FIRST + 3 * week, 86_400))
        .await
        .expect("pruned");
    assert_eq!((kept.generations.len(), kept.objects), (0, 0));
    let gone = prune(&world.store, options(1, FIRST + 3 * week, 86_400))
        .await
        .expect("pruned");
    assert_eq!(gone.generations.len(), 1);
    assert!(gone.objects > 0);
    let generation = world.check().await.expect("it is whole");
    assert_eq!(generation.number, 2);
    let after = world.objects();
    assert!(!after.contains_key("v2/homebrew/core/jq/manifests/1.7.1"));
    assert!(after.keys().filter(|key| key.contains("/blobs/")).count() == generation.bottles.len());
    let kept: Vec<&str> = after
        .keys()
        .filter_map(|key| key.strip_prefix(".syncline/mirror/files/"))
        .collect();
    let mut named: Vec<String> = generation
        .api
        .values()
        .map(|entry| entry.file.sha256.to_string())
        .collect();
    named.sort();
    assert_eq!(kept, named);
    assert!(!after.keys().any(|key| key.contains("/pruning-")));
    // And the mirror goes on.
    assert!(world.sync(&[], FIRST + 4 * week).await.nothing_new);
}

#[tokio::test]
async fn a_prune_goes_by_the_clock_of_the_store() {
    let world = World::small(bottles::sample::Sample::embedded()).await;
    world.handle.set_clock_ms(FIRST as u64 * 1000);
    world.sync(&["jq"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let before = world.objects();
    // This machine's clock is years ahead.
    let pruned = prune(&world.store, options(1, FIRST + 100_000_000, 86_400))
        .await
        .expect("pruned");
    assert_eq!((pruned.generations.len(), pruned.objects), (0, 0));
    assert_eq!(world.objects(), before);
}

#[tokio::test]
async fn a_damaged_generation_can_be_left_and_a_sync_makes_the_mirror_anew() {
    let world = World::small(bottles::sample::Sample::embedded()).await;
    world.sync(&["jq"], FIRST).await;
    let first = numbered(&world, 1).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let second = numbered(&world, 2).await;
    for damage in [Some("no generation"), None] {
        match damage {
            Some(text) => world.handle.put_raw(&log::generation_key(&second), text),
            None => drop(world.handle.remove_raw(&log::generation_key(&second))),
        }
        // Nobody remembers what was selected: that is said, and nothing is published without it.
        world
            .run(&world.options(&[], FIRST + 2))
            .await
            .expect_err("it cannot be read");
        roll_back(&world.store, &first).await.expect("gone back to");
        assert_eq!(world.check_files().await.number, 1);
        // Once more: the damaged one is current.
        let log = Log::read(&world.store).await.expect("listed");
        log::mark(&world.store, &log, &second)
            .await
            .expect("marked");
    }
    let _ = world.server.take_asked();
    let report = world.sync(&["jq"], FIRST + 3).await;
    assert!(report.warnings[0].contains(second.as_str()), "{report:?}");
    assert_eq!(report.fetched, 0);
    let generation = world.check_settled().await;
    assert_eq!(generation.number, 3);
}

#[tokio::test]
async fn a_rollback_that_dies_anywhere_is_whole_or_has_not_been() {
    let world = World::small(bottles::sample::Sample::embedded()).await;
    world.sync(&["jq"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let first = numbered(&world, 1).await;
    for at in 1.. {
        world.handle.crash_after(at);
        let outcome = roll_back(&world.store, &first).await;
        let is_through = !world.handle.is_crashed();
        world.handle.revive();
        if is_through {
            outcome.expect("nothing stood in its way");
        }
        let (_, generation) = world.current().await.expect("one is current");
        world.check_static(&["jq"]);
        // The upstream gives what it gave when the second was made: there is nothing new but for what was gone back from.
        let report = world.sync(&[], FIRST + 2).await;
        assert_eq!(report.nothing_new, generation.number > 1, "died at {at}");
        world.check_settled().await;
        if is_through {
            assert!(at > 10, "{at} operations are too few for a rollback");
            break;
        }
    }
}

#[tokio::test]
async fn a_rollback_during_a_prune_is_refused_or_spares_what_is_gone_back_to() {
    for at in 0.. {
        let (world, first) = two_generations().await;
        world.handle.set_clock_ms((FIRST + 864_000) as u64 * 1000);
        let other = world.beside(1, bottles::sample::Sample::embedded()).await;
        world.handle.hold_at(at);
        let is_done = std::cell::Cell::new(false);
        let pruning = async {
            let outcome = prune(&world.store, options(1, FIRST, 86_400)).await;
            is_done.set(true);
            outcome
        };
        let meeting = async {
            while !world.handle.is_held() && !is_done.get() {
                tokio::task::yield_now().await;
            }
            let was_held = world.handle.is_held();
            let outcome = roll_back(&other.store, &first).await;
            world.handle.release();
            (outcome, was_held)
        };
        let (pruned, (outcome, was_held)) = tokio::join!(pruning, meeting);
        if let Err(error) = pruned {
            let is_refused = matches!(error, LogError::RollingBack);
            assert!(is_refused && outcome.is_ok(), "met at {at}: {error}");
        }
        let generation = world.check_files().await;
        match outcome {
            Ok(_) => assert_eq!(generation.number, 1, "met at {at}"),
            Err(RollbackError::Pruning | RollbackError::Gone { .. } | RollbackError::Log(_)) => {
                assert_eq!(generation.number, 2, "met at {at}");
            }
            Err(error) => panic!("met at {at}: {error}"),
        }
        if !was_held {
            break;
        }
    }
}

/// Goes back, and prunes once the rollback has made so many operations. The prune says that it is there and reads the log, which is where it
/// decides, and stops until the rollback has ended.
/// Returns whether the rollback came as far as that.
async fn prune_in_the_middle(at: u64) -> bool {
    let (world, first) = two_generations().await;
    let other = world.beside(1, bottles::sample::Sample::embedded()).await;
    world.handle.hold_at(at);
    let is_done = std::cell::Cell::new([false; 2]);
    let returning = async {
        let outcome = roll_back(&world.store, &first).await;
        is_done.set([true, is_done.get()[1]]);
        outcome
    };
    let pruning = async {
        while !world.handle.is_held() && !is_done.get()[0] {
            tokio::task::yield_now().await;
        }
        let was_held = world.handle.is_held();
        other.handle.hold_at(2);
        let outcome = prune(&other.store, options(1, FIRST, 0)).await;
        is_done.set([is_done.get()[0], true]);
        (outcome, was_held)
    };
    let going_on = async {
        while !other.handle.is_held() && !is_done.get()[1] {
            tokio::task::yield_now().await;
        }
        world.handle.release();
        while !is_done.get()[0] {
            tokio::task::yield_now().await;
        }
        other.handle.release();
    };
    let (returned, (pruned, was_held), ()) = tokio::join!(returning, pruning, going_on);
    // What is refused has changed nothing; what is current is whole, whoever won.
    let returned = returned.map(|settled| settled.id);
    let expected = if returned.is_ok() { 1 } else { 2 };
    let generation = world.check_files().await;
    assert_eq!(
        generation.number, expected,
        "met at {at}: {returned:?}, {pruned:?}"
    );
    world.check_static(&["jq"]);
    was_held
}

#[tokio::test]
async fn a_prune_during_a_rollback_takes_nothing_of_what_is_current_then() {
    let mut at = 0;
    while prune_in_the_middle(at).await {
        at += 1;
    }
    assert!(at > 5, "{at} operations are too few for a rollback");
}

#[tokio::test]
async fn a_prune_that_was_killed_stands_in_nobodys_way_for_ever() {
    let (world, first) = two_generations().await;
    world.handle.crash_at(1, CrashPoint::BeforeEffect);
    prune(&world.store, options(1, FIRST, 86_400))
        .await
        .expect_err("it dies");
    world.handle.revive();
    let outcome = roll_back(&world.store, &first).await;
    assert!(matches!(outcome, Err(RollbackError::Pruning)));
    assert_eq!(world.check_settled().await.number, 2);
    world.handle.set_clock_ms((FIRST + 840) as u64 * 1000);
    let outcome = roll_back(&world.store, &first).await;
    assert!(matches!(outcome, Err(RollbackError::Pruning)));
    // A quarter of an hour later.
    world.handle.set_clock_ms((FIRST + 900) as u64 * 1000);
    go_to(&world, 1).await;
    // A prune of an earlier program says only once that it is at work.
    let earlier = ".syncline/mirror/log/pruning-86400-0123456789abcdef";
    world.handle.put_raw(earlier, "a prune is under way");
    world.handle.set_clock_ms((FIRST + 80_000) as u64 * 1000);
    let second = numbered(&world, 2).await;
    let outcome = roll_back(&world.store, &second).await;
    assert!(matches!(outcome, Err(RollbackError::Pruning)));
    world.handle.set_clock_ms((FIRST + 90_000) as u64 * 1000);
    go_to(&world, 2).await;
    go_to(&world, 1).await;
    prune(&world.store, options(2, FIRST, 86_400))
        .await
        .expect("pruned");
    assert!(!world.objects().keys().any(|key| key.contains("/pruning-")));
    assert_eq!(world.check_files().await.number, 1);
}

#[tokio::test]
async fn the_api_of_a_platform_that_is_mirrored_no_more_goes_before_its_bottles() {
    const ARM: &str = "api/internal/packages.arm64_linux.jws.json";
    for at in 1.. {
        let mut world = World::small(bottles::sample::Sample::embedded()).await;
        world.platforms.insert("arm64_linux".to_owned());
        world.handle.set_clock_ms(FIRST as u64 * 1000);
        world.sync(&["jq"], FIRST).await;
        world.handle.put_raw("api/index.html", "somebody else's");
        let arm: Vec<String> = world
            .check_settled()
            .await
            .bottles
            .iter()
            .filter(|held| held.tag == "arm64_linux")
            .map(log::Held::blob_key)
            .collect();
        assert!(!arm.is_empty());
        world.platforms.remove("arm64_linux");
        let mut only = world.options(&["jq"], FIRST + 1);
        only.replaces_selection = true;
        world.run(&only).await.expect("it ends");
        // Clients of it may have its API, so its bottles stay.
        let grace = 86_400;
        prune(&world.store, options(1, FIRST, grace))
            .await
            .expect("pruned");
        assert!(world.objects().contains_key(ARM));
        world.handle.set_clock_ms((FIRST + 864_000) as u64 * 1000);
        world.handle.crash_after(at);
        let outcome = prune(&world.store, options(1, FIRST, grace)).await;
        let is_through = !world.handle.is_crashed();
        world.handle.revive();
        let objects = world.objects();
        if objects.contains_key(ARM) {
            assert!(
                arm.iter().all(|key| objects.contains_key(key)),
                "died at {at}"
            );
        }
        world.check_settled().await;
        if is_through {
            outcome.expect("nothing stood in its way");
            assert!(!objects.contains_key(ARM));
            assert!(!arm.iter().any(|key| objects.contains_key(key)));
            assert!(objects.contains_key("api/index.html"));
            assert!(world.sync(&[], FIRST + 2).await.nothing_new);
            break;
        }
    }
}

#[tokio::test]
async fn no_number_is_given_out_twice() {
    let world = World::small(bottles::sample::Sample::embedded()).await;
    world.handle.set_clock_ms(FIRST as u64 * 1000);
    world.sync(&["jq"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    for round in 0..3_u64 {
        world.sync(&[], FIRST + 1).await;
        let number = world.check_settled().await.number;
        assert_eq!(number, 2 + round);
        go_to(&world, 1).await;
        let later = (FIRST as u64 + 864_000 * (round + 1)) * 1000;
        world.handle.set_clock_ms(later);
        prune(&world.store, options(1, FIRST, 60))
            .await
            .expect("pruned");
        let log = Log::read(&world.store).await.expect("listed");
        assert_eq!(log.published().len(), 1);
        let notes = world.objects();
        let notes = notes.keys().filter(|key| key.contains("/highest-"));
        assert_eq!(notes.count(), 1);
    }
}

/// Leaves the files as a run leaves them that died between its mark and its files: those of the second generation, under the mark of the first.
async fn a_rollback_that_died_after_its_mark() -> World {
    let (world, first) = two_generations().await;
    let log = Log::read(&world.store).await.expect("listed");
    log::mark(&world.store, &log, &first).await.expect("marked");
    world
}

#[tokio::test]
async fn a_prune_takes_nothing_of_what_clients_of_plain_files_are_told_of() {
    let day = 86_400;
    for grace in [0, day] {
        let world = a_rollback_that_died_after_its_mark().await;
        // Long after, and nobody has run since.
        world.handle.set_clock_ms((FIRST as u64 + 10 * day) * 1000);
        let looked = PruneOptions {
            dry_run: true,
            ..options(1, FIRST + 10 * day as i64, grace)
        };
        let found = prune(&world.store, looked).await.expect("looked");
        assert_eq!(found.objects, 0, "{found:?}");
        let before = world.objects();
        let pruned = prune(&world.store, options(1, FIRST, grace.max(1))).await;
        let pruned = pruned.expect("pruned");
        assert_eq!((pruned.generations.len(), pruned.waiting.len()), (0, 1));
        // What was told to clients until now is all there, and they are told of what is current.
        let objects = world.objects();
        let bottles = before.keys().filter(|key| key.starts_with("v2/"));
        for key in bottles {
            assert!(objects.contains_key(key), "{key}");
        }
        assert_eq!(world.check_settled().await.number, 1);
        world.check_static(&["jq"]);
        // They have had the grace period.
        world.handle.set_clock_ms((FIRST as u64 + 12 * day) * 1000);
        let pruned = prune(&world.store, options(1, FIRST, grace)).await;
        assert_eq!(pruned.expect("pruned").generations.len(), 1);
        world.check_settled().await;
        world.check_static(&["jq"]);
    }
}

#[tokio::test]
async fn whatever_a_sync_or_a_rollback_died_at_a_prune_leaves_what_the_api_names() {
    for is_rollback in [false, true] {
        for at in 1.. {
            let (world, first) = two_generations().await;
            world.handle.crash_after(at);
            let now = FIRST + 2;
            match is_rollback {
                true => drop(roll_back(&world.store, &first).await),
                false => {
                    let sample = bottles::sample::Sample::embedded();
                    world.server.replace(sample);
                    drop(world.run(&world.options(&["wget"], now)).await);
                }
            }
            let is_through = !world.handle.is_crashed();
            world.handle.revive();
            let later = (FIRST as u64 + 864_000) * 1000;
            world.handle.set_clock_ms(later);
            prune(&world.store, options(1, FIRST, 0)).await.ok();
            world.check_static(&["jq"]);
            prune(&world.store, options(1, FIRST, 86_400)).await.ok();
            world.check_static(&["jq"]);
            if is_through {
                break;
            }
        }
    }
}

#[tokio::test]
async fn files_that_are_not_those_of_what_is_current_are_told_of() {
    let world = a_rollback_that_died_after_its_mark().await;
    let now = Timestamp::from_second(FIRST + 3).expect("a time");
    let rebuilt = bottles::sync::rebuild_hash(&world.store, None, now).await;
    let warnings = rebuilt.expect("rebuilt").warnings;
    assert!(
        warnings
            .iter()
            .any(|line| line.contains("`homebrew-sync sync` puts them right")),
        "{warnings:?}"
    );
    world.sync(&[], FIRST + 4).await;
    let rebuilt = bottles::sync::rebuild_hash(&world.store, None, now).await;
    assert!(rebuilt.expect("rebuilt").warnings.is_empty());
}
