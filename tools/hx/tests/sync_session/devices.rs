//! Keys and devices: rotation, passphrases, the recovery phrase, and a machine that is lost.

use crate::session::words;
use crate::world::{BUCKET, FOLDER, NEW_PASSPHRASE, World};

#[test]
fn a_rotated_key() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let rotated = laptop
        .hx("sync key rotate --yes")
        .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
        .run()
        .ok();
    let phrase = words(&rotated.err).join(" ");
    assert_eq!(phrase.split(' ').count(), 24, "{rotated}");
    laptop.types("after the rotation");
    laptop.hx("sync push").run().ok();

    desktop
        .hx("sync pull")
        .run()
        .fails(12)
        .because("rotated")
        .hints("hx sync init --store");
    assert!(!desktop.has("after the rotation"));
    // The old passphrase opens nothing any more.
    desktop.init(BUCKET).run().fails(12);
    desktop
        .init(BUCKET)
        .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
        .run()
        .ok();
    desktop.hx("sync pull").run().ok();
    assert!(desktop.has("after the rotation") && desktop.has("cargo build --release"));
    // A new device reads what was published before and after.
    let tablet = world.device("tablet");
    tablet.init(BUCKET).run().fails(12);
    tablet
        .init(BUCKET)
        .env("HX_SYNC_PASSPHRASE", &phrase)
        .run()
        .ok();
    tablet.hx("sync pull").run().ok();
    assert_eq!(tablet.history(), laptop.history());
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn the_recovery_phrase_and_another_passphrase_open_the_vault() {
    let world = World::empty();
    let laptop = world.laptop();
    let created = laptop.init(FOLDER).run().ok();
    let phrase = words(&created.err).join(" ");
    laptop.types("make world");
    laptop.hx("sync push").run().ok();
    laptop
        .hx("sync key add-passphrase")
        .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
        .run()
        .ok()
        .shows("3 ways in");
    laptop
        .hx("sync key show")
        .run()
        .ok()
        .shows("the recovery phrase (24 words)")
        .shows("a passphrase");
    let file = world.file("phrase", &format!("{}\n", phrase.to_uppercase()));
    let ways = [
        ("by-phrase", phrase.clone()),
        ("by-passphrase", NEW_PASSPHRASE.to_owned()),
    ];
    for (name, secret) in ways {
        let device = world.device(name);
        device
            .init(FOLDER)
            .env("HX_SYNC_PASSPHRASE", secret)
            .run()
            .ok();
        device.hx("sync pull").run().ok();
        assert!(device.has("make world"));
    }
    let tablet = world.device("tablet");
    let call = tablet
        .init(FOLDER)
        .without(&["HX_SYNC_PASSPHRASE"])
        .arg("--passphrase-file")
        .arg(file);
    let joined = call.run().ok();
    assert!(!joined.err.contains(&phrase) && !joined.out.contains(&phrase));
    // With the key stored, nobody is asked again.
    tablet.hx("sync pull").run().ok();
}

#[test]
fn a_passphrase_that_opens_the_vault_already_is_not_added_again() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let add = || laptop.hx("sync key add-passphrase");
    let ways = || {
        laptop.hx("sync key show --json").run().ok().json()["slots"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(ways(), Some(2));
    let again = add()
        .env("HX_SYNC_PASSPHRASE", crate::world::PASSPHRASE)
        .run();
    again
        .fails(2)
        .because("opens the vault already")
        .hints("--passphrase-file");
    assert_eq!(ways(), Some(2));
    // What an editor puts around the words is no part of them.
    let file = world.file("new", &format!("\u{feff}{NEW_PASSPHRASE} \t\r\n\n"));
    add()
        .arg("--passphrase-file")
        .arg(file)
        .run()
        .ok()
        .shows("3 ways in");
    let tablet = world.device("tablet");
    let call = tablet
        .init(FOLDER)
        .env("HX_SYNC_PASSPHRASE", format!("{NEW_PASSPHRASE}\n"));
    call.run().ok().shows("Joined vault");
}

#[test]
fn who_is_in_the_vault_is_told_that_nothing_was_asked() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let init = || laptop.init(FOLDER).env("HX_SYNC_PASSPHRASE", "wrong");
    let again = init().run().ok().shows("Already in vault");
    again.says("no passphrase was asked for or checked");
    let json = init().arg("--json").run().ok().json();
    assert_eq!(
        (&json["already"], &json["had_key"]),
        (&true.into(), &true.into()),
        "{json}"
    );
    let tablet = world.device("tablet");
    let wrong = tablet.init(FOLDER).env("HX_SYNC_PASSPHRASE", "wrong");
    wrong.run().fails(12);
}

