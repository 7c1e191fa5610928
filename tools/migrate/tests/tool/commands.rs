//! Each command once, on a site that is as it should be.

use std::fs;

use crate::world::{Ended, Site};

#[test]
fn there_and_back_leaves_everything_as_it_was() {
    let site = Site::new(40);
    let before = site.moment();
    let done = site
        .run(&["--enable-rollback"])
        .assert_code(0)
        .assert_says(&["Migrated", "Balance"]);
    assert!(
        !done.err.contains("a restart may empty"),
        "somebody has named the state directory: {}",
        done.err
    );
    site.run(&["--verify-state", "--full"])
        .assert_code(0)
        .assert_says(&["agree"]);
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["Rolled back"]);
    before.assert_same(&site.moment(), "after the rollback");
    site.run(&["--verify-state"])
        .assert_code(0)
        .assert_says(&["rolled back"]);
}

#[test]
fn a_dry_run_touches_nothing_and_needs_no_bucket() {
    let site = Site::with_traps(20);
    let before = site.moment();
    let report = site.run(&["--dry-run", "--json"]).assert_code(3).json();
    assert!(report["documents"].as_u64() > Some(20), "{report:#}");
    for name in [
        "missing",
        "truncated",
        "too_long",
        "already_there",
        "legacy_paths",
    ] {
        assert!(report[name].as_u64() > Some(0), "{name} {report:#}");
    }
    let mut command = site.command(&["--dry-run", "--no-s3"]);
    for name in [
        "S3_BUCKET_NAME",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "S3_ENDPOINT_URL",
    ] {
        command.env_remove(name);
    }
    Ended::of(command, &["--dry-run", "--no-s3"])
        .assert_code(3)
        .assert_says(&["was not asked", "requests", "time: under 1 s"]);
    before.assert_same(&site.moment(), "after a dry run");
    assert_eq!(
        std::fs::read_dir(site.state()).expect("lists").count(),
        0,
        "no state file is made"
    );
}

#[test]
fn an_audit_names_what_does_not_fit() {
    let site = Site::with_traps(10);
    let before = site.moment();
    let report = site.run(&["--audit-files", "--json"]).assert_code(3).json();
    for kind in [
        "row_without_file",
        "bent_path",
        "empty_path",
        "row_without_object",
        "size_differs",
        "hash_differs",
        "not_a_file",
        "symlink",
        "key_too_long",
        "legacy_path",
        "shared_file",
        "file_without_row",
    ] {
        assert!(
            report["counts"][kind].as_u64() > Some(0),
            "{kind} {:#}",
            report["counts"]
        );
    }
    before.assert_same(&site.moment(), "after an audit");
    let sound = Site::new(10);
    sound
        .run(&["--audit-files"])
        .assert_code(0)
        .assert_says(&["agree"]);
}

#[test]
fn the_storage_test_says_what_the_bucket_does() {
    let site = Site::new(1);
    // What a test has left that was killed the day before, and what one has just written.
    let tests = site
        .s3
        .root()
        .join(crate::world::BUCKET)
        .join(".syncline/storage-test");
    for (name, age) in [("1-1", 24 * 60 * 60), ("2-2", 0)] {
        let folder = tests.join(name);
        fs::create_dir_all(&folder).expect("makes a folder");
        let file = fs::File::create(folder.join("object")).expect("makes an object");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(then).expect("sets the time");
    }
    site.run(&["--test-storage"]).assert_code(0).assert_says(&[
        "put",
        "multipart",
        "checksum",
        "2 objects of this test",
        "0 failed",
    ]);
    assert!(!tests.join("1-1/object").exists(), "it is left over");
    assert!(tests.join("2-2/object").exists(), "it is in use");
    fs::remove_dir_all(&tests).expect("removes");
    site.run(&["--test-storage"]).assert_code(0);
    assert!(site.moment().bucket.is_empty(), "nothing is left");
}

