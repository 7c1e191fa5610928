//! Every way in which a server can refuse a request, fail it, or break off.

use super::responder::{Reply, Responder};
use super::{bare, chain, open, open_at, quick};
use crate::{ErrorKind, Tuning};
use bytes::Bytes;
use std::time::{Duration, Instant, SystemTime};

/// Status, code, and what comes of it: kind, words, remedy.
const REFUSALS: [(u16, &str, ErrorKind, &str, &str); 13] = [
    (
        403,
        "AccessDenied",
        ErrorKind::Permission,
        "Access Denied (403 Forbidden)",
        "s3:GetObject",
    ),
    (
        403,
        "InvalidAccessKeyId",
        ErrorKind::Credentials,
        "does not know the access key",
        "AWS_ACCESS_KEY_ID",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        ErrorKind::Credentials,
        "secret key does not match",
        "AWS_SECRET_ACCESS_KEY",
    ),
    (
        400,
        "ExpiredToken",
        ErrorKind::Credentials,
        "expired",
        "aws sso login",
    ),
    (
        404,
        "NoSuchBucket",
        ErrorKind::NoBucket,
        "the bucket 'bucket' does not exist",
        "create it",
    ),
    (
        404,
        "NoSuchKey",
        ErrorKind::NotFound,
        "object not found (404 Not Found)",
        "repair",
    ),
    (
        403,
        "InvalidObjectState",
        ErrorKind::Archived,
        "cold storage",
        "restore-object",
    ),
    (
        403,
        "QuotaExceeded",
        ErrorKind::QuotaOrDiskFull,
        "no space left",
        "free some space",
    ),
    (
        507,
        "XMinioStorageFull",
        ErrorKind::QuotaOrDiskFull,
        "no space left",
        "free some space",
    ),
    (
        501,
        "NotImplemented",
        ErrorKind::Unsupported,
        "does not support reading objects (GET) (501 Not Implemented)",
        "PUT, GET, LIST and DELETE",
    ),
    (
        412,
        "PreconditionFailed",
        ErrorKind::Precondition,
        "somebody else",
        "again",
    ),
    (
        400,
        "AuthorizationHeaderMalformed",
        ErrorKind::WrongRegion,
        "is not in us-east-1",
        "get-bucket-location",
    ),
    (
        403,
        "RequestTimeTooSkewed",
        ErrorKind::ClockSkew,
        "too far apart",
        "timedatectl",
    ),
];

/// Gets an object from a server that always answers the same; checks the kind, the words, the remedy and the number of requests.
async fn check_get(
    reply: impl Fn() -> Reply + Send + Sync + 'static,
    kind: ErrorKind,
    words: &str,
    remedy: &str,
    requests: usize,
) {
    let server = Responder::start(move |_, _| reply()).await;
    let store = open_at(&server).await;
    let error = store.get("some/key").await.expect_err(words);
    assert_eq!(error.kind(), kind, "{}", chain(&error));
    assert!(
        chain(&error).contains(words),
        "{words:?} not in {}",
        chain(&error)
    );
    assert!(
        error.remedy().contains(remedy),
        "{remedy:?} not in {}",
        error.remedy()
    );
    assert!(
        error.to_string().starts_with("could not read some/key: "),
        "{error}"
    );
    assert_eq!(server.asked().len(), requests, "{}", chain(&error));
    assert_eq!(store.usage().gets, requests as u64);
    assert_eq!(store.usage().retries, requests as u64 - 1);
    for secret in ["SECRETKEY", "Signature="] {
        assert!(
            !format!("{} {error:?}", chain(&error)).contains(secret),
            "{error:?}"
        );
    }
}

/// Garage says everything about keys with one code, as a run against it has shown.
#[tokio::test]
async fn keys_that_are_told_of_in_words_are_credentials() {
    for (message, kind, words) in [
        (
            "Forbidden: No such key: GK00",
            ErrorKind::Credentials,
            "does not know the access key",
        ),
        (
            "Forbidden: Invalid signature",
            ErrorKind::Credentials,
            "secret key does not match",
        ),
        (
            "Forbidden: Operation is not allowed for this key.",
            ErrorKind::Permission,
            "Access Denied (403 Forbidden)",
        ),
    ] {
        let body = format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
        let remedy = match kind {
            ErrorKind::Credentials => "AWS_ACCESS_KEY_ID",
            _ => "s3:GetObject",
        };
        let reply = move || Reply::Answer(403, vec![], body.clone().into_bytes());
        check_get(reply, kind, words, remedy, 1).await;
    }
}

#[tokio::test]
async fn refusals_have_kinds_words_and_remedies_and_are_not_repeated() {
    for (status, code, kind, words, remedy) in REFUSALS {
        check_get(move || Reply::error(status, code), kind, words, remedy, 1).await;
    }
}

#[tokio::test]
async fn what_may_pass_is_repeated_as_often_as_allowed() {
    use ErrorKind as Kind;
    check_get(
        || Reply::error(503, "SlowDown"),
        Kind::Throttled,
        "throttling requests (503",
        "wait a minute",
        3,
    )
    .await;
    check_get(
        || Reply::error(429, "TooManyRequests"),
        Kind::Throttled,
        "throttling",
        "wait",
        3,
    )
    .await;
    check_get(
        || Reply::error(500, "InternalError"),
        Kind::Connection,
        "the store failed (500",
        "server's",
        3,
    )
    .await;
    check_get(
        || Reply::error(400, "RequestTimeout"),
        Kind::Timeout,
        "timeout",
        "timeouts",
        3,
    )
    .await;
    check_get(
        || Reply::HangUp,
        Kind::Connection,
        "connection",
        "endpoint",
        3,
    )
    .await;
    check_get(
        || Reply::Silence,
        Kind::Timeout,
        "timeout waiting for response | no answer came within 300ms",
        "timeouts",
        3,
    )
    .await;
}

