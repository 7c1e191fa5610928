//! A run that ends at each of its steps in turn: going on finishes it, rolling back undoes it, and nothing tells the difference.

use super::*;

/// Lets `act` end at step 1, 2, 3 and so on in a new world each, until it gets through; `then` looks at what it left.
async fn at_every_step<A, T>(make: impl Fn() -> World, act: A, then: T)
where
    A: AsyncFn(&World, Steps) -> Result<Report, RunError> + Sync,
    T: AsyncFn(&World, u64),
{
    for step in 1.. {
        assert!(step < 1000, "it never gets through");
        let world = make();
        match in_a_process(async || act(&world, Steps::fail_at(step)).await) {
            Ok(_) => {
                assert!(step > 5, "there are steps");
                return;
            }
            Err(error) => assert_eq!(error.kind(), RunErrorKind::Crash, "{error:?}"),
        }
        then(&world, step).await;
    }
}

#[tokio::test]
async fn a_run_that_crashed_goes_on_or_is_undone() {
    let whole = World::new(6);
    let start = relative(&whole.picture().await, &whole);
    whole.run().await.expect("runs");
    let end = relative(&whole.picture().await, &whole);
    at_every_step(
        || World::new(6),
        World::run_with,
        async |world, step| {
            if step % 2 == 0 {
                let report = world.run().await.expect("goes on");
                assert_eq!(report.exceptions, [], "step {step}");
                assert_eq!(relative(&world.picture().await, world), end, "step {step}");
                assert_eq!(world.verify(true).await.exceptions, [], "step {step}");
            }
            world.rollback().await.expect("rolls back");
            assert_eq!(
                relative(&world.picture().await, world),
                start,
                "step {step}"
            );
            let tally = world.journal().await.tally();
            assert_eq!(
                tally.of(State::Undone),
                tally.total(),
                "step {step}: {tally:?}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_rollback_that_crashed_goes_on() {
    let make = || World::new(6);
    let whole = make();
    let start = relative(&whole.picture().await, &whole);
    at_every_step(
        make,
        async |world, steps| {
            world.run().await?;
            world.rollback_with(steps).await
        },
        async |world, step| {
            world.rollback().await.expect("goes on");
            assert_eq!(
                relative(&world.picture().await, world),
                start,
                "step {step}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_removal_that_crashed_goes_on_or_is_undone() {
    let whole = World::new(6);
    let start = relative(&whole.picture().await, &whole);
    at_every_step(
        || World::new(6),
        async |world, steps| {
            world.run().await?;
            world.remove_sources(steps).await
        },
        async |world, step| {
            if step % 2 == 0 {
                world.remove_sources(Steps::all()).await.expect("goes on");
                assert!(world.picture().await.files.is_empty(), "step {step}");
                assert_eq!(world.journal().await.tally().of(State::Removed), 6);
            }
            world.rollback().await.expect("rolls back");
            assert_eq!(
                relative(&world.picture().await, world),
                start,
                "step {step}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_restoring_rollback_that_crashed_goes_on() {
    let whole = World::new(6);
    let start = relative(&whole.picture().await, &whole);
    at_every_step(
        || World::new(6),
        async |world, steps| {
            world.run().await?;
            world.remove_sources(Steps::all()).await?;
            world.rollback_with(steps).await
        },
        async |world, step| {
            world.rollback().await.expect("goes on");
            assert_eq!(
                relative(&world.picture().await, world),
                start,
                "step {step}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn an_upload_in_parts_that_crashed_goes_on_or_is_undone() {
    let make = || {
        let mut world = World::new(2);
        world.limits.multipart_threshold = 100;
        world.limits.memory = 6 << 20;
        world
    };
    let whole = make();
    let start = relative(&whole.picture().await, &whole);
    whole.run().await.expect("runs");
    let end = relative(&whole.picture().await, &whole);
    at_every_step(make, World::run_with, async |world, step| {
        if step % 2 == 0 {
            world.run().await.expect("goes on");
            assert_eq!(relative(&world.picture().await, world), end, "step {step}");
        }
        world.rollback().await.expect("rolls back");
        assert_eq!(
            relative(&world.picture().await, world),
            start,
            "step {step}"
        );
    })
    .await;
}

/// Takes the scratch directory's name and the moment of making out of a picture, so that those of two worlds compare.
fn relative(picture: &Picture, world: &World) -> String {
    let mut text = String::new();
    for (path, (bytes, _, mode)) in &picture.files {
        text.push_str(&format!("{} {mode:o} {}\n", path.display(), bytes));
    }
    for (id, path) in &picture.rows {
        text.push_str(&format!("{id} {path}\n"));
    }
    for (key, bytes) in &picture.objects {
        text.push_str(&format!("{key} {}\n", bytes));
    }
    text.replace(world.dir.path().to_str().expect("path"), "")
}
