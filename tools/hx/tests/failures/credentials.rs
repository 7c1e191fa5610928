//! "Unable to locate credentials", wrong ones, and the ways of the guide to give the right ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use testkit::s3::{ACCESS_KEY, SECRET_KEY};
use testkit::{Action, Rule, ScriptedProxy};

use crate::world::{BUCKET, World};

const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[test]
fn none_at_all() {
    let world = World::empty();
    let laptop = world.laptop();
    let before = laptop.configuration();
    laptop
        .init(BUCKET)
        .without(&KEYS)
        .run()
        .fails(13)
        .says("Unable to locate credentials")
        .hints("AWS_ACCESS_KEY_ID")
        .hints("AWS_PROFILE")
        .hints("AWS_WEB_IDENTITY_TOKEN_FILE");
    laptop
        .init(BUCKET)
        .arg("--json")
        .without(&KEYS)
        .run()
        .fails_in_json(13, "credentials");
    assert!(
        world.proxy().requests().is_empty(),
        "there was nothing to sign a request with"
    );
    assert_eq!(laptop.configuration(), before);
}

#[test]
fn none_and_a_metadata_service_that_is_silent() {
    let world = World::empty();
    let metadata = ScriptedProxy::alone();
    metadata.add(Rule::new(Action::Stall));
    world
        .laptop()
        .init(BUCKET)
        .without(&KEYS)
        .without(&["AWS_EC2_METADATA_DISABLED"])
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint())
        .run()
        .fails(13)
        .says("Unable to locate credentials")
        .within(5);
    assert!(!metadata.requests().is_empty(), "the instance was asked");
}

#[test]
fn half_of_a_pair() {
    let world = World::empty();
    world
        .laptop()
        .init(BUCKET)
        .without(&["AWS_SECRET_ACCESS_KEY"])
        .run()
        .fails(13)
        .because("AWS_SECRET_ACCESS_KEY is not");
}

#[test]
fn a_wrong_secret_key() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let before = laptop.history();
    laptop
        .hx("sync push")
        .env("AWS_SECRET_ACCESS_KEY", "not/the/right/one")
        .run()
        .fails(13)
        .says("hx sync push failed")
        .because("403 Forbidden")
        .because("SignatureDoesNotMatch")
        .hints("AWS_SECRET_ACCESS_KEY");
    assert_eq!(world.proxy().requests().len(), 1, "it is never tried again");
    assert_eq!(laptop.history(), before);
}

#[test]
fn keys_that_have_expired() {
    let world = World::on_s3();
    world.proxy().add(Rule::s3_error(
        400,
        "ExpiredToken",
        "The provided token has expired.",
    ));
    world
        .laptop()
        .hx("sync pull")
        .env("AWS_SESSION_TOKEN", "of-yesterday")
        .run()
        .fails(13)
        .because("the temporary credentials have expired")
        .hints("aws sso login");
    assert_eq!(world.proxy().requests().len(), 1, "it is never tried again");
}

#[test]
fn a_profile_that_does_not_exist_and_one_that_does() {
    let world = World::empty();
    let laptop = world.laptop();
    let with_profile = |name: &str| laptop.init(BUCKET).without(&KEYS).env("AWS_PROFILE", name);
    with_profile("hx")
        .run()
        .fails(13)
        .says("Unable to locate credentials")
        .because("hx");
    fs::create_dir(world.home().join(".aws")).expect("a new directory");
    let text =
        format!("[hx]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    world.file(".aws/credentials", &text);
    with_profile("hx").run().ok();
}

#[test]
fn keys_in_the_url_work_and_go_to_a_private_file() {
    let world = World::empty();
    let laptop = world.laptop();
    let url =
        format!("s3://bucket/hx?access_key={ACCESS_KEY}&secret_key={SECRET_KEY}&region=us-west-2");
    laptop.init(&url).without(&KEYS).run().ok();
    laptop.hx("sync push").without(&KEYS).run().ok();
    let config = fs::read_to_string(laptop.config()).expect("a configuration");
    assert!(config.contains("s3://bucket/hx"), "{config}");
    assert!(
        !config.contains(SECRET_KEY) && !config.contains("secret_key"),
        "{config}"
    );
    let keys = laptop.data().join("keys");
    let private = fs::metadata(keys.join("store-credentials.json")).expect("the private file");
    assert_eq!(private.permissions().mode() & 0o077, 0);
    for command in ["config show", "sync status", "sync diagnose"] {
        laptop.hx(command).without(&KEYS).run().ok();
    }
}

#[test]
fn keys_with_a_line_end_in_them() {
    let world = World::on_s3();
    let laptop = world.laptop();
    for (name, what) in [
        ("AWS_ACCESS_KEY_ID", "access key"),
        ("AWS_SESSION_TOKEN", "session token"),
    ] {
        laptop
            .hx("sync pull")
            .env(name, "AKIATESTKITTESTKIT00\r")
            .run()
            .fails(13)
            .because(what);
    }
}
