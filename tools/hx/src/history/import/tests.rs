//! Each format with its nasty cases, overlapping files, what is refused, and that no bytes make it panic.

mod damaged;
mod overlap;

use std::sync::Arc;

use proptest::prelude::*;

use super::entry::Parser;
use super::lines::Lines;
use super::{ImportOptions, ImportReport, Shell, SkipReason, import_bytes, import_file};
use crate::history::model::{Event, Record};
use crate::history::{History, HistoryErrorKind};

fn options(shell: Option<Shell>) -> ImportOptions {
    ImportOptions {
        shell,
        host: Arc::from("box"),
        dry_run: false,
        progress: Default::default(),
    }
}

fn import(history: &mut History, name: &str, bytes: impl AsRef<[u8]>) -> ImportReport {
    import_bytes(history, name, bytes.as_ref(), &options(None))
        .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", std::error::Error::source(&error)))
}

/// All events, oldest first.
fn events(history: &History) -> Vec<Event> {
    let records = history.read_records(0, i64::MAX, usize::MAX).expect("read");
    let mut events: Vec<Event> = records
        .into_iter()
        .filter_map(|(_, _, record)| match record {
            Record::Event(event) => Some(event),
            _ => None,
        })
        .collect();
    events.sort_by_key(|event| (event.time_us, event.id));
    events
}

/// The second (0 if unknown) and the text of everything in a file, as it is imported.
fn parsed(name: &str, bytes: impl AsRef<[u8]>) -> Vec<(i64, String)> {
    let mut history = History::in_memory().expect("open");
    import(&mut history, name, bytes);
    let second = |event: &Event| {
        if event.time_known {
            event.time_us / 1_000_000
        } else {
            0
        }
    };
    events(&history)
        .iter()
        .map(|event| (second(event), event.command.to_string()))
        .collect()
}

