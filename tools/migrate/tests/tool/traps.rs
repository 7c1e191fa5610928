//! Every trap that the contract names, with what becomes of it.

use serde_json::Value;
use testkit::readur::{Expect, Flaw};

use crate::world::Site;

/// What the program calls a flaw of a row.
fn kinds(flaw: Flaw) -> &'static [&'static str] {
    match flaw {
        Flaw::Missing | Flaw::Bent => &["missing"],
        Flaw::Empty | Flaw::Truncated => &["wrong_size"],
        Flaw::Differs => &["wrong_size", "wrong_digest"],
        Flaw::NotAFile | Flaw::LinkOutside => &["not_a_file", "refused"],
        Flaw::KeyTooLong => &["bad_key"],
        Flaw::NoObject => &["object_missing"],
        Flaw::NoPath | Flaw::NoRow => &[],
    }
}

/// Items and kinds of everything that a report lists.
fn exceptions(report: &Value) -> Vec<(&str, &str)> {
    let lists = [&report["exceptions"], &report["balance"]["exceptions"]];
    let all = lists
        .iter()
        .filter_map(|list| list.as_array())
        .flatten()
        .map(|exception| {
            let text = |name: &str| exception[name].as_str().expect("text");
            (text("item"), text("kind"))
        });
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

fn kind_of<'r>(report: &'r Value, item: &str) -> Option<&'r str> {
    let mut all = exceptions(report).into_iter();
    all.find(|(named, _)| *named == item).map(|(_, kind)| kind)
}

/// The path of a row that is a copy of a document's path follows the document; its own does not.
fn path_of(table: &str, row: Option<&str>) -> Value {
    let row: Value = row.map_or(Value::Null, |row| serde_json::from_str(row).expect("a row"));
    let column = match table {
        "processed_images" => "processed_image_path",
        _ => "file_path",
    };
    row[column].clone()
}

#[test]
fn each_trap_comes_to_its_expected_end_and_back() {
    let site = Site::with_traps(30);
    let before = site.moment();
    // 3: done in part, what was left is named.
    let report = site.run(&["--json"]).assert_code(3).json();
    let after = site.moment();
    before
        .tree
        .assert_same(&after.tree, "a migration touches no file");
    let mut wrong = vec![];
    for trap in &site.traps {
        let row = format!("{} {}", trap.table, trap.id);
        let item = format!("{}/{}", trap.table, trap.id);
        let (old, new) = (before.tables.get(&row), after.tables.get(&row));
        match &trap.expect {
            Expect::Moves { key } => {
                let holds = new.is_some_and(|row| {
                    let row: Value = serde_json::from_str(row).expect("a row");
                    row["file_path"] == format!("s3://{key}")
                });
                let object = after.bucket.get(key);
                let length = trap.content.as_ref().map_or(0, Vec::len);
                if !holds
                    || !object.is_some_and(|object| object.starts_with(&format!("{length} bytes")))
                {
                    wrong.push(format!("{} did not move: {new:?} {object:?}", trap.name));
                }
            }
            Expect::Stays(flaw) => {
                if path_of(trap.table, old) != path_of(trap.table, new) {
                    wrong.push(format!("{} was changed: {new:?}", trap.name));
                }
                let kind = kind_of(&report, &item);
                if !kind.is_some_and(|kind| kinds(*flaw).contains(&kind)) {
                    wrong.push(format!(
                        "{} is named as {kind:?}, not {:?}",
                        trap.name,
                        kinds(*flaw)
                    ));
                }
            }
            Expect::Kept | Expect::Audited(_) => {
                if old != new {
                    wrong.push(format!("{} was changed: {new:?}", trap.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{report:#}", wrong.join("\n"));
    let back = site.run(&["--rollback"]);
    assert!(matches!(back.code, Some(0 | 3)), "{}", back.all());
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn a_dry_run_foresees_what_the_run_names_and_the_number_is_the_same_everywhere() {
    let site = Site::with_traps(12);
    let tried = site.run(&["--dry-run", "--json"]).assert_code(3).json();
    let done = site.run(&["--json"]).assert_code(3).json();
    // Only who reads the files knows that one is another.
    let (mut named, foreseen) = (exceptions(&done), exceptions(&tried));
    let n_named = named.len();
    named.retain(|(_, kind)| *kind != "wrong_digest");
    assert_eq!(foreseen, named);
    assert_eq!(tried["exception_count"], foreseen.len());
    let n_differ = (n_named - named.len()) as u64;
    let committed = done["this_time"]["committed"].as_u64().expect("a number");
    assert_eq!(tried["documents"], committed + n_differ);
    assert_eq!(done["counts"]["exceptions"], n_named);
    assert_eq!(done["this_time"]["exception_count"], n_named);
    let status = site.run(&["--status", "--json"]).json();
    assert_eq!(status["runs"][0]["counts"]["exceptions"], n_named);
    let undone = site.run(&["--rollback", "--json"]).json();
    let n_kept = exceptions(&undone).len();
    assert_eq!(undone["counts"]["exceptions"], n_kept);
    let status = site.run(&["--status", "--json"]).json();
    assert_eq!(status["runs"][0]["counts"]["exceptions"], n_kept);
}

#[test]
fn every_sound_document_arrives_with_its_companions() {
    let site = Site::new(60);
    let report = site.run(&["--json"]).assert_code(0).json();
    let tables = [
        "documents.file_path",
        "failed_documents.file_path",
        "processed_images.processed_image_path",
        "processed_images.original_image_path",
    ];
    for column in tables {
        let (table, column) = column.split_once('.').expect("a table and a column");
        let left = site.sql(&format!(
            "SELECT count(*) FROM {table} WHERE {column} NOT LIKE 's3://%'"
        ));
        assert_eq!(left, "0", "{table}.{column} {report:#}");
    }
    let objects = site.moment().bucket.len();
    assert_eq!(
        objects,
        site.fleet.files().len(),
        "thumbnails and images are counted too"
    );
    assert_eq!(report["balance"]["exception_count"], 0);
}
