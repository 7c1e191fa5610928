//! Files that were imported before, in part or changed, add only what is new.

use std::sync::Arc;

use proptest::prelude::*;

use super::{events, import};
use crate::history::History;
use crate::history::import::{ImportOptions, Shell, import_bytes};
use crate::history::model::{Record, Tombstone};

#[test]
fn the_same_file_again_adds_nothing() {
    let dated: String = (0..50)
        .map(|n| format!(": {}:0;cmd {}\n", 1_700_000_000 + n / 5, n % 3))
        .collect();
    let plain = "ls\ncd\nls\nls\nmake\n";
    for (name, file) in [(".zsh_history", dated.as_str()), (".bash_history", plain)] {
        let mut history = History::in_memory().expect("open");
        let first = import(&mut history, name, file);
        assert_eq!(first.added, first.read);
        let again = import(&mut history, name, file);
        assert_eq!((again.added, again.known), (0, first.read));
    }
}

#[test]
fn dated_files_that_overlap_add_only_what_is_new() {
    let line = |n: i64| format!(": {}:0;cmd {}\n", 1_700_000_000 + n / 4, n % 2);
    let file = |range: std::ops::Range<i64>| range.map(line).collect::<String>();
    let mut history = History::in_memory().expect("open");
    assert_eq!(import(&mut history, "zsh_history", file(0..40)).added, 40);
    // Cut at a full second, so that equal commands within one second keep their count.
    assert_eq!(import(&mut history, "zsh_history", file(20..60)).added, 20);
    assert_eq!(import(&mut history, "zsh_history", file(0..60)).added, 0);
    let mut other = History::in_memory().expect("open");
    import(&mut other, "zsh_history", file(20..60));
    import(&mut other, "zsh_history", file(0..40));
    let ids = |history: &History| {
        events(history)
            .iter()
            .map(|event| event.id)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids(&history), ids(&other));
}

fn plain(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers
        .into_iter()
        .map(|n| format!("command {n}\n"))
        .collect()
}

#[test]
fn undated_files_that_overlap_add_only_what_is_new() {
    let check = |second: String, added: u64, expected: Vec<u32>| {
        let mut history = History::in_memory().expect("open");
        import(&mut history, ".bash_history", plain(0..50));
        let report = import(&mut history, ".bash_history", &second);
        assert_eq!(report.added, added, "{second}");
        assert_eq!(report.read, report.added + report.known);
        let texts: Vec<String> = events(&history)
            .iter()
            .map(|event| event.command.to_string())
            .collect();
        let expected: Vec<String> = expected.iter().map(|n| format!("command {n}")).collect();
        assert_eq!(texts, expected);
        assert_eq!(import(&mut history, ".bash_history", &second).added, 0);
    };
    let known: Vec<u32> = (0..50).collect();
    let and = |more: &[u32]| [known.as_slice(), more].concat();
    // It grew; it grew by what was there before.
    check(plain(0..53), 3, and(&[50, 51, 52]));
    check(plain((0..50).chain([3, 3])), 2, and(&[3, 3]));
    // It lost its head, and grew.
    check(plain((30..50).chain([7, 60])), 2, and(&[7, 60]));
    // A part of it; the whole shuffled; edited; and something else.
    check(plain(10..20), 0, and(&[]));
    check(plain((0..50).rev()), 0, and(&[]));
    check(
        plain((0..50).filter(|n| n % 7 != 0).chain([99])),
        1,
        and(&[99]),
    );
    check(plain([100, 101]), 2, and(&[100, 101]));
}

#[test]
fn undated_commands_stay_apart_by_host_and_shell() {
    let mut history = History::in_memory().expect("open");
    let mut import_as = |host: &str, shell: Shell| {
        let options = ImportOptions {
            shell: Some(shell),
            host: Arc::from(host),
            dry_run: false,
            progress: Default::default(),
        };
        import_bytes(&mut history, "history", b"ls\ncd\n", &options)
            .expect("import")
            .added
    };
    assert_eq!(import_as("one", Shell::Bash), 2);
    assert_eq!(import_as("two", Shell::Bash), 2);
    assert_eq!(import_as("one", Shell::Bash), 0);
}

