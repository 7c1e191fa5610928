//! Tests of what a failure looks like. They must fail if a sentence is said twice or a secret is shown.

use std::collections::HashSet;
use std::io;

use echoing::chain;

use super::*;

/// A tiny error type whose every level prints its source as well, as some libraries do.
mod echoing {
    use std::error::Error;
    use std::fmt;

    #[derive(Debug)]
    pub(super) struct Level {
        text: String,
        below: Option<Box<Level>>,
    }

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.text)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.below.as_deref().map(|below| below as &dyn Error)
        }
    }

    pub(super) fn chain(texts: &[&str]) -> Level {
        let mut levels = texts.iter().rev();
        let mut level = Level {
            text: (*levels.next().expect("a chain has a level")).to_string(),
            below: None,
        };
        for text in levels {
            level = Level {
                text: (*text).to_string(),
                below: Some(Box::new(level)),
            };
        }
        level
    }
}

fn sentences_twice(rendered: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let sentences = rendered
        .lines()
        .flat_map(|line| line.split(": "))
        .map(|part| part.trim().trim_end_matches('.'));
    sentences
        .filter(|part| part.split(' ').count() >= 3 && !seen.insert(part.to_string()))
        .map(str::to_string)
        .collect()
}

#[test]
fn no_chain_says_a_sentence_twice() {
    let chains: &[&[&str]] = &[
        &[
            "cannot read the list: the server hung up early",
            "the server hung up early",
        ],
        &["the server hung up early", "the server hung up early"],
        &["a b c: d e f: g h i", "d e f: g h i", "g h i"],
        &[
            "put failed for key x",
            "put failed for key x: connection was refused",
            "connection was refused",
        ],
        &[
            "outer thing went wrong",
            "inner thing went wrong: outer thing went wrong",
            "root is the matter",
        ],
        &[
            "list the objects now",
            "some words here: list the objects now: other words there",
            "other words there",
        ],
    ];
    for texts in chains {
        let rendered = Failure::from_error(Exit::Failed, &chain(texts)).render(false);
        assert_eq!(
            sentences_twice(&rendered),
            Vec::<String>::new(),
            "{rendered}"
        );
    }
}

#[test]
fn every_different_cause_is_kept_in_order() {
    let failure = Failure::from_error(
        Exit::Network,
        &chain(&[
            "cannot list the store",
            "request timed out",
            "no route to host",
        ]),
    );
    assert_eq!(failure.causes(), ["request timed out", "no route to host"]);
}

#[test]
fn the_rendered_form_is_error_causes_and_hint() {
    let failure = Failure::wrap(
        Exit::Network,
        "push failed",
        &chain(&["cannot reach s3.example.org", "connection refused"]),
    )
    .hint("check the endpoint, then run `hx sync push` again");
    assert_eq!(
        failure.render(false),
        "error: push failed\n  cause: cannot reach s3.example.org\n  cause: connection refused\n\nhint: check the endpoint, \
         then run `hx sync push` again\n"
    );
    assert!(
        failure
            .render(true)
            .starts_with("\x1b[1;31merror:\x1b[0m push failed\n")
    );
}

#[test]
fn the_json_form_carries_the_code_and_the_kind() {
    let failure = Failure::new(Exit::Locked, "another sync is running")
        .kind("locked")
        .hint("wait for process 42");
    assert_eq!(
        failure.to_json(),
        json!({"error": {"message": "another sync is running", "causes": [], "hint": "wait for process 42", "kind": "locked",
            "exit_code": 11}})
    );
}

#[test]
fn secrets_are_masked_in_every_part() {
    let url = "s3://b/p?access_key=AKIAIOSFODNN7EXAMPLE&secret_key=wJalrXUtnFEMI";
    let failure = Failure::new(Exit::Failed, format!("cannot open {url}"))
        .cause(format!("bad {url} there"))
        .hint(format!("try {url}"));
    for text in [
        failure.render(false),
        failure.to_json().to_string(),
        failure.to_string(),
    ] {
        assert!(
            !text.contains("wJalrXUtnFEMI") && !text.contains("AKIAIOSFODNN7EXAMPLE"),
            "{text}"
        );
    }
}

#[test]
fn context_moves_the_message_down() {
    let failure = Failure::new(Exit::Denied, "Access Denied").context("push failed");
    assert_eq!(
        (failure.message(), failure.causes()),
        ("push failed".to_string(), vec!["Access Denied".to_string()])
    );
}

#[test]
fn a_full_disk_has_its_own_code() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let failure = Failure::io("write", std::path::Path::new("/d/hx.db"), &denied);
    assert_eq!(failure.exit(), Exit::Denied);
    let failure = Failure::io("write", std::path::Path::new("/d/hx.db"), &full);
    assert_eq!(failure.exit(), Exit::DiskFull);
    assert!(failure.message().contains("/d/hx.db"));
    assert!(failure.hint_text().is_some());
}

#[test]
fn a_store_error_brings_its_kind_code_and_remedy() {
    let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
    let error = store::StoreError::new(
        store::ErrorKind::Connection,
        "put",
        Some("manifests/a"),
        cause,
    );
    let failure = Failure::from(&error);
    assert_eq!(
        (failure.exit(), failure.kind_name()),
        (Exit::Network, Some("connection"))
    );
    assert_eq!(failure.hint_text(), Some(error.remedy()));
    assert_eq!(
        sentences_twice(&failure.render(false)),
        Vec::<String>::new()
    );
}

#[test]
fn a_usage_error_of_the_parser_becomes_a_failure() {
    let text = "error: unexpected argument '--frce' found\n\n  tip: a similar argument exists: '--force'\n\nUsage: hx sync push --force\n\nFor more information, try '--help'.\n";
    let failure = Failure::from_usage_text(text, "hx");
    assert_eq!(failure.exit(), Exit::Usage);
    assert_eq!(failure.kind_name(), Some("usage"));
    assert_eq!(failure.message(), "unexpected argument '--frce' found");
    assert_eq!(
        failure.hint_text().as_deref(),
        Some("a similar argument exists: '--force'")
    );
    let bare = Failure::from_usage_text("error: 'hx' requires a subcommand", "hx");
    assert_eq!(
        bare.hint_text().as_deref(),
        Some("`hx --help` lists the commands.")
    );
}