#[test]
fn a_removal_that_is_only_tried_is_reported_and_changes_nothing() {
    let site = Site::new(6);
    site.run(&["--limit", "3"]).assert_code(0);
    let first = site.state_files("json").remove(0).display().to_string();
    site.run(&[]).assert_code(0);
    let before = site.moment();
    let state = testkit::readur::Snapshot::tree(&site.state());
    let file = site.folder().join("tried.json");
    let shown = file.display().to_string();
    let tried = [
        "--delete-source",
        "--dry-run",
        "--state-file",
        &first,
        "--older-than",
        "0s",
    ];
    let said = site
        .run(&[&tried[..], &["--report", &shown]].concat())
        .assert_code(0)
        .assert_says(&["would be removed", "Nothing was changed"]);
    let report = fs::read_to_string(&file).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["action"], "delete-source --dry-run");
    let n = report["this_time"]["sources_removed"].as_u64();
    assert!(n.is_some_and(|n| n >= 3), "{report:#}");
    let json = site.run(&[&tried[..], &["--json"]].concat()).json();
    assert_eq!(json["this_time"]["sources_removed"].as_u64(), n);
    assert_eq!(report["counts"]["sources_removed"], 0, "{}", said.all());
    before.assert_same(&site.moment(), "nothing was removed");
    let after = testkit::readur::Snapshot::tree(&site.state());
    state.assert_same(&after, "nor written down");
}

