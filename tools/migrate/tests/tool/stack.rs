//! Runs upon each other that are undone one after the other, and rollbacks after the last of them.
//!
//! What must hold: a run that is undone is done. Only a row of which a restored dump shows that it holds again what that very run left is taken back
//! once more, never one that is where the whole stack has put it.

use std::path::Path;

use testkit::readur::Snapshot;

use crate::world::{BUCKET, Ended, Moment, Site};

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

/// Ends a migration when all is stored and no row is switched.
fn ends_before_the_switch(site: &Site, documents: usize) {
    for step in 10.. {
        let mut command = site.command(&["--fresh-start"]);
        command.env("MIGRATE_CRASH_AT", step.to_string());
        assert_eq!(Ended::of(command, &[]).code, None, "it is cut off");
        let journal = site.journals().pop().expect("a journal");
        let journal = std::fs::read_to_string(journal).expect("reads");
        if journal.matches("{\"stored\"").count() == documents {
            return;
        }
        site.run(&["--rollback"]).assert_code(0);
    }
}

/// The object of the document that a run takes the companion row along with is lost, so that on the way on the other document of the file comes first.
fn switched_by_the_other(site: &Site) -> String {
    let path = site.fleet.documents[0].path.clone();
    let failed = "SELECT id FROM failed_documents LIMIT 1";
    let failed = site.sql(failed);
    site.sql(&format!(
        "INSERT INTO processed_images (document_id, user_id, original_image_path, processed_image_path, processing_steps, \
         image_width, image_height, file_size) \
         SELECT id, user_id, '{path}', '', '{{deskew}}', 1, 1, 9 FROM documents WHERE file_path = '{path}' LIMIT 1"
    ));
    ends_before_the_switch(site, 3);
    let own = &site.fleet.documents[0].id;
    let objects = Snapshot::bucket(site.s3.root(), BUCKET);
    let lost = objects.names().find(|name| name.contains(own.as_str()));
    std::fs::remove_file(site.s3.root().join(BUCKET).join(lost.expect("an object")))
        .expect("removes");
    site.run(&["--resume"]).assert_code(0);
    let holds = site.sql("SELECT DISTINCT file_path FROM failed_documents");
    assert!(holds.contains("ffffffff"), "{holds}");
    failed
}

#[test]
fn a_row_that_another_document_took_along_comes_back() {
    for size in ["1", "500"] {
        let site = shared(2);
        switched_by_the_other(&site);
        site.run(&["--verify-state"]).assert_code(0);
        site.run(&["--rollback", "--batch-size", size])
            .assert_code(0);
        let left = "SELECT count(*) FROM failed_documents WHERE file_path LIKE 's3://%'";
        assert_eq!(site.sql(left), "0");
        let left = "SELECT count(*) FROM processed_images WHERE original_image_path LIKE 's3://%'";
        assert_eq!(site.sql(left), "0");
        assert_eq!(site.switched(), 0);
        site.run(&["--verify-state"]).assert_code(0);
    }
}

#[test]
fn the_files_of_a_run_go_though_another_document_took_a_row_along() {
    let site = shared(2);
    switched_by_the_other(&site);
    let latest = site.latest();
    site.delete_source(&latest, &[]).assert_code(0);
    assert!(site.fleet.files().iter().all(|file| !file.exists()));
    site.run(&["--rollback"]).assert_code(0);
    assert!(site.fleet.files().iter().all(|file| file.exists()));
}

#[test]
fn a_row_that_names_an_object_of_an_undone_run_is_named() {
    let site = shared(2);
    let left = site.sql("SELECT file_path FROM failed_documents");
    site.run(&[]).assert_code(0);
    let stored = site.sql("SELECT file_path FROM failed_documents");
    assert!(stored.starts_with("s3://"), "{stored}");
    site.run(&["--rollback"]).assert_code(0);
    let before = site.moment();
    // An older dump of one table was restored.
    site.sql(&format!(
        "UPDATE failed_documents SET file_path = '{stored}'"
    ));
    site.run(&["--verify-state"]).assert_code(3).assert_says(&[
        "still switched",
        "failed_documents",
        &stored,
    ]);
    site.run(&["--rollback"]).assert_code(0);
    assert_eq!(site.sql("SELECT file_path FROM failed_documents"), left);
    before.assert_same(&site.moment(), "it is back");
    site.run(&["--verify-state"]).assert_code(0);
}

#[test]
fn rows_that_another_run_has_brought_where_they_are_do_not_differ() {
    let site = Site::new(3);
    there_and_home(&site, false);
    for _ in 0..2 {
        site.run(&["--rollback"]).assert_code(0);
    }
    for journal in site.journals() {
        let run = run_name(&journal);
        site.run(&["--verify-state", "--state-file", &run])
            .assert_code(0)
            .assert_says(&["0 differ"]);
    }
    // What no run has put there differs.
    site.sql("UPDATE documents SET file_path = '/elsewhere/' || id");
    for journal in site.journals() {
        let run = run_name(&journal);
        site.run(&["--verify-state", "--state-file", &run])
            .assert_code(3)
            .assert_says(&["3 differ"]);
    }
}

#[test]
fn a_row_that_was_mended_after_all_runs_were_undone_is_left_where_it_is() {
    let site = Site::new(3);
    let before = there_and_home(&site, false);
    let (id, local) = (&site.fleet.documents[0].id, &site.fleet.documents[0].path);
    site.sql(&format!(
        "UPDATE documents SET file_path = '/elsewhere' WHERE id = '{id}'"
    ));
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["item changed", "/elsewhere"]);
    let home = run_name(&site.journals()[1]);
    site.sql(&format!(
        "UPDATE documents SET file_path = '{local}' WHERE id = '{id}'"
    ));
    site.run(&["--rollback", &run_name(&site.journals()[0])]);
    let undone = site.moment();
    before.tables.assert_same(&undone.tables, "the rows");
    for _ in 0..2 {
        site.run(&["--rollback", &home]);
        undone.assert_same(&site.moment(), "a further rollback of the way home");
    }
}
