//! Tests of how `find` filters and shows.
//!
//! What must hold: see `render` and `filters`. It deliberately does not test the search; `history::find` does.

use std::sync::Arc;

use console::Env;

use super::filters::{absolute, span_us};
use super::render::{Listing, marks};
use crate::history::find::{Hit, Tier};
use crate::history::model::{Event, RecordId};
use crate::history::octets;

fn hit(command: &str, host: &str, exit: Option<i32>, duration_ms: Option<i64>) -> Hit {
    let event = Event {
        id: RecordId([0xab; 16]),
        command: Arc::from(command),
        time_us: 0,
        time_known: false,
        duration_ms,
        exit,
        cwd: None,
        host: Arc::from(host),
        shell: None,
        session: None,
        actor: None,
    };
    Hit {
        event,
        uses: 1,
        pinned: false,
        tier: Tier::Words,
    }
}

fn render(hits: &[Hit], words: &str, color: bool) -> String {
    Listing {
        hits,
        words,
        color,
        cut: false,
        zone: jiff::tz::TimeZone::UTC,
    }
    .render()
}

#[test]
fn a_huge_command_is_cut_on_a_terminal_only() {
    let huge = format!("echo {}", "x".repeat(1_000_000));
    let long = "line\n".repeat(100);
    for command in [&huge, &long] {
        let hits = [hit(command, "a", None, None)];
        let listing = |cut| Listing {
            hits: &hits,
            words: "",
            color: false,
            cut,
            zone: jiff::tz::TimeZone::UTC,
        };
        let (whole, cut) = (listing(false).render(), listing(true).render());
        assert!(whole.len() > command.len() && !whole.contains(" in all; "));
        assert!(cut.len() < 5_000 && cut.contains(" in all; the whole: "));
    }
    let hits = [hit("short", "a", None, None)];
    assert_eq!(render(&hits, "", false), "-  abababab  short\n");
}

#[test]
fn columns_that_say_nothing_are_left_out() {
    let hits = [hit("ls", "a", Some(0), None), hit("make", "a", None, None)];
    assert_eq!(
        render(&hits, "", false),
        "-  abababab  ls\n-  abababab  make\n"
    );
}

#[test]
fn host_exit_and_duration_are_shown_where_they_differ() {
    let hits = [
        hit("ls", "a", Some(2), Some(1500)),
        hit("make", "bb", None, None),
    ];
    assert_eq!(
        render(&hits, "", false),
        "-  1.5 s  exit 2  a   abababab  ls\n-                 bb  abababab  make\n"
    );
}

#[test]
fn lines_of_a_command_stand_below_each_other() {
    let hits = [hit("for x in 1; do\n  echo $x\ndone", "a", None, None)];
    assert_eq!(
        render(&hits, "", false),
        "-  abababab  for x in 1; do\n               echo $x\n             done\n"
    );
}

#[test]
fn no_control_sequence_gets_through() {
    assert_eq!(
        octets::visible("a\x1b]0;x\x07\r\u{9b}b"),
        "a\\u{1b}]0;x\\u{7}\\r\\u{9b}b"
    );
    assert_eq!(octets::visible("rm \u{202e}x"), "rm \\u{202e}x");
    assert_eq!(octets::visible("ä\tб"), "ä\tб");
    assert!(!render(&[hit("a\x1bb", "h", None, None)], "a", false).contains('\x1b'));
}

#[test]
fn words_are_marked_whatever_their_case() {
    let words = ["docker".to_owned(), "run".to_owned(), "dock".to_owned()];
    assert_eq!(marks("Docker run", &words), [(0, 6), (7, 10)]);
    assert_eq!(marks("İrun", &["run".to_owned()]), [(2, 5)]);
    assert_eq!(
        render(&[hit("git log", "h", None, None)], "\"LOG\"", true),
        "\x1b[2m-\x1b[0m  \x1b[2mabababab\x1b[0m  git \x1b[1mlog\x1b[0m\n"
    );
}

#[test]
fn a_directory_is_made_absolute_without_touching_the_disk() {
    let env = Env::from_pairs([("HOME", "/home/me")]);
    assert_eq!(absolute("~", &env), "/home/me");
    assert_eq!(absolute("~/src/", &env), "/home/me/src");
    assert_eq!(absolute("/a/./b/../c/", &env), "/a/c");
    assert_eq!(absolute("/..", &env), "/");
    assert_eq!(absolute("~other", &env).rsplit('/').next(), Some("~other"));
}

#[test]
fn a_span_that_ends_before_it_begins_is_refused() {
    assert_eq!(
        span_us(Some("@1"), Some("@2"), &Env::default()).expect("a span"),
        (Some(1_000_000), Some(2_000_000))
    );
    let failure =
        span_us(Some("@2"), Some("@2"), &Env::default()).expect_err("nothing is between them");
    assert_eq!(failure.exit().code(), 2);
    let failure =
        span_us(Some("the day of reckoning"), None, &Env::default()).expect_err("no time");
    assert!(
        failure.render(false).contains("--after")
            && failure
                .hint_text()
                .is_some_and(|hint| hint.contains("2 weeks ago")),
        "{failure}"
    );
}
