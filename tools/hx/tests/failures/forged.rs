//! What anybody who can write to the store can put there: marks of rotations that never were, pipes, files that are too large, hidden
//! manifests, changed costs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::world::{BUCKET, Device, FOLDER, NEW_PASSPHRASE, World};

/// Makes a new key, under the other passphrase.
fn rotate(device: Device<'_>) {
    let rotate = device.hx("sync key rotate --yes");
    let rotate = rotate.env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE);
    rotate.run().ok();
}

#[test]
fn a_mark_of_a_rotation_that_never_was() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let description = world.vault().join("vault.json");
    let bytes = fs::read(&description).expect("a description");
    let vault: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let id = vault["vault"].as_str().expect("an id");
    let mark = world.vault().join("manifests/epoch-00000002");
    fs::write(
        &mark,
        format!("{id}\nthe key was rotated; see vault.json\n"),
    )
    .expect("a mark");
    laptop.types("typed after the mark");
    let run = laptop.hx("sync").run().ok();
    run.says("manifests/epoch-00000002").says("can be removed");
    desktop.hx("sync").run().ok();
    assert!(desktop.has("typed after the mark"));
    world.device("tablet").init(FOLDER).run().ok();
    // Nor does it keep a device from putting vault.json back.
    fs::remove_file(&description).expect("removed");
    laptop.init(FOLDER).run().ok().shows("Restored");
    assert_eq!(fs::read(&description).expect("a description"), bytes);
}

#[test]
fn an_older_description_is_replaced_by_the_newer_one_that_a_device_kept() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let path = world.vault().join("vault.json");
    let old = fs::read(&path).expect("a description");
    rotate(laptop);
    let newer = fs::read(&path).expect("a description");
    fs::write(&path, old).expect("an old copy");
    let told = laptop.hx("sync verify").run().fails(16);
    told.because("an old copy was put back")
        .hints("hx sync init --store");
    // A push does not wait until somebody verifies: in a folder it costs nothing to look.
    laptop.types("typed under the newer key");
    let told = laptop.hx("sync push").run().fails(16);
    told.because("vault.json").hints("hx sync init --store");
    assert_eq!(laptop.pending(), 1);
    // One who has no newer key cannot tell it from a sync tool that is late.
    let told = desktop.hx("sync push").run().fails(3);
    told.because("still under way: it lacks the key of epoch 2")
        .hints("an old vault.json was put back");
    laptop.init(FOLDER).run().ok().shows("Restored");
    assert_eq!(fs::read(&path).expect("a description"), newer);
    laptop.hx("sync verify").run().ok();
    laptop.hx("sync push").run().ok();
}

#[test]
fn a_description_that_a_sync_tool_brings_last_is_waited_for() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let description = world.vault().join("vault.json");
    let mark = world.vault().join("manifests/epoch-00000002");
    let old = fs::read(&description).expect("a description");
    rotate(laptop);
    laptop.types("typed under the new key");
    laptop.hx("sync").run().ok();
    let newer = fs::read(&description).expect("a description");
    let marked = fs::read(&mark).expect("a mark");
    fs::write(&description, old).expect("not there yet");
    fs::remove_file(&mark).expect("not there yet");
    let waits = || {
        for words in ["sync", "sync pull"] {
            let run = desktop.hx(words).run().fails(3);
            let run = run.because("vault.json is still under way: it lacks the key of epoch 2");
            let run = run.hints("ait for the sync tool, then run it again");
            assert!(!run.err.contains("devices remove"), "{run}");
        }
    };
    waits();
    fs::write(&mark, marked).expect("the mark arrives");
    waits();
    fs::write(&description, newer).expect("the description arrives");
    desktop.hx("sync").run().fails(12).because("rotated");
    let joined = desktop.init(FOLDER);
    joined.env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE).run().ok();
    desktop.hx("sync").run().ok();
    assert!(desktop.has("typed under the new key"));
}

