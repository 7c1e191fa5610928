//! The whole way against a real S3 server on loopback, with every source of credentials that needs no cloud.

use super::{bare, chain, open, quick};
use crate::{
    Environment, ErrorKind, PermissionOutcome, Store, Tuning, Verdict, check_permissions,
    check_round_trip, probe,
};
use bytes::Bytes;
use testkit::{Moto, S3Server};

fn patient() -> Tuning {
    // The machine that runs the tests may be busy.
    Tuning {
        max_retries: 5,
        ..Tuning::default()
    }
}

async fn open_real(server: &S3Server, prefix: &str) -> Store {
    open(&server.store_url("bucket", prefix), &patient(), &bare())
        .await
        .expect("opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_read_listed_and_deleted() {
    let server = S3Server::start();
    let store = open_real(&server, "pre/fix").await;
    let keys: Vec<String> = (0..7).map(|n| format!("a/b/{n}")).collect();
    for key in &keys {
        store
            .put(key, Bytes::from(key.clone()))
            .await
            .expect("puts");
    }
    let listed = store.list("a/b").await.expect("lists");
    assert_eq!(
        listed.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
        keys.iter().collect::<Vec<_>>()
    );
    assert!(listed.iter().all(|entry| entry.size == 5));
    assert_eq!(store.get("a/b/3").await.expect("gets"), "a/b/3");
    assert_eq!(
        store.get("a/b/9").await.expect_err("is absent").kind(),
        ErrorKind::NotFound
    );
    let other = open_real(&server, "").await;
    assert_eq!(
        other.list("pre/fix").await.expect("lists").len(),
        7,
        "the prefix is real"
    );
    store.delete(&keys).await.expect("deletes");
    assert_eq!(store.list("").await.expect("lists"), []);
    let usage = store.usage();
    assert_eq!(
        (usage.puts, usage.gets, usage.lists, usage.deletes),
        (7, 2, 2, 1),
        "one request deletes all"
    );
    assert_eq!(usage.retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_sees_through_a_server_that_lets_many_win() {
    let server = S3Server::start();
    let store = open_real(&server, "p").await;
    let trip = check_round_trip(&store).await.expect("works");
    assert!(
        trip.put_ms > 0.0 && store.usage().requests() == 4,
        "{:?}",
        store.usage()
    );
    let report = probe(&store).await;
    assert!(report.is_usable(), "{report:?}");
    assert_eq!(report.capabilities.ranges, Verdict::Works);
    assert_eq!(report.capabilities.list_after_write, Verdict::Works);
    assert_ne!(
        report.capabilities.conditional_create,
        Verdict::Refused,
        "{report:?}"
    );
    assert_eq!(store.list("").await.expect("lists"), [], "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_permissions_are_there() {
    let server = S3Server::start();
    let url = server.store_url("bucket", "p").parse().expect("parses");
    let checks = check_permissions(&url, &patient(), &bare()).await;
    assert!(
        checks
            .iter()
            .all(|check| check.outcome == PermissionOutcome::Allowed),
        "{checks:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_missing_buckets_are_told_apart() {
    let server = S3Server::start();
    let wrong = server
        .store_url("bucket", "")
        .replace(server.secret_key(), "wrong");
    let error = open(&wrong, &patient(), &bare())
        .await
        .expect("opens")
        .list("")
        .await
        .expect_err("wrong secret");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
    let absent = open(&server.store_url("absent", ""), &patient(), &bare())
        .await
        .expect("opens");
    let error = absent.list("").await.expect_err("no bucket");
    assert_eq!(error.kind(), ErrorKind::NoBucket, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_endpoint_may_come_from_the_environment_or_a_profile() {
    let server = S3Server::start();
    let env: Environment = server.aws_env().into_iter().collect();
    let store = open("s3://bucket/env", &patient(), &env)
        .await
        .expect("opens");
    check_round_trip(&store).await.expect("works");

    let home = tempfile::tempdir().expect("scratch");
    std::fs::create_dir(home.path().join(".aws")).expect("makes");
    let credentials = format!(
        "[hx]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        server.access_key(),
        server.secret_key()
    );
    std::fs::write(home.path().join(".aws/credentials"), credentials).expect("writes");
    std::fs::write(
        home.path().join(".aws/config"),
        "[profile hx]\nregion = us-east-1\n",
    )
    .expect("writes");
    let home = home.path().to_str().expect("is UTF-8");
    let endpoint = format!("s3://bucket/profile?endpoint={}", server.endpoint());
    let by_name: Environment = [
        ("HOME", home),
        ("AWS_PROFILE", "hx"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .into_iter()
    .collect();
    let store = open(&endpoint, &patient(), &by_name).await.expect("opens");
    check_round_trip(&store).await.expect("works");
    let by_url: Environment = [
        ("HOME", home),
        ("AWS_ACCESS_KEY_ID", "other"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
    ]
    .into_iter()
    .collect();
    let store = open(&format!("{endpoint}&profile=hx"), &patient(), &by_url)
        .await
        .expect("opens");
    check_round_trip(&store)
        .await
        .expect("the profile in the URL outweighs keys in the environment");
    let error = open(&format!("{endpoint}&profile=absent"), &quick(), &by_name)
        .await
        .expect_err("no such profile");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{}", chain(&error));
    assert!(
        chain(&error).contains("profile 'absent'"),
        "{}",
        chain(&error)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_shows_versions_rules_and_archived_objects() {
    let moto = Moto::start();
    let store = open(&moto.store_url("bucket", "p"), &patient(), &bare())
        .await
        .expect("opens");
    check_round_trip(&store).await.expect("works");
    let ask = |method: &str, target: &str, body: &str| {
        let answer = moto.ask(method, target, body).expect("moto answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    ask(
        "PUT",
        "/bucket?versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    );
    for text in ["one", "two", "three"] {
        store.put("key", Bytes::from(text)).await.expect("puts");
    }
    assert_eq!(store.old_versions("").await.expect("counts"), 2);
    store.delete(&["key".into()]).await.expect("deletes");
    assert!(
        store.old_versions("").await.expect("counts") >= 3,
        "a delete marker hides all three"
    );

    assert_eq!(store.cold_storage_rules().await.expect("reads"), []);
    let rule = "<LifecycleConfiguration><Rule><ID>hx-history-lifecycle</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
                <Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>\
                <Transition><Days>90</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>";
    ask("PUT", "/bucket?lifecycle", rule);
    let rules = store.cold_storage_rules().await.expect("reads");
    assert_eq!(
        (rules.len(), rules[0].days, rules[0].storage_class.as_str()),
        (1, Some(90), "GLACIER")
    );
}
