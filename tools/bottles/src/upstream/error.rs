//! What can go wrong with an upstream.

use reqwest::{Response, StatusCode, header};
use std::error::Error;
use std::fmt;
use std::time::Duration;
use url::Url;

/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// What sort of trouble an upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The network: no connection, no name, no TLS, a stall, a body that was cut.
    Network,
    /// It asks for fewer requests.
    Throttled,
    /// It wants credentials, or refuses these.
    Denied,
    /// It is ill, or has no time for this now: the same question may have an answer later.
    Unavailable,
    /// It answered something that makes no sense.
    Server,
}

/// What failed at which address, and why.
#[derive(Debug)]
pub struct UpstreamError {
    kind: UpstreamErrorKind,
    url: String,
    what: String,
    may_pass: bool,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl UpstreamError {
    pub(super) fn transport(url: &Url, error: reqwest::Error) -> UpstreamError {
        let what = match () {
            () if error.is_timeout() => "it did not answer in time",
            () if error.is_connect() => "no connection could be made",
            () if error.is_redirect() => "its redirect was not followed",
            () if error.is_body() || error.is_decode() => "the answer was cut off",
            () => "the request failed",
        };
        UpstreamError {
            may_pass: !error.is_redirect(),
            cause: Some(error.without_url().into()),
            ..UpstreamError::new(UpstreamErrorKind::Network, url, what)
        }
    }

    pub(super) fn status(url: &Url, answer: &Response) -> UpstreamError {
        let status = answer.status();
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => UpstreamErrorKind::Throttled,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamErrorKind::Denied,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => UpstreamErrorKind::Unavailable,
            _ if status.is_server_error() => UpstreamErrorKind::Unavailable,
            _ => UpstreamErrorKind::Server,
        };
        let given = answer.headers().get(header::RETRY_AFTER);
        let seconds = given.and_then(|value| value.to_str().ok()?.parse().ok());
        let passes = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
        ];
        UpstreamError {
            may_pass: status.is_server_error() || passes.contains(&status),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            ..UpstreamError::new(kind, url, format!("it answered {status}"))
        }
    }

    pub(super) fn refused(url: &Url) -> UpstreamError {
        let what = "it wants a token and does not say where to get one";
        UpstreamError::new(UpstreamErrorKind::Denied, url, what)
    }

    pub(super) fn too_large(url: &Url, limit: u64) -> UpstreamError {
        let what =
            format!("it sends more than {limit} bytes where an API file or manifest is expected");
        UpstreamError::new(UpstreamErrorKind::Server, url, what)
    }

    /// A download that cannot go on where it broke.
    pub(super) fn broken(url: &Url, what: impl Into<String>) -> UpstreamError {
        UpstreamError {
            may_pass: true,
            ..UpstreamError::new(UpstreamErrorKind::Network, url, what)
        }
    }

    fn new(kind: UpstreamErrorKind, url: &Url, what: impl Into<String>) -> UpstreamError {
        let mut url = url.clone();
        // An address may hold a password.
        let _ = url.set_password(None);
        url.set_query(None);
        UpstreamError {
            kind,
            url: url.to_string(),
            what: what.into(),
            may_pass: false,
            retry_after: None,
            cause: None,
        }
    }

    /// Returns what sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }

    /// Tells whether the same request may succeed a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// Returns how long the server asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns what a person can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            UpstreamErrorKind::Network => {
                "check the network and the proxy (HTTPS_PROXY), and that the address is right; then run again: what is stored stays"
            }
            UpstreamErrorKind::Throttled => "run again later, or with a smaller --concurrency",
            UpstreamErrorKind::Denied => {
                "for a registry that needs an account, set HOMEBREW_DOCKER_REGISTRY_TOKEN; check that the address is right"
            }
            UpstreamErrorKind::Unavailable => {
                "the server there is ill, or something on the way to it: run again later; what is stored stays"
            }
            UpstreamErrorKind::Server => {
                "run again later; if it stays, check that the address is right"
            }
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.what)
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
