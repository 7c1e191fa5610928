//! Keys and devices: rotation, passphrases, the recovery phrase, and a machine that is lost.

use crate::journey::words;
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
