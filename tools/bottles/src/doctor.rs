//! Why a client did not get what it asked for, and what to do about it.
//!
//! What must hold: what is said follows from what the mirror holds and what the API says; where that is not enough, it is said that it is not.
//!
//! It deliberately asks nobody: who calls it brings the generations and the API's bottles.

pub mod client;

use crate::api::Bottle;
use crate::log::{Generation, Held};
use crate::names;
use crate::platform::{ALL, Platform};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is known of a mirror.
pub struct Known<'a> {
    /// What clients see.
    pub current: &'a Generation,
    /// The other generations.
    pub others: &'a [Generation],
    /// Every bottle that the API of the current generation names.
    pub offered: &'a [Bottle],
    /// Keys that the current generation names and that were looked for in the store, and are gone.
    pub gone: &'a BTreeSet<String>,
}

/// Returns the keys of the current generation that a path may lead to: whether they are in the store decides what is said.
#[must_use]
pub fn keys(path: &str, current: &Generation) -> Vec<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let path = decoded.trim_start_matches('/');
    match asked(path) {
        Asked::Blob { image, sha256 } => {
            let has = |held: &&Held| held.sha256 == sha256 && names::image(&held.formula) == image;
            current
                .bottles
                .iter()
                .filter(has)
                .map(Held::blob_key)
                .collect()
        }
        Asked::Manifest { image, tag } => {
            let key = format!("{}/{image}/manifests/{tag}", names::CORE);
            current
                .manifests
                .contains_key(&key)
                .then_some(key)
                .into_iter()
                .collect()
        }
        Asked::Flat(file) => {
            let is = |held: &&Held| {
                names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild) == file
            };
            current
                .bottles
                .iter()
                .filter(is)
                .map(Held::blob_key)
                .collect()
        }
        Asked::Api(_) | Asked::Other => Vec::new(),
    }
}

/// An explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which sort of cause.
    pub cause: Cause,
    /// What happened, in a sentence.
    pub why: String,
    /// What to do.
    pub next: String,
}

/// Sorts of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The mirror has it by now.
    NowMirrored,
    /// The mirror should have it, and it is gone from its store.
    Gone,
    /// The formula is not selected.
    NotMirrored,
    /// The API names it, and the mirror was published without it.
    PassedOver,
    /// The platform is not selected.
    OtherPlatform,
    /// The client's lists are of an older generation, or of a newer one.
    OtherGeneration,
    /// The address is not one of a mirror's.
    WrongLayout,
    /// A variable is missing or wrong on the client.
    Variable,
    /// Clients do without.
    Harmless,
    /// Nothing is known of it.
    Unknown,
}

fn finding(cause: Cause, why: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding {
        cause,
        why: why.into(),
        next: next.into(),
    }
}

