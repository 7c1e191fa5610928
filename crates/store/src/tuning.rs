//! How a store behaves, as values that the caller hands in.
//!
//! What must hold: nothing here reads the process environment; a caller takes a snapshot and passes it on.
//!
//! It deliberately knows no setting by its public name: the tools map their variables onto these fields.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Time limits, retries and parallelism of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How long setting up a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer that has begun may stall.
    pub read_timeout: Duration,
    /// How long a request may wait for its answer to begin; a large upload gets more, by its size.
    pub request_timeout: Duration,
    /// How long a store may take to make an object of its parts; it gets more by the object's size, because it may copy them all.
    pub complete_timeout: Duration,
    /// How long one operation may take in all, its retries included.
    pub total_timeout: Duration,
    /// How often a request is sent again after a failure that may pass.
    pub max_retries: usize,
    /// How many requests may be under way at once.
    pub max_connections: usize,
    /// How many objects are written at once.
    pub concurrent_uploads: usize,
    /// How many objects are read at once.
    pub concurrent_downloads: usize,
    /// The pause before the first retry; later ones grow from it, with jitter.
    pub backoff_min: Duration,
    /// The longest pause between two retries.
    pub backoff_max: Duration,
    /// Whether objects are written with a checksum header that the store compares. Some stores refuse it.
    pub checksums: bool,
    /// How the store encrypts what is written with attributes; none leaves it to the bucket's own default.
    pub encryption: Option<Encryption>,
    /// The storage class of what is written with attributes that name none, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
}

/// How a store encrypts objects at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of the store's own (SSE-S3, `AES256`).
    Managed,
    /// With a key of the key service (SSE-KMS); none names the account's default key.
    Kms(Option<String>),
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            complete_timeout: Duration::from_secs(300),
            total_timeout: Duration::from_secs(300),
            max_retries: 5,
            max_connections: 16,
            concurrent_uploads: 4,
            concurrent_downloads: 8,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            checksums: true,
            encryption: None,
            storage_class: None,
        }
    }
}

/// A snapshot of environment variables: `AWS_*`, proxies, certificate files, `HOME`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Returns the value of a variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    #[cfg(feature = "s3")]
    /// Returns the value of the first of several variables that is set and not empty.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    #[cfg(feature = "s3")]
    /// Tells whether a variable says yes: `1`, `true`, `yes` or `on`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "1" | "true" | "yes" | "on"
            )
        })
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Environment {
        Environment(variables)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Environment {
        Environment(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are left out: some of them are secrets.
        f.debug_set().entries(self.0.keys()).finish()
    }
}
