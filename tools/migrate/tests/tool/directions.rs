//! From the bucket back to the disk, and to another bucket, with the same guarantees.

use std::process::Command;

use testkit::readur::Snapshot;
use testkit::s3::{ACCESS_KEY, SECRET_KEY};

use crate::world::{BUCKET, Ended, Site};

/// A site that is migrated, and the URL of another bucket.
pub fn beside_another(documents: usize) -> (Site, String) {
    let site = Site::new(documents);
    site.run(&[]).assert_code(0);
    site.s3.create_bucket("other");
    let target = site.s3.store_url("other", "");
    (site, target)
}

#[test]
fn from_the_bucket_to_the_disk_and_undone() {
    let site = Site::new(25);
    let start = site.moment();
    site.run(&[]).assert_code(0);
    site.delete_source(&site.latest(), &[]).assert_code(0);
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
fn a_container_s_rows_come_back_as_the_container_has_them() {
    let site = Site::shown_as(8, "/app/uploads");
    let start = site.moment();
    let host = site.fleet.uploads.display().to_string();
    let map = format!("/app/uploads={host}");
    let known = ["--path-map", &map];
    // As the rows have it, and as this machine has it.
    for upload in ["/app/uploads", &host] {
        let known = [&known[..], &["--upload-path", upload]].concat();
        let run = |more: &[&str]| site.run(&[&known[..], more].concat());
        run(&["--fresh-start"]).assert_code(0);
        site.delete_source(&site.latest(), &known).assert_code(0);
        let in_s3 = site.moment();
        run(&["--direction", "s3-to-local"]).assert_code(0);
        let back = site.moment();
        start.tables.assert_same(&back.tables, upload);
        let names = |snapshot: &Snapshot| snapshot.names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&back.tree), names(&start.tree), "{upload}");
        run(&["--rollback"]).assert_code(0);
        in_s3.tables.assert_same(&site.moment().tables, upload);
        run(&["--rollback"]).assert_code(0);
        start.assert_same(&site.moment(), upload);
    }
    run_refused(
        &site,
        &["--upload-path", &host, "--path-map", "/srv/other=/nowhere"],
    );
    let folder = site.folder().join("another");
    std::fs::create_dir(&folder).expect("makes");
    let target = format!("folder:{}", folder.display());
    run_refused(&site, &["--path-map", &map, "--target", &target]);
}

/// Rows that would lead nowhere are not written.
fn run_refused(site: &Site, flags: &[&str]) {
    for what in [&["--dry-run"][..], &[]] {
        let arguments = [&["--direction", "s3-to-local"], flags, what].concat();
        site.run(&arguments)
            .assert_code(2)
            .assert_says(&["--path-map", "hint:"]);
    }
}

#[test]
fn a_damaged_picture_is_known_by_the_journal_that_brought_it() {
    for is_here in [true, false] {
        let site = Site::with_followers(12);
        site.run(&[]).assert_code(0);
        site.delete_source(&site.latest(), &[]).assert_code(0);
        let with_thumbnail = site
            .fleet
            .documents
            .iter()
            .find(|one| one.thumbnail.is_some());
        let with_thumbnail = &with_thumbnail.expect("one has a thumbnail").id;
        let objects = site.moment().bucket;
        let image = format!("{}.png", site.fleet.documents[0].id);
        let thumbnail = format!("{with_thumbnail}_thumb.jpg");
        for name in [&image, &thumbnail] {
            let key = objects.names().find(|key| key.ends_with(name.as_str()));
            let path = site.s3.root().join(BUCKET).join(key.expect("it was moved"));
            let mut bytes = std::fs::read(&path).expect("reads");
            bytes[0] ^= 1;
            std::fs::write(&path, bytes).expect("writes");
        }
        if !is_here {
            std::fs::remove_dir_all(site.state()).expect("removes");
        }
        let ended = site
            .run(&["--direction", "s3-to-local", "--json"])
            .assert_code(3);
        let exceptions = ended.json()["exceptions"].clone();
        let damaged = |key: &str| {
            let list = exceptions.as_array().expect("a list").iter();
            let mut of = list.filter(|one| one["kind"] == "wrong_digest");
            of.any(|one| {
                one["source"]
                    .as_str()
                    .is_some_and(|source| source.ends_with(key))
            })
        };
        assert!(damaged(&image) && damaged(&thumbnail), "{exceptions:#}");
        let tree = site.moment().tree;
        let is_there = |name: &str| tree.names().any(|file| file.ends_with(name));
        assert!(!is_there(&image) && !is_there(&thumbnail), "not switched");
        let left =
            "SELECT count(*) FROM processed_images WHERE processed_image_path LIKE 's3://%.png'";
        assert_ne!(site.sql(left), "0");
        assert_eq!(site.switched(), 0, "the documents are whole");
    }
}

