//! Keys: the application's own, and which rows get none.

use super::*;
use crate::mapping::Mapping;

fn row() -> Row {
    Row {
        key: "3f0c".to_owned(),
        path: "/app/uploads/documents/3f0c.pdf".to_owned(),
        user: Some("9a1b".to_owned()),
        created: Some("2023-07-05T10:00:00Z".parse().expect("a time")),
        filename: Some("Invoice.PDF".to_owned()),
        ..Row::default()
    }
}

fn key_of(change: impl FnOnce(&mut Row)) -> Result<String, KeyError> {
    let mapping = Mapping::readur();
    let mut row = row();
    change(&mut row);
    object_key(&mapping, &mapping.main, &row)
}

#[test]
fn a_document_has_the_key_of_the_month_it_was_made_in() {
    assert_eq!(
        key_of(|_| {}).as_deref(),
        Ok("documents/9a1b/2023/07/3f0c.PDF")
    );
    let nobody = key_of(|row| row.user = None);
    assert_eq!(
        nobody.as_deref(),
        Ok("documents/00000000-0000-0000-0000-000000000000/2023/07/3f0c.PDF")
    );
    let timeless = key_of(|row| row.created = None);
    assert_eq!(timeless.as_deref(), Ok("documents/9a1b/1970/01/3f0c.PDF"));
    let odd = key_of(|row| row.filename = Some("x.p d'f?\"東".to_owned()));
    assert_eq!(odd.as_deref(), Ok("documents/9a1b/2023/07/3f0c.p d'f?\"東"));
}

#[test]
fn what_does_not_fit_is_refused() {
    // `s3://documents/9a1b/2023/07/3f0c.` has 33 characters, the column 500.
    let fits = key_of(|row| row.filename = Some(format!("x.{}", "é".repeat(467))));
    assert_eq!(fits.map(|key| key.chars().count() + 5), Ok(500));
    let long = key_of(|row| row.filename = Some(format!("x.{}", "e".repeat(468))));
    assert!(
        matches!(
            &long,
            Err(KeyError::TooLong {
                length: 501,
                limit: 500,
                ..
            })
        ),
        "{long:?}"
    );
    let bytes = key_of(|row| row.filename = Some(format!("x.{}", "\u{1d54f}".repeat(253))));
    assert_eq!(bytes, Err(KeyError::TooManyBytes(28 + 4 * 253)));
    let broken = key_of(|row| row.filename = Some("x.p\ndf".to_owned()));
    assert!(matches!(broken, Err(KeyError::BadCharacters(_))));
    for key in ["a//b", "../b", "a/./b"] {
        let template = key.parse().expect("a template");
        assert!(fill_key(&template, &values(&row(), "")).is_err(), "{key}");
    }
}

#[test]
fn the_media_type_is_the_applications_and_then_the_rows() {
    assert_eq!(
        content_type("a/b.PDF", Some("text/plain")),
        "application/pdf"
    );
    assert_eq!(
        content_type("a/b.odt", Some("application/vnd.oasis.opendocument.text")),
        "application/vnd.oasis.opendocument.text"
    );
    assert_eq!(
        content_type("a/b.odt", Some("broken\r\nX-Evil: 1/2")),
        "application/octet-stream"
    );
    assert_eq!(content_type("a/b", None), "application/octet-stream");
}
