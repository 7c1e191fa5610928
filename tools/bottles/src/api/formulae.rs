//! The file of earlier clients: `formula.json`, all formulae with the bottles of all platforms, bare or signed.

use super::packages::{is_missing, is_runtime};
use super::{ApiError, Bottle, Catalogue, checked};
use crate::names;
use crate::platform::Platform;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// All formulae, as the file has them.
pub struct Formulae(Vec<Formula>);

#[derive(Deserialize)]
struct Formula {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    oldnames: Vec<String>,
    versions: Versions,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    bottle: Bottles,
    // Not a flattened `Needs`: serde would keep every other field of the file in memory for it.
    dependencies: Option<Vec<String>>,
    recommended_dependencies: Option<Vec<String>>,
    uses_from_macos: Option<Vec<Value>>,
    uses_from_macos_bounds: Option<Vec<BTreeMap<String, String>>>,
    #[serde(default)]
    variations: BTreeMap<String, Needs>,
}

#[derive(Deserialize)]
struct Versions {
    stable: Option<String>,
}

#[derive(Default, Deserialize)]
struct Bottles {
    stable: Option<Stable>,
}

#[derive(Deserialize)]
struct Stable {
    #[serde(default)]
    rebuild: u64,
    files: Files,
}

/// What a formula needs on one platform, where that differs.
#[derive(Default, Deserialize)]
struct Needs {
    dependencies: Option<Vec<String>>,
    recommended_dependencies: Option<Vec<String>>,
    uses_from_macos: Option<Vec<Value>>,
    uses_from_macos_bounds: Option<Vec<BTreeMap<String, String>>>,
}

/// The files in the order of the document: which of two older ones a client takes follows from it.
struct Files(Vec<(String, String)>);

#[derive(Deserialize)]
struct FileOf {
    sha256: String,
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bottles by their platforms")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Files, M::Error> {
                let mut files = Vec::new();
                while let Some((tag, file)) = map.next_entry::<String, FileOf>()? {
                    files.push((tag, file.sha256));
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Formulae {
    /// Reads a payload.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn read(payload: &str) -> Result<Formulae, ApiError> {
        serde_json::from_str(payload)
            .map(Formulae)
            .map_err(ApiError::Form)
    }

    /// Counts those with bottles.
    #[must_use]
    pub fn bottles(&self) -> usize {
        let stable = self.0.iter().map(|formula| &formula.bottle.stable);
        stable.filter(|stable| stable.is_some()).count()
    }

    /// Lists the platforms' tags that there are bottles for.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let stable = self
            .0
            .iter()
            .filter_map(|formula| formula.bottle.stable.as_ref());
        stable.flat_map(|stable| stable.files.0.iter().map(|(tag, _)| tag.as_str()))
    }

    /// Lists what the formulae offer to one platform. What is wrong with one of them is in the catalogue.
    #[must_use]
    pub fn catalogue(&self, platform: &Platform) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for formula in &self.0 {
            for other in formula.aliases.iter().chain(&formula.oldnames) {
                catalogue
                    .aliases
                    .insert(other.clone(), formula.name.clone());
            }
            let dependencies = dependencies(formula, platform);
            catalogue.add(
                formula.name.clone(),
                bottle(formula, platform),
                dependencies,
            );
        }
        catalogue
    }
}

fn bottle(formula: &Formula, platform: &Platform) -> Result<Option<Bottle>, String> {
    let (Some(stable), Some(version)) = (&formula.bottle.stable, &formula.versions.stable) else {
        return Ok(None);
    };
    let tags = stable.files.0.iter().map(|(tag, _)| tag.as_str());
    let Some(tag) = platform.choose(tags) else {
        return Ok(None);
    };
    let file = stable.files.0.iter().find(|(found, _)| found == tag);
    let Some((tag, sha256)) = file else {
        return Ok(None);
    };
    checked(Bottle {
        formula: formula.name.clone(),
        version: names::package_version(version, formula.revision),
        rebuild: stable.rebuild,
        tag: tag.clone(),
        sha256: sha256.clone(),
    })
}

fn dependencies(formula: &Formula, platform: &Platform) -> Vec<String> {
    let varied = formula.variations.get(platform.tag());
    let plain = pick(
        varied.map(|needs| &needs.dependencies),
        &formula.dependencies,
    );
    let recommended = pick(
        varied.map(|needs| &needs.recommended_dependencies),
        &formula.recommended_dependencies,
    );
    let from_macos = pick(
        varied.map(|needs| &needs.uses_from_macos),
        &formula.uses_from_macos,
    );
    let bounds = pick(
        varied.map(|needs| &needs.uses_from_macos_bounds),
        &formula.uses_from_macos_bounds,
    );
    let mut found: Vec<String> = plain.iter().chain(recommended).cloned().collect();
    for (place, entry) in from_macos.iter().enumerate() {
        let since = bounds.get(place).and_then(|bounds| bounds.get("since"));
        let name = match entry {
            Value::String(name) => Some(name.clone()),
            Value::Object(pairs) => {
                let first = pairs.iter().next();
                first
                    .filter(|(_, kinds)| is_runtime(kinds))
                    .map(|(name, _)| name.clone())
            }
            _ => None,
        };
        if is_missing(platform, since.map(String::as_str)) {
            found.extend(name);
        }
    }
    found
}

/// Returns what a platform's variation says, or what holds where it says nothing.
fn pick<'f, T>(varied: Option<&'f Option<Vec<T>>>, always: &'f Option<Vec<T>>) -> &'f [T] {
    let found = varied
        .and_then(|varied| varied.as_deref())
        .or(always.as_deref());
    found.unwrap_or_default()
}
