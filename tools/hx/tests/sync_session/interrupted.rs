//! Syncs that are cut off in the middle, and two at once.

use std::time::{Duration, Instant};

use testkit::{Action, Gate, Rule};

use crate::world::{BUCKET, Device, World};

/// Waits until something is so; a test that waits longer than this has failed.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "it never came to pass that {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A history long enough for several objects.
fn imports_much(world: &World, device: Device<'_>) {
    let text: String = (0..12_000)
        .map(|n| format!(": {}:0;command number {n}\n", 1_600_000_000 + n))
        .collect();
    let file = world.file("long", &text);
    device.hx("import --file").arg(file).run().ok();
}

/// The segments and manifests that a fresh device makes of the vault.
fn seen_by_a_new_device(world: &World, name: &'static str) -> Vec<String> {
    let device = world.device(name);
    device.init(BUCKET).run().ok();
    device.hx("sync pull").run().ok();
    device.history()
}

#[test]
fn a_push_that_is_killed_at_each_upload() {
    let world = World::on_s3();
    let laptop = world.laptop();
    imports_much(&world, laptop);
    let push = || {
        laptop
            .hx("sync push")
            .env("HX_SYNC_CHUNK_SIZE", "64kB")
            .env("HX_SYNC_CONCURRENT_UPLOADS", "1")
    };
    for passed in [0, 1, 2] {
        world.proxy().clear();
        world.proxy().forget_requests();
        let gate = Gate::closed();
        let stop = Rule::new(Action::Hold(gate.clone()))
            .method("PUT")
            .skip(passed);
        world.proxy().add(stop);
        let running = push().start();
        let uploads = || world.proxy().counts().get("PUT").copied().unwrap_or(0);
        until("the upload before the gate was answered", || {
            uploads() >= passed && passed > 0 || passed == 0 && !world.proxy().requests().is_empty()
        });
        running.kill();
        // What waits at the gate belongs to a dead process: its object may still arrive, or not.
        if passed == 1 {
            gate.open();
        }
    }
    world.proxy().clear();
    laptop.hx("sync status --offline").run().ok();
    push().run().ok();
    push().run().ok().shows("Nothing to push");
    assert_eq!(seen_by_a_new_device(&world, "tablet"), laptop.history());
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn a_manifest_whose_answer_was_lost() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    let lost = Rule::new(Action::DropAfter)
        .method("PUT")
        .target("/manifests/");
    world.proxy().add(lost);
    laptop
        .hx("sync push")
        .env("HX_SYNC_MAX_RETRIES", "0")
        .run()
        .fails(14);
    world.proxy().clear();
    // Between the two, somebody else may have seen it.
    world.desktop().hx("sync pull").run().ok();
    laptop.hx("sync pull").run().ok();
    laptop.hx("sync push").run().ok();
    assert_eq!(laptop.pending(), 0);
    world.desktop().hx("sync pull").run().ok();
    assert_eq!(world.desktop().history(), laptop.history());
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn a_pull_that_is_killed() {
    let world = World::on_s3();
    let (laptop, tablet) = (world.laptop(), world.device("tablet"));
    imports_much(&world, laptop);
    laptop
        .hx("sync push")
        .env("HX_SYNC_CHUNK_SIZE", "64kB")
        .run()
        .ok();
    tablet.init(BUCKET).run().ok();
    world.proxy().forget_requests();
    let stop = Rule::new(Action::Stall)
        .method("GET")
        .target("/objects/segments/")
        .skip(1);
    world.proxy().add(stop);
    let running = tablet.hx("sync pull").start();
    until("a segment was asked for and not answered", || {
        world
            .proxy()
            .requests()
            .iter()
            .any(|seen| seen.target.contains("/objects/segments/") && seen.status.is_none())
    });
    running.kill();
    world.proxy().clear();
    tablet.hx("sync pull").run().ok();
    assert_eq!(tablet.history(), laptop.history());
}

#[test]
fn a_person_who_types_control_c() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    world.proxy().add(Rule::new(Action::Stall).method("PUT"));
    world.proxy().forget_requests();
    let running = laptop.hx("sync push").start();
    until("the upload hangs", || {
        world
            .proxy()
            .requests()
            .iter()
            .any(|seen| seen.method == "PUT")
    });
    running.interrupt();
    running
        .wait()
        .fails(130)
        .because("interrupted")
        .hints("again");
    world.proxy().clear();
    laptop.hx("sync push").run().ok();
    assert_eq!(laptop.pending(), 0);
}

