//! A configuration file in YAML, flattened to key paths such as `sync.timeout`.
//!
//! What must hold: a file that cannot be read as a tree of keys is one named problem, never a crash and never an empty
//! configuration in silence. Keys keep the spelling of the file, so that a wrong one can be quoted.
//!
//! It deliberately does not know which keys are right; [`crate::spec`] compares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use crate::setting::{Problem, Severity};

/// Deeper nesting than this is no configuration of ours.
const DEPTH_MAX: usize = 16;

/// Holds the scalar values of a configuration file by their key path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    values: BTreeMap<String, Scalar>,
}

/// Holds one value as text, with what it was in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// A string, number or boolean in its plain form.
    Text(String),
    /// A key with nothing behind it: the same as no key.
    Null,
    /// A list or something else that no setting takes.
    Other(&'static str),
}

impl ConfigFile {
    /// Reads the text of a file. The path is only remembered, for messages.
    ///
    /// # Errors
    /// The problem, if the text is not YAML or not a tree of keys.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problem> {
        let problem = |what: String| Problem {
            place: format!("file {}", path.display()),
            what,
            nearest: None,
            remedy: "correct the file, or move it away to go on with the defaults".to_string(),
            severity: Severity::Error,
        };
        let tree: Value = serde_norway::from_str(text)
            .map_err(|error| problem(format!("not valid YAML: {error}")))?;
        let mut values = BTreeMap::new();
        match tree {
            Value::Null => {}
            Value::Mapping(_) => flatten("", tree, 0, &mut values).map_err(problem)?,
            _ => {
                return Err(problem(
                    "it must be keys and values, like `sync:` and below it `  timeout: 30s`"
                        .to_string(),
                ));
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            values,
        })
    }

    /// Returns the path the file was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the value at a key path as text, if there is a plain one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Scalar::Text(text) => Some(text),
            Scalar::Null | Scalar::Other(_) => None,
        }
    }

    /// Goes through all key paths in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn scalar(&self, key: &str) -> Option<&Scalar> {
        self.values.get(key)
    }
}

fn flatten(
    prefix: &str,
    value: Value,
    depth: usize,
    values: &mut BTreeMap<String, Scalar>,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("key {prefix} is nested too deeply"));
    }
    let scalar = match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let key = scalar_text(&key)
                    .ok_or_else(|| format!("a key under `{prefix}` is not a plain word"))?;
                let path = if prefix.is_empty() {
                    key
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&path, value, depth + 1, values)?;
            }
            return Ok(());
        }
        Value::Null => Scalar::Null,
        Value::Sequence(_) => Scalar::Other("a list"),
        Value::Tagged(_) => Scalar::Other("a tagged value"),
        ref plain => scalar_text(plain).map_or(Scalar::Other("no plain value"), Scalar::Text),
    };
    values.insert(prefix.to_string(), scalar);
    Ok(())
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, Problem> {
        ConfigFile::parse(Path::new("/c/config.yaml"), text)
    }

    #[test]
    fn values_have_key_paths() {
        let file = parse("sync:\n  timeout: 30s\n  max_retries: 5\n  streaming: true\nlog_level: debug\nempty:\n").expect("valid");
        assert_eq!(file.get("sync.timeout"), Some("30s"));
        assert_eq!(file.get("sync.max_retries"), Some("5"));
        assert_eq!(file.get("sync.streaming"), Some("true"));
        assert_eq!(file.get("log_level"), Some("debug"));
        assert_eq!(file.get("empty"), None);
        assert_eq!(file.keys().count(), 5);
    }

    #[test]
    fn an_empty_file_is_no_problem() {
        assert_eq!(parse("").expect("empty").keys().count(), 0);
        assert_eq!(
            parse("# only a comment\n").expect("comment").keys().count(),
            0
        );
    }

    #[test]
    fn a_broken_file_is_one_named_problem() {
        for text in [
            "sync: [",
            "- a\n- b\n",
            "just words",
            "a: 1\na: 2\n",
            "\u{0}",
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.place.contains("/c/config.yaml"), "{problem}");
            assert_eq!(problem.severity, Severity::Error);
        }
    }

    #[test]
    fn deep_nesting_ends_as_a_problem() {
        let text: String = (0..40)
            .map(|depth| format!("{}k:\n", " ".repeat(depth)))
            .collect::<String>()
            + &format!("{}v: 1\n", " ".repeat(40));
        assert!(parse(&text).is_err());
    }
}
