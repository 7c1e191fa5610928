//! What can go wrong with a store, as a closed set of kinds, each with a cause and a remedy.
//!
//! What must hold: `Display` says only what failed and of which kind; `source()` says why. Every error names the operation
//! and, where there is one, the key. No text holds a secret. Every kind has a remedy that a person can act on.
//!
//! It deliberately does not decide the kind: `classify` does that, from codes, statuses and types.

use std::error::Error;
use std::fmt;

/// A boxed error of any type.
pub(crate) type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// What sort of trouble an error is.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum ErrorKind {
    /// There are no credentials, or the store does not know them, or they have expired.
    Credentials,
    /// The store could not be reached, or hung up.
    Connection,
    /// The name of the store's host could not be resolved.
    Dns,
    /// The encrypted connection could not be set up.
    Tls,
    /// There was no answer in time.
    Timeout,
    /// The credentials are good, but do not allow this.
    Permission,
    /// The bucket or folder does not exist.
    NoBucket,
    /// The bucket lives in another region.
    WrongRegion,
    /// The object does not exist.
    NotFound,
    /// The store asks for fewer requests.
    Throttled,
    /// A condition of a write did not hold: somebody else was there first.
    Precondition,
    /// This machine's clock and the store's are too far apart.
    ClockSkew,
    /// The object was moved to cold storage and has to be restored first.
    Archived,
    /// There is no room left.
    QuotaOrDiskFull,
    /// What came back is not what was written.
    Corrupt,
    /// The store, or this build, cannot do that.
    Unsupported,
    /// Something else.
    Other,
}

impl ErrorKind {
    /// Every kind, in the order of the table in the book.
    pub const ALL: [ErrorKind; 17] = [
        ErrorKind::Credentials,
        ErrorKind::Connection,
        ErrorKind::Dns,
        ErrorKind::Tls,
        ErrorKind::Timeout,
        ErrorKind::Permission,
        ErrorKind::NoBucket,
        ErrorKind::WrongRegion,
        ErrorKind::NotFound,
        ErrorKind::Throttled,
        ErrorKind::Precondition,
        ErrorKind::ClockSkew,
        ErrorKind::Archived,
        ErrorKind::QuotaOrDiskFull,
        ErrorKind::Corrupt,
        ErrorKind::Unsupported,
        ErrorKind::Other,
    ];

    /// Returns the stable name used in JSON and in the book.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Credentials => "credentials",
            ErrorKind::Connection => "connection",
            ErrorKind::Dns => "dns",
            ErrorKind::Tls => "tls",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Permission => "permission",
            ErrorKind::NoBucket => "no-bucket",
            ErrorKind::WrongRegion => "wrong-region",
            ErrorKind::NotFound => "not-found",
            ErrorKind::Throttled => "throttled",
            ErrorKind::Precondition => "precondition",
            ErrorKind::ClockSkew => "clock-skew",
            ErrorKind::Archived => "archived",
            ErrorKind::QuotaOrDiskFull => "quota-or-disk-full",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Other => "other",
        }
    }

    /// Tells whether the same request may succeed if it is sent again a little later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Throttled
        )
    }

    /// Says the kind in a few words, where nothing more exact is known.
    fn headline(self) -> &'static str {
        match self {
            ErrorKind::Credentials => "the credentials were refused",
            ErrorKind::Connection => "connection failed",
            ErrorKind::Dns => "the host name could not be resolved",
            ErrorKind::Tls => "TLS handshake failed",
            ErrorKind::Timeout => "timeout waiting for response",
            ErrorKind::Permission => "Access Denied",
            ErrorKind::NoBucket => "the bucket does not exist",
            ErrorKind::WrongRegion => "the bucket is in another region",
            ErrorKind::NotFound => "object not found",
            ErrorKind::Throttled => "the store is throttling requests",
            ErrorKind::Precondition => "somebody else wrote it first",
            ErrorKind::ClockSkew => "the clock of this machine is wrong",
            ErrorKind::Archived => "the object was moved to cold storage",
            ErrorKind::QuotaOrDiskFull => "no space left",
            ErrorKind::Corrupt => "the store returned something other than what was written",
            ErrorKind::Unsupported => "not supported",
            ErrorKind::Other => "failed",
        }
    }

    /// Says what to do, where nothing more exact is known.
    fn remedy(self) -> &'static str {
        match self {
            ErrorKind::Credentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_ROLE_ARN with \
                 AWS_WEB_IDENTITY_TOKEN_FILE, or put access_key and secret_key into the store URL"
            }
            ErrorKind::Connection => {
                "check that the endpoint in the store URL is right, that the service runs, and that no firewall or proxy is in the way"
            }
            ErrorKind::Dns => {
                "check the spelling of the endpoint or region in the store URL, and that this machine is online"
            }
            ErrorKind::Tls => {
                "if the server or a proxy uses a private CA, set AWS_CA_BUNDLE (or SSL_CERT_FILE) to its certificate file"
            }
            ErrorKind::Timeout => {
                "check the network and any proxy; for a slow line raise the timeouts (connect, read and total)"
            }
            ErrorKind::Permission => {
                "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket and s3:GetBucketLocation on the bucket and on its objects, \
                 and check that the bucket name is right"
            }
            ErrorKind::NoBucket => {
                "create the bucket first (aws s3 mb s3://NAME), or correct its name, region or endpoint in the store URL"
            }
            ErrorKind::WrongRegion => {
                "set region= in the store URL (or AWS_DEFAULT_REGION) to the region of the bucket"
            }
            ErrorKind::NotFound => {
                "it was deleted, or has not arrived yet: run the command again; if it stays missing, repair the manifest"
            }
            ErrorKind::Throttled => {
                "wait a minute and run the command again; lower the number of concurrent uploads and downloads if it goes on"
            }
            ErrorKind::Precondition => "run the command again",
            ErrorKind::ClockSkew => {
                "set the clock of this machine (timedatectl status shows whether it is synchronised), then run the command again"
            }
            ErrorKind::Archived => {
                "restore the object (aws s3api restore-object), and take the GLACIER transition out of the bucket's lifecycle rule"
            }
            ErrorKind::QuotaOrDiskFull => {
                "free some space or raise the quota, then run the command again: nothing was lost"
            }
            ErrorKind::Corrupt => "run the command again; if it happens again, verify the store",
            ErrorKind::Unsupported => "use an s3:// or folder: store",
            ErrorKind::Other => "run the command again with debug logging to see every request",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What failed at a store, why, and what to do about it.
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    key: Option<String>,
    headline: Option<String>,
    remedy: Option<String>,
    cause: Option<BoxError>,
}

