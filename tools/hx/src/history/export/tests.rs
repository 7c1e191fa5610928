//! Every format read back, the document byte for byte, tables parsed by a reader of their own, and secrets.

use std::sync::Arc;

use proptest::prelude::*;

use super::{ExportFilter, ExportFormat, export, export_file, export_or_tell, redact};
use crate::history::import::{ImportOptions, Shell, import_bytes};
use crate::history::model::{Event, Pin, Record, RecordId, Session};
use crate::history::tests::event;
use crate::history::{ApplyOptions, History, HistoryError, HistoryErrorKind};

const SECOND: i64 = 1_000_000;

fn with(records: impl IntoIterator<Item = Record>) -> History {
    let mut history = History::in_memory().expect("open");
    history
        .insert_all(records, ApplyOptions::default())
        .expect("insert");
    history
}

fn exported(history: &History, format: ExportFormat, filter: &ExportFilter) -> String {
    let mut bytes = Vec::new();
    export(history, &mut bytes, format, filter, 1_700_000_000 * SECOND).expect("export");
    String::from_utf8(bytes).expect("text")
}

fn imported(name: &str, bytes: &[u8], shell: Option<Shell>) -> History {
    let mut history = History::in_memory().expect("open");
    let options = ImportOptions {
        shell,
        host: Arc::from("elsewhere"),
        dry_run: false,
        progress: Default::default(),
    };
    import_bytes(&mut history, name, bytes, &options)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    history
}

fn everything() -> History {
    let first = Event {
        exit: Some(1),
        cwd: Some(Arc::from("/tmp")),
        session: Some(Arc::from("s")),
        duration_ms: Some(1500),
        ..event("make \"x\"\n| tee", 5 * SECOND)
    };
    let gone = event("gone", 6 * SECOND);
    let mut history = with([
        Record::Pin(Pin {
            id: Pin::id_for(first.id, 7, true),
            event: first.id,
            clock: 7,
            pinned: true,
        }),
        Record::Session(Session {
            id: Session::id_for("s"),
            name: Arc::from("s"),
            host: Arc::from("box"),
            shell: None,
            start_us: Some(1),
            end_us: None,
        }),
        Record::Event(event("ls", 9 * SECOND)),
        Record::Event(first),
        Record::Event(Event {
            time_known: false,
            host: Arc::from(""),
            shell: None,
            id: Event::import_id("", None, "old", 0),
            ..event("old", 3)
        }),
        Record::Event(gone.clone()),
    ]);
    history.forget(&[gone.id], 77).expect("forget");
    history
}

#[test]
fn the_document_looks_like_this() {
    let text = exported(&everything(), ExportFormat::Json, &ExportFilter::default());
    let ids: Vec<RecordId> = everything()
        .read_records(0, 99, 99)
        .expect("read")
        .iter()
        .map(|(_, _, record)| record.id())
        .collect();
    let expected = format!(
        "{{\"format\":\"syncline-hx-history\",\"version\":1,\"exported_at\":\"2023-11-14T22:13:20Z\",\"has_end\":true,\n\"events\":[\n\
        {{\"id\":\"{}\",\"time_us\":3,\"time_known\":false,\"command\":\"old\",\"host\":\"\"}},\n\
        {{\"id\":\"{}\",\"time\":\"1970-01-01T00:00:05Z\",\"time_us\":5000000,\"command\":\"make \\\"x\\\"\\n| tee\",\"duration_ms\":1500,\"exit\":1,\
        \"cwd\":\"/tmp\",\"host\":\"box\",\"shell\":\"zsh\",\"session\":\"s\"}},\n\
        {{\"id\":\"{}\",\"time\":\"1970-01-01T00:00:09Z\",\"time_us\":9000000,\"command\":\"ls\",\"host\":\"box\",\"shell\":\"zsh\"}}\n],\n\
        \"sessions\":[\n{{\"name\":\"s\",\"host\":\"box\",\"start_us\":1}}\n],\n\
        \"pins\":[\n{{\"event\":\"{}\",\"clock\":7,\"pinned\":true}}\n],\n\
        \"tombstones\":[\n{{\"target\":\"{}\",\"time_us\":77}}\n],\n\
        \"end\":{{\"type\":\"end\",\"records\":6,\"digest\":\"45e1befc502aac114baca58ff4152886\"}}}}\n",
        ids[4],
        ids[3],
        ids[2],
        ids[3],
        event("gone", 6 * SECOND).id
    );
    assert_eq!(text, expected);
}

