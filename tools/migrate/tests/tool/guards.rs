//! What a command refuses before it begins, since something would be lost or nothing gained.
//!
//! What must hold: whoever types it is told what it is about and what to do; nothing is touched; what is meant in earnest can be said.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::readur::Snapshot;

use crate::mounts::mounted;
use crate::world::{BUCKET, Ended, Site};

/// An empty disk in a directory's place, as when its own is not mounted.
const EMPTY: &str = r#"mount -t tmpfs -o mode=777 tmpfs "$0""#;

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn objects(site: &Site) -> usize {
    let all = Snapshot::bucket(site.s3.root(), BUCKET);
    let all = all.without(|name| name.starts_with(".syncline/") || name.starts_with('('));
    all.names().count()
}

#[test]
fn a_report_takes_the_place_of_no_file_elsewhere_and_of_no_object() {
    let site = Site::new(2);
    let (old, store) = (site.folder().join("old"), site.folder().join("store"));
    for folder in [&old, &store] {
        fs::create_dir(folder).expect("makes");
        fs::write(folder.join("precious"), "precious").expect("writes");
    }
    let mapped = format!("/old/files={}", shown(&old));
    let folder = format!("folder:{}", shown(&store));
    for name in ["precious", "new.json"] {
        for arguments in [
            &["--path-map", &mapped, "--report", &shown(&old.join(name))][..],
            &["--store", &folder, "--report", &shown(&store.join(name))],
            &[
                "--direction",
                "s3-to-s3",
                "--target",
                &folder,
                "--report",
                &shown(&store.join(name)),
            ],
        ] {
            site.run(arguments)
                .assert_code(2)
                .assert_says(&["would take the place of", "nothing was done"]);
        }
    }
    for folder in [&old, &store] {
        let left = fs::read(folder.join("precious")).expect("reads");
        assert_eq!(left, b"precious");
        assert_eq!(fs::read_dir(folder).expect("lists").count(), 1);
    }
    let nowhere = shown(&site.folder().join("nowhere/report.json"));
    let below = shown(&old.join("precious/report.json"));
    for place in [&nowhere, &below] {
        for what in ["--dry-run", "--audit-files", "--rollback"] {
            site.run(&[what, "--report", place])
                .assert_code(4)
                .assert_says(&["report", "hint:"]);
        }
    }
    assert!(site.journals().is_empty(), "no run was begun");
}

#[test]
fn only_a_regular_file_is_a_state_file() {
    let site = Site::new(2);
    site.run(&[]).assert_code(0);
    let pipe = site.folder().join("migration_state_20260101_000000.json");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    for place in [
        "/dev/zero",
        "/dev/null",
        &shown(&pipe),
        &shown(site.folder()),
    ] {
        for arguments in [
            &["--rollback", place][..],
            &["--verify-state", "--state-file", place],
            &["--delete-source", "--state-file", place],
            &["--resume-from", place],
        ] {
            site.run(arguments)
                .assert_code(2)
                .assert_says(&["and no state file", "hint:"]);
        }
    }
    // A pipe in the place of a summary hides no journal.
    let journal = site.journals().remove(0);
    let summary = journal.with_extension("json");
    fs::remove_file(&summary).expect("removes");
    fs::rename(&pipe, &summary).expect("moves");
    site.run(&["--rollback", &shown(&journal)]).assert_code(0);
    assert_eq!(site.switched(), 0);
}

