//! Tables of schedules and what they mean.

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a time zone")
}

fn at(text: &str, zone: &TimeZone) -> Timestamp {
    let civil: jiff::civil::DateTime = text.parse().expect("a time");
    zone.to_timestamp(civil).expect("a time")
}

/// The first times after one, as they are read in the time zone, with the offset in hours.
fn nexts(schedule: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let (schedule, zone): (Schedule, _) = (schedule.parse().expect("a schedule"), zone(zone_name));
    let anchor = at(after, &zone);
    let mut time = anchor;
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(next) = schedule.next(time, anchor, &zone) else {
            break;
        };
        assert!(next > time, "{schedule}");
        time = next;
        let shown = next.to_zoned(zone.clone());
        found.push(shown.strftime("%Y-%m-%d %a %H:%M %:::z").to_string());
    }
    found
}

fn days(schedule: &str, after: &str, count: usize) -> Vec<String> {
    let found = nexts(schedule, "UTC", after, count);
    let short = found.iter().map(|text| text[..14].to_owned());
    short.collect()
}

/// A schedule, a time, and the next days after it.
type Row = (&'static str, &'static str, &'static [&'static str]);

const AWS_DAYS: &[Row] = &[
    (
        "cron(0 3 ? * SUN *)",
        "2026-11-27T18:00",
        &["2026-11-29 Sun", "2026-12-06 Sun"],
    ),
    // Not as in plain cron: 1 is Sunday.
    (
        "cron(0 3 ? * 1 *)",
        "2026-11-27T18:00",
        &["2026-11-29 Sun", "2026-12-06 Sun"],
    ),
    (
        "cron(0 3 ? * 7 *)",
        "2026-11-27T18:00",
        &["2026-11-28 Sat", "2026-12-05 Sat"],
    ),
    (
        "cron(0 3 ? * L *)",
        "2026-11-27T18:00",
        &["2026-11-28 Sat", "2026-12-05 Sat"],
    ),
    (
        "cron(0 3 ? * MON-FRI *)",
        "2026-11-27T18:00",
        &["2026-11-30 Mon", "2026-12-01 Tue"],
    ),
    (
        "cron(0 3 ? * 2-6 *)",
        "2026-11-27T18:00",
        &["2026-11-30 Mon", "2026-12-01 Tue"],
    ),
    (
        "cron(0 3 ? * TUE,THU *)",
        "2026-11-27T18:00",
        &["2026-12-01 Tue", "2026-12-03 Thu"],
    ),
    // The second Monday, the last Friday.
    (
        "cron(0 3 ? * 2#2 *)",
        "2026-11-27T18:00",
        &["2026-12-14 Mon", "2027-01-11 Mon"],
    ),
    (
        "cron(0 3 ? * MON#2 *)",
        "2026-11-27T18:00",
        &["2026-12-14 Mon", "2027-01-11 Mon"],
    ),
    (
        "cron(0 3 ? * 6L *)",
        "2026-11-27T18:00",
        &["2026-12-25 Fri", "2027-01-29 Fri"],
    ),
    (
        "cron(0 3 ? * FRIL *)",
        "2026-11-27T18:00",
        &["2026-12-25 Fri", "2027-01-29 Fri"],
    ),
    // The last day, the working day that is nearest, within the month.
    (
        "cron(0 3 L * ? *)",
        "2026-11-27T18:00",
        &["2026-11-30 Mon", "2026-12-31 Thu"],
    ),
    (
        "cron(0 3 L FEB ? *)",
        "2026-11-27T18:00",
        &["2027-02-28 Sun", "2028-02-29 Tue"],
    ),
    (
        "cron(0 3 15W * ? *)",
        "2027-07-31T18:00",
        &["2027-08-16 Mon", "2027-09-15 Wed"],
    ),
    (
        "cron(0 3 1W * ? *)",
        "2027-04-30T18:00",
        &["2027-05-03 Mon", "2027-06-01 Tue"],
    ),
    (
        "cron(0 3 31W * ? *)",
        "2026-12-31T18:00",
        &["2027-01-29 Fri", "2027-03-31 Wed"],
    ),
    (
        "cron(0 3 1 JAN,JUL ? *)",
        "2026-11-27T18:00",
        &["2027-01-01 Fri", "2027-07-01 Thu"],
    ),
    (
        "cron(0 3 29 2 ? *)",
        "2026-11-27T18:00",
        &["2028-02-29 Tue", "2032-02-29 Sun"],
    ),
    (
        "cron(0 3 1/10 * ? *)",
        "2026-11-27T18:00",
        &["2026-12-01 Tue", "2026-12-11 Fri"],
    ),
    (
        "cron(0 3 * 12-2 ? *)",
        "2026-11-27T18:00",
        &["2026-12-01 Tue", "2026-12-02 Wed"],
    ),
    // Years.
    (
        "cron(0 3 1 1 ? 2028)",
        "2026-11-27T18:00",
        &["2028-01-01 Sat"],
    ),
    (
        "cron(0 3 1 1 ? 2028-2030/2)",
        "2026-11-27T18:00",
        &["2028-01-01 Sat", "2030-01-01 Tue"],
    ),
    ("cron(0 3 1 1 ? 2020)", "2026-11-27T18:00", &[]),
];

