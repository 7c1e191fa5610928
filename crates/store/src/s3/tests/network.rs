//! TLS, proxies and roles, against a real S3 server behind a proxy that speaks for the whole of AWS.

use super::{chain, open, quick};
use crate::{Environment, ErrorKind, Store, StoreError, Tuning, check_round_trip};
use bytes::Bytes;
use testkit::proxy::http::Message;
use testkit::{Action, Rule, S3Options, S3Server, ScriptedProxy};

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .copied()
        .chain([
            ("HOME", "/nonexistent"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ])
        .collect()
}

async fn open_at(url: &str, pairs: &[(&str, &str)]) -> Result<Store, StoreError> {
    open(
        url,
        &Tuning {
            max_retries: 1,
            ..Tuning::default()
        },
        &env(pairs),
    )
    .await
}

/// A server that the world knows as `s3.us-west-2.amazonaws.com`, and the variables that lead there.
struct Aws {
    server: S3Server,
    proxy: ScriptedProxy,
    ca: String,
}

impl Aws {
    fn start() -> Aws {
        let domain = Some("s3.us-west-2.amazonaws.com".to_owned());
        let server = S3Server::with(S3Options {
            domain,
            ..S3Options::default()
        })
        .expect("starts");
        let proxy = ScriptedProxy::in_front_of(server.address());
        let ca = proxy.ca_pem_path().to_str().expect("is UTF-8").to_owned();
        Aws { server, proxy, ca }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused_until_it_is_named() {
    let server = S3Server::start();
    let proxy = ScriptedProxy::with_tls(server.address());
    let url = proxy.store_url("bucket", "p");
    let store = open_at(&url, &[]).await.expect("opens");
    let error = store.list("").await.expect_err("nobody vouches for it");
    assert_eq!(error.kind(), ErrorKind::Tls, "{}", chain(&error));
    assert!(
        error
            .to_string()
            .contains("TLS handshake failed: certificate signed by unknown authority"),
        "{error}"
    );
    assert!(
        error.remedy().contains("AWS_CA_BUNDLE"),
        "{}",
        error.remedy()
    );
    assert_eq!(
        store.usage().requests(),
        1,
        "a certificate does not get better by asking again"
    );
    // Switching TLS off for endpoints without a scheme never switches certificate checks off.
    let error = open_at(&url, &[("AWS_DISABLE_SSL", "true")])
        .await
        .expect("opens")
        .list("")
        .await
        .expect_err("still");
    assert_eq!(error.kind(), ErrorKind::Tls);
    let ca = proxy.ca_pem_path().to_str().expect("is UTF-8");
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let store = open_at(&url, &[(variable, ca)]).await.expect("opens");
        check_round_trip(&store)
            .await
            .expect("it is vouched for now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_the_server_does_not_speak_is_named() {
    let server = S3Server::start();
    let plain = server.store_url("bucket", "p");
    let with_tls = plain.replace("endpoint=http://", "endpoint=https://");
    assert_ne!(plain, with_tls, "{plain}");
    let error = open_at(&with_tls, &[]).await.expect("opens");
    let error = error.list("").await.expect_err("it speaks no TLS");
    assert_eq!(error.kind(), ErrorKind::Tls, "{}", chain(&error));
    assert!(
        error.to_string().contains("the server answers without TLS"),
        "{}",
        chain(&error)
    );
    let place = server.address().to_string();
    let says = format!("endpoint=http://{place}");
    assert!(error.remedy().contains(&says), "{}", error.remedy());

    let proxy = ScriptedProxy::with_tls(server.address());
    let url = proxy.store_url("bucket", "p");
    let without = url.replace("https://", "http://");
    assert_ne!(url, without, "{url}");
    let error = open_at(&without, &[]).await.expect("opens");
    let error = error.list("").await.expect_err("it speaks nothing but TLS");
    let says = format!("endpoint=https://{}", proxy.address());
    assert!(error.remedy().contains(&says), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_itself_is_reached_through_a_proxy() {
    let aws = Aws::start();
    let (address, key, secret) = (
        aws.proxy.endpoint(),
        aws.server.access_key(),
        aws.server.secret_key(),
    );
    let pairs = [
        ("HTTPS_PROXY", address.as_str()),
        ("AWS_CA_BUNDLE", &aws.ca),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let store = open_at("s3://bucket/p?region=us-west-2", &pairs)
        .await
        .expect("opens");
    check_round_trip(&store).await.expect("works");
    let seen = aws.proxy.requests();
    assert!(seen.iter().any(|seen| seen.method == "PUT"), "{seen:?}");
    // Without the proxy the name leads elsewhere, or nowhere; so an exception shows that it is not asked.
    aws.proxy.forget_requests();
    let local = aws.server.store_url("bucket", "p");
    let through = open_at(&local, &[("HTTP_PROXY", &address)])
        .await
        .expect("opens");
    check_round_trip(&through).await.expect("works");
    assert_eq!(
        aws.proxy
            .requests()
            .iter()
            .filter(|seen| seen.method == "PUT")
            .count(),
        1
    );
    aws.proxy.forget_requests();
    let around = open_at(
        &local,
        &[
            ("HTTP_PROXY", &address),
            ("NO_PROXY", "localhost,127.0.0.1"),
        ],
    )
    .await
    .expect("opens");
    check_round_trip(&around).await.expect("works");
    assert!(aws.proxy.requests().is_empty());
}

fn role_answer(key: &str, secret: &str) -> Message {
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>token</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    Message::answer(200, "text/xml", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_with_a_web_identity() {
    let aws = Aws::start();
    let answer = role_answer(aws.server.access_key(), aws.server.secret_key());
    aws.proxy.add(
        Rule::new(Action::Respond(answer))
            .method("POST")
            .header("host", "sts.")
            .times(1),
    );
    let dir = tempfile::tempdir().expect("scratch");
    let token = dir.path().join("token");
    std::fs::write(&token, "a.b.c").expect("writes");
    let address = aws.proxy.endpoint();
    let pairs = [
        ("HTTPS_PROXY", address.as_str()),
        ("AWS_CA_BUNDLE", &aws.ca),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/HxSyncRole"),
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            token.to_str().expect("is UTF-8"),
        ),
    ];
    let store = open_at("s3://bucket/p?region=us-west-2", &pairs)
        .await
        .expect("opens");
    store
        .put("key", Bytes::from_static(b"x"))
        .await
        .expect("writes with the role's keys");
    let seen = aws.proxy.requests();
    let put = seen
        .iter()
        .find(|seen| seen.method == "PUT")
        .expect("was seen");
    assert!(put.headers.iter().any(
        |(name, value)| name.eq_ignore_ascii_case("x-amz-security-token") && value == "token"
    ));

    aws.proxy.add(
        Rule::s3_error(
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        )
        .method("POST"),
    );
    let error = open_at("s3://bucket/p?region=us-west-2", &pairs)
        .await
        .expect_err("the role refuses");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
    assert!(
        error.remedy().contains("AWS_ROLE_ARN"),
        "{}",
        error.remedy()
    );
    std::fs::remove_file(&token).expect("removes");
    let error = open_at("s3://bucket/p?region=us-west-2", &pairs)
        .await
        .expect_err("the token is gone");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_repeated_and_counted() {
    let server = S3Server::start();
    let proxy = ScriptedProxy::in_front_of(server.address());
    let store = open_at(&proxy.store_url("bucket", "p"), &[])
        .await
        .expect("opens");
    proxy.add(Rule::new(Action::DropAfter).method("PUT").times(1));
    store
        .put("key", Bytes::from_static(b"bytes"))
        .await
        .expect("the second is answered");
    assert_eq!((store.usage().puts, store.usage().retries), (2, 1));
    proxy.clear();
    proxy.add(Rule::new(Action::CutBody(2)).method("GET").times(1));
    assert_eq!(
        store.get("key").await.expect("the rest is fetched"),
        "bytes"
    );
    assert_eq!((store.usage().gets, store.usage().retries), (2, 2));
    proxy.clear();
    proxy.forget_requests();
    proxy.add(Rule::new(Action::DropAfter).method("POST").times(1));
    store
        .delete(&["key".into()])
        .await
        .expect("deleting again is fine");
    assert_eq!(proxy.requests().len() as u64, 2, "{:?}", proxy.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_bad_proxy_address_hides_its_password() {
    let pairs = [("HTTPS_PROXY", "htp//user:hush@proxy:1:2")];
    let error = open(
        " s3://bucket?region=r&access_key=a&secret_key=b",
        &quick(),
        &env(&pairs),
    )
    .await;
    let error = match error {
        Err(error) => error,
        Ok(store) => store.list("").await.expect_err("no such proxy"),
    };
    assert!(!chain(&error).contains("hush"), "{}", chain(&error));
}
