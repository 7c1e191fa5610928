//! Points in time as people write them: `2023-03-01`, `yesterday 3pm`, `2 weeks ago`, `last monday`, `@1677628800`.
//!
//! What must hold: the same text means the same for the same `now`; no text makes it panic; what is not understood is answered with
//! the accepted forms. A day without a time means its first moment.
//!
//! What it deliberately does not do: guess between day-month and month-day numbers, or read ranges.

mod relative;
mod words;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, Zoned};

use self::words::{clock, day_of, month_day};

/// The forms that [`parse`] accepts, for messages.
pub const FORMS: &str = "2023-03-01, \"2023-03-01 15:04\", 2023-03-01T15:04:05Z, \"yesterday 3pm\", \"2 weeks ago\", \"last monday\", \"march 1\", today, noon, 15:04, @1677628800";

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time that hx understands{why}")]
pub struct DateError {
    text: String,
    why: String,
}

impl DateError {
    /// What the person can do.
    pub fn remedy(&self) -> String {
        format!("Write it like one of these: {FORMS}.")
    }
}

/// Reads a point in time; days and hours are those of `now`'s time zone.
///
/// # Errors
/// If the text has none of the accepted forms, or names a time that does not exist.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, DateError> {
    let error = |why: &str| DateError {
        text: text.chars().take(60).collect(),
        why: why.to_owned(),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(error(": it is empty"));
    }
    if trimmed.len() > 200 {
        return Err(error(": it is too long"));
    }
    if let Some(seconds) = trimmed.strip_prefix('@') {
        return epoch(seconds).ok_or_else(|| error(": after @ it needs seconds since 1970"));
    }
    if let Some(time) = standard(trimmed, now) {
        return time.ok_or_else(|| error(": there is no such date"));
    }
    let lower = trimmed.to_lowercase().replace(',', " ");
    let words: Vec<&str> = lower
        .split_whitespace()
        .filter(|word| !matches!(*word, "at" | "on" | "the"))
        .collect();
    relative::ago(&words, now)
        .or_else(|| day_and_time(&words, now))
        .ok_or_else(|| error(""))
}

fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i32 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<9}").parse().ok()?
    };
    let whole: i64 = seconds.parse().ok()?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    Timestamp::new(whole, nanoseconds * sign).ok()
}

/// RFC 3339 and its relatives. The outer option says whether the text looks like one, the inner whether it exists.
fn standard(text: &str, now: &Zoned) -> Option<Option<Timestamp>> {
    let bytes = text.as_bytes();
    let year = bytes.len() >= 4 && bytes[..4].iter().all(u8::is_ascii_digit);
    if !year || (bytes.len() > 4 && bytes[4] != b'-') {
        return None;
    }
    let zone = now.time_zone();
    let local = |date_time: DateTime| zone.to_timestamp(date_time).ok();
    if bytes.len() == 4 {
        return Some(
            Date::new(text.parse().ok()?, 1, 1)
                .ok()
                .and_then(|date| local(date.into())),
        );
    }
    if bytes.len() == 7 {
        return Some(
            format!("{text}-01")
                .parse::<Date>()
                .ok()
                .and_then(|date| local(date.into())),
        );
    }
    // The date and time apart by a blank, with a time as people write it, is for `day_and_time`.
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(Some(time));
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Some(Some(zoned.timestamp()));
    }
    if bytes.len() == 10 {
        return Some(
            text.parse::<Date>()
                .ok()
                .and_then(|date| local(date.into())),
        );
    }
    text.parse::<DateTime>().ok().map(local)
}

/// A day, a time, or both in either order.
fn day_and_time(words: &[&str], now: &Zoned) -> Option<Timestamp> {
    if words == ["now"] {
        return Some(now.timestamp());
    }
    (0..=words.len()).find_map(|cut| {
        let (left, right) = words.split_at(cut);
        both(left, right, now).or_else(|| both(right, left, now))
    })
}

fn both(day: &[&str], time: &[&str], now: &Zoned) -> Option<Timestamp> {
    let date = match day {
        [] if time.is_empty() => return None,
        [] => now.date(),
        _ => day_of(day, now)
            .or_else(|| month_day(day, now))
            .or_else(|| relative::days_ago(day, now))
            .or_else(|| written(day))?,
    };
    let time = if time.is_empty() {
        Time::midnight()
    } else {
        clock(time)?
    };
    now.time_zone().to_timestamp(date.to_datetime(time)).ok()
}

fn written(day: &[&str]) -> Option<Date> {
    match day {
        [date] if date.len() == 10 => date.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