#[test]
fn aws_fields_mean_what_they_mean_there() {
    for (schedule, after, expected) in AWS_DAYS {
        let parsed: Result<Schedule, _> = schedule.parse();
        if schedule.contains("12-2") {
            // AWS refuses a range that leads back.
            parsed.expect_err("it is refused");
            continue;
        }
        assert_eq!(days(schedule, after, 2), *expected, "{schedule}");
    }
    for (schedule, expected) in [
        ("cron(0/15 * * * ? *)", ["18:15", "18:30", "18:45"]),
        ("cron(5/20 8-17 ? * * *)", ["08:05", "08:25", "08:45"]),
        ("cron(0,30 4,6 * * ? *)", ["04:00", "04:30", "06:00"]),
        ("cron(15 10 * * ? *)", ["10:15", "10:15", "10:15"]),
        ("cron(0 0/6 * * ? *)", ["00:00", "06:00", "12:00"]),
    ] {
        let found = nexts(schedule, "UTC", "2026-11-27T18:00", 3);
        let times: Vec<&str> = found.iter().map(|text| &text[15..20]).collect();
        assert_eq!(times, expected, "{schedule}");
    }
}

#[test]
fn plain_cron_is_that_of_other_machines() {
    for (schedule, expected) in [
        ("0 3 * * 0", vec!["2026-11-29 Sun", "2026-12-06 Sun"]),
        ("0 3 * * 7", vec!["2026-11-29 Sun", "2026-12-06 Sun"]),
        ("0 3 * * sun", vec!["2026-11-29 Sun", "2026-12-06 Sun"]),
        ("0 3 1 * *", vec!["2026-12-01 Tue", "2027-01-01 Fri"]),
        // Either day.
        ("0 3 1 * 1", vec!["2026-11-30 Mon", "2026-12-01 Tue"]),
        ("@weekly", vec!["2026-11-29 Sun", "2026-12-06 Sun"]),
        ("@daily", vec!["2026-11-28 Sat", "2026-11-29 Sun"]),
    ] {
        assert_eq!(
            days(schedule, "2026-11-27T18:00", 2),
            expected,
            "{schedule}"
        );
    }
}

#[test]
fn a_rate_counts_from_where_it_began() {
    let found = nexts("rate(7 days)", "UTC", "2026-11-27T18:05", 2);
    assert_eq!(
        found,
        ["2026-12-04 Fri 18:05 +00", "2026-12-11 Fri 18:05 +00"]
    );
    let schedule: Schedule = "rate(5 minutes)".parse().expect("a schedule");
    let (anchor, zone) = (Timestamp::UNIX_EPOCH, TimeZone::UTC);
    let next = |second: i64| {
        let after = Timestamp::from_second(second).expect("a time");
        let next = schedule.next(after, anchor, &zone).expect("one");
        next.as_second()
    };
    assert_eq!(
        [
            next(-900),
            next(-1),
            next(0),
            next(299),
            next(300),
            next(301)
        ],
        [0, 0, 300, 300, 600, 600]
    );
}

