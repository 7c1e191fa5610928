//! What is found, in which order, and that no query is an error.

use std::sync::Arc;

use proptest::prelude::*;

use super::{FindQuery, Tier};
use crate::history::model::{Event, Record};
use crate::history::tests::{commands, event};
use crate::history::{ApplyOptions, History};

const SECOND: i64 = 1_000_000;

fn with(events: impl IntoIterator<Item = Event>) -> History {
    let mut history = History::in_memory().expect("open");
    history
        .insert_all(
            events.into_iter().map(Record::Event),
            ApplyOptions::default(),
        )
        .expect("insert");
    history
}

fn lines(texts: &[&str]) -> History {
    with(
        texts
            .iter()
            .zip(1..)
            .map(|(text, second)| event(text, second * SECOND)),
    )
}

#[test]
fn the_better_match_comes_first_and_then_the_newer() {
    let history = lines(&[
        "git push",
        "echo git push",
        "git push origin",
        "push the git",
        "git pusher",
    ]);
    assert_eq!(
        commands(&history, "git push"),
        [
            "git push",
            "git pusher",
            "git push origin",
            "echo git push",
            "push the git"
        ]
    );
    let hits = history.find(&FindQuery::new("git push", 9)).expect("find");
    let tiers: Vec<Tier> = hits.iter().map(|hit| hit.tier).collect();
    assert_eq!(
        tiers,
        [
            Tier::Whole,
            Tier::Beginning,
            Tier::Beginning,
            Tier::Verbatim,
            Tier::Words
        ]
    );
}

#[test]
fn words_are_found_by_their_beginnings_in_any_case() {
    let history = lines(&[
        "docker compose logs",
        "Docker ps",
        "rm -rf node_modules",
        "curl http://localhost:8080/health",
        "caffè",
    ]);
    assert_eq!(
        commands(&history, "dock"),
        ["Docker ps", "docker compose logs"]
    );
    assert_eq!(commands(&history, "LOGS comp"), ["docker compose logs"]);
    assert_eq!(commands(&history, "-rf"), ["rm -rf node_modules"]);
    assert_eq!(commands(&history, "node_mod"), ["rm -rf node_modules"]);
    assert_eq!(
        commands(&history, "localhost:8080/he"),
        ["curl http://localhost:8080/health"]
    );
    assert_eq!(
        commands(&history, "\"compose logs\""),
        ["docker compose logs"]
    );
    assert_eq!(commands(&history, "\"logs compose\""), [""; 0]);
    assert_eq!(commands(&history, "caffe"), ["caffè"]);
    assert_eq!(commands(&history, "nothing"), [""; 0]);
}

#[test]
fn symbols_are_found_as_they_are() {
    let history = lines(&["a && b", "a || b", "a; b"]);
    assert_eq!(commands(&history, "&&"), ["a && b"]);
    assert_eq!(commands(&history, "a ||"), ["a || b"]);
    assert_eq!(commands(&history, "a &&& b"), [""; 0]);
}

#[test]
fn a_command_is_shown_once_with_its_newest_event() {
    let history = with((1..=5).map(|n| event("make test", n * SECOND)));
    let hits = history.find(&FindQuery::new("make", 9)).expect("find");
    assert_eq!(
        (hits.len(), hits[0].uses, hits[0].event.time_us),
        (1, 5, 5 * SECOND)
    );
    let mut query = FindQuery::new("make", 3);
    query.repeats = true;
    let times: Vec<i64> = history
        .find(&query)
        .expect("find")
        .iter()
        .map(|hit| hit.event.time_us)
        .collect();
    assert_eq!(times, [5 * SECOND, 4 * SECOND, 3 * SECOND]);
}

