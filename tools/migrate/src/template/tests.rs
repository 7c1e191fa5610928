//! Templates: what they fill in, and what they refuse.

use super::*;

fn fill(template: &str, values: &Values<'_>) -> String {
    template
        .parse::<Template>()
        .expect("a template")
        .fill(values)
}

#[test]
fn every_variable_is_filled_in() {
    let values = Values {
        id: "7",
        user: Some("u"),
        created: Some("2024-12-31T23:59:59-02:00".parse().expect("a time")),
        filename: Some("Scan: one?.P:F"),
        path: "/up/documents/old name.pdf",
        rest: "old name.pdf",
        upload: "/up",
    };
    for (template, expected) in [
        (
            "documents/{user}/{created:%Y}/{created:%m}/{id}{.ext}",
            "documents/u/2025/01/7.P:F",
        ),
        ("{upload}/documents/{id}{._ext}", "/up/documents/7.P_F"),
        ("{ext}|{_ext}", "P:F|P_F"),
        ("{stem}_thumb.jpg", "old name_thumb.jpg"),
        (
            "{name}/{rest}/{path}",
            "old name.pdf/old name.pdf//up/documents/old name.pdf",
        ),
        ("plain", "plain"),
        ("", ""),
    ] {
        assert_eq!(fill(template, &values), expected);
    }
}

#[test]
fn what_a_row_does_not_have_is_written_in_a_fixed_way() {
    let bare = Values {
        id: "7",
        path: "/up/file",
        ..Values::default()
    };
    assert_eq!(
        fill("{user}/{created:%Y/%m}/{id}{.ext}", &bare),
        format!("{NOBODY}/1970/01/7")
    );
    let named = Values {
        filename: Some(".profile"),
        ..bare
    };
    assert_eq!(fill("{id}{.ext}", &named), "7");
    let by_path = Values {
        path: "/up.d/file.Txt",
        ..bare
    };
    assert_eq!(fill("{id}{.ext}", &by_path), "7.Txt");
}

#[test]
fn what_is_no_template_is_refused_with_what_to_write() {
    for (text, part) in [
        ("{id", "brace"),
        ("id}", "brace"),
        ("{ID}", "Use id"),
        ("{created}", "Use id"),
        ("{created:%!}", "time format"),
        ("{}", "Use id"),
    ] {
        let error = text
            .parse::<Template>()
            .expect_err("it is none")
            .to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn names_are_taken_apart_as_the_application_does() {
    for (name, stem, extension) in [
        ("/a/b.c/d.tar.GZ", "d.tar", "GZ"),
        ("d", "d", ""),
        (".hidden", ".hidden", ""),
        ("a.", "a", ""),
        ("/a/b c. d", "b c", " d"),
        ("", "", ""),
    ] {
        assert_eq!(
            (stem_of(name), extension_of(name)),
            (stem, extension),
            "{name}"
        );
    }
}
