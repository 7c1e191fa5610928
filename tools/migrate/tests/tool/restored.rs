//! A database that is restored from an older dump after a run was rolled back, and rows that a rollback left alone.
//!
//! What must hold: a row that names a removed object comes back as long as its file is there as it was copied; what cannot come back is named, with a
//! command that leads further, each time until it is settled.

use std::fs;

use crate::world::{Ended, Site};

/// Moves the file of a document to where no path is made of its id.
fn file_elsewhere(site: &Site, number: usize) {
    let document = &site.fleet.documents[number];
    let place = document.file.with_file_name("of-another-name.pdf");
    fs::rename(&document.file, &place).expect("renames");
    set_path(site, &document.id, &place.display().to_string());
}

fn set_path(site: &Site, id: &str, path: &str) {
    site.sql(&format!(
        "UPDATE documents SET file_path = '{path}' WHERE id = '{id}'"
    ));
}

fn path_of(site: &Site, id: &str) -> String {
    site.sql(&format!(
        "SELECT file_path FROM documents WHERE id = '{id}'"
    ))
}

/// What a dump would have of the rows' paths.
fn dump(site: &Site) {
    site.sql(
        "DROP TABLE IF EXISTS dumped; CREATE TABLE dumped AS SELECT id, file_path FROM documents",
    );
}

fn restore(site: &Site) {
    site.sql(
        "UPDATE documents SET file_path = dumped.file_path FROM dumped WHERE dumped.id = documents.id",
    );
}

fn run_name(journal: &std::path::Path) -> String {
    let name = journal.file_name().expect("a name").to_string_lossy();
    name.replace(".journal", ".json")
}

#[track_caller]
fn assert_silent(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(!ended.all().contains(word), "{word}: {}", ended.all());
    }
}

#[test]
fn rows_of_a_dump_between_a_run_and_its_rollback_come_back() {
    let site = Site::new(6);
    file_elsewhere(&site, 2);
    let before = site.moment();
    site.run(&["--enable-rollback"]).assert_code(0);
    dump(&site);
    site.run(&["--rollback"]).assert_code(0);
    restore(&site);
    assert_eq!(site.switched(), 6);
    let said = site
        .run(&["--verify-state"])
        .assert_code(3)
        .assert_says(&["roll this run back again"]);
    assert_silent(&said, &["no journal known", "file is gone"]);
    let said = site.run(&["--audit-files"]).assert_code(3).assert_says(&[
        "only copy",
        "of the document there is this file",
        "Keep it",
    ]);
    assert_silent(&said, &["no row names it", "deleted document"]);
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["Rolled back 6 documents"]);
    site.sql("DROP TABLE dumped");
    before.assert_same(&site.moment(), "after the second rollback");
    site.run(&["--verify-state"]).assert_code(0);
    site.run(&["--audit-files"]).assert_code(0);
}

#[test]
fn a_row_of_an_older_dump_whose_file_was_changed_is_named_and_the_others_come_back() {
    let site = Site::new(4);
    site.run(&["--enable-rollback"]).assert_code(0);
    dump(&site);
    site.run(&["--rollback"]).assert_code(0);
    restore(&site);
    let changed = &site.fleet.documents[1];
    let was = fs::read(&changed.file).expect("reads");
    fs::write(&changed.file, b"something else").expect("writes");
    for _ in 0..2 {
        site.run(&["--rollback"])
            .assert_code(3)
            .assert_says(&[&changed.id, "the source was changed since it was copied"]);
        assert_eq!(site.switched(), 1);
    }
    fs::write(&changed.file, was).expect("writes");
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.switched(), 0);
}

#[test]
fn of_two_runs_that_are_undone_the_older_one_is_named_for_its_rows() {
    let site = Site::new(5);
    let before = site.moment();
    for _ in 0..2 {
        site.run(&["--limit", "3"]).assert_code(0);
    }
    dump(&site);
    for _ in 0..2 {
        site.run(&["--rollback"]).assert_code(0);
    }
    restore(&site);
    let older = run_name(&site.journals()[0]);
    let command = format!("--rollback {}", site.state().join(&older).display());
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["moved it and was rolled back", &command]);
    assert_eq!(site.switched(), 3);
    site.run(&["--rollback", &older]).assert_code(0);
    site.sql("DROP TABLE dumped");
    before.assert_same(&site.moment(), "after both");
}

#[test]
fn a_row_that_another_run_has_moved_again_is_not_taken_from_that() {
    let site = Site::new(3);
    site.run(&[]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    let first = run_name(&site.journals()[0]);
    site.run(&[]).assert_code(0);
    let moved = site.moment();
    site.run(&["--rollback", &first]).assert_code(0);
    moved
        .tables
        .assert_same(&site.moment().tables, "the rows are the later run's");
    site.run(&["--verify-state", "--full"]).assert_code(0);
}

#[test]
fn a_dump_of_a_way_home_that_was_undone_is_healed_alike() {
    let site = Site::new(4);
    site.run(&[]).assert_code(0);
    for document in &site.fleet.documents {
        fs::remove_file(&document.file).expect("removes");
    }
    let home = ["--direction", "s3-to-local"];
    site.run(&home).assert_code(0);
    dump(&site);
    site.run(&["--rollback"]).assert_code(0);
    restore(&site);
    assert_eq!(site.switched(), 0);
    site.run(&["--rollback", "LATEST"]).assert_code(0);
    assert_eq!(
        site.switched(),
        4,
        "the rows name the objects, which are there"
    );
}

/// A run that left one document out, a later one that moved nothing, and a row that was changed by hand meanwhile. Returns its id and its path.
fn left_alone(site: &Site) -> (String, String) {
    fs::remove_file(&site.fleet.documents[0].file).expect("removes");
    site.run(&[]).assert_code(3);
    site.run(&[]).assert_code(3);
    assert_eq!(site.journals().len(), 2, "the later run is one");
    let id = site.fleet.documents[3].id.clone();
    let path = path_of(site, &id);
    set_path(site, &id, "/app/elsewhere/x");
    (id, path)
}

#[test]
fn what_a_rollback_left_alone_is_named_each_time_though_a_later_run_moved_nothing() {
    let site = Site::new(5);
    let (id, path) = left_alone(&site);
    for _ in 0..3 {
        site.run(&["--rollback"]).assert_code(3).assert_says(&[
            &id,
            "/app/elsewhere/x",
            "then roll back again",
        ]);
    }
    site.run(&["--verify-state"])
        .assert_code(3)
        .assert_says(&[&id, "/app/elsewhere/x"]);
    set_path(&site, &id, &path);
    site.run(&["--rollback"])
        .assert_code(0)
        .assert_says(&["Rolled back 1 document "]);
    assert_eq!(site.switched(), 0);
    let objects = site.moment().bucket;
    let left = objects.names().filter(|name| name.contains("documents/"));
    assert_eq!(left.count(), 0, "its object is gone as well");
    site.run(&["--verify-state"]).assert_code(0);
}
