//! Which formulae a mirror has, and what they need.
//!
//! What must hold: a formula that is selected is there with everything that is installed with it on each platform; a name that exists
//! nowhere is an error that says so.

use crate::api::{Bottle, Catalogue};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a person asked for. It is kept in the mirror, so that the next run brings the same up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Everything there is.
    #[serde(default)]
    pub all: bool,
    /// Formulae by name; what they need comes with them.
    #[serde(default)]
    pub formulae: BTreeSet<String>,
    /// The platforms' tags.
    #[serde(default)]
    pub platforms: BTreeSet<String>,
    /// Nobody said which platforms: the newest ones join those that are there as Homebrew takes them up.
    #[serde(default)]
    pub follows_defaults: bool,
    /// Versions of portable-ruby that clients pin.
    #[serde(default)]
    pub portable_ruby: BTreeSet<String>,
    /// Bottles have names in the flat layout too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
}

/// What is wrong with a selection.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// The API knows no such formula.
    #[error("the API knows no formula {name:?}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A line of a Brewfile is not understood.
    #[error("line {line} of the Brewfile is not understood: {text:?}")]
    Brewfile {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// What a selection comes to on one platform.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The bottles.
    pub bottles: BTreeSet<Bottle>,
    /// Selected formulae, or what they need, without a bottle for the platform.
    pub without_bottle: BTreeSet<String>,
    /// Selected names that the catalogue does not have.
    pub unknown: BTreeSet<String>,
    /// Those whose entries in the API cannot be used, and why.
    pub unusable: BTreeMap<String, String>,
}

impl Selection {
    /// Takes another one in.
    pub fn extend(&mut self, other: Selection) {
        self.all |= other.all;
        self.follows_defaults |= other.follows_defaults;
        self.flat |= other.flat;
        self.formulae.extend(other.formulae);
        self.platforms.extend(other.platforms);
        self.portable_ruby.extend(other.portable_ruby);
    }

    /// Tells whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.formulae.is_empty()
    }

    /// Returns what it comes to for the platform of a catalogue.
    #[must_use]
    pub fn resolve(&self, catalogue: &Catalogue) -> Resolved {
        let mut resolved = Resolved::default();
        let mut wanted: Vec<&str> = Vec::new();
        if self.all {
            wanted.extend(catalogue.offers.keys().map(String::as_str));
        }
        for name in &self.formulae {
            match known(name, catalogue) {
                Some(name) => wanted.push(name),
                None => {
                    resolved.unknown.insert(name.clone());
                }
            }
        }
        let mut seen: BTreeSet<&str> = wanted.iter().copied().collect();
        while let Some(name) = wanted.pop() {
            let Some(offer) = catalogue.offers.get(name) else {
                resolved.without_bottle.insert(name.to_owned());
                continue;
            };
            match &offer.bottle {
                Some(bottle) => {
                    resolved.bottles.insert(bottle.clone());
                }
                None => {
                    resolved.without_bottle.insert(name.to_owned());
                }
            }
            if let Some(what) = catalogue.unusable.get(name) {
                resolved.unusable.insert(name.to_owned(), what.clone());
            }
            for needed in &offer.dependencies {
                let needed = known(needed, catalogue).unwrap_or(needed.as_str());
                if seen.insert(needed) {
                    wanted.push(needed);
                }
            }
        }
        resolved
    }
}

/// Returns the name under which a formula is listed.
fn known<'c>(name: &str, catalogue: &'c Catalogue) -> Option<&'c str> {
    let name = plain(name);
    let listed = catalogue.offers.get_key_value(name).map(|(name, _)| name);
    let alias = || catalogue.aliases.get(name);
    listed.or_else(alias).map(String::as_str)
}

/// Tells whether a name is one of a tap other than homebrew/core, whose bottles lie elsewhere.
#[must_use]
pub fn is_of_tap(name: &str) -> bool {
    plain(name).contains('/')
}

/// Names of homebrew/core may be written in full.
fn plain(name: &str) -> &str {
    name.strip_prefix("homebrew/core/").unwrap_or(name)
}

fn nearest(name: &str, catalogues: &[Catalogue]) -> Option<String> {
    let names = catalogues
        .iter()
        .flat_map(|catalogue| catalogue.offers.keys().chain(catalogue.aliases.keys()));
    console::nearest(plain(name), names.map(String::as_str)).map(str::to_owned)
}

/// Returns the formula that may be meant by a name that is none: the one that it is another name of, or the nearest one.
#[must_use]
pub fn meant_by(name: &str, catalogues: &[Catalogue]) -> Option<String> {
    let name = match plain(name) {
        plain if catalogues.iter().any(|one| one.offers.contains_key(plain)) => plain.to_owned(),
        plain => {
            let is_other = catalogues.iter().any(|one| one.aliases.contains_key(plain));
            match is_other {
                true => plain.to_owned(),
                false => nearest(name, catalogues)?,
            }
        }
    };
    let mut targets = catalogues.iter().filter_map(|one| one.aliases.get(&name));
    Some(targets.next().cloned().unwrap_or(name))
}