#[test]
fn what_is_pending_after_joining_is_not_known_before_a_pull() {
    let world = World::on_folder();
    let (laptop, tablet) = (world.laptop(), world.device("tablet"));
    laptop
        .hx("export --file backup.json")
        .at_home(&world)
        .run()
        .ok();
    tablet
        .hx("import --file backup.json")
        .at_home(&world)
        .run()
        .ok();
    let joined = tablet.init(FOLDER).run().ok();
    assert!(!joined.err.contains("does not have"), "{joined}");
    joined.says("which of them it has already shows at the first pull");
    for line in ["sync status --offline", "status"] {
        tablet
            .hx(line)
            .run()
            .ok()
            .shows("up to ")
            .shows("shows at the first pull");
    }
    tablet.hx("sync pull").run().ok();
    assert_eq!(tablet.pending(), 0);
    let status = tablet.hx("sync status --offline").run().ok();
    assert!(!status.out.contains("up to "), "{status}");
}

#[test]
fn a_lost_device() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let before = laptop.history();
    laptop.hx("sync devices").run().ok().shows("desktop");
    let run = laptop.hx("sync devices remove nobody --yes").run();
    run.fails(2).hints("hx sync devices");
    let known = laptop.hx("sync devices --json").run().ok().json();
    let known = known.as_array().expect("a list");
    let lost = known.iter().find(|device| device["name"] == "desktop");
    let lost = lost.expect("it is known")["node"]
        .as_str()
        .expect("an id")
        .to_owned();
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok();
    tablet.hx("sync pull").run().ok().shows("from 2 devices");
    laptop.hx("sync devices remove desktop --yes").run().ok();
    tablet.hx("sync pull").run().ok().shows("from 1 device,");
    for (device, name) in [
        (laptop, &lost),
        (tablet, &lost),
        (tablet, &"desktop".to_owned()),
    ] {
        let again = device.hx("sync devices remove --yes").arg(name).run();
        again
            .fails(1)
            .because("was removed already")
            .hints("Nothing was changed");
    }
    // Who took it over may be lost as well.
    let taker = laptop.hx("sync devices --json").run().ok().json();
    let taker = taker[0]["node"].as_str().expect("an id")[..8].to_owned();
    let again = tablet.hx("sync devices remove desktop --yes").run();
    again
        .fails(1)
        .says(&format!("by device {taker}, laptop,"))
        .hints(&format!("`hx sync devices remove {taker}`"));
    let left = laptop.hx("sync devices").run().ok();
    assert!(!left.out.contains("desktop"), "{left}");
    // What it had is published by the one that took it over.
    assert_eq!(tablet.history(), before);
    // It was found again: it goes on under a new identity, and loses nothing.
    desktop.types("found again");
    desktop.hx("sync").run().ok();
    laptop.hx("sync pull").run().ok();
    assert!(laptop.has("found again"));
    laptop.hx("sync verify").run().ok();
}

