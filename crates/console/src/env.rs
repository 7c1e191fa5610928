//! A snapshot of the environment, taken once at start and handed down.
//!
//! What must hold: nothing else in the workspace reads the process environment, so a test can run any command under
//! an environment it made up, and two threads never see different values.
//!
//! It deliberately cannot write: changing the environment of a running process is unsound with threads.

use std::collections::BTreeMap;
use std::fmt;

/// Holds the environment variables as they were when the process started.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    variables: BTreeMap<String, String>,
}

impl Env {
    /// Takes the snapshot of this process.
    ///
    /// A variable whose bytes are not UTF-8 is kept with replacement characters: its setting is then named as invalid
    /// instead of being silently absent.
    #[must_use]
    pub fn from_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect()
    }

    /// Makes an environment of the given pairs, for tests and for commands run inside commands.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// Returns the variable, treating one set to nothing as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_even_empty(name).filter(|value| !value.is_empty())
    }

    /// Returns the variable even if its value is empty.
    #[must_use]
    pub fn get_even_empty(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Goes through all variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a copy in which one variable has another value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self {
            variables: pairs.into_iter().collect(),
        }
    }
}

impl From<&Env> for store::Environment {
    fn from(env: &Env) -> Self {
        env.iter().collect()
    }
}

impl From<Env> for store::Environment {
    fn from(env: Env) -> Self {
        Self::from(env.variables)
    }
}

// Values may be secrets, so a stray `{:?}` shows names only.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_not_set() {
        let env = Env::from_pairs([("A", ""), ("B", "b")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get_even_empty("A"), Some(""));
        assert_eq!(env.get("B"), Some("b"));
        assert_eq!(env.get("C"), None);
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!(
            "{:?}",
            Env::from_pairs([("HX_SYNC_PASSPHRASE", "horse staple")])
        );
        assert!(
            shown.contains("HX_SYNC_PASSPHRASE") && !shown.contains("horse"),
            "{shown}"
        );
    }

    #[test]
    fn a_store_gets_the_same_variables() {
        let env = Env::from_pairs([("AWS_PROFILE", "hx")]);
        assert_eq!(
            store::Environment::from(&env).get("AWS_PROFILE"),
            Some("hx")
        );
        assert_eq!(
            store::Environment::from(&env),
            store::Environment::from(env)
        );
    }

    #[test]
    fn the_process_environment_is_seen() {
        assert!(Env::from_process().get("PATH").is_some());
    }
}
