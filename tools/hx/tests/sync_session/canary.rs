//! Nothing that was typed, nor the passphrase, is anywhere but in the history database.

use std::fs;
use std::path::Path;

use crate::world::{BUCKET, FOLDER, PASSPHRASE, World, files_below};

const COMMAND: &str = "canary-command-that-nobody-else-may-read";
const PLACE: &str = "/home/canary-directory";
const HOST: &str = "canary-host";

/// A backup of hx is what can hold a directory.
fn backup(world: &World) -> std::path::PathBuf {
    let laptop = world.device("source");
    laptop.types(COMMAND);
    let run = laptop.hx("export --file - --format json").run().ok();
    let mut all = run.json();
    let events = all["events"].as_array_mut().expect("events in a backup");
    for event in events {
        event["cwd"] = PLACE.into();
        event["host"] = HOST.into();
    }
    // Edited on purpose: the sum over the records is another now.
    let document = all.as_object_mut().expect("a document");
    document.remove("end").expect("an end");
    document.remove("has_end").expect("a word of it");
    world.file("backup.json", &all.to_string())
}

fn holds(path: &Path, canary: &str) -> bool {
    let bytes = fs::read(path).expect("a readable file");
    bytes
        .windows(canary.len())
        .any(|window| window == canary.as_bytes())
}

fn session(world: &World, url: &str) -> String {
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let file = backup(world);
    let mut log = String::new();
    let mut traced = |call: crate::call::Call| {
        let run = call.env("HX_LOG_LEVEL", "trace").run().ok();
        log += &run.out;
        log += &run.err;
    };
    traced(laptop.hx("import --file").arg(&file));
    for compression in ["true", "false"] {
        traced(laptop.init(url));
        traced(
            laptop
                .hx("sync push --full")
                .env("HX_SYNC_COMPRESSION", compression),
        );
    }
    traced(laptop.hx("sync status --verbose --timing"));
    traced(laptop.hx("sync verify"));
    traced(desktop.init(url));
    traced(desktop.hx("sync pull"));
    traced(desktop.hx("sync status"));
    traced(desktop.hx("sync diagnose"));
    traced(desktop.hx("config show"));
    traced(desktop.hx("status --verbose"));
    assert!(desktop.has(COMMAND));
    log
}

fn nowhere(world: &World, url: &str) -> String {
    let log = session(world, url);
    // Every run was checked for the passphrase already.
    for canary in [COMMAND, PLACE, "canary-directory"] {
        assert!(!log.contains(canary), "`{canary}` was logged");
    }
    let objects = world.objects("");
    assert!(objects.len() >= 4, "{objects:?}");
    let mut files = objects;
    for device in [world.laptop(), world.desktop()] {
        let is_database = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name.display().to_string().starts_with("hx.db"))
        };
        files.extend(
            files_below(&device.data())
                .into_iter()
                .filter(|path| !is_database(path)),
        );
        files.push(device.config());
        assert!(
            holds(&device.data().join("hx.db"), COMMAND)
                || holds(&device.data().join("hx.db-wal"), COMMAND),
            "the search works"
        );
    }
    for path in files {
        let name = path.display().to_string();
        for canary in [COMMAND, PLACE, HOST, PASSPHRASE] {
            assert!(!holds(&path, canary), "{name} holds `{canary}`");
            assert!(!name.contains(canary));
        }
    }
    log
}

#[test]
fn in_a_folder() {
    // A folder needs no library that logs; the log is looked through all the same.
    let _ = nowhere(&World::without_bucket(), FOLDER);
}

#[test]
fn in_a_bucket() {
    let log = nowhere(&World::empty(), BUCKET);
    assert!(log.contains("TRACE"), "the log was on");
}