#[test]
fn a_dry_run_counts_what_the_run_stores_in_every_direction() {
    for direction in ["local-to-s3", "s3-to-s3", "s3-to-local"] {
        let site = Site::with_followers(8);
        if direction != "local-to-s3" {
            site.run(&[]).assert_code(0);
            site.delete_source(&site.latest(), &[]).assert_code(0);
        }
        site.s3.create_bucket("other");
        let target = site.s3.store_url("other", "");
        let mut run = vec!["--direction", direction, "--json"];
        if direction == "s3-to-s3" {
            run.extend(["--target", &target]);
        }
        let before = site.moment();
        let tried = site.run(&[&run[..], &["--dry-run"]].concat());
        let tried = tried.assert_code(0).json();
        before.assert_same(&site.moment(), "after a dry run");
        let done = site.run(&run).assert_code(0).json();
        assert_eq!(
            tried["documents"], done["this_time"]["committed"],
            "{direction}"
        );
        assert_eq!(tried["objects"], done["this_time"]["stored"], "{direction}");
        assert_eq!(tried["bytes"], done["this_time"]["bytes"], "{direction}");
    }
}

#[test]
fn from_bucket_to_bucket() {
    let (site, target) = beside_another(15);
    let before = site.moment();
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let other = Snapshot::bucket(site.s3.root(), "other");
    before
        .bucket
        .assert_same(&other, "every object is in the other bucket");
    before.assert_same(&site.moment(), "rows and objects stay as they were");
    // Nothing says whether the application reads the other bucket by now.
    let undone = site
        .run(&[&direction[..], &["--rollback"]].concat())
        .assert_code(0)
        .assert_says(&["copies of 15 documents stay", "--remove-copies"]);
    let kept = Snapshot::bucket(site.s3.root(), "other");
    other.assert_same(&kept, "the copies are kept");
    before.assert_same(&site.moment(), "after the rollback");
    // An object that the application has written anew there stays; those that are copies still go.
    let anew = kept.names().next().expect("a copy").to_owned();
    std::fs::write(site.s3.root().join("other").join(&anew), b"anew").expect("writes");
    let name = anew.rsplit('/').next().expect("a name");
    let stem = name.split(['.', '_']).next().expect("a stem");
    pasted_with(&site, &undone, "--remove-copies")
        .assert_code(3)
        .assert_says(&["object kept", stem]);
    let left = Snapshot::bucket(site.s3.root(), "other");
    assert_eq!(left.names().collect::<Vec<_>>(), [anew]);
    before.assert_same(&site.moment(), "after the copies are gone");
    assert_eq!(BUCKET, "docs");
}

#[test]
fn a_run_between_buckets_is_undone_with_the_machine_gone() {
    for is_named in [true, false] {
        let (site, target) = beside_another(5);
        let known = ["--target", target.as_str()];
        let done = site
            .run(&[&["--direction", "s3-to-s3"], &known[..]].concat())
            .assert_code(0);
        assert!(!done.out.contains("whose row"), "{}", done.all());
        let name = site.journals()[1].display().to_string();
        std::fs::remove_dir_all(site.state()).expect("removes");
        let mut undo = vec!["--remove-copies", "--rollback"];
        if is_named {
            undo.push(&name);
        }
        site.run(&[&known[..], &undo].concat())
            .assert_code(0)
            .assert_says(&[
                "from the bucket",
                "Rolled back 5 documents",
                "--audit-files",
            ]);
        let left = Snapshot::bucket(site.s3.root(), "other");
        assert!(left.is_empty());
        assert_eq!(site.switched(), 5);
    }
}

#[test]
fn copies_are_removed_between_buckets_only() {
    let site = Site::new(2);
    site.run(&["--remove-copies"])
        .assert_code(2)
        .assert_says(&["--remove-copies", "hint:"]);
    site.run(&[]).assert_code(0);
    site.run(&["--rollback", "--remove-copies"])
        .assert_code(2)
        .assert_says(&["--remove-copies", "hint:"]);
    assert_eq!(site.switched(), 2);
}

