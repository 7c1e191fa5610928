//! Any split of any records into batches gives the same database.

use proptest::prelude::*;

use crate::history::model::{Pin, Record, RecordId, Tombstone};
use crate::history::tests::{event, integrity};
use crate::history::{ApplyOptions, History};

fn record(choice: (u8, u8, u8)) -> Record {
    let (kind, command, time) = choice;
    let one = event(
        &format!("cmd {}", command % 6),
        i64::from(time % 8) * 1_000_000,
    );
    match kind % 8 {
        0 => Record::Tombstone(Tombstone {
            id: Tombstone::id_for(one.id),
            target: one.id,
            time_us: i64::from(kind >> 4),
        }),
        1 => {
            let (clock, pinned) = (i64::from(time), kind & 8 == 0);
            Record::Pin(Pin {
                id: Pin::id_for(one.id, clock, pinned),
                event: one.id,
                clock,
                pinned,
            })
        }
        _ => Record::Event(one),
    }
}

/// Each record, and when it was forgotten if it says that of another.
type Said = Vec<(RecordId, i64)>;

/// What two equal histories have in common, whatever the order of arrival.
fn state(history: &History) -> (Said, Vec<(String, i64)>, i64) {
    let mut ids: Said = history
        .read_records(0, i64::MAX, usize::MAX)
        .expect("read")
        .iter()
        .map(|(_, _, record)| match record {
            Record::Tombstone(tombstone) => (tombstone.id, tombstone.time_us),
            _ => (record.id(), 0),
        })
        .collect();
    ids.sort();
    let mut select = history
        .connection()
        .prepare("SELECT text, uses FROM commands ORDER BY rank / 16, text")
        .expect("prepare");
    let commands = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("query")
        .collect::<Result<_, _>>()
        .expect("rows");
    let events = "SELECT count(*) FROM pins p WHERE pinned AND EXISTS (SELECT 1 FROM records r WHERE r.rid = p.event)";
    (
        ids,
        commands,
        history
            .connection()
            .query_row(events, [], |row| row.get(0))
            .expect("count"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn order_and_batches_do_not_matter(choices in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..60), cut in 0_usize..60, turn in 0_usize..60) {
        let records: Vec<Record> = choices.into_iter().map(record).collect();
        let mut once = History::in_memory().expect("open");
        once.insert_all(records.clone(), ApplyOptions::default()).expect("insert");
        integrity(&once);

        let mut other = History::in_memory().expect("open");
        let mut turned = records.clone();
        if !turned.is_empty() {
            let length = turned.len();
            turned.rotate_left(turn % length);
            turned.reverse();
        }
        let (first, second) = turned.split_at(cut.min(turned.len()));
        for batch in [first, second, first] {
            other.insert_all(batch.to_vec(), ApplyOptions { src: Some(1), published_upto: 0 }).expect("insert");
        }
        integrity(&other);
        prop_assert_eq!(state(&once), state(&other));
    }

    #[test]
    fn everything_counts_once(choices in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..60)) {
        let records: Vec<Record> = choices.into_iter().map(record).collect();
        let mut history = History::in_memory().expect("open");
        let applied = history.insert_all(records.clone(), ApplyOptions::default()).expect("insert");
        prop_assert_eq!(applied.added + applied.known + applied.forgotten, records.len() as u64);
        let stored = history.read_records(0, i64::MAX, usize::MAX).expect("read").len() as u64;
        prop_assert_eq!(stored, applied.added - applied.erased);
    }
}