fn check(name: &str, bytes: impl AsRef<[u8]>, expected: &[(i64, &str)]) {
    let found = parsed(name, bytes);
    let found: Vec<(i64, &str)> = found
        .iter()
        .map(|(second, text)| (*second, text.as_str()))
        .collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn zsh_extended() {
    let file = b": 1700000000:0;ls -la\n: 1700000001:75;make\\\nall\\\n  install\n: 1700000001:0;second in the same second\n: 1700000003:0;echo a\\\\\\\nb\n\
        : 1700000004:0;ends in backslash \\ \nplain between\n: 0:0;at an unknown time\n: 1700000005:0;caf\xc3\x83\x89\n: 1700000006:0;: 5:6;inner\n";
    check(
        ".zsh_history",
        file,
        &[
            (0, "plain between"),
            (0, "at an unknown time"),
            (1_700_000_000, "ls -la"),
            (1_700_000_001, "make\nall\n  install"),
            (1_700_000_001, "second in the same second"),
            (1_700_000_003, "echo a\\\\\nb"),
            (1_700_000_004, "ends in backslash \\"),
            (1_700_000_005, "caf\u{e9}"),
            (1_700_000_006, ": 5:6;inner"),
        ],
    );
    let mut history = History::in_memory().expect("open");
    let report = import(&mut history, "any name", file);
    assert_eq!(
        (report.format, report.read, report.added, report.lossy),
        ("zsh (extended)", 9, 9, 0)
    );
    assert_eq!(
        (report.first_us, report.last_us),
        (Some(1_700_000_000_000_000), Some(1_700_000_006_000_000))
    );
    let events = events(&history);
    assert_eq!(events[3].duration_ms, Some(75_000));
    assert_eq!(
        (events[4].time_us, events[4].duration_ms),
        (1_700_000_001_000_001, None)
    );
    assert_eq!(
        (&*events[4].host, events[4].shell.as_deref()),
        ("box", Some("zsh"))
    );
}

#[test]
fn zsh_plain_and_its_escaped_bytes() {
    // Every byte that zsh escapes, inside characters: ă … ʢ, 你 好.
    let file = b"echo \xc4\x83\xa3\necho \xe4\xbd\x83\x80 \xe5\xa5\xbd\necho \xc4\x83 raw\nfor i in 1 2\\\ndo echo\\\ndone\n";
    check(
        ".zsh_history",
        file,
        &[
            (0, "echo \u{103}"),
            (0, "echo \u{4f60} \u{597d}"),
            (0, "echo \u{103} raw"),
            (0, "for i in 1 2\ndo echo\ndone"),
        ],
    );
}

#[test]
fn bash_plain() {
    check(
        ".bash_history",
        "ls\n\ncd /tmp\nls\n#not a time\n  indented\nlast without end",
        &[
            (0, "ls"),
            (0, "cd /tmp"),
            (0, "ls"),
            (0, "#not a time"),
            (0, "  indented"),
            (0, "last without end"),
        ],
    );
}

#[test]
fn bash_with_times() {
    let file = "from before\n#1700000000\nls\n#1700000001\nfor i in 1 2\ndo\n\n  echo $i\ndone\n#1700000002\n#1700000003\necho '#12'\n#12 is no time\n#1700000004\nlast\n";
    check(
        "hist",
        file,
        &[
            (0, "from before"),
            (1_700_000_000, "ls"),
            (1_700_000_001, "for i in 1 2\ndo\n\n  echo $i\ndone"),
            (1_700_000_003, "echo '#12'\n#12 is no time"),
            (1_700_000_004, "last"),
        ],
    );
    let report = import(&mut History::in_memory().expect("open"), "hist", file);
    assert_eq!(report.format, "bash (with times)");
    assert_eq!(
        report
            .skipped
            .iter()
            .map(|skipped| (skipped.reason, skipped.count))
            .collect::<Vec<_>>(),
        [(SkipReason::Empty, 1)]
    );
    assert_eq!(report.read, report.added + report.skipped_count());
}

#[test]
fn fish() {
    let file = "- cmd: echo one\\ntwo \\\\n three\\x\n  when: 1700000000\n  paths:\n    - /tmp/a\n    - - cmd: no\n- cmd: undated\n- cmd: git commit -m \"a: b\"\n  when: 1700000001\n";
    check(
        "whatever",
        file,
        &[
            (0, "undated"),
            (1_700_000_000, "echo one\ntwo \\n three\\x"),
            (1_700_000_001, "git commit -m \"a: b\""),
        ],
    );
}

#[test]
fn line_ends_of_windows_and_marks_of_editors() {
    check(
        "hist",
        "\u{feff}#1700000000\r\nls\r\n#1700000001\r\ncd\r\n",
        &[(1_700_000_000, "ls"), (1_700_000_001, "cd")],
    );
    check("bash_history", "ls\r\ncd\r\n", &[(0, "ls"), (0, "cd")]);
    check(
        "bash_history",
        "printf 'a\r\ncd\n",
        &[(0, "printf 'a\r"), (0, "cd")],
    );
}

#[test]
fn bytes_that_are_no_text_are_kept_and_counted() {
    let mut history = History::in_memory().expect("open");
    let report = import(
        &mut history,
        ".bash_history",
        b"caf\xe9\nok\nwith\0nul\n\0\0\0\0\nend\n",
    );
    assert_eq!((report.added, report.escaped, report.lossy), (4, 1, 1));
    let texts: Vec<String> = events(&history)
        .iter()
        .map(|event| event.command.to_string())
        .collect();
    assert_eq!(texts, ["caf\u{10fee9}", "ok", "withnul", "end"]);
}

#[test]
fn blocks_of_zeros_are_dropped_wherever_they_are() {
    let zeros = "\0".repeat(20_000);
    let files = [
        (
            ".zsh_history",
            ": 1700000000:0;one\n: 1700000001:0;two\\\nlines\n: 1700000002:0;three\n",
        ),
        (
            ".bash_history",
            "#1700000000\none\n#1700000001\ntwo\nlines\n#1700000002\nthree\n",
        ),
        (
            "fish_history",
            "- cmd: one\n  when: 1700000000\n- cmd: two\\nlines\n  when: 1700000001\n- cmd: three\n  when: 1700000002\n",
        ),
    ];
    for (name, file) in files {
        let whole = parsed(name, file);
        for at in 1..file.len() {
            let damaged = format!("{}{zeros}{}", &file[..at], &file[at..]);
            assert_eq!(parsed(name, &damaged), whole, "{name} at {at}");
            let report = import(&mut History::in_memory().expect("open"), name, &damaged);
            assert_eq!(report.lossy, 1, "{name} at {at}");
        }
    }
}

#[test]
fn a_time_of_zsh_that_is_none_is_no_part_of_the_command() {
    let file =
        ": 99999999999999999999:0;x\n: -5:0;y\n: 1700000000:99999999999999999999;z\n: 5:-1;w\n";
    let mut history = History::in_memory().expect("open");
    let report = import(&mut history, ".zsh_history", file);
    assert_eq!((report.added, report.bad_times), (4, 2));
    check(
        ".zsh_history",
        file,
        &[(0, "x"), (0, "y"), (5, "w"), (1_700_000_000, "z")],
    );
}

#[test]
fn a_file_cut_anywhere_keeps_what_is_whole() {
    let zsh = ": 1700000000:0;one\n: 1700000001:0;two\\\nlines\n: 1700000002:0;three\n";
    let bash = "#1700000000\none\n#1700000001\ntwo\nlines\n#1700000002\nthree\n";
    let fish = "- cmd: one\n  when: 1700000000\n- cmd: two\\nlines\n  when: 1700000001\n- cmd: three\n  when: 1700000002\n";
    for (name, file) in [
        (".zsh_history", zsh),
        (".bash_history", bash),
        ("fish_history", fish),
    ] {
        let whole = parsed(name, file);
        assert_eq!(whole.len(), 3);
        for cut in 0..file.len() {
            let kept = parsed(name, &file[..cut]);
            let third = file.find("three").expect("there");
            let least =
                usize::from(cut >= file.find("two").expect("there")) + usize::from(cut >= third);
            assert!(
                kept.len() >= least && kept[..least] == whole[..least],
                "{name} cut at {cut}: {kept:?}"
            );
            // Of what is cut only the text may be short: never a wrong time, never a piece of another line.
            assert!(
                kept.iter().all(|(second, text)| whole
                    .iter()
                    .any(|(at, full)| at == second && full.starts_with(text.as_str()))),
                "{name} cut at {cut}: {kept:?}"
            );
        }
    }
}

#[test]
fn a_command_that_is_too_long_is_skipped_and_named() {
    let long = "x".repeat(3000);
    let file = format!(
        ": 1700000000:0;ok\n: 1700000001:0;{long}\n: 1700000002:0;also\\\n{long}\n: 1700000003:0;end\n"
    );
    let mut parser = super::zsh::Zsh::new(Lines::new(file.as_bytes(), false).with_limit(1000));
    let mut items = Vec::new();
    while let Some(item) = parser.next().expect("readable") {
        items.push(match item {
            super::entry::Item::Entry(entry) => entry.text,
            super::entry::Item::Skipped { line, reason, .. } => {
                format!("{line} {}", reason.as_str())
            }
        });
    }
    assert_eq!(
        items,
        ["ok", "2 longer than 16 MiB", "3 longer than 16 MiB", "end"]
    );
    // A megabyte is a command like any other.
    let million = format!("echo {}", "y".repeat(1 << 20));
    check(
        ".bash_history",
        format!("{million}\nls\n"),
        &[(0, &million), (0, "ls")],
    );
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let mut history = History::in_memory().expect("open");
    let dry = ImportOptions {
        dry_run: true,
        ..options(None)
    };
    let report = import_bytes(&mut history, ".bash_history", b"ls\ncd\n", &dry).expect("import");
    assert_eq!((report.added, report.dry_run), (2, true));
    assert_eq!(
        (
            history.counts().expect("counts").events,
            history.head().expect("head")
        ),
        (0, 0)
    );
    assert_eq!(import(&mut history, ".bash_history", b"ls\ncd\n").added, 2);
}

/// Imports what is no history, checks the reason, and says the kind of the error.
fn refused(name: &str, bytes: &[u8], reason: &str) -> HistoryErrorKind {
    let mut history = History::in_memory().expect("open");
    let error = import_bytes(&mut history, name, bytes, &options(None)).expect_err(name);
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let cause = cause.unwrap_or_default();
    assert!(
        cause.contains(reason) && error.to_string().contains(name),
        "{name}: {error}: {cause}"
    );
    assert_eq!(history.counts().expect("counts").events, 0);
    // What was begun is undone: the history works as before.
    assert_eq!(import(&mut history, ".bash_history", "ls\n").added, 1);
    error.kind()
}

#[test]
fn what_is_no_history_is_refused_with_a_reason() {
    assert_eq!(
        refused("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
        HistoryErrorKind::Refused
    );
    refused(".zsh_history", b"\x89PNG\r\n\x1a\n\0\0", "PNG");
    refused("history.db", b"SQLite format 3\0\x10\0", "SQLite");
    refused("hist.gz", b"\x1f\x8b\x08\0\0", "gzip -d");
    refused(
        "data",
        &(0..=255).cycle().take(4000).collect::<Vec<u8>>(),
        "binary",
    );
    refused("zeros_history", &[0; 500], "binary");
}

#[test]
fn json_of_others_and_of_the_future_is_refused() {
    refused(
        "package.json",
        b"{\n  \"name\": \"x\"\n}",
        "another program",
    );
    refused("list.json", b"[{\"a\":1}]", "another program");
    refused("empty.json", b"", "empty");
    refused("page", b"<!DOCTYPE html><html>", "web page");
    refused(
        "letter.txt",
        b"Dear Sir,\n\nI have not written for long. It was summer.\nYours, N.\n",
        "do not look like commands",
    );
    refused(
        "other.json",
        b"{\"format\":\"syncline-hx-history\",\"version\":1,\"events\":[{\"id\":5}]}",
        "damaged",
    );
    refused(
        "other.json",
        b"{\"format\":\"x\",\"version\":1,\"also\":\"syncline-hx-history\"}",
        "its format is `x`",
    );
    assert_eq!(
        refused(
            "new.json",
            b"{\"format\":\"syncline-hx-history\",\"version\":2,\"events\":[]}",
            "newer hx"
        ),
        HistoryErrorKind::NewerVersion
    );
}

#[test]
fn directories_and_absent_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut history = History::in_memory().expect("open");
    let error =
        import_file(&mut history, directory.path(), &options(None)).expect_err("a directory");
    assert_eq!(error.kind(), HistoryErrorKind::Refused);
    let error = import_file(
        &mut history,
        &directory.path().join("absent"),
        &options(None),
    )
    .expect_err("absent");
    assert_eq!(error.kind(), HistoryErrorKind::NotFound);
    assert_eq!(import(&mut history, ".bash_history", b"").read, 0);
}

#[test]
fn commands_under_any_name_are_recognised() {
    check(
        "commands.txt",
        "ls -la\ncd /tmp\ngit status\nFOO=1 make\n./run.sh\n",
        &[
            (0, "ls -la"),
            (0, "cd /tmp"),
            (0, "git status"),
            (0, "FOO=1 make"),
            (0, "./run.sh"),
        ],
    );
}

#[test]
fn history_files_are_found_where_shells_keep_them() {
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name);
    for directory in ["zdot", "data/fish", "elsewhere"] {
        std::fs::create_dir_all(at(directory)).expect("make");
    }
    for file in [
        "zdot/.zsh_history",
        "data/fish/fish_history",
        ".bash_history",
        "elsewhere/h",
    ] {
        std::fs::write(at(file), "ls\n").expect("write");
    }
    std::os::unix::fs::symlink(at(".bash_history"), at(".zsh_history")).expect("link");
    let (zdot, data, file) = (at("zdot"), at("data"), at("elsewhere/h"));
    let env = |name: &str| match name {
        "HISTFILE" => file.to_str(),
        "ZDOTDIR" => zdot.to_str(),
        "XDG_DATA_HOME" => data.to_str(),
        _ => None,
    };
    let found = super::find_history_files(env, home.path());
    assert_eq!(
        found,
        [
            at("elsewhere/h"),
            at("zdot/.zsh_history"),
            at(".zsh_history"),
            at("data/fish/fish_history")
        ]
    );
}