#[test]
fn an_import_into_an_empty_history_gives_the_same_export() {
    for (name, format) in [
        ("backup.json", ExportFormat::Json),
        ("backup.jsonl", ExportFormat::JsonLines),
    ] {
        for history in [everything(), with([])] {
            let first = exported(&history, format, &ExportFilter::default());
            let back = imported(name, first.as_bytes(), None);
            assert_eq!(exported(&back, format, &ExportFilter::default()), first);
            assert_eq!(
                back.counts().expect("counts"),
                history.counts().expect("counts")
            );
        }
    }
}

#[test]
fn a_document_with_sorted_or_unknown_fields_is_read() {
    let text = exported(&everything(), ExportFormat::Json, &ExportFilter::default());
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut sorted = value.as_object().expect("an object").clone();
    sorted.insert("zebra".to_owned(), serde_json::json!({"nested": [1]}));
    sorted["events"][0]["mood"] = serde_json::json!("good");
    let header = ["format", "version", "exported_at"];
    let (last, first): (Vec<_>, Vec<_>) = sorted
        .into_iter()
        .partition(|(key, _)| header.contains(&key.as_str()));
    let fields: Vec<String> = first
        .into_iter()
        .chain(last)
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    let back = imported(
        "x.json",
        format!("{{ {} }}", fields.join(",\n ")).as_bytes(),
        None,
    );
    assert_eq!(
        exported(&back, ExportFormat::Json, &ExportFilter::default()),
        text
    );
}

#[test]
fn a_document_that_ends_early_gives_what_it_has() {
    let text = exported(&everything(), ExportFormat::Json, &ExportFilter::default());
    let cut = &text[..text.find("\"ls\"").expect("there")];
    let mut history = History::in_memory().expect("open");
    let options = ImportOptions {
        shell: None,
        host: Arc::from(""),
        dry_run: false,
        progress: Default::default(),
    };
    let report = import_bytes(&mut history, "x.json", cut.as_bytes(), &options).expect("import");
    assert_eq!(
        (report.added, report.skipped_count(), report.read),
        (2, 1, 3)
    );
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.json");
    let report = export_file(
        &everything(),
        &path,
        ExportFormat::Json,
        &ExportFilter::default(),
        0,
        &|_| Ok(()),
    )
    .expect("export");
    assert_eq!((report.events, report.others, report.redacted), (3, 3, 0));
    assert!(
        std::fs::read_to_string(&path)
            .expect("read")
            .ends_with("}}\n")
    );
    let error = export_file(
        &everything(),
        &directory.path().join("no/such/out"),
        ExportFormat::Csv,
        &ExportFilter::default(),
        0,
        &|_| Ok(()),
    )
    .expect_err("no directory");
    assert!(error.to_string().contains("no/such/out"), "{error}");
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("list").count(),
        1
    );
}

/// A reader of RFC 4180, for the test.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && characters.next_if_eq(&'\n').is_some() => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    rows
}

