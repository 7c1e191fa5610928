//! The wrong region, a bucket or folder that is not there, no store at all, a wrong clock, and cold storage.

use testkit::proxy::http::Message;
use testkit::proxy::s3_error;
use testkit::{Action, Moto, Rule};

use crate::world::{BUCKET, FOLDER, World};

fn answers(message: Message) -> Rule {
    Rule::new(Action::Respond(message))
}

#[test]
fn another_region_by_redirect() {
    let world = World::on_s3();
    let mut redirect = s3_error(301, "PermanentRedirect", "Use the specified endpoint.");
    redirect.set_header("x-amz-bucket-region", "eu-west-1");
    world.proxy().add(answers(redirect));
    let laptop = world.laptop();
    laptop
        .hx("sync pull")
        .run()
        .fails(4)
        .because("the bucket 'bucket' is in eu-west-1, not in us-east-1")
        .hints("region=eu-west-1");
    assert_eq!(world.proxy().requests().len(), 1, "it is never tried again");
    laptop
        .hx("sync pull --json")
        .run()
        .fails_in_json(4, "wrong-region");
}

#[test]
fn another_region_by_signature() {
    let world = World::empty();
    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; \
                expecting 'us-west-2'</Message><Region>us-west-2</Region></Error>";
    world
        .proxy()
        .add(answers(Message::answer(400, "application/xml", body)));
    let laptop = world.laptop();
    laptop
        .init(BUCKET)
        .run()
        .fails(4)
        .because("us-west-2")
        .hints("AWS_DEFAULT_REGION=us-west-2");
    assert!(laptop.configuration().is_empty());
}

#[test]
fn a_bucket_that_does_not_exist() {
    let moto = Moto::start();
    let world = World::empty();
    let laptop = world.laptop();
    let init = || {
        laptop
            .init("s3://no-such-bucket/hx?region=us-east-1")
            .env("AWS_ENDPOINT_URL", moto.endpoint())
    };
    init()
        .run()
        .fails(10)
        .because("the bucket 'no-such-bucket' does not exist")
        .hints("create it");
    init().arg("--json").run().fails_in_json(10, "no-bucket");
    assert!(laptop.configuration().is_empty());
}

#[test]
fn a_bucket_that_was_deleted() {
    let world = World::on_s3();
    world.proxy().add(Rule::s3_error(
        404,
        "NoSuchBucket",
        "The specified bucket does not exist",
    ));
    let laptop = world.laptop();
    let before = laptop.history();
    for command in [
        "sync pull",
        "sync push",
        "sync verify",
        "sync repair --manifest",
    ] {
        laptop.hx(command).run().fails(10).because("does not exist");
    }
    assert_eq!(laptop.history(), before);
}

#[test]
fn a_folder_that_is_not_mounted() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("make world");
    let before = laptop.history();
    let away = world.home().join("away");
    std::fs::rename(world.vault(), &away).expect("moved");
    for command in ["sync pull", "sync push"] {
        laptop
            .hx(command)
            .run()
            .fails(10)
            .because("the folder is missing")
            .hints("mount");
    }
    assert!(
        !world.vault().exists(),
        "a folder that is missing is not made anew"
    );
    assert_eq!(laptop.history(), before);
    std::fs::rename(away, world.vault()).expect("moved back");
    laptop.hx("sync").run().ok();
}

#[test]
fn an_empty_folder_in_place_of_the_vault() {
    let world = World::on_folder();
    let laptop = world.laptop();
    laptop.types("make world");
    std::fs::rename(world.vault(), world.home().join("away")).expect("moved");
    std::fs::create_dir(world.vault()).expect("an empty mount point");
    let run = laptop.hx("sync push").run();
    assert!(matches!(run.code, Some(10 | 15)), "{run}");
    let run = laptop.hx("sync pull").run();
    assert!(matches!(run.code, Some(10 | 15)), "{run}");
    assert_eq!(laptop.pending(), 1, "nothing counts as published");
}

#[test]
fn no_store_at_all() {
    let world = World::empty();
    let laptop = world.laptop();
    for command in [
        "sync",
        "sync push",
        "sync pull",
        "sync verify",
        "sync repair --manifest",
        "sync devices",
        "sync key show",
        "sync test-connection",
        "sync test-permissions",
    ] {
        laptop
            .hx(command)
            .run()
            .fails(10)
            .hints("hx sync init --store");
    }
    laptop
        .hx("sync push --json")
        .run()
        .fails_in_json(10, "not-set-up");
    let run = laptop.hx("sync status").run().ok();
    run.shows("Sync is not set up").says("hx sync init --store");
    laptop.hx("sync reset").run().ok().shows("nothing to reset");
    let run = laptop.hx("sync diagnose").run();
    assert!(run.out.contains("no store is configured"), "{run}");
    // Without a name it begins with a folder of its own, which can be moved to a real store later.
    let run = laptop
        .hx("sync init")
        .env("HX_SYNC_PASSPHRASE", "four words of mine")
        .run()
        .ok();
    run.shows("/sync/store");
    laptop.hx("sync").run().ok();
}

