//! Tests of the journal: what is written is read back, a torn tail is cut, damage is named.

use super::*;
use crate::item::Blob;
use proptest::prelude::*;
use std::fs;
use std::io::Write;

fn header() -> RunHeader {
    RunHeader {
        run_id: "run-1".to_owned(),
        tool: "test".to_owned(),
        version: "0".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
        parameters: serde_json::json!({"bucket": "b"}),
    }
}

fn item(id: &str) -> Item {
    Item {
        id: id.to_owned(),
        blobs: vec![Blob {
            role: "document".to_owned(),
            source: format!("/files/{id}"),
            key: format!("documents/{id}"),
            size: None,
            sha256: None,
            required: true,
            attributes: store::Attributes::default(),
        }],
        context: serde_json::json!({"old": "\u{e4}\n\"quoted\""}),
    }
}

fn stored() -> StoredBlob {
    StoredBlob {
        size: 3,
        sha256: Digest::of(b"abc"),
        created: true,
        stamp: None,
    }
}

/// Writes items of all states: the n-th is in the n-th state.
fn write_all_states(journal: &Journal) {
    let append = |line: Line| journal.append(&line).expect("appends");
    let ids = |numbers: &[u32]| {
        numbers
            .iter()
            .map(|n| format!("item-{n}"))
            .collect::<Vec<_>>()
    };
    let outcomes = |numbers: &[u32], outcome: Outcome| {
        let ids = ids(numbers).into_iter();
        ids.map(|id| (id, outcome.clone())).collect::<Vec<_>>()
    };
    for number in 0..11 {
        let item = item(&format!("item-{number}"));
        let id = item.id.clone();
        let fresh = vec![true];
        let planned = append(Line::Planned { item, fresh });
        if number != 0 && number != 4 {
            let blobs = vec![Some(stored())];
            append(Line::Stored { id, planned, blobs });
        }
    }
    let time = jiff::Timestamp::UNIX_EPOCH;
    append(Line::Committing {
        ids: ids(&[2, 3, 5, 6, 7, 8, 9, 10]),
    });
    append(Line::Committed {
        time,
        outcomes: outcomes(&[3, 6, 7, 8, 9, 10], Outcome::Done),
    });
    append(Line::Committed {
        time,
        outcomes: outcomes(&[5], Outcome::Gone("row".to_owned())),
    });
    append(Line::Reverting {
        ids: ids(&[6, 7, 8]),
    });
    append(Line::Reverted {
        outcomes: outcomes(&[7, 8], Outcome::AlreadyDone),
    });
    append(Line::ObjectsRemoved { ids: ids(&[8]) });
    append(Line::Removing { ids: ids(&[9, 10]) });
    append(Line::Removed { ids: ids(&[10]) });
    let exception = crate::Exception {
        item: "item-4".to_owned(),
        role: "document".to_owned(),
        source: String::new(),
        key: String::new(),
        kind: crate::ExceptionKind::Missing,
        message: "it is not there".to_owned(),
        remedy: "restore it".to_owned(),
    };
    append(Line::LeftOut {
        id: "item-4".to_owned(),
        exception,
    });
}

const IN_ORDER: [State; 11] = [
    State::Planned,
    State::Stored,
    State::Committing,
    State::Committed,
    State::LeftOut,
    State::Lost,
    State::Reverting,
    State::Reverted,
    State::Undone,
    State::Removing,
    State::Removed,
];

fn check_all_states(journal: &Journal) {
    for (number, state) in IN_ORDER.into_iter().enumerate() {
        let id = format!("item-{number}");
        assert_eq!(journal.state(&id), Some(state), "{id}");
        let entry = journal.find(&id).expect("reads").expect("is there");
        assert_eq!((&entry.item, entry.state), (&item(&id), state));
        let is_stored = number != 0 && number != 4;
        assert_eq!(entry.stored.len(), usize::from(is_stored), "{id}");
        assert_eq!(journal.tally().of(state), 1);
    }
    assert_eq!(
        (journal.tally().switched(), journal.tally().unfinished()),
        (3, 3)
    );
    assert_eq!(journal.exceptions().expect("reads").len(), 1);
    assert_eq!(journal.state("unknown"), None);
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, header()).expect("creates");
    write_all_states(&journal);
    check_all_states(&journal);
    journal.sync().await.expect("syncs");
    check_all_states(&Journal::read_only(&path).expect("opens while it is written"));
    drop(journal);
    let journal = Journal::open(&path).expect("opens");
    assert_eq!((journal.header(), journal.torn_bytes()), (&header(), 0));
    check_all_states(&journal);
    let entries: Vec<_> = journal.entries(State::is_switched).collect();
    assert_eq!(entries.len(), 3);
}

