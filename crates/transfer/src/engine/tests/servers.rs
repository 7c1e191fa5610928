//! Real servers: one that is honest about whole objects, one that takes any checksum, and a proxy that makes trouble.

use super::*;
use store::{Environment, StoreUrl, Tuning};
use testkit::{Action, Gate, Moto, Rule, S3Server, ScriptedProxy};

pub(super) async fn open(url: &str) -> Store {
    open_with(url, Tuning::default()).await
}

async fn open_with(url: &str, tuning: Tuning) -> Store {
    let url: StoreUrl = url.parse().expect("parses");
    let tuning = Tuning {
        backoff_min: Duration::from_millis(1),
        max_retries: 2,
        ..tuning
    };
    let opened = Store::open(&url, &tuning, &Environment::default()).await;
    opened.expect("opens")
}

/// A world whose documents go through a proxy to a real server.
pub(super) async fn proxied(n: usize) -> (World, ScriptedProxy, S3Server) {
    let server = S3Server::start();
    let proxy = ScriptedProxy::in_front_of(server.address());
    let world = World::with(open(&proxy.store_url("bucket", "pre")).await, n);
    (world, proxy, server)
}

fn add_large(world: &mut World) -> Vec<u8> {
    world.limits.multipart_threshold = 1 << 20;
    let content: Vec<u8> = (0..13_000_000_u32).map(|n| (n / 5 % 251) as u8).collect();
    let blob = world.blob("document", "large", &content);
    world.rows.set("large", &blob.source);
    let context = serde_json::json!({"old": blob.source, "new": "s3://documents/large"});
    world.items.push(Item {
        id: "large".to_owned(),
        blobs: vec![blob],
        context,
    });
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_with_as_few_requests_as_can_be() {
    let (world, proxy, _server) = proxied(30).await;
    let start = world.picture().await;
    proxy.forget_requests();
    let report = world.run().await.expect("runs");
    assert!(report.is_clean() && report.committed == 30, "{report:?}");
    let counts = proxy.counts();
    // 40 blobs, 9 pieces of the journal, 5 requests of the probe that write, 2 of the question whether something is written over.
    assert_eq!(counts["PUT"], 40 + 9 + 5 + 2, "{counts:?}");
    assert!(
        !counts.contains_key("GET") && !counts.contains_key("HEAD"),
        "{counts:?}"
    );
    proxy.forget_requests();
    world.rollback().await.expect("rolls back");
    assert_eq!(proxy.counts()["DELETE objects"], 1);
    assert_eq!(world.picture().await, start);
}

/// Files of which two are read so slowly that somebody puts another object under their keys meanwhile.
struct Slow(Files, Store);

#[async_trait]
impl Source for Slow {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        if ["documents/document-4", "documents/large"].contains(&&blob.key[..]) {
            let put = self.1.put(&blob.key, "by hand".into()).await;
            put.expect("puts");
        }
        self.0.open(blob, whole_max, piece).await
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        self.0.digest(blob).await
    }

    async fn restore(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
        body: stream::BoxStream<'static, Result<Bytes, store::StoreError>>,
    ) -> Result<(), SourceError> {
        self.0.restore(blob, stored, body).await
    }

    async fn remove(&self, blob: &Blob, equal: &StoredBlob) -> Result<Removal, SourceError> {
        self.0.remove(blob, equal).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_during_the_run_is_not_written_over() {
    let (moto, server) = (Moto::start(), S3Server::start());
    moto.create_bucket("bucket");
    for url in [moto.store_url("bucket", ""), server.store_url("bucket", "")] {
        let mut world = World::with(open(&url).await, 6);
        add_large(&mut world);
        let parts = EngineParts {
            source: Arc::new(Slow(Files::new(), world.target.clone())),
            ..world.parts(Steps::all()).await
        };
        let plan = stream::iter(world.plan().into_iter().map(Ok)).boxed();
        let report = Engine::new(parts).run(plan).await;
        let report = report.expect("goes to its end");
        let mut named: Vec<_> = report.exceptions.iter().map(|it| &it.key[..]).collect();
        named.sort_unstable();
        assert_eq!(named, ["documents/document-4", "documents/large"]);
        let is_clash = |it: &Exception| it.kind == ExceptionKind::Clash;
        assert!(report.exceptions.iter().all(is_clash), "{report:?}");
        assert_eq!(report.committed, 5, "{report:?}");
        for key in named {
            assert_eq!(world.target.get(key).await.expect("gets"), "by hand");
        }
        // Not every server lists them.
        if let Ok(left) = world.target.abandoned_uploads("").await {
            assert!(left.is_empty(), "{left:?}");
        }
        world.rollback().await.expect("rolls back");
        assert_eq!(world.objects().await.len(), 2, "what is by hand stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_any_checksum_is_read_back() {
    let moto = Moto::start();
    moto.create_bucket("bucket");
    let mut world = World::with(open(&moto.store_url("bucket", "")).await, 4);
    let large = add_large(&mut world);
    let start = world.picture().await;
    let report = world.run().await.expect("runs");
    assert!(report.is_clean() && report.committed == 5, "{report:?}");
    assert!(
        report.usage.gets >= 7,
        "every object is read back: {report:?}"
    );
    assert_eq!(world.objects().await["documents/large"], large);
    world.remove_sources(Steps::all()).await.expect("removes");
    world.rollback().await.expect("rolls back");
    assert_eq!(world.picture().await, start);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_makes_it_slower_and_nothing_else() {
    let (world, proxy, _server) = proxied(30).await;
    proxy.add(
        Rule::slow_down()
            .method("PUT")
            .target("/documents/")
            .skip(2)
            .times(12),
    );
    let report = world.run().await.expect("runs");
    assert!(report.is_clean() && report.committed == 30, "{report:?}");
    assert_eq!(report.usage.throttled, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_stops_the_run_at_once() {
    for (status, code, kind) in [
        (403, "AccessDenied", store::ErrorKind::Permission),
        (404, "NoSuchBucket", store::ErrorKind::NoBucket),
        (
            507,
            "InsufficientStorage",
            store::ErrorKind::QuotaOrDiskFull,
        ),
        (403, "InvalidAccessKeyId", store::ErrorKind::Credentials),
    ] {
        let (world, proxy, _server) = proxied(20).await;
        let rule = Rule::s3_error(status, code, "no")
            .method("PUT")
            .target("/documents/");
        proxy.add(rule.skip(5));
        let error = world.run().await.expect_err("stops");
        assert_eq!(
            error.store_error().map(store::StoreError::kind),
            Some(kind),
            "{error:?}"
        );
        let refused = proxy
            .requests()
            .iter()
            .filter(|seen| seen.status == Some(status))
            .count();
        assert!(refused <= 3, "only what was under way: {refused}");
        proxy.clear();
        let report = world.run().await.expect("goes on");
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(world.journal().await.tally().of(State::Committed), 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_or_cut_do_no_harm() {
    let (mut world, proxy, _server) = proxied(12).await;
    add_large(&mut world);
    let start = world.picture().await;
    proxy.add(
        Rule::new(Action::DropAfter)
            .method("PUT")
            .target("/documents/")
            .times(4),
    );
    proxy.add(
        Rule::new(Action::DropBefore)
            .method("PUT")
            .target("/thumbnails/")
            .times(2),
    );
    proxy.add(
        Rule::new(Action::DropAfter)
            .method("POST")
            .target("uploadId")
            .times(1),
    );
    let report = world.run().await.expect("runs");
    assert!(report.is_clean() && report.committed == 13, "{report:?}");
    world.remove_sources(Steps::all()).await.expect("removes");
    proxy.add(
        Rule::new(Action::CutBody(10))
            .method("GET")
            .target("/documents/")
            .times(3),
    );
    world.rollback().await.expect("rolls back");
    assert_eq!(world.picture().await, start);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_that_was_left_behind_is_given_up() {
    let (mut world, proxy, server) = proxied(0).await;
    let large = add_large(&mut world);
    proxy.add(
        Rule::s3_error(403, "AccessDenied", "no")
            .method("PUT")
            .target("partNumber=2"),
    );
    // Giving up fails as well, as if the process were dead.
    proxy.add(
        Rule::s3_error(403, "AccessDenied", "no")
            .method("DELETE")
            .target("documents/large"),
    );
    world.run().await.expect_err("stops");
    assert!(!uploads(&server).is_empty());
    proxy.clear();
    let report = world.run().await.expect("goes on");
    assert_eq!(
        (report.committed, uploads(&server)),
        (1, Vec::new()),
        "{report:?}"
    );
    assert_eq!(world.objects().await["documents/large"], large);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_still_being_made_of_its_parts_is_waited_for_and_read_back() {
    let server = S3Server::start();
    let proxy = ScriptedProxy::in_front_of(server.address());
    let hasty = Tuning {
        request_timeout: Duration::from_secs(2),
        complete_timeout: Duration::from_secs(2),
        ..Tuning::default()
    };
    let store = open_with(&proxy.store_url("bucket", "pre"), hasty).await;
    let mut world = World::with(store, 0);
    let large = add_large(&mut world);
    // The server answers too late, and does not know the upload any more when it is asked again; it is done after the third look.
    let gate = Gate::closed();
    let completion = |action| Rule::new(action).method("POST").target("uploadId=");
    proxy.add(completion(Action::Hold(gate.clone())).times(1));
    let forgotten = testkit::proxy::s3_error(404, "NoSuchUpload", "no such upload");
    proxy.add(completion(Action::Respond(forgotten)));
    let open = move |_: &mut testkit::proxy::http::Message| gate.open();
    let looks = Rule::new(Action::Edit(Arc::new(open))).method("HEAD");
    proxy.add(looks.target("documents/large").skip(2).times(1));
    let report = world.run().await.expect("runs");
    assert!(report.is_clean() && report.committed == 1, "{report:?}");
    assert!(report.usage.gets >= 1, "nothing else vouches for it");
    assert_eq!(uploads(&server), Vec::<String>::new());
    assert_eq!(world.objects().await["documents/large"], large);
}

/// Which files of uploads in parts the server keeps.
fn uploads(server: &S3Server) -> Vec<String> {
    let names = fs::read_dir(server.root()).expect("lists");
    let names = names.map(|entry| entry.expect("entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.contains("upload")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_object_comes_back_to_a_bucket() {
    let moto = Moto::start();
    moto.create_bucket("empties");
    let store = open(&moto.store_url("empties", "pre")).await;
    let world = World::new(1);
    let mut blob = world.items[0].blobs[0].clone();
    blob.source = "documents/empty".to_owned();
    let stored = StoredBlob {
        size: 0,
        sha256: Digest::of(b""),
        created: true,
        stamp: None,
    };
    let objects = Objects::new(store.clone());
    let restored = objects.restore(&blob, &stored, stream::empty().boxed());
    restored.await.expect("an upload without parts is refused");
    assert!(
        store
            .get("documents/empty")
            .await
            .expect("is there")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_item_that_is_taken_up_again_only_the_blob_that_is_refused_is_named() {
    for step in 1..100 {
        let (mut world, proxy, _server) = proxied(1).await;
        world.limits.retry.attempts = 1;
        let last = world.blob("extra", "last", b"stored by the first attempt");
        world.items[0].blobs.push(last);
        let crashed = world.run_with(Steps::fail_at(step)).await;
        crashed.expect_err("it gets through before the last was stored");
        let is_planned = world.journal().await.tally().of(State::Planned) == 1;
        if !(is_planned && world.objects().await.contains_key("extras/last")) {
            continue;
        }
        let refused = "thumbnails/document-0_thumb";
        proxy.add(Rule::s3_error(500, "InternalError", "no").target(refused));
        let report = world.run().await.expect("goes on");
        let of = |kind| {
            let all = report.exceptions.iter().filter(move |it| it.kind == kind);
            all.map(|it| it.key.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of(ExceptionKind::Refused), [refused]);
        assert_eq!(of(ExceptionKind::ObjectKept), [refused]);
        assert_eq!(report.committed, 1);
        return;
    }
    panic!("no step is between the last blob and the end of its item");
}