impl StoreError {
    /// Makes an error from its cause.
    #[must_use]
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        key: Option<&str>,
        cause: impl Into<BoxError>,
    ) -> StoreError {
        let mut error = StoreError::bare(kind, operation, key);
        error.0.cause = Some(cause.into());
        error
    }

    /// Makes an error that has no deeper cause.
    pub(crate) fn bare(kind: ErrorKind, operation: &'static str, key: Option<&str>) -> StoreError {
        let key = key.map(str::to_owned);
        StoreError(Box::new(Inner {
            kind,
            operation,
            key,
            headline: None,
            remedy: None,
            cause: None,
        }))
    }

    /// Corrects the kind.
    #[cfg(feature = "s3")]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> StoreError {
        self.0.kind = kind;
        self
    }

    /// Replaces the words for the kind by more exact ones.
    #[must_use]
    pub fn with_headline(mut self, headline: impl Into<String>) -> StoreError {
        self.0.headline = Some(headline.into());
        self
    }

    /// Replaces the remedy for the kind by a more exact one.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> StoreError {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Returns what sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns what was being done: `open`, `put`, `get`, `list`, `delete` or the name of a request.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.0.operation
    }

    /// Returns the object's key or the file's path, if the operation had one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.0
            .remedy
            .clone()
            .unwrap_or_else(|| self.0.kind.remedy().to_owned())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match inner.operation {
            "open" => f.write_str("could not open the store")?,
            "put" => f.write_str("could not write")?,
            "get" => f.write_str("could not read")?,
            other => write!(f, "could not {other}")?,
        }
        if let Some(key) = inner.key.as_deref().filter(|key| !key.is_empty()) {
            write!(f, " {key}")?;
        }
        write!(
            f,
            ": {}",
            inner
                .headline
                .as_deref()
                .unwrap_or_else(|| inner.kind.headline())
        )
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The cause is shown by its text: the debug form of an HTTP error may hold headers.
        let cause = self.source().map(ToString::to_string);
        f.debug_struct("StoreError")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("key", &self.0.key)
            .field("text", &self.to_string())
            .field("cause", &cause)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .cause
            .as_ref()
            .map(|cause| &**cause as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_words_and_a_remedy() {
        for kind in ErrorKind::ALL {
            let error = StoreError::new(kind, "put", Some("a/b"), std::io::Error::other("why"));
            assert!(
                kind.as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{kind}"
            );
            assert!(
                error.to_string().starts_with("could not write a/b: "),
                "{error}"
            );
            assert!(
                !error.to_string().contains("why"),
                "only the source says why"
            );
            assert_eq!(
                error.source().map(ToString::to_string).as_deref(),
                Some("why")
            );
            assert!(error.remedy().len() > 10);
        }
    }

    #[test]
    fn permission_and_credentials_are_never_retried() {
        for kind in [
            ErrorKind::Permission,
            ErrorKind::Credentials,
            ErrorKind::ClockSkew,
            ErrorKind::WrongRegion,
        ] {
            assert!(!kind.is_retryable(), "{kind}");
        }
        assert!(ErrorKind::Throttled.is_retryable());
    }
}
