//! The file of current clients: `internal/packages.TAG.jws.json`, which holds for one platform the very bottle of each formula
//! that its clients take (`api/formula_struct.rb`).

use super::{ApiError, Bottle, Catalogue, checked};
use crate::names;
use crate::platform::Platform;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File<F> {
    formulae: BTreeMap<String, F>,
    #[serde(default)]
    formula_aliases: BTreeMap<String, String>,
    #[serde(default)]
    formula_renames: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Formula {
    stable_version: Option<String>,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    bottle_rebuild: u64,
    bottle_tag: Option<String>,
    bottle_checksum: Option<String>,
    #[serde(default)]
    stable_dependencies: Vec<Value>,
    #[serde(default)]
    stable_uses_from_macos: Vec<Value>,
}

/// Reads the payload of the file of one platform.
///
/// # Errors
/// If it is not of that form. What is wrong with one formula is in the catalogue.
pub fn read(payload: &str, platform: &Platform) -> Result<Catalogue, ApiError> {
    if let Ok(file) = serde_json::from_str::<File<Formula>>(payload) {
        let formulae = file.formulae.into_iter();
        let formulae = formulae.map(|(name, formula)| (name, Ok(formula)));
        let aliases = (file.formula_aliases, file.formula_renames);
        return Ok(catalogue(formulae, aliases, platform));
    }
    // An entry of another form is that formula's failure and nobody else's.
    let file: File<Value> = serde_json::from_str(payload).map_err(ApiError::Form)?;
    let formulae = file.formulae.into_iter().map(|(name, entry)| {
        let formula = Formula::deserialize(entry).map_err(|error| error.to_string());
        (name, formula)
    });
    let aliases = (file.formula_aliases, file.formula_renames);
    Ok(catalogue(formulae, aliases, platform))
}

fn catalogue(
    formulae: impl Iterator<Item = (String, Result<Formula, String>)>,
    (aliases, renames): (BTreeMap<String, String>, BTreeMap<String, String>),
    platform: &Platform,
) -> Catalogue {
    let mut catalogue = Catalogue {
        aliases,
        ..Catalogue::default()
    };
    catalogue.aliases.extend(renames);
    for (name, formula) in formulae {
        match formula {
            Ok(formula) => {
                let dependencies = dependencies(&formula, platform);
                let bottle = bottle(&name, formula, platform);
                catalogue.add(name, bottle, dependencies);
            }
            Err(what) => catalogue.add(name, Err(what), Vec::new()),
        }
    }
    catalogue
}

fn dependencies(formula: &Formula, platform: &Platform) -> Vec<String> {
    let plain = formula.stable_dependencies.iter().filter_map(symbolic);
    let from_macos = formula.stable_uses_from_macos.iter();
    plain
        .chain(from_macos.filter_map(|entry| needed_here(entry, platform)))
        .collect()
}

fn bottle(name: &str, formula: Formula, platform: &Platform) -> Result<Option<Bottle>, String> {
    let Some(sha256) = formula.bottle_checksum else {
        return Ok(None);
    };
    let stable = formula.stable_version.unwrap_or_default();
    let tag = formula.bottle_tag.as_deref().map(plain);
    checked(Bottle {
        formula: name.to_owned(),
        version: names::package_version(&stable, formula.revision),
        rebuild: formula.bottle_rebuild,
        tag: tag.unwrap_or(platform.tag()).to_owned(),
        sha256,
    })
}

/// Symbols of Ruby are written with a colon before them.
fn plain(text: &str) -> &str {
    text.strip_prefix(':').unwrap_or(text)
}

/// Returns the formula of a dependency that is there when the bottle is used; none if it is for building or testing only, or no
/// formula at all.
fn symbolic(entry: &Value) -> Option<String> {
    match entry {
        Value::String(name) => (!name.starts_with(':')).then(|| name.clone()),
        Value::Object(pairs) => {
            let (name, kinds) = pairs.iter().next()?;
            (!name.starts_with(':') && is_runtime(kinds)).then(|| name.clone())
        }
        _ => None,
    }
}

/// Tells whether what a dependency is for includes running the program.
pub(super) fn is_runtime(kinds: &Value) -> bool {
    let is_other = |kind: &str| matches!(plain(kind), "build" | "test" | "optional");
    match kinds {
        Value::String(kind) => !is_other(kind),
        Value::Array(kinds) => !kinds.iter().filter_map(Value::as_str).all(is_other),
        _ => true,
    }
}

/// Returns the formula that stands in for what macOS has, where this platform does not have it.
fn needed_here(entry: &Value, platform: &Platform) -> Option<String> {
    let (name, bounds) = match entry {
        Value::Array(pair) => (pair.first()?, pair.get(1)),
        single => (single, None),
    };
    let formula = match name {
        // A name with its kinds may carry the bounds beside them.
        Value::Object(pairs) => {
            let mut pairs = pairs.iter().filter(|(key, _)| plain(key) != "since");
            let (name, kinds) = pairs.next()?;
            is_runtime(kinds).then(|| name.clone())
        }
        other => symbolic(other),
    }?;
    let since = [bounds, Some(name)].into_iter().flatten().find_map(since);
    is_missing(platform, since).then_some(formula)
}

fn since(bounds: &Value) -> Option<&str> {
    let bounds = bounds.as_object()?;
    let found = bounds.get("since").or_else(|| bounds.get(":since"))?;
    found.as_str().map(plain)
}

/// Tells whether a platform lacks what macOS has since some version, or always.
pub(super) fn is_missing(platform: &Platform, since: Option<&str>) -> bool {
    platform.is_linux() || since.is_some_and(|since| platform.is_macos_before(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_another_form_is_only_its_own_failure() {
        let good = serde_json::json!({"stable_version": "1", "bottle_checksum": "a".repeat(64)});
        let odd = serde_json::json!({"stable_version": "1", "revision": null});
        let file = serde_json::json!({"formulae": {"good": good, "odd": odd}}).to_string();
        let platform: Platform = "x86_64_linux".parse().expect("a platform");
        let catalogue = read(&file, &platform).expect("it is read");
        assert!(catalogue.offers["good"].bottle.is_some());
        assert!(catalogue.unusable["odd"].contains("null"));
        assert_eq!(catalogue.unusable.len(), 1);
        assert!(read("[]", &platform).is_err() && read("{}", &platform).is_err());
    }
}
