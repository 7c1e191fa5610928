//! "Manifest corruption detected", "object not found", another vault's objects, and the wrong passphrase.

use std::fs;
use std::path::Path;

use crate::world::{BUCKET, FOLDER, NEW_PASSPHRASE, World, copy_tree};

/// Changes one byte in the middle of an object.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a damaged object");
}

/// The part of the vault that the device with this name wrote, by its identity.
fn written_by(world: &World, name: &'static str) -> String {
    let run = world.device(name).hx("sync devices --json").run().ok();
    let devices = run.json();
    let own = devices
        .as_array()
        .and_then(|all| all.iter().find(|device| device["this"] == true).cloned());
    own.and_then(|own| Some(own["node"].as_str()?.to_owned()))
        .unwrap_or_else(|| panic!("{run}"))
}

#[test]
fn a_damaged_manifest_that_a_newer_one_replaced_is_repaired_by_its_owner() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("typed later");
    laptop.hx("sync").run().ok();
    let mut manifests = world.objects(&format!("manifests/{}", written_by(&world, "laptop")));
    manifests.sort();
    assert!(manifests.len() > 1, "{manifests:?}");
    damage(&manifests[0]);
    laptop.hx("sync verify").run().fails(16);
    laptop
        .hx("sync repair --manifest")
        .run()
        .ok()
        .shows("Repaired")
        .shows("1 damaged object of its own removed");
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn a_damaged_manifest() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let before = laptop.history();
    let manifests = world.objects(&format!("manifests/{}", written_by(&world, "desktop")));
    manifests.iter().for_each(|path| damage(path));
    laptop
        .hx("sync pull --full")
        .run()
        .fails(16)
        .because("manifest corruption detected")
        .hints("hx sync repair --manifest");
    laptop
        .hx("sync pull --full --json")
        .run()
        .fails_in_json(16, "corrupt");
    let name = manifests[0]
        .file_name()
        .expect("a file")
        .display()
        .to_string();
    laptop
        .hx("sync verify --manifest")
        .run()
        .fails(16)
        .shows(&name)
        .shows("Damaged");
    assert_eq!(laptop.history(), before);
    // The guide's ways: clear the cache and force, reset and init again. Neither may make it worse.
    laptop
        .shell("rm -rf ~/.local/share/hx/sync/cache/*")
        .run()
        .ok();
    laptop.hx("sync pull --force").run();
    laptop.hx("sync reset").run().ok();
    laptop.init(BUCKET).run().ok();
    assert_eq!(laptop.history(), before);
    // Its owner publishes it again.
    desktop
        .hx("sync repair --manifest")
        .run()
        .ok()
        .shows("Repaired");
    for (device, command) in [(laptop, "sync"), (desktop, "sync"), (laptop, "sync verify")] {
        device.hx(command).run().ok();
    }
    assert_eq!(desktop.history(), before);
    let tablet = world.device("tablet");
    tablet.init(BUCKET).run().ok();
    tablet.hx("sync pull").run();
    assert_eq!(tablet.history(), before, "a new device gets everything");
}

#[test]
fn a_lost_device_whose_only_manifest_nobody_could_read_is_given_up() {
    let world = World::on_folder();
    let (laptop, tablet) = (world.laptop(), world.device("tablet"));
    tablet.init(FOLDER).run().ok();
    tablet.types("typed on the tablet");
    tablet.hx("sync push").run().ok();
    let lost = written_by(&world, "tablet");
    for manifest in world.objects(&format!("manifests/{lost}")) {
        let bytes = fs::read(&manifest).expect("a manifest");
        fs::write(&manifest, &bytes[..50]).expect("cut");
    }
    let remedy = format!("hx sync devices remove {lost} --give-up-unreadable");
    let repair = laptop.hx("sync repair --manifest").run().fails(16);
    repair.shows("Not all repaired").hints(&remedy);
    laptop.hx("sync").run().fails(16).hints(&remedy);
    laptop.hx("sync verify").run().fails(16).hints(&remedy);
    let nobody = "0123456789abcdef0123456789abcdef";
    let remove = |id: &str| laptop.hx("sync devices remove --yes").arg(id);
    remove(nobody).run().fails(2).because("no other device");
    remove(&lost).run().fails(16).hints(&remedy);
    remove(&lost).arg("--give-up-unreadable").run().ok();
    assert!(laptop.has("typed on the tablet"));
    laptop.hx("sync").run().ok();
    laptop.hx("sync verify").run().ok().shows("Sound");
    // It was not lost after all.
    tablet.hx("sync").run().ok();
    tablet.types("typed later");
    tablet.hx("sync").run().ok();
    laptop.hx("sync").run().ok();
    assert!(laptop.has("typed later"));
    laptop.hx("sync verify").run().ok();
}

