//! What the store layer asks of a server, asked of Garage, which overwrites where it was told to create and has no versions. Only
//! `cargo xtask test --garage` runs it.

use bytes::Bytes;
use futures::TryStreamExt;
use store::{
    Attributes, Environment, ErrorKind, Honesty, PermissionCheck, PermissionOutcome, Store,
    StoreUrl, Tuning, Verdict, check_permissions, probe,
};
use testkit::Garage;

fn bare() -> Environment {
    let pairs = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HOME", "/nonexistent"),
    ];
    pairs.into_iter().collect()
}

async fn open(url: &str) -> Store {
    let url: StoreUrl = url.parse().expect("parses");
    Store::open(&url, &Tuning::default(), &bare())
        .await
        .expect("opens")
}

fn content(length: usize) -> Bytes {
    (0..length).map(|n| (n / 3 % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_probe_finds_is_what_it_does() {
    let garage = Garage::start();
    let url = garage.store_url("bucket", "p");
    let store = open(&url).await;
    let report = probe(&store).await;
    assert!(report.is_usable(), "{report:?}");
    assert_eq!(
        report.capabilities.conditional_create,
        Verdict::Lies,
        "{report:?}"
    );
    assert_eq!(report.capabilities.ranges, Verdict::Works);
    let honesty = store.checksum_honesty().await.expect("probes");
    assert_ne!(honesty, Honesty::Ignored, "it compares checksums");
    let parsed = url.parse().expect("parses");
    let checks = check_permissions(&parsed, &Tuning::default(), &bare()).await;
    let is_allowed = |check: &PermissionCheck| check.outcome == PermissionOutcome::Allowed;
    assert!(checks.iter().all(is_allowed), "{checks:?}");
    assert_eq!(store.cold_storage_rules().await.expect("reads"), []);
    let none = store.old_versions("").await.expect_err("it has none");
    assert_eq!(none.kind(), ErrorKind::Unsupported, "{none:?}");
    assert_eq!(store.list("").await.expect("lists"), [], "nothing is left");
    let wrong = open(&url.replace(testkit::garage::SECRET_KEY, "wrong")).await;
    let error = wrong.list("").await.expect_err("a wrong secret");
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error:?}");
    let absent = open(&garage.store_url("absent", "")).await;
    let error = absent.list("").await.expect_err("no bucket");
    assert_eq!(error.kind(), ErrorKind::NoBucket, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_whole_in_part_and_by_their_names() {
    let garage = Garage::start();
    let store = open(&garage.store_url("bucket", "pre/f ix")).await;
    let attributes = Attributes {
        content_type: Some("application/pdf".to_owned()),
        metadata: [("generated-by".to_owned(), "a test".to_owned())].into(),
        storage_class: None,
    };
    for key in ["docs/a b", "docs/\u{e4}\"+%41&=?#.pdf", "docs/empty"] {
        let bytes = content(if key.ends_with("empty") { 0 } else { 1000 });
        let written = store.put_with(key, bytes.clone(), &attributes, None).await;
        written.expect("puts");
        assert_eq!(store.get(key).await.expect("gets"), bytes, "{key}");
        let found = store.head(key).await.expect("looks");
        assert_eq!(found.size, bytes.len() as u64);
        assert_eq!(found.metadata["generated-by"], "a test");
    }
    let part = store.read("docs/a b", Some(10..20)).await.expect("reads");
    let part: Vec<Bytes> = part.try_collect().await.expect("reads");
    assert_eq!(part.concat(), content(1000)[10..20]);
    let keys: Vec<String> = (0..1_005).map(|n| format!("many/{n:04}")).collect();
    for key in &keys {
        let put = store.put(key, Bytes::from_static(b"x")).await;
        put.expect("puts");
    }
    let listed = store.list("many").await.expect("lists");
    assert!(listed.iter().map(|entry| &entry.key).eq(&keys), "all pages");
    store.delete(&keys).await.expect("deletes");
    assert_eq!(store.list("many").await.expect("lists"), []);
    let error = store.get("many/0000").await.expect_err("is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_made_of_parts_or_given_up() {
    let garage = Garage::start();
    let store = open(&garage.store_url("bucket", "")).await;
    let bytes = content((5 << 20) + 1000);
    let nothing = Attributes::default();
    let upload = store.multipart("large/one", &nothing).await;
    let upload = upload.expect("begins");
    for (number, part) in bytes.chunks(5 << 20).enumerate() {
        let part = upload.put_part(number, Bytes::copy_from_slice(part), None);
        part.await.expect("puts");
    }
    let written = upload.complete().await.expect("is made");
    assert!(!written.in_doubt);
    assert_eq!(store.get("large/one").await.expect("gets"), bytes);
    let open = store.multipart("large/open", &nothing).await;
    let id = open.expect("begins").id().to_owned();
    let left = store.abandoned_uploads("large").await.expect("lists");
    assert_eq!(left.len(), 1, "{left:?}");
    for _ in 0..2 {
        let aborted = store.abort_upload("large/open", &id).await;
        aborted.expect("one that is gone is passed over");
    }
    assert_eq!(store.abandoned_uploads("").await.expect("lists"), []);
}
