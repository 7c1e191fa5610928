//! A store that asks for fewer requests: tried again within limits, and only then a failure.

use testkit::Rule;

use crate::world::World;

#[test]
fn for_a_moment() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    world.proxy().add(Rule::slow_down().method("PUT").times(2));
    let run = laptop
        .hx("sync push --json")
        .env("HX_SYNC_MAX_RETRIES", "5")
        .run()
        .ok();
    let report = run.json();
    assert_eq!(report["records"], 1, "{run}");
    assert_eq!(report["usage"]["retries"], 2, "{run}");
    laptop
        .hx("sync status --verbose")
        .run()
        .ok()
        .shows("2 retries");
}

#[test]
fn for_good() {
    let world = World::on_s3();
    let laptop = world.laptop();
    laptop.types("make world");
    let before = laptop.history();
    world.proxy().add(Rule::slow_down().method("PUT"));
    laptop
        .hx("sync push")
        .env("HX_SYNC_MAX_RETRIES", "2")
        .run()
        .fails(14)
        .because("the store is throttling requests")
        .hints("concurrent uploads");
    assert_eq!(
        world.proxy().counts()["PUT"],
        3,
        "one request and two retries"
    );
    laptop
        .hx("sync push --json")
        .run()
        .fails_in_json(14, "throttled");
    assert_eq!(laptop.history(), before);
    assert_eq!(
        laptop.pending(),
        1,
        "what was not published is still pending"
    );
    world.proxy().clear();
    laptop.hx("sync push").run().ok();
    assert_eq!(laptop.pending(), 0);
}

#[test]
fn the_time_for_all_retries_is_limited() {
    let world = World::on_s3();
    world.proxy().add(Rule::slow_down());
    let run = world
        .laptop()
        .hx("sync pull")
        .env("HX_SYNC_MAX_RETRIES", "100")
        .env("HX_SYNC_TOTAL_TIMEOUT", "1s")
        .run();
    run.fails(14).because("throttling").within(15);
    assert!(world.proxy().requests().len() < 20, "the pauses grow");
}
