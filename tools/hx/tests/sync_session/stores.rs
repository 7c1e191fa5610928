//! Stores that cannot be used, what a switch says, questions, and a data directory that may only be read.
//!
//! What must hold: nothing is configured by a store that is refused; what only looks needs no permission to write; what is taken away
//! for good needs a yes.
//!
//! It deliberately leaves failing networks and buckets to the tests in `failures`.

use std::process::Command;

use crate::world::{FOLDER, World};

#[test]
fn stores_that_hold_no_vault_are_refused() {
    let world = World::without_bucket();
    let laptop = world.laptop();
    world.file("plain", "x");
    for (url, why) in [
        ("memory:", "in memory is gone"),
        ("gs://bucket", "not built in"),
        ("az://account/container", "not built in"),
        ("folder:/dev/null", "is not a directory"),
        ("folder:~/plain", "is not a directory"),
    ] {
        laptop.init(url).run().fails(2).because(why);
        assert!(laptop.configuration().is_empty(), "{url}");
    }
    let nowhere = laptop.init("folder:/proc/nowhere").run().fails(10);
    assert!(!nowhere.err.contains("bucket"), "{nowhere}");
    nowhere.because("the folder is missing and cannot be created");
}

#[test]
fn a_store_among_the_files_of_hx_is_refused() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.configuration();
    let data = laptop.data();
    std::os::unix::fs::symlink(&data, world.home().join("link")).expect("a link");
    let cache = "folder:~/link/sync/cache";
    for url in [
        format!("folder:{}", data.display()),
        format!("folder:{}", data.join("sync").display()),
        format!("folder:{}", data.join("sync/cache").display()),
        format!("folder:{}/new/../sync/cache/deep/er", data.display()),
        format!("folder:{}", data.join("sync/store/deeper").display()),
        cache.to_owned(),
    ] {
        let refused = laptop.init(&url).run().fails(2);
        refused
            .because("its own files")
            .hints("hx sync init --store folder:");
        assert_eq!(laptop.configuration(), before, "{url}");
    }
    assert!(!data.join("sync/cache/vault.json").exists());
    // One that came there later is used by nothing either, and is not cleared away.
    let (vault, cache) = (world.vault(), data.join("sync/cache"));
    std::fs::create_dir_all(data.join("sync")).expect("a directory");
    std::fs::rename(&vault, &cache).expect("nothing is cached for a folder");
    std::os::unix::fs::symlink(&cache, &vault).expect("a link");
    for line in [
        "push",
        "pull",
        "reset",
        "verify",
        "test-connection",
        "key show",
    ] {
        laptop
            .hx(&format!("sync {line}"))
            .run()
            .fails(2)
            .because("its own files");
    }
    assert!(vault.join("vault.json").exists());
    // The folder that is taken where none is named is no such place.
    let tablet = world.device("tablet");
    let call = tablet
        .hx("sync init")
        .env("HX_SYNC_PASSPHRASE", crate::world::PASSPHRASE);
    call.run().ok();
    tablet.hx("sync").run().ok();
    tablet.hx("sync reset").run().ok();
    tablet.hx("sync pull").run().ok();
}

#[test]
fn a_switch_back_says_what_is_really_pending() {
    let world = World::without_bucket();
    let laptop = world.laptop();
    laptop.types("first");
    laptop.init(FOLDER).run().ok().says("1 record here");
    laptop.hx("sync push").run().ok();
    laptop
        .init("folder:~/other")
        .run()
        .ok()
        .says("1 record here");
    let back = laptop.init(FOLDER).run().ok();
    assert!(!back.err.contains("whole history"), "{back}");
    assert!(!back.err.contains("record here"), "{back}");
    laptop.types("second one");
    let json = laptop.init(FOLDER).arg("--json").run().ok();
    assert_eq!(json.json()["pending"], 1, "{json}");
}

#[test]
fn a_short_passphrase_is_warned_of() {
    let world = World::without_bucket();
    let laptop = world.laptop();
    let short = laptop
        .init(FOLDER)
        .env("HX_SYNC_PASSPHRASE", "abc")
        .run()
        .ok();
    assert!(
        short
            .err
            .contains("warning: this passphrase has only 3 characters"),
        "{short}"
    );
    // Joining with it is not the moment to speak of it.
    let desktop = world.desktop();
    let joined = desktop
        .init(FOLDER)
        .env("HX_SYNC_PASSPHRASE", "abc")
        .run()
        .ok();
    assert!(!joined.err.contains("warning"), "{joined}");
}

#[test]
fn what_is_gone_for_good_needs_a_yes() {
    let world = World::on_folder();
    let laptop = world.laptop();
    for line in [
        "sync devices remove desktop",
        "sync key rotate",
        "forget --match cargo",
    ] {
        laptop
            .hx(line)
            .env("HX_SYNC_PASSPHRASE", "another long passphrase")
            .run()
            .fails(2)
            .because("needs a yes")
            .hints("--yes");
    }
    assert!(laptop.has("cargo build --release"));
    laptop.hx("sync devices").run().ok().shows("desktop");
    // The guides' lines need none.
    laptop.hx("sync reset").run().ok();
    laptop.hx("sync push --force").run().ok();
    laptop.hx("sync pull").run().ok();
    let removed = laptop.hx("sync devices remove desktop --yes").run().ok();
    assert!(
        removed.out.contains("Removed:") && !removed.out.contains("Repaired"),
        "{removed}"
    );
}

#[test]
fn a_data_directory_that_may_only_be_read() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let chmod = |mode: &str| {
        let done = Command::new("chmod")
            .args(["-R", mode])
            .arg(laptop.data())
            .status();
        assert!(done.is_ok_and(|status| status.success()), "chmod {mode}");
    };
    chmod("a-w");
    let runs: Vec<_> = [
        "status",
        "find cargo",
        "sync status",
        "sync devices",
        "sync verify",
        "sync verify --manifest",
        "sync key show",
        "sync test-connection",
        "export --file -",
    ]
    .iter()
    .map(|line| laptop.hx_as_anyone(line).run())
    .collect();
    let push = laptop.hx_as_anyone("sync push").run();
    chmod("u+w");
    for run in runs {
        run.ok();
    }
    assert_ne!(push.code, Some(0), "{push}");
    push.says("ermission");
}

#[test]
fn an_earlier_identity_is_marked_as_such() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.hx("sync reset").run().ok();
    laptop.hx("sync pull").run().ok();
    let devices = laptop.hx("sync devices").run().ok();
    let marked = |line: &&str| line.contains("this device before a reset or a conflict");
    assert_eq!(devices.out.lines().filter(marked).count(), 1, "{devices}");
    let json = laptop.hx("sync devices --json").run().ok().json();
    let earlier: Vec<bool> = json
        .as_array()
        .expect("a list")
        .iter()
        .map(|device| device["earlier"] == true)
        .collect();
    assert_eq!(
        earlier.iter().filter(|earlier| **earlier).count(),
        1,
        "{json}"
    );
}
