//! Two machines that do the same at the same moment: set sync up first, or change what opens the vault. They end in one vault, and each has
//! what both had; what was shown as a way in is one.
//!
//! It deliberately does not force a schedule: real processes race, over a folder and over a bucket, and every outcome must do.

use std::fs;

use crate::session::words;
use crate::world::{BUCKET, FOLDER, World};

/// So many races a store.
const ROUNDS: usize = 3;

#[test]
fn two_first_devices_agree_on_one_vault() {
    for store in [FOLDER, BUCKET] {
        for round in 0..ROUNDS {
            let world = World::empty();
            let (laptop, desktop) = (world.laptop(), world.desktop());
            laptop.types("typed on the laptop");
            desktop.types("typed on the desktop");
            let running = [laptop, desktop].map(|device| device.init(store).start());
            for init in running {
                init.wait().ok();
            }
            for device in [laptop, desktop] {
                device.hx("sync push").run().ok();
            }
            laptop.hx("sync pull").run().ok();
            desktop.hx("sync pull").run().ok();
            assert_eq!(laptop.history(), desktop.history(), "{store} {round}");
            assert_eq!(laptop.history().len(), 2, "{store} {round}");
            laptop.hx("sync verify").run().ok().shows("Sound");
        }
    }
}

const LAPTOPS: &str = "a passphrase of the laptop";
const DESKTOPS: &str = "a passphrase of the desktop";

#[test]
fn of_two_rotations_at_once_one_holds_and_the_other_device_comes_back() {
    for world in [World::on_folder(), World::on_s3()] {
        let store = if world.is_on_s3() { BUCKET } else { FOLDER };
        let (laptop, desktop) = (world.laptop(), world.desktop());
        let both = [(laptop, LAPTOPS), (desktop, DESKTOPS)];
        let running = both.map(|(device, passphrase)| {
            let rotate = device.hx("sync key rotate --yes");
            rotate.env("HX_SYNC_PASSPHRASE", passphrase).start()
        });
        let ended = running.map(|rotation| rotation.wait());
        for ((device, passphrase), run) in both.into_iter().zip(&ended) {
            let tablet = world.device("tablet");
            let held = tablet
                .init(store)
                .env("HX_SYNC_PASSPHRASE", passphrase)
                .run();
            fs::remove_dir_all(world.home().join("tablet")).expect("removes");
            assert_eq!(held.code == Some(0), run.code == Some(0), "{run}\n{held}");
            assert!(run.code == Some(0) || words(&run.err).is_empty(), "{run}");
            device.types(&format!("typed after {passphrase}"));
        }
        // Both may hold, one after the other; never none.
        let (_, holds) = both
            .into_iter()
            .zip(&ended)
            .filter(|(_, run)| run.code == Some(0))
            .map(|(one, _)| one)
            .next_back()
            .expect("one holds");
        for (device, _) in both {
            let init = device.init(store).env("HX_SYNC_PASSPHRASE", holds);
            init.run().ok();
            device.hx("sync").run().ok();
        }
        laptop.hx("sync").run().ok();
        assert_eq!(laptop.history(), desktop.history());
        assert!(laptop.has(&format!("typed after {LAPTOPS}")));
        assert!(laptop.has(&format!("typed after {DESKTOPS}")));
        laptop.hx("sync verify").run().ok().shows("Sound");
    }
}

#[test]
fn two_passphrases_added_at_once_both_open_the_vault() {
    let world = World::on_folder();
    let both = [(world.laptop(), LAPTOPS), (world.desktop(), DESKTOPS)];
    let running = both.map(|(device, passphrase)| {
        let add = device.hx("sync key add-passphrase");
        add.env("HX_SYNC_PASSPHRASE", passphrase).start()
    });
    for adding in running {
        adding.wait().ok();
    }
    for (_, passphrase) in both {
        let tablet = world.device("tablet");
        tablet
            .init(FOLDER)
            .env("HX_SYNC_PASSPHRASE", passphrase)
            .run()
            .ok();
        fs::remove_dir_all(world.home().join("tablet")).expect("removes");
    }
}

/// Where nothing compares, in a folder that a tool copies between machines, say, each may write over the other's rotation and go on.
#[test]
fn a_device_that_went_on_with_a_key_that_does_not_hold_loses_nothing() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let path = world.vault().join("vault.json");
    let before = fs::read(&path).expect("a description");
    let rotate = |device: crate::world::Device<'_>, passphrase: &str| {
        let rotate = device.hx("sync key rotate --yes");
        rotate.env("HX_SYNC_PASSPHRASE", passphrase).run().ok();
        device.types(&format!("typed after {passphrase}"));
    };
    rotate(laptop, LAPTOPS);
    let holds = fs::read(&path).expect("a description");
    fs::write(&path, before).expect("put back");
    fs::remove_file(world.vault().join("manifests/epoch-00000002")).expect("removed");
    rotate(desktop, DESKTOPS);
    desktop.hx("sync push").run().ok();
    fs::write(&path, holds).expect("put back");
    laptop.hx("sync push").run().ok();
    // Only the laptop's key opens the vault now, and the desktop is told what to do.
    laptop
        .hx("sync pull")
        .run()
        .fails(16)
        .because("was overtaken");
    desktop.types("typed when it was apart");
    desktop
        .hx("sync")
        .run()
        .fails(12)
        .because("another device rotated the key")
        .hints("hx sync init --store");
    let back = |passphrase: &str| {
        let init = desktop.init(FOLDER);
        init.env("HX_SYNC_PASSPHRASE", passphrase).run()
    };
    back("neither").fails(12);
    back(LAPTOPS).ok().says("nothing is lost");
    for device in [desktop, laptop, desktop] {
        device.hx("sync").run().ok();
    }
    assert_eq!(laptop.history(), desktop.history());
    let tablet = world.device("tablet");
    let init = tablet.init(FOLDER);
    init.env("HX_SYNC_PASSPHRASE", LAPTOPS).run().ok();
    tablet.hx("sync pull").run();
    assert_eq!(tablet.history(), desktop.history());
    for text in [LAPTOPS, DESKTOPS] {
        assert!(tablet.has(&format!("typed after {text}")));
    }
    assert!(tablet.has("typed when it was apart"));
}

#[test]
fn words_that_were_not_shown_are_shown_by_the_next_init() {
    let world = World::empty();
    let laptop = world.laptop();
    laptop.types("make world");
    let run = laptop.init(FOLDER).run().ok();
    let shown = words(&run.err).join(" ");
    // As an init leaves it that is cut off before it shows them.
    let run = laptop.hx("sync key show --json").run().ok().json();
    let vault = run["vault"].as_str().expect("an id").to_owned();
    let owed = laptop.data().join(format!("keys/{vault}.words"));
    assert!(!owed.exists(), "they were shown");
    fs::write(&owed, &shown).expect("written");
    let run = laptop.init(FOLDER).run().ok();
    assert_eq!(words(&run.err).join(" "), shown, "{run}");
    // Words that open nothing are not shown.
    let other = "abandon ".repeat(23) + "art";
    fs::write(&owed, other).expect("written");
    // Once is enough.
    let run = laptop.init(FOLDER).run().ok();
    assert!(words(&run.err).is_empty(), "{run}");
    let left: Vec<_> = laptop.configuration().into_keys().collect();
    let is_words = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "words");
    assert!(!left.iter().any(is_words), "{left:?}");
}
