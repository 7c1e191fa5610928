//! Flags that a command does not obey, and places that a report must not take.
//!
//! What must hold: they are refused before anything is done, with code 2; what is no file is written into.

use std::fs;
use std::path::Path;

use crate::world::Site;

#[test]
fn a_flag_that_would_not_be_obeyed_is_refused_before_anything_is_done() {
    let site = Site::new(3);
    site.run(&[]).assert_code(0);
    let before = site.moment();
    let user = site.fleet.users[0].clone();
    let latest = site.latest();
    let remove = [
        "--delete-source",
        "--state-file",
        &latest,
        "--older-than",
        "0s",
    ];
    let verify = ["--verify-state", "--state-file", &latest];
    let cases: [(&[&str], &[&str]); 15] = [
        (&remove, &["--user-id", &user]),
        (&remove, &["--limit", "1"]),
        (&["--rollback"], &["--user-id", &user]),
        (&["--rollback"], &["--limit", "1"]),
        (
            &["--force-rollback", "--state-file", &latest],
            &["--limit", "1"],
        ),
        (&verify, &["--user-id", &user]),
        (&verify, &["--sample-size", "0"]),
        (&["--audit-files"], &["--user-id", &user]),
        (&["--status"], &["--limit", "1"]),
        (&["--rollback"], &["--application-moved"]),
        (&["--rollback"], &["--older-than", "1d"]),
        (&["--rollback"], &["--direction", "s3-to-local"]),
        (&["--force-rollback"], &[]),
        (&["--same-database"], &[]),
        (&["--dry-run"], &["--same-database"]),
    ];
    for (what, flags) in cases {
        let ended = site.run(&[what, flags].concat()).assert_code(2);
        assert!(ended.out.is_empty(), "{}", ended.all());
        before.assert_same(&site.moment(), &ended.line);
    }
    site.run(&["--rollback"]).assert_code(0);
}

/// A link to a file, and the file.
fn link(site: &Site, name: &str, to: &Path) -> String {
    let link = site.folder().join(name);
    std::os::unix::fs::symlink(to, &link).expect("links");
    link.display().to_string()
}

#[test]
fn a_report_takes_the_place_of_no_journal_and_no_document() {
    let site = Site::new(3);
    site.run(&["--limit", "2"]).assert_code(0);
    let journal = site.journals()[0].clone();
    let document = site.fleet.documents[0].file.clone();
    let new = site.fleet.uploads.join("documents/report.json");
    let places = [
        journal.display().to_string(),
        site.latest(),
        document.display().to_string(),
        new.display().to_string(),
        link(&site, "to-journal", &journal),
        link(&site, "to-document", &document),
    ];
    let before = site.moment();
    let was = fs::read(&journal).expect("reads");
    for place in &places {
        for what in ["--rollback", "--verify-state", "--dry-run"] {
            site.run(&[what, "--report", place])
                .assert_code(2)
                .assert_says(&["would take the place of", "nothing was done"]);
        }
    }
    before.assert_same(&site.moment(), "nothing is touched");
    assert_eq!(fs::read(&journal).expect("reads"), was);
}

#[test]
fn a_report_goes_into_a_pipe_into_standard_output_and_through_a_link() {
    let site = Site::new(3);
    let is_report = |text: &str, what: &str| {
        let at = text.find("{\n").unwrap_or_else(|| panic!("{what}: {text}"));
        // Of standard output it is not the last that is said.
        let mut found = serde_json::Deserializer::from_str(&text[at..]).into_iter();
        let report: serde_json::Value = found.next().expect("a report").expect("JSON");
        assert_eq!(report["tool"], "migrate_to_s3 0.1.0", "{what}");
    };
    let ended = site
        .run(&["--limit", "1", "--report", "/dev/stdout"])
        .assert_code(0);
    is_report(&ended.out, "standard output");
    let pipe = site.folder().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).expect("reads")
    });
    let name = pipe.display().to_string();
    site.run(&["--limit", "1", "--report", &name])
        .assert_code(0);
    is_report(&reader.join().expect("no panic"), "a pipe");
    let file = site.folder().join("real.json");
    fs::write(&file, "older").expect("writes");
    let link = link(&site, "link.json", &file);
    site.run(&["--report", &link]).assert_code(0);
    is_report(&fs::read_to_string(&file).expect("reads"), "through a link");
    let kept = fs::symlink_metadata(&link).expect("is there");
    assert!(kept.is_symlink(), "the link stays");
}

#[test]
fn who_only_looks_makes_no_state_directory() {
    let site = Site::new(2);
    let missing = site.folder().join("not/there");
    let name = missing.display().to_string();
    for what in [
        "--dry-run",
        "--status",
        "--rollback-status",
        "--audit-files",
    ] {
        site.run(&[what, "--state-dir", &name]).assert_code(0);
        assert!(!missing.exists(), "{what}");
    }
}