#[test]
fn sources_go_in_a_later_step_and_come_back() {
    let site = Site::new(25);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    let delete = ["--delete-source", "--state-file", &latest];
    site.run(&delete)
        .assert_code(0)
        .assert_says(&["Nothing was removed"]);
    assert_eq!(
        site.moment().tree.len(),
        before.tree.len(),
        "seven days have not passed"
    );
    site.run(&[&delete[..], &["--older-than", "0s"]].concat())
        .assert_code(0)
        .assert_says(&["Removed"]);
    let files = site.fleet.files();
    assert!(
        files.iter().all(|file| !file.exists()),
        "every file of the fleet is gone"
    );
    site.run(&["--verify-state", "--sample-size", "5"])
        .assert_code(0);
    site.run(&["--rollback", &latest]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn an_audit_names_a_migrated_file_that_was_changed_since() {
    for has_journal in [true, false] {
        let site = Site::new(6);
        site.run(&[]).assert_code(0);
        if !has_journal {
            std::fs::remove_dir_all(site.state()).expect("removes");
        }
        site.run(&["--audit-files"])
            .assert_code(0)
            .assert_says(&["agree", "waits for --delete-source"]);
        let noted = |one: &&testkit::readur::Document| {
            one.hash.is_some() && !one.mime.starts_with("image/")
        };
        let changed = site.fleet.documents.iter().find(noted).expect("a document");
        let mut bytes = fs::read(&changed.file).expect("reads");
        bytes[0] ^= 1;
        fs::write(&changed.file, bytes).expect("writes");
        let report = site.run(&["--audit-files", "--json"]).json();
        let findings = report["findings"].as_array().expect("a list").iter();
        let mut named = findings.filter(|one| one["kind"] == "migrated_source_differs");
        let path = changed.file.display().to_string();
        assert_eq!(named.next().map(|one| &one["path"]), Some(&path.into()));
        assert_eq!(named.next(), None, "{report:#}");
    }
}

#[test]
fn a_rollback_works_with_the_machine_gone() {
    let site = Site::new(15);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let run = site.journals()[0].display().to_string();
    std::fs::remove_dir_all(site.state()).expect("the state directory goes");
    site.run(&["--rollback", &run, "--same-database"])
        .assert_code(0)
        .assert_says(&["from the bucket"]);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn status_lists_tables_and_runs() {
    let site = Site::new(12);
    site.run(&["--status"])
        .assert_code(0)
        .assert_says(&["documents", "12", "No runs"]);
    site.run(&["--limit", "5"]).assert_code(0);
    let status = site.run(&["--status", "--json"]).assert_code(0).json();
    assert_eq!(status["runs"][0]["counts"]["committed"], 5, "{status:#}");
    assert_eq!(site.switched(), 5);
    site.run(&["--rollback-status"])
        .assert_code(0)
        .assert_says(&["--rollback "]);
}

#[test]
fn the_quickstart_does_everything_once() {
    let mut command = Site::program();
    command.args(["quickstart", "--documents", "200", "--json"]);
    let steps = Ended::of(command, &["quickstart"]).assert_code(0).json();
    let names: Vec<&str> = steps
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "sample",
            "dry run",
            "migrate",
            "resume",
            "verify",
            "delete source",
            "roll back",
            "compare"
        ]
    );
}

#[test]
fn progress_and_settings_are_shown_when_asked_for() {
    let site = Site::new(5);
    let ended = site.run(&["--verbose", "--progress"]).assert_code(0);
    ended.assert_says(&[
        "database: postgres://",
        "(environment DATABASE_URL)",
        "bucket: s3://docs",
        "stored documents/",
    ]);
}

#[test]
fn an_env_file_of_the_application_is_read() {
    let site = Site::new(3);
    let mut lines = String::from("# settings of the application\n");
    let mut command = Site::program();
    for (name, value) in site.command(&[]).get_envs() {
        let (name, value) = (
            name.to_string_lossy(),
            value.expect("a value").to_string_lossy(),
        );
        lines.push_str(&format!("{name}=\"{value}\"\n"));
    }
    std::fs::write(site.folder().join(".env"), lines).expect("writes");
    command.current_dir(site.folder());
    Ended::of(command, &[]).assert_code(0);
    assert_eq!(site.switched(), 3);
}

#[test]
fn one_users_documents_can_be_moved_alone() {
    let site = Site::new(30);
    let user = &site.fleet.users[0];
    let of_user: usize = site
        .sql(&format!(
            "SELECT count(*) FROM documents WHERE user_id = '{user}'"
        ))
        .parse()
        .expect("a number");
    site.run(&["--user-id", user]).assert_code(0);
    assert_eq!(site.switched(), of_user);
    let others = site.sql(&format!(
        "SELECT count(*) FROM documents WHERE user_id <> '{user}' AND file_path LIKE 's3://%'"
    ));
    assert_eq!(others, "0");
    site.run(&[]).assert_code(0);
    assert_eq!(site.switched(), 30);
}

#[test]
fn a_user_who_owns_nothing_is_said() {
    let site = Site::new(3);
    let nobody = "00000000-0000-4000-8000-00000000dead";
    for arguments in [
        &["--user-id", nobody][..],
        &["--dry-run", "--user-id", nobody],
    ] {
        site.run(arguments)
            .assert_code(2)
            .assert_says(&[nobody, "hint:", "--user-id"]);
    }
    site.run(&["--user-id", "tom"])
        .assert_code(2)
        .assert_says(&["is no id of a user", "hint:"]);
    assert_eq!(site.switched(), 0);
    assert!(site.journals().is_empty(), "no run was begun");
}

#[test]
fn a_report_that_could_not_be_written_is_refused_before_anything_is_done() {
    let site = Site::new(3);
    let file = site.folder().join("not-there/report.json");
    let file = file.display().to_string();
    let folder = site.folder().display().to_string();
    for place in [&file, &folder] {
        for arguments in [
            &["--report", place][..],
            &["--verify-state", "--report", place],
        ] {
            site.run(arguments).assert_says(&["report", "hint:"]);
        }
    }
    assert_eq!(site.switched(), 0);
    let good = site.folder().join("report.json").display().to_string();
    site.run(&["--dry-run", "--report", &good]).assert_code(0);
    assert!(
        std::fs::read_to_string(&good)
            .expect("reads")
            .contains("\"documents\"")
    );
    site.run(&["--report", &good]).assert_code(0);
    // With nothing to do it is as wrong as with something.
    let ended = site.run(&["--report", &file]);
    assert_ne!(ended.code, Some(0), "{}", ended.all());
    site.run(&["--verify-state", "--report", &good])
        .assert_code(0);
    assert!(
        std::fs::read_to_string(&good)
            .expect("reads")
            .contains("rows_checked")
    );
}

#[test]
fn an_audit_tells_migrated_files_from_files_without_rows() {
    let site = Site::new(6);
    // One lies where the application no longer puts files.
    let id = &site.fleet.documents[0].id;
    let old = site.sql(&format!(
        "SELECT file_path FROM documents WHERE id = '{id}'"
    ));
    let odd = site.fleet.uploads.join("an old name.pdf");
    std::fs::rename(&old, &odd).expect("renames");
    site.sql(&format!(
        "UPDATE documents SET file_path = '{}' WHERE id = '{id}'",
        odd.display()
    ));
    std::fs::write(site.fleet.uploads.join("stray.bin"), "nobody's").expect("writes");
    site.run(&[]).assert_code(0);
    let report = site.run(&["--audit-files", "--json"]).assert_code(0).json();
    let findings = report["findings"].as_array().expect("a list");
    let of_kind = |kind: &str| {
        findings
            .iter()
            .filter(|it| it["kind"] == kind)
            .map(|it| it["path"].as_str().expect("a path"))
            .collect::<Vec<_>>()
    };
    let strays = of_kind("file_without_row");
    assert_eq!(strays.len(), 1, "{strays:?}");
    assert!(strays[0].ends_with("stray.bin"));
    let migrated = of_kind("migrated_source");
    assert!(migrated.len() >= 6, "{migrated:?}");
    assert!(
        migrated
            .iter()
            .any(|path| path.ends_with("an old name.pdf"))
    );
    site.run(&["--audit-files"])
        .assert_code(0)
        .assert_says(&["migrated source", "--delete-source"]);
}
