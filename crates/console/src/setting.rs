//! A value that remembers where it came from, and what is wrong with one that was not understood.
//!
//! What must hold: flags go over environment over configuration file over default, and every value can say which of
//! them it was. A problem always names the place, and the right name if there is a near one.
//!
//! It deliberately holds no table of settings; each tool has its own, in the form of [`crate::spec`].

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::failure::Failure;

/// Names the layer a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The value the program ships.
    Default,
    /// The configuration file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The command-line argument of this name.
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Argument(name) => write!(f, "argument {name}"),
        }
    }
}

/// Holds a value together with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in effect.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// Makes a setting.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// Turns the value into another, keeping the origin.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting {
            value: change(self.value),
            origin: self.origin,
        }
    }

    /// Tells whether nobody chose the value.
    pub fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }
}

/// Says whether a problem stops a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The value has no effect; commands go on. Unknown names are warnings, so that a newer file works with an older program.
    Warning,
    /// Commands that need the settings refuse to run.
    Error,
}

/// Says what is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it is: the origin and the key, such as `file /…/config.yaml, key sync.timout`.
    pub place: String,
    /// What is wrong, in one sentence without a period.
    pub what: String,
    /// The name that was probably meant.
    pub nearest: Option<String>,
    /// What to do.
    pub remedy: String,
    /// Whether commands can go on.
    pub severity: Severity,
}

impl Problem {
    /// Turns a list of problems into the one failure a command ends with; without problems there is none.
    #[must_use]
    pub fn to_failure(problems: &[Problem]) -> Option<Failure> {
        let (first, others) = problems.split_first()?;
        let mut failure = Failure::config(first).kind("config").hint(&first.remedy);
        for other in others {
            failure = failure.cause(format!("also: {other}"));
        }
        Some(failure)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

/// Finds the known name that was probably meant, or none if nothing is near.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = normalised(given);
    let edits_max = (given.len() / 4).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &normalised(name)), name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Case and the kind of separator are not what makes a name wrong.
fn normalised(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_as_words() {
        assert_eq!(Origin::Default.to_string(), "default");
        assert_eq!(
            Origin::Environment("HX_SYNC_TIMEOUT".into()).to_string(),
            "environment HX_SYNC_TIMEOUT"
        );
        assert_eq!(
            Origin::File("/c/config.yaml".into()).to_string(),
            "file /c/config.yaml"
        );
        assert_eq!(
            Origin::Argument("--store".into()).to_string(),
            "argument --store"
        );
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["sync.timeout", "sync.connect_timeout", "sync.store"];
        assert_eq!(nearest("sync.timout", known), Some("sync.timeout"));
        assert_eq!(nearest("sync-TIMEOUT", known), Some("sync.timeout"));
        assert_eq!(nearest("sync.stroe", known), Some("sync.store"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn several_problems_make_one_failure_that_names_all() {
        let problem = |place: &str| Problem {
            place: place.to_string(),
            what: "not a duration".to_string(),
            nearest: None,
            remedy: "write it like 30s".to_string(),
            severity: Severity::Error,
        };
        let failure = Problem::to_failure(&[problem("environment A"), problem("environment B")])
            .expect("there are problems");
        let text = failure.render(false);
        assert!(
            text.contains("environment A")
                && text.contains("environment B")
                && text.contains("hint: write it like 30s"),
            "{text}"
        );
        assert_eq!(failure.exit().code(), 4);
        assert_eq!(Problem::to_failure(&[]), None);
    }
}
