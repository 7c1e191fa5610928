//! Every accepted form against a fixed moment, in a zone with summer time.

use jiff::Zoned;
use proptest::prelude::*;

use super::parse;

/// A Wednesday afternoon.
fn now() -> Zoned {
    "2024-03-13T15:30:20+01:00[Europe/Berlin]"
        .parse()
        .expect("a valid time")
}

fn check(text: &str, expected: &str) {
    let time = parse(text, &now()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(
        time.to_zoned(now().time_zone().clone())
            .datetime()
            .to_string(),
        expected,
        "{text}"
    );
}

#[test]
fn dates_and_times_as_written() {
    check("2023-03-01", "2023-03-01T00:00:00");
    check("2023-03-01 15:04", "2023-03-01T15:04:00");
    check("2023-03-01 15:04:05", "2023-03-01T15:04:05");
    check("2023-03-01T15:04:05", "2023-03-01T15:04:05");
    check("2023-03-01T15:04:05Z", "2023-03-01T16:04:05");
    check("2023-03-01T15:04:05.25+05:30", "2023-03-01T10:34:05.25");
    check("2023-07-01T15:04:05Z", "2023-07-01T17:04:05");
    check("2023-03", "2023-03-01T00:00:00");
    check("2023", "2023-01-01T00:00:00");
    check("2023-03-01 3pm", "2023-03-01T15:00:00");
    check("@1677628800", "2023-03-01T01:00:00");
    check("@1677628800.5", "2023-03-01T01:00:00.5");
    check("@-1", "1970-01-01T00:59:59");
}

#[test]
fn days_in_words() {
    check("now", "2024-03-13T15:30:20");
    check("today", "2024-03-13T00:00:00");
    check("Yesterday", "2024-03-12T00:00:00");
    check("yesterday 3pm", "2024-03-12T15:00:00");
    check("yesterday at 3:15 PM", "2024-03-12T15:15:00");
    check("3pm yesterday", "2024-03-12T15:00:00");
    check("yesterday noon", "2024-03-12T12:00:00");
    check("noon", "2024-03-13T12:00:00");
    check("midnight", "2024-03-13T00:00:00");
    check("12am", "2024-03-13T00:00:00");
    check("12 pm", "2024-03-13T12:00:00");
    check("15:04", "2024-03-13T15:04:00");
    check("monday", "2024-03-11T00:00:00");
    check("wednesday", "2024-03-13T00:00:00");
    check("last wednesday", "2024-03-06T00:00:00");
    check("last monday", "2024-03-11T00:00:00");
    check("last fri 9:05", "2024-03-08T09:05:00");
    check("last week", "2024-03-06T00:00:00");
    check("last month", "2024-02-13T00:00:00");
    check("this week", "2024-03-11T00:00:00");
    check("this year", "2024-01-01T00:00:00");
}

#[test]
fn months_in_words() {
    check("march 1", "2024-03-01T00:00:00");
    check("1 march 2023", "2023-03-01T00:00:00");
    check("Mar 1, 2023 8am", "2023-03-01T08:00:00");
    check("december 24th", "2023-12-24T00:00:00");
    check("29 feb", "2024-02-29T00:00:00");
}

#[test]
fn spans_back() {
    check("2 weeks ago", "2024-02-28T15:30:20");
    check("3 days ago", "2024-03-10T15:30:20");
    check("an hour ago", "2024-03-13T14:30:20");
    check("1 day 3 hours ago", "2024-03-12T12:30:20");
    check("two days and 1 minute ago", "2024-03-11T15:29:20");
    check("2h", "2024-03-13T13:30:20");
    check("30min ago", "2024-03-13T15:00:20");
    check("2 days ago 3pm", "2024-03-11T15:00:00");
    check("1 year ago", "2023-03-13T15:30:20");
    // Over the change to summer time of 2023.
    check("351 days ago", "2023-03-28T15:30:20");
}

#[test]
fn what_is_not_understood_is_answered_with_the_forms() {
    for text in [
        "",
        "  ",
        "soon",
        "2023-13-01",
        "2023-02-30",
        "25:00",
        "13pm",
        "yesterday yesterday",
        "@",
        "@x",
        "ago",
        "5",
        "99999999999999999999 days ago",
    ] {
        let error = parse(text, &now()).expect_err(text);
        assert!(error.remedy().contains("2 weeks ago"), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = parse(&text, &now());
    }

    #[test]
    fn no_words_panic(words in proptest::collection::vec("(last|ago|[0-9]{1,20}|days?|weeks?|monday|3pm|@|-|march|:|2023-02-2[0-9]|T|a)", 0..6)) {
        let _ = parse(&words.join(" "), &now());
    }

    #[test]
    fn a_timestamp_reads_itself(seconds in -10_000_000_000_i64..10_000_000_000) {
        let time = jiff::Timestamp::from_second(seconds).expect("in range");
        prop_assert_eq!(parse(&time.to_string(), &now()).ok(), Some(time));
        let epoch = format!("@{seconds}");
        prop_assert_eq!(parse(&epoch, &now()).ok(), Some(time));
    }
}
