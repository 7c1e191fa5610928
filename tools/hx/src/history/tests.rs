//! The database as a whole: opening, refusing, state, numbers, forgetting and pinning.

use std::path::Path;
use std::sync::Arc;

use super::feed::{republish_in, settle_erased_in};
use super::find::FindQuery;
use super::model::{Event, Pin, Record, RecordId, Session, Tombstone};
use super::occurrences::import_time_us;
use super::{Applied, ApplyOptions, History, HistoryErrorKind, put_state_in};

/// An event with an id of its own for each text and time.
pub(super) fn event(command: &str, time_us: i64) -> Event {
    let occurrence = time_us.rem_euclid(1_000_000) as u32;
    Event {
        id: Event::import_id("box", import_time_us(time_us, true), command, occurrence),
        command: Arc::from(command),
        time_us,
        time_known: true,
        duration_ms: None,
        exit: None,
        cwd: None,
        host: Arc::from("box"),
        shell: Some(Arc::from("zsh")),
        session: None,
        actor: None,
    }
}

pub(super) fn commands(history: &History, text: &str) -> Vec<String> {
    let hits = history.find(&FindQuery::new(text, 100)).expect("find");
    hits.into_iter()
        .map(|hit| hit.event.command.to_string())
        .collect()
}

fn tombstone(target: RecordId) -> Record {
    Record::Tombstone(Tombstone {
        id: Tombstone::id_for(target),
        target,
        time_us: 5,
    })
}

fn insert(history: &mut History, records: Vec<Record>) -> Applied {
    history
        .insert_all(records, ApplyOptions::default())
        .expect("insert")
}

/// Everything in the database that must be equal where the records are.
fn records(history: &History) -> Vec<Record> {
    let mut records: Vec<Record> = history
        .read_records(0, i64::MAX, usize::MAX)
        .expect("read")
        .into_iter()
        .map(|(_, _, record)| record)
        .collect();
    records.sort_by_key(Record::id);
    records
}

#[test]
fn every_kind_of_record_is_read_back_equal() {
    let full = Event {
        duration_ms: Some(12),
        exit: Some(-1),
        cwd: Some(Arc::from("/tmp/ü")),
        session: Some(Arc::from("s1")),
        actor: Some(Arc::from("agent")),
        ..event("echo ü\nls", -3)
    };
    let session = Session {
        id: Session::id_for("s1"),
        name: Arc::from("s1"),
        host: Arc::from("box"),
        shell: None,
        start_us: Some(1),
        end_us: None,
    };
    let other = Session {
        id: Session::id_for("s2"),
        name: Arc::from("s2"),
        host: Arc::from(""),
        shell: Some(Arc::from("fish")),
        start_us: None,
        end_us: Some(9),
    };
    let pin = Pin {
        id: Pin::id_for(full.id, 7, true),
        event: full.id,
        clock: 7,
        pinned: true,
    };
    let gone = RecordId::of("x", &[]);
    let mut all = vec![
        Record::Event(full),
        Record::Session(session),
        Record::Session(other),
        Record::Pin(pin),
        tombstone(gone),
    ];
    let mut history = History::in_memory().expect("open");
    assert_eq!(
        insert(&mut history, all.clone()),
        Applied {
            added: 5,
            ..Applied::default()
        }
    );
    all.sort_by_key(Record::id);
    assert_eq!(records(&history), all);
    assert_eq!(
        insert(&mut history, all),
        Applied {
            known: 5,
            ..Applied::default()
        }
    );
    let counts = history.counts().expect("counts");
    assert_eq!(
        (
            counts.events,
            counts.sessions,
            counts.pins,
            counts.tombstones
        ),
        (1, 2, 1, 1)
    );
}

