//! Rescue: every page damaged in turn, the file's own journal, and what is no database.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::history::model::{Pin, Session};
use crate::history::tests::event;

const PAGE: usize = 4096;

/// A history with everything a history has, some thousand commands of it, one longer than a page.
fn everything(path: &Path) -> Vec<RecordId> {
    let mut history = History::open(path).expect("open");
    let long = "echo ".to_owned() + &"long ".repeat(3000);
    let mut records: Vec<Record> = (0..1200)
        .map(|n| {
            Record::Event(Event {
                cwd: Some(Arc::from(format!("/home/me/{}", n % 40))),
                exit: Some((n % 3) as i32),
                ..event(
                    &format!("command number {n} {}", "x".repeat(n % 60)),
                    n as i64 * 1_000_000,
                )
            })
        })
        .collect();
    records.push(Record::Event(event(&long, 5)));
    records.push(Record::Session(Session {
        id: Session::id_for("s"),
        name: Arc::from("s"),
        host: Arc::from("box"),
        shell: None,
        start_us: Some(1),
        end_us: None,
    }));
    let first = records[0].id();
    records.push(Record::Pin(Pin {
        id: Pin::id_for(first, 7, true),
        event: first,
        clock: 7,
        pinned: true,
    }));
    history
        .insert_all(records, ApplyOptions::default())
        .expect("insert");
    let gone = event("command number 17 xxxxxxxxxxxxxxxxx", 17_000_000).id;
    history.forget(&[gone], 77).expect("forget");
    ids(&history)
}

fn ids(history: &History) -> Vec<RecordId> {
    let records = history.read_records(0, i64::MAX, usize::MAX);
    let mut ids: Vec<RecordId> = records
        .expect("read")
        .iter()
        .map(|(_, _, record)| record.id())
        .collect();
    ids.sort();
    ids
}

#[test]
fn a_sound_database_is_read_whole() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let all = everything(&path);
    let rescued = History::rescue(&path).expect("rescue");
    assert_eq!(ids(&rescued), all);
    assert!(rescued.losses().is_some_and(Losses::are_none));
    let counts = History::open(&path).expect("open").counts();
    assert_eq!(rescued.counts().expect("counts"), counts.expect("counts"));
}

#[test]
fn whichever_page_is_damaged_only_what_it_held_is_missing_and_is_counted() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let all = everything(&path);
    let sound = std::fs::read(&path).expect("the file");
    let pages = sound.len() / PAGE;
    let mut worst = 0;
    // The first page is no page of records; one of four, and all near the beginning, where the roots are.
    for page in (0..pages).filter(|page| *page < 30 || page % 4 == 0) {
        let mut damaged = sound.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        let broken = dir.path().join("broken.db");
        std::fs::write(&broken, damaged).expect("written");
        let rescued = History::rescue(&broken).expect("something can be read");
        let losses = *rescued.losses().expect("it was rescued");
        let read: BTreeSet<RecordId> = ids(&rescued).into_iter().collect();
        let missing = all.iter().filter(|id| !read.contains(id)).count();
        assert!(read.iter().all(|id| all.contains(id)), "page {page}");
        assert_eq!(losses.missing, missing as u64, "page {page}: {losses:?}");
        assert!(
            losses.exact || page == 0 || missing == 0,
            "page {page}: {losses:?}"
        );
        worst = worst.max(missing);
    }
    assert!((1..200).contains(&worst), "a page held {worst} records");
}

/// A history that knows vaults, with so many directories; the roots of its tables and indexes.
fn synced(path: &Path, directories: i64) -> (History, HashMap<String, usize>) {
    let mut history = History::open(path).expect("open");
    let records = (0..600).map(|n| {
        let directory = format!("/home/me/{}/{}", n % directories, "deep/".repeat(20));
        Record::Event(Event {
            cwd: Some(Arc::from(directory)),
            ..event(&format!("command {n}"), n * 1_000_000)
        })
    });
    history
        .insert_all(records, ApplyOptions::default())
        .expect("insert");
    for vault in ["0123456789abcdef0123456789abcdef", "another", "a third"] {
        history.vault_alias(vault).expect("an alias");
    }
    let mut select = history
        .connection()
        .prepare("SELECT name, rootpage FROM sqlite_schema")
        .expect("a schema");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)));
    let roots = rows
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("roots");
    drop(select);
    (history, roots)
}

