//! The settings as `config show` lists them.
//!
//! What must hold: every setting of the table is listed, with its value and where it came from; no secret is.
//!
//! It deliberately lists what other programs' variables say as well, since `AWS_PROFILE` decides as much as ours.

use console::spec::Resolved;
use console::{Env, redact};
use serde::Serialize;

use super::SETTINGS;

/// Variables of others that a store reads, listed only when set.
const FOREIGN: [&str; 24] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_DISABLE_SSL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "RUST_LOG",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Of those, the ones whose value is a secret.
const FOREIGN_SECRETS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// What a value that must not be shown is shown as.
const MASKED: &str = "***";

/// Holds one line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The key in the configuration file, or the variable if it has none.
    pub key: String,
    /// The environment variable.
    pub env: String,
    /// The value in effect, masked if it is secret; none if not set.
    pub value: Option<String>,
    /// Where it came from; none if not set.
    pub origin: Option<String>,
    /// What it does; empty for variables of others.
    pub doc: &'static str,
}

impl Entry {
    /// Lists the variables of others that are set and that a store will read, secrets masked.
    #[must_use]
    pub fn foreign(env: &Env) -> Vec<Entry> {
        let set = FOREIGN
            .iter()
            .filter_map(|name| env.get(name).map(|value| (*name, value)));
        set.map(|(name, value)| Entry {
            key: name.to_string(),
            env: name.to_string(),
            value: Some(if FOREIGN_SECRETS.contains(&name) {
                MASKED.to_string()
            } else {
                redact(value)
            }),
            origin: Some(format!("environment {name}")),
            doc: "",
        })
        .collect()
    }
}

pub(super) fn entries(resolved: &Resolved) -> Vec<Entry> {
    let entry = |spec: &'static console::spec::Spec| {
        let setting = resolved.get(spec.env);
        let shown = |value: String| {
            if spec.secret {
                MASKED.to_string()
            } else {
                redact(&value)
            }
        };
        Entry {
            key: spec.name().to_string(),
            env: spec.env.to_string(),
            value: setting.map(|setting| shown(setting.value.to_string())),
            origin: setting.map(|setting| setting.origin.to_string()),
            doc: spec.doc,
        }
    };
    SETTINGS.iter().map(entry).collect()
}