#[test]
fn a_damaged_segment() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let segments = world.objects(&format!(
        "objects/segments/{}",
        written_by(&world, "desktop")
    ));
    segments.iter().for_each(|path| damage(path));
    let before = laptop.history();
    laptop
        .hx("sync verify")
        .run()
        .fails(16)
        .hints("hx sync repair --manifest");
    laptop.hx("sync pull --full").run().fails(16);
    assert_eq!(laptop.history(), before);
    // Another device cannot put right what it did not write. It says so, and does no harm.
    laptop
        .hx("sync repair --manifest")
        .run()
        .ok()
        .says("on the devices that wrote them");
    laptop.hx("sync verify").run().fails(16);
    // Its owner can. Nobody names the damaged object after that, so the vault is sound.
    desktop.hx("sync repair --manifest").run().ok();
    laptop.hx("sync pull --full").run().ok();
    laptop.hx("sync verify").run().ok().shows("Sound");
    assert_eq!(laptop.history(), before);
}

#[test]
fn an_object_that_was_deleted() {
    for (world, code) in [(World::on_s3(), 16), (World::on_folder(), 3)] {
        let (laptop, desktop) = (world.laptop(), world.desktop());
        let before = laptop.history();
        let segments = world.objects(&format!(
            "objects/segments/{}",
            written_by(&world, "desktop")
        ));
        segments
            .iter()
            .for_each(|path| fs::remove_file(path).expect("removed"));
        laptop
            .hx("sync pull --full")
            .run()
            .fails(code)
            .because("object not found")
            .hints("hx sync repair --manifest");
        laptop
            .hx("sync verify --json")
            .run()
            .fails_in_json(16, "not-found");
        assert_eq!(laptop.history(), before);
        // The guide: reset and fetch everything again does not bring back what is gone, and loses nothing.
        laptop.hx("sync reset").run().ok();
        laptop.hx("sync pull --full").run().fails(code);
        assert_eq!(laptop.history(), before);
        desktop.hx("sync repair --manifest").run().ok();
        laptop.hx("sync pull --full").run().ok();
        laptop.hx("sync push").run().ok();
        laptop.hx("sync verify").run().ok().shows("Sound");
        assert_eq!(laptop.history(), before);
    }
}

#[test]
fn a_vault_description_that_was_deleted() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let before = laptop.history();
    let path = world.vault().join("vault.json");
    let description = fs::read(&path).expect("a description");
    fs::remove_file(&path).expect("removed");
    for words in [
        "sync verify",
        "sync status",
        "sync key show",
        "sync push --force",
    ] {
        laptop
            .hx(words)
            .run()
            .fails(10)
            .because("vault.json is gone from")
            .hints("hx sync init --store")
            .hints("this one");
    }
    // Nobody is asked for a passphrase: what comes back is what was there.
    let run = laptop.hx("sync init --store").arg(FOLDER).run().ok();
    run.shows("Restored vault").says("stay valid");
    assert_eq!(fs::read(&path).expect("a description"), description);
    laptop.hx("sync verify").run().ok();
    desktop.hx("sync").run().ok();
    assert_eq!(desktop.history(), before);
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok().shows("Joined vault");
}