/// What each record says, by its id.
fn said(history: &History) -> HashMap<RecordId, Event> {
    let records = history.read_records(0, i64::MAX, usize::MAX).expect("read");
    records
        .into_iter()
        .filter_map(|(_, _, record)| match record {
            Record::Event(event) => Some((event.id, event)),
            _ => None,
        })
        .collect()
}

/// Overwrites the pages with these numbers from 1, and rescues the rest.
fn without(sound: &[u8], dir: &Path, pages: &[usize], filler: u8) -> History {
    let mut damaged = sound.to_vec();
    for page in pages {
        damaged[(page - 1) * PAGE..page * PAGE].fill(filler);
    }
    let broken = dir.join("broken.db");
    std::fs::write(&broken, damaged).expect("written");
    History::rescue(&broken).expect("something can be read")
}

#[test]
fn a_text_is_never_taken_from_a_table_with_rows_alike() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    // Texts on one page, which comes before that of the vaults, and on several, which come after it.
    for directories in [1, 200] {
        let path = dir.path().join(format!("{directories}.db"));
        let (history, roots) = synced(&path, directories);
        let all = said(&history);
        drop(history);
        let sound = std::fs::read(&path).expect("the file");
        for page in (1..=sound.len() / PAGE).filter(|page| *page < 30 || page % 3 == 0) {
            let rescued = without(&sound, dir.path(), &[page], 0);
            let losses = *rescued.losses().expect("it was rescued");
            for (id, event) in said(&rescued) {
                assert_eq!(event, all[&id], "page {page}");
            }
            // Each text is in the table and in its index.
            assert_eq!((losses.partial, losses.unsure), (0, 0), "page {page}");
        }
        let rescued = without(&sound, dir.path(), &[roots["records_time"]], 0);
        assert!(rescued.losses().is_some_and(Losses::are_none));
        assert_eq!(said(&rescued), all);
    }
}

#[test]
fn a_text_that_may_be_of_two_tables_is_left_out_and_counted() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let (history, roots) = synced(&path, 600);
    let all = said(&history);
    drop(history);
    let sound = std::fs::read(&path).expect("the file");
    // The index still has all texts.
    let both = [roots["strings"], roots["vaults"]];
    let rescued = without(&sound, dir.path(), &both, 0xa5);
    let losses = *rescued.losses().expect("it was rescued");
    assert!(losses.unsure > 500 && losses.partial == 0, "{losses:?}");
    assert!(!losses.are_none());
    assert_eq!(said(&rescued), all);
    // Without it, no command has a directory that was not its own.
    let index = ["strings", "vaults"].map(|table| roots[&format!("sqlite_autoindex_{table}_1")]);
    let rescued = without(&sound, dir.path(), &[both, index].concat(), 0xa5);
    let losses = *rescued.losses().expect("it was rescued");
    assert_eq!(losses.partial, all.len() as u64, "{losses:?}");
    assert!(said(&rescued).values().all(|event| event.cwd.is_none()));
}

#[test]
fn what_is_only_in_the_journal_is_read_too() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let mut history = History::open(&path).expect("open");
    let records = (0..500).map(|n| Record::Event(event(&format!("command {n}"), n)));
    history
        .insert_all(records, ApplyOptions::default())
        .expect("insert");
    // The process that holds the journal is killed: the files stay as they are.
    for name in ["hx.db", "hx.db-wal"] {
        let copy = dir.path().join(format!("dead-{name}"));
        std::fs::copy(dir.path().join(name), copy).expect("copied");
    }
    let rescued = History::rescue(&dir.path().join("dead-hx.db")).expect("rescue");
    assert_eq!(ids(&rescued).len(), 500);
}

#[test]
fn what_is_no_database_gives_an_error() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for (name, bytes) in [
        ("text", b"this was a database once ".repeat(1000)),
        ("zeros", vec![0; 10 * PAGE]),
        ("nothing", Vec::new()),
        ("leaves", vec![0x0d; 10 * PAGE + 5]),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let error = History::rescue(&path).err().expect("nothing is there");
        assert_eq!(error.kind(), HistoryErrorKind::Broken, "{name}");
    }
}

