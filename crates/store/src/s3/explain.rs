//! Puts a refusal into words: what it means here and what to do.
//!
//! What must hold: the words are those that the guides' readers search for; the remedy names the bucket, region or setting
//! at hand.

use super::answer::Answer;
use super::settings::Settings;
use super::transport;
use crate::error::{ErrorKind, StoreError};
use http::StatusCode;

pub(super) fn error(
    operation: &'static str,
    key: Option<&str>,
    answer: Answer,
    settings: &Settings,
) -> StoreError {
    let kind = answer.kind();
    let headline = match kind {
        ErrorKind::Unsupported => Some(unsupported(operation, &answer)),
        kind => headline(kind, &answer, settings),
    };
    let remedy = remedy(kind, &answer, settings);
    let mut error = StoreError::new(kind, operation, key, answer);
    if let Some(headline) = headline {
        error = error.with_headline(headline);
    }
    if let Some(remedy) = remedy {
        error = error.with_remedy(remedy);
    }
    error
}

fn headline(kind: ErrorKind, answer: &Answer, settings: &Settings) -> Option<String> {
    let bucket = &settings.bucket;
    Some(match kind {
        ErrorKind::Permission => format!("Access Denied ({})", answer.status),
        ErrorKind::Credentials => match answer.meaning() {
            Some("InvalidAccessKeyId" | "InvalidClientTokenId") => {
                "the store does not know the access key (403 Forbidden)".to_owned()
            }
            Some("SignatureDoesNotMatch") => {
                "the secret key does not match the access key (403 Forbidden)".to_owned()
            }
            Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
                "the temporary credentials have expired".to_owned()
            }
            Some("InvalidToken") => "the session token is not valid".to_owned(),
            _ => return None,
        },
        ErrorKind::NoBucket => format!("the bucket '{bucket}' does not exist"),
        ErrorKind::WrongRegion => match &answer.region {
            Some(region) => format!(
                "the bucket '{bucket}' is in {region}, not in {}",
                settings.region
            ),
            None => format!("the bucket '{bucket}' is not in {}", settings.region),
        },
        ErrorKind::NotFound => format!("object not found ({})", answer.status),
        ErrorKind::ClockSkew => format!("the clock of this machine {}", skew(answer)),
        ErrorKind::Throttled => format!("the store is throttling requests ({})", answer.status),
        ErrorKind::Connection if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "the proxy asks for a password".to_owned()
        }
        ErrorKind::Connection => format!("the store failed ({})", answer.status),
        _ => return None,
    })
}

fn remedy(kind: ErrorKind, answer: &Answer, settings: &Settings) -> Option<String> {
    let bucket = &settings.bucket;
    Some(match kind {
        ErrorKind::WrongRegion => match &answer.region {
            Some(region) => format!("set region={region} in the store URL, or AWS_DEFAULT_REGION={region}"),
            None => format!("find the region with: aws s3api get-bucket-location --bucket {bucket}; then set region= in the store URL"),
        },
        ErrorKind::NoBucket if settings.is_aws => {
            format!("create it (aws s3 mb s3://{bucket} --region {}), or correct its name in the store URL", settings.region)
        }
        ErrorKind::NoBucket => format!("create it (mc mb ALIAS/{bucket}), or correct its name or the endpoint in the store URL"),
        ErrorKind::Credentials => match answer.meaning() {
            Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken") => {
                "get new temporary credentials (aws sso login, or assume the role again), then run the command again".to_owned()
            }
            _ => "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or access_key and secret_key in the store URL".to_owned(),
        },
        ErrorKind::Connection if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "put user and password into HTTPS_PROXY, or list the store's host in NO_PROXY".to_owned()
        }
        ErrorKind::Connection => "the trouble is on the server's side: run the command again later, and look at the server's log".to_owned(),
        ErrorKind::Unsupported => "check that the endpoint in the store URL is the one for S3 requests, not that of a web console or a proxy that lets only some through; if it is, update the server or use another: it has to know PUT, GET, LIST and DELETE of whole objects".to_owned(),
        ErrorKind::Precondition => return None,
        _ => return plain_http(answer, settings),
    })
}

/// Servers with TLS refuse plain HTTP in words of their own, and not as S3 does.
fn plain_http(answer: &Answer, settings: &Settings) -> Option<String> {
    let place = settings.endpoint.strip_prefix("http://")?;
    let is_bare = answer.status == StatusCode::BAD_REQUEST && answer.code.is_none();
    is_bare.then(|| transport::with_tls(place))
}

/// What the server says it cannot do. Its own words, which may name a header, are the cause below.
fn unsupported(operation: &str, answer: &Answer) -> String {
    let request = match operation {
        "put" => "writing objects (PUT)",
        "get" => "reading objects (GET)",
        "look at" => "looking at objects (HEAD)",
        "list" => "listing objects (ListObjectsV2)",
        "delete" => "deleting objects (DELETE)",
        // The text before says it.
        _ => {
            return format!(
                "the server does not support this request ({})",
                answer.status
            );
        }
    };
    format!("the server does not support {request} ({})", answer.status)
}

fn skew(answer: &Answer) -> String {
    let Some(ahead) = answer.clock_ahead.filter(|ahead| ahead.unsigned_abs() > 60) else {
        return "and that of the store are too far apart".to_owned();
    };
    let gap = ahead.unsigned_abs();
    let (hours, minutes) = (gap / 3600, gap % 3600 / 60);
    let gap = match hours {
        0 => format!("{minutes} min"),
        1..48 => format!("{hours} h {minutes} min"),
        _ => format!("{} days", hours / 24),
    };
    format!(
        "is {gap} {} the store's",
        if ahead > 0 { "ahead of" } else { "behind" }
    )
}
