//! Files that were imported before, in part or changed, add only what is new.

use std::sync::Arc;

use proptest::prelude::*;

use super::{events, import};
use crate::history::History;
use crate::history::import::{ImportOptions, Shell, import_bytes};

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