#[test]
fn a_file_that_was_written_since_is_not_removed_with_the_run_that_made_it() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    site.delete_source(&latest, &[]).assert_code(0);
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    let path = site.sql("SELECT file_path FROM documents ORDER BY id LIMIT 1");
    std::fs::write(&path, b"written by the application since").expect("writes");
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["object kept"]);
    let found = std::fs::read(&path).expect("it is there");
    assert_eq!(found, b"written by the application since");
    assert_eq!(site.switched(), 4, "all rows are back");
}

/// Runs the command that was printed, as a person would paste it.
fn pasted(site: &Site, ended: &Ended) -> Ended {
    pasted_with(site, ended, "")
}

/// Runs the first of the commands that were printed which has a flag.
fn pasted_with(site: &Site, ended: &Ended, flag: &str) -> Ended {
    let next = ended
        .out
        .lines()
        .chain(ended.err.lines())
        .filter(|line| line.contains(flag))
        .find_map(|line| line.split_once("migrate_to_s3 ").map(|(_, rest)| rest))
        .unwrap_or_else(|| panic!("no next command in {}", ended.all()));
    let program = site.command(&[]);
    let mut shell = Command::new("sh");
    shell.env_clear().current_dir(site.folder());
    for (name, value) in program.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    // Keys that were typed in a URL are never printed.
    shell.env("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    shell.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    shell.args(["-c", &format!("{} {next}", program.get_program().display())]);
    Ended::of(shell, &[next])
}

#[test]
fn the_next_command_that_is_printed_works_between_buckets() {
    let (site, target) = beside_another(15);
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    let arguments = [&direction[..], &["--batch-size", "3"]].concat();
    let mut cut = site.command(&arguments);
    cut.env("MIGRATE_CRASH_AT", "30");
    assert_eq!(Ended::of(cut, &arguments).code, None, "it is cut off");
    let summary = site.journals()[1].with_extension("json");
    let text = std::fs::read_to_string(summary).expect("reads");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let stopped = Ended {
        code: None,
        out: summary["next"].as_str().expect("a command").to_owned(),
        err: String::new(),
        line: String::new(),
    };
    let done = pasted(&site, &stopped)
        .assert_code(0)
        .assert_says(&["Migrated"]);
    pasted(&site, &done).assert_code(0).assert_says(&["agree"]);
    let undo = site.run(&["--rollback-status"]);
    let undone = pasted(&site, &undo)
        .assert_code(0)
        .assert_says(&["Rolled back", "--remove-copies"]);
    pasted_with(&site, &undone, "--remove-copies").assert_code(0);
    assert!(Snapshot::bucket(site.s3.root(), "other").is_empty());
}

#[test]
fn after_an_interruption_the_commands_that_are_printed_work_in_every_direction() {
    for direction in ["local-to-s3", "s3-to-local", "s3-to-s3"] {
        let site = Site::new(12);
        if direction != "local-to-s3" {
            site.run(&[]).assert_code(0);
        }
        site.s3.create_bucket("other");
        let target = site.s3.store_url("other", "");
        // A shell would take it for two words.
        let state = site.folder().join("state of it").display().to_string();
        let mut arguments = vec!["--state-dir", &state, "--direction", direction];
        if direction == "s3-to-s3" {
            arguments.extend(["--target", &target]);
        }
        let before = site.moment();
        let cut = |more: &[&str], at: &str| {
            let arguments = [&arguments[..], more].concat();
            let mut command = site.command(&arguments);
            command.env("MIGRATE_CRASH_AT", at);
            let ended = Ended::of(command, &arguments);
            assert_eq!(ended.code, None, "it is cut off: {}", ended.all());
        };
        cut(&["--batch-size", "2"], "20");
        let undecided = site.run(&arguments).assert_code(2);
        pasted(&site, &undecided)
            .assert_code(0)
            .assert_says(&["Migrated"]);
        cut(&["--rollback"], "3");
        let undecided = site.run(&arguments).assert_code(15);
        pasted(&site, &undecided)
            .assert_code(0)
            .assert_says(&["Rolled back"]);
        let after = site.moment();
        before.tables.assert_same(&after.tables, direction);
        let has_copies = !Snapshot::bucket(site.s3.root(), "other").is_empty();
        assert_eq!(has_copies, direction == "s3-to-s3", "copies stay unasked");
    }
}

#[test]
fn after_a_failure_the_commands_that_are_printed_work_between_buckets() {
    let mut site = Site::new(6);
    site.run(&[]).assert_code(0);
    site.s3.create_bucket("other");
    let proxy = testkit::ScriptedProxy::in_front_of(site.s3.address());
    site.through(proxy.endpoint());
    let target = proxy.store_url("other", "");
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let fails = || {
        let rule =
            testkit::Rule::s3_error(500, "InternalError", "We encountered an internal error");
        proxy.add(rule.target("/other/documents/"));
    };
    let known = ["--target", target.as_str(), "--max-retries", "0"];
    let summary = site.journals()[1].with_extension("json");
    let summary = summary.display().to_string();
    let delete = [
        "--delete-source",
        "--state-file",
        &summary,
        "--older-than",
        "0s",
        "--application-moved",
    ];
    let verify = ["--verify-state", "--full"];
    for what in [
        &verify[..],
        &delete,
        &["--remove-copies", "--rollback", &summary],
    ] {
        fails();
        let failed = site.run(&[&known[..], what].concat()).assert_code(14);
        proxy.clear();
        pasted(&site, &failed).assert_code(0);
    }
    assert!(Snapshot::bucket(site.s3.root(), "other").is_empty());
}

#[test]
fn the_old_buckets_objects_go_once_the_application_has_moved() {
    let (site, target) = beside_another(6);
    let before = site.moment();
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let latest = site.latest();
    let delete = [
        "--target",
        &target,
        "--delete-source",
        "--state-file",
        &latest,
        "--older-than",
        "0s",
    ];
    site.run(&delete)
        .assert_code(2)
        .assert_says(&["--application-moved", "hint:"]);
    before.assert_same(&site.moment(), "nothing was removed");
    site.run(&[&delete[..], &["--application-moved"]].concat())
        .assert_code(0)
        .assert_says(&["Removed", "objects in"]);
    assert!(site.moment().bucket.is_empty(), "the old objects are gone");
    site.run(&["--target", &target, "--rollback", &latest])
        .assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_bucket_that_is_its_own_target_loses_nothing() {
    let mut site = Site::new(6);
    site.run(&[]).assert_code(0);
    site.s3.create_bucket("other");
    let to_other = site.s3.store_url("other", "");
    site.run(&["--direction", "s3-to-s3", "--target", &to_other])
        .assert_code(0);
    let latest = site.latest();
    let before = site.moment();
    let n_journals = site.journals().len();
    let target = site.s3.store_url("docs", "");
    // The same bucket under the same name, and under another: a proxy's.
    let proxy = testkit::ScriptedProxy::in_front_of(site.s3.address());
    for through in [None, Some(proxy.endpoint())] {
        if let Some(endpoint) = through {
            site.through(endpoint);
        }
        let run = ["--direction", "s3-to-s3", "--target", target.as_str()];
        site.run(&[&run[..], &["--fresh-start"]].concat())
            .assert_code(2)
            .assert_says(&["own bucket", "hint:"]);
        before.assert_same(&site.moment(), "every object is there");
        assert_eq!(site.journals().len(), n_journals, "no run was begun");
    }
    // What was another bucket has become the application's own.
    let site = {
        let other = site.s3.root().join("other");
        std::fs::remove_dir_all(&other).expect("removes");
        std::os::unix::fs::symlink("docs", &other).expect("links");
        site.through(site.s3.endpoint());
        site
    };
    let delete = [
        "--delete-source",
        "--older-than",
        "0s",
        "--application-moved",
    ];
    for what in [&delete[..], &["--force-rollback", "--remove-copies"]] {
        let of = ["--state-file", &latest, "--target", &to_other];
        site.run(&[what, &of].concat())
            .assert_code(2)
            .assert_says(&["own bucket", "hint:"]);
        before.assert_same(&site.moment(), "every object is there");
    }
}

#[test]
fn another_prefix_of_the_same_bucket_is_another_place() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    let before = site.moment();
    let target = site.s3.store_url(BUCKET, "copies");
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let is_journal = |name: &str| name.starts_with("copies/.syncline/");
    let after = site.moment().bucket.without(is_journal);
    let copies = after.names().filter(|name| name.starts_with("copies/"));
    assert_eq!(copies.count(), before.bucket.len());
    let undone = site.run(&[&direction[..], &["--rollback", "--remove-copies"]].concat());
    undone.assert_code(0);
    let mut after = site.moment();
    after.bucket = after.bucket.without(is_journal);
    before.assert_same(&after, "after the rollback");
}