#[test]
fn what_opens_the_vault_is_not_changed_while_a_newer_description_is_under_way() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let description = world.vault().join("vault.json");
    let old = fs::read(&description).expect("a description");
    rotate(laptop);
    laptop.types("typed under the new key");
    laptop.hx("sync").run().ok();
    let newer = fs::read(&description).expect("a description");
    fs::write(&description, &old).expect("not there yet");
    for words in ["sync key rotate --yes", "sync key add-passphrase"] {
        let run = desktop.hx(words);
        let run = run.env("HX_SYNC_PASSPHRASE", "a third passphrase").run();
        run.fails(3)
            .because("vault.json is still under way: it lacks the key of epoch 2")
            .hints("ait for the sync tool, then run it again");
        assert_eq!(fs::read(&description).expect("a description"), old);
    }
    // What was sealed under the newer key is readable once its description is there.
    fs::write(&description, newer).expect("the description arrives");
    let joined = desktop.init(FOLDER);
    joined.env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE).run().ok();
    desktop.hx("sync").run().ok();
    assert!(desktop.has("typed under the new key"));
}

#[test]
fn a_key_that_only_a_lost_device_had_is_given_up_by_removing_its_mark() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    rotate(laptop);
    fs::remove_file(world.vault().join("vault.json")).expect("removed");
    let mark = "manifests/epoch-00000002";
    let run = desktop.init(FOLDER).run().fails(12);
    run.because("cannot put it back")
        .hints(&format!("remove {mark} from the store"));
    fs::remove_file(world.vault().join(mark)).expect("removed");
    desktop.init(FOLDER).run().ok().shows("Restored");
    desktop.types("typed later");
    desktop.hx("sync").run().ok();
    desktop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn nothing_is_pushed_under_a_key_that_the_description_just_read_does_not_have() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let description = world.vault().join("vault.json");
    let old = fs::read(&description).expect("a description");
    rotate(laptop);
    laptop.types("typed under the new key");
    laptop.hx("sync").run().ok();
    fs::write(&description, old).expect("set back");
    fs::remove_file(world.vault().join("manifests/epoch-00000002")).expect("removed");
    laptop.types("typed later");
    let before = (world.objects("manifests"), world.objects("objects"));
    let run = laptop.hx("sync push").run().fails(16);
    run.because("vault.json is an old one");
    let after = (world.objects("manifests"), world.objects("objects"));
    assert_eq!(before, after, "nothing was published");
    laptop.init(BUCKET).run().ok().shows("Restored");
    laptop.hx("sync push").run().ok();
}

#[test]
fn a_pipe_in_place_of_an_object_holds_nobody_up() {
    let world = World::on_folder();
    let (laptop, tablet) = (world.laptop(), world.device("tablet"));
    let pipe = |path: &std::path::Path| {
        fs::remove_file(path).expect("removed");
        let made = Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo runs").success());
    };
    let segment = world.objects("objects/segments").remove(0);
    let bytes = fs::read(&segment).expect("a segment");
    pipe(&segment);
    let run = tablet.init(FOLDER).run().ok();
    run.within(60);
    let name = segment.file_name().expect("a name").to_string_lossy();
    let run = tablet.hx("sync pull").run();
    assert!(matches!(run.code, Some(3 | 16)), "{run}");
    run.says(&name).within(60);
    fs::remove_file(&segment).expect("removed");
    fs::write(&segment, bytes).expect("put back");
    tablet.hx("sync pull").run().ok();
    pipe(&world.vault().join("vault.json"));
    for command in ["sync status", "sync verify"] {
        let run = laptop.hx(command).run().fails(16);
        run.says("vault.json").says("named pipe").within(60);
    }
}

/// Hides the newest manifest of the laptop, which the desktop has said that it saw; returns where it was, and what.
fn hide(world: &World, laptop: &Device<'_>, desktop: &Device<'_>) -> (PathBuf, Vec<u8>) {
    laptop.types("typed last");
    laptop.hx("sync").run().ok();
    desktop.hx("sync").run().ok();
    desktop.types("so that it says what it saw");
    desktop.hx("sync").run().ok();
    let devices = laptop.hx("sync devices --json").run().ok().json();
    let own = devices
        .as_array()
        .and_then(|all| all.iter().find(|one| one["this"] == true));
    let node = own
        .and_then(|own| own["node"].as_str())
        .expect("an identity");
    let newest = world
        .objects(&format!("manifests/{node}"))
        .pop()
        .expect("a manifest");
    let bytes = fs::read(&newest).expect("a manifest");
    fs::remove_file(&newest).expect("removed");
    (newest, bytes)
}

