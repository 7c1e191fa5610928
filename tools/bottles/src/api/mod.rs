//! Homebrew's API files: what they are called, whether they are Homebrew's, what they say.
//!
//! What must hold: a file is kept and published byte for byte, because clients check its signature; a file that cannot be read
//! whole is an error by name, never a shorter list of formulae.

pub mod formulae;
pub mod jws;
pub mod packages;

use std::collections::BTreeMap;

/// What a formula offers to one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The bottle, if there is one for the platform.
    pub bottle: Option<Bottle>,
    /// The formulae that are installed with it.
    pub dependencies: Vec<String>,
}

/// One bottle: a file that many platforms may share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bottle {
    /// The formula.
    pub formula: String,
    /// Version and revision, such as `1.7.1_1`.
    pub version: String,
    /// How often it was built anew for the same version.
    pub rebuild: u64,
    /// What it was built for: a platform's tag, or `all`.
    pub tag: String,
    /// The SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// What one API file offers, by formula.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The offers, by the formula's name.
    pub offers: BTreeMap<String, Offer>,
    /// Other names of formulae: aliases and earlier names.
    pub aliases: BTreeMap<String, String>,
}

/// An API file does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It is no JSON, or not of the form that is known.
    #[error("it is not of the form that Homebrew's API has")]
    Form(#[source] serde_json::Error),
    /// Its signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] jws::SignatureError),
    /// A value in it cannot be used.
    #[error("formula {formula:?}: {what}")]
    Value {
        /// The formula, as the file names it.
        formula: String,
        /// What is wrong.
        what: String,
    },
}

/// Checks the parts of a bottle that become keys.
fn checked(bottle: Bottle) -> Result<Bottle, ApiError> {
    let wrong = |what: String| {
        let formula = bottle.formula.clone();
        Err(ApiError::Value { formula, what })
    };
    if !crate::names::is_formula(&bottle.formula) {
        return wrong("this is no name that a formula can have".to_owned());
    }
    let tag = crate::names::manifest_tag(&bottle.version, bottle.rebuild);
    if !crate::names::is_tag(&tag) {
        return wrong(format!(
            "its version {tag:?} cannot be the tag of a manifest"
        ));
    }
    if !crate::names::is_tag(&bottle.tag) {
        return wrong(format!("{:?} is no platform's tag", bottle.tag));
    }
    if bottle.sha256.parse::<transfer::Digest>().is_err() {
        return wrong(format!("{:?} is no SHA-256", bottle.sha256));
    }
    Ok(Bottle {
        sha256: bottle.sha256.to_ascii_lowercase(),
        ..bottle
    })
}
