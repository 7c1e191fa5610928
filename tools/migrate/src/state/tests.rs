//! Tests of the state files.

use super::*;

fn summary(dir: &StateDir, run: &str) -> Summary {
    Summary {
        format: FORMAT,
        tool: "migrate_to_s3 0.1.0".into(),
        run: run.into(),
        state: RunState::Stopped,
        started: String::new(),
        updated: String::new(),
        parameters: Parameters {
            direction: "local-to-s3".into(),
            database: String::new(),
            source: String::new(),
            target: String::new(),
            application: "readur".into(),
            user: None,
            origin: None,
            machine: None,
        },
        journal: dir.files(run).journal,
        journal_bytes: 0,
        taken: false,
        counts: Counts::default(),
        exceptions: vec![],
        next: String::new(),
    }
}

fn directory() -> (tempfile::TempDir, StateDir) {
    let temporary = tempfile::tempdir().expect("temporary directory");
    let dir = StateDir::open(temporary.path()).expect("opens");
    (temporary, dir)
}

fn begin(dir: &StateDir, run: &str) -> RunFiles {
    let files = dir.files(run);
    std::fs::write(&files.journal, run).expect("writes");
    dir.write(&summary(dir, run)).expect("writes");
    files
}

#[test]
fn two_runs_of_one_second_have_two_names() {
    let (_temporary, dir) = directory();
    let now: jiff::Timestamp = "2024-12-01T14:30:22Z".parse().expect("time");
    let first = dir.new_run(now, &[]);
    assert!(first.run.starts_with("20241201_143022_000000"), "{first:?}");
    std::fs::write(&first.journal, "").expect("writes");
    assert_ne!(dir.new_run(now, &[]).run, first.run);
}

#[test]
fn what_begins_at_the_same_moment_elsewhere_has_another_name() {
    let now: jiff::Timestamp = "2024-12-01T14:30:22.123456Z".parse().expect("time");
    let drawn = |_| directory().1.new_run(now, &[]).run;
    let names = std::collections::BTreeSet::from_iter((0..8).map(drawn));
    assert!(names.len() > 4, "{names:?}");
    let later = now + std::time::Duration::from_micros(1);
    let later = directory().1.new_run(later, &[]).run;
    let age = run_age(&later);
    assert!(names.iter().all(|run| run_age(run) < age), "{later}");
    let before = run_age("20241201_143022");
    assert!(names.iter().all(|run| run_age(run) > before));
}

#[test]
fn every_name_leads_to_the_journal() {
    let (_temporary, dir) = directory();
    let first = begin(&dir, "20241201_143022");
    let second = begin(&dir, "20241202_143022");
    assert_eq!(dir.runs().expect("lists"), [second.clone(), first.clone()]);
    let resolve = |name: &str| dir.resolve(&dir.path().join(name)).expect("resolves");
    assert_eq!(resolve(LATEST), second);
    assert_eq!(resolve(BACKUP), first);
    assert_eq!(resolve("migration_state_20241201_143022.json"), first);
    assert_eq!(resolve("migration_state_20241201_143022.journal"), first);
}

#[test]
fn the_guides_clean_up_loses_nothing() {
    let (_temporary, dir) = directory();
    let files = begin(&dir, "20241201_143022");
    for entry in std::fs::read_dir(dir.path()).expect("lists") {
        let path = entry.expect("entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            std::fs::remove_file(path).expect("removes");
        }
    }
    let resolve = |name: &str| dir.resolve(&dir.path().join(name)).expect("resolves");
    assert_eq!(resolve(LATEST), files);
    assert_eq!(resolve(BACKUP), files);
    assert_eq!(resolve("migration_state_20241201_143022.json"), files);
}

#[test]
fn a_moved_directory_is_understood() {
    let (temporary, dir) = directory();
    begin(&dir, "20241201_143022");
    let moved = tempfile::tempdir().expect("temporary directory");
    let there = moved.path().join("state");
    std::fs::rename(temporary.path(), &there).expect("moves");
    let dir = StateDir::open(&there).expect("opens");
    assert_eq!(
        dir.resolve(&there.join(LATEST)).expect("resolves"),
        dir.files("20241201_143022")
    );
}

#[test]
fn a_name_that_leads_nowhere_lists_what_there_is() {
    let (_temporary, dir) = directory();
    let failure = dir
        .resolve(&dir.path().join("migration_state_20200101_000000.json"))
        .expect_err("refuses");
    assert_eq!(failure.exit(), Exit::NoStore);
    begin(&dir, "20241201_143022");
    let text = dir
        .resolve(&dir.path().join("migration_state_20200101_000000.json"))
        .expect_err("refuses")
        .render(false);
    assert!(
        text.contains("migration_state_20241201_143022.journal"),
        "{text}"
    );
}

#[test]
fn a_clone_is_told_from_its_database_by_what_is_known_of_it() {
    let (_temporary, dir) = directory();
    let of = |place: Option<&str>, cluster: Option<&str>| Parameters {
        origin: place.map(|place| Origin {
            place: place.into(),
            cluster: cluster.map(str::to_owned),
        }),
        ..summary(&dir, "20241201_143022").parameters
    };
    // What is known of both: surely another, kin, surely the same.
    for (one, other, expected) in [
        (
            of(Some("a"), Some("1")),
            of(Some("a"), Some("1")),
            (false, true, true),
        ),
        (
            of(Some("a"), None),
            of(Some("a"), None),
            (false, true, true),
        ),
        // Restored from a dump.
        (
            of(Some("a"), Some("1")),
            of(Some("b"), Some("2")),
            (true, false, false),
        ),
        (
            of(Some("a"), Some("1")),
            of(Some("a"), Some("2")),
            (true, false, false),
        ),
        // A copy of the files, or the same by another name.
        (
            of(Some("a"), Some("1")),
            of(Some("b"), Some("1")),
            (false, false, false),
        ),
        (
            of(Some("a"), Some("1")),
            of(Some("a"), None),
            (false, false, false),
        ),
        // A journal of an older version.
        (
            of(Some("a"), Some("1")),
            of(None, None),
            (false, true, false),
        ),
    ] {
        for (one, other) in [(&one, &other), (&other, &one)] {
            let found = (
                one.is_surely_other(other),
                one.is_kin(other),
                one.is_surely_same(other),
            );
            assert_eq!(found, expected, "{one:?} {other:?}");
            assert_eq!(one.difference(other).is_some(), expected.0);
        }
    }
}
