//! A run that dies at each of its operations on the store.

use crate::world::{FIRST, World};
use testkit::CrashPoint;

/// Runs to the end, with the upstream as it is a week later; returns how many operations that took, and what the store holds.
async fn undisturbed(world: &World) -> u64 {
    world.sync(&["jq", "wget"], FIRST).await;
    world.server.replace(later_once());
    let before = world.handle.operations();
    world.sync(&[], FIRST + 86_400).await;
    world.handle.operations() - before
}

/// The signatures of a sample differ each time it is made, so all worlds of a test share one.
fn later_once() -> bottles::sample::Sample {
    static LATER: std::sync::OnceLock<bottles::sample::Sample> = std::sync::OnceLock::new();
    LATER
        .get_or_init(bottles::sample::Sample::a_week_later)
        .clone()
}

fn first_once() -> bottles::sample::Sample {
    static FIRST: std::sync::OnceLock<bottles::sample::Sample> = std::sync::OnceLock::new();
    FIRST.get_or_init(bottles::sample::Sample::embedded).clone()
}

#[tokio::test]
async fn wherever_a_run_dies_clients_see_one_whole_state_and_the_next_run_ends_the_same() {
    let whole = World::small(first_once()).await;
    let operations = undisturbed(&whole).await;
    let expected = whole.objects();
    assert!(
        operations > 20,
        "{operations} operations are too few to be a run"
    );
    for at in 1..=operations {
        for point in [CrashPoint::BeforeEffect, CrashPoint::AfterEffect] {
            let world = World::small(first_once()).await;
            world.sync(&["jq", "wget"], FIRST).await;
            world.server.replace(later_once());
            world.handle.crash_at(at, point);
            let outcome = world.run(&world.options(&[], FIRST + 86_400)).await;
            let died = world.handle.is_crashed();
            world.handle.revive();
            if !died {
                outcome.expect("nothing stood in its way");
            }
            let seen = world.check().await.expect("something is published");
            assert!(seen.number == 1 || seen.number == 2);
            world.check_static(&["jq", "wget"]);
            world.sync(&[], FIRST + 86_400).await;
            world.check().await;
            let found = world.objects();
            let names = |objects: &std::collections::BTreeMap<String, bytes::Bytes>| {
                objects.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(&found), names(&expected), "died at {at}, {point:?}");
            assert!(
                found == expected,
                "died at {at}, {point:?}: the same keys hold other bytes"
            );
        }
    }
}
