//! Disks that may only be read or are full, and files that change under the reader's hands.
//!
//! What must hold: what cannot be written down is not begun; what cannot be restored keeps its row and its object; a file that
//! changed while it was read is never taken for what it is now.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use testkit::{Action, Gate, Rule};

use crate::failures::{behind_a_proxy, until};
use crate::mounts::{FULL, READ_ONLY, mounted};
use crate::world::{Ended, Site, removal};

/// Runs the program while a directory may only be read.
fn while_read_only(site: &Site, dir: &Path, arguments: &[&str]) -> Ended {
    mounted(site, READ_ONLY, dir, arguments)
}

#[test]
fn state_files_that_cannot_be_written_stop_everything_before_it_begins() {
    let site = Site::new(4);
    let before = site.moment();
    let ended = while_read_only(&site, &site.state(), &[]);
    ended
        .assert_code(17)
        .assert_says(&["hint:", "--state-dir", "nothing was done"]);
    before.assert_same(&site.moment(), "nothing was begun");
    site.run(&[]).assert_code(0);
    let done = site.moment();
    // Looking needs no writing.
    while_read_only(&site, &site.state(), &["--status"]).assert_code(0);
    while_read_only(&site, &site.state(), &["--verify-state", "--full"]).assert_code(0);
    let ended = while_read_only(&site, &site.state(), &["--rollback"]);
    ended.assert_code(17).assert_says(&["hint:"]);
    done.assert_same(&site.moment(), "nothing was undone");
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn files_that_cannot_be_restored_or_removed_keep_their_rows_and_objects() {
    let site = Site::new(5);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    let delete = removal(&latest);
    // The folders below are part of the same file system.
    let uploads = site.fleet.uploads.clone();
    let ended = while_read_only(&site, &uploads, &delete);
    ended.assert_code(17).assert_says(&["hint:"]);
    before
        .tree
        .assert_same(&site.moment().tree, "no file was removed");
    site.run(&delete).assert_code(0);
    let removed = site.moment();
    let folder = uploads.join("documents");
    let ended = while_read_only(&site, &folder, &["--rollback", &latest]);
    assert!(matches!(ended.code, Some(17 | 3)), "{}", ended.all());
    ended.assert_says(&["hint:", "disk"]);
    let after = site.moment();
    removed.tables.assert_same(&after.tables, "the rows");
    assert_eq!(site.switched(), 5);
    site.run(&["--verify-state", "--full"]).assert_code(0);
    site.run(&["--rollback", &latest]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_disk_that_fills_up_under_the_journal_stops_the_run_and_the_bucket_knows_the_rest() {
    let site = Site::new(60);
    let before = site.moment();
    // What is written there is gone with the mount, as with the machine.
    mounted(&site, FULL, &site.state(), &["--batch-size", "5"])
        .assert_code(17)
        .assert_says(&["hint:", "free some space"]);
    let switched = site.switched();
    assert!((1..60).contains(&switched), "half-way: {switched}");
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["from the bucket", "--same-database"]);
    let run = site.journals()[0].display().to_string();
    site.run(&["--rollback", &run, "--same-database"])
        .assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_file_that_finds_no_room_keeps_its_row_and_object() {
    // Only one: what else would be restored is gone with the mount.
    let site = Site::new(1);
    let id = &site.fleet.documents[0].id;
    let path = site.sql(&format!(
        "SELECT file_path FROM documents WHERE id = '{id}'"
    ));
    // Larger than the disk.
    let size = 1 << 20;
    fs::write(&path, vec![7; size]).expect("writes");
    site.sql(&format!(
        "UPDATE documents SET file_size = {size}, file_hash = NULL WHERE id = '{id}'"
    ));
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    site.delete_source(&latest, &[]).assert_code(0);
    let folder = site.fleet.uploads.join("documents");
    let removed = site.moment();
    mounted(&site, FULL, &folder, &["--rollback", &latest])
        .assert_code(17)
        .assert_says(&["hint:", "free some space"]);
    assert_eq!(site.switched(), 1);
    let object = site.sql(&format!(
        "SELECT substr(file_path, 6) FROM documents WHERE id = '{id}'"
    ));
    let object = site.s3.root().join(crate::world::BUCKET).join(object);
    assert_eq!(fs::read(object).expect("the object is there").len(), size);
    removed
        .tree
        .assert_same(&site.moment().tree, "nothing on the disk below");
    site.run(&["--rollback", &latest]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_copied_anew() {
    let (site, proxy) = behind_a_proxy(2);
    let id = &site.fleet.documents[0].id;
    let path = site.sql(&format!(
        "SELECT file_path FROM documents WHERE id = '{id}'"
    ));
    // Larger than all the parts that are read ahead.
    let size: u64 = 96 << 20;
    let file = fs::File::create(&path).expect("makes a file");
    file.set_len(size).expect("grows");
    site.sql(&format!(
        "UPDATE documents SET file_size = {size}, file_hash = NULL WHERE id = '{id}'"
    ));
    let gate = Gate::closed();
    proxy.add(
        Rule::new(Action::Hold(gate.clone()))
            .method("PUT")
            .target("partNumber="),
    );
    let mut command = site.command(&["--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    until("an upload in parts", || {
        let journals = site.journals();
        journals
            .iter()
            .any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("{\"upload\"")))
    });
    let last = b"changed while it was read";
    file.write_all_at(last, size - last.len() as u64)
        .expect("writes");
    gate.open();
    let output = child.wait_with_output().expect("the program ends");
    let report = Ended::from(output, &["(held)"]).assert_code(0).json();
    assert_eq!(report["this_time"]["left_out"], 1, "once: {report:#}");
    assert_eq!(site.switched(), 2);
    let key = site.sql(&format!(
        "SELECT substr(file_path, 6) FROM documents WHERE id = '{id}'"
    ));
    let object = site.s3.root().join(crate::world::BUCKET).join(key);
    assert!(
        fs::read(object).expect("reads") == fs::read(&path).expect("reads"),
        "the object is the file as it is now"
    );
}

#[test]
fn an_upload_directory_that_is_not_there_is_neither_made_nor_taken_for_an_empty_one() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let done = site.moment();
    let away = site.folder().join("not-mounted");
    fs::rename(&site.fleet.uploads, &away).expect("moves");
    let latest = site.latest();
    for arguments in [&["--rollback"][..], &removal(&latest)] {
        site.run(arguments)
            .assert_code(4)
            .assert_says(&["is no directory", "hint:"]);
        assert!(!site.fleet.uploads.exists(), "it was not made");
    }
    fs::rename(&away, &site.fleet.uploads).expect("moves back");
    done.assert_same(&site.moment(), "nothing was begun");
    site.run(&removal(&latest)).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}
