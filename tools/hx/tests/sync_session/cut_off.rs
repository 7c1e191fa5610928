//! Keys and recovery words when a command is cut off, or what it shows arrives nowhere.
//!
//! What must hold: words are kept until somebody saw them, and the command says so; a rotation that holds is announced by whoever finds
//! that it does, so that no device goes on sealing with the old key.
//!
//! What it deliberately does not do: race two devices (`together` does).

use std::fs;
use std::path::PathBuf;

use crate::call::Call;
use crate::world::{Device, FOLDER, NEW_PASSPHRASE, World};

/// The recovery words in what a person reads.
fn words(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("    "));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// What a device keeps of words that were not shown.
fn kept(device: Device<'_>) -> Option<String> {
    let is_words = |path: &PathBuf| path.extension().is_some_and(|end| end == "words");
    let mut files = device.configuration().into_iter();
    let (_, bytes) = files.find(|(path, _)| is_words(path))?;
    Some(String::from_utf8(bytes).expect("words"))
}

/// Its one key file.
fn key_file(device: Device<'_>) -> PathBuf {
    let is_keys = |path: &PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy();
        name.ends_with(".json") && !name.contains("description")
    };
    let mut files = device.configuration().into_keys();
    files.find(is_keys).expect("a key file")
}

fn with_passphrase(call: Call, passphrase: &str) -> Call {
    call.env("HX_SYNC_PASSPHRASE", passphrase)
}

#[test]
fn words_of_an_init_that_arrive_nowhere_are_shown_by_the_next() {
    let world = World::without_bucket();
    let laptop = world.laptop();
    let init = laptop.shell("hx sync init --store folder:~/vault 2>/dev/full");
    let run = with_passphrase(init, NEW_PASSPHRASE).run();
    assert_eq!(run.code, Some(17), "{run}");
    let owed = kept(laptop).expect("they are kept");
    let reminders = |line: &str| {
        let run = laptop.hx(line).run().ok();
        let words: Vec<&str> = owed.split(' ').take(3).collect();
        assert!(!run.err.contains(&words.join(" ")), "{run}");
        run.err.matches("hx sync init").count()
    };
    let everyday = [
        "sync",
        "sync push",
        "sync pull",
        "sync status",
        "sync --json",
    ];
    for line in everyday {
        assert_eq!(reminders(line), 1, "{line}");
    }
    let is_owed =
        || laptop.hx("sync status --json").run().ok().json()["recovery_words_owed"].clone();
    assert_eq!(is_owed(), true);
    let run = laptop.hx("sync init").run().ok();
    assert_eq!(words(&run.err), owed.trim(), "{run}");
    assert_eq!(kept(laptop), None);
    for line in everyday {
        assert_eq!(reminders(line), 0, "{line}");
    }
    assert_eq!(is_owed(), false);
}

#[test]
fn words_of_a_rotation_that_arrive_nowhere_are_kept() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let ways = [
        ("hx sync key rotate -y 2>/dev/full", 17),
        ("hx sync key rotate -y 2>&-", 3),
        ("hx sync key rotate -y 2>/dev/null", 3),
        ("hx sync key rotate -y 2</dev/null", 3),
        (
            "set -o pipefail; hx sync key rotate -y 2>&1 >/dev/null | true",
            3,
        ),
        ("set -o pipefail; hx sync key rotate -y --json | true", 3),
        ("hx sync key rotate -y --json >/dev/full", 17),
    ];
    for (n, (line, code)) in ways.into_iter().enumerate() {
        let passphrase = format!("{NEW_PASSPHRASE}, number {n}");
        let run = with_passphrase(laptop.shell(line), &passphrase).run();
        assert_eq!(run.code, Some(code), "{run}");
        let owed = kept(laptop).unwrap_or_else(|| panic!("thrown away: {run}"));
        let newest = owed.lines().next_back().expect("words").to_owned();
        assert_eq!(newest.split(' ').count(), 24, "{owed}");
        // The next may be shown nowhere either: these open the vault then.
        if n + 1 < ways.len() {
            continue;
        }
        // The failure is on stderr, where it can be read.
        let run = run.says("the recovery words could not be shown");
        run.hints("hx sync init");
        let run = laptop.hx("sync init").run().ok();
        assert_eq!(words(&run.err), newest, "{run}");
        let tablet = world.device("tablet");
        with_passphrase(tablet.init(FOLDER), &newest).run().ok();
    }
    assert_eq!(kept(laptop), None);
}

/// The world after a rotation on the laptop that was killed when `vault.json` was written; and the words that nobody saw.
fn cut_off() -> (World, String) {
    let world = World::on_folder();
    let laptop = world.laptop();
    let path = key_file(laptop);
    let read = || -> serde_json::Value {
        serde_json::from_slice(&fs::read(&path).expect("keys")).expect("JSON")
    };
    let mut keys = read();
    let rotate = laptop.hx("sync key rotate --yes");
    let run = with_passphrase(rotate, NEW_PASSPHRASE).run().ok();
    keys["apart"] = serde_json::json!([read()["keys"][1]]);
    fs::write(&path, keys.to_string()).expect("written");
    let unseen = words(&run.err);
    fs::write(path.with_extension("words"), &unseen).expect("written");
    fs::remove_file(mark(&world)).expect("it was left");
    (world, unseen)
}

fn mark(world: &World) -> PathBuf {
    world.vault().join("manifests/epoch-00000002")
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_by_the_next_sync() {
    let (world, unseen) = cut_off();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("typed after the rotation");
    laptop.hx("sync").run().ok();
    assert!(mark(&world).exists(), "the others are told");
    desktop.types("typed with the old key");
    desktop.hx("sync push").run().fails(12);
    desktop.hx("sync").run().fails(12);
    // The words are still owed.
    let run = laptop.init(FOLDER).run().ok();
    assert_eq!(words(&run.err), unseen, "{run}");
    with_passphrase(desktop.init(FOLDER), NEW_PASSPHRASE)
        .run()
        .ok();
    desktop.hx("sync").run().ok();
    assert!(desktop.has("typed after the rotation"));
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_by_the_same_command() {
    let (world, unseen) = cut_off();
    let laptop = world.laptop();
    let rotate = || with_passphrase(laptop.hx("sync key rotate --yes"), NEW_PASSPHRASE).run();
    let run = rotate().ok().shows("Rotated: epoch 2.");
    assert_eq!(words(&run.err), unseen, "{run}");
    assert!(mark(&world).exists(), "the others are told");
    assert_eq!(kept(laptop), None);
    rotate().fails(2).because("opens the vault already");
}

#[test]
fn a_rotation_that_was_cut_off_is_announced_by_who_joins() {
    let (world, _) = cut_off();
    let (tablet, desktop) = (world.device("tablet"), world.desktop());
    with_passphrase(tablet.init(FOLDER), NEW_PASSPHRASE)
        .run()
        .ok();
    assert!(mark(&world).exists(), "the others are told");
    // Also one that somebody took away.
    fs::remove_file(mark(&world)).expect("removed");
    tablet.types("typed on the tablet");
    tablet.hx("sync push").run().ok();
    assert!(mark(&world).exists(), "the others are told");
    desktop.types("typed with the old key");
    desktop.hx("sync push").run().fails(12);
}
