//! A table of settings and its resolution through the layers: flags, environment, configuration file, default.
//!
//! What must hold: every setting is in one table with its name in each layer, its type, its default and its meaning;
//! a wrong value becomes a [`Problem`] that names its place, and the next layer's value stands in, so that `help` and
//! `config show` keep working; an unknown name is a warning with the name that was meant. Resolution is pure.
//!
//! It deliberately keeps values untyped: a tool turns the result into a struct of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config_file::{ConfigFile, Scalar};
use crate::env::Env;
use crate::parse::ParseError;
use crate::setting::{Origin, Problem, Setting, Severity, nearest};

mod kind;
#[cfg(test)]
mod tests;

pub use kind::{Kind, Value};

/// Describes one setting.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its environment variable, which also identifies it.
    pub env: &'static str,
    /// Its key path in the configuration file; none if it can only come from the environment.
    pub key: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// Its default as a person would write it; none if it is simply not set.
    pub default: Option<&'static str>,
    /// Whether the value is never shown.
    pub secret: bool,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
}

impl Spec {
    /// Returns the name a person knows it by: the key, or else the variable.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.unwrap_or(self.env)
    }

    fn parse(&self, text: &str) -> Result<Value, ParseError> {
        self.kind.parse(text)
    }
}

/// Settings given on the command line: the setting's variable name, the flag's name, the value.
#[derive(Clone, Default)]
pub struct Flags {
    given: BTreeMap<&'static str, (String, String)>,
}

impl Flags {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flag if it was given, for the setting with this environment variable.
    #[must_use]
    pub fn with(mut self, env: &'static str, flag: &str, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            self.given.insert(env, (flag.to_string(), value.into()));
        }
        self
    }
}

/// Holds what the layers say.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The command line.
    pub flags: &'a Flags,
    /// The environment.
    pub env: &'a Env,
    /// The configuration file, if there is one.
    pub file: Option<&'a ConfigFile>,
    /// The beginning of all of the tool's variables, such as `HX_`.
    pub env_prefix: &'a str,
}

/// Holds every setting of a table with its value and origin. A setting without value and default is absent.
#[derive(Clone, Default)]
pub struct Resolved {
    values: BTreeMap<&'static str, Setting<Value>>,
}

/// Resolves every setting of the table.
///
/// Invalid values are reported and the next layer is asked instead, so the result is always usable.
#[must_use]
pub fn resolve(specs: &'static [Spec], layers: &Layers<'_>) -> (Resolved, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut values = BTreeMap::new();
    for spec in specs {
        if let Some(setting) = resolve_one(spec, layers, &mut problems) {
            values.insert(spec.env, setting);
        }
    }
    unknown_variables(specs, layers, &mut problems);
    if let Some(file) = layers.file {
        unknown_keys(specs, file, &mut problems);
    }
    (Resolved { values }, problems)
}

fn resolve_one(
    spec: &Spec,
    layers: &Layers<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Setting<Value>> {
    let from_flag = layers
        .flags
        .given
        .get(spec.env)
        .map(|(flag, text)| (Origin::Argument(flag.clone()), text.as_str()));
    let from_env = layers
        .env
        .get(spec.env)
        .map(|text| (Origin::Environment(spec.env.to_string()), text));
    let from_file = layers
        .file
        .zip(spec.key)
        .and_then(|(file, key)| from_file(spec, file, key, problems));
    let from_default = spec.default.map(|text| (Origin::Default, text));
    for (origin, text) in [from_flag, from_env, from_file, from_default]
        .into_iter()
        .flatten()
    {
        match spec.parse(text) {
            Ok(value) => return Some(Setting::new(value, origin)),
            Err(error) => problems.push(wrong_value(spec, &origin, text, &error)),
        }
    }
    None
}

fn from_file<'a>(
    spec: &Spec,
    file: &'a ConfigFile,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Origin, &'a str)> {
    match file.scalar(key)? {
        Scalar::Text(text) => Some((Origin::File(file.path().to_path_buf()), text)),
        Scalar::Null => None,
        Scalar::Other(what) => {
            problems.push(Problem {
                place: format!("file {}, key {key}", file.path().display()),
                what: format!("it holds {what}, but takes one value ({})", spec.kind),
                nearest: None,
                remedy: format!("write one value behind `{key}`"),
                severity: Severity::Error,
            });
            None
        }
    }
}

