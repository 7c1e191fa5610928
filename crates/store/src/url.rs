//! Store URLs: `folder:/path`, `s3://bucket/prefix?...`, `gs://`, `az://` and `memory:`.
//!
//! What must hold: parsing names the part that is wrong and what was meant; what parses is printed so that it parses to the
//! same URL again; no `Display`, `Debug` or error text ever contains a secret.
//!
//! It deliberately opens nothing and reads no environment: defaults are filled in where the store is opened.

mod error;
mod parse;
mod query;
mod secrets;
#[cfg(test)]
mod tests;

pub use error::UrlError;
pub use secrets::UrlSecrets;

#[cfg(feature = "s3")]
pub(crate) use parse::check_endpoint;
use parse::{parse_bucket, parse_file, parse_folder};
pub(crate) use query::encode;
use std::fmt;
#[cfg(feature = "s3")]
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a store lives.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder of a file system.
    Folder,
    /// A bucket that speaks S3.
    S3,
    /// The memory of this process: for tests.
    Memory,
    /// A Google Cloud Storage bucket.
    Gcs,
    /// An Azure container.
    Azure,
}

/// A parsed store URL.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    kind: StoreKind,
    folder: PathBuf,
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
    profile: Option<String>,
    secrets: Option<UrlSecrets>,
    ends_in_ampersand: bool,
}

impl StoreUrl {
    /// Makes the URL of a folder.
    #[must_use]
    pub fn from_folder(folder: impl Into<PathBuf>) -> StoreUrl {
        StoreUrl {
            folder: folder.into(),
            ..StoreUrl::empty(StoreKind::Folder)
        }
    }

    fn empty(kind: StoreKind) -> StoreUrl {
        StoreUrl {
            kind,
            folder: PathBuf::new(),
            bucket: String::new(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: None,
            profile: None,
            secrets: None,
            ends_in_ampersand: false,
        }
    }

    /// Returns where the store lives.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Returns the URL without secrets, as a configuration file keeps it.
    #[must_use]
    pub fn to_config_string(&self) -> String {
        self.render(None)
    }

    /// Returns the keys that stood in the URL.
    #[must_use]
    pub fn secrets(&self) -> Option<UrlSecrets> {
        self.secrets.clone()
    }

    /// Puts keys that are kept elsewhere back into the URL.
    #[must_use]
    pub fn with_secrets(self, secrets: UrlSecrets) -> StoreUrl {
        StoreUrl {
            secrets: Some(secrets),
            ..self
        }
    }

    /// Returns the bucket or container.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        (!self.bucket.is_empty()).then_some(self.bucket.as_str())
    }

