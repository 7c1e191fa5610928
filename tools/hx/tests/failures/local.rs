//! Trouble on this machine: a lock that is held, a database that is locked or damaged, a broken configuration.

use std::fs;

use crate::world::{FOLDER, World};

#[test]
fn another_sync_holds_the_lock() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let path = laptop.data().join("run/sync.lock");
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    let lock = fs::File::create(&path).expect("the lock file");
    lock.lock().expect("nobody else has it");
    fs::write(&path, "hx sync push (process 4711)").expect("written");
    // Reading does not need the lock.
    laptop.hx("sync status").run().ok();
    laptop.hx("find cargo").run().ok();
    laptop
        .hx("sync push")
        .run()
        .fails(11)
        .says("waiting for `hx sync push (process 4711)`")
        .because("is syncing on this machine")
        .hints("hx sync status --progress");
    drop(lock);
    laptop.hx("sync push").run().ok();
}

#[test]
fn a_second_sync_waits_for_the_first() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let path = laptop.data().join("run/sync.lock");
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    let lock = fs::File::create(&path).expect("the lock file");
    lock.lock().expect("nobody else has it");
    let waiting = laptop.hx("sync push").start();
    drop(lock);
    waiting.wait().ok();
}

#[test]
fn a_database_that_somebody_writes_to() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let held = rusqlite::Connection::open(laptop.data().join("hx.db")).expect("the database");
    held.execute_batch("BEGIN IMMEDIATE")
        .expect("nobody else writes");
    let file = world.file("more", ": 1700000500:0;make world\n");
    laptop
        .hx("import --file")
        .arg(&file)
        .run()
        .fails(11)
        .hints("Another hx is writing");
    laptop.hx("find cargo").run().ok();
    held.execute_batch("ROLLBACK").expect("released");
    laptop.hx("import --file").arg(&file).run().ok();
}

#[test]
fn a_database_that_is_none() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let database = laptop.data().join("hx.db");
    for beside in ["hx.db-wal", "hx.db-shm"] {
        let _ = fs::remove_file(laptop.data().join(beside));
    }
    let garbage = "this was a database once ".repeat(1000);
    fs::write(&database, &garbage).expect("written");
    for command in ["find cargo", "sync pull", "sync push", "export --file -"] {
        laptop
            .hx(command)
            .run()
            .fails(16)
            .because("hx.db")
            .hints("Move the file away");
    }
    laptop
        .hx("find cargo --json")
        .run()
        .fails_in_json(16, "corrupt");
    laptop.hx("config show").run().ok();
    let run = laptop.hx("sync diagnose").run();
    assert!(run.code != Some(0) && run.out.contains("database"), "{run}");
    let kept = fs::read_to_string(&database).expect("it is there");
    assert_eq!(kept, garbage, "a damaged database is never overwritten");
    // The way out that the hint names.
    fs::rename(&database, laptop.data().join("hx.db.damaged")).expect("moved away");
    laptop.init(FOLDER).run().ok();
    laptop.hx("sync pull").run().ok();
    assert!(laptop.has("cargo build --release") && laptop.has("docker run --rm alpine"));
}

#[test]
fn a_broken_configuration_file() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let good = fs::read_to_string(laptop.config()).expect("a configuration");
    let broken = format!("{good}  timeout: [30s\n");
    fs::write(laptop.config(), &broken).expect("written");
    laptop.hx("config show").run().ok().shows("sync.store");
    let run = laptop.hx("config validate").run();
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.out.contains("config.yaml"), "{run}");
    for command in ["sync push", "sync pull", "find cargo", "status"] {
        laptop.hx(command).run().fails(4).because("config.yaml");
    }
    laptop.init(FOLDER).run().fails(4);
    laptop.hx("--version").run().ok();
    laptop.hx("sync init --help").run().ok();
    assert_eq!(
        fs::read_to_string(laptop.config()).expect("it is there"),
        broken,
        "it is the person's file"
    );
    fs::write(laptop.config(), good).expect("written");
    laptop.hx("sync").run().ok();
}

#[test]
fn a_setting_that_is_wrong_and_one_that_is_misspelt() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let run = laptop
        .hx("sync push")
        .env("HX_SYNC_TIMEOUT", "soon")
        .run()
        .fails(4);
    run.because("HX_SYNC_TIMEOUT").because("soon");
    laptop
        .hx("sync push --json")
        .env("HX_SYNC_MAX_RETRIES", "many")
        .run()
        .fails_in_json(4, "config");
    let run = laptop
        .hx("sync push")
        .env("HX_SYNC_TIMOUT", "30s")
        .run()
        .ok();
    run.says("HX_SYNC_TIMEOUT");
    let run = laptop
        .hx("config validate")
        .env("HX_SYNC_CONCURENT_UPLOADS", "3")
        .run();
    assert!(run.out.contains("HX_SYNC_CONCURRENT_UPLOADS"), "{run}");
    let good = fs::read_to_string(laptop.config()).expect("a configuration");
    fs::write(laptop.config(), format!("{good}  conect_timeout: 3s\n")).expect("written");
    let run = laptop.hx("config validate").run();
    assert!(run.out.contains("connect_timeout"), "{run}");
}

#[test]
fn settings_that_name_another_store_than_was_joined() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop
        .hx("sync push")
        .env("HX_SYNC_STORE", "folder:/somewhere/else")
        .run()
        .fails(4)
        .because("HX_SYNC_STORE")
        .hints("hx sync init --store");
}

#[test]
fn a_store_that_is_misspelt_stops_what_needs_it_alone() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let good = fs::read_to_string(laptop.config()).expect("a configuration");
    let bad = good.replace("folder:", "s4://");
    assert_ne!(bad, good);
    fs::write(laptop.config(), &bad).expect("written");
    for command in ["find cargo", "export --file -", "status"] {
        laptop
            .hx(command)
            .run()
            .ok()
            .says("warning: sync.store")
            .shows("");
    }
    laptop.types("typed all the same");
    laptop.hx("sync push").run().fails(4).because("sync.store");
}

#[test]
fn a_data_directory_that_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::on_folder();
    let laptop = world.laptop();
    let file = world.file("more", ": 1700000000:0;one more\n");
    let set = |mode: u32, paths: &[std::path::PathBuf]| {
        for path in paths {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path, mode).expect("it is ours");
        }
    };
    let files: Vec<_> = fs::read_dir(laptop.data())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    set(0o444, &files);
    set(0o555, &[laptop.data()]);
    let run = laptop.hx_as_anyone("import --file").arg(file).run();
    set(0o755, &[laptop.data()]);
    set(0o644, &files);
    run.fails(13).hints("permissions");
}

#[test]
fn a_limit_on_open_files() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("make world");
    for limit in [9, 12, 14] {
        for words in ["sync push", "sync pull", "sync verify"] {
            let line = format!("ulimit -n {limit}; exec hx {words}");
            laptop
                .shell(&line)
                .run()
                .fails(1)
                .because("open")
                .hints("ulimit -n 256");
        }
    }
    laptop
        .shell("ulimit -n 12; exec hx sync push --json")
        .run()
        .fails_in_json(1, "too-many-open-files");
    assert_eq!(laptop.pending(), 1);
    laptop.hx("sync").run().ok();
}