#[test]
fn a_clock_that_is_wrong() {
    let world = World::on_s3();
    let message = "The difference between the request time and the current time is too large.";
    let mut skewed = s3_error(403, "RequestTimeTooSkewed", message);
    skewed.set_header("Date", "Mon, 02 Jan 2023 03:04:05 GMT");
    world.proxy().add(answers(skewed));
    let laptop = world.laptop();
    laptop
        .hx("sync push")
        .env("HX_SYNC_MAX_RETRIES", "5")
        .run()
        .fails(18)
        .because("the clock of this machine is")
        .because("ahead of the store's")
        .hints("timedatectl status");
    assert_eq!(world.proxy().requests().len(), 1, "it is never tried again");
    laptop
        .hx("sync push --json")
        .run()
        .fails_in_json(18, "clock-skew");
}

#[test]
fn an_object_that_a_lifecycle_rule_moved_to_glacier() {
    let world = World::on_s3();
    let frozen = "The operation is not valid for the object's storage class";
    let rule = Rule::s3_error(403, "InvalidObjectState", frozen);
    world
        .proxy()
        .add(rule.method("GET").target("/objects/segments/"));
    let laptop = world.laptop();
    let before = laptop.history();
    laptop
        .hx("sync pull --full")
        .run()
        .fails(16)
        .because("moved to cold storage")
        .hints("estore the object")
        .hints("lifecycle rule");
    laptop
        .hx("sync verify --json")
        .run()
        .fails_in_json(16, "archived");
    assert_eq!(laptop.history(), before);
    world.proxy().clear();
    laptop.hx("sync pull").run().ok();
    laptop.hx("sync verify").run().ok();
}

#[test]
fn a_vault_description_in_cold_storage() {
    let world = World::on_s3();
    let rule = Rule::s3_error(
        403,
        "InvalidObjectState",
        "not valid for the object's storage class",
    );
    world.proxy().add(rule.method("GET").target("vault.json"));
    let tablet = world.device("tablet");
    tablet
        .init(BUCKET)
        .run()
        .fails(16)
        .because("cold storage")
        .hints("restore-object");
    assert!(tablet.configuration().is_empty());
}

/// The rule of the guide that saves money and would cost the vault.
const LIFECYCLE: &str = "<LifecycleConfiguration><Rule><ID>hx-cost-optimization</ID><Filter><Prefix></Prefix></Filter>\
     <Status>Enabled</Status><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>\
     <Transition><Days>90</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>";

#[test]
fn what_a_server_cannot_do_is_named() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    for (method, words, what) in [
        ("PUT", "sync push", "writing objects (PUT)"),
        ("GET", "sync pull", "listing objects (ListObjectsV2)"),
    ] {
        let refused = s3_error(501, "NotImplemented", "that header is not implemented");
        world.proxy().add(answers(refused).method(method));
        laptop
            .hx(words)
            .run()
            .fails(1)
            .because(&format!(
                "the server does not support {what} (501 Not Implemented)"
            ))
            .because("that header is not implemented")
            .hints("the endpoint in the store URL")
            .hints("PUT, GET, LIST and DELETE");
        world.proxy().clear();
    }
    laptop.hx("sync push").run().ok();
}

#[test]
fn diagnose_warns_of_a_lifecycle_rule() {
    let moto = Moto::start();
    let world = World::empty();
    let laptop = world.laptop();
    let at_moto = |words: &str| laptop.hx(words).env("AWS_ENDPOINT_URL", moto.endpoint());
    laptop
        .init(BUCKET)
        .env("AWS_ENDPOINT_URL", moto.endpoint())
        .run()
        .ok();
    at_moto("sync diagnose")
        .run()
        .ok()
        .shows("none moves the vault into cold storage");
    let answer = moto
        .ask("PUT", "/bucket?lifecycle", LIFECYCLE)
        .expect("moto answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    at_moto("sync diagnose")
        .run()
        .shows("hx-cost-optimization")
        .shows("GLACIER")
        .shows("after 90 days")
        .shows("Exclude this prefix");
}

#[test]
fn switching_to_a_store_that_cannot_be_used_keeps_the_old_one() {
    let world = World::on_folder();
    let laptop = world.laptop();
    let before = laptop.configuration();
    laptop
        .init("folder:/proc/not-a-place")
        .run()
        .code
        .expect("an exit code");
    assert_eq!(laptop.configuration(), before);
    laptop.hx("sync push").run().ok();
    laptop.init(FOLDER).run().ok();
    assert_eq!(laptop.configuration(), before);
}
