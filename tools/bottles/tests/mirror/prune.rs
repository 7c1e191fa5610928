//! Going back, and taking away what nobody needs.

use crate::world::{FIRST, World};
use bottles::log::{self, Log};
use bottles::prune::{PruneOptions, prune};
use bottles::publish;
use jiff::Timestamp;
use std::time::Duration;

fn options(keep: usize, now: i64, grace: u64) -> PruneOptions {
    PruneOptions {
        keep,
        grace: Duration::from_secs(grace),
        dry_run: false,
        now: Timestamp::from_second(now).expect("a time"),
    }
}

async fn go_to(world: &World, number: u64) {
    let log = Log::read(&world.store).await.expect("listed");
    let id = log
        .published()
        .into_iter()
        .find(|id| id.number() == number)
        .expect("it is there")
        .clone();
    let from = world.current().await.expect("one is current").1;
    let to = log::read(&world.store, &id).await.expect("it is read");
    publish::switch_to(&world.store, &log, &from, &to, &id)
        .await
        .expect("switched");
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
    assert_eq!(world.check().await.expect("it is whole").number, 1);
    world.check_static(&["jq"]);
    go_to(&world, 2).await;
    assert_eq!(world.objects()[api], second[api]);
    assert_eq!(world.check().await.expect("it is whole").number, 2);
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
    assert!(
        !after
            .keys()
            .any(|key| key.starts_with(".syncline/mirror/files/"))
    );
    // And the mirror goes on.
    assert!(world.sync(&[], FIRST + 4 * week).await.nothing_new);
}
