//! What is wrong with a store URL, and how to write it.
//!
//! What must hold: no text repeats a value that may be a secret.

use std::error::Error;
use std::fmt;

/// A store URL that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    what: String,
    remedy: String,
}

impl UrlError {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> UrlError {
        UrlError {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn no_scheme(text: &str) -> UrlError {
        // Only what cannot be a key is repeated.
        let name = text.split(['?', '@', '&', '=']).next().unwrap_or_default();
        UrlError::new(
            format!(
                "'{}' is no store URL: it begins with no scheme",
                name.escape_debug()
            ),
            "write s3://BUCKET/PREFIX?region=REGION for a bucket or folder:/PATH for a folder",
        )
    }

    pub(super) fn unknown_scheme(scheme: &str) -> UrlError {
        let remedy = match scheme {
            "http" | "https" => "write s3://BUCKET/PREFIX?endpoint=HOST:PORT in quotes",
            _ => match nearest(scheme, &["folder", "file", "s3", "gs", "az", "memory"]) {
                Some(meant) => {
                    return UrlError::new(
                        format!("'{scheme}:' is no kind of store"),
                        format!("did you mean '{meant}:'?"),
                    );
                }
                None => "write s3://BUCKET/PREFIX?region=REGION or folder:/PATH",
            },
        };
        UrlError::new(format!("'{scheme}:' is no kind of store"), remedy)
    }

    /// Returns what to write instead.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for UrlError {}

/// Finds the name that a mistyped one most likely means.
pub(super) fn nearest<'a>(typed: &str, names: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}
