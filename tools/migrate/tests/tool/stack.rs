//! Runs upon each other that are undone one after the other, and rollbacks after the last of them.
//!
//! What must hold: a run that is undone is done. Only a row of which a restored dump shows that it holds again what that very run left is taken back
//! once more, never one that is where the whole stack has put it.

use std::path::Path;

use crate::world::{Moment, Site};

/// Of a row that the application does not make: a failed document that repeats the path of another.
fn followed(site: &Site, path: &str) -> String {
    site.sql(&format!(
        "INSERT INTO failed_documents (user_id, filename, file_path, original_path, failure_reason, failure_stage, ingestion_source) \
         SELECT user_id, 'x', '{path}', '{path}', 'other', 'ocr', 'upload' FROM documents LIMIT 1 RETURNING id"
    ))
    .lines()
    .next()
    .expect("an id")
    .to_owned()
}

/// Two documents of one file, and a failed one that repeats its path.
fn shared(documents: usize) -> Site {
    let site = Site::new(documents);
    let path = site.fleet.documents[0].path.clone();
    site.sql(&format!(
        "INSERT INTO documents (id, filename, original_filename, file_path, file_size, mime_type, user_id, created_at) \
         SELECT 'ffffffff-0000-4000-8000-000000000001', filename, original_filename, file_path, file_size, mime_type, user_id, created_at \
         FROM documents WHERE file_path = '{path}'"
    ));
    followed(&site, &path);
    site
}

fn run_name(journal: &Path) -> String {
    let name = journal.file_name().expect("a name").to_string_lossy();
    name.replace(".journal", ".json")
}

/// The way into the bucket, with or without the removal of the local files, and home again. Returns how all was before.
fn there_and_home(site: &Site, is_removed: bool) -> Moment {
    let before = site.moment();
    site.run(&["--enable-rollback"]).assert_code(0);
    if is_removed {
        site.delete_source(&site.latest(), &[]).assert_code(0);
    }
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    assert_eq!(site.switched(), 0);
    before
}

#[test]
fn a_rollback_after_the_last_one_moves_nothing() {
    for is_removed in [true, false] {
        let site = shared(4);
        let before = there_and_home(&site, is_removed);
        site.run(&["--rollback"]).assert_code(0);
        assert_eq!(site.switched(), 5, "the way home is undone");
        site.run(&["--rollback"]).assert_code(0);
        before.assert_same(&site.moment(), "both are undone");
        for _ in 0..2 {
            site.run(&["--rollback"])
                .assert_code(0)
                .assert_says(&["Rolled back 0 documents"]);
            before.assert_same(&site.moment(), "a third and a fourth move nothing");
        }
        for journal in site.journals() {
            let run = run_name(&journal);
            site.run(&["--rollback", &run]).assert_code(0);
            before.assert_same(&site.moment(), "nor does one by name");
        }
    }
}

#[test]
fn a_dump_of_the_moment_between_two_runs_is_undone_by_the_older_one_only() {
    let site = Site::new(3);
    let before = site.moment();
    site.run(&["--enable-rollback"]).assert_code(0);
    site.sql("CREATE TABLE dumped AS SELECT id, file_path FROM documents");
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    for _ in 0..2 {
        site.run(&["--rollback"]).assert_code(0);
    }
    site.sql(
        "UPDATE documents SET file_path = dumped.file_path FROM dumped WHERE dumped.id = documents.id",
    );
    site.sql("DROP TABLE dumped");
    let runs = site.journals();
    site.run(&["--rollback", &run_name(&runs[1])]);
    assert_eq!(site.switched(), 3, "they are not of the way home");
    site.run(&["--rollback", &run_name(&runs[0])])
        .assert_code(0);
    before.assert_same(&site.moment(), "the way there is undone once more");
}
