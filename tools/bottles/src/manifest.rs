//! The manifest of a formula's version: an OCI image index with one entry a platform. It is the only place that says how large a bottle is.
//!
//! What must hold: an entry counts only if a client would take it (`resource.rb`): the digest, the reference and a tab must be there. What is read
//! of an entry becomes part of keys and requests, so nothing of it leaves here that was not looked at.

use crate::api::Bottle;
use crate::names;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What of a manifest matters here.
#[derive(Deserialize)]
pub struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Why a manifest does not fit a bottle.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no index.
    #[error("the manifest is no OCI image index")]
    Form(#[source] serde_json::Error),
    /// A client would not find the bottle in it.
    #[error("the manifest has no entry for {reference} with the digest that the API names")]
    NoEntry {
        /// What was looked for.
        reference: String,
    },
    /// It is the manifest of something else.
    #[error("the manifest has no entry for {reference}")]
    NoVersion {
        /// What was looked for.
        reference: String,
    },
    /// A client could not use the entry.
    #[error("the manifest's entry for {reference} has no {what}")]
    Incomplete {
        /// The entry.
        reference: String,
        /// What is missing.
        what: &'static str,
    },
    /// An entry says what cannot be.
    #[error("the manifest's entry {reference:?} cannot be used: {what}")]
    Unusable {
        /// The entry.
        reference: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Index {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is no index.
    pub fn parse(bytes: &[u8]) -> Result<Index, ManifestError> {
        serde_json::from_slice(bytes).map_err(ManifestError::Form)
    }

    /// Returns the size of a bottle's file in bytes.
    ///
    /// # Errors
    /// If a client would not find the bottle in it.
    pub fn size_of(&self, bottle: &Bottle) -> Result<u64, ManifestError> {
        let reference = names::reference(&bottle.version, &bottle.tag, bottle.rebuild);
        let entry = self.manifests.iter().find(|entry| {
            let digest = entry.annotations.get("sh.brew.bottle.digest");
            entry.annotations.get("org.opencontainers.image.ref.name") == Some(&reference)
                && digest == Some(&bottle.sha256)
        });
        let Some(entry) = entry else {
            return Err(ManifestError::NoEntry { reference });
        };
        let tab = entry.annotations.get("sh.brew.tab");
        let is_tab = |tab: &String| serde_json::from_str::<serde::de::IgnoredAny>(tab).is_ok();
        if !tab.is_some_and(is_tab) {
            let what = "tab (sh.brew.tab)";
            return Err(ManifestError::Incomplete { reference, what });
        }
        let size = entry.annotations.get("sh.brew.bottle.size");
        let size = size
            .and_then(|size| size.parse().ok())
            .filter(|size| *size > 0);
        let what = "size (sh.brew.bottle.size)";
        size.ok_or(ManifestError::Incomplete { reference, what })
    }

    /// Lists the bottles that it names, for a formula: what a mirror holds can be read from its manifests. Entries that no mirror can hold are left
    /// out.
    pub fn bottles(&self, formula: &str) -> Vec<(Bottle, u64)> {
        let read = self.manifests.iter().map(|entry| entry.read(formula));
        read.filter_map(Result::ok).collect()
    }

    /// Lists the platforms' tags that it has entries for.
    #[must_use]
    pub fn tags(&self) -> Vec<&str> {
        let references = self.manifests.iter().filter_map(Entry::reference);
        references
            .filter_map(|reference| Some(split_reference(reference)?.1))
            .collect()
    }

    /// Finds the bottle of a version (with its rebuild, as a manifest's tag has it) that was built for a platform, and its size.
    ///
    /// # Errors
    /// If there is none, or its entry says what cannot be.
    pub fn bottle(
        &self,
        formula: &str,
        version: &str,
        tag: &str,
    ) -> Result<(Bottle, u64), ManifestError> {
        let is_meant = |entry: &&Entry| {
            let split = entry.reference().and_then(split_reference);
            split.is_some_and(|(found, for_tag, rebuild)| {
                for_tag == tag && names::manifest_tag(found, rebuild) == version
            })
        };
        let entry = self.manifests.iter().find(is_meant);
        let reference = names::reference(version, tag, 0);
        let entry = entry.ok_or(ManifestError::NoVersion { reference })?;
        entry.read(formula)
    }
}

impl Entry {
    fn text(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    fn reference(&self) -> Option<&str> {
        self.text("org.opencontainers.image.ref.name")
    }

    /// Reads the bottle of an entry, and its size, if both can be.
    fn read(&self, formula: &str) -> Result<(Bottle, u64), ManifestError> {
        let reference = self.reference().unwrap_or_default();
        let unusable = |what: String| ManifestError::Unusable {
            reference: reference.to_owned(),
            what,
        };
        let (version, tag, rebuild) = split_reference(reference)
            .ok_or_else(|| unusable("it is no version and platform".to_owned()))?;
        let bottle = Bottle {
            formula: formula.to_owned(),
            version: version.to_owned(),
            rebuild,
            tag: tag.to_owned(),
            sha256: self
                .text("sh.brew.bottle.digest")
                .unwrap_or_default()
                .to_owned(),
        };
        let bottle = crate::api::checked(bottle).map_err(unusable)?;
        let bottle = bottle.ok_or_else(|| unusable("no registry takes its version".to_owned()))?;
        let size = self.text("sh.brew.bottle.size");
        let size = size
            .and_then(|size| size.parse().ok())
            .filter(|size| *size > 0);
        let size =
            size.ok_or_else(|| unusable("it has no size (sh.brew.bottle.size)".to_owned()))?;
        Ok((bottle, size))
    }
}

/// Takes `VERSION.TAG` or `VERSION.TAG.REBUILD` apart; a version may have points, a tag has none.
fn split_reference(reference: &str) -> Option<(&str, &str, u64)> {
    let (head, last) = reference.rsplit_once('.')?;
    match last.parse() {
        Ok(rebuild) => {
            let (version, tag) = head.rsplit_once('.')?;
            Some((version, tag, rebuild))
        }
        Err(_) => Some((head, last, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_taken_apart() {
        assert_eq!(
            split_reference("1.7.1.arm64_sonoma"),
            Some(("1.7.1", "arm64_sonoma", 0))
        );
        assert_eq!(split_reference("6.9.9.all.1"), Some(("6.9.9", "all", 1)));
        assert_eq!(split_reference("x"), None);
    }

    #[test]
    fn an_entry_that_would_become_a_key_is_looked_at() {
        let index = |sha256: &str, size: &str, reference: &str| {
            let entry = serde_json::json!({"annotations": {
                "org.opencontainers.image.ref.name": reference,
                "sh.brew.bottle.digest": sha256,
                "sh.brew.bottle.size": size,
            }});
            let text = serde_json::json!({"manifests": [entry]}).to_string();
            Index::parse(text.as_bytes()).expect("an index")
        };
        let sum = "a".repeat(64);
        let found = |index: &Index| index.bottle("portable-ruby", "4.0.6-1", "x86_64_linux");
        let good = index(&sum, "12", "4.0.6.x86_64_linux.1");
        assert_eq!(found(&good).expect("it is there").1, 12);
        assert_eq!(good.tags(), ["x86_64_linux"]);
        assert_eq!(good.bottles("portable-ruby").len(), 1);
        for (sha256, size, reference, says) in [
            ("x/../../../api", "12", "4.0.6.x86_64_linux.1", "no SHA-256"),
            ("", "12", "4.0.6.x86_64_linux.1", "no SHA-256"),
            (&sum, "0", "4.0.6.x86_64_linux.1", "no size"),
            (&sum, "much", "4.0.6.x86_64_linux.1", "no size"),
            (&sum, "12", "4.0.5.x86_64_linux.1", "no entry"),
            (&sum, "12", "4.0.6.x86_64_linux", "no entry"),
            (&sum, "12", "4.0.6.arm64_linux.1", "no entry"),
        ] {
            let wrong = index(sha256, size, reference);
            let error = found(&wrong).expect_err("it cannot be used").to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(
            index("x/..", "12", "4.0.6.all")
                .bottles("portable-ruby")
                .is_empty()
        );
    }

    #[test]
    fn what_a_client_would_not_find_is_an_error() {
        let bottle = Bottle {
            formula: "jq".to_owned(),
            version: "1.7".to_owned(),
            rebuild: 0,
            tag: "all".to_owned(),
            sha256: "a".repeat(64),
        };
        let index = |annotations: serde_json::Value| {
            let text = serde_json::json!({"manifests": [{"annotations": annotations}]}).to_string();
            Index::parse(text.as_bytes())
                .expect("an index")
                .size_of(&bottle)
        };
        let whole = serde_json::json!({
            "org.opencontainers.image.ref.name": "1.7.all",
            "sh.brew.bottle.digest": "a".repeat(64),
            "sh.brew.bottle.size": "12",
            "sh.brew.tab": "{}",
        });
        assert_eq!(index(whole.clone()).expect("it is there"), 12);
        for (name, value) in [
            ("org.opencontainers.image.ref.name", "1.7.all.1"),
            ("sh.brew.bottle.digest", "b"),
            ("sh.brew.bottle.size", "0"),
            ("sh.brew.tab", ""),
        ] {
            let mut changed = whole.clone();
            changed[name] = value.into();
            assert!(index(changed).is_err(), "{name}");
        }
        assert!(Index::parse(b"{}").is_err());
    }
}
