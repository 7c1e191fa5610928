//! The keys that may stand in a store URL.
//!
//! What must hold: neither `Debug` nor any error shows them; only the accessors do.

use super::error::UrlError;
use super::query::Query;
use std::fmt;

/// An access key with its secret, and perhaps a session token.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlSecrets {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

impl UrlSecrets {
    /// Puts keys together that were kept elsewhere.
    #[must_use]
    pub fn new(
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        session_token: Option<String>,
    ) -> UrlSecrets {
        UrlSecrets {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            session_token,
        }
    }

    pub(super) fn from_query(query: &mut Query) -> Result<Option<UrlSecrets>, UrlError> {
        let missing = |name: &str, other: &str| {
            let remedy =
                format!("give both {other} and {name}, with the whole URL in quotes, or neither");
            Err(UrlError::new(format!("{name} is missing"), remedy))
        };
        let session_token = query.take("session_token");
        match (query.take("access_key"), query.take("secret_key")) {
            (Some(access_key), Some(secret_key)) => Ok(Some(UrlSecrets {
                access_key,
                secret_key,
                session_token,
            })),
            (Some(_), None) => missing("secret_key", "access_key"),
            (None, Some(_)) => missing("access_key", "secret_key"),
            (None, None) if session_token.is_some() => missing("access_key", "secret_key"),
            (None, None) => Ok(None),
        }
    }

    /// Returns the access key.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Returns the secret key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Returns the session token of temporary keys.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }
}

impl fmt::Debug for UrlSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSecrets(***)")
    }
}
