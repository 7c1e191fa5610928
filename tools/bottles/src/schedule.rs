//! When runs are due: AWS's `cron(...)` and `rate(...)`, and plain cron with five fields.
//!
//! What must hold: what AWS refuses is refused here too, with a reason; a schedule means the same in both places. Where the clock goes forward, what was
//! due in the hour that is left out is due when it is over; where it goes back, a fixed time of day is due once, and what is due all the time goes
//! on through both hours.
//!
//! It deliberately computes no calendar: that is `croner`'s, with the time zones of `jiff`.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::str::FromStr;

/// The shortest rate, as AWS has it.
const MINUTE: i64 = 60;

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cron(Box<Cron>),
    /// Every so many seconds.
    Rate(i64),
}

/// A text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no schedule: {why}")]
pub struct ScheduleError {
    text: String,
    why: String,
}

impl Schedule {
    /// Returns the first time after another one at which a run is due; nothing if there is none any more. `anchor` is what a rate counts from.
    #[must_use]
    pub fn next(&self, after: Timestamp, anchor: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Cron(cron) => {
                let after = after.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&after, false).ok()?;
                Some(next.timestamp())
            }
            Kind::Rate(seconds) => {
                let passed = after.duration_since(anchor).as_secs().max(-1);
                let count = passed.div_euclid(*seconds) + 1;
                let step = SignedDuration::from_secs(seconds.checked_mul(count)?);
                anchor.checked_add(step).ok()
            }
        }
    }

    /// Tells whether it counts from when it was set up, and not by the calendar.
    #[must_use]
    pub fn is_rate(&self) -> bool {
        matches!(self.kind, Kind::Rate(_))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        let text = text.trim();
        let inside = |name: &str| {
            let rest = text.strip_prefix(name)?.trim_start().strip_prefix('(')?;
            rest.strip_suffix(')').map(str::trim)
        };
        let kind = match (inside("cron"), inside("rate")) {
            (Some(fields), _) => aws_cron(fields),
            (_, Some(rate)) => aws_rate(rate),
            _ => plain_cron(text),
        };
        match kind {
            Ok(kind) => Ok(Schedule {
                text: text.to_owned(),
                kind,
            }),
            Err(why) => Err(ScheduleError {
                text: text.to_owned(),
                why,
            }),
        }
    }
}

/// Six fields: minutes, hours, day of the month, month, day of the week (1 is Sunday), year.
fn aws_cron(text: &str) -> Result<Kind, String> {
    let fields: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
    let [minutes, hours, day, month, weekday, year] = &fields[..] else {
        return Err(format!(
            "cron(...) has six fields (minutes, hours, day of the month, month, day of the week, year), and there are {}",
            fields.len()
        ));
    };
    match (day.as_str(), weekday.as_str()) {
        ("?", "?") => {
            return Err("only one of day of the month and day of the week can be ?".to_owned());
        }
        ("?", _) | (_, "?") => {}
        _ => {
            return Err(
                "one of day of the month and day of the week must be ?: a run is due by one of them"
                    .to_owned(),
            );
        }
    }
    if fields.iter().any(|field| field.contains('+')) {
        return Err("there is no + in AWS's form".to_owned());
    }
    let weekday = match weekday.as_str() {
        // Alone it is the last day of the week.
        "L" => "7",
        weekday => weekday,
    };
    let pattern = format!("0 {minutes} {hours} {day} {month} {weekday} {year}");
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        // AWS writes 0/15 for every quarter of an hour.
        .sloppy_ranges(true)
        .build();
    parsed(&parser, &pattern)
}

/// Five fields, as cron has them: 0 and 7 are Sunday; a run is due if either of the two days fits, unless one is a star.
fn plain_cron(text: &str) -> Result<Kind, String> {
    let fields = text.split_whitespace().count();
    let is_nickname = text.starts_with('@') && fields == 1;
    if fields != 5 && !is_nickname {
        return Err(format!(
            "it is neither cron(...) nor rate(...) nor the five fields of cron (there are {fields})"
        ));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parsed(&parser, text)
}

fn parsed(parser: &CronParser, pattern: &str) -> Result<Kind, String> {
    match parser.parse(pattern) {
        Ok(cron) => Ok(Kind::Cron(Box::new(cron))),
        Err(error) => {
            let why = error.to_string();
            let why = why.trim_start_matches("Component error: ");
            let why = why.trim_start_matches("Invalid pattern: ");
            Err(why.trim_end_matches('.').to_owned())
        }
    }
}

fn aws_rate(text: &str) -> Result<Kind, String> {
    let mut words = text.split_whitespace();
    let (Some(number), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return Err("rate(...) has a number and a unit, such as rate(7 days)".to_owned());
    };
    let count: i64 = match number.parse() {
        Ok(count) if count > 0 => count,
        _ => return Err(format!("{number} is no number above 0")),
    };
    let seconds = match unit.trim_end_matches('s') {
        "minute" => MINUTE,
        "hour" => 60 * MINUTE,
        "day" => 24 * 60 * MINUTE,
        _ => return Err(format!("{unit} is neither minutes nor hours nor days")),
    };
    if (count == 1) == unit.ends_with('s') {
        return Err(format!(
            "write rate({count} {}{})",
            unit.trim_end_matches('s'),
            if count == 1 { "" } else { "s" }
        ));
    }
    let seconds = seconds.checked_mul(count);
    let seconds = seconds.filter(|seconds| *seconds < 100 * 366 * 24 * 60 * MINUTE);
    seconds
        .map(Kind::Rate)
        .ok_or_else(|| format!("{number} is too much"))
}

#[cfg(test)]
mod tests;