#[test]
fn a_tombstone_wins_in_any_order() {
    let (kept, gone) = (event("keep me", 1), event("forget me", 2));
    let (kept, gone) = (Record::Event(kept), Record::Event(gone));
    let stone = tombstone(gone.id());
    let orders: [Vec<Vec<&Record>>; 5] = [
        vec![vec![&kept, &gone, &stone]],
        vec![vec![&stone, &gone, &kept]],
        vec![vec![&stone], vec![&gone, &kept]],
        vec![vec![&gone], vec![&kept], vec![&stone]],
        vec![
            vec![&kept, &gone],
            vec![&stone],
            vec![&gone],
            vec![&stone, &gone],
        ],
    ];
    for order in orders {
        let mut history = History::in_memory().expect("open");
        for batch in order {
            insert(&mut history, batch.into_iter().cloned().collect());
        }
        let mut expected = vec![kept.clone(), stone.clone()];
        expected.sort_by_key(Record::id);
        assert_eq!(records(&history), expected);
        assert_eq!(commands(&history, "me"), ["keep me"]);
        assert!(history.is_forgotten(gone.id()).expect("ask"));
    }
}

#[test]
fn what_is_forgotten_is_nowhere_in_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("hx.db");
    let mut history = History::open(&path).expect("open");
    let canary = "xyzzycanary";
    let secret = event(&format!("login {canary}"), 50);
    for round in 0..40 {
        // Rank changes leave copies of the index behind, which merges must not let survive.
        insert(
            &mut history,
            (0..20)
                .map(|n| Record::Event(event(&format!("cmd {n}"), round * 100 + n)))
                .collect(),
        );
        insert(
            &mut history,
            vec![Record::Event(Event {
                id: RecordId::of("r", &[&[round as u8]]),
                time_us: round * 1_000_000,
                ..secret.clone()
            })],
        );
    }
    assert!(contains(directory.path(), canary));
    let ids: Vec<RecordId> = (0..40_u8)
        .map(|round| RecordId::of("r", &[&[round]]))
        .collect();
    let applied = history.forget(&ids, 1).expect("forget");
    assert_eq!((applied.added, applied.erased), (40, 40));
    assert_eq!(commands(&history, canary), [""; 0]);
    assert!(!contains(directory.path(), canary));
    assert_eq!(history.erased(1).expect("erased").len(), 40);
    assert_eq!(history.health().expect("health").problems, [""; 0]);
    integrity(&history);
}

fn contains(directory: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(directory)
        .expect("list")
        .map(|entry| entry.expect("entry").path());
    files
        .map(|path| std::fs::read(path).expect("read"))
        .any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
}

/// The search index names exactly the commands that have events, and counts are right.
pub(super) fn integrity(history: &History) {
    let number = |sql: &str| -> i64 {
        history
            .connection()
            .query_row(sql, [], |row| row.get(0))
            .expect(sql)
    };
    assert_eq!(
        number("SELECT count(*) FROM commands WHERE rank IS NULL"),
        0
    );
    assert_eq!(
        number(
            "SELECT count(*) FROM commands c WHERE uses <> (SELECT count(*) FROM records r WHERE r.command = c.id)"
        ),
        0
    );
    assert_eq!(number("SELECT count(*) FROM commands WHERE uses = 0"), 0);
    assert_eq!(
        number("SELECT count(*) FROM search_docsize"),
        number("SELECT count(*) FROM commands")
    );
    assert_eq!(
        number("SELECT count(*) FROM search_docsize WHERE id NOT IN (SELECT rank FROM commands)"),
        0
    );
}

#[test]
fn forgetting_the_newest_use_gives_the_command_its_old_place() {
    let mut history = History::in_memory().expect("open");
    let newest = event("git a", 900_000_000);
    insert(
        &mut history,
        vec![
            Record::Event(event("git a", 100_000_000)),
            Record::Event(event("git b", 500_000_000)),
            Record::Event(newest.clone()),
        ],
    );
    assert_eq!(commands(&history, "git"), ["git a", "git b"]);
    history.forget(&[newest.id], 1).expect("forget");
    assert_eq!(commands(&history, "git"), ["git b", "git a"]);
    integrity(&history);
}