#[test]
fn a_vault_description_of_which_no_copy_is_left() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.hx("sync verify").run().ok();
    let path = world.vault().join("vault.json");
    let forget = || {
        let keys = fs::read_dir(laptop.data().join("keys"))
            .expect("keys")
            .flatten();
        let copies = keys.filter(|file| file.file_name().to_string_lossy().contains("description"));
        let removed = copies.map(|copy| fs::remove_file(copy.path()).expect("removed"));
        assert_eq!(removed.count(), 1);
        fs::remove_file(&path).expect("removed");
    };
    forget();
    // Old words end by it, so it needs a yes.
    laptop.init(FOLDER).run().fails(2).hints("--yes");
    assert!(!path.exists());
    let run = laptop.init(FOLDER).arg("--yes").run().ok();
    run.shows("Restored vault").says("NO LONGER VALID");
    laptop.hx("sync verify").run().ok();
    world.desktop().hx("sync").run().ok();
    forget();
    let run = laptop.init(FOLDER).arg("--yes").arg("--json").run().ok();
    let json = run.json();
    assert!(
        json["restored"] == true && json["created"] == false && json["recovery_phrase"].is_string(),
        "{run}"
    );
}

#[test]
fn a_vault_description_that_was_deleted_after_a_rotation_elsewhere() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let rotated = desktop
        .hx("sync key rotate --yes")
        .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
        .run();
    rotated.ok();
    let path = world.vault().join("vault.json");
    let description = fs::read(&path).expect("a description");
    fs::remove_file(&path).expect("removed");
    laptop
        .init(FOLDER)
        .run()
        .fails(12)
        .because("rotated")
        .hints("where the key was rotated");
    assert!(!path.exists());
    desktop.hx("sync init --store").arg(FOLDER).run().ok();
    assert_eq!(fs::read(&path).expect("a description"), description);
}

#[test]
fn a_vault_description_that_was_damaged() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.history();
    damage(&world.vault().join("vault.json"));
    let run = laptop.hx("sync verify").run();
    assert!(matches!(run.code, Some(15 | 16)), "{run}");
    let tablet = world.device("tablet");
    let run = tablet.init(FOLDER).run();
    assert!(matches!(run.code, Some(12 | 15 | 16)), "{run}");
    assert!(tablet.configuration().is_empty());
    assert_eq!(laptop.history(), before);
}

#[test]
fn objects_of_another_vault() {
    let (world, other) = (World::on_folder(), World::empty());
    let stranger = other.laptop();
    let url = format!("folder:{}", other.home().join("strange").display());
    stranger.init(&url).run().ok();
    stranger.types("a stranger's command");
    stranger.hx("sync push").run().ok();
    for part in ["manifests", "objects"] {
        copy_tree(
            &other.home().join("strange").join(part),
            &world.vault().join(part),
        );
    }
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("make world");
    let before = laptop.history();
    let node = written_by(&other, "laptop");
    laptop
        .hx("sync pull")
        .run()
        .fails(15)
        .because(&node)
        .hints("prefix of its own");
    laptop
        .hx("sync pull --json")
        .run()
        .fails_in_json(15, "other-vault");
    // It is harmless: nothing of it comes in, and everything else goes on.
    laptop.hx("sync").run().fails(15).because(&node);
    desktop.hx("sync").run().fails(15).because(&node);
    assert_eq!(laptop.history(), before);
    assert_eq!(desktop.history(), before);
    let run = laptop.hx("sync verify").run();
    assert!(run.out.contains(&node) || run.err.contains(&node), "{run}");
    // The description of another vault is not harmless, and stops everything that reads it.
    fs::copy(
        other.home().join("strange/vault.json"),
        world.vault().join("vault.json"),
    )
    .expect("copied");
    laptop
        .hx("sync verify")
        .run()
        .fails(15)
        .because("belongs to vault")
        .hints("prefix");
    laptop
        .hx("sync verify --json")
        .run()
        .fails_in_json(15, "other-vault");
    assert_eq!(laptop.history(), before);
}

