//! A mirror in Garage, from the first run to a prune. Only `cargo xtask test --garage` runs it.

#[path = "mirror/program.rs"]
mod program;
#[path = "mirror/world.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod world;

use testkit::Garage;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_grows_goes_back_and_is_pruned() {
    let garage = Garage::start();
    let url = garage.store_url("bucket", "mirror");
    let world = World::new().await;
    let run = async |arguments: &[&str]| {
        let mut command = match arguments.split_first() {
            Some((&"sync", rest)) => program::sync(&world, rest),
            _ => program::program(&world),
        };
        if arguments[0] != "sync" {
            command.args(arguments);
        }
        command.env("HOMEBREW_SYNC_STORE", &url);
        let (code, out, err) = program::run(command).await;
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    run(&["test-permissions"]).await;
    run(&["sync", "--formula", "jq"]).await;
    let again = run(&["sync", "--json"]).await;
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["nothing_new"], true);
    run(&["sync", "--formula", "wget"]).await;
    run(&["scrub"]).await;
    run(&["rollback"]).await;
    run(&["sync", "--check"]).await;
    run(&["prune", "--keep", "1", "--grace", "0s"]).await;
    run(&["scrub"]).await;
    run(&["sync", "--rebuild-hash"]).await;
}
