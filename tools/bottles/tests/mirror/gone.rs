//! A store that goes away under a server: a disk that is no longer mounted, a bucket that somebody has emptied.

use crate::serve::start;
use crate::world::{FIRST, World};
use reqwest::StatusCode;
use std::time::Duration;

#[tokio::test]
async fn a_server_whose_store_is_empty_of_a_sudden_is_not_healthy_and_takes_nothing_for_a_miss() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let old = world.check().await.expect("it is published").bottles;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let generation = world.check().await.expect("it is published");
    let serving = start(&world, Duration::from_millis(5)).await;
    assert_eq!(serving.get("/health").await.0, StatusCode::OK);
    let api = "/api/formula.jws.json";
    let (_, held) = serving.get(api).await;
    // What an unmounted folder shows: the mount point, and nothing in it.
    let objects = world.objects();
    for key in objects.keys() {
        assert!(world.handle.remove_raw(key), "{key}");
    }
    serving
        .until("/health", |(status, _)| {
            *status == StatusCode::SERVICE_UNAVAILABLE
        })
        .await;
    let (_, metrics) = serving.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(
        !metrics.contains("homebrew_sync_refresh_failures 0\n"),
        "{metrics}"
    );
    // What this process has in its memory is right still; what it has not is an error of the store.
    assert_eq!(serving.get(api).await, (StatusCode::OK, held));
    let bottle = &generation.bottles[0];
    for key in [bottle.blob_key(), bottle.manifest_key()] {
        let (status, text) = serving.get(&format!("/{key}")).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{text:?}");
    }
    let (status, _) = serving.get("/v2/homebrew/core/tree/manifests/2.1.1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, metrics) = serving.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(
        metrics.contains("homebrew_sync_misses_total 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("homebrew_sync_store_errors_total 2\n"),
        "{metrics}"
    );
    // It is mounted again.
    for (key, bytes) in objects {
        world.handle.put_raw(&key, bytes);
    }
    serving
        .until("/health", |(status, _)| *status == StatusCode::OK)
        .await;
    // Bottles of the earlier generation, which this process had not asked for before, are found again too.
    for held in old {
        let (status, _) = serving.get(&format!("/{}", held.blob_key())).await;
        assert_eq!(status, StatusCode::OK, "{held:?}");
    }
    serving.end().await;
}
