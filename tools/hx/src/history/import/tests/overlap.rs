//! Files that were imported before, in part or changed, add only what is new.

use std::sync::Arc;

use proptest::prelude::*;

use super::{events, import, options};
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
    // A part of it; edited; and something else.
    check(plain(10..20), 0, and(&[]));
    check(
        plain((0..50).filter(|n| n % 7 != 0).chain([99])),
        1,
        and(&[99]),
    );
    check(plain([100, 101]), 2, and(&[100, 101]));
}

/// Imports files of bash one after the other, words for commands; `+` before a file says how many of it must be added, and `?` that it
/// must be said that this is not sure. Each file is imported a second time, which must add nothing.
fn sequence(files: &[&str]) {
    let mut history = History::in_memory().expect("open");
    let mut all: Vec<String> = Vec::new();
    for file in files {
        let (expected, words) = file.split_once(": ").expect("a number and words");
        let added: usize = expected.trim_end_matches('?').parse().expect("a number");
        let words: Vec<&str> = words.split_whitespace().collect();
        let text = words.join("\n");
        let report = import(&mut history, ".bash_history", &text);
        assert_eq!(
            report.added as usize, added,
            "{file} of {files:?}: {report:?}"
        );
        assert_eq!(
            report.assumed.is_some(),
            expected.ends_with('?'),
            "{file} of {files:?}: {report:?}"
        );
        let again = import(&mut history, ".bash_history", &text);
        assert_eq!(
            (again.added, again.assumed),
            (0, None),
            "{file} of {files:?}, again"
        );
        all.extend(words[words.len() - added..].iter().map(ToString::to_string));
        let texts: Vec<String> = events(&history)
            .iter()
            .map(|event| event.command.to_string())
            .collect();
        assert_eq!(texts, all, "{file} of {files:?}");
    }
}

#[test]
fn a_history_that_was_cut_at_its_beginning_loses_no_repeats() {
    sequence(&["3: ls cd make", "3?: make ls ls git"]);
    sequence(&["3: ls cd make", "3?: cd make ls cd make"]);
    sequence(&["3: ls cd make", "3?: ls ls cd", "2?: cd git ls"]);
    sequence(&["6: a b c d e f", "5: c d e f c d a b c"]);
    sequence(&["6: a b c d e f", "5?: f a b c d e"]);
    // All that was known is gone from it, and what is in it was run before too.
    sequence(&["4: ls cd make git", "3?: ls git cd"]);
    sequence(&["4: ls cd make git", "2: vi less"]);
}

#[test]
fn a_history_that_grew_by_repeats_adds_them() {
    sequence(&["1: ls", "1: ls ls", "2: ls ls ls ls"]);
    sequence(&[
        "3: ls cd make",
        "3: ls cd make ls cd make",
        "1: ls cd make ls cd make ls",
    ]);
    // Between the two it was another file, that ends with what the first goes on with.
    sequence(&["4: a b c d", "4: x y z ls", "2: a b c d ls x"]);
    sequence(&["5: a b c d e", "1?: a b c d ls", "1: a b c d e ls"]);
}

#[test]
fn a_history_without_earlier_equals_adds_what_was_run_again() {
    sequence(&["7: ls a ls b ls c ls", "1: a b c ls vi"]);
    sequence(&["4: a b c d", "1?: b c d a"]);
    sequence(&["6: a b c d e f", "2: b d e f a c"]);
    sequence(&["6: a b c d e f", "3?: d f x e b"]);
}

/// Imports files of bash one after the other; of no word there may then be fewer than the file has.
fn at_least_what_it_has(files: &[Vec<&str>]) {
    let mut history = History::in_memory().expect("open");
    for file in files {
        import(&mut history, ".bash_history", &(file.join("\n") + "\n"));
        let here = events(&history);
        for word in file {
            let in_file = file.iter().filter(|other| *other == word).count();
            let found = here.iter().filter(|event| &*event.command == *word).count();
            assert!(
                found >= in_file,
                "{word}: {found} of {in_file} after {file:?} of {files:?}"
            );
        }
    }
}

