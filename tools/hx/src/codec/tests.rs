//! Round trips of whole batches, the size of realistic ones, and bytes from nowhere.

use proptest::prelude::*;

use super::*;

fn imported(host: &str, second: i64, command: &str, occurrence: u32) -> Record {
    let time_us = second * 1_000_000;
    Record::Event(Event {
        id: Event::import_id(host, Some(time_us), command, occurrence),
        command: command.into(),
        time_us: time_us + i64::from(occurrence),
        time_known: true,
        duration_ms: Some(3000),
        exit: None,
        cwd: None,
        host: host.into(),
        shell: Some("zsh".into()),
        session: None,
        actor: None,
    })
}

fn any_text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

prop_compose! {
    fn any_event()(id: [u8; 16], command in any_text(), time_us: i64, time_known: bool, duration_ms: Option<i64>, exit: Option<i32>,
        cwd in proptest::option::of(any_text()), host in any_text(), shell in proptest::option::of(any_text()),
        session in proptest::option::of(any_text()), actor in proptest::option::of(any_text())) -> Record {
        let time_us = time_us / 4;
        Record::Event(Event { id: RecordId(id), command, time_us, time_known, duration_ms, exit, cwd, host, shell, session, actor })
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        8 => any_event(),
        2 => (any_text(), -4_000_000_000..4_000_000_000_i64, any_text(), 0..3_u32).prop_map(|(host, second, command, k)| imported(&host, second, &command, k)),
        1 => (any::<[u8; 16]>(), any_text(), any_text(), any::<Option<i64>>())
            .prop_map(|(id, name, host, start_us)| Record::Session(Session { id: RecordId(id), name, host, shell: None, start_us, end_us: None })),
        1 => (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<i64>(), any::<bool>())
            .prop_map(|(id, event, clock, pinned)| Record::Pin(Pin { id: RecordId(id), event: RecordId(event), clock, pinned })),
        1 => (any::<[u8; 16]>(), any::<i64>()).prop_map(|(target, time_us)| {
            let target = RecordId(target);
            Record::Tombstone(Tombstone { id: Tombstone::id_for(target), target, time_us })
        }),
    ]
}

proptest! {
    // Each undated event with an id of its own costs a search: fewer cases than usual.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_encoded_is_decoded(records in proptest::collection::vec(any_record(), 0..40)) {
        let decoded = decode(&encode(&records)).expect("our own encoding");
        let is_event = |record: &&Record| matches!(record, Record::Event(_));
        let (events, others): (Vec<_>, Vec<_>) = records.iter().partition(is_event);
        let expected: Vec<Record> = events.into_iter().chain(others).cloned().collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes: Vec<u8>) {
        let _ = decode(&bytes);
        bytes.insert(0, VERSION);
        let _ = decode(&bytes);
    }

    #[test]
    fn a_cut_batch_is_malformed(records in proptest::collection::vec(any_record(), 1..10), at: prop::sample::Index) {
        let bytes = encode(&records);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

#[test]
fn imported_ids_cost_nothing() {
    let records: Vec<Record> = (0..1000)
        .map(|n| {
            imported(
                "laptop",
                1_700_000_000 + n / 3,
                "git status",
                (n % 3) as u32,
            )
        })
        .collect();
    let bytes = encode(&records);
    assert!(bytes.len() < 12_000, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes).expect("our own"), records);
}

#[test]
fn undated_ids_deep_in_a_history_cost_nothing_either() {
    let undated = |k: u32| {
        let Record::Event(event) = imported("laptop", 0, "ls", 0) else {
            unreachable!("imported gives events")
        };
        Record::Event(Event {
            id: Event::import_id("laptop", None, "ls", k),
            time_known: false,
            time_us: i64::from(k),
            ..event
        })
    };
    let records: Vec<Record> = (5000..5100).map(undated).collect();
    let bytes = encode(&records);
    assert!(bytes.len() < 2000, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes).expect("our own"), records);
}