    /// Returns the prefix within the bucket, without slashes around it; empty if there is none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the folder as it was written; it may begin with `~`.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        (self.kind == StoreKind::Folder).then_some(self.folder.as_path())
    }

    /// Replaces a leading `~` of a folder by the home directory.
    #[must_use]
    pub fn expand_home(mut self, home: &Path) -> StoreUrl {
        if let Ok(rest) = self.folder.strip_prefix("~") {
            self.folder = home.join(rest);
        }
        self
    }

    /// Returns the region that stands in the URL.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Returns the profile that stands in the URL.
    #[must_use]
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Returns the endpoint as it was written.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Returns whether the URL asks for the bucket in the path (true) or in the host name (false).
    #[must_use]
    pub fn path_style(&self) -> Option<bool> {
        self.path_style
    }

    /// Returns the name of the host that the URL alone leads to, without a port.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match (self.kind, &self.endpoint, &self.region) {
            (StoreKind::S3, Some(endpoint), _) => Some(endpoint_host(endpoint).to_owned()),
            (StoreKind::S3, None, Some(region)) => {
                Some(format!("{}.s3.{region}.amazonaws.com", self.bucket))
            }
            (StoreKind::S3, None, None) => Some(format!("{}.s3.amazonaws.com", self.bucket)),
            (StoreKind::Gcs, ..) => Some("storage.googleapis.com".to_owned()),
            _ => None,
        }
    }

    /// Tells whether both URLs lead to the same objects, whatever keys, profile or addressing they name.
    #[must_use]
    pub fn same_place(&self, other: &StoreUrl) -> bool {
        let endpoint = |url: &StoreUrl| {
            url.endpoint
                .as_deref()
                .map(|endpoint| endpoint_place(endpoint).to_ascii_lowercase())
        };
        let folder = |url: &StoreUrl| url.folder.components().collect::<PathBuf>();
        self.kind == other.kind
            && self.bucket == other.bucket
            && self.prefix == other.prefix
            && endpoint(self) == endpoint(other)
            && folder(self) == folder(other)
    }

    /// Tells whether a shell may have cut the URL at an unquoted `&`: an endpoint alone, or a dangling `&`.
    #[must_use]
    pub fn looks_cut_at_ampersand(&self) -> bool {
        let endpoint_alone = self.endpoint.is_some()
            && self.region.is_none()
            && self.path_style.is_none()
            && self.profile.is_none();
        self.kind == StoreKind::S3
            && self.secrets.is_none()
            && (endpoint_alone || self.ends_in_ampersand)
    }

    /// Returns the whole URL in quotes as it should be typed, with placeholders for what is missing.
    #[must_use]
    pub fn quoted_example(&self) -> String {
        if self.kind != StoreKind::S3 {
            return format!("\"{}\"", self.to_config_string());
        }
        let mut whole = self.clone();
        if whole.endpoint.is_some() && whole.path_style.is_none() {
            whole.path_style = Some(true);
        }
        format!(
            "\"{}\"",
            whole.render(Some(("ACCESS_KEY", "SECRET_KEY", None)))
        )
    }

    /// Writes the URL with the given words in place of the secrets.
    fn render(&self, secrets: Option<(&str, &str, Option<&str>)>) -> String {
        match self.kind {
            StoreKind::Folder => return format!("folder:{}", self.folder.display()),
            StoreKind::Memory => return "memory:".to_owned(),
            StoreKind::S3 | StoreKind::Gcs | StoreKind::Azure => {}
        }
        let mut text = format!("{}://{}", scheme(self.kind), self.bucket);
        if !self.prefix.is_empty() {
            text.push('/');
            text.push_str(&encode(&self.prefix));
        }
        let (access_key, secret_key, session_token) = match secrets {
            Some((access, secret, token)) => (Some(access), Some(secret), token),
            None => (None, None, None),
        };
        let pairs = [
            ("region", self.region.as_deref()),
            ("endpoint", self.endpoint.as_deref()),
            (
                "path_style",
                self.path_style
                    .map(|yes| if yes { "true" } else { "false" }),
            ),
            ("profile", self.profile.as_deref()),
            ("access_key", access_key),
            ("secret_key", secret_key),
            ("session_token", session_token),
        ];
        let mut sign = '?';
        for (name, value) in pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
        {
            text.push(sign);
            text.push_str(name);
            text.push('=');
            text.push_str(&encode(value));
            sign = '&';
        }
        text
    }

    /// Writes the URL with its secrets, for a test of the round trip.
    #[cfg(test)]
    fn with_secrets_in_clear(&self) -> String {
        match &self.secrets {
            Some(secrets) => self.render(Some((
                secrets.access_key(),
                secrets.secret_key(),
                secrets.session_token(),
            ))),
            None => self.render(None),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = self
            .secrets
            .as_ref()
            .map(|secrets| ("***", "***", secrets.session_token().map(|_| "***")));
        f.write_str(&self.render(masked))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<StoreUrl, UrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlError::new(
                "the store URL is empty",
                "write s3://BUCKET/PREFIX?region=REGION or folder:/PATH",
            ));
        }
        if text.starts_with('/') || text == "~" || text.starts_with("~/") {
            return parse_folder(text);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(UrlError::no_scheme(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "folder" | "dir" => parse_folder(rest),
            "file" => parse_file(rest),
            "memory" | "mem" => Ok(StoreUrl::empty(StoreKind::Memory)),
            "s3" => parse_bucket(StoreKind::S3, rest),
            "gs" | "gcs" => parse_bucket(StoreKind::Gcs, rest),
            "az" | "azure" => parse_bucket(StoreKind::Azure, rest),
            other => Err(UrlError::unknown_scheme(other)),
        }
    }
}

fn scheme(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Folder => "folder",
        StoreKind::S3 => "s3",
        StoreKind::Memory => "memory",
        StoreKind::Gcs => "gs",
        StoreKind::Azure => "az",
    }
}

/// Cuts the scheme and the last slashes off an endpoint.
pub(crate) fn endpoint_place(endpoint: &str) -> &str {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, place)| place)
        .trim_end_matches('/')
}

/// Returns the host of an endpoint, without brackets or port.
pub(crate) fn endpoint_host(endpoint: &str) -> &str {
    let authority = endpoint_place(endpoint)
        .split('/')
        .next()
        .unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Tells whether a host is this machine itself.
#[cfg(feature = "s3")]
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(feature = "s3")]
/// Tells whether buckets cannot be sub-domains of a host: it is this machine, or an IP address.
pub(crate) fn wants_path_style(host: &str) -> bool {
    is_loopback(host) || host.parse::<IpAddr>().is_ok()
}
