//! What changed from one generation to another, formula by formula.

use crate::log::{Generation, Held};
use crate::names;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What became of a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was not there before.
    New,
    /// It is not there any more.
    Gone,
    /// It has another version.
    Version,
    /// It has the same version, and other bottles: of other platforms, or built anew.
    Bottles,
}

/// One formula that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The formula.
    pub formula: String,
    /// Its versions before, with revision and rebuild.
    pub from: Vec<String>,
    /// Its versions after.
    pub to: Vec<String>,
    /// What became of it.
    pub kind: Kind,
    /// How many bytes its bottles had before.
    pub bytes_before: u64,
    /// How many they have after.
    pub bytes_after: u64,
}

/// Compares two generations.
#[must_use]
pub fn diff(from: &Generation, to: &Generation) -> Vec<Change> {
    let (before, after) = (by_formula(from), by_formula(to));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let nothing = BTreeSet::new();
    let changes = names.into_iter().filter_map(|name| {
        let old = before.get(name).unwrap_or(&nothing);
        let new = after.get(name).unwrap_or(&nothing);
        let digests = |held: &BTreeSet<&Held>| -> BTreeSet<String> {
            held.iter().map(|held| held.sha256.clone()).collect()
        };
        if digests(old) == digests(new) {
            return None;
        }
        let (was, is) = (versions(old), versions(new));
        let kind = match () {
            () if old.is_empty() => Kind::New,
            () if new.is_empty() => Kind::Gone,
            () if was != is => Kind::Version,
            () => Kind::Bottles,
        };
        Some(Change {
            formula: name.to_owned(),
            from: was.into_iter().collect(),
            to: is.into_iter().collect(),
            kind,
            bytes_before: old.iter().map(|held| held.size).sum(),
            bytes_after: new.iter().map(|held| held.size).sum(),
        })
    });
    changes.collect()
}

fn by_formula(generation: &Generation) -> BTreeMap<&str, BTreeSet<&Held>> {
    let mut found: BTreeMap<&str, BTreeSet<&Held>> = BTreeMap::new();
    for held in &generation.bottles {
        found.entry(&held.formula).or_default().insert(held);
    }
    found
}

fn versions(bottles: &BTreeSet<&Held>) -> BTreeSet<String> {
    let version = |held: &&Held| names::manifest_tag(&held.version, held.rebuild);
    bottles.iter().map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn generation(bottles: &[(&str, &str, &str)]) -> Generation {
        let held = bottles.iter().map(|(formula, version, sum)| Held {
            formula: (*formula).to_owned(),
            version: (*version).to_owned(),
            rebuild: 0,
            tag: "all".to_owned(),
            sha256: (*sum).to_owned(),
            size: 10,
            date: String::new(),
        });
        Generation {
            bottles: held.collect(),
            ..Generation::empty(Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn each_kind_of_change_is_told_and_what_stayed_is_not() {
        let from = generation(&[
            ("a", "1", "x"),
            ("b", "1", "x"),
            ("c", "1", "x"),
            ("d", "1", "x"),
        ]);
        let to = generation(&[
            ("a", "1", "x"),
            ("b", "2", "y"),
            ("c", "1", "z"),
            ("e", "1", "x"),
        ]);
        let found = diff(&from, &to);
        let kinds: Vec<(&str, Kind)> = found
            .iter()
            .map(|change| (change.formula.as_str(), change.kind))
            .collect();
        let expected = [
            ("b", Kind::Version),
            ("c", Kind::Bottles),
            ("d", Kind::Gone),
            ("e", Kind::New),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(
            (found[0].from[0].as_str(), found[0].to[0].as_str()),
            ("1", "2")
        );
        assert_eq!(diff(&from, &from), []);
    }
}