#[test]
fn a_hidden_manifest_that_a_person_accepted_is_not_asked_about_on_the_next_device() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    hide(&world, &laptop, &desktop);
    let (tablet, phone) = (world.device("tablet"), world.device("phone"));
    tablet.init(FOLDER).run().ok();
    tablet.hx("sync pull").run().fails(3);
    tablet.hx("sync pull --force").run().ok();
    tablet.hx("sync status").run().ok();
    tablet.hx("sync push").run().ok();
    phone.init(FOLDER).run().ok();
    let run = phone.hx("sync pull").run().ok();
    run.says("a person accepted on device");
    let run = phone.hx("sync").run().ok();
    assert!(!run.err.contains("a person accepted"), "{run}");
    phone.hx("sync status").run().ok();
}

#[test]
fn a_manifest_that_is_hidden_is_named_by_every_command_until_it_is_there() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let (newest, bytes) = hide(&world, &laptop, &desktop);
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok();
    for _ in 0..2 {
        let run = tablet.hx("sync pull").run().fails(3);
        run.says("saw manifest");
    }
    let run = tablet.hx("sync status").run().fails(3);
    run.shows("does not show all")
        .because("saw manifest")
        .hints("hx sync pull --force");
    let run = tablet.hx("sync status --json").run();
    assert_eq!(run.code, Some(3), "{run}");
    let shown = run.json();
    assert_eq!(shown["remote"]["hidden"][0]["kind"], "withheld");
    assert_eq!(shown["error"]["kind"], "withheld");
    assert_eq!(shown["error"]["exit_code"], 3);
    let offline = tablet.hx("sync status --offline").run().fails(3);
    offline.because("saw manifest");
    // Who saw it itself says that the line went back, as its pull does.
    let run = desktop.hx("sync status").run().fails(15);
    run.because("manifest sequence regression detected");
    desktop.hx("sync pull").run().fails(15);
    tablet.hx("sync verify").run().fails(16).shows("Incomplete");
    fs::write(&newest, bytes).expect("put back");
    tablet.hx("sync pull").run().ok();
    assert!(tablet.has("typed last"));
    for device in [&tablet, &desktop] {
        device.hx("sync pull").run().ok();
        device.hx("sync status").run().ok().shows("nothing new");
    }
    tablet.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn copies_that_a_sync_tool_made_are_named_by_who_asks_for_all() {
    let world = World::on_folder();
    let path = world.vault();
    for (from, to) in [
        ("vault.json", "vault (conflicted copy 2026-11-27).json"),
        (
            "vault.json",
            "vault.sync-conflict-20261127-101112-ABCDEFG.json",
        ),
    ] {
        fs::copy(path.join(from), path.join(to)).expect("copies");
    }
    let laptop = world.laptop();
    let run = laptop.hx("sync verify --all").run().ok();
    run.shows("Sound")
        .shows("conflicted copy 2026")
        .shows("sync-conflict-2026");
}

#[test]
fn a_changed_cost_is_not_taken_for_a_wrong_passphrase_alone() {
    let world = World::on_folder();
    let path = world.vault().join("vault.json");
    let text = fs::read_to_string(&path).expect("a description");
    let changed = text.replacen("\"passes\": 3", "\"passes\": 2", 1);
    assert_ne!(changed, text);
    fs::write(&path, changed).expect("written");
    let run = world.device("tablet").init(FOLDER).run().fails(12);
    run.hints("may have changed vault.json");
    let run = world.laptop().hx("sync verify").run().fails(16);
    run.because("somebody changed it").hints("keeping it");
}