#[test]
fn what_is_not_flushed_is_lost_with_the_process() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, header()).expect("creates");
    write_all_states(&journal);
    drop(journal);
    let journal = Journal::open(&path).expect("opens");
    assert_eq!(journal.tally().total(), 0);
}

#[test]
fn one_process_writes_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let kind = |outcome: Result<Journal, JournalError>| outcome.err().map(|error| error.kind());
    assert_eq!(kind(Journal::open(&path)), Some(JournalErrorKind::NotFound));
    let journal = Journal::create(&path, header()).expect("creates");
    assert_eq!(kind(Journal::open(&path)), Some(JournalErrorKind::Locked));
    assert_eq!(
        kind(Journal::create(&path, header())),
        Some(JournalErrorKind::Exists)
    );
    drop(journal);
    drop(Journal::open(&path).expect("is free again"));
    let odd = RunHeader {
        run_id: "../up".to_owned(),
        ..header()
    };
    let other = dir.path().join("other");
    assert_eq!(
        kind(Journal::create(&other, odd)),
        Some(JournalErrorKind::Unknown)
    );
    fs::write(&other, "some other file\nwith lines\n").expect("writes");
    assert_eq!(kind(Journal::open(&other)), Some(JournalErrorKind::Unknown));
    fs::write(&other, "").expect("writes");
    assert_eq!(kind(Journal::open(&other)), Some(JournalErrorKind::Unknown));
}

/// A journal's bytes, and where each line begins.
fn sample() -> (Vec<u8>, Vec<usize>) {
    static SAMPLE: std::sync::OnceLock<(Vec<u8>, Vec<usize>)> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(make_sample).clone()
}

fn make_sample() -> (Vec<u8>, Vec<usize>) {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, header()).expect("creates");
    write_all_states(&journal);
    journal.flush().expect("flushes");
    let bytes = fs::read(&path).expect("reads");
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let begins = std::iter::once(0).chain(ends.map(|(place, _)| place + 1));
    let begins = begins.filter(|place| *place < bytes.len()).collect();
    (bytes, begins)
}

fn open_bytes(bytes: &[u8]) -> (Result<Journal, JournalError>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    fs::write(&path, bytes).expect("writes");
    (Journal::open(&path), dir)
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let (bytes, begins) = sample();
    let last = begins[begins.len() - 1];
    for length in (begins[1]..bytes.len()).step_by(13) {
        let (opened, _dir) = open_bytes(&bytes[..length]);
        let journal = opened.unwrap_or_else(|error| panic!("{length}: {error}"));
        let whole = begins
            .iter()
            .filter(|begin| **begin <= length)
            .max()
            .expect("a line");
        assert_eq!(journal.torn_bytes(), (length - whole) as u64);
        // And it can be written on.
        journal
            .append(&Line::Begin {
                what: "run".to_owned(),
                time: jiff::Timestamp::UNIX_EPOCH,
            })
            .expect("appends");
        journal.flush().expect("flushes");
        drop(Journal::read_only(journal.path()).expect("is whole"));
    }
    let mut garbage = bytes[..last].to_vec();
    garbage.extend_from_slice(&[0; 5000]);
    let (opened, _dir) = open_bytes(&garbage);
    assert_eq!(
        opened.expect("a power cut leaves zeroes").torn_bytes(),
        5000
    );
}