#[test]
fn an_answer_that_breaks_off() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    laptop.types("make world");
    laptop.hx("sync push").run().ok();
    world.proxy().add(
        Rule::new(Action::CutBody(20))
            .method("GET")
            .target("/objects/")
            .times(1),
    );
    let run = desktop.hx("sync pull").run();
    if run.code != Some(0) {
        desktop.hx("sync pull").run().ok();
    }
    assert_eq!(desktop.history(), laptop.history());
}

#[test]
fn two_pushes_at_once() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    let gate = Gate::closed();
    world
        .proxy()
        .add(Rule::new(Action::Hold(gate.clone())).method("PUT"));
    world.proxy().forget_requests();
    let first = laptop.hx("sync push").start();
    until("the first one asked the store", || {
        !world.proxy().requests().is_empty()
    });
    let second = laptop.hx("sync push").start();
    // Somebody at another terminal looks on meanwhile.
    laptop.hx("sync status --offline").run().ok();
    laptop.hx("find cargo").run().ok();
    gate.open();
    first.wait().ok().shows("Pushed 1 record");
    second.wait().ok().shows("Nothing to push");
    laptop.hx("sync verify").run().ok().shows("Sound");
}

#[test]
fn a_repair_of_objects_that_were_deleted() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let before = laptop.history();
    for object in world
        .objects("objects")
        .into_iter()
        .chain(world.objects("manifests"))
    {
        std::fs::remove_file(object).expect("removed");
    }
    for device in [laptop, desktop] {
        assert_ne!(device.hx("sync verify").run().code, Some(0));
        device.hx("sync repair --manifest").run().ok();
    }
    for device in [laptop, desktop] {
        device.hx("sync pull --force").run().ok();
        device.hx("sync push").run().ok();
    }
    for device in [laptop, desktop] {
        device.hx("sync pull").run().ok();
        device.hx("sync verify").run().ok().shows("Sound");
        assert_eq!(device.history(), before);
    }
    // What they saw of each other before is not shown any more, which a new device could not tell from manifests that are kept back, had
    // they not passed on that it was accepted.
    let tablet = world.device("tablet");
    tablet.init(BUCKET).run().ok();
    tablet.hx("sync pull").run().ok();
    tablet.hx("sync status").run().ok();
    assert_eq!(tablet.history(), before);
}

#[test]
fn ctrl_c_ends_work_that_does_not_listen() {
    let world = World::on_s3();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    desktop.types("something new");
    desktop.hx("sync push").run().ok();
    world.proxy().forget_requests();
    // The pull will wait for the database, up to half a minute, and hears nothing while it does.
    let held = rusqlite::Connection::open(laptop.data().join("hx.db")).expect("the database");
    held.execute_batch("BEGIN IMMEDIATE")
        .expect("nobody else writes");
    let running = laptop.hx("sync pull").start();
    until("the pull has fetched something", || {
        world.proxy().counts().get("GET").copied().unwrap_or(0) >= 2
    });
    let begun = Instant::now();
    running.interrupt();
    let run = running.wait();
    run.fails(130)
        .because("interrupted")
        .hints("Nothing is lost");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
    laptop.hx("sync pull").run().ok();
    assert!(laptop.has("something new"));
}

/// The writing end of a pipe that takes nothing more, and the other end, which nobody reads.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::io::Write;
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("set");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).expect("set");
    (reader, writer)
}

#[test]
fn ctrl_c_ends_a_command_whose_work_is_done() {
    let world = World::on_folder();
    let laptop = world.laptop();
    for words in ["sync push", "sync", "sync --json"] {
        laptop.types(&format!("make it after {words}"));
        let (reader, writer) = full_pipe();
        let mut running = laptop.hx(words).start_into(writer);
        until("it has pushed", || laptop.pending() == 0);
        // It waits for the lock, so that the first has let go of it when this ends.
        laptop.hx("sync push").run().ok();
        assert!(!running.is_over(), "nobody reads what it prints");
        running.interrupt();
        until("Ctrl-C is heard", || running.is_over());
        let run = running.wait();
        assert_eq!(run.code, Some(130), "{run}");
        drop(reader);
    }
}
