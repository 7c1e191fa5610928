//! The flags of a benchmark, each with a value.
//!
//! What must hold: a flag that is not known, or has no value that it takes, ends it before anything is measured.
//! What it deliberately does not do: know what a flag means; each benchmark has its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Flags and their values, as they were typed; the last of two of one name counts.
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Reads a command line.
    ///
    /// # Errors
    /// If a flag is not one of those that are known, or has no value.
    pub fn parse(arguments: &[String], known: &[&str]) -> Result<Flags, String> {
        let mut values = BTreeMap::new();
        for pair in arguments.chunks(2) {
            match pair {
                [name, _] | [name] if !known.contains(&name.as_str()) => {
                    return Err(format!("{name} is unknown: {}", known.join(", ")));
                }
                [name, value] => values.insert(name.clone(), value.clone()),
                other => return Err(format!("{} needs a value", other.join(" "))),
            };
        }
        Ok(Flags(values))
    }

    /// Returns a path, or what it is without the flag.
    pub fn path(&self, name: &str, default: &str) -> PathBuf {
        self.0.get(name).map_or(default, String::as_str).into()
    }

    /// Returns a number that is not smaller than another, or what it is without the flag.
    ///
    /// # Errors
    /// If the value is no such number.
    pub fn number(&self, name: &str, default: usize, least: usize) -> Result<usize, String> {
        let Some(value) = self.0.get(name) else {
            return Ok(default);
        };
        let number = value.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("{name}: `{value}` is no number from {least}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&words, &["--rounds", "--program"])
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let flags = parse("--rounds 2 --program a --rounds 3").expect("is read");
        assert_eq!(flags.number("--rounds", 1, 1), Ok(3));
        assert_eq!(flags.path("--program", "b"), PathBuf::from("a"));
        let none = parse("").expect("is read");
        assert_eq!(none.number("--rounds", 1, 1), Ok(1));
        assert_eq!(none.path("--program", "b"), PathBuf::from("b"));
        let zero = parse("--rounds 0")
            .expect("is read")
            .number("--rounds", 1, 1);
        assert_eq!(zero, Err("--rounds: `0` is no number from 1".to_owned()));
        for (line, why) in [
            ("--turns 2", "--turns is unknown: --rounds, --program"),
            ("--turns", "--turns is unknown: --rounds, --program"),
            ("--rounds 2 --program", "--program needs a value"),
        ] {
            assert_eq!(parse(line).err().as_deref(), Some(why));
        }
    }
}