fn wrong_value(spec: &Spec, origin: &Origin, text: &str, error: &ParseError) -> Problem {
    let place = match origin {
        Origin::File(path) => format!("file {}, key {}", path.display(), spec.name()),
        other => other.to_string(),
    };
    let shown = if spec.secret {
        "the value".to_string()
    } else {
        format!("`{text}`")
    };
    let nearest = match spec.kind {
        Kind::Choice(words) => nearest(text, words.iter().copied()).map(str::to_string),
        _ => None,
    };
    Problem {
        place,
        what: format!("{shown} does not fit: {}", error.what),
        nearest,
        remedy: format!("give a value such as `{}` ({})", error.example, spec.kind),
        severity: Severity::Error,
    }
}

fn unknown_variables(specs: &'static [Spec], layers: &Layers<'_>, problems: &mut Vec<Problem>) {
    let known = || specs.iter().map(|spec| spec.env);
    for (name, _) in layers
        .env
        .iter()
        .filter(|(name, _)| name.starts_with(layers.env_prefix))
    {
        if known().all(|known| known != name) {
            problems.push(unknown(
                format!("environment {name}"),
                "no setting has this name",
                nearest(name, known()),
            ));
        }
    }
}

fn unknown_keys(specs: &'static [Spec], file: &ConfigFile, problems: &mut Vec<Problem>) {
    let known = || specs.iter().filter_map(|spec| spec.key);
    for key in file.keys().filter(|key| known().all(|known| known != *key)) {
        let place = format!("file {}, key {key}", file.path().display());
        let is_group = known().any(|known| {
            known
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        let env_only = specs
            .iter()
            .find(|spec| spec.key.is_none() && is_tail_of(spec.env, key));
        problems.push(match env_only {
            // `sync:` with nothing below it is an empty group, unless somebody gave it a value.
            _ if is_group && file.get(key).is_none() => continue,
            _ if is_group => unknown(
                place,
                "it is a group of settings and takes no value itself",
                None,
            ),
            Some(spec) => Problem {
                remedy: format!(
                    "remove it from the file and set {} in the environment",
                    spec.env
                ),
                ..unknown(
                    place,
                    "this setting can only come from the environment",
                    None,
                )
            },
            None => unknown(place, "no setting has this name", nearest(key, known())),
        });
    }
}

/// Tells whether the key, with its dots as underscores, is the variable's name or its last words.
fn is_tail_of(env: &str, key: &str) -> bool {
    let before = env
        .to_lowercase()
        .strip_suffix(&key.replace('.', "_"))
        .map(str::to_string);
    before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
}

fn unknown(place: String, what: &str, nearest: Option<&str>) -> Problem {
    let remedy = match nearest {
        Some(nearest) => format!("write `{nearest}`"),
        None => "remove it, or look the name up in docs/settings.md".to_string(),
    };
    Problem {
        place,
        what: what.to_string(),
        nearest: nearest.map(str::to_string),
        remedy,
        severity: Severity::Warning,
    }
}

// Values may be secrets, so a stray `{:?}` shows names and origins only.
impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.values
                    .iter()
                    .map(|(env, setting)| (env, &setting.origin)),
            )
            .finish()
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.given.values().map(|(flag, _)| flag))
            .finish()
    }
}

impl Resolved {
    /// Returns a setting by its environment variable.
    #[must_use]
    pub fn get(&self, env: &str) -> Option<&Setting<Value>> {
        self.values.get(env)
    }

    /// Returns a duration; none if absent or of another kind.
    #[must_use]
    pub fn duration(&self, env: &str) -> Option<Setting<Duration>> {
        self.pick(env, |value| {
            if let Value::Duration(value) = value {
                Some(*value)
            } else {
                None
            }
        })
    }

    /// Returns a size in bytes.
    #[must_use]
    pub fn size(&self, env: &str) -> Option<Setting<u64>> {
        self.pick(env, |value| {
            if let Value::Size(value) = value {
                Some(*value)
            } else {
                None
            }
        })
    }

    /// Returns a whole number.
    #[must_use]
    pub fn integer(&self, env: &str) -> Option<Setting<u64>> {
        self.pick(env, |value| {
            if let Value::Integer(value) = value {
                Some(*value)
            } else {
                None
            }
        })
    }

    /// Returns a switch.
    #[must_use]
    pub fn bool(&self, env: &str) -> Option<Setting<bool>> {
        self.pick(env, |value| {
            if let Value::Bool(value) = value {
                Some(*value)
            } else {
                None
            }
        })
    }

    /// Returns text, a word or a path.
    #[must_use]
    pub fn text(&self, env: &str) -> Option<Setting<String>> {
        self.pick(env, |value| {
            if let Value::Text(value) = value {
                Some(value.clone())
            } else {
                None
            }
        })
    }

    fn pick<T>(&self, env: &str, pick: impl FnOnce(&Value) -> Option<T>) -> Option<Setting<T>> {
        let setting = self.get(env)?;
        pick(&setting.value).map(|value| Setting::new(value, setting.origin.clone()))
    }
}
