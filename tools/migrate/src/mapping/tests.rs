//! Mappings: Readur's own, and what is refused.

use super::*;

#[test]
fn readurs_mapping_names_every_table_with_paths() {
    let mapping = Mapping::readur();
    let columns: Vec<String> = mapping
        .path_columns()
        .iter()
        .map(|column| format!("{}.{}", column.table, column.path))
        .collect();
    assert_eq!(
        columns,
        [
            "documents.file_path",
            "failed_documents.file_path",
            "processed_images.processed_image_path",
            "processed_images.original_image_path",
            "failed_documents.original_path",
            "ignored_files.file_path"
        ]
    );
    assert!(
        mapping
            .followers()
            .iter()
            .all(|column| column.table != "ignored_files")
    );
    assert_eq!(mapping.key_of("s3://documents/1"), Some("documents/1"));
    assert_eq!(mapping.key_of("./uploads/documents/1"), None);
    assert_eq!(
        mapping.object_prefixes(),
        [
            "documents/",
            "failed_documents/",
            "processed_images/",
            "thumbnails/"
        ]
    );
    assert!(mapping.main.is_rewritten(Some("IMAGE/jpeg")) && !mapping.main.is_rewritten(None));
    assert_eq!(
        mapping.row_name(&mapping.extra[0], "7"),
        "failed_documents/7"
    );
}

#[test]
fn what_contradicts_itself_is_refused_with_a_reason() {
    for (from, to, reason) in [
        ("table = \"documents\"", "table = \"a.b.c\"", "not a name"),
        ("table = \"documents\"", "table = 'do\"cs'", "not a name"),
        (
            "/{id}{.ext}\"\nlocal",
            "/{user}{.ext}\"\nlocal",
            "would share an object",
        ),
        ("max_length = 500", "max_length = 0", "max_length is 0"),
        (
            "role = \"document\"",
            "rolle = \"document\"",
            "is not a mapping",
        ),
    ] {
        let text = READUR.replacen(from, to, 1);
        assert_ne!(text, READUR, "{from}");
        let error = Mapping::parse(&text, "mine.toml")
            .expect_err("it is refused")
            .to_string();
        assert!(
            error.contains(reason) && error.contains("mine.toml"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        Mapping::from_file(Path::new("/nowhere/mapping.toml")).expect_err("it is not there");
    assert!(error.to_string().contains("/nowhere/mapping.toml"));
}
