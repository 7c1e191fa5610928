//! A disk that is full: on the way to the store, into the database, and into an export.
//!
//! The limit on the size of files stands in for the full disk, because it needs no rights. `/dev/full` gives the system's
//! own error.

use crate::world::{FOLDER, World};

/// The beginning of a line for bash under which no file grows beyond so many KiB. The signal is as a person's shell leaves it.
fn limited(kib: u32) -> String {
    format!("ulimit -f {kib}; exec hx ")
}

#[test]
fn the_folder_of_the_store() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let text: String = (0..20_000)
        .map(|n| format!(": {}:0;command {n} {:x}\n", 1_600_000_000 + n, n * 7919))
        .collect();
    let file = world.file("long", &text);
    laptop.hx("import --file").arg(file).run().ok();
    let before = laptop.history();
    let pending = laptop.pending();
    // The journal of the database is emptied first, so that the store is what meets the limit.
    laptop
        .shell(&(limited(96) + "sync push"))
        .run()
        .fails(17)
        .because("no space left")
        .hints("free some space");
    laptop
        .shell(&(limited(96) + "sync push --json"))
        .run()
        .fails_in_json(17, "quota-or-disk-full");
    assert_eq!(laptop.history(), before);
    assert_eq!(laptop.pending(), pending);
    let partial = world
        .objects("")
        .iter()
        .filter_map(|path| path.strip_prefix(world.vault()).ok())
        .any(|path| path.display().to_string().contains("tmp"));
    assert!(
        !partial,
        "no unfinished file stays: {:?}",
        world.objects("")
    );
    laptop.hx("sync push").run().ok();
    world.desktop().hx("sync pull").run().ok();
    assert_eq!(world.desktop().history(), before);
}

#[test]
fn the_database() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.history();
    let text: String = (0..20_000)
        .map(|n| format!(": {}:0;command {n}\n", 1_600_000_000 + n))
        .collect();
    world.file("long", &text);
    let run = laptop
        .shell(&(limited(512) + "import --file long"))
        .run()
        .fails(17);
    run.hints("ree some space");
    assert_eq!(laptop.history(), before, "all or nothing");
    laptop.hx("status --verbose").run().ok();
    laptop.hx("sync").run().ok();
}

#[test]
fn what_syncs_remember() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("typed before the disk was full");
    let before = laptop.history();
    let pending = laptop.pending();
    let database = laptop.data().join("hx.db");
    // As long as somebody reads, the journal grows: it is what meets the limit, whatever is written, and not before the end of it.
    let reader = rusqlite::Connection::open(&database).expect("the database");
    let begun = reader.execute_batch("BEGIN; SELECT count(*) FROM state;");
    begun.expect("a reader");
    let writer = rusqlite::Connection::open(&database).expect("the database");
    let write = "INSERT OR REPLACE INTO state(key, value) VALUES ('test', zeroblob(100000))";
    writer.execute_batch(write).expect("a write");
    let commands = [
        "sync reset --local-only",
        "sync verify",
        "sync pull",
        "sync push",
        "sync repair",
        "sync init --store folder:~/vault",
        "import --file laptop-typed --host elsewhere",
        "forget --match typed --yes",
    ];
    for command in commands {
        let run = laptop.shell(&(limited(64) + command)).run().fails(17);
        run.because("the disk is full").hints("ree some space");
    }
    laptop
        .shell(&(limited(64) + "sync reset --json"))
        .run()
        .fails_in_json(17, "disk-full");
    drop((reader, writer));
    assert_eq!((laptop.history(), laptop.pending()), (before, pending));
    laptop.hx("sync").run().ok();
}

#[test]
fn an_export() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop
        .hx("export --file /dev/full")
        .run()
        .fails(17)
        .because("/dev/full")
        .hints("ree some space");
    laptop
        .hx("export --file /dev/full --json")
        .run()
        .fails_in_json(17, "disk-full");
    laptop
        .shell("hx export --file - > /dev/full")
        .run()
        .fails_without_hint(17);
    let text: String = (0..5_000)
        .map(|n| format!(": {}:0;command {n}\n", 1_600_000_000 + n))
        .collect();
    let file = world.file("long", &text);
    laptop.hx("import --file").arg(file).run().ok();
    let backup = world.file("backup.json", "the last good backup");
    laptop
        .shell(&(limited(64) + "export --force --file backup.json"))
        .run()
        .fails(17)
        .hints("is as it was");
    assert_eq!(
        std::fs::read_to_string(backup).expect("it is there"),
        "the last good backup"
    );
}

#[test]
fn the_configuration_at_init() {
    let world = World::on_folder();
    let tablet = world.device("tablet");
    tablet.hx("status").run().ok();
    // Nothing can be written at all: neither the probe object nor the key nor the configuration.
    let line = limited(0) + "sync init --store " + FOLDER;
    let run = tablet
        .shell(&line)
        .env("HX_SYNC_PASSPHRASE", crate::world::PASSPHRASE)
        .run();
    assert_eq!(run.code, Some(17), "{run}");
    assert!(!tablet.config().exists());
    tablet.init(FOLDER).run().ok();
}

#[test]
fn nothing_at_all_can_be_written() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.history();
    for words in ["sync push", "sync pull", "import --file laptop-typed"] {
        laptop.types("typed before the disk was full");
        let run = laptop.shell(&(limited(0) + words)).run().fails(17);
        run.because("disk is full").hints("ree some space");
    }
    laptop.hx("sync").run().ok();
    assert_ne!(laptop.history(), before);
}

#[test]
fn reading_needs_no_space() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.history();
    let reads = || {
        let finds = limited(0) + "find cargo";
        laptop.shell(&finds).run().ok().shows("cargo");
        laptop.shell(&(limited(0) + "status")).run().ok();
        let export = limited(0) + "export --file - --format zsh";
        laptop.shell(&export).run().ok().shows("cargo");
    };
    reads();
    // The same with a journal that a process left behind which could not put it into the database any more.
    let database = laptop.data().join("hx.db");
    let journal = laptop.data().join("hx.db-wal");
    let writer = rusqlite::Connection::open(&database).expect("the database");
    writer
        .execute_batch("INSERT INTO state(key, value) VALUES ('test', x'00')")
        .expect("a write");
    let left = [&database, &journal].map(|path| std::fs::read(path).expect("it is there"));
    assert!(!left[1].is_empty(), "the write is in the journal");
    drop(writer);
    std::fs::write(&database, &left[0]).expect("put back");
    std::fs::write(&journal, &left[1]).expect("put back");
    reads();
    assert_eq!(laptop.history(), before);
}
