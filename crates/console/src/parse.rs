//! Values as a person types them: durations, sizes, switches, whole numbers.
//!
//! What must hold: what cannot be understood is an error that says what would be; a value is never guessed, clipped or
//! wrapped around.
//!
//! It deliberately knows no setting: limits belong to [`crate::spec`].

use std::fmt;
use std::time::Duration;

/// Says why a value was not understood and what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was wrong, without the value itself.
    pub what: String,
    /// A value that would do.
    pub example: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ParseError {}

/// Reads a duration: `500ms`, `30s`, `30m`, `2h`, `1d`, several of them (`1h30m`), or a plain number of seconds.
///
/// # Errors
/// If there is no number, the unit is unknown, or the sum is too large.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    let error = |what: &str| ParseError {
        what: what.to_string(),
        example: "30s",
    };
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(error("a duration is missing"));
    }
    while !rest.is_empty() {
        let (amount, unit, after) = split_amount(rest).ok_or_else(|| error("not a duration"))?;
        let unit_nanos: u64 = match unit {
            "ms" => 1_000_000,
            "" | "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            _ => return Err(error("a duration ends in ms, s, m, h or d")),
        };
        let nanos = scaled(amount, unit_nanos).ok_or_else(|| error("the duration is too large"))?;
        total = total
            .checked_add(Duration::from_nanos(nanos))
            .ok_or_else(|| error("the duration is too large"))?;
        rest = after;
    }
    Ok(total)
}

/// Reads a size in bytes: `128MB` is 128,000,000, `128MiB` is 134,217,728, a plain number is bytes.
///
/// # Errors
/// If there is no number, the unit is unknown, or the size is too large.
pub fn size(text: &str) -> Result<u64, ParseError> {
    let error = |what: &str| ParseError {
        what: what.to_string(),
        example: "128MB",
    };
    let (amount, unit, after) = split_amount(text.trim()).ok_or_else(|| error("not a size"))?;
    let unit_bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return Err(error("a size ends in B, kB, MB, GB, KiB, MiB or GiB")),
    };
    if !after.is_empty() {
        return Err(error("a size is one number and one unit"));
    }
    scaled(amount, unit_bytes).ok_or_else(|| error("the size is too large"))
}

/// Reads a switch: true, yes, on, 1, and their opposites.
///
/// # Errors
/// If it is none of them.
pub fn boolean(text: &str) -> Result<bool, ParseError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(ParseError {
            what: "neither true nor false".to_string(),
            example: "true",
        }),
    }
}

/// Reads a whole number that is not negative; `5_000` and `5,000` are allowed.
///
/// # Errors
/// If it is not a whole number or too large.
pub fn integer(text: &str) -> Result<u64, ParseError> {
    let text = text.trim();
    let digits: String = text.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|_| starts_with_digit)
        .ok_or_else(|| ParseError {
            what: "not a whole number".to_string(),
            example: "5",
        })
}

/// Splits `1.5 MB rest` into the amount, the unit and what follows it.
fn split_amount(text: &str) -> Option<(&str, &str, &str)> {
    let amount_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (amount, rest) = text.split_at(amount_end);
    let rest = rest.trim_start();
    let unit_end = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let has_digit = amount.bytes().any(|byte| byte.is_ascii_digit());
    (has_digit && amount.matches('.').count() <= 1).then(|| (amount, unit, after.trim_start()))
}

/// Multiplies a decimal number by a unit without rounding through a float.
fn scaled(amount: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // More digits than this are below any unit in use here.
    let fraction = &fraction[..fraction.len().min(9)];
    let numerator: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = u128::from(whole) * u128::from(unit) + numerator * u128::from(unit) / denominator;
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30m", 1_800_000),
            ("2h", 7_200_000),
            ("45", 45_000),
            ("1.5s", 1_500),
            ("1h30m", 5_400_000),
            (" 10 s ", 10_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "30 parsecs",
            "-5s",
            "1..5s",
            "99999999999999999999s",
            "1e3",
            "ten",
            ".",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("128MB", 128_000_000),
            ("128MiB", 134_217_728),
            ("2GB", 2_000_000_000),
            ("512mb", 512_000_000),
            ("1.5k", 1_500),
            ("7", 7),
            ("64 KiB", 65_536),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "MB", "12XB", "-1MB", "1MB2", "99999999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn switches_and_numbers() {
        assert_eq!((boolean("TRUE"), boolean("off")), (Ok(true), Ok(false)));
        assert!(boolean("maybe").is_err());
        assert_eq!(integer("5_000"), Ok(5000));
        for text in ["", "-1", "3.5", "_", "x", "99999999999999999999999"] {
            assert!(integer(text).is_err(), "{text}");
        }
    }
}
