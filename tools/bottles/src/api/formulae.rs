//! The file of earlier clients: `formula.json`, all formulae with the bottles of all platforms, bare or signed.
//!
//! What must hold: an entry of another form is that formula's failure and nobody else's.

use super::packages::{is_missing, is_runtime};
use super::{ApiError, Bottle, Catalogue, checked};
use crate::names;
use crate::platform::Platform;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// All formulae, as the file has them.
pub struct Formulae {
    all: Vec<Formula>,
    /// Those whose entries are of another form, and what is wrong.
    unusable: BTreeMap<String, String>,
}

/// What can be read of an entry of another form.
#[derive(Deserialize)]
struct Named {
    name: String,
}

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
    /// If it is no list. What is wrong with one formula is in the catalogues.
    pub fn read(payload: &str) -> Result<Formulae, ApiError> {
        if let Ok(all) = serde_json::from_str(payload) {
            let unusable = BTreeMap::new();
            return Ok(Formulae { all, unusable });
        }
        let (mut all, mut unusable) = (Vec::new(), BTreeMap::new());
        for (place, entry) in elements(payload)
            .map_err(ApiError::Form)?
            .into_iter()
            .enumerate()
        {
            match serde_json::from_str(entry) {
                Ok(formula) => all.push(formula),
                Err(error) => {
                    let named: Option<Named> = serde_json::from_str(entry).ok();
                    let name = named.map_or_else(|| format!("entry {place}"), |named| named.name);
                    unusable.insert(name, error.to_string());
                }
            }
        }
        Ok(Formulae { all, unusable })
    }

    /// Counts those with bottles.
    #[must_use]
    pub fn bottles(&self) -> usize {
        let stable = self.all.iter().map(|formula| &formula.bottle.stable);
        // Nobody knows of the others; they are not taken for removed.
        stable.filter(|stable| stable.is_some()).count() + self.unusable.len()
    }

    /// Lists the platforms' tags that there are bottles for.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let stable = self
            .all
            .iter()
            .filter_map(|formula| formula.bottle.stable.as_ref());
        stable.flat_map(|stable| stable.files.0.iter().map(|(tag, _)| tag.as_str()))
    }

    /// Lists what the formulae offer to one platform. What is wrong with one of them is in the catalogue.
    #[must_use]
    pub fn catalogue(&self, platform: &Platform) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for formula in &self.all {
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
        for (name, what) in &self.unusable {
            catalogue.add(name.clone(), Err(what.clone()), Vec::new());
        }
        catalogue
    }
}

/// Cuts a list into the texts of its entries.
fn elements(list: &str) -> Result<Vec<&str>, serde_json::Error> {
    // From here on it is known to be a list.
    serde_json::from_str::<Vec<IgnoredAny>>(list)?;
    let is_between = |c: char| c.is_whitespace() || c == ',';
    let mut rest = list.trim_start();
    rest = rest.strip_prefix('[').unwrap_or(rest);
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_between);
        if rest.is_empty() || rest.starts_with(']') {
            return Ok(found);
        }
        let mut one = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        one.next().transpose()?;
        let (entry, after) = rest.split_at(one.byte_offset());
        found.push(entry);
        rest = after;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Value {
        let file = serde_json::json!({"sha256": "a".repeat(64)});
        serde_json::json!({
            "name": name, "versions": {"stable": "1,]\""}, "revision": 0,
            "bottle": {"stable": {"rebuild": 0, "files": {"x86_64_linux": file}}},
        })
    }

    #[test]
    fn an_entry_of_another_form_is_only_its_own_failure() {
        let mut odd = entry("odd");
        odd["revision"] = Value::Null;
        let list = serde_json::json!([entry("a"), odd, 5, entry("b")]).to_string();
        let read = Formulae::read(&list).expect("it is a list");
        assert_eq!((read.all.len(), read.bottles()), (2, 4));
        let platform: Platform = "x86_64_linux".parse().expect("a platform");
        let catalogue = read.catalogue(&platform);
        let unusable: Vec<&String> = catalogue.unusable.keys().collect();
        assert_eq!(unusable, ["entry 2", "odd"]);
        assert!(catalogue.unusable["odd"].contains("null"));
        assert!(catalogue.offers.contains_key("odd"));
        for wrong in ["{}", "[", "", "[1 2]"] {
            assert!(Formulae::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_cut_into_its_entries() {
        let list = r#" [ {"a":"],\"["} , [1,[2]],"x" ,null ] "#;
        let found = elements(list).expect("a list");
        assert_eq!(found, [r#"{"a":"],\"["}"#, "[1,[2]]", r#""x""#, "null"]);
        assert_eq!(elements("[]").expect("a list"), [] as [&str; 0]);
    }
}