#[test]
fn damage_before_the_tail_is_named_by_its_line() {
    let (bytes, begins) = sample();
    for (number, begin) in begins.iter().enumerate().take(begins.len() - 1).skip(1) {
        let mut flipped = bytes.clone();
        flipped[begin + 30] ^= 1;
        let without: Vec<u8> = [&bytes[..*begin], &bytes[begins[number + 1]..]].concat();
        let doubled: Vec<u8> = [&bytes[..begins[number + 1]], &bytes[*begin..]].concat();
        for (damaged, line) in [
            (flipped, number + 1),
            (without, number + 1),
            (doubled, number + 2),
        ] {
            let (opened, _dir) = open_bytes(&damaged);
            let error = opened
                .err()
                .unwrap_or_else(|| panic!("line {line} is damaged"));
            assert_eq!(error.kind(), JournalErrorKind::Damaged);
            assert_eq!(error.line(), Some(line as u64));
            assert!(error.remedy().contains("copy in the target"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever bytes a file has: no panic, and never a line that was not written.
    #[test]
    fn any_change_is_noticed_or_cut(place in 0_usize..4000, byte in any::<u8>(), tail in proptest::collection::vec(any::<u8>(), 0..60), cut in 0_usize..4000) {
        let (mut bytes, _) = sample();
        let length = bytes.len();
        if place % 2 == 0 {
            bytes.truncate(length - cut.min(length));
        }
        if let Some(found) = bytes.get_mut(place) {
            *found = byte;
        }
        bytes.extend_from_slice(&tail);
        let (opened, _dir) = open_bytes(&bytes);
        if let Ok(journal) = opened {
            let (original, _) = sample();
            let kept = fs::read(journal.path()).expect("reads");
            prop_assert!(original.starts_with(&kept));
        }
    }
}

#[tokio::test]
async fn a_copy_in_a_store_rebuilds_the_journal() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let target = store::Store::from_object_store(
        std::sync::Arc::new(object_store::memory::InMemory::new()),
        "",
    );
    let journal = Journal::create(&path, header()).expect("creates");
    let mut copy = MirrorCopy::new(target.clone(), "mirror", "run-1");
    journal.sync().await.expect("syncs");
    copy.catch_up(&journal).await.expect("copies");
    let none = Journal::mirrored_runs(&target, "mirror").await;
    assert!(none.expect("lists").is_empty(), "it took nothing on");
    let (item, fresh) = (item("item-0"), vec![true]);
    journal
        .append(&Line::Planned { item, fresh })
        .expect("appends");
    journal.sync().await.expect("syncs");
    copy.catch_up(&journal).await.expect("copies");
    write_all_states(&journal);
    journal.sync().await.expect("syncs");
    // Another process goes on with the copy.
    let mut copy = MirrorCopy::new(target.clone(), "mirror", "run-1");
    copy.catch_up(&journal).await.expect("copies");
    let other = dir.path().join("other");
    let rebuilt = Journal::from_mirror(&target, "mirror", "run-1", &other).await;
    check_all_states(&rebuilt.expect("rebuilds"));
    assert_eq!(
        fs::read(&path).expect("reads"),
        fs::read(&other).expect("reads")
    );
    assert_eq!(
        Journal::mirrored_runs(&target, "mirror")
            .await
            .expect("lists"),
        ["run-1"]
    );
    let pieces = target.list("mirror/run-1").await.expect("lists");
    target
        .delete(&[pieces[0].key.clone()])
        .await
        .expect("deletes");
    let third = dir.path().join("third");
    let error = Journal::from_mirror(&target, "mirror", "run-1", &third).await;
    assert_eq!(
        error.err().map(|error| error.kind()),
        Some(JournalErrorKind::Damaged)
    );
    assert!(!third.exists());
    let error = Journal::from_mirror(&target, "mirror", "run-2", &third).await;
    assert_eq!(
        error.err().map(|error| error.kind()),
        Some(JournalErrorKind::NotFound)
    );
}

#[test]
fn many_items_are_indexed_and_take_sixteen_bytes_each() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, header()).expect("creates");
    drop(journal);
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("opens");
    let n = 20_000_u64;
    for number in 0..n {
        let line = Line::Planned {
            item: item(&format!("item-{number}")),
            fresh: vec![true],
        };
        file.write_all(&line::encode(number + 1, &line).expect("encodes"))
            .expect("writes");
    }
    let journal = Journal::open(&path).expect("opens");
    assert_eq!(journal.tally().of(State::Planned), n);
    assert!(
        std::mem::size_of::<(u64, u64)>() <= 16,
        "what the index holds of an item"
    );
}

#[tokio::test]
async fn what_is_switched_over_is_neither_planned_nor_left_out_nor_lost_by_a_line() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, header()).expect("creates");
    let plan = || Line::Planned {
        item: item("a"),
        fresh: vec![true],
    };
    let planned = journal.append(&plan()).expect("appends");
    let stored = Line::Stored {
        id: "a".to_owned(),
        planned,
        blobs: vec![],
    };
    let committed = |outcome| Line::Committed {
        time: jiff::Timestamp::UNIX_EPOCH,
        outcomes: vec![("a".to_owned(), outcome)],
    };
    journal.append(&stored).expect("appends");
    journal.append(&committed(Outcome::Done)).expect("appends");
    let exception = crate::Exception {
        item: "a".to_owned(),
        role: String::new(),
        source: String::new(),
        key: String::new(),
        kind: crate::ExceptionKind::Missing,
        message: String::new(),
        remedy: String::new(),
    };
    let left_out = Line::LeftOut {
        id: "a".to_owned(),
        exception,
    };
    let lost = committed(Outcome::Changed("else".to_owned()));
    for line in [&plan(), &stored, &left_out, &lost] {
        journal.append(line).expect("appends");
        assert_eq!(journal.state("a"), Some(State::Committed), "{line:?}");
    }
    journal.sync().await.expect("syncs");
    drop(journal);
    let again = Journal::open(&path).expect("opens");
    assert_eq!(again.state("a"), Some(State::Committed));
}
