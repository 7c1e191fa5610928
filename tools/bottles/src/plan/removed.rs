//! What a mirror has had and the next generation would not have.
//!
//! What must hold: nothing that a mirror has had drops out of it unnamed; an upstream that suddenly has much less than before (an empty list, a
//! cut one, another API) takes nothing away unless a person has said that this is meant. A few formulae that go, as some do every week, need no
//! word.
//!
//! It deliberately compares formulae and not versions: an update is no removal.

use super::{Plan, PlanError, Planner, bottles::PORTABLE_RUBY};
use crate::api::Catalogue;
use crate::log::{ApiEntry, Generation};
use crate::platform::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// So many formulae may go at once without a word, whatever share of the mirror they are.
const HANDFUL: usize = 5;

/// Of what a mirror has, one in so many may go from the upstream without a word.
const GONE_MOST: usize = 10;

/// One in so many may go because nothing needs them any more: a formula that changes may drop all that it needed.
const LEFT_MOST: usize = 2;

/// An API file that was smaller than this may become anything.
const FILE_MIN: u64 = 16 << 10;

/// So many names are told of what would go.
const NAMED: usize = 5;

/// Why a formula goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The API lists it no more.
    Gone,
    /// The API lists it under another name.
    Renamed,
    /// It has no bottle for the platform any more.
    NoBottle,
    /// Nothing that is selected needs it any more.
    NotNeeded,
}

/// A formula of which the next generation has no bottle for platforms that have had one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// The formula.
    pub formula: String,
    /// The platforms.
    pub platforms: BTreeSet<String>,
    /// Why.
    pub why: Why,
}

/// What becomes of what one platform has.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// So many formulae have a bottle for it.
    before: usize,
    /// So many will have one.
    after: usize,
    /// Those that will not.
    lost: BTreeMap<String, Why>,
}

impl Why {
    /// Says it in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Gone => "the API lists it no more",
            Why::Renamed => "it has another name now",
            Why::NoBottle => "no bottle any more",
            Why::NotNeeded => "nothing needs it any more",
        }
    }
}

impl Planner<'_> {
    /// Finds which formulae of a platform go, given those that are wanted now.
    pub(super) fn fate(
        &self,
        platform: &Platform,
        catalogues: &[Catalogue],
        wanted: &BTreeSet<String>,
    ) -> Fate {
        let mut fate = Fate {
            after: wanted.len(),
            ..Fate::default()
        };
        if !self.base.selection.platforms.contains(platform.tag()) {
            return fate;
        }
        for name in with_bottles(self.base, platform) {
            fate.before += 1;
            if !wanted.contains(name) {
                fate.lost.insert(name.to_owned(), why(name, catalogues));
            }
        }
        fate
    }

    /// Names what goes, and refuses to go on if that is too much: an upstream that is broken must not empty a mirror.
    pub(super) fn settle_fates(
        &self,
        plan: &mut Plan,
        mut fates: BTreeMap<String, Fate>,
        kept: &BTreeSet<String>,
    ) -> Result<(), PlanError> {
        let mut removed: BTreeMap<(&str, Why), BTreeSet<String>> = BTreeMap::new();
        let mut shrunk = Vec::new();
        for (tag, fate) in &mut fates {
            let before = fate.lost.len();
            fate.lost.retain(|name, _| !kept.contains(name));
            fate.after += before - fate.lost.len();
            if self.replaces_selection {
                // What nobody asks for any more is to go.
                fate.lost.retain(|_, why| *why != Why::NotNeeded);
            }
            shrunk.extend(fate.too_much(tag));
            for (name, why) in &fate.lost {
                let platforms = removed.entry((name, *why)).or_default();
                platforms.insert(tag.clone());
            }
        }
        plan.removed = removed
            .into_iter()
            .map(|((formula, why), platforms)| Removed {
                formula: formula.to_owned(),
                platforms,
                why,
            })
            .collect();
        for (path, entry) in &plan.api {
            let before = self.base.api.get(path);
            shrunk.extend(before.and_then(|before| shrunken_file(path, before, entry)));
        }
        match shrunk.is_empty() || self.accepts_shrinking {
            true => Ok(()),
            false => Err(PlanError::Shrunk(shrunk)),
        }
    }
}

