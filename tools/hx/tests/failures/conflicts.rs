//! "Sequence number conflict" and "manifest sequence regression": a cloned machine, and a store that was put back.
//!
//! Each of the guide's ways out is walked to its end, where every device has every command.

use crate::world::{Device, FOLDER, World, copy_tree};

/// A machine and its clone, which both published; the clone was first.
fn cloned(world: &World) -> (Device<'_>, Device<'_>) {
    let laptop = world.laptop();
    let clone = laptop.clone_to("clone");
    clone.types("typed on the clone");
    clone.hx("sync push").run().ok();
    laptop.types("typed on the laptop");
    (laptop, clone)
}

/// Everyone ends with the same history, and the vault is sound.
fn all_is_well(world: &World) {
    let (laptop, desktop) = (world.laptop(), world.desktop());
    desktop.hx("sync").run();
    laptop.hx("sync pull").run().ok();
    desktop.hx("sync pull").run().ok();
    for device in [laptop, desktop] {
        assert!(
            device.has("typed on the laptop") && device.has("typed on the clone"),
            "{:?}",
            device.history()
        );
    }
    assert_eq!(laptop.history(), desktop.history());
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn two_machines_with_one_identity() {
    let world = World::on_s3();
    let (laptop, clone) = cloned(&world);
    let before = laptop.history();
    laptop
        .hx("sync push")
        .run()
        .fails(15)
        .says("hx sync push failed")
        .because("sequence number conflict")
        .hints("hx sync pull --force")
        .hints("hx sync push --force");
    laptop
        .hx("sync push --json")
        .run()
        .fails_in_json(15, "sequence-conflict");
    laptop
        .hx("sync pull")
        .run()
        .fails(15)
        .because("sequence number conflict")
        .hints("hx sync pull --force");
    assert_eq!(laptop.pending(), 1);
    assert!(before.iter().all(|line| laptop.history().contains(line)));
    laptop
        .hx("sync status --detailed")
        .run()
        .fails(15)
        .shows("sequence-conflict")
        .hints("hx sync pull --force");
    let verified = laptop.hx("sync verify").run().fails(15);
    verified
        .shows("In conflict")
        .because("sequence number conflict");
    let diagnosed = laptop.hx("sync diagnose").run();
    assert_eq!(diagnosed.code, Some(15), "{diagnosed}");
    diagnosed.shows("fail  published");
    // The other one wrote all that the store shows of it.
    for line in ["sync status", "sync verify", "sync diagnose"] {
        clone.hx(line).run().ok();
    }
}

#[test]
fn the_way_out_by_pull_force() {
    let world = World::on_folder();
    let (laptop, _) = cloned(&world);
    laptop.hx("sync push").run().fails(15);
    laptop.hx("sync pull --force").run().ok();
    laptop.hx("sync push").run().ok();
    all_is_well(&world);
}

#[test]
fn the_way_out_by_push_force() {
    let world = World::on_folder();
    let (laptop, _) = cloned(&world);
    laptop.hx("sync push").run().fails(15);
    laptop.hx("sync push --force").run().ok();
    all_is_well(&world);
}

/// How many lines the store has.
fn lines(world: &World) -> usize {
    let manifests = world.objects("manifests");
    let lines: std::collections::BTreeSet<_> =
        manifests.iter().filter_map(|path| path.parent()).collect();
    lines.len()
}

#[test]
fn a_push_force_that_fails_can_be_run_again() {
    let world = World::on_s3();
    let (laptop, _) = cloned(&world);
    laptop.hx("sync push").run().fails(15);
    // Nothing gets through: nothing was begun.
    let refused = || testkit::Rule::s3_error(503, "SlowDown", "not now");
    world.proxy().add(refused());
    laptop.hx("sync push --force").run().fails(14);
    world.proxy().clear();
    let offline = |part: &str| {
        let run = laptop.hx("sync status --offline").run().ok();
        run.shows(part)
    };
    assert_eq!(laptop.pending(), 1);
    let untouched = offline("1 record");
    assert!(!untouched.out.contains("published again"), "{untouched}");
    // It stops at its manifest.
    world
        .proxy()
        .add(refused().method("PUT").target("/manifests/"));
    for _ in 0..2 {
        laptop.hx("sync push --force").run().fails(14);
        assert_eq!(laptop.pending(), 1, "the others are in the vault");
        offline("1 record, and 2 to be published again under a new identity");
    }
    world.proxy().clear();
    assert_eq!(lines(&world), 2);
    laptop.hx("sync push --force").run().ok();
    assert_eq!(laptop.pending(), 0);
    assert_eq!(lines(&world), 3, "one identity more");
    offline("0 records");
    all_is_well(&world);
}

#[test]
fn the_way_out_by_reset() {
    for reset in ["sync reset --local-only", "sync reset"] {
        let world = World::on_folder();
        let (laptop, _) = cloned(&world);
        laptop.hx("sync push").run().fails(15);
        laptop.hx(reset).run().ok();
        laptop.hx("sync pull").run().ok();
        laptop.hx("sync push").run().ok();
        all_is_well(&world);
    }
}

/// The store shows less than both devices have seen of it.
fn put_back(world: &World) {
    let old = world.home().join("old-copy");
    copy_tree(&world.vault(), &old);
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("typed on the laptop");
    laptop.hx("sync push").run().ok();
    desktop.hx("sync pull").run().ok();
    desktop.types("typed on the clone");
    std::fs::remove_dir_all(world.vault()).expect("removed");
    copy_tree(&old, &world.vault());
}

#[test]
fn a_store_that_was_put_back() {
    let world = World::on_folder();
    put_back(&world);
    let (laptop, desktop) = (world.laptop(), world.desktop());
    desktop
        .hx("sync pull")
        .run()
        .fails(15)
        .because("manifest sequence regression detected")
        .hints("hx sync pull --force");
    desktop
        .hx("sync pull --json")
        .run()
        .fails_in_json(15, "sequence-conflict");
    laptop
        .hx("sync push")
        .run()
        .fails(15)
        .because("manifest sequence regression detected");
    assert!(
        desktop.has("typed on the laptop"),
        "what is here stays here"
    );
    desktop.hx("sync pull --force").run().ok();
    desktop.hx("sync push").run().ok();
    laptop.hx("sync pull --force").run().ok();
    laptop.hx("sync push").run().ok();
    all_is_well(&world);
}

#[test]
fn a_store_that_was_put_back_and_a_full_reset() {
    let world = World::on_folder();
    put_back(&world);
    for device in [world.laptop(), world.desktop()] {
        device.hx("sync reset").run().ok();
        device.hx("sync pull").run().ok();
        device.hx("sync push").run().ok();
    }
    all_is_well(&world);
}

#[test]
fn a_copy_that_goes_on_is_not_called_this_device() {
    let world = World::on_folder();
    let (laptop, clone) = cloned(&world);
    laptop.hx("sync pull --force").run().ok();
    laptop.hx("sync push").run().ok();
    clone.types("typed on the clone, later");
    clone.hx("sync").run().ok();
    laptop.hx("sync pull").run().ok();
    let run = laptop.hx("sync devices").run().ok();
    assert!(
        run.out.contains("a copy of this machine") && !run.out.contains("before a reset"),
        "{run}"
    );
}

/// A machine that came into the vault and published nothing, and one that was made from its image.
fn started_twice(world: &World) -> (Device<'_>, Device<'_>) {
    let image = world.device("image");
    image.init(FOLDER).run().ok();
    image.hx("sync").run().ok();
    let twin = image.clone_to("twin");
    image.types("typed on the laptop");
    twin.types("typed on the clone");
    (image, twin)
}

const PARTED: &str = "another machine writes under the identity of this one";

#[test]
fn an_image_that_was_started_twice() {
    let world = World::on_folder();
    let (image, twin) = started_twice(&world);
    image.hx("sync").run().ok();
    twin.hx("sync status").run().ok();
    twin.hx("sync").run().ok().says(PARTED);
    let run = image.hx("sync").run().ok();
    assert!(!run.err.contains("warning"), "{run}");
    all_is_well(&world);
}

#[test]
fn an_image_that_was_started_twice_and_both_published_at_once() {
    for by_push in [false, true] {
        let world = World::on_folder();
        let (image, twin) = started_twice(&world);
        let (before, aside) = (world.home().join("before"), world.home().join("aside"));
        copy_tree(&world.vault(), &before);
        image.hx("sync push").run().ok();
        std::fs::rename(world.vault(), &aside).expect("moved");
        copy_tree(&before, &world.vault());
        twin.hx("sync push").run().ok();
        copy_tree(&aside, &world.vault());
        let told = "two machines write as device";
        let desktop = world.desktop();
        desktop
            .hx("sync pull")
            .run()
            .ok()
            .says(told)
            .says("hx sync` on both machines");
        desktop
            .hx("sync verify")
            .run()
            .ok()
            .shows("Sound")
            .says(told);
        let sync = if by_push { "sync push" } else { "sync" };
        for device in [image, twin] {
            device.hx(sync).run().ok().says(PARTED);
            let run = device.hx("sync").run().ok();
            assert!(!run.err.contains("warning"), "{run}");
        }
        let run = desktop.hx("sync pull").run().ok();
        assert!(!run.err.contains("warning"), "{run}");
        all_is_well(&world);
    }
}