/// What a path asks for.
enum Asked<'a> {
    Api(&'a str),
    Blob { image: &'a str, sha256: &'a str },
    Manifest { image: &'a str, tag: &'a str },
    Flat(&'a str),
    Other,
}

/// Explains why a path is missed.
#[must_use]
pub fn explain(path: &str, known: &Known<'_>) -> Finding {
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let path = decoded
        .split('?')
        .next()
        .unwrap_or("")
        .trim_start_matches('/');
    if let Some(finding) = layout(path) {
        return finding;
    }
    if let Some(key) = keys(path, known.current)
        .iter()
        .find(|key| known.gone.contains(*key))
    {
        return finding(
            Cause::Gone,
            format!(
                "the mirror should have {key}, and it is gone from its store: somebody or something removed it"
            ),
            "run `homebrew-sync sync --check`, which fetches what is gone; find out what removes files there",
        );
    }
    match asked(path) {
        Asked::Api(file) => api(file, known),
        Asked::Blob { image, sha256 } => blob(image, sha256, known),
        Asked::Manifest { image, tag } => manifest(image, tag, known),
        Asked::Flat(file) => flat(file, known),
        Asked::Other => finding(
            Cause::Unknown,
            "this is nothing that a brew client asks a mirror for",
            "see in the miss's agent who asked",
        ),
    }
}

/// What shows by its very form that the client's variables are wrong.
fn layout(path: &str) -> Option<Finding> {
    let wrong = |why: &str, next: &str| Some(finding(Cause::WrongLayout, why, next));
    let set =
        "print the right variables with `homebrew-sync client-env --url URL --client VERSION`";
    if path.starts_with("v2/v2/") || path.contains("/v2/homebrew/") && !path.starts_with("v2/") {
        return wrong(
            "the address has a part before v2/homebrew that a mirror has not",
            &format!("HOMEBREW_ARTIFACT_DOMAIN is the root of the mirror, without /v2; {set}"),
        );
    }
    if path.starts_with("api/api/") {
        return wrong(
            "the address has /api twice",
            &format!("HOMEBREW_API_DOMAIN ends in one /api; {set}"),
        );
    }
    let is_api = path.ends_with(".jws.json") && !path.starts_with("api/");
    if is_api {
        return wrong(
            "a file of the API is asked for outside of /api",
            &format!("HOMEBREW_API_DOMAIN must end in /api; {set}"),
        );
    }
    let is_dated = path.len() > 11
        && path.as_bytes()[..10]
            .iter()
            .enumerate()
            .all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    if is_dated {
        return wrong(
            "folders of dates are a layout that no brew client can use",
            &format!("take the date out of HOMEBREW_BOTTLE_DOMAIN; {set}"),
        );
    }
    if path.starts_with("v2/homebrew/cask") || path.starts_with("v2/linuxbrew/") {
        return wrong(
            "only bottles of homebrew/core are mirrored",
            "install it from where it comes from",
        );
    }
    None
}

fn asked(path: &str) -> Asked<'_> {
    if let Some(file) = path.strip_prefix("api/") {
        return Asked::Api(file);
    }
    let ruby = path.strip_prefix("v2/homebrew/portable-ruby/");
    let core = path.strip_prefix("v2/homebrew/core/").or(ruby);
    if let Some(rest) = core {
        if let Some((image, sha256)) = rest.split_once("/blobs/sha256:") {
            return Asked::Blob { image, sha256 };
        }
        if let Some((image, tag)) = rest.split_once("/manifests/") {
            return Asked::Manifest { image, tag };
        }
        return Asked::Other;
    }
    if let Some((image, tag)) = path.rsplit_once("/manifests/") {
        return Asked::Manifest { image, tag };
    }
    let file = path.strip_prefix("bottles-portable-ruby/").unwrap_or(path);
    match file.contains(".bottle.") && !file.contains('/') {
        true => Asked::Flat(file),
        false => Asked::Other,
    }
}

fn api(file: &str, known: &Known<'_>) -> Finding {
    if known.current.api.contains_key(file) {
        return now("this file of the API");
    }
    let of_platform = |start: &str| {
        let rest = file.strip_prefix("internal/")?.strip_prefix(start)?;
        rest.strip_suffix(".jws.json")
    };
    let tag = of_platform("packages.")
        .or_else(|| of_platform("formula."))
        .or_else(|| of_platform("cask."));
    if let Some(tag) = tag {
        return match tag.parse::<Platform>() {
            Ok(_) if !known.current.selection.platforms.contains(tag) => other_platform(tag),
            Ok(_) => finding(
                Cause::NotMirrored,
                format!("the API had no {file} when the mirror was brought up to date last"),
                "run `homebrew-sync sync`; if it stays so, that client's generation asks for what the upstream has no more",
            ),
            Err(error) => finding(
                Cause::Unknown,
                error.to_string(),
                "use a program that knows that platform",
            ),
        };
    }
    let is_optional = ["formula/", "cask/", "analytics/", "advisories"]
        .iter()
        .any(|start| file.starts_with(start));
    match is_optional {
        true => finding(
            Cause::Harmless,
            "clients ask for it and do without",
            "nothing",
        ),
        false => finding(
            Cause::NotMirrored,
            format!("the mirror's API has no {file}"),
            "run `homebrew-sync sync`: API files that the upstream has come by themselves",
        ),
    }
}

fn blob(image: &str, sha256: &str, known: &Known<'_>) -> Finding {
    let has = |held: &&Held| held.sha256 == sha256 && names::image(&held.formula) == image;
    if known.current.bottles.iter().any(|held| has(&held)) {
        return now("this bottle");
    }
    if let Some((generation, held)) = earlier(known, |held| has(&held)) {
        return older(&format!("{} {}", held.formula, held.version), generation);
    }
    if image == "portable-ruby" {
        return ruby(known);
    }
    let offered = known.offered.iter().find(|bottle| bottle.sha256 == sha256);
    if let Some(bottle) = offered {
        return not_taken(bottle, known);
    }
    let formulae = formulae_of(image, known);
    match held_formula(&formulae, known) {
        Some(held) => finding(
            Cause::OtherGeneration,
            format!(
                "the client asks for a bottle of {} that neither the mirror nor its API knows: its lists are older or newer than the mirror's, or of another platform",
                held.formula
            ),
            "refresh the client's lists from the mirror (see `homebrew-sync client-env`); if it has newer ones from elsewhere, run `homebrew-sync sync`, and set HOMEBREW_API_DOMAIN on the client",
        ),
        None => not_mirrored(&formulae, image),
    }
}

