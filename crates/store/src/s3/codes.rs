//! The table from S3's error codes and HTTP statuses to our kinds.
//!
//! What must hold: a code outweighs a status, because servers choose statuses differently.

use crate::error::ErrorKind;
use http::StatusCode;

/// Looks up an error code.
pub(super) fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden"
        | "UnauthorizedAccess" | "InvalidPayer" => ErrorKind::Permission,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "MissingSecurityHeader"
        | "UnrecognizedClientException"
        | "MissingAuthenticationToken" => ErrorKind::Credentials,
        "RequestTimeTooSkewed" | "RequestExpired" => ErrorKind::ClockSkew,
        "NoSuchBucket" => ErrorKind::NoBucket,
        "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" | "NoSuchLifecycleConfiguration" => {
            ErrorKind::NotFound
        }
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "Redirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "InvalidRegion" => ErrorKind::WrongRegion,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "BandwidthLimitExceeded" => ErrorKind::Throttled,
        "InvalidObjectState" | "ObjectNotInActiveTierError" => ErrorKind::Archived,
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "InsufficientStorage"
        | "InsufficientStorageSpace"
        | "StorageQuotaExceeded"
        | "ServiceQuotaExceededException" => ErrorKind::QuotaOrDiskFull,
        "PreconditionFailed" | "ConditionalRequestConflict" | "OperationAborted" => {
            ErrorKind::Precondition
        }
        "NotImplemented" | "MethodNotAllowed" | "XNotImplemented" => ErrorKind::Unsupported,
        "RequestTimeout" => ErrorKind::Timeout,
        "InternalError" | "InternalFailure" => ErrorKind::Connection,
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "IncompleteBody"
        | "InvalidDigest" => ErrorKind::Corrupt,
        _ => return None,
    })
}

/// Decides by the status alone.
pub(super) fn kind_of_status(status: StatusCode, names_object: bool) -> ErrorKind {
    match status.as_u16() {
        301 | 307 | 308 => ErrorKind::WrongRegion,
        401 => ErrorKind::Credentials,
        403 => ErrorKind::Permission,
        404 if names_object => ErrorKind::NotFound,
        404 => ErrorKind::NoBucket,
        405 | 501 => ErrorKind::Unsupported,
        // From 520 on they come from a content network before the store.
        407 | 500 | 502 | 520 | 521 | 523 => ErrorKind::Connection,
        408 | 504 | 522 | 524 => ErrorKind::Timeout,
        409 | 412 => ErrorKind::Precondition,
        429 | 503 => ErrorKind::Throttled,
        507 => ErrorKind::QuotaOrDiskFull,
        _ => ErrorKind::Other,
    }
}
