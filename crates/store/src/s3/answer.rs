//! What a server said when it refused a request.
//!
//! What must hold: every part comes from a status, a header or an XML element; nothing of the request (keys, signatures)
//! gets in.
//!
//! It deliberately keeps no body: codes and messages are enough.

use super::codes;
use super::xml;
use crate::error::ErrorKind;
use http::{HeaderMap, StatusCode};
use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Clocks further apart than this make S3 refuse a signature.
pub(super) const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(super) status: StatusCode,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// The region where the bucket really is.
    pub(super) region: Option<String>,
    /// How far this machine's clock is ahead of the server's (positive) or behind it (negative), in seconds.
    pub(super) clock_ahead: Option<i64>,
    pub(super) request_id: Option<String>,
    /// Whether the request named an object.
    pub(super) names_object: bool,
}

impl Answer {
    /// Reads a refusal.
    pub(super) fn read(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        names_object: bool,
    ) -> Answer {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let leaves = xml::leaves(body).unwrap_or_default();
        // Most servers send <Error> as the root; IAM and STS put it into an <ErrorResponse>; a bulk delete sends one per key.
        let find = |name: &str| {
            let roots = ["Error", "ErrorResponse/Error", "DeleteResult/Error"];
            roots
                .iter()
                .find_map(|root| xml::text(&leaves, &format!("{root}/{name}")))
                .map(str::to_owned)
        };
        Answer {
            status,
            code: find("Code")
                .or_else(|| header("x-amz-error-code"))
                .or_else(|| header("x-minio-error-code")),
            message: find("Message").or_else(|| header("x-amz-error-message")),
            region: header("x-amz-bucket-region").or_else(|| find("Region")),
            clock_ahead: header("date").as_deref().and_then(clock_ahead),
            request_id: header("x-amz-request-id").or_else(|| find("RequestId")),
            names_object,
        }
    }

    /// Returns the code that S3 has for what is meant. Garage gives one code to whatever has to do with keys, and tells in words.
    pub(super) fn meaning(&self) -> Option<&str> {
        let code = self.code.as_deref()?;
        let message = self.message.as_deref().unwrap_or_default();
        Some(match code {
            "AccessDenied" if message.contains("Invalid signature") => "SignatureDoesNotMatch",
            "AccessDenied" if message.contains("No such key: ") => "InvalidAccessKeyId",
            code => code,
        })
    }

    /// Returns the kind of trouble that it is.
    pub(crate) fn kind(&self) -> ErrorKind {
        let kind = self
            .meaning()
            .and_then(codes::kind_of_code)
            .unwrap_or_else(|| codes::kind_of_status(self.status, self.names_object));
        let is_skewed = self
            .clock_ahead
            .is_some_and(|ahead| ahead.unsigned_abs() > SKEW_MAX.as_secs());
        // Some servers call an expired signature a wrong one, or simply deny access.
        match kind {
            ErrorKind::Permission | ErrorKind::Credentials
                if is_skewed && self.status == StatusCode::FORBIDDEN =>
            {
                ErrorKind::ClockSkew
            }
            kind => kind,
        }
    }

    /// Tells whether a code means that the same request may work a little later.
    pub(super) fn is_temporary(&self) -> bool {
        let by_code = matches!(
            self.code.as_deref(),
            Some("InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout")
        );
        by_code || self.kind().is_retryable()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

impl Error for Answer {}

fn clock_ahead(date: &str) -> Option<i64> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let seconds = |gap: Duration| i64::try_from(gap.as_secs()).ok();
    match SystemTime::now().duration_since(theirs) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).map(|gap| -gap),
    }
}
