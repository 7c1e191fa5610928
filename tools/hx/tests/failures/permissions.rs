//! "Access Denied" and "403 Forbidden": never tried again, and `test-permissions` says what is missing.

use testkit::proxy::http::Message;
use testkit::{Action, Rule};

use crate::world::{BUCKET, NEW_PASSPHRASE, World, files_below};

fn denied() -> Rule {
    Rule::s3_error(403, "AccessDenied", "Access Denied")
}

#[test]
fn writing_is_not_allowed() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    let before = laptop.history();
    world.proxy().add(denied().method("PUT"));
    laptop
        .hx("sync push")
        .env("HX_SYNC_MAX_RETRIES", "5")
        .run()
        .fails(13)
        .says("hx sync push failed")
        .because("Access Denied (403 Forbidden)")
        .hints("s3:PutObject")
        .hints("s3:GetBucketLocation");
    assert_eq!(world.proxy().counts()["PUT"], 1, "it is never tried again");
    laptop
        .hx("sync push --json")
        .run()
        .fails_in_json(13, "permission");
    assert_eq!(laptop.history(), before);
    assert_eq!(laptop.pending(), 1);
    laptop
        .hx("sync status")
        .run()
        .ok()
        .shows("The last push failed (permission)")
        .shows("s3:PutObject");
}

#[test]
fn a_403_without_a_word() {
    let world = World::on_s3();
    let plain = Message::answer(403, "text/plain", "");
    world.proxy().add(Rule::new(Action::Respond(plain)));
    world
        .laptop()
        .hx("sync pull")
        .run()
        .fails(13)
        .because("403 Forbidden")
        .hints("bucket");
    assert_eq!(world.proxy().requests().len(), 1, "it is never tried again");
}

#[test]
fn at_init_nothing_is_configured() {
    let world = World::empty();
    let laptop = world.laptop();
    for (method, missing) in [("PUT", "write"), ("GET", "read"), ("POST", "delete")] {
        world.proxy().clear();
        world.proxy().add(denied().method(method));
        world.proxy().add(denied().method("DELETE"));
        laptop
            .init(BUCKET)
            .run()
            .fails(13)
            .says("nothing was configured")
            .because(missing)
            .because("Access Denied");
        assert!(laptop.configuration().is_empty(), "{method}");
    }
    laptop.hx("sync status").run().ok().shows("not set up");
}

#[test]
fn test_permissions_names_what_is_missing_and_prints_the_policy() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop
        .hx("sync test-permissions")
        .run()
        .ok()
        .shows("s3:GetBucketLocation");
    world.proxy().add(denied().method("POST").target("delete"));
    world.proxy().add(denied().method("DELETE"));
    world.proxy().add(denied().target("location"));
    let run = laptop.hx("sync test-permissions").run().fails(13);
    let run = run
        .because("not allowed: s3:DeleteObject, s3:GetBucketLocation")
        .hints("policy")
        .shows("\"Action\": [")
        .shows("\"arn:aws:s3:::bucket/*\"");
    let outcome = |action: &str| {
        let line = run
            .out
            .lines()
            .find(|line| line.contains(action))
            .unwrap_or_default();
        line.contains("denied")
    };
    assert!(
        outcome("s3:DeleteObject") && outcome("s3:GetBucketLocation"),
        "{run}"
    );
    assert!(
        !outcome("s3:GetObject") && !outcome("s3:PutObject") && !outcome("s3:ListBucket"),
        "{run}"
    );
    let run = laptop
        .hx("sync test-permissions --json")
        .run()
        .fails_in_json(13, "permission");
    assert_eq!(
        run.json()["permissions"].as_array().map(Vec::len),
        Some(5),
        "{run}"
    );
}

#[test]
fn a_folder_that_may_not_be_written() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("make world");
    // Root may write everywhere, so the mode is of no use here; a file in the place of a directory stops everyone.
    let segments = world.vault().join("objects");
    std::fs::rename(&segments, world.home().join("moved")).expect("moved");
    std::fs::write(&segments, "in the way").expect("written");
    let run = laptop.hx("sync push").run();
    assert_ne!(run.code, Some(0), "{run}");
    assert!(
        run.err.contains("error: ") && run.err.contains("objects"),
        "{run}"
    );
    assert_eq!(laptop.pending(), 1);
}

#[test]
fn a_folder_has_permissions_of_its_own() {
    let world = World::on_folder();
    let run = world.laptop().hx("sync test-permissions").run().ok();
    assert!(
        !run.out.contains("s3:") && run.out.contains("write files"),
        "{run}"
    );
}

#[test]
fn a_folder_that_may_only_be_read_says_nothing_of_removing() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let world = World::on_folder();
    let laptop = world.laptop();
    set_permissions(world.vault(), Permissions::from_mode(0o555)).expect("it is ours");
    let run = laptop.hx_as_anyone("sync test-permissions").run();
    set_permissions(world.vault(), Permissions::from_mode(0o755)).expect("it is ours");
    let run = run.fails(13).because("not allowed: write files");
    let line = |action: &str| run.out.lines().find(|line| line.contains(action));
    let says = |action: &str, word: &str| line(action).is_some_and(|line| line.contains(word));
    assert!(says("read files", "allowed"), "{run}");
    assert!(says("write files", "denied"), "{run}");
    assert!(says("remove files", "unknown"), "{run}");
    laptop.hx("sync").run().ok();
}

#[test]
fn a_rotation_that_was_refused_leaves_no_words_to_show() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let rotate = || {
        let call = laptop.hx("sync key rotate --yes");
        call.env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
    };
    let keys = || {
        let files = files_below(&laptop.data().join("keys"));
        let texts = files
            .iter()
            .map(|path| std::fs::read(path).expect("a file"));
        let texts: Vec<Vec<u8>> = texts.collect();
        (files, texts)
    };
    let before = keys();
    world
        .proxy()
        .add(denied().method("PUT").target("vault.json"));
    rotate().run().fails(13).because("the old one still holds");
    world.proxy().clear();
    assert_eq!(keys(), before, "neither words nor a key are left of it");
    let run = laptop.hx("sync").run().ok();
    assert!(!run.err.contains("recovery words"), "{run}");
    // It can be done later all the same.
    rotate().run().ok().says("New recovery phrase");
}