fn manifest(image: &str, tag: &str, known: &Known<'_>) -> Finding {
    let key = format!("{}/{image}/manifests/{tag}", names::CORE);
    if known.current.manifests.contains_key(&key) {
        return now("this manifest");
    }
    if let Some((generation, held)) = earlier(known, |held| held.manifest_key() == key) {
        return older(&format!("{} {tag}", held.formula), generation);
    }
    if image == "portable-ruby" {
        return ruby(known);
    }
    let formulae = formulae_of(image, known);
    let offered = known.offered.iter().find(|bottle| {
        names::image(&bottle.formula) == image
            && names::manifest_tag(&bottle.version, bottle.rebuild) == tag
            && is_for_clients(bottle, known)
    });
    match (held_formula(&formulae, known), offered) {
        (Some(held), Some(bottle)) if held.formula == bottle.formula => passed_over(bottle, held),
        (Some(held), _) => other_version(held, tag),
        (None, _) => not_mirrored(&formulae, image),
    }
}

fn flat(file: &str, known: &Known<'_>) -> Finding {
    let is = |held: &Held| {
        names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild) == file
    };
    if known.current.bottles.iter().any(is) {
        return now(
            "this bottle, for `homebrew-sync serve`; plain static files do not have the flat layout",
        );
    }
    if let Some((generation, held)) = earlier(known, is) {
        return older(&format!("{} {}", held.formula, held.version), generation);
    }
    if file.starts_with("portable-ruby-") {
        return ruby(known);
    }
    let same = |bottle: &&Bottle| {
        names::flat_file(
            &bottle.formula,
            &bottle.version,
            &bottle.tag,
            bottle.rebuild,
        ) == file
    };
    if let Some(bottle) = known.offered.iter().find(same) {
        return not_taken(bottle, known);
    }
    // A name may have dashes, and so may a version: the longest formula that is known and fits.
    let stem = file.split(".bottle.").next().unwrap_or("");
    let (stem, tag) = stem.rsplit_once('.').unwrap_or((stem, ""));
    let names = known
        .current
        .bottles
        .iter()
        .map(|held| held.formula.as_str());
    let names = names.chain(known.offered.iter().map(|bottle| bottle.formula.as_str()));
    let fits = names.filter(|name| {
        stem.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-'))
    });
    let Some(formula) = fits.max_by_key(|name| name.len()) else {
        return not_mirrored(&[], stem);
    };
    let is_foreign = tag != ALL
        && !known.current.selection.platforms.contains(tag)
        && tag.parse::<Platform>().is_ok();
    if is_foreign {
        return other_platform(tag);
    }
    match held_formula(&[formula.to_owned()], known) {
        Some(held) => other_version(held, stem.get(formula.len() + 1..).unwrap_or("")),
        None => not_mirrored(&[formula.to_owned()], formula),
    }
}

fn now(what: &str) -> Finding {
    finding(
        Cause::NowMirrored,
        format!(
            "the mirror has {what}; it came after the client asked, or the client asked a server that had not taken it up"
        ),
        "let the client try again",
    )
}

fn ruby(known: &Known<'_>) -> Finding {
    let has: Vec<&str> = known
        .current
        .selection
        .portable_ruby
        .iter()
        .map(String::as_str)
        .collect();
    let has = match has.is_empty() {
        true => "no portable-ruby is mirrored".to_owned(),
        false => format!("of portable-ruby only {} is mirrored", has.join(", ")),
    };
    finding(
        Cause::NotMirrored,
        format!("{has}, and the client needs the one that its release pins"),
        "run `homebrew-sync sync --portable-ruby VERSION`; the client's Library/Homebrew/vendor/portable-ruby-version says which",
    )
}

fn older(what: &str, generation: &Generation) -> Finding {
    finding(
        Cause::OtherGeneration,
        format!(
            "{what} is of generation {}, not of the one that clients see: the client's lists are of that one",
            generation.number
        ),
        "`homebrew-sync serve` hands it out as long as that generation is kept; let the client refresh its lists (see `homebrew-sync client-env`)",
    )
}