#[test]
fn what_is_no_schedule_is_refused_with_a_reason() {
    for (text, says) in [
        ("", "neither cron(...) nor rate(...)"),
        ("cron()", "six fields"),
        ("cron(0 3 * * SUN)", "six fields"),
        ("cron(0 3 * * SUN *)", "must be ?"),
        ("cron(0 3 ? * ? *)", "only one"),
        ("cron(60 3 ? * SUN *)", "60"),
        ("cron(0 24 ? * SUN *)", "24"),
        ("cron(0 3 32 * ? *)", "32"),
        ("cron(0 3 ? 13 SUN *)", "13"),
        ("cron(0 3 ? * 0 *)", ""),
        ("cron(0 3 ? * 8 *)", "8"),
        ("cron(0 3 ? * FOO *)", ""),
        ("cron(0 3 ? * 2#6 *)", ""),
        ("cron(0 3 ? * SUN *", "neither"),
        ("0 3 * *", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("0 3 * * 8", "8"),
        ("rate(0 days)", "above 0"),
        ("rate(-1 days)", "above 0"),
        ("rate(1 days)", "rate(1 day)"),
        ("rate(2 day)", "rate(2 days)"),
        ("rate(2 weeks)", "neither minutes"),
        ("rate(two days)", "no number"),
        ("rate(99999999999999 days)", "too much"),
        ("every sunday", "five fields"),
    ] {
        let error = text.parse::<Schedule>().expect_err(text);
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn where_the_clock_goes_forward_nothing_is_left_out() {
    // Berlin, 29 March 2026: 02:00 is followed by 03:00.
    let fixed = nexts("cron(30 2 ? * * *)", "Europe/Berlin", "2026-03-28T12:00", 2);
    assert_eq!(
        fixed,
        ["2026-03-29 Sun 03:00 +02", "2026-03-30 Mon 02:30 +02"]
    );
    let often = nexts(
        "cron(0/30 * * * ? *)",
        "Europe/Berlin",
        "2026-03-29T01:15",
        3,
    );
    assert_eq!(
        often,
        [
            "2026-03-29 Sun 01:30 +01",
            "2026-03-29 Sun 03:00 +02",
            "2026-03-29 Sun 03:30 +02"
        ]
    );
}

#[test]
fn where_the_clock_goes_back_a_fixed_time_is_due_once_and_what_is_due_often_goes_on() {
    // Berlin, 25 October 2026: 03:00 is followed by 02:00.
    let fixed = nexts("cron(30 2 ? * * *)", "Europe/Berlin", "2026-10-24T12:00", 2);
    assert_eq!(
        fixed,
        ["2026-10-25 Sun 02:30 +02", "2026-10-26 Mon 02:30 +01"]
    );
    let often = nexts(
        "cron(0/30 * * * ? *)",
        "Europe/Berlin",
        "2026-10-25T01:45",
        5,
    );
    assert_eq!(
        often,
        [
            "2026-10-25 Sun 02:00 +02",
            "2026-10-25 Sun 02:30 +02",
            "2026-10-25 Sun 02:00 +01",
            "2026-10-25 Sun 02:30 +01",
            "2026-10-25 Sun 03:00 +01",
        ]
    );
    // A rate knows no clock.
    let rate = nexts("rate(60 minutes)", "Europe/Berlin", "2026-10-25T01:30", 3);
    assert_eq!(
        rate,
        [
            "2026-10-25 Sun 02:30 +02",
            "2026-10-25 Sun 02:30 +01",
            "2026-10-25 Sun 03:30 +01"
        ]
    );
}
