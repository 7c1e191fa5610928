//! Paths that are written in odd ways, files that lie elsewhere, and rows of an older dump: what the audit, the way back and the plan say of them.
//!
//! What must hold: `//`, `/./` and `..` are the same file; a file that is the only copy of a document is never called one that may go; a command that is
//! printed does what is said of it.

use std::fs;

use crate::world::{BUCKET, Site};

/// Lets rows spell the paths of their files in other ways.
fn spell(site: &Site) -> Vec<String> {
    let shown = &site.fleet.shown;
    let files: Vec<String> = site
        .fleet
        .documents
        .iter()
        .map(|one| {
            one.file
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let spellings = [
        format!("{shown}//documents///{}", files[0]),
        format!("{shown}/./documents/./{}", files[1]),
        format!("{shown}/documents/../documents/{}", files[2]),
    ];
    for (document, path) in site.fleet.documents.iter().zip(&spellings) {
        site.sql(&format!(
            "UPDATE documents SET file_path = '{path}' WHERE id = '{}'",
            document.id
        ));
    }
    spellings.into()
}

#[test]
fn other_spellings_of_a_path_are_migrated_removed_and_brought_back() {
    let site = Site::new(4);
    spell(&site);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let audit = site.run(&["--audit-files"]).assert_code(0);
    assert!(!audit.out.contains("no row names it"), "{}", audit.all());
    site.delete_source(&site.latest(), &[]).assert_code(0);
    assert!(site.fleet.files().iter().all(|file| !file.exists()));
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn the_only_copy_of_a_document_waits_for_nothing() {
    let site = Site::new(4);
    spell(&site);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let gone = site.fleet.documents.iter().map(|one| one.key());
    for key in gone.take(2) {
        fs::remove_file(site.s3.root().join(BUCKET).join(key)).expect("removes");
    }
    let report = site.run(&["--audit-files", "--json"]).assert_code(3).json();
    let count = |kind: &str| report["counts"][kind].as_u64().unwrap_or(0);
    assert_eq!(
        (
            count("row_without_object"),
            count("only_copy"),
            count("migrated_source")
        ),
        (2, 2, 2),
        "{report:#}"
    );
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_file_that_lies_elsewhere_is_said_before_it_is_in_the_bucket() {
    let site = Site::new(3);
    let elsewhere = site.folder().join("elsewhere");
    fs::create_dir(&elsewhere).expect("makes");
    let document = &site.fleet.documents[0];
    let file = elsewhere.join("a.pdf");
    fs::rename(&document.file, &file).expect("moves");
    let file = file.display();
    site.sql(&format!(
        "UPDATE documents SET file_path = '{file}' WHERE id = '{}'",
        document.id
    ));
    let map = format!("{0}={0}", elsewhere.display());
    let told = format!("--path-map {map}");
    site.run(&["--dry-run"])
        .assert_code(0)
        .assert_says(&["outside", &told]);
    site.run(&[])
        .assert_code(0)
        .assert_says(&["outside", &told]);
    site.run(&["--rollback"]).assert_code(3);
    let undone = site.run(&["--rollback", "--path-map", &map]).assert_code(0);
    assert!(
        !undone.err.contains("outside of the upload path"),
        "{}",
        undone.all()
    );
    assert_eq!(site.switched(), 0);
}

#[test]
fn rows_of_an_older_dump_are_led_back_to_their_files() {
    let site = Site::new(4);
    let before = site.moment();
    let rows = "SELECT id || ' ' || file_path FROM documents";
    let old = site.sql(rows);
    site.run(&[]).assert_code(0);
    site.delete_source(&site.latest(), &[]).assert_code(0);
    for row in old.lines() {
        let (id, path) = row.split_once(' ').expect("two words");
        site.sql(&format!(
            "UPDATE documents SET file_path = '{path}' WHERE id = '{id}'"
        ));
    }
    let journal = site.journals().remove(0).with_extension("json");
    let command = format!("--rollback {}", journal.display());
    site.run(&["--fresh-start"]).assert_code(3).assert_says(&[
        "missing",
        "has brought them into the bucket",
        &command,
    ]);
    let journal = journal.display().to_string();
    site.run(&["--rollback", &journal]).assert_code(0);
    before
        .tree
        .assert_same(&site.moment().tree, "the files are back");
}
