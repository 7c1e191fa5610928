//! Which run a rollback without a name takes, and what it says while something is kept.
//!
//! What must hold: it is the newest that has something to undo, wherever its journal is; none is passed over in silence, and code 0 says that nothing
//! is left.

use std::fs;

use crate::bent::{DOCUMENTS, bend};
use crate::world::{BUCKET, Site};

/// What a person types who has lost the state directory.
fn forget(site: &Site) {
    fs::remove_dir_all(site.state()).expect("removes");
    fs::create_dir(site.state()).expect("makes");
}

#[test]
fn an_object_that_is_kept_is_named_as_long_as_it_is_there() {
    let site = Site::new(3);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let document = &site.fleet.documents[0];
    let key = document.key();
    let object = site.s3.root().join(BUCKET).join(&key);
    let mut bytes = fs::read(&object).expect("reads");
    bytes.push(b'x');
    fs::write(&object, bytes).expect("writes");
    for _ in 0..3 {
        site.run(&["--rollback"])
            .assert_code(3)
            .assert_says(&["object kept", &document.id]);
    }
    assert!(object.exists());
    let audit = site.run(&["--audit-files", "--json"]).json();
    let findings = audit["findings"].as_array().expect("a list").iter();
    let named = findings.filter(|one| one["kind"] == "object_without_row");
    let named: Vec<&str> = named.filter_map(|one| one["path"].as_str()).collect();
    assert_eq!(named, [key.as_str()], "{audit:#}");
    fs::remove_file(&object).expect("removes");
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after it was removed by hand");
}

#[test]
fn every_run_is_found_and_named_with_the_state_directory_gone() {
    let site = Site::new(8);
    site.run(&["--limit", "3"]).assert_code(0);
    site.run(&[]).assert_code(0);
    forget(&site);
    // Their objects wait for a word: the state directory that knew whose they are is gone.
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["Rolled back 5 documents", "is not undone (3 documents)"]);
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["from the bucket", "Rolled back 3 documents"]);
    assert_eq!(site.switched(), 0);
    let last = site.run(&["--rollback"]).assert_code(3);
    assert!(!last.err.contains("is not undone"), "{}", last.all());
}

#[test]
fn a_journal_that_was_fetched_by_name_hides_no_newer_one() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let oldest = site.journals()[0].display().to_string();
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    let newer = site.journals()[1].display().to_string();
    forget(&site);
    site.run(&["--rollback", &oldest])
        .assert_code(15)
        .assert_says(&["has moved the same rows since"]);
    for left in [4, 0] {
        site.run(&["--rollback"]).assert_code(3);
        assert_eq!(site.switched(), left);
    }
    site.run(&["--rollback", &newer, "--same-database"])
        .assert_code(0);
    site.run(&["--rollback", &oldest, "--same-database"])
        .assert_code(0);
    before.assert_same(&site.moment(), "after both");
}

#[test]
fn a_run_that_could_move_nothing_is_not_taken_for_the_one_that_explains_the_rows() {
    for more in [&[][..], &["--max-failures", "1"]] {
        let site = Site::new(4);
        let before = site.moment();
        site.run(&[]).assert_code(0);
        let first = site.journals()[0].with_extension("json");
        let first = first.display().to_string();
        bend(&site, &DOCUMENTS, "s3://", "/srv/elsewhere/");
        site.run(&["--rollback"]).assert_code(3);
        // With its file there a row is moved anew, wherever it says that is.
        let aside = site.fleet.uploads.with_extension("aside");
        fs::rename(&site.fleet.uploads, &aside).expect("moves");
        fs::create_dir(&site.fleet.uploads).expect("makes");
        site.run(&[&["--fresh-start"], more].concat())
            .assert_code(3);
        bend(&site, &DOCUMENTS, "/srv/elsewhere/", "s3://");
        fs::remove_dir_all(&site.fleet.uploads).expect("removes");
        fs::rename(&aside, &site.fleet.uploads).expect("moves");
        // By name the empty one is undone, and says what the rows wait for.
        let empty = site.journals()[1].display().to_string();
        site.run(&["--rollback", &empty])
            .assert_code(3)
            .assert_says(&["roll that run back again", &first]);
        site.run(&["--rollback"])
            .assert_code(0)
            .assert_says(&["Rolled back 4 documents"]);
        before.assert_same(&site.moment(), "after the rollback");
    }
}
