//! Moving to another store, as the guide has it, and starting again: nothing pending is ever lost.

use std::fs;

use crate::world::{BUCKET, FOLDER, World, copy_tree};

#[test]
fn from_a_folder_to_a_bucket() {
    let world = World::empty();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    for device in [laptop, desktop] {
        device.init(FOLDER).run().ok();
    }
    laptop.types("published before");
    laptop.hx("sync push").run().ok();
    desktop.hx("sync pull").run().ok();
    laptop.types("pending at the switch");
    desktop.types("pending on the other");

    laptop.shell("hx export --file hx-backup.json").run().ok();
    laptop
        .init(BUCKET)
        .run()
        .ok()
        .says("switches to s3://bucket/hx")
        .says("1 record");
    laptop.hx("sync push").run().ok().shows("Pushed 2 records");
    laptop.hx("sync status").run().ok().shows("s3://bucket/hx");
    laptop.hx("find pending").run().ok();

    desktop.init(BUCKET).run().ok();
    desktop.hx("sync pull").run().ok();
    desktop.hx("sync push").run().ok();
    laptop.hx("sync pull").run().ok();
    assert_eq!(laptop.history(), desktop.history());
    assert_eq!(laptop.history().len(), 3);

    // The guide cleans up. Keys, identity and cursors lie elsewhere.
    for device in [laptop, desktop] {
        let line = format!("rm -rf {}", device.data().join("sync").display());
        device.shell(&line).run().ok();
        device.hx("sync").run().ok();
        assert_eq!(device.pending(), 0);
        device.hx("sync verify").run().ok().shows("Sound");
    }
}

#[test]
fn there_and_back() {
    let world = World::empty();
    let laptop = world.laptop();
    laptop.init(FOLDER).run().ok();
    laptop.types("first");
    laptop.hx("sync push").run().ok();
    laptop.init(BUCKET).run().ok();
    laptop.types("second one");
    laptop.hx("sync push").run().ok();
    laptop.init(FOLDER).run().ok();
    laptop.hx("sync push").run().ok().shows("Pushed 1 record");
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok();
    tablet.hx("sync pull").run().ok();
    assert_eq!(tablet.history(), laptop.history());
}

#[test]
fn a_full_push_fills_a_store_that_was_emptied() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let before = laptop.history();
    // The guide's recovery: another prefix is a new store.
    laptop
        .init("s3://bucket/elsewhere?region=us-west-2")
        .run()
        .ok();
    laptop
        .hx("sync push --full")
        .run()
        .ok()
        .shows("Pushed 3 records");
    let tablet = world.device("tablet");
    tablet
        .init("s3://bucket/elsewhere?region=us-west-2")
        .run()
        .ok();
    tablet.hx("sync pull").run().ok();
    assert_eq!(tablet.history(), before);
}

#[test]
fn emergency_recovery() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let before = laptop.history();
    laptop.shell("hx export --file hx-backup.json").run().ok();
    let data = laptop.data();
    fs::rename(&data, data.with_file_name("hx.backup")).expect("moved away");
    laptop.init(BUCKET).run().ok().shows("Joined vault");
    laptop.shell("hx import --file hx-backup.json").run().ok();
    laptop.hx("status").run().ok();
    assert_eq!(laptop.history(), before);
    laptop.hx("sync").run().ok();
    world.desktop().hx("sync").run().ok();
    for device in [laptop, world.desktop()] {
        assert_eq!(device.history(), before, "nothing is there twice");
        device.hx("sync verify").run().ok();
    }
}

#[test]
fn complete_reset_of_everything() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let before = laptop.history();
    laptop.types("make world");
    for line in ["sync reset", "sync pull", "sync push", "sync verify"] {
        laptop.hx(line).run().ok();
    }
    world.desktop().hx("sync pull").run().ok();
    assert!(world.desktop().has("make world"));
    assert_eq!(laptop.history().len(), before.len() + 1);
    let configuration = laptop.configuration();
    laptop.hx("sync reset --local-only").run().ok();
    assert_eq!(laptop.configuration(), configuration, "store and key stay");
    laptop.hx("sync pull").run().ok();
    laptop.hx("sync push").run().ok().shows("Nothing to push");
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn what_an_earlier_vault_left_in_the_same_place() {
    let world = World::without_bucket();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    for (device, url, typed) in [
        (laptop, "folder:~/first", "typed on the laptop"),
        (desktop, FOLDER, "typed on the desktop"),
    ] {
        device.types(typed);
        device.init(url).run().ok();
        device.hx("sync push").run().ok();
    }
    // A tool that syncs folders brings the two together, and keeps one `vault.json`.
    let (first, kept) = (world.home().join("first"), world.vault());
    for part in ["manifests", "objects"] {
        copy_tree(&first.join(part), &kept.join(part));
    }
    fs::remove_dir_all(&first).expect("it was just made");
    std::os::unix::fs::symlink(&kept, &first).expect("there is nothing of this name now");
    laptop.init("folder:~/first").run().ok();
    let theirs = world.objects("objects").into_iter().find(|segment| {
        let bytes = fs::read(segment).expect("it is there");
        let vault = fs::read_to_string(kept.join("vault.json")).expect("it is there");
        let id: String = bytes[5..21]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        !vault.contains(&id)
    });
    let theirs = theirs.expect("a segment of the earlier vault");
    let sound = fs::read(&theirs).expect("it is there");
    let mut damaged = sound.clone();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    fs::write(&theirs, damaged).expect("it is writable");

    // Nothing goes before everything was read.
    laptop.hx("sync push").run().ok();
    let before = world.objects("").len();
    let repaired = laptop.hx("sync repair").run().ok();
    assert!(
        repaired.err.contains("1 object of it cannot be read now"),
        "{repaired}"
    );
    assert_eq!(world.objects("").len(), before);
    laptop
        .hx("sync repair --give-up-unreadable")
        .run()
        .fails(2)
        .because("needs a yes");
    fs::write(&theirs, sound).expect("it is writable");
    let json = laptop.hx("sync repair --json").run().ok().json();
    assert_eq!(json["absorbed"]["objects"], 2, "{json}");
    assert!(!theirs.exists());
    for device in [laptop, desktop] {
        device.hx("sync").run().ok();
        device.hx("sync verify").run().ok().shows("Sound");
    }
    assert!(desktop.has("typed on the laptop") && laptop.has("typed on the desktop"));
}
