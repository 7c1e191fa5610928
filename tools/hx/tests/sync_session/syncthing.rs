//! Two machines whose vault lies in a folder that two real Syncthing nodes keep in step.
//!
//! What must hold: what was typed on one is found on the other, what was forgotten leaves both folders, and two vaults that were made
//! before the machines ever met are told apart, with a way out that loses nothing.
//!
//! It deliberately leaves half copied files and odd orders to the model in the vault's tests: real nodes do them too rarely.

use crate::world::{Device, NEW_PASSPHRASE, PASSPHRASE, World, files_below};
use std::fs;
use testkit::Syncthing;

const ON_LAPTOP: &str = "folder:~/laptop/Sync/hx";
const ON_DESKTOP: &str = "folder:~/desktop/Sync/hx";

fn world() -> (World, Syncthing) {
    let world = World::without_bucket();
    let folder = |name: &str| world.home().join(name).join("Sync");
    let nodes = Syncthing::between(&folder("laptop"), &folder("desktop"));
    (world, nodes)
}

#[test]
fn a_vault_in_a_folder_of_syncthing() {
    let (world, mut nodes) = world();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("typed on the laptop");
    laptop.init(ON_LAPTOP).run().ok();
    laptop.hx("sync push").run().ok();
    nodes.connect();
    desktop.types("typed on the desktop");
    desktop.init(ON_DESKTOP).run().ok();
    desktop.hx("sync").run().ok();
    assert!(desktop.has("typed on the laptop"));

    // Each goes on alone, and both publish before the folders meet again.
    nodes.disconnect();
    for round in 0..4 {
        laptop.types(&format!("on the train {round}"));
        desktop.types(&format!("at home alone {round}"));
        laptop.hx("sync").run().ok();
        desktop.hx("sync").run().ok();
    }
    nodes.connect();
    for device in [laptop, desktop] {
        device.hx("sync pull").run().ok();
    }
    assert_eq!(laptop.history(), desktop.history());
    assert_eq!(laptop.history().len(), 10);

    // What is forgotten on one leaves the other, and both folders.
    laptop.hx("forget --match train --yes").run().ok();
    laptop.hx("sync").run().ok();
    nodes.settle();
    desktop.hx("sync").run().ok();
    nodes.settle();
    for device in [laptop, desktop] {
        assert!(!device.has("on the train 0"));
        assert_eq!(device.history().len(), 6);
        device.hx("sync verify").run().ok().shows("Sound");
    }
    let litter = files_below(world.home()).into_iter();
    let conflicts: Vec<_> = litter
        .filter(|path| path.to_string_lossy().contains(".sync-conflict-"))
        .collect();
    assert!(
        conflicts.is_empty(),
        "no name is ever written twice: {conflicts:?}"
    );
}

#[test]
fn two_vaults_made_before_the_machines_met() {
    let (world, mut nodes) = world();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("typed on the laptop");
    laptop.init(ON_LAPTOP).run().ok();
    laptop.hx("sync push").run().ok();
    desktop.types("typed on the desktop");
    desktop
        .init(ON_DESKTOP)
        .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
        .run()
        .ok();
    desktop.hx("sync push").run().ok();
    nodes.connect();

    // Syncthing kept one of the two `vault.json`, and set the other aside under a name of its own.
    let kept = fs::read(world.home().join("laptop/Sync/hx/vault.json")).expect("one was kept");
    let there =
        fs::read(world.home().join("desktop/Sync/hx/vault.json")).expect("and is there too");
    assert_eq!(kept, there);
    let is_out = |device: Device<'_>| {
        let verified = device.hx("sync verify").run().fails(15);
        verified.err.contains("the store holds vault")
    };
    let (stays, joins, url, passphrase) = match is_out(desktop) {
        true => (laptop, desktop, ON_DESKTOP, PASSPHRASE),
        false => (desktop, laptop, ON_LAPTOP, NEW_PASSPHRASE),
    };
    assert!(is_out(joins) && !is_out(stays));
    for line in ["sync", "sync pull"] {
        let told = joins.hx(line).run().fails(15);
        assert!(!told.err.contains("nothing is to be done"), "{told}");
        told.because("the store holds vault")
            .hints("hx sync init")
            .hints("hx sync repair");
    }
    stays
        .hx("sync pull")
        .run()
        .fails(15)
        .hints("hx sync init")
        .hints("hx sync repair");

    // On the machine whose vault was kept there is nothing to do, and it says whose turn it is.
    let idle = stays.hx("sync repair").run().fails(15);
    assert!(idle.out.contains("Not repaired"), "{idle}");
    idle.hints("nothing is to be done here");

    joins
        .init(url)
        .env("HX_SYNC_PASSPHRASE", passphrase)
        .run()
        .ok();
    joins.hx("sync repair").run().ok().says("2 objects removed");
    nodes.settle();
    stays.types("typed later");
    stays.hx("sync").run().ok();
    nodes.settle();
    joins.hx("sync").run().ok();
    for device in [stays, joins] {
        assert_all_known(device);
        device.hx("sync verify").run().ok().shows("Sound");
    }
}

fn assert_all_known(device: Device<'_>) {
    for command in ["typed on the laptop", "typed on the desktop", "typed later"] {
        assert!(device.has(command), "{command}");
    }
}
