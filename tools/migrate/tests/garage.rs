//! A site that is moved to Garage and back. Only `cargo xtask test --garage` runs it.

#[path = "tool/world.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod world;

use testkit::Garage;
use testkit::garage::{ACCESS_KEY, SECRET_KEY};
use world::{Ended, Site, removal};

/// The program with Garage in place of the site's own server.
fn run(site: &Site, garage: &Garage, arguments: &[&str]) -> Ended {
    let mut command = site.command(arguments);
    command
        .env("S3_BUCKET_NAME", "bucket")
        .env("S3_ENDPOINT_URL", garage.endpoint())
        .env("S3_ACCESS_KEY_ID", ACCESS_KEY)
        .env("S3_SECRET_ACCESS_KEY", SECRET_KEY);
    let ended = Ended::of(command, arguments);
    assert!(!ended.all().contains(SECRET_KEY), "a secret is shown");
    ended
}

#[test]
fn there_and_back() {
    let garage = Garage::start();
    let site = Site::with_followers(40);
    let before = site.moment();
    let run = |arguments: &[&str]| run(&site, &garage, arguments);
    run(&["--test-storage"]).assert_code(0);
    run(&[]).assert_code(0);
    assert_eq!(site.switched(), 40);
    for arguments in [&["--verify-state", "--full"][..], &["--audit-files"], &[]] {
        run(arguments).assert_code(0);
    }
    run(&removal(&site.latest())).assert_code(0);
    run(&["--verify-state", "--full"]).assert_code(0);
    run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
    run(&["--audit-files"]).assert_code(0);
    // The journal's copy in the bucket is enough.
    run(&[]).assert_code(0);
    for file in std::fs::read_dir(site.state()).expect("lists") {
        let path = file.expect("an entry").path();
        std::fs::remove_file(path).expect("removes");
    }
    run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["--same-database"]);
    run(&["--rollback", &site.latest(), "--same-database"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback without state files");
    run(&["--audit-files"]).assert_code(0);
}
