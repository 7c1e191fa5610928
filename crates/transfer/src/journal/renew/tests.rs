//! Tests of renewing a journal while others are at it.

use super::*;
use crate::item::{Blob, Item};
use crate::journal::{Line, MirrorCopy, RunHeader};
use object_store::memory::InMemory;
use std::cell::Cell;
use std::sync::{Arc, Barrier};

pub(in crate::journal) fn planned(number: usize) -> Line {
    let item = Item {
        id: format!("item-{number}"),
        blobs: vec![Blob {
            role: "document".to_owned(),
            source: format!("/files/{number}"),
            key: format!("documents/{number}"),
            size: None,
            sha256: None,
            required: true,
            attributes: store::Attributes::default(),
        }],
        context: serde_json::Value::Null,
    };
    Line::Planned {
        item,
        fresh: vec![true],
    }
}

/// A journal of some items in a directory, with a copy of it in a store; returns where it was when it had only the first.
pub(in crate::journal) async fn sample(path: &Path) -> (Store, u64) {
    let header = RunHeader {
        run_id: "run-1".to_owned(),
        tool: "test".to_owned(),
        version: "0".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
        parameters: serde_json::Value::Null,
    };
    let target = Store::from_object_store(Arc::new(InMemory::new()), "");
    let journal = Journal::create(path, header).expect("creates");
    let mut first = 0;
    for number in 0..20 {
        journal.append(&planned(number)).expect("appends");
        journal.sync().await.expect("syncs");
        if number == 0 {
            first = journal.durable_length();
        }
    }
    let mut copy = MirrorCopy::new(target.clone(), "mirror", "run-1");
    copy.catch_up(&journal).await.expect("copies");
    (target, first)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("lists");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

#[test]
fn of_many_at_once_one_renews_it_and_the_others_find_it_whole() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).build().expect("a runtime")
    };
    for _ in 0..10 {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("journal");
        let (target, first) = runtime().block_on(sample(&path));
        let whole = fs::read(&path).expect("reads");
        fs::write(&path, &whole[..usize::try_from(first).expect("small")]).expect("cuts");
        // What a process left that was killed.
        fs::write(dir.path().join("journal.renewing-0"), "half").expect("writes");
        let begin = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (begin, path, target) = (begin.clone(), path.clone(), target.clone());
                let runtime = runtime();
                std::thread::spawn(move || {
                    begin.wait();
                    runtime.block_on(Journal::renew_from_mirror(
                        &target,
                        "mirror",
                        &path,
                        u64::MAX,
                    ))
                })
            })
            .collect();
        let outcomes = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic").expect("renews"));
        assert_eq!(outcomes.flatten().count(), 1, "one of them renewed it");
        assert_eq!(fs::read(&path).expect("reads"), whole);
        assert_eq!(names(dir.path()), ["journal", "journal.short-1"]);
    }
}

#[test]
fn a_file_that_was_replaced_before_it_was_locked_is_not_the_one_that_is_used() {
    let dir = tempfile::tempdir().expect("scratch");
    let (path, new) = (dir.path().join("journal"), dir.path().join("new"));
    fs::write(&path, "old").expect("writes");
    fs::write(&new, "new").expect("writes");
    let opened = Cell::new(0);
    let open = || {
        let file = File::open(&path);
        // Another process is done with its renewal just now.
        if opened.replace(opened.get() + 1) == 0 {
            fs::rename(&new, &path)?;
        }
        file
    };
    let file = reader::open_locked(&path, open).expect("opens");
    assert_eq!(opened.get(), 2);
    assert_eq!(io::read_to_string(file).expect("reads"), "new");
}

#[tokio::test]
async fn what_is_open_to_be_read_stays_the_file_it_was() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let (target, first) = sample(&path).await;
    let whole = fs::read(&path).expect("reads");
    fs::write(&path, &whole[..usize::try_from(first).expect("small")]).expect("cuts");
    let before = Journal::read_only(&path).expect("opens");
    let renewed = Journal::renew_from_mirror(&target, "mirror", &path, u64::MAX).await;
    assert!(renewed.expect("renews").is_some());
    assert_eq!(before.entries(|_| true).count(), 1);
    assert!(before.exceptions().expect("reads").is_empty());
    let after = Journal::read_only(&path).expect("opens");
    assert_eq!(after.entries(|_| true).count(), 20);
}

#[tokio::test]
async fn a_journal_that_is_written_is_not_replaced() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let (target, first) = sample(&path).await;
    let whole = fs::read(&path).expect("reads");
    fs::write(&path, &whole[..usize::try_from(first).expect("small")]).expect("cuts");
    let _writer = Journal::open(&path).expect("opens");
    let error = Journal::renew_from_mirror(&target, "mirror", &path, u64::MAX).await;
    let kind = error.expect_err("it is in use").kind();
    assert_eq!(kind, crate::JournalErrorKind::Locked);
    assert_eq!(names(dir.path()), ["journal"]);
}

#[tokio::test]
async fn a_longer_copy_is_not_taken_where_nothing_says_that_the_file_is_short() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("journal");
    let (target, first) = sample(&path).await;
    let whole = fs::read(&path).expect("reads");
    let short = &whole[..usize::try_from(first).expect("small")];
    fs::write(&path, short).expect("cuts");
    let error = Journal::renew_from_mirror(&target, "mirror", &path, first).await;
    let error = error.expect_err("is refused");
    assert_eq!(error.kind(), JournalErrorKind::Shorter);
    assert_eq!(fs::read(&path).expect("reads"), short);
    let renewed = Journal::renew_from_mirror(&target, "mirror", &path, first + 1).await;
    assert!(renewed.expect("is replaced").is_some());
    assert_eq!(fs::read(&path).expect("reads"), whole);
}
