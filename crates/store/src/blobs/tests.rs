//! Tests of what bulk copying needs of a store, on a folder, in memory and (with the feature) on a real S3 server.

use super::*;
use crate::{StoreUrl, Tuning};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use std::sync::Arc;

/// Parts of S3 are at least so large, but for the last.
const PART: usize = 5 << 20;

fn content(length: usize) -> Bytes {
    (0..length).map(|n| (n / 3 % 251) as u8).collect()
}

async fn folder(dir: &tempfile::TempDir) -> Store {
    let url = StoreUrl::from_folder(dir.path().join("store"));
    let env = crate::Environment::default();
    let opened = Store::open(&url, &Tuning::default(), &env).await;
    opened.expect("opens")
}

async fn read_all(
    store: &Store,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, StoreError> {
    let parts: Vec<Bytes> = store.read(key, range).await?.try_collect().await?;
    Ok(parts.concat())
}

/// Everything that holds for every store.
async fn check_contract(store: &Store) {
    let attributes = Attributes {
        content_type: Some("application/pdf".to_owned()),
        metadata: [("generated-by".to_owned(), "a test".to_owned())].into(),
        storage_class: None,
    };
    for key in ["docs/a b", "docs/\u{e4}\"+%41&=?#.pdf", "docs/notes.bak"] {
        let bytes = content(1000);
        let written = store.put_with(key, bytes.clone(), &attributes, None).await;
        written.expect("puts");
        assert_eq!(store.get(key).await.expect("gets"), bytes, "{key}");
        assert_eq!(read_all(store, key, None).await.expect("reads"), bytes);
        let range = read_all(store, key, Some(10..20)).await;
        assert_eq!(range.expect("reads"), bytes[10..20]);
        assert_eq!(store.head(key).await.expect("looks").size, 1000);
    }
    let listed: Vec<Entry> = store
        .list_stream("docs")
        .try_collect()
        .await
        .expect("lists");
    assert_eq!(listed.len(), 3, "nothing is left out: {listed:?}");
    for missing in ["docs/missing", "nowhere/at/all"] {
        let error = store.head(missing).await.expect_err("is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        let error = store.read(missing, None).await.err().expect("is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    check_parts(store, &attributes).await;
}

async fn check_parts(store: &Store, attributes: &Attributes) {
    let whole = content(2 * PART + 77);
    let upload = store
        .multipart("large/file", attributes)
        .await
        .expect("begins");
    for number in 0..3 {
        let part = whole.slice(number * PART..whole.len().min((number + 1) * PART));
        upload.put_part(number, part, None).await.expect("puts");
    }
    let error = store.head("large/file").await.expect_err("is not complete");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    upload.complete().await.expect("completes");
    assert_eq!(
        read_all(store, "large/file", None).await.expect("reads"),
        whole
    );
    let upload = store
        .multipart("large/other", attributes)
        .await
        .expect("begins");
    upload
        .put_part(0, whole.slice(..PART), None)
        .await
        .expect("puts");
    upload.abort().await.expect("aborts");
    let error = store.head("large/other").await.expect_err("was given up");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("scratch");
    let store = folder(&dir).await;
    check_contract(&store).await;
    let honesty = store.checksum_honesty().await.expect("probes");
    assert_eq!(honesty, Honesty::Ignored);
    assert_eq!(store.abandoned_uploads("").await.expect("lists"), []);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("store/large"))
        .expect("lists")
        .collect();
    assert_eq!(
        left.len(),
        1,
        "an upload that was given up leaves nothing: {left:?}"
    );
}

#[tokio::test]
async fn a_plain_folder_holds_nothing_but_its_files() {
    let dir = tempfile::tempdir().expect("scratch");
    let store = Store::plain_folder(dir.path());
    check_contract(&store).await;
    let names = std::fs::read_dir(dir.path()).expect("lists");
    let mut names: Vec<_> = names
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["docs", "large"]);
}

#[tokio::test]
async fn nothing_is_changed_behind_a_link_that_leads_out_of_a_plain_folder() {
    let dir = tempfile::tempdir().expect("scratch");
    let at = |name: &str| dir.path().join(name);
    for name in ["root/in", "outside"] {
        std::fs::create_dir_all(at(name)).expect("makes");
    }
    std::os::unix::fs::symlink(at("outside"), at("root/link")).expect("links");
    std::os::unix::fs::symlink("in", at("root/within")).expect("links");
    std::fs::write(at("outside/x"), "a file of somebody").expect("writes");
    let store = Store::plain_folder(&at("root"));
    let keys = ["link/x".to_owned()];
    let error = store.delete(&keys).await.expect_err("is outside");
    assert_eq!(error.kind(), ErrorKind::Permission);
    let error = store.put("link/new", content(3)).await;
    assert_eq!(error.expect_err("is outside").kind(), ErrorKind::Permission);
    assert!(at("outside/x").exists() && !at("outside/new").exists());
    store.put("within/x", content(3)).await.expect("is inside");
    store.delete(&["within/x".to_owned()]).await.expect("goes");
    let trusting = Store::plain_folder_with_links(&at("root"));
    trusting.delete(&keys).await.expect("is trusted");
    assert!(!at("outside/x").exists());
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let store = Store::from_object_store(Arc::new(InMemory::new()), "pre/fix");
    check_contract(&store).await;
    let found = store.head("docs/a b").await.expect("looks");
    assert_eq!(found.content_type.as_deref(), Some("application/pdf"));
    assert_eq!(found.metadata["generated-by"], "a test");
}

#[tokio::test]
async fn a_store_without_parts_gets_the_object_whole() {
    let faulty = testkit::FaultyStore::new(1, testkit::Faults::none());
    let store = Store::from_object_store(Arc::new(faulty), "");
    check_contract(&store).await;
    let faults = testkit::Faults {
        cut_read: 1000,
        ..testkit::Faults::none()
    };
    let cutting = testkit::FaultyStore::new(1, faults);
    let store = Store::from_object_store(Arc::new(cutting), "");
    store.put("key", content(1000)).await.expect("puts");
    let error = read_all(&store, "key", None).await.expect_err("was cut");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use crate::{Encryption, Environment};
    use testkit::{Moto, Rule, S3Server, ScriptedProxy};

    async fn open(url: &str, tuning: &Tuning) -> Store {
        let url: StoreUrl = url.parse().expect("parses");
        let opened = Store::open(&url, tuning, &Environment::default()).await;
        opened.expect("opens")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_real_server_keeps_the_contract() {
        let server = S3Server::start();
        for prefix in ["", "pre/f ix"] {
            let store = open(&server.store_url("bucket", prefix), &Tuning::default()).await;
            check_contract(&store).await;
            let found = store.head("docs/a b").await.expect("looks");
            assert_eq!(found.content_type.as_deref(), Some("application/pdf"));
            assert_eq!(found.metadata["generated-by"], "a test");
            assert_eq!(store.usage().retries, 0);
        }
        let plain = Tuning {
            checksums: false,
            ..Tuning::default()
        };
        let store = open(&server.store_url("bucket", "plain"), &plain).await;
        check_contract(&store).await;
        let honesty = store.checksum_honesty().await.expect("probes");
        assert_eq!(honesty, Honesty::Refused);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn moto_keeps_the_contract() {
        let moto = Moto::start();
        moto.create_bucket("bucket");
        let store = open(&moto.store_url("bucket", "pre"), &Tuning::default()).await;
        check_contract(&store).await;
        let found = store.head("docs/a b").await.expect("looks");
        assert_eq!(found.metadata["generated-by"], "a test");
        let upload = store.multipart("large/open", &Attributes::default()).await;
        let upload = upload.expect("begins");
        let open = store.abandoned_uploads("large").await.expect("lists");
        let expected = AbandonedUpload {
            key: "large/open".to_owned(),
            id: upload.id().to_owned(),
        };
        assert_eq!(open, [expected]);
        for _ in 0..2 {
            let aborted = store.abort_upload("large/open", upload.id()).await;
            aborted.expect("one that is gone is passed over");
        }
        assert_eq!(store.abandoned_uploads("").await.expect("lists"), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_probe_tells_who_compares_checksums() {
        let server = S3Server::start();
        let store = open(&server.store_url("bucket", ""), &Tuning::default()).await;
        let found = store.checksum_honesty().await.expect("probes");
        assert_eq!(found, Honesty::OnlyWhole, "this server takes any part");
        assert_eq!(store.list("").await.expect("lists"), []);
        let moto = Moto::start();
        moto.create_bucket("bucket");
        let store = open(&moto.store_url("bucket", ""), &Tuning::default()).await;
        let found = store.checksum_honesty().await.expect("probes");
        assert_eq!(found, Honesty::Ignored);
        assert_eq!(store.list("").await.expect("lists"), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_checksum_that_is_compared_stands_for_the_body_and_only_then() {
        let server = S3Server::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        let store = open(&proxy.store_url("bucket", ""), &Tuning::default()).await;
        let put = async |key: &str| {
            proxy.forget_requests();
            let (bytes, nothing) = (Bytes::from_static(b"bytes"), Attributes::default());
            store
                .put_with(key, bytes, &nothing, None)
                .await
                .expect("puts");
            let seen = proxy.requests().pop().expect("a request");
            let mut headers = seen.headers.into_iter();
            headers
                .find(|(name, _)| name == "x-amz-content-sha256")
                .map(|(_, value)| value)
        };
        let before = put("before").await.expect("a header");
        assert_ne!(before, "UNSIGNED-PAYLOAD", "nobody knows yet");
        store.checksum_honesty().await.expect("probes");
        assert_eq!(put("after").await.as_deref(), Some("UNSIGNED-PAYLOAD"));
        let (bytes, nothing) = (Bytes::from_static(b"other bytes"), Attributes::default());
        let damaged = store
            .put_with("damaged", bytes, &nothing, Some([7; 32]))
            .await;
        damaged.expect_err("what arrives damaged is refused all the same");
        let upload = store.multipart("parts", &nothing).await.expect("begins");
        proxy.forget_requests();
        let part = upload.put_part(0, Bytes::from_static(b"part"), None).await;
        part.expect("puts");
        let seen = proxy.requests().pop().expect("a request");
        assert!(
            seen.headers
                .iter()
                .all(|(_, value)| value != "UNSIGNED-PAYLOAD"),
            "of parts it is not known"
        );
        upload.abort().await.expect("aborts");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_compares_only_where_the_body_is_signed_gets_signed_bodies() {
        let server = S3Server::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        // It takes any checksum as long as the body is not signed.
        let taken = testkit::proxy::http::Message::answer(200, "text/plain", "");
        let blind = testkit::Rule::new(testkit::Action::Respond(taken));
        proxy.add(
            blind
                .method("PUT")
                .header("x-amz-content-sha256", "UNSIGNED"),
        );
        let store = open(&proxy.store_url("bucket", ""), &Tuning::default()).await;
        store.checksum_honesty().await.expect("probes");
        proxy.forget_requests();
        let (bytes, nothing) = (Bytes::from_static(b"bytes"), Attributes::default());
        let put = store.put_with("key", bytes, &nothing, None).await;
        put.expect("puts");
        let seen = proxy.requests().pop().expect("a request");
        let mut values = seen.headers.iter().map(|(_, value)| value);
        assert!(values.all(|value| value != "UNSIGNED-PAYLOAD"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn headers_say_how_objects_are_kept() {
        let server = S3Server::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        let tuning = Tuning {
            encryption: Some(Encryption::Kms(Some("key-1".to_owned()))),
            storage_class: Some("STANDARD_IA".to_owned()),
            max_retries: 0,
            ..Tuning::default()
        };
        let store = open(&proxy.store_url("bucket", ""), &tuning).await;
        // The server may refuse what it cannot do; what matters here is what it was asked.
        let _ = store
            .put_with("key", content(9), &Attributes::default(), None)
            .await;
        let requests = proxy.requests();
        let put = requests.last().expect("a request");
        for (name, value) in [
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
            ("x-amz-storage-class", "STANDARD_IA"),
        ] {
            assert_eq!(header(put, name), Some(value), "{put:?}");
        }
        assert!(header(put, "x-amz-checksum-sha256").is_some());
    }

    fn header<'a>(seen: &'a testkit::Seen, name: &str) -> Option<&'a str> {
        let mut headers = seen.headers.iter();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn throttling_is_waited_for_and_counted() {
        let server = S3Server::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        let quick = Tuning {
            backoff_min: std::time::Duration::from_millis(1),
            max_retries: 3,
            ..Tuning::default()
        };
        let store = open(&proxy.store_url("bucket", ""), &quick).await;
        proxy.add(Rule::slow_down().method("PUT").times(2));
        let written = store
            .put_with("key", content(9), &Attributes::default(), None)
            .await;
        written.expect("puts at last");
        let usage = store.usage();
        assert_eq!((usage.puts, usage.retries, usage.throttled), (3, 2, 2));
        proxy.add(Rule::s3_error(403, "AccessDenied", "no").method("PUT"));
        let error = store
            .put_with("key", content(9), &Attributes::default(), None)
            .await;
        let error = error.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Permission, "{error:?}");
        assert_eq!(store.usage().puts, 4, "a refusal is not sent again");
    }
}