#[test]
fn any_bytes_are_survived() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    everything(&path);
    let sound = std::fs::read(&path).expect("the file");
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    for _ in 0..15 {
        let mut damaged = sound.clone();
        for _ in 0..200 {
            let at = random(damaged.len());
            damaged[at] ^= 1 << random(8);
        }
        let broken = dir.path().join("broken.db");
        std::fs::write(&broken, damaged).expect("written");
        let rescued = History::rescue(&broken).expect("most can be read");
        assert!(ids(&rescued).len() > 400);
    }
}

/// A history of imported commands, of which one was forgotten; the file's bytes.
fn imported(path: &Path) -> (HashMap<RecordId, Event>, Vec<u8>) {
    let mut history = History::open(path).expect("open");
    let lines = (0..60).map(|n| format!(": {}:0;echo {n}\n", 1_700_000_000 + 7 * n));
    let options = crate::history::import::ImportOptions {
        shell: None,
        host: Arc::from("box"),
        dry_run: false,
        progress: Default::default(),
    };
    let bytes = lines.collect::<String>().into_bytes();
    crate::history::import::import_bytes(&mut history, "f", &bytes, &options).expect("imports");
    let gone = Event::import_id("box", Some(1_700_000_000_000_000), "echo 0", 0);
    history.forget(&[gone], 77).expect("forget");
    let all = said(&history);
    assert_eq!(all.len(), 59);
    drop(history);
    (all, std::fs::read(path).expect("the file"))
}

/// Where these bytes are.
fn places(bytes: &[u8], of: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(of.len()).enumerate();
    windows
        .filter(|(_, window)| *window == of)
        .map(|(place, _)| place)
        .collect()
}

#[test]
fn where_a_row_and_an_index_disagree_the_id_proves_which_is_right() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let (all, sound) = imported(&path);
    let one = all.values().next().expect("an event");
    let (id, time) = (one.id.0, one.time_us.to_be_bytes());
    // Of the row and of the index of ids; of the row and of two indexes.
    for (places, count) in [(places(&sound, &id), 2), (places(&sound, &time), 3)] {
        assert_eq!(places.len(), count);
        for place in places {
            // Of a time these are minutes and years: an id is of a whole second, and proves nothing within it.
            for byte in [3, 4] {
                let mut damaged = sound.clone();
                damaged[place + byte] ^= 4;
                let broken = dir.path().join("broken.db");
                std::fs::write(&broken, damaged).expect("written");
                let rescued = History::rescue(&broken).expect("all can be read");
                let losses = rescued.losses().expect("it was rescued");
                assert!(losses.are_none(), "{place}: {losses:?}");
                assert_eq!(said(&rescued), all, "{place}");
            }
        }
    }
}

#[test]
fn whichever_bit_changed_nothing_is_wrong_in_silence() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let (all, sound) = imported(&path);
    let gone = Event::import_id("box", Some(1_700_000_000_000_000), "echo 0", 0);
    let same =
        |one: &Event, other: &Event| (one.time_us, &one.command) == (other.time_us, &other.command);
    for (nth, place) in (0..sound.len()).step_by(59).enumerate() {
        let mut damaged = sound.clone();
        damaged[place] ^= 1 << (nth % 8);
        let broken = dir.path().join("broken.db");
        std::fs::write(&broken, damaged).expect("written");
        let Ok(rescued) = History::rescue(&broken) else {
            continue;
        };
        let losses = rescued.losses().expect("it was rescued");
        let there = said(&rescued);
        let is_right = there.len() == all.len()
            && there
                .iter()
                .all(|(id, event)| all.get(id).is_some_and(|was| same(was, event)));
        let wrong = there
            .iter()
            .filter(|(id, event)| all.get(id) != Some(event));
        let wrong: Vec<_> = wrong.map(|(id, event)| (event, all.get(id))).collect();
        assert!(
            is_right || !losses.are_none(),
            "{place}: {losses:?}: {wrong:?}"
        );
        for (_, _, record) in rescued.read_records(0, i64::MAX, usize::MAX).expect("read") {
            if let Record::Tombstone(tombstone) = record {
                assert_eq!(tombstone.target, gone, "{place}");
            }
        }
    }
}
