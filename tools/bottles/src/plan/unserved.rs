//! What clients can no longer install because it was passed over, or failed and the rest is published.
//!
//! What must hold: the API's files are signed, and are published whole: who asks the mirror is told of the newest version of every formula,
//! also of one of which the mirror keeps an older. That is said by name whenever it is so, and not where the API names the very bottles that
//! the mirror has.
//!
//! It deliberately forbids nothing: a person has asked for it, and the rest of the mirror may be worth more.

use crate::api::Bottle;
use crate::log::{Generation, Held};
use crate::names;
use std::collections::{BTreeMap, BTreeSet};

/// A formula of which the API names what the mirror has not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unserved {
    /// The formula.
    pub formula: String,
    /// The versions that the API names, and clients ask for.
    pub api: BTreeSet<String>,
    /// The versions that the mirror has.
    pub mirror: BTreeSet<String>,
}

impl Unserved {
    /// Says it in words.
    #[must_use]
    pub fn warning(&self) -> String {
        let list = |versions: &BTreeSet<String>| {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            versions.join(", ")
        };
        let (formula, api, mirror) = (&self.formula, list(&self.api), list(&self.mirror));
        let what = match self.api == self.mirror {
            true => format!("the API names other bottles of {api} than the mirror has"),
            false => format!(
                "the API names {api}, which is not mirrored; {mirror} is what the mirror has"
            ),
        };
        format!(
            "clients can no longer install {formula}: {what}. A run that fetches it puts that right, and so does `homebrew-sync rollback`"
        )
    }
}

/// Finds the bottles that are named in place of some that a generation has of the same formulae.
pub(super) fn changed(base: &Generation, offered: &BTreeSet<Bottle>) -> BTreeSet<Bottle> {
    let held: BTreeSet<&str> = base
        .bottles
        .iter()
        .map(|held| held.formula.as_str())
        .collect();
    let known: BTreeSet<Bottle> = base.bottles.iter().map(Held::bottle).collect();
    let changed = offered.iter();
    let changed = changed.filter(|bottle| held.contains(bottle.formula.as_str()));
    changed
        .filter(|bottle| !known.contains(*bottle))
        .cloned()
        .collect()
}

/// Finds the formulae of which not all that changed is among the bottles that the mirror is to have.
pub(crate) fn unserved<'c>(
    changed: impl Iterator<Item = &'c Bottle>,
    bottles: &[Held],
) -> Vec<Unserved> {
    let has: BTreeSet<Bottle> = bottles.iter().map(Held::bottle).collect();
    let mut found: BTreeMap<&str, Unserved> = BTreeMap::new();
    for bottle in changed.filter(|bottle| !has.contains(*bottle)) {
        let formula = bottle.formula.as_str();
        let unserved = found.entry(formula).or_insert_with(|| {
            let held = bottles.iter().filter(|held| held.formula == formula);
            let mirror = held.map(|held| names::manifest_tag(&held.version, held.rebuild));
            Unserved {
                formula: formula.to_owned(),
                api: BTreeSet::new(),
                mirror: mirror.collect(),
            }
        });
        let version = names::manifest_tag(&bottle.version, bottle.rebuild);
        unserved.api.insert(version);
    }
    found.into_values().collect()
}