#[test]
fn who_removed_a_device_is_not_advised_to_do_it_again() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.hx("sync devices remove desktop --yes").run().ok();
    laptop.hx("forget --match docker --yes").run().ok();
    let verified = laptop
        .hx("sync verify")
        .run()
        .ok()
        .says("which was removed");
    assert!(
        !verified.err.contains("hx sync devices remove"),
        "{verified}"
    );
    desktop.hx("sync").run().ok();
}

/// The one segment that a device, by its name, has in the store; as `laptop` knows it.
fn segment_of(world: &World, name: &str) -> std::path::PathBuf {
    let known = world.laptop().hx("sync devices --json").run().ok().json();
    let known = known.as_array().expect("a list").clone();
    let device = known.iter().find(|device| device["name"] == name);
    let node = device.expect("it is known")["node"].clone();
    let node = node.as_str().expect("an id").to_owned();
    let all = world.objects("objects/segments");
    let of_it = |path: &&std::path::PathBuf| path.display().to_string().contains(&node);
    all.iter().find(of_it).expect("it published").clone()
}

#[test]
fn a_lost_device_with_a_damaged_object_is_taken_over_by_who_read_it() {
    for is_gone in [false, true] {
        let world = World::on_folder();
        let laptop = world.laptop();
        let before = laptop.history();
        let object = segment_of(&world, "desktop");
        match is_gone {
            true => std::fs::remove_file(&object).expect("removed"),
            false => std::fs::write(&object, "rubbish").expect("damaged"),
        }
        let repaired = laptop.hx("sync repair").run();
        assert!(!repaired.out.contains("Nothing to repair"), "{repaired}");
        let verified = laptop.hx("sync verify").run();
        assert_ne!(verified.code, Some(0), "{verified}");
        laptop
            .hx("sync devices remove desktop --yes")
            .run()
            .ok()
            .shows("Removed");
        laptop.hx("sync verify").run().ok().shows("Sound");
        let tablet = world.device("tablet");
        tablet.init(FOLDER).run().ok();
        tablet.hx("sync pull").run().ok();
        assert_eq!(tablet.history(), before, "gone: {is_gone}");
    }
}

#[test]
fn who_did_not_read_a_damaged_object_gives_it_up_only_if_told_to() {
    let world = World::on_folder();
    let object = segment_of(&world, "desktop");
    std::fs::write(&object, "rubbish").expect("damaged");
    let tablet = world.device("tablet");
    tablet.init(FOLDER).run().ok();
    tablet.hx("sync pull").run().fails(16);
    let remove = |more: &str| {
        tablet
            .hx(&format!("sync devices remove desktop --yes{more}"))
            .run()
    };
    let run = remove("").fails(16).because("was not removed");
    assert!(!run.out.contains("Removed:"), "{run}");
    run.hints("--give-up-unreadable");
    remove(" --json").fails_in_json(16, "not-all-read");
    assert!(object.exists());
    remove(" --give-up-unreadable")
        .ok()
        .says("given up")
        .says("1 record");
    tablet.hx("sync pull").run().ok();
    tablet.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn a_removal_that_was_cut_off_is_known() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let remove = || laptop.hx("sync devices remove desktop --yes");
    let devices = laptop.hx("sync devices --json").run().ok().json();
    let lost = devices
        .as_array()
        .and_then(|all| all.iter().find(|device| device["this"] == false))
        .and_then(|device| device["node"].as_str())
        .expect("another device")
        .to_owned();
    let refusal = testkit::Rule::s3_error(403, "AccessDenied", "Access Denied");
    world.proxy().add(refusal.method("PUT"));
    remove().run().fails(13);
    world.proxy().clear();
    let by_id = || {
        laptop
            .hx("sync devices remove --yes")
            .arg(&lost[..8])
            .run()
            .fails(1)
    };
    by_id()
        .because("is being removed already")
        .hints("Run `hx sync`");
    laptop.hx("sync").run().ok();
    by_id().because("was removed already");
    assert!(laptop.has("docker run --rm alpine"));
}
