//! The guide's session from the first import to the last check, with the requests counted.

use crate::session::whole_session;
use crate::world::{BUCKET, Device, FOLDER, World};

#[test]
fn over_a_folder() {
    whole_session(&World::empty(), FOLDER);
}

#[test]
fn over_a_bucket() {
    whole_session(&World::empty(), BUCKET);
}

/// How many requests a command sends.
fn requests(world: &World, device: Device<'_>, words: &str) -> usize {
    world.proxy().forget_requests();
    device.hx(words).run().ok();
    world.proxy().requests().len()
}

#[test]
fn an_idle_pull_is_one_request_and_one_command_at_most_three() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    assert_eq!(requests(&world, laptop, "sync pull"), 1);
    assert_eq!(world.proxy().counts()["LIST"], 1);
    assert_eq!(
        requests(&world, laptop, "sync push"),
        1,
        "nothing to push: one look at the own line"
    );
    assert_eq!(
        requests(&world, laptop, "sync"),
        1,
        "what the pull has just seen will do for the push"
    );
    let tablet = world.device("tablet");
    tablet.init(BUCKET).run().ok();
    tablet.hx("sync").run().ok();
    for words in ["sync push", "sync"] {
        assert_eq!(
            requests(&world, tablet, words),
            1,
            "{words}, nothing of its own"
        );
    }
    for n in 0..12 {
        laptop.types(&format!("make target-{n:02}"));
        let sent = requests(&world, laptop, "sync push");
        assert!(
            sent <= 3,
            "push {n} took {sent}: {:?}",
            world.proxy().counts()
        );
    }
    // Small segments are merged as they come, so that nobody fetches one for each push.
    assert!(
        requests(&world, desktop, "sync pull") <= 10,
        "{:?}",
        world.proxy().counts()
    );
    assert_eq!(requests(&world, desktop, "sync pull"), 1);
    assert_eq!(laptop.history(), desktop.history());
}

#[test]
fn status_counts_the_same_requests_as_the_proxy() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    let sent = requests(&world, laptop, "sync push");
    let status = laptop.hx("sync status --offline --json").run().ok();
    let usage = &status.json()["push"]["usage"];
    let sum: u64 = ["lists", "gets", "puts", "deletes", "heads", "other"]
        .iter()
        .filter_map(|name| usage[name].as_u64())
        .sum();
    assert_eq!(sum, sent as u64, "{status}");
}