#[test]
fn files_that_sync_tools_and_people_leave() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("make world");
    laptop.hx("sync push").run().ok();
    let manifest = world.objects("manifests").remove(0);
    let beside = |name: &str| manifest.with_file_name(name);
    let name = manifest.file_name().expect("a file").display().to_string();
    for litter in [
        format!("{name}.sync-conflict-20260301-120000-ABCDEFG"),
        format!(".syncthing.{name}.tmp"),
        format!("{name} (laptop's conflicted copy 2026-03-01)"),
        "notes.txt".to_owned(),
        ".DS_Store".to_owned(),
    ] {
        fs::write(beside(&litter), "half an object").expect("written");
    }
    desktop.hx("sync").run().ok();
    laptop.hx("sync").run().ok();
    assert_eq!(laptop.history(), desktop.history());
    laptop.hx("sync verify --all").run().ok().shows("notes.txt");
}

#[test]
fn a_wrong_passphrase() {
    let world = World::on_s3();
    let tablet = world.device("tablet");
    let with = |passphrase: &str| tablet.init(BUCKET).env("HX_SYNC_PASSPHRASE", passphrase);
    let run = with("a-guess-that-is-wrong").run().fails(12);
    assert!(!run.err.contains("a-guess-that-is-wrong"), "{run}");
    run.because("does not open this vault")
        .hints("recovery phrase");
    with("a-guess")
        .arg("--json")
        .run()
        .fails_in_json(12, "wrong-key");
    let words = ["abandon"; 24].join(" ");
    with(&words).run().fails(12).hints("24 words");
    assert!(tablet.configuration().is_empty());
    tablet.hx("sync pull").run().fails(10);
    let file = world.file("passphrase", "a-guess-in-a-file\n");
    tablet
        .init(BUCKET)
        .arg("--passphrase-file")
        .arg(file)
        .run()
        .fails(12);
    tablet.init(BUCKET).run().ok();
}

#[test]
fn nobody_to_ask_for_the_passphrase() {
    let world = World::on_folder();
    let tablet = world.device("tablet");
    let ask =
        |device: crate::world::Device<'_>| device.init(FOLDER).without(&["HX_SYNC_PASSPHRASE"]);
    ask(tablet)
        .run()
        .fails(2)
        .hints("HX_SYNC_PASSPHRASE")
        .hints("--passphrase-file");
    assert!(tablet.configuration().is_empty());
    // A device that is in the vault already has the key.
    ask(world.laptop()).run().ok();
}

#[test]
fn a_key_file_that_is_gone_or_damaged() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.history();
    let mut keys = crate::world::files_below(&laptop.data().join("keys"));
    keys.retain(|file| !file.to_string_lossy().contains("description"));
    let key = keys.remove(0);
    fs::write(&key, "{").expect("written");
    laptop
        .hx("sync push")
        .run()
        .fails(12)
        .because("damaged")
        .hints("hx sync init --store");
    fs::remove_file(&key).expect("removed");
    laptop.hx("sync push").run().fails(12).hints("passphrase");
    laptop.init(FOLDER).run().ok();
    laptop.hx("sync").run().ok();
    assert_eq!(laptop.history(), before);
}

#[test]
fn one_damaged_object_is_one_and_is_told_once() {
    let world = World::on_folder();
    let (laptop, tablet) = (world.laptop(), world.device("tablet"));
    tablet.init(FOLDER).run().ok();
    let segment = world.objects("objects").remove(0);
    let bytes = fs::read(&segment).expect("an object");
    fs::write(&segment, &bytes[..bytes.len() / 2]).expect("a cut object");
    let run = laptop.hx("sync verify").run().fails(16);
    run.because("1 of the vault's objects");
    let run = tablet.hx("sync pull").run().fails(16);
    let name = segment.file_name().expect("a name").to_string_lossy();
    assert_eq!(run.err.matches(&*name).count(), 1, "{run}");
}

#[test]
fn a_repair_that_has_nothing_to_do_says_so() {
    let world = World::on_folder();
    world
        .laptop()
        .hx("sync repair")
        .run()
        .ok()
        .shows("Nothing to repair");
}
