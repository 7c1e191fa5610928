//! The session of two devices on Garage, which overwrites where it was told to create. Only `cargo xtask test --garage` runs it.

#[path = "engine/desk.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod desk;
#[path = "world/replica.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod replica;
#[path = "servers/session.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod session;

use testkit::Garage;

#[test]
fn garage() {
    let server = Garage::start();
    for prefix in ["", "a prefix"] {
        let url = server.store_url("bucket", prefix);
        assert_eq!(desk::wait(session::session_at(&url)), session::expected());
    }
}
