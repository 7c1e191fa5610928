//! Where files may be restored and removed, and the halves of files that a cut run leaves.

use std::fs;

use crate::world::Site;

/// An old path of the application's own, outside of the upload path.
fn moved_elsewhere(site: &Site) -> std::path::PathBuf {
    let elsewhere = site.folder().join("elsewhere");
    fs::create_dir(&elsewhere).expect("makes");
    let path = site.sql("SELECT file_path FROM documents ORDER BY id LIMIT 1");
    let name = std::path::Path::new(&path).file_name().expect("a name");
    let place = elsewhere.join(name);
    fs::rename(site.folder().join(&path), &place).expect("moves");
    site.sql(&format!(
        "UPDATE documents SET file_path = '{}' WHERE file_path = '{path}'",
        place.display()
    ));
    place
}

#[test]
fn a_file_outside_of_the_upload_path_is_restored_and_removed_only_where_that_is_named() {
    let site = Site::new(4);
    let place = moved_elsewhere(&site);
    let bytes = fs::read(&place).expect("reads");
    site.run(&[]).assert_code(0);
    assert_eq!(site.switched(), 4, "it is read from wherever it is");
    let latest = site.state().join("migration_state_LATEST.json");
    let latest = latest.display().to_string();
    let name = place.file_name().expect("a name").to_string_lossy();
    let delete = ["--delete-source", "--state-file", &latest];
    site.run(&[&delete[..], &["--older-than", "0s"]].concat())
        .assert_code(3)
        .assert_says(&["outside", &name, "--path-map"]);
    assert!(place.exists(), "what could not be restored is not removed");
    fs::remove_file(&place).expect("removes");
    site.run(&["--rollback", &latest])
        .assert_code(3)
        .assert_says(&["outside", &name, "--path-map"]);
    assert!(!place.exists(), "nothing is written there");
    assert_eq!(site.switched(), 1, "the others are back");
    let above = place.parent().expect("a directory").display().to_string();
    let map = format!("{above}={above}");
    site.run(&["--rollback", &latest, "--path-map", &map])
        .assert_code(0);
    assert_eq!(fs::read(&place).expect("it is back"), bytes);
    assert_eq!(site.switched(), 0);
}

#[test]
fn a_link_that_leads_out_of_the_upload_path_is_not_followed_by_a_rollback() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    let latest = site.state().join("migration_state_LATEST.json");
    let latest = latest.display().to_string();
    let delete = ["--delete-source", "--state-file", &latest];
    site.run(&[&delete[..], &["--older-than", "0s"]].concat())
        .assert_code(0);
    let elsewhere = site.folder().join("elsewhere");
    fs::create_dir(&elsewhere).expect("makes");
    fs::remove_dir_all(&site.fleet.uploads).expect("removes");
    fs::create_dir(&site.fleet.uploads).expect("makes");
    std::os::unix::fs::symlink(&elsewhere, site.fleet.uploads.join("documents")).expect("links");
    site.run(&["--rollback", &latest])
        .assert_code(3)
        .assert_says(&["outside", "--follow-symlinks all"]);
    let written = fs::read_dir(&elsewhere).expect("lists").count();
    assert_eq!(written, 0);
    site.run(&["--rollback", &latest, "--follow-symlinks", "all"])
        .assert_code(0);
    assert_eq!(site.switched(), 0);
}

#[test]
fn halves_of_files_are_cleared_by_the_next_run_and_by_a_rollback() {
    let site = Site::new(3);
    let half = site.fleet.uploads.join(".syncline-tmp-0123456789abcdef");
    let others = site.fleet.uploads.join(".syncline-tmp-note");
    fs::write(&others, b"of a person").expect("writes");
    for arguments in [&[][..], &["--rollback"]] {
        fs::write(&half, b"half").expect("writes");
        site.run(&["--dry-run"]).assert_code(0);
        assert!(half.exists(), "a dry run changes nothing");
        site.run(arguments).assert_code(0);
        assert!(!half.exists(), "{arguments:?}");
    }
    assert!(others.exists());
}
