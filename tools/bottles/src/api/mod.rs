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
    /// Formulae whose entries cannot be used, and why.
    pub unusable: BTreeMap<String, String>,
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
}

/// Checks the parts of a bottle that become keys. Nothing, if no client could ask for it: the registry takes no such version, and clients
/// give up at it themselves (`GitHubPackages.image_version_rebuild`).
///
/// # Errors
/// With what is wrong.
pub(crate) fn checked(bottle: Bottle) -> Result<Option<Bottle>, String> {
    if !crate::names::is_formula(&bottle.formula) {
        return Err("this is no name that a formula can have".to_owned());
    }
    if !crate::names::is_tag(&bottle.tag) {
        return Err(format!("{:?} is no platform's tag", bottle.tag));
    }
    if bottle.sha256.parse::<transfer::Digest>().is_err() {
        return Err(format!("{:?} is no SHA-256", bottle.sha256));
    }
    let tag = crate::names::manifest_tag(&bottle.version, bottle.rebuild);
    Ok(crate::names::is_tag(&tag).then(|| Bottle {
        sha256: bottle.sha256.to_ascii_lowercase(),
        ..bottle
    }))
}

impl Catalogue {
    /// Takes a formula in.
    fn add(
        &mut self,
        formula: String,
        bottle: Result<Option<Bottle>, String>,
        dependencies: Vec<String>,
    ) {
        let bottle = bottle.unwrap_or_else(|what| {
            self.unusable.insert(formula.clone(), what);
            None
        });
        self.offers.insert(
            formula,
            Offer {
                bottle,
                dependencies,
            },
        );
    }
}
