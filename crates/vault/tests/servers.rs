//! One session of two devices on real stores: memory, a folder, s3s-fs as a process of its own, and moto. They must all end the same.
//! Also a folder that is served by a sync tool.

#[path = "engine/desk.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod desk;
#[path = "world/replica.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod replica;
#[path = "servers/session.rs"]
mod session;
#[path = "servers/synced.rs"]
mod synced;

use testkit::{Moto, S3Process};

use desk::wait;
pub(crate) use session::open;
use session::{expected, session, session_at};

#[test]
fn memory() {
    let kept = wait(async {
        let store = open("memory:").await;
        session(store.clone(), store.clone(), store).await
    });
    assert_eq!(kept.expect("memory does not fail"), expected());
}

#[test]
fn a_folder() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let url = format!("folder:{}", scratch.path().join("vault").display());
    assert_eq!(wait(session_at(&url)), expected());
}

#[test]
fn an_s3_server_in_a_process_of_its_own() {
    let server = S3Process::start();
    assert_eq!(
        wait(session_at(&server.store_url("bucket", "a prefix"))),
        expected()
    );
}

#[test]
fn moto() {
    let server = Moto::start();
    assert_eq!(
        wait(session_at(&server.store_url("bucket", "team/ann"))),
        expected()
    );
}