#[test]
fn of_several_pins_the_newest_wish_holds() {
    let mut history = History::in_memory().expect("open");
    let one = event("make", 1);
    insert(&mut history, vec![Record::Event(one.clone())]);
    assert!(history.set_pinned(one.id, true, 100).expect("pin"));
    assert!(!history.set_pinned(one.id, true, 101).expect("pin"));
    let mut query = FindQuery::new("", 10);
    query.pinned = true;
    assert_eq!(history.find(&query).expect("find").len(), 1);
    // The clock went back: the newer wish wins all the same.
    assert!(history.set_pinned(one.id, false, 3).expect("unpin"));
    assert_eq!(history.find(&query).expect("find").len(), 0);
    // An older wish that arrives late changes nothing.
    let late = Pin {
        id: Pin::id_for(one.id, 50, true),
        event: one.id,
        clock: 50,
        pinned: true,
    };
    insert(&mut history, vec![Record::Pin(late)]);
    assert_eq!(history.find(&query).expect("find").len(), 0);
}

#[test]
fn ids_are_found_by_a_unique_beginning() {
    let mut history = History::in_memory().expect("open");
    let events: Vec<Event> = (0..40).map(|n| event("ls", n)).collect();
    insert(
        &mut history,
        events.iter().cloned().map(Record::Event).collect(),
    );
    for one in &events {
        let hex = one.id.to_string();
        assert_eq!(history.resolve_id_prefix(&hex).expect("found"), one.id);
        assert_eq!(
            history
                .resolve_id_prefix(&hex[..16].to_uppercase())
                .expect("found"),
            one.id
        );
    }
    assert_eq!(
        history.event(events[3].id).expect("read").as_ref(),
        Some(&events[3])
    );
    // Of 40 ids two begin with the same digit.
    let first = |digit: u32| {
        events
            .iter()
            .filter(|one| one.id.to_string().starts_with(&format!("{digit:x}")))
            .count()
    };
    let crowded = (0..16)
        .find(|digit| first(*digit) > 1)
        .expect("a crowded digit");
    let kind = |text: &str| history.resolve_id_prefix(text).expect_err(text).kind();
    assert_eq!(kind(&format!("{crowded:x}")), HistoryErrorKind::Ambiguous);
    assert_eq!(kind("xyz"), HistoryErrorKind::Invalid);
    assert_eq!(kind(""), HistoryErrorKind::Invalid);
    assert_eq!(kind(&"0".repeat(33)), HistoryErrorKind::Invalid);
    assert_eq!(kind(&"0".repeat(32)), HistoryErrorKind::NotFound);
}

#[test]
fn numbers_are_never_given_twice() {
    let mut history = History::in_memory().expect("open");
    let own = vec![Record::Event(event("a", 1)), Record::Event(event("b", 2))];
    insert(&mut history, own.clone());
    let alias = history.vault_alias("vault").expect("alias");
    assert_eq!(history.vault_alias("vault").expect("alias"), alias);
    assert_ne!(history.vault_alias("other").expect("alias"), alias);
    let learnt = ApplyOptions {
        src: Some(alias),
        published_upto: 1,
    };
    history
        .insert_all([Record::Event(event("c", 3))], learnt)
        .expect("learn");
    assert_eq!(
        (
            history.head().expect("head"),
            history.count_own(alias, 0).expect("count")
        ),
        (3, 2)
    );
    // `b` was not published yet and comes from the vault: it need not be published. `a` was.
    history.insert_all(own.clone(), learnt).expect("learn");
    let numbers = |history: &History| -> Vec<i64> {
        history
            .read_own(alias, (1, 99), 9)
            .expect("own")
            .into_iter()
            .map(|(seq, _)| seq)
            .collect()
    };
    assert_eq!(numbers(&history), [1]);
    let transaction = history.begin().expect("begin");
    assert_eq!(
        republish_in(&transaction, |found| found.id != own[0].id()).expect("republish"),
        2
    );
    transaction.commit().expect("commit");
    assert_eq!(numbers(&history), [1, 4, 5]);
    let last = history.read_records(4, 5, 9).expect("read").remove(0).2;
    history.forget(&[last.id()], 1).expect("forget");
    assert_eq!(history.head().expect("head"), 6);
    assert_eq!(history.erased(1).expect("erased"), [5]);
    let transaction = history.begin().expect("begin");
    settle_erased_in(&transaction, 1, &[5]).expect("settle");
    put_state_in(&transaction, "cursor", Some(b"x")).expect("put");
    transaction.commit().expect("commit");
    assert_eq!(history.erased(1).expect("erased"), [0; 0]);
    assert_eq!(
        history.erased(2).expect("erased"),
        [5],
        "another vault still has to deal with it"
    );
    assert_eq!(
        history.state_get("cursor").expect("get").as_deref(),
        Some(&b"x"[..])
    );
    history.state_put("cursor/2", Some(b"y")).expect("put");
    assert_eq!(
        history.state_keys("cursor").expect("keys"),
        ["cursor", "cursor/2"]
    );
    history.state_put("cursor", None).expect("put");
    assert_eq!(history.state_get("cursor").expect("get"), None);
}

