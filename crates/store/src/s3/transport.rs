//! What can go wrong before a server has answered, as types, and their kinds.
//!
//! What must hold: kinds follow from types and codes alone.

use crate::classify::first;
use crate::error::ErrorKind;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::answer::Answer;
use super::credentials::NoCredentials;

/// A host name that leads nowhere.
#[derive(Debug)]
pub(super) struct NoSuchHost {
    pub(super) host: String,
    pub(super) source: io::Error,
}

impl fmt::Display for NoSuchHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the host name '{}' could not be resolved: {}",
            self.host, self.source
        )
    }
}

impl Error for NoSuchHost {}

/// An answer that did not begin, or did not go on, in time.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) waited: Duration,
    pub(super) has_begun: bool,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.has_begun {
            "the answer stalled for"
        } else {
            "no answer came within"
        };
        write!(f, "{what} {:?}", self.waited)
    }
}

impl Error for NoAnswer {}

/// An answer that says success and is not what S3 answers.
#[derive(Debug)]
pub(super) struct NotS3(pub(super) &'static str);

impl fmt::Display for NotS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is not one that S3 gives: {}", self.0)
    }
}

impl Error for NotS3 {}

/// Finds the kind of an error that came from the HTTP client.
pub(crate) fn transport_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    if let Some(answer) = first::<Answer>(error) {
        return Some(answer.kind());
    }
    if first::<NoCredentials>(error).is_some() {
        return Some(ErrorKind::Credentials);
    }
    if first::<NoSuchHost>(error).is_some() {
        return Some(ErrorKind::Dns);
    }
    if first::<rustls::Error>(error).is_some() {
        return Some(ErrorKind::Tls);
    }
    if first::<NoAnswer>(error).is_some() {
        return Some(ErrorKind::Timeout);
    }
    if first::<NotS3>(error).is_some() || first::<quick_xml::DeError>(error).is_some() {
        return Some(ErrorKind::Corrupt);
    }
    if let Some(error) = first::<reqwest::Error>(error) {
        return Some(if error.is_timeout() {
            ErrorKind::Timeout
        } else {
            ErrorKind::Connection
        });
    }
    None
}

/// Finds more exact words than those for the kind.
pub(crate) fn transport_headline(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = first::<NoSuchHost>(error) {
        return Some(format!("no such host '{}'", error.host));
    }
    if is_without_tls(error) {
        return Some("TLS handshake failed: the server answers without TLS".to_owned());
    }
    if let Some(rustls::Error::InvalidCertificate(why)) = first::<rustls::Error>(error) {
        use rustls::CertificateError as Why;
        let why = match why {
            Why::UnknownIssuer => "certificate signed by unknown authority",
            Why::Expired | Why::ExpiredContext { .. } => "the certificate has expired",
            Why::NotValidYet | Why::NotValidYetContext { .. } => "the certificate is not valid yet",
            Why::NotValidForName | Why::NotValidForNameContext { .. } => {
                "the certificate is for another host name"
            }
            _ => "the certificate is not valid",
        };
        return Some(format!("TLS handshake failed: {why}"));
    }
    first::<NotS3>(error).map(|_| "the answer is not one that S3 gives".to_owned())
}

/// What to do if the server seems to speak TLS where the endpoint says that it does not, or the other way round.
pub(super) fn scheme_remedy(error: &(dyn Error + 'static), endpoint: &str) -> Option<String> {
    if is_without_tls(error) {
        let place = endpoint.strip_prefix("https://")?;
        return Some(format!(
            "if this server speaks no TLS, write endpoint=http://{place} in the store URL; else look which port it speaks TLS on"
        ));
    }
    let place = endpoint.strip_prefix("http://")?;
    let failure = first::<reqwest::Error>(error)?;
    // It was reached, and what it said is no HTTP, or nothing.
    let is_strange = failure.is_request() && !failure.is_connect() && !failure.is_timeout();
    is_strange.then(|| with_tls(place))
}

/// What to do where a server refuses plain HTTP.
pub(super) fn with_tls(place: &str) -> String {
    format!(
        "if this server speaks TLS, write endpoint=https://{place} in the store URL; else check that the service there is the one for S3 requests, and that no proxy is in the way"
    )
}

/// Whether what came in the middle of a handshake is none of TLS: a server that was not asked for any.
fn is_without_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(
        first::<rustls::Error>(error),
        Some(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
        ))
    )
}