impl SelectionError {
    /// Says that none of some catalogues has a name.
    #[must_use]
    pub fn unknown(name: &str, catalogues: &[Catalogue]) -> SelectionError {
        SelectionError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, catalogues),
        }
    }
}

/// What a Brewfile names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brewfile {
    /// The formulae.
    pub formulae: BTreeSet<String>,
    /// Entries that a mirror of bottles does not serve, by their kind: casks, taps, apps of a store.
    pub others: BTreeMap<String, usize>,
}

/// Reads a Brewfile: `brew "NAME"`, with or without options behind it. Other kinds of entries are counted.
///
/// # Errors
/// If a line is none of them: a Brewfile is Ruby, and what it computes is not known here.
pub fn read_brewfile(text: &str) -> Result<Brewfile, SelectionError> {
    let mut found = Brewfile::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let failure = || SelectionError::Brewfile {
            line: number + 1,
            text: line.to_owned(),
        };
        let (kind, rest) = line
            .split_once(|c: char| c.is_whitespace() || c == '(')
            .ok_or_else(failure)?;
        match kind {
            "brew" => {
                let name = quoted(rest).ok_or_else(failure)?;
                found.formulae.insert(name.to_owned());
            }
            "tap" | "cask" | "mas" | "vscode" | "whalebrew" | "cask_args" | "go" | "cargo"
            | "uv" | "flatpak" | "npm" => {
                *found.others.entry(kind.to_owned()).or_default() += 1;
            }
            _ => return Err(failure()),
        }
    }
    Ok(found)
}

fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let (name, _) = text[1..].split_once(quote)?;
    Some(name).filter(|name| crate::names::is_formula(name.rsplit('/').next().unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Offer;

    fn catalogue(entries: &[(&str, bool, &[&str])]) -> Catalogue {
        let mut found = Catalogue::default();
        for (name, has_bottle, needs) in entries {
            let bottle = has_bottle.then(|| Bottle {
                formula: (*name).to_owned(),
                version: "1".to_owned(),
                rebuild: 0,
                tag: "all".to_owned(),
                sha256: "0".repeat(64),
            });
            let dependencies = needs.iter().map(|name| (*name).to_owned()).collect();
            found.offers.insert(
                (*name).to_owned(),
                Offer {
                    bottle,
                    dependencies,
                },
            );
        }
        found
            .aliases
            .insert("openssl".to_owned(), "openssl@3".to_owned());
        found
    }

    fn selected(names: &[&str]) -> Selection {
        Selection {
            formulae: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn what_is_needed_comes_along_once_and_circles_end() {
        let catalogue = catalogue(&[
            ("a", true, &["b", "openssl"]),
            ("b", true, &["a", "c"]),
            ("c", false, &[]),
            ("openssl@3", true, &[]),
            ("unrelated", true, &[]),
        ]);
        let found = selected(&["a"]).resolve(&catalogue);
        let names: Vec<&str> = found
            .bottles
            .iter()
            .map(|bottle| bottle.formula.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "openssl@3"]);
        assert_eq!(found.without_bottle.iter().collect::<Vec<_>>(), ["c"]);
        let all = Selection {
            all: true,
            ..Selection::default()
        };
        assert_eq!(all.resolve(&catalogue).bottles.len(), 4);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest() {
        let catalogue = catalogue(&[("wget", true, &[])]);
        let found = selected(&["wgte", "homebrew/core/wget"]).resolve(&catalogue);
        assert_eq!(found.unknown.iter().collect::<Vec<_>>(), ["wgte"]);
        assert_eq!(found.bottles.len(), 1);
        let error = SelectionError::unknown("wgte", &[catalogue]);
        let SelectionError::Unknown { nearest, .. } = error else {
            panic!("it is another error");
        };
        assert_eq!(nearest.as_deref(), Some("wget"));
    }

    #[test]
    fn a_brewfile_is_read_and_what_is_no_entry_is_refused() {
        let text = "# tools\ntap \"homebrew/bundle\"\nbrew \"jq\"\nbrew 'python@3.12', link: true\nbrew(\"wget\")\ncask \"firefox\"\n";
        let found = read_brewfile(text).expect("a Brewfile");
        assert_eq!(
            found.formulae.iter().collect::<Vec<_>>(),
            ["jq", "python@3.12", "wget"]
        );
        assert_eq!(found.others.values().sum::<usize>(), 2);
        for wrong in ["brew jq", "brew \"../x/..\"", "jq", "if true"] {
            assert!(read_brewfile(wrong).is_err(), "{wrong}");
        }
    }
}
