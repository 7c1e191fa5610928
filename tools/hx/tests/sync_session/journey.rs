//! The guide's session from the first import to the last check, with the requests counted.

use crate::world::{BUCKET, Device, FOLDER, World};

/// Import, init, push; init on the second, pull, find; forget there, and it is gone here.
fn whole_session(world: &World, url: &str) {
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let file = world.file(
        "history",
        ": 1700000000:0;docker run -it nginx\n: 1700000009:0;export TOKEN=hunter2\n",
    );
    laptop.hx("import --file").arg(&file).run().ok();
    let created = laptop
        .init(url)
        .run()
        .ok()
        .shows("Created vault")
        .says("Recovery phrase");
    assert_eq!(words(&created.err).len(), 24, "{created}");
    laptop.hx("sync status").run().ok().shows("2 records");
    laptop.hx("sync push").run().ok().shows("Pushed 2 records");
    laptop.hx("sync push").run().ok().shows("Nothing to push");

    let joined = desktop.init(url).run().ok().shows("Joined vault");
    assert!(!joined.err.contains("Recovery phrase"), "{joined}");
    desktop.hx("sync pull").run().ok().shows("Pulled 2 records");
    desktop
        .hx("find")
        .arg("docker run")
        .run()
        .ok()
        .shows("docker run -it nginx");
    assert_eq!(desktop.history(), laptop.history());

    desktop.hx("forget --match hunter2 --yes").run().ok();
    desktop.hx("sync push").run().ok();
    laptop.hx("sync pull").run().ok();
    assert_eq!(laptop.hx("find hunter2").run().code, Some(1));
    assert!(!laptop.has("export TOKEN=hunter2"));
    laptop.hx("sync push").run().ok();
    // Importing the same file again must not bring it back, nor may a full pull.
    laptop.hx("import --file").arg(&file).run().ok();
    desktop.hx("sync pull --full").run().ok();
    for device in [laptop, desktop] {
        assert!(!device.has("export TOKEN=hunter2") && device.has("docker run -it nginx"));
        device.hx("sync verify").run().ok().shows("Sound");
        device
            .hx("sync status --detailed")
            .run()
            .ok()
            .shows("nothing new");
    }
    desktop.hx("sync devices").run().ok().shows("laptop");
}

/// The words of the recovery phrase, which stand indented and alone.
pub(crate) fn words(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with("    "));
    lines
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

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
