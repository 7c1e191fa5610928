//! Two runs over the same items, one of them stale, and rows that the database switched without saying so: no object that a row names goes.

use super::*;

/// Every row leads to bytes.
pub(super) async fn assert_reachable(world: &World, what: &str) {
    let objects = world.objects().await;
    for (id, path) in world.rows.all() {
        let is_there = match path.strip_prefix("s3://") {
            Some(key) => objects.contains_key(key),
            None => fs::exists(&path).expect("looks"),
        };
        assert!(is_there, "{what}: {id} leads nowhere: {path}");
    }
}

fn touch(world: &World) {
    for item in &world.items {
        let path = &item.blobs[0].source;
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("touches");
    }
}

#[tokio::test]
async fn a_source_that_was_touched_takes_no_object_away_that_a_row_names() {
    for step in 1..100 {
        let world = World::new(5);
        let outcome = in_a_process(async || world.run_with(Steps::fail_at(step)).await);
        if outcome.is_ok() {
            return;
        }
        touch(&world);
        let switched = world.rows.all();
        world.run().await.expect("resumes");
        assert_reachable(&world, &format!("step {step}")).await;
        for (id, path) in switched
            .iter()
            .filter(|(_, path)| path.starts_with("s3://"))
        {
            assert_eq!(&world.rows.all()[id], path, "step {step}");
            assert_eq!(
                world.journal().await.state(id),
                Some(State::Committed),
                "step {step}: {id}"
            );
        }
    }
}

/// Returns a world in which a run was killed at a step and another has moved everything since; the journal of the first is open again.
pub(super) async fn overtaken(step: u64) -> Option<World> {
    let world = World::new(4);
    let outcome = in_a_process(async || world.run_with(Steps::fail_at(step)).await);
    outcome.err()?;
    world.fresh_journal();
    world.run().await.expect("the other run");
    Some(world)
}

#[tokio::test]
async fn a_stale_run_that_goes_on_takes_no_object_of_another() {
    for step in 1..100 {
        let Some(world) = overtaken(step).await else {
            return;
        };
        touch(&world);
        world.n_journals.store(0, Ordering::Relaxed);
        world.run().await.expect("resumes");
        assert_reachable(&world, &format!("step {step}")).await;
    }
}

#[tokio::test]
async fn a_switched_item_whose_object_is_gone_is_switched_and_named() {
    for step in 1..100 {
        let world = World::new(1);
        let outcome = in_a_process(async || world.run_with(Steps::fail_at(step)).await);
        outcome.expect_err("it gets through before it is switched");
        if world.plan().is_empty() {
            let gone = [world.items[0].blobs[0].key.clone()];
            world.target.delete(&gone).await.expect("deletes");
            let report = world.run().await.expect("resumes");
            assert_eq!(report.exceptions[0].kind, ExceptionKind::ObjectMissing);
            let state = world.journal().await.state("document-0");
            assert_eq!(state, Some(State::Committed));
            world.rollback().await.expect("rolls back");
            assert_reachable(&world, "rolled back").await;
            return;
        }
    }
    panic!("no step is between the switch and its line");
}