#[tokio::test]
async fn statuses_without_a_code_are_understood() {
    use ErrorKind as Kind;
    let bare = |status: u16| move || Reply::Answer(status, vec![], b"<html>not S3".to_vec());
    check_get(
        bare(403),
        Kind::Permission,
        "Access Denied (403 Forbidden)",
        "s3:ListBucket",
        1,
    )
    .await;
    check_get(
        bare(401),
        Kind::Credentials,
        "credentials were refused",
        "AWS_ACCESS_KEY_ID",
        1,
    )
    .await;
    check_get(bare(404), Kind::NotFound, "object not found", "", 1).await;
    check_get(
        bare(407),
        Kind::Connection,
        "the proxy asks for a password",
        "NO_PROXY",
        1,
    )
    .await;
    check_get(bare(418), Kind::Other, "418", "", 1).await;
}

#[tokio::test]
async fn a_bucket_elsewhere_is_named_with_its_region() {
    let redirect =
        || Reply::error(301, "PermanentRedirect").with("x-amz-bucket-region: eu-central-1");
    check_get(
        redirect,
        ErrorKind::WrongRegion,
        "is in eu-central-1, not in us-east-1",
        "region=eu-central-1",
        1,
    )
    .await;
    let malformed = || {
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>ap-south-1</Region></Error>";
        Reply::Answer(400, vec![], body.as_bytes().to_vec())
    };
    check_get(
        malformed,
        ErrorKind::WrongRegion,
        "is in ap-south-1",
        "AWS_DEFAULT_REGION=ap-south-1",
        1,
    )
    .await;
}

#[tokio::test]
async fn a_wrong_clock_is_measured_also_where_the_server_calls_it_otherwise() {
    let date = |seconds: i64| {
        let now = SystemTime::now();
        let there = if seconds < 0 {
            now - Duration::from_secs(seconds.unsigned_abs())
        } else {
            now + Duration::from_secs(seconds.unsigned_abs())
        };
        format!("Date: {}", httpdate::fmt_http_date(there))
    };
    let behind = date(2 * 3600 + 5 * 60 + 30);
    check_get(
        move || Reply::error(403, "RequestTimeTooSkewed").with(&behind),
        ErrorKind::ClockSkew,
        "is 2 h 5 min behind the store's",
        "timedatectl",
        1,
    )
    .await;
    let ahead = date(-40 * 60 - 30);
    check_get(
        move || Reply::error(403, "AccessDenied").with(&ahead),
        ErrorKind::ClockSkew,
        "is 40 min ahead of the store's",
        "timedatectl",
        1,
    )
    .await;
    let right = date(0);
    check_get(
        move || Reply::error(403, "AccessDenied").with(&right),
        ErrorKind::Permission,
        "Access Denied",
        "",
        1,
    )
    .await;
}

#[tokio::test]
async fn a_cut_or_stalled_body_is_never_taken_for_whole() {
    // The library asks for the rest; a server that sends something else instead ends it.
    check_get(
        || Reply::Cut(b"half".to_vec(), 10),
        ErrorKind::Connection,
        "connection",
        "",
        2,
    )
    .await;
    check_get(
        || Reply::Stall(b"half".to_vec(), 10),
        ErrorKind::Timeout,
        "timeout waiting for response",
        "timeouts",
        2,
    )
    .await;
}

#[tokio::test]
async fn after_a_passing_failure_the_operation_succeeds() {
    let server = Responder::start(|_, before| {
        if before == 0 {
            Reply::error(503, "SlowDown")
        } else {
            Reply::ok("bytes")
        }
    })
    .await;
    let store = open_at(&server).await;
    assert_eq!(store.get("key").await.expect("reads"), "bytes");
    store
        .put("key", Bytes::from_static(b"12345"))
        .await
        .expect("writes");
    let usage = store.usage();
    assert_eq!(
        (usage.gets, usage.puts, usage.retries, usage.bytes_up),
        (2, 1, 1, 5)
    );
    assert_eq!(usage.requests(), server.asked().len() as u64);
}

#[tokio::test]
async fn all_retries_together_end_with_the_total_timeout() {
    let server = Responder::start(|_, _| Reply::Silence).await;
    let tuning = Tuning {
        total_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_secs(60),
        ..quick()
    };
    let store = open(&server.url("bucket"), &tuning, &bare())
        .await
        .expect("opens");
    let start = Instant::now();
    let error = store.get("key").await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        chain(&error).contains("total timeout of 500ms"),
        "{}",
        chain(&error)
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    let server = Responder::start(|_, _| Reply::error(503, "SlowDown")).await;
    let tuning = Tuning {
        max_retries: 1_000_000,
        ..tuning
    };
    let store = open(&server.url("bucket"), &tuning, &bare())
        .await
        .expect("opens");
    let error = store.get("key").await.expect_err("always too busy");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{}", chain(&error));
}
