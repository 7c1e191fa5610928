//! The guide's session on Garage, which overwrites where it was told to create. Only `cargo xtask test --garage` runs it.

#[path = "failures/call.rs"]
mod call;
#[path = "sync_session/session.rs"]
mod session;
#[path = "failures/world.rs"]
mod world;

use testkit::Garage;
use world::World;

#[test]
fn the_session_of_the_guide() {
    let garage = Garage::start();
    let world = World::without_bucket();
    session::whole_session(&world, &garage.store_url("bucket", "hx"));
    world.laptop().hx("sync test-permissions").run().ok();
    let found = world.laptop().hx("sync diagnose").run().ok();
    found.shows("not honest here");
}