#[test]
fn markdown_keeps_its_cells() {
    let history = with([
        Record::Event(event("a | b `c`\nd", 5 * SECOND)),
        Record::Event(event("x", 6 * SECOND)),
    ]);
    let text = exported(&history, ExportFormat::Markdown, &ExportFilter::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[2],
        "| 1970-01-01T00:00:05Z | ``a \\| b `c` \u{23ce} d`` |  |  | box |"
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn filters_choose_events() {
    let in_session = |session: &str, event: Event| {
        Record::Event(Event {
            session: Some(Arc::from(session)),
            ..event
        })
    };
    let history = with([
        in_session("one", event("a", 10 * SECOND)),
        in_session("two", event("b", 20 * SECOND)),
        in_session("one", event("c", 30 * SECOND)),
    ]);
    let check = |filter: ExportFilter, expected: &[&str]| {
        let text = exported(&history, ExportFormat::Csv, &filter);
        let commands: Vec<String> = csv_rows(&text)
            .into_iter()
            .skip(1)
            .map(|row| row[1].clone())
            .collect();
        assert_eq!(commands, expected);
    };
    check(ExportFilter::default(), &["a", "b", "c"]);
    check(
        ExportFilter {
            last: true,
            ..ExportFilter::default()
        },
        &["a", "c"],
    );
    check(
        ExportFilter {
            after_us: Some(20 * SECOND),
            ..ExportFilter::default()
        },
        &["b", "c"],
    );
    check(
        ExportFilter {
            before_us: Some(20 * SECOND),
            ..ExportFilter::default()
        },
        &["a"],
    );
    check(
        ExportFilter {
            host: Some("none".into()),
            ..ExportFilter::default()
        },
        &[],
    );
    let day = 24 * 3600 * SECOND;
    let history = with([
        Record::Event(event("old", 0)),
        Record::Event(event("new", 2 * day)),
        Record::Event(event("newer", 3 * day - 1)),
    ]);
    let text = exported(
        &history,
        ExportFormat::Shell(Shell::Bash),
        &ExportFilter {
            last: true,
            ..ExportFilter::default()
        },
    );
    assert_eq!(text, "#172800\nnew\n#259199\nnewer\n");
}

#[test]
fn a_document_that_fails_half_way_is_a_document_that_says_so() {
    let history = everything();
    history
        .connection()
        .execute("UPDATE records SET body = x'00' WHERE kind = 3", [])
        .expect("damage to a pin or session");
    let mut bytes = Vec::new();
    let tell = |error: &HistoryError| serde_json::json!({ "message": error.to_string() });
    let filter = ExportFilter::default();
    let outcome = export_or_tell(
        &history,
        &mut bytes,
        ExportFormat::Json,
        &filter,
        0,
        Some(&tell),
    );
    let error = outcome.expect_err("a record is damaged");
    let document: serde_json::Value = serde_json::from_slice(&bytes).expect("one document");
    assert_eq!(document["error"]["message"], error.to_string());
    assert_eq!(document["events"].as_array().map(Vec::len), Some(3));
    let mut other = History::in_memory().expect("open");
    let options = ImportOptions {
        shell: None,
        host: Arc::from(""),
        dry_run: false,
        progress: Default::default(),
    };
    let report = import_bytes(&mut other, "x.json", &bytes, &options).expect("import");
    assert!(report.incomplete && report.added >= 1, "{report:?}");
}

#[test]
fn a_redacted_export_cannot_take_the_place_of_the_real_one() {
    let mut history = with([
        Record::Event(event("TOKEN=hunter2 x", SECOND)),
        Record::Event(event("ls", 2 * SECOND)),
    ]);
    let text = exported(
        &history,
        ExportFormat::Json,
        &ExportFilter {
            redacted: true,
            ..ExportFilter::default()
        },
    );
    assert!(
        !text.contains("hunter2") && text.contains("TOKEN=«redacted» x"),
        "{text}"
    );
    let options = ImportOptions {
        shell: None,
        host: Arc::from(""),
        dry_run: false,
        progress: Default::default(),
    };
    let report = import_bytes(&mut history, "x.json", text.as_bytes(), &options).expect("import");
    assert_eq!((report.added, report.known, report.changed), (1, 1, 1));
    assert!(exported(&history, ExportFormat::Csv, &ExportFilter::default()).contains("hunter2"));
}

fn any_event() -> impl Strategy<Value = Event> {
    let text = "[ -~é\u{103}\u{4f60}\u{1f600}\n\\\\]{0,20}[a-z\\\\é ]{0,3}";
    // bash takes no number below nine digits for a time.
    (
        text,
        100_000_000_i64..4_000_000_000,
        any::<bool>(),
        proptest::option::of(1_i64..9999),
    )
        .prop_map(|(text, second, time_known, duration)| Event {
            time_us: if time_known {
                second * SECOND
            } else {
                second % 1000
            },
            time_known,
            duration_ms: duration.map(|seconds| seconds * 1000),
            id: Event::import_id("box", time_known.then_some(second * SECOND), &text, 0),
            ..event(&text, second)
        })
}

/// What a shell's own format can carry.
fn carried(history: &History) -> Vec<(i64, String)> {
    let mut found: Vec<(i64, String)> = Vec::new();
    for (_, _, record) in history.read_records(0, i64::MAX, usize::MAX).expect("read") {
        if let Record::Event(event) = record {
            found.push((
                if event.time_known {
                    event.time_us.div_euclid(SECOND)
                } else {
                    0
                },
                event.command.to_string(),
            ));
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn shells_formats_are_read_back(events in proptest::collection::vec(any_event(), 1..12)) {
        let fit = |event: &Event, shell: Shell| {
            let text = &*event.command;
            let time_line = text.lines().any(|line| line.starts_with('#'));
            !text.trim().is_empty() && !(shell == Shell::Bash && (text.ends_with('\n') || time_line))
        };
        for shell in [Shell::Zsh, Shell::Bash, Shell::Fish] {
            let history = with(events.iter().filter(|event| fit(event, shell)).cloned().map(Record::Event));
            let mut bytes = Vec::new();
            export(&history, &mut bytes, ExportFormat::Shell(shell), &ExportFilter::default(), 0).expect("export");
            let back = imported("history", &bytes, Some(shell));
            prop_assert_eq!(carried(&back), carried(&history), "{:?}", shell);
        }
    }

    #[test]
    fn own_formats_and_tables_are_read_back(events in proptest::collection::vec(any_event(), 0..12)) {
        let history = with(events.into_iter().map(Record::Event));
        for format in [ExportFormat::Json, ExportFormat::JsonLines] {
            let text = exported(&history, format, &ExportFilter::default());
            let back = imported("backup", text.as_bytes(), None);
            prop_assert_eq!(exported(&back, format, &ExportFilter::default()), text);
        }
        let rows = csv_rows(&exported(&history, ExportFormat::Csv, &ExportFilter::default()));
        let mut commands: Vec<String> = rows.iter().skip(1).map(|row| row[1].clone()).collect();
        commands.sort();
        let mut expected: Vec<String> = carried(&history).into_iter().map(|(_, text)| text).collect();
        expected.sort();
        prop_assert_eq!(commands, expected);
        prop_assert!(rows.iter().all(|row| row.len() == 10));
    }

    #[test]
    fn redaction_never_panics_and_settles(text in "\\PC{0,60}|(token|password|=|:| |--|\"|'|://|@|a1B2|\u{e9}|-p|mysql|curl -u|-----BEGIN |PRIVATE KEY|\n){0,15}") {
        let once = redact(&text);
        prop_assert!(!once.is_empty() || text.is_empty());
        let _ = redact(&once);
    }
}

#[test]
fn no_export_reads_by_an_index_that_lies() {
    const PAGE: usize = 4096;
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("hx.db");
    let mut history = History::open(&path).expect("opens");
    let records = (0..400).map(|n| Record::Event(event(&format!("echo {n}"), n * 1_000_000)));
    history
        .insert_all(records, ApplyOptions::default())
        .expect("inserts");
    let filter = ExportFilter::default();
    let whole = exported(&history, ExportFormat::Csv, &filter);
    let sql = "SELECT pageno FROM dbstat WHERE name IN ('records_time', 'records_command') ORDER BY pageno";
    let mut select = history.connection().prepare(sql).expect("a query");
    let pages = select.query_map([], |row| row.get::<_, i64>(0));
    let pages: Vec<usize> = pages
        .expect("pages")
        .map(|page| usize::try_from(page.expect("a page")).expect("small"))
        .collect();
    drop(select);
    drop(history);
    let sound = std::fs::read(&path).expect("the file");
    let mut n_refused = 0;
    for page in pages {
        for (nth, place) in [3, 4, 9, 12, 20]
            .into_iter()
            .chain((1..300).step_by(7).map(|end| PAGE - end))
            .enumerate()
        {
            let mut bytes = sound.clone();
            bytes[(page - 1) * PAGE + place] ^= 1 << (nth % 8);
            std::fs::write(&path, bytes).expect("written");
            let history = History::open_read_only(&path).expect("opens");
            let mut out = Vec::new();
            match export(&history, &mut out, ExportFormat::Csv, &filter, 0) {
                Ok(_) => assert_eq!(String::from_utf8_lossy(&out), whole, "{place} of {page}"),
                Err(error) => {
                    n_refused += 1;
                    assert_eq!(error.kind(), HistoryErrorKind::Broken, "{place} of {page}");
                }
            }
        }
    }
    assert!(n_refused > 0, "no count differed");
}
