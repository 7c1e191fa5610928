//! Shows that fleets are whole, repeatable and of the promised size, and that every trap is what its name says.

use super::*;
use crate::{MemoryS3, Postgres};
use std::collections::BTreeSet;
use std::fs;

fn build(options: &FleetOptions) -> (tempfile::TempDir, Fleet) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Postgres::shared().database();
    install(&database);
    let fleet = Fleet::build(&database, folder.path(), options);
    (folder, fleet)
}

#[test]
fn one_seed_is_one_fleet_byte_for_byte() {
    let options = FleetOptions {
        documents: 120,
        shown: Some("/app/uploads".into()),
        ..FleetOptions::default()
    };
    let (one_folder, mut one) = build(&options);
    let (other_folder, mut other) = build(&options);
    let tree = Snapshot::tree(one_folder.path());
    tree.assert_same(&Snapshot::tree(other_folder.path()), "trees");
    let tables = Snapshot::tables(&one.database);
    tables.assert_same(&Snapshot::tables(&other.database), "tables");
    one.traps();
    other.traps();
    let trapped = Snapshot::tables(&one.database);
    trapped.assert_same(&Snapshot::tables(&other.database), "tables with traps");
    assert!(trapped.len() > tables.len() + 30);
}

#[test]
fn every_row_of_a_fleet_has_its_file_and_every_file_its_row() {
    let (_folder, fleet) = build(&FleetOptions {
        documents: 300,
        ..FleetOptions::default()
    });
    assert!(!fleet.images.is_empty() && !fleet.failed.is_empty());
    let known: BTreeSet<_> = fleet.files().into_iter().collect();
    assert_eq!(known.len(), fleet.files().len(), "no file twice");
    let tree = Snapshot::tree(&fleet.uploads);
    let files = tree.names().filter(|name| name.contains('/'));
    let on_disk: BTreeSet<_> = files.map(|name| fleet.uploads.join(name)).collect();
    assert_eq!(known, on_disk);
    for document in &fleet.documents {
        assert_eq!(
            fs::metadata(&document.file).expect("its file").len(),
            document.size
        );
    }
    let count = fleet.database.sql("SELECT count(*) FROM documents");
    assert_eq!(count, "300\n");
    let thumbnails = fleet.documents.iter().filter(|one| one.thumbnail.is_some());
    assert!((150..=240).contains(&thumbnails.count()));
}

#[test]
fn ten_thousand_documents_would_be_seventeen_thousand_files_and_a_gigabyte() {
    let (_folder, fleet) = build(&FleetOptions {
        documents: 400,
        sizes: Sizes::Realistic,
        ..FleetOptions::default()
    });
    let files = fleet.files();
    let bytes: u64 = files
        .iter()
        .map(|file| fs::metadata(file).expect("its file").len())
        .sum();
    assert!((620..=760).contains(&files.len()), "{} files", files.len());
    assert!((35_000_000..=55_000_000).contains(&bytes), "{bytes} bytes");
}

#[test]
fn traps_have_names_of_their_own_and_are_what_they_say() {
    let (_folder, mut fleet) = build(&FleetOptions::default());
    let (traps, objects) = fleet.traps();
    let names: BTreeSet<_> = traps.iter().map(|trap| trap.name).collect();
    assert_eq!(names.len(), traps.len());
    assert_eq!(objects.len(), 3);
    for trap in &traps {
        if !trap.table.is_empty() {
            let found = fleet.database.sql(&format!(
                "SELECT count(*) FROM {} WHERE id = '{}'",
                trap.table, trap.id
            ));
            assert_eq!(found, "1\n", "{}", trap.name);
        }
        if let Expect::Moves { key } = &trap.expect {
            assert!(trap.content.is_some(), "{}", trap.name);
            assert!(key.len() <= 1024 && key.contains(&trap.id), "{}", trap.name);
        }
    }
    let spoilt = fs::read_dir(fleet.uploads.join("documents")).expect("the folder");
    let folders = spoilt
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    assert_eq!(folders.count(), 1, "one of the files is a folder");
}

#[test]
fn documents_that_are_in_the_bucket_have_their_objects() {
    let server = MemoryS3::start();
    let database = Postgres::shared().database();
    install(&database);
    already_moved(&database, 50, 1, |key, bytes| server.insert(key, bytes));
    let paths = database.sql("SELECT file_path FROM documents ORDER BY 1");
    let paths: Vec<_> = paths
        .lines()
        .filter_map(|path| path.strip_prefix("s3://"))
        .collect();
    assert_eq!(server.keys(), paths);
    assert_eq!(paths.len(), 50);
}

#[test]
fn changing_a_path_fires_no_trigger_and_text_can_only_go_back_to_pending() {
    let (_folder, fleet) = build(&FleetOptions::default());
    let before = Snapshot::tables(&fleet.database);
    let id = &fleet.documents[0].id;
    let update = format!("UPDATE documents SET file_path = 's3://x' WHERE id = '{id}'");
    fleet.database.sql(&update);
    let differences = before.differences(&Snapshot::tables(&fleet.database));
    assert_eq!(differences.len(), 1, "{differences:?}");
    let done = fleet
        .documents
        .iter()
        .find(|document| document.text.is_some())
        .expect("one has its text");
    let undo = format!(
        "UPDATE documents SET ocr_status = 'failed' WHERE id = '{}'",
        done.id
    );
    fleet.database.try_sql(&undo).expect_err("it is refused");
}
