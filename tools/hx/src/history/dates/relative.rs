//! Spans back from now: `2 weeks ago`, `an hour ago`, `1 day 3 hours ago`, `3d`.
//!
//! What must hold: days and longer are of the calendar, so that a day is a day over a change of the clocks.
//!
//! What it deliberately does not do: spans into the future.

use jiff::civil::Date;
use jiff::{Span, Timestamp, Zoned};

/// A span before now. `ago` may be missing where the units are written out or abbreviated: a number and a unit mean nothing else.
pub(super) fn ago(words: &[&str], now: &Zoned) -> Option<Timestamp> {
    let span = span(words)?;
    now.checked_sub(span).ok().map(|time| time.timestamp())
}

/// The day that lies so far back, for use with a time of day.
pub(super) fn days_ago(words: &[&str], now: &Zoned) -> Option<Date> {
    ago(words, now).map(|time| time.to_zoned(now.time_zone().clone()).date())
}

fn span(words: &[&str]) -> Option<Span> {
    let words = words.strip_suffix(&["ago"]).unwrap_or(words);
    let mut rest = words;
    let mut sum = Span::new();
    if rest.is_empty() {
        return None;
    }
    while let Some((first, after)) = rest.split_first() {
        let (number, unit, after) = if let Some((number, unit)) = joined(first) {
            (number, unit, after)
        } else {
            let (unit, after) = after.split_first()?;
            (count(first)?, *unit, after)
        };
        sum = add(sum, unit, number)?;
        rest = after.strip_prefix(&["and"]).unwrap_or(after);
    }
    Some(sum)
}

/// `2w`, `30min`
fn joined(word: &str) -> Option<(i64, &str)> {
    let end = word.find(|character: char| !character.is_ascii_digit())?;
    let number = word[..end].parse().ok()?;
    Some((number, &word[end..]))
}

fn count(word: &str) -> Option<i64> {
    const NUMBERS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    if matches!(word, "a" | "an") {
        return Some(1);
    }
    if let Some(index) = NUMBERS.iter().position(|number| *number == word) {
        return i64::try_from(index + 1).ok();
    }
    (word.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| word.parse().ok())
        .flatten()
}

fn add(span: Span, unit: &str, number: i64) -> Option<Span> {
    let sum = |held: i64| held.checked_add(number);
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => span.try_seconds(sum(span.get_seconds())?),
        "m" | "min" | "mins" | "minute" | "minutes" => span.try_minutes(sum(span.get_minutes())?),
        "h" | "hr" | "hrs" | "hour" | "hours" => span.try_hours(sum(span.get_hours().into())?),
        "d" | "day" | "days" => span.try_days(sum(span.get_days().into())?),
        "w" | "week" | "weeks" => span.try_weeks(sum(span.get_weeks().into())?),
        "mo" | "month" | "months" => span.try_months(sum(span.get_months().into())?),
        "y" | "yr" | "yrs" | "year" | "years" => span.try_years(sum(span.get_years().into())?),
        _ => return None,
    }
    .ok()
}
