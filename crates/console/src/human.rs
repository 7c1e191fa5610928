//! Numbers as a person reads them: bytes, counts, durations, times ago.
//!
//! What must hold: the same value always looks the same, in every tool. Units are decimal (1 kB = 1,000 bytes), as
//! storage providers bill them.
//!
//! It deliberately does not parse; see [`crate::parse`] for the way back.

use std::time::Duration;

/// Renders a number of bytes, such as `1.2 MB`.
#[must_use]
pub fn bytes(n_bytes: u64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("EB", 1_000_000_000_000_000_000),
        ("PB", 1_000_000_000_000_000),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
    ];
    // The half step keeps 999,950 bytes from being shown as "1000.0 kB".
    for (name, unit) in UNITS {
        if n_bytes >= unit - unit / 20_000 {
            let tenths = (u128::from(n_bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{n_bytes} B")
}

/// Renders a number with separators, such as `1,000,000`.
#[must_use]
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Renders a count with its noun, such as `3 requests`, `1 request` or `2 entries`.
#[must_use]
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{} {}", number(n), plural(noun))
    }
}

fn plural(noun: &str) -> String {
    let before_last = noun.chars().rev().nth(1);
    match noun {
        "formula" => "formulae".to_owned(),
        _ if noun.ends_with('y') && !before_last.is_some_and(|c| "aeiou".contains(c)) => {
            format!("{}ies", &noun[..noun.len() - 1])
        }
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Renders a duration with the precision that matters at its size, such as `350 ms`, `1.2 s`, `2 min 5 s`, `3 h 20 min`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = (millis + 500) / 1000;
    match millis {
        0 if duration.as_micros() == 0 => "under 1 ms".to_owned(),
        0 => format!("{} µs", duration.as_micros()),
        1..=999 => format!("{millis} ms"),
        1_000..=9_949 => {
            let tenths = (millis + 50) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        _ if seconds < 60 => format!("{seconds} s"),
        _ if seconds < 3600 => two_units(seconds, 60, "min", 1, "s"),
        _ if seconds < 86_400 => two_units(seconds, 3600, "h", 60, "min"),
        _ if seconds < CENTURY => two_units(seconds, 86_400, "d", 3600, "h"),
        // Nothing took so long: a clock or a file says so.
        _ => "over a century".to_owned(),
    }
}

/// In seconds.
const CENTURY: u128 = 36_525 * 86_400;

fn two_units(seconds: u128, big: u128, big_name: &str, small: u128, small_name: &str) -> String {
    let (n_big, n_small) = (seconds / big, seconds % big / small);
    if n_small == 0 {
        format!("{n_big} {big_name}")
    } else {
        format!("{n_big} {big_name} {n_small} {small_name}")
    }
}

/// Renders how long ago something was, such as `5 minutes ago`; the future, which a skewed clock makes, is `just now`.
#[must_use]
pub fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..=4 => "just now".to_string(),
        5..=59 => format!("{} ago", count(seconds, "second")),
        60..=3_599 => format!("{} ago", count(seconds / 60, "minute")),
        3_600..=86_399 => format!("{} ago", count(seconds / 3_600, "hour")),
        _ => format!("{} ago", count(seconds / 86_400, "day")),
    }
}

/// Renders a rate, such as `12.5 MB/s`; too short a time gives nothing rather than a wild number.
#[must_use]
pub fn rate(n_bytes: u64, took: Duration) -> Option<String> {
    let millis = u64::try_from(took.as_millis())
        .ok()
        .filter(|millis| *millis > 0)?;
    Some(format!(
        "{}/s",
        bytes(n_bytes.saturating_mul(1000) / millis)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decimal_with_one_digit() {
        for (n_bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (2_000_000_000, "2.0 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n_bytes), expected);
        }
    }

    #[test]
    fn counts_carry_separators_and_the_right_noun() {
        assert_eq!(count(0, "request"), "0 requests");
        assert_eq!(count(1, "request"), "1 request");
        assert_eq!(count(1_000_000, "event"), "1,000,000 events");
        assert_eq!(count(2, "entry"), "2 entries");
        assert_eq!(count(2, "key"), "2 keys");
        assert_eq!(count(2, "batch"), "2 batches");
    }

    #[test]
    fn durations_get_coarser_with_size() {
        for (millis, expected) in [
            (1, "1 ms"),
            (999, "999 ms"),
            (1_200, "1.2 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (59_499, "59 s"),
            (59_999, "1 min"),
            (125_000, "2 min 5 s"),
            (12_000_000, "3 h 20 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
        assert_eq!(duration(Duration::from_micros(80)), "80 µs");
        let mistaken = Duration::from_secs(999_999_999_999_999_999);
        assert_eq!(duration(mistaken), "over a century");
    }

    #[test]
    fn ages_are_in_words() {
        assert_eq!(ago(Duration::from_secs(1)), "just now");
        assert_eq!(ago(Duration::from_secs(61)), "1 minute ago");
        assert_eq!(ago(Duration::from_secs(200_000)), "2 days ago");
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(
            rate(1_000_000, Duration::from_millis(500)).as_deref(),
            Some("2.0 MB/s")
        );
        assert_eq!(rate(1, Duration::ZERO), None);
    }
}
