//! Exports of hx with damage of every kind: whatever is whole is taken, and a loss is never passed over.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::{events, import, options};
use crate::history::export::{ExportFilter, ExportFormat, export};
use crate::history::import::import_bytes;
use crate::history::model::{Event, Record, RecordId, Session};
use crate::history::tests::event;
use crate::history::{ApplyOptions, History};

const FORMS: [(&str, ExportFormat); 2] = [
    ("x.json", ExportFormat::Json),
    ("x.jsonl", ExportFormat::JsonLines),
];

fn exported(format: ExportFormat) -> String {
    let mut history = History::in_memory().expect("open");
    let commands = (0..40).map(|n| {
        Record::Event(Event {
            cwd: Some(Arc::from("/tmp/{\"id\":1}")),
            ..event(
                &format!("echo \"{n}\" | awk '{{print $1}}'\nls [{n}]"),
                n * 1_000_000,
            )
        })
    });
    let session = Record::Session(Session {
        id: Session::id_for("s"),
        name: Arc::from("s"),
        host: Arc::from("box"),
        shell: None,
        start_us: Some(1),
        end_us: None,
    });
    history
        .insert_all(commands.chain([session]), ApplyOptions::default())
        .expect("insert");
    let mut bytes = Vec::new();
    export(&history, &mut bytes, format, &ExportFilter::default(), 7).expect("export");
    String::from_utf8(bytes).expect("text")
}

/// The ids of the records in the lines that are in both, which are the undamaged ones.
fn whole(text: &str, damaged: &[u8]) -> BTreeSet<RecordId> {
    let lines: BTreeSet<&[u8]> = damaged
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b",").unwrap_or(line))
        .collect();
    text.lines()
        .map(|line| line.strip_suffix(',').unwrap_or(line))
        .filter(|line| lines.contains(line.as_bytes()))
        .filter_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            RecordId::from_hex(value.get("id")?.as_str()?)
        })
        .collect()
}

/// Imports a damaged file; what is whole must be there, and if anything else is not, that must be told.
fn survives(name: &str, text: &str, damaged: &[u8]) {
    let mut history = History::in_memory().expect("open");
    let outcome = import_bytes(&mut history, name, damaged, &options(None));
    let read: BTreeSet<RecordId> = events(&history).iter().map(|event| event.id).collect();
    let missed: Vec<RecordId> = whole(text, damaged).difference(&read).copied().collect();
    let shown = String::from_utf8_lossy(damaged);
    assert!(missed.is_empty(), "{missed:?} of {shown}: {outcome:?}");
    if let Ok(report) = outcome {
        let is_all = read.len() == 40 && history.counts().is_ok_and(|counts| counts.sessions == 1);
        assert!(is_all || report.incomplete, "{shown}: {report:?}");
    }
}

#[test]
fn whole_lines_that_are_gone_are_missed_and_counted() {
    for (name, format) in FORMS {
        let text = exported(format);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let holed = [&lines[..5], &lines[15..]].concat().concat();
        let mut history = History::in_memory().expect("open");
        let report = import(&mut history, name, &holed);
        assert!(report.incomplete, "{name}: {report:?}");
        assert_eq!(
            (report.added + report.others, report.missing),
            (31, 10),
            "{name}"
        );
    }
}

#[test]
fn what_lies_around_the_damage_is_taken() {
    for (name, format) in FORMS {
        let text = exported(format);
        let middle = text.len() / 2;
        let mut zeroed = text.clone().into_bytes();
        zeroed[middle..middle + 50].fill(0);
        survives(name, &text, &zeroed);
        let cut = [&text.as_bytes()[..middle], &text.as_bytes()[middle + 700..]].concat();
        survives(name, &text, &cut);
        let mut history = History::in_memory().expect("open");
        let report = import(&mut history, name, &zeroed);
        assert!(
            report.incomplete && report.added >= 38,
            "{name}: {report:?}"
        );
        assert_eq!(report.skipped_count(), 1, "{name}: {report:?}");
    }
}

#[test]
fn a_damaged_beginning_costs_no_record() {
    for (name, format) in FORMS {
        let text = exported(format);
        let mut damaged = text.clone().into_bytes();
        damaged[3..53].fill(0);
        let mut history = History::in_memory().expect("open");
        let report = import(&mut history, name, &damaged);
        assert_eq!(
            (report.added, report.others, report.incomplete),
            (40, 1, true),
            "{name}: {report:?}"
        );
        let headless = text.split_once("\n{\"").expect("records").1;
        survives(name, &text, format!("{{\"{headless}").as_bytes());
    }
}

#[test]
fn a_document_of_an_older_version_has_no_end_and_is_whole() {
    let text = exported(ExportFormat::Json).replace(",\"has_end\":true", "");
    let end = text.rfind(",\n\"end\"").expect("an end");
    let mut history = History::in_memory().expect("open");
    let report = import(&mut history, "x.json", format!("{}}}\n", &text[..end]));
    assert_eq!(
        (report.added, report.others, report.incomplete),
        (40, 1, false),
        "{report:?}"
    );
}

#[test]
fn a_changed_letter_is_noticed() {
    for (name, format) in FORMS {
        let text = exported(format).replacen("awk", "awl", 1);
        let report = import(&mut History::in_memory().expect("open"), name, &text);
        assert!(report.incomplete && report.altered, "{name}: {report:?}");
        assert_eq!((report.added, report.others), (40, 1), "{name}: {report:?}");
    }
}

/// One thing that goes wrong with a file; the numbers are thousandths of its length.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Zero(usize, usize),
    Cut(usize, usize),
    Line(usize),
    Double(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..1000_usize, 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (0..1000_usize, 1..200_usize).prop_map(|(at, length)| Damage::Zero(at, length)),
        (0..1000_usize, 1..1500_usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (0..45_usize).prop_map(Damage::Line),
        (0..45_usize).prop_map(Damage::Double),
    ]
}

fn damaged(text: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = text.to_vec();
    let place = |at: usize| text.len() * at / 1000;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    match *damage {
        Damage::Flip(at, bit) if place(at) < text.len() => bytes[place(at)] ^= 1 << bit,
        Damage::Zero(at, length) => {
            let end = (place(at) + length).min(text.len());
            bytes[place(at).min(end)..end].fill(0);
        }
        Damage::Cut(at, length) => {
            let end = (place(at) + length).min(text.len());
            bytes.drain(place(at).min(end)..end);
        }
        Damage::Line(at) if at < lines.len() => {
            bytes = [&lines[..at], &lines[at + 1..]].concat().concat();
        }
        Damage::Double(at) if at < lines.len() => {
            bytes = [&lines[..=at], &lines[at..]].concat().concat();
        }
        _ => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_damage_what_is_whole_is_taken(form in 0..2_usize, list in prop::collection::vec(damage(), 1..4)) {
        let (name, format) = FORMS[form];
        let text = exported(format);
        let bytes = list.iter().fold(text.clone().into_bytes(), |bytes, one| damaged(&bytes, one));
        survives(name, &text, &bytes);
    }
}
