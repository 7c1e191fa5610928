//! From the bucket back to the disk, and to another bucket, with the same guarantees.

use testkit::readur::Snapshot;

use crate::world::{BUCKET, Site};

#[test]
fn from_the_bucket_to_the_disk_and_undone() {
    let site = Site::new(25);
    let start = site.moment();
    site.run(&[]).assert_code(0);
    let latest = site
        .state()
        .join("migration_state_LATEST.json")
        .display()
        .to_string();
    site.run(&[
        "--delete-source",
        "--state-file",
        &latest,
        "--older-than",
        "0s",
    ])
    .assert_code(0);
    let in_s3 = site.moment();
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    assert_eq!(site.switched(), 0);
    let names = |snapshot: &Snapshot| snapshot.names().map(str::to_owned).collect::<Vec<_>>();
    let back = site.moment();
    assert_eq!(
        names(&back.tree),
        names(&start.tree),
        "every file is where the application put it"
    );
    back.tables
        .assert_same(&start.tables, "every row is as the application wrote it");
    site.run(&["--rollback"]).assert_code(0);
    let undone = site.moment();
    in_s3
        .tables
        .assert_same(&undone.tables, "after the rollback: the rows");
    in_s3
        .tree
        .assert_same(&undone.tree, "after the rollback: the files");
    in_s3
        .bucket
        .assert_same(&undone.bucket, "after the rollback: the objects");
}

#[test]
fn from_bucket_to_bucket() {
    let site = Site::new(15);
    site.run(&[]).assert_code(0);
    let before = site.moment();
    site.s3.create_bucket("other");
    let target = site.s3.store_url("other", "");
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let other = Snapshot::bucket(site.s3.root(), "other");
    before
        .bucket
        .assert_same(&other, "every object is in the other bucket");
    before.assert_same(&site.moment(), "rows and objects stay as they were");
    site.run(&[&direction[..], &["--rollback"]].concat())
        .assert_code(0);
    assert!(
        Snapshot::bucket(site.s3.root(), "other").is_empty(),
        "the copies are gone again"
    );
    before.assert_same(&site.moment(), "after the rollback");
    assert_eq!(BUCKET, "docs");
}