#[test]
fn a_path_that_leaves_the_upload_directory_is_named_and_never_read() {
    let site = Site::new(2);
    let secret = site.folder().join("secret.txt");
    fs::write(&secret, "of nobody's business").expect("writes");
    fs::create_dir(site.folder().join("old")).expect("makes");
    let written = [
        format!("{}/documents/../../secret.txt", site.fleet.shown),
        "state/../secret.txt".to_owned(),
        "./uploads/documents/../../secret.txt".to_owned(),
        "/old/files/../secret.txt".to_owned(),
    ];
    for (number, path) in written.iter().enumerate() {
        site.sql(&format!(
            "INSERT INTO documents (id, filename, original_filename, file_path, file_size, mime_type, user_id) \
             SELECT 'ffffffff-0000-4000-8000-00000000000{number}', 'x.txt', 'x.txt', '{path}', 20, 'text/plain', user_id FROM documents LIMIT 1"
        ));
    }
    let mapped = format!("/old/files={}", shown(&site.folder().join("old")));
    for links in ["inside", "all"] {
        let place = ["--path-map", &mapped, "--follow-symlinks", links];
        let audit = site
            .run(&[&["--audit-files", "--json"], &place[..]].concat())
            .assert_code(3)
            .json();
        assert_eq!(audit["counts"]["outside_path"], 4, "{audit:#}");
        for what in [&["--dry-run"][..], &[]] {
            let report = site
                .run(&[&["--json"], what, &place].concat())
                .assert_code(3)
                .json();
            let named = report["exceptions"].as_array().expect("a list").iter();
            let named = named.filter(|one| one["kind"] == "outside").count();
            assert_eq!(named, 4, "{report:#}");
        }
        assert_eq!(site.switched(), 2, "{links}");
        assert_eq!(objects(&site), site.fleet.files().len());
        let latest = site.latest();
        site.delete_source(&latest, &place).assert_code(0);
        site.run(&[&["--rollback"], &place[..]].concat())
            .assert_code(0);
        let left = fs::read_to_string(&secret).expect("reads");
        assert_eq!(left, "of nobody's business");
    }
}

#[test]
fn a_slash_at_the_end_of_the_upload_path_says_nothing() {
    let site = Site::new(2);
    let before = site.moment();
    let slash = format!("{}/", site.fleet.shown);
    site.run(&["--upload-path", &slash]).assert_code(0);
    site.run(&["--verify-state"]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    site.run(&[]).assert_code(0);
    site.run(&["--rollback", "--upload-path", &slash])
        .assert_code(0);
    before
        .tables
        .assert_same(&site.moment().tables, "after the rollbacks");
    site.run(&[]).assert_code(0);
    let home = ["--direction", "s3-to-local"];
    site.run(&[&home[..], &["--upload-path", &slash]].concat())
        .assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.switched(), 2);
}

#[test]
fn what_goes_with_a_migration_only_is_refused_elsewhere() {
    let site = Site::new(2);
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    for flag in [
        &["--resume"][..],
        &["--fresh-start"],
        &["--resume-from", &latest],
    ] {
        for what in ["--rollback", "--verify-state", "--audit-files"] {
            site.run(&[&[what], flag].concat())
                .assert_code(2)
                .assert_says(&["does not go with", "nothing was done"]);
        }
    }
    assert_eq!(site.switched(), 2);
}