#[test]
fn of_no_command_there_are_fewer_than_a_file_has() {
    let files = [
        "a a a a a a u9 a a",
        "u20",
        "a a a a a a a",
        "u22 a a a a a a a a a a u9 a a a a a a",
    ];
    at_least_what_it_has(&files.map(|file| file.split(' ').collect()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn of_no_command_there_are_fewer_than_any_file_has(
        files in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c", "ls"]), 1..30), 1..5)
    ) {
        at_least_what_it_has(&files);
    }
}

#[test]
fn a_history_with_lines_taken_out_adds_only_its_end() {
    let mut history = History::in_memory().expect("open");
    import(
        &mut history,
        ".bash_history",
        plain((0..300).map(|n| n * n / 7 % 90)),
    );
    let kept = (0..300).filter(|n| n % 11 != 5).map(|n| n * n / 7 % 90);
    let report = import(
        &mut history,
        ".bash_history",
        plain(kept.clone().chain([3, 400])),
    );
    assert_eq!(report.added, 2, "{report:?}");
    // A line more in the middle is new once.
    let more: Vec<u32> = kept
        .clone()
        .take(100)
        .chain([500])
        .chain(kept.skip(100))
        .collect();
    let more = plain(more.into_iter().chain([3, 400]));
    for added in [1, 0] {
        let report = import(&mut history, ".bash_history", &more);
        assert_eq!(report.added, added, "{report:?}");
    }
}

#[test]
fn a_history_that_was_cut_and_lost_a_line_near_its_beginning_adds_only_its_end() {
    let mut history = History::in_memory().expect("open");
    import(&mut history, ".bash_history", plain(0..300));
    let file = (100..300).filter(|n| *n != 103).chain([400]);
    let report = import(&mut history, ".bash_history", plain(file));
    assert_eq!(report.added, 1, "{report:?}");
}

/// What `erasedups` makes of a history: each command once, where it was run last.
fn erased(file: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for line in file.iter().rev() {
        if !kept.contains(line) {
            kept.push(line.clone());
        }
    }
    kept.reverse();
    kept
}

fn adds(history: &mut History, file: &[String]) -> u64 {
    import(history, ".bash_history", file.join("\n")).added
}

#[test]
fn a_history_with_an_edited_line_adds_only_its_end_once_its_equals_are_erased() {
    for seed in 0..20_u64 {
        let number = |n: u64| (n + seed * 1000).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let mut file: Vec<String> = (0..500)
            .map(|n| format!("cmd {}", number(n) % 61))
            .collect();
        // One that is there once, and goes: nothing of what stands before it is unknown by that.
        file[260] = "typed once, with a secret".into();
        let mut history = History::in_memory().expect("open");
        adds(&mut history, &file);
        file[250 + seed as usize] = "redacted".into();
        file.push("n5".into());
        assert_eq!(adds(&mut history, &file), 2, "{seed}");
        let mut file = erased(&file);
        file.push("n6".into());
        assert_eq!(adds(&mut history, &file), 1, "{seed}");
        assert_eq!(adds(&mut history, &file), 0, "{seed}");
    }
}

#[test]
fn what_was_run_again_stays_although_the_known_ones_go_on_behind_it() {
    let mut file: Vec<String> = (0..100).map(|n| format!("cmd {n}")).collect();
    let mut history = History::in_memory().expect("open");
    adds(&mut history, &file);
    for again in [5, 99] {
        file.push(format!("cmd {again}"));
    }
    assert_eq!(adds(&mut history, &erased(&file)), 2);
}

#[test]
fn a_long_history_is_aligned_in_a_moment() {
    let line = |n: u32| format!("command {}\n", n.wrapping_mul(2_654_435_761) % 40_000);
    let file = |from: u32, to: u32| {
        (from..to)
            .filter(|n| n % 1000 != 7)
            .map(line)
            .collect::<String>()
    };
    let mut history = History::in_memory().expect("open");
    import(
        &mut history,
        ".bash_history",
        (0..60_000).map(line).collect::<String>(),
    );
    let started = std::time::Instant::now();
    assert_eq!(
        import(&mut history, ".bash_history", file(100, 60_000)).added,
        0
    );
    assert_eq!(
        import(&mut history, ".bash_history", file(5000, 60_050)).added,
        49
    );
    let periodic = "ls\ncd\nls\n".repeat(20_000);
    assert!(import(&mut history, ".bash_history", &periodic).added >= 59_997);
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn equal_commands_of_two_shells_are_two() {
    let mut history = History::in_memory().expect("open");
    let mut import_of = |shell: Shell, file: &str| {
        let options = ImportOptions {
            shell: Some(shell),
            ..options(None)
        };
        let report = import_bytes(&mut history, "history", file.as_bytes(), &options);
        report.expect("import").added
    };
    assert_eq!(import_of(Shell::Bash, "ls\ncd\n"), 2);
    assert_eq!(import_of(Shell::Zsh, "ls\nls\n"), 2);
    assert_eq!(import_of(Shell::Bash, "ls\ncd\nls\n"), 1);
    assert_eq!(import_of(Shell::Zsh, "ls\nls\n"), 0);
}

#[test]
fn what_was_forgotten_of_several_equal_commands_stays_away_and_is_no_hindrance() {
    let mut history = History::in_memory().expect("open");
    import(&mut history, ".bash_history", "ls\ncd\nls\nls\n");
    let second = events(&history)[2].id;
    history.forget(&[second], 1).expect("forget");
    for file in ["ls\ncd\nls\nls\n", "cd\nls\nls\n"] {
        let report = import(&mut history, ".bash_history", file);
        assert_eq!(report.added, 0, "{report:?}");
    }
    let report = import(&mut history, ".bash_history", "ls\ncd\nls\nls\nls\n");
    assert_eq!(report.added, 1, "it was run again since: {report:?}");
    assert_eq!(events(&history).len(), 4);
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
    let other = b"ls\necho caf\xe9\necho caf\xe8\n".as_slice();
    import(&mut history, ".bash_history", plain);
    let report = import(&mut history, ".bash_history", other);
    assert_eq!(report.added, 1, "another byte is another command");
}