#[test]
fn a_file_that_is_no_history_database_is_named_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("hx.db");
    let kind = |path: &Path| History::open(path).err().expect("refused").kind();
    std::fs::write(
        &path,
        "this is not a database, but long enough to look at ".repeat(40),
    )
    .expect("write");
    let before = std::fs::read(&path).expect("read");
    assert_eq!(kind(&path), HistoryErrorKind::Broken);
    assert_eq!(
        History::open_read_only(&path)
            .err()
            .expect("refused")
            .kind(),
        HistoryErrorKind::Broken
    );
    assert_eq!(std::fs::read(&path).expect("read"), before);

    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .and_then(|db| db.execute_batch("CREATE TABLE t(x)"))
        .expect("make");
    assert_eq!(kind(&foreign), HistoryErrorKind::Broken);

    let newer = directory.path().join("newer.db");
    drop(History::open(&newer).expect("make"));
    rusqlite::Connection::open(&newer)
        .and_then(|db| db.execute_batch("PRAGMA user_version = 99"))
        .expect("change");
    let error = History::open(&newer).err().expect("refused");
    assert_eq!(error.kind(), HistoryErrorKind::NewerVersion);
    assert!(
        error.to_string().contains("newer.db") && error.remedy().contains("newest hx"),
        "{error}"
    );

    let absent = directory.path().join("absent.db");
    assert_eq!(
        History::open_read_only(&absent)
            .err()
            .expect("refused")
            .kind(),
        HistoryErrorKind::NotFound
    );
    assert!(!absent.exists());
}

#[test]
fn only_the_owner_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new/hx.db");
    let mut history = History::open(&path).expect("open");
    insert(&mut history, vec![Record::Event(event("ls", 1))]);
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode(&path), mode(path.parent().expect("parent"))),
        (0o600, 0o700)
    );
    assert_eq!(
        commands(&History::open_read_only(&path).expect("open"), "ls"),
        ["ls"]
    );
}

#[test]
fn an_error_within_a_transaction_changes_nothing() {
    let mut history = History::in_memory().expect("open");
    let failing = history.insert_all_with(
        [Record::Event(event("ls", 1))],
        ApplyOptions::default(),
        |_| {
            Err(super::HistoryError::new(
                HistoryErrorKind::Other,
                "no",
                "because",
            ))
        },
    );
    assert!(failing.is_err());
    assert_eq!(history.counts().expect("counts").events, 0);
    insert(&mut history, vec![Record::Event(event("ls", 1))]);
    assert_eq!(commands(&history, "ls"), ["ls"]);
}

#[test]
fn failed_commands_have_an_index_also_in_an_older_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("hx.db");
    History::open(&path)
        .expect("made")
        .connection()
        .execute_batch("DROP INDEX records_failed")
        .expect("as it was before");
    let history = History::open(&path).expect("opens");
    let plan: String = history
        .connection()
        .query_row(
            "EXPLAIN QUERY PLAN SELECT r.seq FROM records r WHERE r.command = 1 AND r.kind = 1 AND r.exit <> 0 ORDER BY r.time DESC LIMIT 1",
            [],
            |row| row.get(3),
        )
        .expect("a plan");
    assert!(plan.contains("records_failed"), "{plan}");
}