#[test]
fn the_sample_is_a_history() {
    let mut history = History::in_memory().expect("open");
    let report = import(&mut history, "history.zsh", super::SAMPLE);
    assert_eq!(report.format, "zsh (extended)");
    assert!(
        report.read >= 380 && report.added == report.read && report.lossy == 0,
        "{report:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), shell in 0..4) {
        let shell = [None, Some(Shell::Zsh), Some(Shell::Bash), Some(Shell::Fish)][shell as usize];
        let mut history = History::in_memory().expect("open");
        if let Ok(report) = import_bytes(&mut history, "hist", &bytes, &options(shell)) {
            prop_assert_eq!(report.read, report.added + report.known + report.forgotten + report.skipped_count());
        }
    }

    #[test]
    fn no_pieces_panic(pieces in proptest::collection::vec(
        "(: 1700000000:0;|: 17|#1700000000|- cmd: |  when: 1700000001|\\\\|\n|\r\n|ls|\u{e9}|\\{\"format\":\"syncline-hx-history\",|\"version\":1,|\"events\":\\[|\\]|\\}|\\{\"id\":)", 0..40),
        shell in 0..4,
    ) {
        let shell = [None, Some(Shell::Zsh), Some(Shell::Bash), Some(Shell::Fish)][shell as usize];
        let mut history = History::in_memory().expect("open");
        let text = pieces.concat();
        if let Ok(report) = import_bytes(&mut history, "hist", text.as_bytes(), &options(shell)) {
            prop_assert_eq!(report.read, report.added + report.known + report.forgotten + report.skipped_count());
            let again = import_bytes(&mut history, "hist", text.as_bytes(), &options(shell)).expect("the same file");
            prop_assert_eq!(again.added, 0, "{:?}", text);
        }
    }
}
