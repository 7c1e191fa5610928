//! Where files may be restored and removed, or read because a journal names them, and what else a cut run leaves: halves of files, and probes.

use std::fs;

use crate::world::{Ended, Site};

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
    let latest = site.latest();
    let name = place.file_name().expect("a name").to_string_lossy();
    site.delete_source(&latest, &[])
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

/// Objects bear the names of the files that they were made of.
fn is_in_bucket(site: &Site, place: &std::path::Path) -> bool {
    let stem = place.file_stem().expect("a name").to_string_lossy();
    let objects = site.moment().bucket;
    objects.names().any(|name| name.contains(&*stem))
}

#[test]
fn a_resumed_run_reads_elsewhere_only_what_a_row_names_too() {
    for is_named in [true, false] {
        let site = Site::new(4);
        let place = moved_elsewhere(&site);
        let mut command = site.command(&[]);
        // The plan is in the journal, and no object is there.
        command.env("MIGRATE_CRASH_AT", "2");
        let ended = Ended::of(command, &[]);
        assert_eq!(ended.code, None, "{}", ended.all());
        let journal = fs::read_to_string(&site.journals()[0]).expect("reads");
        assert!(journal.contains(&place.display().to_string()));
        if is_named {
            site.run(&["--resume"]).assert_code(0);
            assert!(is_in_bucket(&site, &place));
            assert_eq!(site.switched(), 4);
            continue;
        }
        site.sql(&format!(
            "DELETE FROM documents WHERE file_path = '{}'",
            place.display()
        ));
        let name = place.file_name().expect("a name").to_string_lossy();
        site.run(&["--resume"])
            .assert_code(3)
            .assert_says(&["outside", &name, "--path-map"]);
        assert!(!is_in_bucket(&site, &place), "nobody's file is copied");
        assert_eq!(site.switched(), 3);
    }
}

#[test]
fn a_link_that_leads_out_of_the_upload_path_is_not_followed_by_a_rollback() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    site.delete_source(&latest, &[]).assert_code(0);
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
fn a_link_that_leads_out_is_not_taken_for_the_file_that_was_copied() {
    let site = Site::new(3);
    site.run(&[]).assert_code(0);
    let objects = site.moment().bucket;
    let document = &site.fleet.documents[0];
    let elsewhere = site.folder().join("elsewhere");
    fs::rename(&document.file, &elsewhere).expect("moves");
    std::os::unix::fs::symlink(&elsewhere, &document.file).expect("links");
    let run = site.latest();
    let undo = ["--rollback", run.as_str()];
    site.run(&undo)
        .assert_code(3)
        .assert_says(&["outside", &document.id, "--follow-symlinks all"]);
    let key = document.key();
    assert_eq!(
        site.moment().bucket.get(&key),
        objects.get(&key),
        "it stays"
    );
    assert_eq!(site.switched(), 1);
    site.run(&[&undo[..], &["--follow-symlinks", "all"]].concat())
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

#[test]
fn probes_of_a_killed_process_are_cleared_by_the_next_run_and_by_a_rollback() {
    let site = Site::new(1);
    let folder = site
        .s3
        .root()
        .join(crate::world::BUCKET)
        .join(".syncline/probe/documents");
    let leave_one = || {
        fs::create_dir_all(&folder).expect("makes");
        fs::write(folder.join("0123456789abcdef"), b"a probe").expect("writes");
        assert_eq!(site.probes().len(), 1);
    };
    // Nothing is probed where objects are read back, nor where nothing is to be done.
    for arguments in [&["--verify", "readback"][..], &[], &["--rollback"]] {
        leave_one();
        site.run(arguments).assert_code(0);
        assert!(site.probes().is_empty(), "{arguments:?}");
    }
}

#[test]
fn of_a_link_inside_the_upload_directory_is_said_what_is_true() {
    let site = Site::new(3);
    let document = &site.fleet.documents[0];
    let real = site.fleet.uploads.join("temp");
    std::fs::create_dir_all(&real).expect("makes");
    let real = real.join("bytes");
    std::fs::rename(&document.file, &real).expect("moves");
    std::os::unix::fs::symlink("../temp/bytes", &document.file).expect("links");
    site.run(&[]).assert_code(0);
    let audit = site.run(&["--audit-files"]).assert_code(0);
    let audit = audit.assert_says(&[
        "migrated link (1)",
        "it is a link to ../temp/bytes",
        "agree",
    ]);
    assert!(!audit.out.contains("differs"), "{}", audit.all());
    let kept = site.delete_source(&site.latest(), &[]).assert_code(3);
    let kept = kept.assert_says(&["is a link to ../temp/bytes", "both were kept"]);
    assert!(!kept.out.contains("refers"), "{}", kept.all());
    assert!(document.file.is_symlink() && real.is_file());
    std::fs::write(&real, b"changed").expect("writes");
    site.run(&["--audit-files"]).assert_says(&[
        "migrated source differs (1)",
        "it is a link to ../temp/bytes; it has 7 bytes",
    ]);
}