impl Fate {
    fn too_much(&self, tag: &str) -> Option<String> {
        if self.lost.is_empty() {
            return None;
        }
        let upstream = self.lost.values().filter(|why| **why != Why::NotNeeded);
        // One that was the only one may have another name now.
        let is_all = self.lost.len() == self.before && self.before > 1;
        let is_too_much = self.after == 0
            || is_all
            || is_over(upstream.count(), self.before, GONE_MOST)
            || is_over(self.lost.len(), self.before, LEFT_MOST);
        let examples: Vec<&str> = self.lost.keys().take(NAMED).map(String::as_str).collect();
        let more = if self.lost.len() > NAMED { ", ..." } else { "" };
        is_too_much.then(|| {
            format!(
                "for {tag}, {} of {} formulae would go ({}{more})",
                self.lost.len(),
                self.before,
                examples.join(", "),
            )
        })
    }
}

/// Tells whether more than a handful go, and more than one in `most`.
fn is_over(lost: usize, before: usize, most: usize) -> bool {
    lost > HANDFUL && lost * most > before
}

fn shrunken_file(path: &str, before: &ApiEntry, now: &ApiEntry) -> Option<String> {
    if let (Some(before), Some(now)) = (before.bottles, now.bottles) {
        let lost = before.saturating_sub(now);
        let lost = usize::try_from(lost).unwrap_or(usize::MAX);
        let all = usize::try_from(before).unwrap_or(usize::MAX);
        let is_too_much = lost > 0 && (now == 0 || is_over(lost, all, GONE_MOST));
        return is_too_much
            .then(|| format!("api/{path} names {now} bottles, and has named {before}"));
    }
    let (before, now) = (before.file.size, now.file.size);
    (before >= FILE_MIN && now < before / 2)
        .then(|| format!("api/{path} has {now} bytes, and has had {before}"))
}

/// Lists the formulae of which a generation has a bottle for a platform.
fn with_bottles<'g>(generation: &'g Generation, platform: &Platform) -> Vec<&'g str> {
    let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for held in &generation.bottles {
        tags.entry(&held.formula).or_default().push(&held.tag);
    }
    // It is no formula: versions of it are named.
    tags.remove(PORTABLE_RUBY);
    let chosen = tags
        .into_iter()
        .filter(|(_, tags)| platform.choose(tags.iter().copied()).is_some());
    chosen.map(|(name, _)| name).collect()
}

fn why(name: &str, catalogues: &[Catalogue]) -> Why {
    let offers = catalogues
        .iter()
        .filter_map(|catalogue| catalogue.offers.get(name));
    let mut why = None;
    for offer in offers {
        match offer.bottle {
            Some(_) => return Why::NotNeeded,
            None => why = Some(Why::NoBottle),
        }
    }
    let is_alias = |catalogue: &Catalogue| catalogue.aliases.contains_key(name);
    match why {
        Some(why) => why,
        None if catalogues.iter().any(is_alias) => Why::Renamed,
        None => Why::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_go_and_a_tenth_may_not() {
        let fate = |before: usize, lost: usize, why: Why| {
            let lost = (0..lost).map(|number| (format!("f{number}"), why));
            let lost: BTreeMap<String, Why> = lost.collect();
            let after = before - lost.len();
            Fate {
                before,
                after,
                lost,
            }
        };
        for (before, lost, why, is_refused) in [
            (8000, 800, Why::Gone, false),
            (8000, 801, Why::NoBottle, true),
            (20, 5, Why::Gone, false),
            (20, 6, Why::Gone, true),
            (20, 10, Why::NotNeeded, false),
            (20, 11, Why::NotNeeded, true),
            (1, 1, Why::Gone, true),
            (2, 1, Why::Gone, false),
        ] {
            let told = fate(before, lost, why).too_much("x86_64_linux");
            assert_eq!(told.is_some(), is_refused, "{before} {lost} {why:?}");
        }
    }

    #[test]
    fn a_file_that_names_far_fewer_bottles_is_noticed_and_so_is_one_that_is_cut() {
        let entry = |size: u64, bottles: Option<u64>| ApiEntry {
            file: crate::log::FileEntry {
                sha256: transfer::Digest::of(b""),
                size,
            },
            validators: crate::upstream::Validators::default(),
            bottles,
            verified: None,
        };
        for (before, now, is_refused) in [
            (entry(9, Some(100)), entry(9, Some(90)), false),
            (entry(9, Some(100)), entry(9, Some(89)), true),
            (entry(9, Some(1)), entry(9, Some(0)), true),
            (entry(9, None), entry(9, Some(0)), false),
            (entry(30_000, None), entry(15_000, None), false),
            (entry(30_000, None), entry(14_000, None), true),
            (entry(9_000, None), entry(2, None), false),
        ] {
            let told = shrunken_file("x", &before, &now);
            assert_eq!(told.is_some(), is_refused, "{before:?} {now:?}");
        }
    }
}
