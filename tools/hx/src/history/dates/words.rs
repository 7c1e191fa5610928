//! The words for days and for times of day.
//!
//! What must hold: a day of the week or of the year without further words is the latest one that is not in the future.
//!
//! What it deliberately does not do: languages other than English.

use jiff::civil::{Date, Time, Weekday};
use jiff::{ToSpan, Zoned};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `today`, `yesterday`, `monday`, `last monday`, `last week`.
pub(super) fn day_of(words: &[&str], now: &Zoned) -> Option<Date> {
    let today = now.date();
    match words {
        ["today"] => Some(today),
        ["yesterday"] => today.checked_sub(1.day()).ok(),
        ["tomorrow"] => today.checked_add(1.day()).ok(),
        ["day", "before", "yesterday"] => today.checked_sub(2.days()).ok(),
        ["last", "week"] => today.checked_sub(1.week()).ok(),
        ["last", "month"] => today.checked_sub(1.month()).ok(),
        ["last", "year"] => today.checked_sub(1.year()).ok(),
        ["this", "week"] => today
            .checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())
            .ok(),
        ["this", "month"] => Some(today.first_of_month()),
        ["this", "year"] => Some(today.first_of_year()),
        ["last", day] => back_to(weekday(day)?, today, 1),
        [day] => back_to(weekday(day)?, today, 0),
        _ => None,
    }
}

/// `march 1`, `1 march`, `mar 1 2023`, `1st of march 2023`.
pub(super) fn month_day(words: &[&str], now: &Zoned) -> Option<Date> {
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "of").collect();
    let (month, day, year) = match words.as_slice() {
        [first, second] => (first, second, None),
        [first, second, year] if year.len() == 4 => {
            (first, second, Some(year.parse::<i16>().ok()?))
        }
        _ => return None,
    };
    let (month, day) = match month_number(month) {
        Some(number) => (number, day_number(day)?),
        None => (month_number(day)?, day_number(month)?),
    };
    if let Some(year) = year {
        return Date::new(year, month, day).ok();
    }
    let this_year = Date::new(now.year(), month, day).ok();
    match this_year {
        Some(date) if date <= now.date() => Some(date),
        // 29 February is found in the last leap year.
        _ => (1..=8).find_map(|back| Date::new(now.year().checked_sub(back)?, month, day).ok()),
    }
}

/// `15:04`, `15:04:05`, `3pm`, `3:30 pm`, `noon`, `midnight`.
pub(super) fn clock(words: &[&str]) -> Option<Time> {
    let text = words.concat();
    match text.as_str() {
        "noon" | "midday" => return Time::new(12, 0, 0, 0).ok(),
        "midnight" => return Some(Time::midnight()),
        _ => {}
    }
    let (digits, afternoon) = match text
        .strip_suffix("pm")
        .or_else(|| text.strip_suffix("p.m."))
    {
        Some(digits) => (digits, Some(true)),
        None => match text
            .strip_suffix("am")
            .or_else(|| text.strip_suffix("a.m."))
        {
            Some(digits) => (digits, Some(false)),
            None => (text.as_str(), None),
        },
    };
    let mut numbers = [0_i8; 3];
    let mut count = 0;
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *numbers.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    let hour = match afternoon {
        // A bare number is no time: it could be a day or a year.
        None if count < 2 => return None,
        None => numbers[0],
        Some(_) if !(1..=12).contains(&numbers[0]) => return None,
        Some(afternoon) => numbers[0] % 12 + if afternoon { 12 } else { 0 },
    };
    Time::new(hour, numbers[1], numbers[2], 0).ok()
}

/// The latest such day that is at least `least` days back.
fn back_to(weekday: Weekday, today: Date, least: i64) -> Option<Date> {
    let back = i64::from(today.weekday().since(weekday));
    let back = if back < least { back + 7 } else { back };
    today.checked_sub(back.days()).ok()
}

fn weekday(word: &str) -> Option<Weekday> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let number = DAYS
        .iter()
        .position(|day| *day == word || (word.len() >= 3 && day.starts_with(word)))?;
    Weekday::from_monday_zero_offset(i8::try_from(number).ok()?).ok()
}

fn month_number(word: &str) -> Option<i8> {
    let word = word.trim_end_matches('.');
    let number = MONTHS
        .iter()
        .position(|month| *month == word || (word.len() >= 3 && month.starts_with(word)))?;
    i8::try_from(number + 1).ok()
}

fn day_number(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|end| word.strip_suffix(end))
        .unwrap_or(word);
    (digits.len() <= 2).then(|| digits.parse().ok()).flatten()
}
