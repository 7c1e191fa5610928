//! Names that a run was told to pass over and that are nobody's: what was mistyped is passed over by nobody.
//!
//! What must hold: a name counts as somebody's if any platform's API, the mirror or its selection has it; one that does not is told with the
//! name that may be meant.
//!
//! It deliberately fails no run: a formula that was passed over by a schedule may be removed upstream one day.

use super::{Planner, is_api_file};
use crate::api::Catalogue;
use crate::selection;
use std::collections::BTreeMap;

/// What is to be passed over and was met nowhere yet, each with a name that may be meant.
#[derive(Default)]
pub(super) struct Unmet(BTreeMap<String, Option<String>>);

impl Unmet {
    /// Begins with what neither the mirror nor the selection has.
    pub(super) fn of(planner: &Planner<'_>, selection: &selection::Selection) -> Unmet {
        let base = planner.base;
        let is_held = |name: &str| base.bottles.iter().any(|held| held.formula == name);
        let is_met = |name: &str| {
            is_api_file(name)
                || name == super::bottles::PORTABLE_RUBY
                || selection.formulae.contains(name)
                || base.selection.formulae.contains(name)
                || is_held(name)
        };
        let unmet = planner.skip.iter().filter(|name| !is_met(name));
        Unmet(unmet.map(|name| (name.clone(), None)).collect())
    }

    /// Takes out what a platform's catalogues have, and looks in them for what may be meant by the rest.
    pub(super) fn meet(&mut self, catalogues: &[Catalogue]) {
        let offers = |name: &str| {
            catalogues
                .iter()
                .any(|one| one.offers.contains_key(name) || one.unusable.contains_key(name))
        };
        self.0.retain(|name, _| !offers(name));
        for (name, meant) in &mut self.0 {
            if meant.is_none() {
                *meant = selection::meant_by(name, catalogues);
            }
        }
    }

    /// Says what was passed over by nobody.
    pub(super) fn warnings(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(name, meant)| {
            let what =
                format!("--skip {name} passes nothing over: no formula or API file has that name");
            match meant {
                Some(meant) => format!("{what}; is {meant} meant?"),
                None => what,
            }
        })
    }
}
