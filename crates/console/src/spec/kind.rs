//! The kinds of value a setting takes: how each is read, bounded and written.
//!
//! What must hold: what is written here reads back to the same value; a value out of bounds is an error, never clipped.
//!
//! It deliberately knows no setting and no layer.

use std::fmt;
use std::time::Duration;

use crate::human;
use crate::parse::{self, ParseError};

/// Says what kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A duration, such as `30s`, within these bounds.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A size, such as `128MB`, within these bytes.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// A whole number within these bounds.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// True or false.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A path; `~/` stands for the home directory.
    Path,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Duration { min, max } => {
                write!(
                    f,
                    "duration, {} to {}",
                    exact_duration(*min),
                    exact_duration(*max)
                )
            }
            Kind::Size { min, max } => {
                write!(f, "size, {} to {}", exact_size(*min), exact_size(*max))
            }
            Kind::Integer { min, max } => write!(
                f,
                "whole number, {} to {}",
                human::number(*min),
                human::number(*max)
            ),
            Kind::Bool => f.write_str("true or false"),
            Kind::Choice(words) => f.write_str(&words.join(", ")),
            Kind::Text => f.write_str("text"),
            Kind::Path => f.write_str("path"),
        }
    }
}

/// Holds a value that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A duration.
    Duration(Duration),
    /// Bytes of a size.
    Size(u64),
    /// A whole number.
    Integer(u64),
    /// True or false.
    Bool(bool),
    /// Text, a word of a choice, or a path.
    Text(String),
}

impl Kind {
    /// Reads a value of this kind.
    ///
    /// # Errors
    /// If it is not one, or out of bounds.
    pub fn parse(&self, text: &str) -> Result<Value, ParseError> {
        match self {
            Kind::Duration { min, max } => {
                let value = parse::duration(text)?;
                self.within(
                    (*min..=*max).contains(&value),
                    Value::Duration(value),
                    "30s",
                )
            }
            Kind::Size { min, max } => {
                let value = parse::size(text)?;
                self.within((*min..=*max).contains(&value), Value::Size(value), "128MB")
            }
            Kind::Integer { min, max } => {
                let value = parse::integer(text)?;
                self.within((*min..=*max).contains(&value), Value::Integer(value), "5")
            }
            Kind::Bool => parse::boolean(text).map(Value::Bool),
            Kind::Choice(words) => {
                let word = words
                    .iter()
                    .find(|word| word.eq_ignore_ascii_case(text.trim()));
                let error = || ParseError {
                    what: "not one of the words it takes".to_string(),
                    example: words.first().copied().unwrap_or(""),
                };
                word.map(|word| Value::Text((*word).to_string()))
                    .ok_or_else(error)
            }
            Kind::Text | Kind::Path => Ok(Value::Text(text.to_string())),
        }
    }

    fn within(&self, fits: bool, value: Value, example: &'static str) -> Result<Value, ParseError> {
        if fits {
            Ok(value)
        } else {
            Err(ParseError {
                what: format!("out of bounds ({self})"),
                example,
            })
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Duration(value) => f.write_str(&exact_duration(*value)),
            Value::Size(value) => f.write_str(&exact_size(*value)),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// A value is shown in the form it is written in, and exactly: `1h30m`, not "about two hours".
fn exact_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    if millis == 0 {
        "0s".to_string()
    } else {
        format!("{millis}ms")
    }
}

fn exact_size(n_bytes: u64) -> String {
    for (unit, name) in [
        (1_000_000_000, "GB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1_000, "kB"),
        (1 << 10, "KiB"),
    ] {
        if n_bytes >= unit && n_bytes.is_multiple_of(unit) {
            return format!("{}{name}", n_bytes / unit);
        }
    }
    format!("{n_bytes}B")
}