fn other_version(held: &Held, asked: &str) -> Finding {
    finding(
        Cause::OtherGeneration,
        format!(
            "the mirror has {} {}, and the client asks for {asked}: its lists are of another generation",
            held.formula,
            names::manifest_tag(&held.version, held.rebuild)
        ),
        "let the client refresh its lists from the mirror (see `homebrew-sync client-env`), or run `homebrew-sync sync` if its lists are newer",
    )
}

fn other_platform(tag: &str) -> Finding {
    finding(
        Cause::OtherPlatform,
        format!("the mirror is not for {tag}"),
        format!(
            "run `homebrew-sync sync --platform {tag}`, with every other --platform that was named before"
        ),
    )
}

/// A bottle that the API names and the mirror has not.
fn not_taken(bottle: &Bottle, known: &Known<'_>) -> Finding {
    let formulae = [bottle.formula.clone()];
    match held_formula(&formulae, known) {
        Some(held) if is_for_clients(bottle, known) => passed_over(bottle, held),
        Some(_) => other_platform(&bottle.tag),
        None => not_mirrored(&formulae, &bottle.formula),
    }
}

/// Tells whether clients of a platform that is mirrored take a bottle of those that the API names of this version.
fn is_for_clients(bottle: &Bottle, known: &Known<'_>) -> bool {
    let same = known.offered.iter().filter(|other| {
        (&other.formula, &other.version, other.rebuild)
            == (&bottle.formula, &bottle.version, bottle.rebuild)
    });
    let tags: Vec<&str> = same.map(|other| other.tag.as_str()).collect();
    let platforms = known.current.selection.platforms.iter();
    let mut platforms = platforms.filter_map(|tag| tag.parse::<Platform>().ok());
    platforms.any(|platform| platform.choose(tags.iter().copied()) == Some(bottle.tag.as_str()))
}

fn passed_over(bottle: &Bottle, held: &Held) -> Finding {
    finding(
        Cause::PassedOver,
        format!(
            "the mirror's API names {formula} {}, and the mirror has only {}: a run was told to publish without the new one (--skip or --publish-incomplete)",
            names::manifest_tag(&bottle.version, bottle.rebuild),
            names::manifest_tag(&held.version, held.rebuild),
            formula = bottle.formula,
        ),
        format!(
            "run `homebrew-sync sync` without --skip {}; if that fails, `homebrew-sync rollback` leads to a generation whose API names what is there",
            bottle.formula
        ),
    )
}

/// Tells whether an image is of what clients on Linux install besides where their own C library is older than that of the bottles.
fn is_for_old_linux(image: &str) -> bool {
    image == "glibc" || image == "gcc" || image.starts_with("gcc/")
}

fn not_mirrored(formulae: &[String], image: &str) -> Finding {
    match formulae {
        _ if is_for_old_linux(image) => finding(
            Cause::NotMirrored,
            format!(
                "{image} is not mirrored: a Linux whose C library is older than that of the bottles needs it with anything"
            ),
            "run `homebrew-sync sync --formula glibc --formula gcc`",
        ),
        [] => finding(
            Cause::NotMirrored,
            format!("{image} is neither in the mirror nor in its API"),
            "if it is a formula of homebrew/core that is new, run `homebrew-sync sync`; other taps are not mirrored",
        ),
        [formula, ..] => finding(
            Cause::NotMirrored,
            format!("{formula} is not mirrored"),
            format!("run `homebrew-sync sync --formula {formula}`"),
        ),
    }
}

fn earlier<'k>(
    known: &'k Known<'_>,
    is: impl Fn(&Held) -> bool,
) -> Option<(&'k Generation, &'k Held)> {
    // The newest first.
    known.others.iter().rev().find_map(|generation| {
        let held = generation.bottles.iter().find(|held| is(held))?;
        Some((generation, held))
    })
}

fn held_formula<'k>(formulae: &[String], known: &'k Known<'_>) -> Option<&'k Held> {
    let held = known.current.bottles.iter();
    held.into_iter()
        .find(|held| formulae.contains(&held.formula))
}

/// The formulae that have an image: `python/3.12` may only be `python@3.12`, but `gtkx` may be `gtk+` too.
fn formulae_of(image: &str, known: &Known<'_>) -> Vec<String> {
    let held = known.current.bottles.iter().map(|held| &held.formula);
    let all = held.chain(known.offered.iter().map(|bottle| &bottle.formula));
    let found: BTreeSet<String> = all
        .filter(|name| names::image(name) == image)
        .cloned()
        .collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests;
