//! Rows that somebody has bent by hand, back or forth, and the rows that go with them.
//!
//! What must hold: as long as a row names an object, in whatever spelling, that object is there, and no command ends with 0.

use testkit::readur::Snapshot;

use crate::directions::beside_another;
use crate::world::{BUCKET, Site};

/// What a person does by hand who has lost the state file, to every column or to the documents only.
pub fn bend(site: &Site, columns: &[(&str, &str)], from: &str, to: &str) {
    for (table, column) in columns {
        site.sql(&format!(
            "UPDATE {table} SET {column} = REPLACE({column}, '{from}', '{to}') WHERE {column} LIKE '{from}%'"
        ));
    }
}

/// The documents alone.
pub const DOCUMENTS: [(&str, &str); 1] = [("documents", "file_path")];

const ALL: [(&str, &str); 5] = [
    ("documents", "file_path"),
    ("failed_documents", "file_path"),
    ("failed_documents", "original_path"),
    ("processed_images", "processed_image_path"),
    ("processed_images", "original_image_path"),
];

#[test]
fn a_rollback_mends_every_spelling_that_is_known() {
    let site = Site::with_followers(3);
    let before = site.moment();
    let own = format!("{}/", site.fleet.shown);
    for prefix in ["/app/uploads/", "./uploads/", "uploads/", "", &own] {
        for columns in [&DOCUMENTS[..], &ALL] {
            site.run(&[]).assert_code(0);
            bend(&site, columns, "s3://", prefix);
            site.run(&["--rollback"]).assert_code(0);
            before.assert_same(&site.moment(), &format!("`{prefix}` in {columns:?}"));
        }
    }
}

#[test]
fn a_rollback_keeps_what_a_row_names_in_a_spelling_that_nobody_knows() {
    for columns in [&DOCUMENTS[..], &ALL] {
        let site = Site::with_followers(3);
        let before = site.moment();
        site.run(&[]).assert_code(0);
        let objects = site.moment().bucket;
        bend(&site, columns, "s3://", "/srv/elsewhere/");
        let key = site.fleet.documents[0].key();
        for _ in 0..2 {
            site.run(&["--rollback"])
                .assert_code(3)
                .assert_says(&["/srv/elsewhere/", &key]);
            let left = site.moment().bucket;
            for document in &site.fleet.documents {
                let key = document.key();
                assert_eq!(left.get(&key), objects.get(&key), "{key}");
            }
        }
        bend(&site, columns, "/srv/elsewhere/", "s3://");
        site.run(&["--rollback"]).assert_code(0);
        before.assert_same(&site.moment(), "after the rows were mended");
    }
}

#[test]
fn a_copy_stays_while_a_row_names_it_in_a_spelling_that_nobody_knows() {
    let (site, target) = beside_another(3);
    let before = site.moment();
    let direction = ["--direction", "s3-to-s3", "--target", target.as_str()];
    site.run(&direction).assert_code(0);
    let copies = Snapshot::bucket(site.s3.root(), "other");
    let undo = [&direction[..], &["--remove-copies", "--rollback"]].concat();
    bend(&site, &DOCUMENTS, "s3://", "/srv/elsewhere/");
    for _ in 0..2 {
        site.run(&undo)
            .assert_code(3)
            .assert_says(&["/srv/elsewhere/"]);
        copies.assert_same(&Snapshot::bucket(site.s3.root(), "other"), "while bent");
    }
    bend(&site, &DOCUMENTS, "/srv/elsewhere/", "s3://");
    site.run(&undo).assert_code(0);
    assert!(Snapshot::bucket(site.s3.root(), "other").is_empty());
    before.assert_same(&site.moment(), "after the rows were mended");
}

#[test]
fn a_bent_row_that_came_after_the_migration_keeps_its_object() {
    let site = Site::with_followers(3);
    site.run(&[]).assert_code(0);
    let late = |path: &str| {
        site.sql(&format!(
            "INSERT INTO failed_documents (user_id, filename, file_path, failure_reason, failure_stage, ingestion_source) \
             SELECT user_id, filename, '{path}', 'other', 'ocr', 'upload' FROM documents LIMIT 1"
        ));
    };
    let key = site.fleet.documents[0].key();
    // The row follows its document, which the way back brings to the disk.
    late(&format!("./uploads/{key}"));
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    let bent = "SELECT count(*) FROM failed_documents WHERE file_path LIKE './uploads/%'";
    assert_eq!(site.sql(bent), "0");
    late(&format!("./uploads/{key}"));
    let run = site.journals()[1].with_extension("json");
    let run = run.display().to_string();
    site.delete_source(&run, &[]).assert_code(3);
    let object = site.s3.root().join(BUCKET).join(&key);
    assert!(object.exists(), "a row names it");
    let other = site.s3.root().join(BUCKET);
    assert!(
        !other.join(site.fleet.documents[1].key()).exists(),
        "nothing names this one"
    );
}

#[test]
fn a_file_that_a_row_bent_forward_needs_is_not_removed() {
    let site = Site::with_followers(3);
    let own = format!("{}/", site.fleet.shown);
    bend(&site, &DOCUMENTS, &own, "s3://");
    // What is still local is moved: the copy among the failed documents, and the processed image.
    site.run(&[])
        .assert_code(3)
        .assert_says(&["object missing"]);
    site.delete_source(&site.latest(), &[]).assert_code(3);
    for document in &site.fleet.documents {
        assert!(document.file.exists(), "no object has it: {}", document.id);
    }
}

#[test]
fn each_row_is_told_what_is_to_be_done_about_itself() {
    let site = Site::new(2);
    site.run(&["--limit", "1"]).assert_code(0);
    bend(&site, &DOCUMENTS, "s3://", "/app/uploads/");
    for document in &site.fleet.documents {
        std::fs::remove_file(&document.file).expect("removes");
    }
    site.run(&[]).assert_code(3).assert_says(&[
        "missing (2)",
        "Mend it by `migrate_to_s3 --rollback`",
        "estore the file",
    ]);
}