#[test]
fn filters_narrow() {
    let place = |cwd: &str, exit: Option<i32>, host: &str, event: Event| Event {
        cwd: Some(Arc::from(cwd)),
        exit,
        host: Arc::from(host),
        ..event
    };
    let history = with([
        place("/a", Some(0), "one", event("make all", SECOND)),
        place("/b", Some(2), "one", event("make all", 2 * SECOND)),
        place("/a", None, "two", event("make clean", 3 * SECOND)),
        Event {
            time_known: false,
            ..event("make undated", 4)
        },
    ]);
    let check = |change: fn(&mut FindQuery), expected: &[(&str, i64)]| {
        for text in ["make", ""] {
            let mut query = FindQuery::new(text, 9);
            change(&mut query);
            let hits = history.find(&query).expect("find");
            let found: Vec<(&str, i64)> = hits
                .iter()
                .map(|hit| (&*hit.event.command, hit.event.time_us))
                .collect();
            assert_eq!(found, expected, "{query:?}");
        }
    };
    check(
        |_| (),
        &[
            ("make clean", 3 * SECOND),
            ("make all", 2 * SECOND),
            ("make undated", 4),
        ],
    );
    check(
        |query| query.cwd = Some("/a".into()),
        &[("make clean", 3 * SECOND), ("make all", SECOND)],
    );
    check(|query| query.cwd = Some("/nowhere".into()), &[]);
    check(
        |query| query.host = Some("one".into()),
        &[("make all", 2 * SECOND)],
    );
    check(|query| query.exit = Some(0), &[("make all", SECOND)]);
    check(|query| query.failed = true, &[("make all", 2 * SECOND)]);
    check(
        |query| query.after_us = Some(2 * SECOND),
        &[("make clean", 3 * SECOND), ("make all", 2 * SECOND)],
    );
    check(
        |query| query.before_us = Some(2 * SECOND),
        &[("make all", SECOND)],
    );
    check(|query| query.limit = 1, &[("make clean", 3 * SECOND)]);
    check(|query| query.limit = 0, &[]);
}

#[test]
fn a_filter_reaches_beyond_the_first_window() {
    let mut events: Vec<Event> = (1..=1500)
        .map(|n| event(&format!("make target{n}"), n * SECOND))
        .collect();
    events[0].host = Arc::from("old");
    let history = with(events);
    let mut query = FindQuery::new("make", 5);
    query.host = Some("old".into());
    let hits = history.find(&query).expect("find");
    assert_eq!(
        hits.iter()
            .map(|hit| &*hit.event.command)
            .collect::<Vec<_>>(),
        ["make target1"]
    );
    assert_eq!(
        history
            .find(&FindQuery::new("make", 2000))
            .expect("find")
            .len(),
        1500
    );
}

#[test]
fn a_command_used_again_comes_first_again() {
    let mut history = lines(&["ssh one", "ssh two"]);
    assert_eq!(commands(&history, "ssh"), ["ssh two", "ssh one"]);
    history
        .insert_all(
            [Record::Event(event("ssh one", 9 * SECOND))],
            ApplyOptions::default(),
        )
        .expect("insert");
    assert_eq!(commands(&history, "ssh"), ["ssh one", "ssh two"]);
    // An old event that arrives late moves nothing.
    history
        .insert_all(
            [Record::Event(event("ssh two", SECOND / 2))],
            ApplyOptions::default(),
        )
        .expect("insert");
    assert_eq!(commands(&history, "ssh"), ["ssh one", "ssh two"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_query_is_an_error(text in "\\PC{0,30}|[\"*^:()&|+ aANDORNOT\0-]{0,20}") {
        let history = lines(&["a AND b", "c* (d) \"e\"", "x:y -z"]);
        history.find(&FindQuery::new(text, 10)).expect("no error");
    }

    #[test]
    fn a_command_finds_itself(command in "[a-zA-Zé0-9_./=\" &|;*:-]{1,30}") {
        prop_assume!(!command.trim().is_empty());
        let history = lines(&["ls", &command, "cd"]);
        prop_assert!(commands(&history, &command).contains(&command), "{:?}", command);
    }
}
