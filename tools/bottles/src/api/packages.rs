//! The file of current clients: `internal/packages.TAG.jws.json`, which holds for one platform the very bottle of each formula
//! that its clients take (`api/formula_struct.rb`).

use super::{ApiError, Bottle, Catalogue, checked};
use crate::names;
use crate::platform::Platform;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File {
    formulae: BTreeMap<String, Formula>,
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
    let file: File = serde_json::from_str(payload).map_err(ApiError::Form)?;
    let mut catalogue = Catalogue {
        aliases: file.formula_aliases,
        ..Catalogue::default()
    };
    catalogue.aliases.extend(file.formula_renames);
    for (name, formula) in file.formulae {
        let dependencies = dependencies(&formula, platform);
        let bottle = bottle(&name, formula, platform);
        catalogue.add(name, bottle, dependencies);
    }
    Ok(catalogue)
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