#[test]
fn what_was_forgotten_is_not_imported_again() {
    for file in [": 1700000000:0;ls\n: 1700000001:0;secret\n", "ls\nsecret\n"] {
        let mut history = History::in_memory().expect("open");
        import(&mut history, ".zsh_history", file);
        let secret = events(&history)
            .into_iter()
            .find(|event| &*event.command == "secret")
            .expect("there");
        history.forget(&[secret.id], 1).expect("forget");
        let again = import(&mut history, ".zsh_history", file);
        assert_eq!(
            (again.added, again.known, again.forgotten),
            (0, 1, 1),
            "{file}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_grown_undated_file_gives_what_it_has(numbers in proptest::collection::vec(0_u32..4, 1..40), cuts in proptest::collection::vec(0_usize..40, 1..4)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut history = History::in_memory().expect("open");
        for cut in cuts.into_iter().map(|cut| cut.min(numbers.len())) {
            if cut > 0 {
                import(&mut history, ".bash_history", plain(numbers[..cut].iter().copied()));
            }
        }
        import(&mut history, ".bash_history", plain(numbers.iter().copied()));
        let texts: Vec<String> = events(&history).iter().map(|event| event.command.to_string()).collect();
        let expected: Vec<String> = numbers.iter().map(|n| format!("command {n}")).collect();
        prop_assert_eq!(texts, expected);
    }
}

/// Makes what hx of before would have made of a file: replacement characters in the place of bytes that are no text.
fn import_as_before(history: &mut History, name: &str, file: &[u8]) -> u64 {
    import(history, name, String::from_utf8_lossy(file).as_bytes()).added
}

#[test]
fn what_was_imported_before_bytes_were_kept_is_known() {
    let dated =
        b": 1700000000:0;echo caf\xe9\n: 1700000000:0;echo caf\xe8\n: 1700000001:0;ls\n: 1700000002:0;echo caf\xe9\n".as_slice();
    let plain = b"ls\necho caf\xe9\ncd\necho caf\xe8\nmake\n".as_slice();
    for (name, file) in [(".zsh_history", dated), (".bash_history", plain)] {
        let mut history = History::in_memory().expect("open");
        let before = import_as_before(&mut history, name, file);
        for _ in 0..2 {
            let again = import(&mut history, name, file);
            assert_eq!((again.added, again.known), (0, before), "{name}");
        }
        // What is new since then comes with its bytes, once.
        let mut grown = file.to_vec();
        if name == ".zsh_history" {
            grown.extend(b": 1700000009:0;echo caf\xe9\n");
        } else {
            grown.extend(b"echo caf\xe9\n");
        }
        let more = import(&mut history, name, &grown);
        assert_eq!((more.added, more.known), (1, before), "{name}");
        for file in [&grown[..], file] {
            assert_eq!(import(&mut history, name, file).added, 0, "{name}");
        }
        let last = events(&history).pop().expect("some");
        assert_eq!(&*last.command, "echo caf\u{10fee9}");
    }
}

#[test]
fn what_was_forgotten_before_bytes_were_kept_stays_away() {
    for (name, file) in [
        (".zsh_history", b": 1700000000:0;echo caf\xe9\n".as_slice()),
        (".bash_history", b"echo caf\xe9\nls\n"),
    ] {
        let mut history = History::in_memory().expect("open");
        import_as_before(&mut history, name, file);
        let gone = events(&history)
            .into_iter()
            .find(|event| event.command.contains("caf"))
            .expect("it is there");
        let tombstone = Record::Tombstone(Tombstone {
            id: Tombstone::id_for(gone.id),
            target: gone.id,
            time_us: 1,
        });
        history
            .insert_all([tombstone], Default::default())
            .expect("insert");
        let again = import(&mut history, name, file);
        assert_eq!((again.added, again.forgotten), (0, 1), "{name}");
    }
}

#[test]
fn different_bytes_are_different_commands() {
    let file = b": 1700000000:0;echo caf\xe9\n: 1700000000:0;echo caf\xe8\n: 1700000000:0;echo caf\xef\xbf\xbd\n";
    let mut history = History::in_memory().expect("open");
    assert_eq!(import(&mut history, ".zsh_history", file).added, 3);
    assert_eq!(import(&mut history, ".zsh_history", file).added, 0);
    let plain = b"ls\necho caf\xe9\n".as_slice();
    let other = b"ls\necho caf\xe8\n".as_slice();
    import(&mut history, ".bash_history", plain);
    let report = import(&mut history, ".bash_history", other);
    assert_eq!(report.added, 1, "another byte is another command");
}
