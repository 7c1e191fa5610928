//! A store that was emptied or is not mounted, and a vault whose description is damaged: `status` says what push and pull say.

use std::fs;

use crate::world::{BUCKET, FOLDER, World};

/// Removes everything below the vault's place, which stays.
fn empty(world: &World) {
    for entry in fs::read_dir(world.vault()).expect("a vault").flatten() {
        let path = entry.path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        removed.expect("the vault is writable");
    }
}

#[test]
fn status_says_that_a_store_was_emptied() {
    for world in [World::on_folder(), World::on_s3()] {
        let laptop = world.laptop();
        laptop
            .hx("sync status")
            .run()
            .ok()
            .shows("reachable, nothing new");
        laptop.hx("sync pull").run().ok();
        empty(&world);
        for words in ["sync push", "sync pull", "sync status"] {
            laptop
                .hx(words)
                .run()
                .fails(10)
                .because("there is no vault in")
                .hints("hx sync init --store");
        }
        laptop
            .hx("sync status")
            .run()
            .fails(10)
            .shows("the vault is not there: not mounted, or emptied")
            .shows("pending");
        let run = laptop
            .hx("sync status --json")
            .run()
            .fails_in_json(10, "no-vault");
        assert_eq!(run.json()["remote"]["kind"], "no-vault", "{run}");
    }
}

#[test]
fn a_pull_of_one_who_never_synced_says_that_there_is_no_vault() {
    for (world, url) in [(World::on_folder(), FOLDER), (World::on_s3(), BUCKET)] {
        let tablet = world.device("tablet");
        tablet.init(url).run().ok();
        empty(&world);
        for words in ["sync pull", "sync pull --full", "sync"] {
            tablet
                .hx(words)
                .run()
                .fails(10)
                .because("there is no vault in")
                .hints("hx sync init --store");
        }
    }
}

#[test]
fn status_of_one_who_never_synced_says_it_too() {
    let world = World::on_folder();
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok();
    empty(&world);
    tablet.hx("sync push").run().fails(10);
    tablet.hx("sync status").run().fails(10).hints("mounted");
}

#[test]
fn status_says_that_what_was_published_is_gone() {
    let world = World::on_folder();
    let laptop = world.laptop();
    fs::remove_dir_all(world.vault().join("manifests")).expect("removed");
    laptop
        .hx("sync push")
        .run()
        .fails(15)
        .because("manifest sequence regression detected");
    laptop
        .hx("sync status")
        .run()
        .fails(15)
        .shows("cannot be synced with (sequence-conflict)")
        .shows("manifest sequence regression detected")
        .shows("hx sync pull --force");
}

#[test]
fn a_damaged_description_shows_where_it_costs_nothing() {
    let damage = |world: &World| {
        fs::write(world.vault().join("vault.json"), "{").expect("the vault is writable");
    };
    let world = World::on_folder();
    damage(&world);
    let laptop = world.laptop();
    laptop.hx("sync").run().ok();
    laptop
        .hx("sync status")
        .run()
        .fails(16)
        .shows("vault.json is damaged")
        .because("vault.json is damaged")
        .hints("hx sync init --store");
    fs::remove_file(world.vault().join("vault.json")).expect("removed");
    laptop
        .hx("sync status")
        .run()
        .fails(10)
        .because("vault.json is gone")
        .shows("vault.json is gone");
    laptop.init(FOLDER).run().ok();
    laptop.hx("sync status").run().ok();

    let world = World::on_s3();
    damage(&world);
    let laptop = world.laptop();
    world.proxy().forget_requests();
    laptop.hx("sync status").run().ok();
    assert_eq!(world.proxy().requests().len(), 1);
    laptop
        .hx("sync status --verbose")
        .run()
        .fails(16)
        .because("vault.json is damaged");
}
