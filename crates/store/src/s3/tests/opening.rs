//! What is missing or wrong before a server has answered anything.

use super::responder::{Reply, Responder};
use super::{bare, chain, open, quick};
use crate::{Environment, ErrorKind, Tuning};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_port_where_nobody_listens_refuses_soon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let url = format!("s3://bucket?endpoint={address}&access_key=a&secret_key=b");
    let store = open(
        &url,
        &Tuning {
            max_retries: 50,
            ..quick()
        },
        &bare(),
    )
    .await
    .expect("opens");
    let error = store.list("").await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Connection, "{}", chain(&error));
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(store.usage().lists <= 3, "{:?}", store.usage());
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_named() {
    let url = "s3://bucket?endpoint=http://no-such-host.invalid:9000&access_key=a&secret_key=b&path_style=true";
    let error = open(url, &quick(), &bare())
        .await
        .expect("opens")
        .list("")
        .await
        .expect_err("no such host");
    assert_eq!(error.kind(), ErrorKind::Dns, "{}", chain(&error));
    assert!(
        error
            .to_string()
            .contains("no such host 'no-such-host.invalid'"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_tls_fails_the_handshake() {
    let server = Responder::start(|_, _| Reply::ok("")).await;
    let url = format!(
        "s3://bucket?endpoint=https://{}&access_key=a&secret_key=b",
        server.address()
    );
    let error = open(&url, &quick(), &bare())
        .await
        .expect("opens")
        .list("")
        .await;
    let error = error.expect_err("it speaks no TLS");
    assert!(
        matches!(error.kind(), ErrorKind::Tls | ErrorKind::Timeout),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn without_credentials_it_says_so_within_two_seconds() {
    // The metadata service is looked for, as on any laptop, and nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let nobody = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let pairs = [
        ("HOME", "/nonexistent"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", nobody.as_str()),
    ];
    let env: Environment = pairs.into_iter().collect();
    let start = Instant::now();
    let error = open("s3://bucket?region=us-east-1", &Tuning::default(), &env)
        .await
        .expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
    assert!(
        error.to_string().contains("Unable to locate credentials"),
        "{error}"
    );
    assert!(
        chain(&error).contains("no credential providers"),
        "{}",
        chain(&error)
    );
    for way in [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "store URL",
    ] {
        assert!(error.remedy().contains(way), "{}", error.remedy());
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    let half: Environment = [("AWS_ACCESS_KEY_ID", "a")].into_iter().collect();
    let error = open("s3://bucket?region=us-east-1", &quick(), &half)
        .await
        .expect_err("half a pair");
    assert!(
        chain(&error).contains("AWS_SECRET_ACCESS_KEY is not"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_metadata_service_that_is_silent_costs_less_than_two_seconds() {
    let silent = Responder::start(|_, _| Reply::Silence).await;
    let endpoint = format!("http://{}", silent.address());
    let env: Environment = [
        ("HOME", "/nonexistent"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint),
    ]
    .into_iter()
    .collect();
    let start = Instant::now();
    let error = open("s3://bucket?region=us-east-1", &Tuning::default(), &env)
        .await
        .expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert!(!silent.asked().is_empty(), "it was asked");
}

#[tokio::test]
async fn a_region_that_nobody_names_is_asked_for() {
    let error = open("s3://bucket?access_key=a&secret_key=b", &quick(), &bare())
        .await
        .expect_err("no region");
    assert_eq!(error.kind(), ErrorKind::WrongRegion);
    assert!(
        error.remedy().contains("region=us-west-2"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = dir.path().join("ca.pem");
    let env: Environment = [("AWS_CA_BUNDLE", path.to_str().expect("is UTF-8"))]
        .into_iter()
        .collect();
    let url = "s3://bucket?region=r&access_key=a&secret_key=b";
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&path, content).expect("writes");
        }
        let error = open(url, &quick(), &env)
            .await
            .expect_err("is no certificate");
        assert_eq!((error.kind(), error.key()), (ErrorKind::Tls, path.to_str()));
        assert!(
            error.remedy().contains("AWS_CA_BUNDLE"),
            "{}",
            error.remedy()
        );
    }
}

#[tokio::test]
async fn gs_and_az_parse_but_say_what_to_use_instead() {
    for (url, remedy) in [
        ("gs://bucket", "storage.googleapis.com"),
        ("az://container", "s3://"),
    ] {
        let error = open(url, &quick(), &bare())
            .await
            .expect_err("not built in");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
    }
}