#[test]
fn a_disk_that_is_not_mounted_is_not_taken_for_files_that_are_gone() {
    let site = Site::new(3);
    let before = site.moment();
    let uploads = site.fleet.uploads.clone();
    site.run(&[]).assert_code(0);
    let done = site.moment();
    let latest = site.latest();
    let removal = crate::world::removal(&latest);
    let forced = ["--force-rollback", "--state-file", &latest];
    for arguments in [&removal[..], &["--rollback"], &forced] {
        mounted(&site, EMPTY, &uploads, arguments)
            .assert_code(4)
            .assert_says(&["mounted", "did not remove", "--files-gone"]);
    }
    done.assert_same(&site.moment(), "nothing is touched");
    site.run(&removal).assert_code(0);
    let removed = site.moment();
    // That removes files only: where they were is there still.
    mounted(&site, EMPTY, &uploads, &["--rollback"])
        .assert_code(4)
        .assert_says(&["none of the directories", "--files-gone"]);
    removed.assert_same(&site.moment(), "nothing is touched");
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn who_says_that_all_files_are_gone_gets_them_back() {
    let site = Site::new(3);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    // A new disk.
    let kept = site.folder().join("kept");
    fs::rename(&site.fleet.uploads, &kept).expect("moves");
    fs::create_dir(&site.fleet.uploads).expect("makes");
    let refused = site.run(&["--rollback"]).assert_code(4);
    let line = refused
        .err
        .lines()
        .find(|line| line.trim().starts_with("migrate_to_s3 --rollback"));
    let line = line.expect("a command").to_owned();
    let typed: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(typed.last(), Some(&"--files-gone"), "{line}");
    site.run(&typed).assert_code(0);
    before
        .tables
        .assert_same(&site.moment().tables, "after the rollback");
    assert!(site.fleet.files().iter().all(|file| file.exists()));
    // One that is there says that it is the right disk.
    site.run(&[]).assert_code(0);
    let files = site.fleet.files();
    for file in &files[1..] {
        fs::remove_file(file).expect("removes");
    }
    site.run(&["--rollback"]).assert_code(0);
    assert!(files.iter().all(|file| file.exists()));
}

/// Runs the program on a machine of this number; the rest of it is this one.
fn on_machine(site: &Site, number: &str, arguments: &[&str]) -> Ended {
    let etc = site.folder().join(format!("etc-{number}"));
    fs::create_dir_all(&etc).expect("makes");
    let script = format!(
        r#"{{ cp -r /etc/. "$0" 2>/dev/null; rm -f "$0/machine-id"; echo {number} > "$0/machine-id"; }} && mount --bind "$0" /etc"#
    );
    mounted(site, &script, &etc, arguments)
}

#[test]
fn a_copy_of_the_machine_takes_no_object_before_a_person_has_said_so() {
    let site = Site::new(3);
    on_machine(&site, "aaaa0001", &[]).assert_code(0);
    let stored = objects(&site);
    // The copy has database, files and state directory.
    for _ in 0..2 {
        on_machine(&site, "aaaa0002", &["--rollback"])
            .assert_code(3)
            .assert_says(&[
                "3 documents stays in",
                "begun on another machine",
                "--same-database",
            ]);
        assert_eq!(site.switched(), 0, "the rows come back");
        assert_eq!(objects(&site), stored, "the objects stay");
    }
    on_machine(&site, "aaaa0001", &["--rollback"]).assert_code(0);
    assert_eq!(objects(&site), 0, "where it began they go");
    on_machine(&site, "aaaa0001", &[]).assert_code(0);
    let latest = site.latest();
    let said = ["--rollback", &latest, "--same-database"];
    on_machine(&site, "aaaa0002", &said).assert_code(0);
    assert_eq!(objects(&site), 0, "and where a person has said it");
}

#[test]
fn a_copy_of_the_machine_does_not_remove_what_a_run_copied_out_of_a_bucket() {
    let site = Site::new(2);
    site.run(&[]).assert_code(0);
    let stored = objects(&site);
    let home = ["--direction", "s3-to-local"];
    on_machine(&site, "aaaa0001", &home).assert_code(0);
    let latest = site.latest();
    let removal = crate::world::removal(&latest);
    on_machine(&site, "aaaa0002", &removal)
        .assert_code(15)
        .assert_says(&["begun on another machine", "--same-database"]);
    assert_eq!(objects(&site), stored);
    on_machine(&site, "aaaa0001", &removal).assert_code(0);
    assert_eq!(objects(&site), 0);
}

/// A site of which a run was undone but for one document, whose object and file are lost.
fn partly_undone(removes: bool) -> Site {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    let document = &site.fleet.documents[0];
    match removes {
        true => drop(site.delete_source(&latest, &[]).assert_code(0)),
        false => fs::remove_file(&document.file).expect("removes"),
    }
    let all = Snapshot::bucket(site.s3.root(), BUCKET);
    let is_its = |name: &&str| name.starts_with("documents/") && name.contains(&document.id);
    let lost = all.names().find(is_its).expect("an object");
    fs::remove_file(site.s3.root().join(BUCKET).join(lost)).expect("removes");
    for _ in 0..2 {
        site.run(&["--rollback"])
            .assert_code(3)
            .assert_says(&["neither the source nor its object"]);
    }
    assert_eq!(site.switched(), 1);
    site
}

#[test]
fn a_rollback_names_what_another_one_left_nowhere() {
    for removes in [true, false] {
        let site = partly_undone(removes);
        site.run(&["--fresh-start"]).assert_code(3);
        let id = site.fleet.documents[0].id.clone();
        site.run(&["--rollback"]).assert_code(3).assert_says(&[
            "object missing",
            &id,
            "partly rolled back",
        ]);
        assert_eq!(site.switched(), 1);
    }
}
