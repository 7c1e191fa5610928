//! Blobs that are passed on while they are read, by a real server: what goes wrong on either side leaves no object that is not right.

use super::servers::{open, proxied};
use super::*;
use testkit::{Action, Rule};

const KEY: &str = "documents/passed";

/// What the source says of a blob, and what it does then.
#[derive(Clone)]
enum Does {
    Ends,
    /// One byte is another one.
    Lies,
    /// Breaks after so many pieces.
    Breaks(usize),
    /// A person stores something under the key meanwhile, and it breaks.
    Meets(Store),
}

struct Streams {
    content: Vec<u8>,
    does: Does,
    opened: AtomicU32,
}

impl Streams {
    fn pieces(&self) -> Vec<Bytes> {
        let mut content = self.content.clone();
        if let (Does::Lies, Some(last)) = (&self.does, content.last_mut()) {
            *last ^= 1;
        }
        content.chunks(1000).map(Bytes::copy_from_slice).collect()
    }
}

#[async_trait]
impl Source for Streams {
    async fn open(&self, blob: &Blob, whole_max: u64, _: usize) -> Result<Opened, SourceError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let size = self.content.len() as u64;
        let contents = match size <= whole_max {
            true => Contents::Whole {
                bytes: self.content.clone().into(),
                sha256: Digest::of(&self.content),
            },
            false => {
                let pieces = self.pieces();
                let kept = match self.does {
                    Does::Breaks(kept) => kept,
                    Does::Meets(_) => 2,
                    _ => pieces.len(),
                };
                if let Does::Meets(store) = &self.does {
                    let put = store.put(&blob.key, "by hand".into()).await;
                    put.expect("puts");
                }
                let broken = (kept < pieces.len())
                    .then(|| Err(SourceError::new(SourceErrorKind::Changed, "read", "it")));
                let pieces = pieces.into_iter().take(kept).map(Ok).chain(broken);
                Contents::Stream(stream::iter(pieces.collect::<Vec<_>>()).boxed())
            }
        };
        Ok(Opened {
            size,
            stamp: None,
            contents,
        })
    }

    async fn digest(&self, _: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        panic!("nobody needs to ask")
    }

    async fn restore(
        &self,
        _: &Blob,
        _: &StoredBlob,
        _: stream::BoxStream<'static, Result<Bytes, store::StoreError>>,
    ) -> Result<(), SourceError> {
        panic!("nothing is restored")
    }

    async fn remove(&self, _: &Blob, _: &StoredBlob) -> Result<Removal, SourceError> {
        panic!("nothing is removed")
    }
}

/// Runs one item of one large blob from a source into the world's target; returns also how often the source was opened.
async fn pass(world: &World, does: Does) -> (Result<Report, RunError>, u32) {
    let content: Vec<u8> = (0..50_000_u32).map(|n| (n / 3 % 251) as u8).collect();
    let item = Item {
        id: "passed".to_owned(),
        blobs: vec![Blob {
            role: "document".to_owned(),
            source: "it".to_owned(),
            key: KEY.to_owned(),
            size: Some(content.len() as u64),
            sha256: Some(Digest::of(&content)),
            required: true,
            attributes: Attributes::default(),
        }],
        context: serde_json::json!({"old": "it", "new": "s3://documents/passed"}),
    };
    world.rows.set("passed", "it");
    let source = Arc::new(Streams {
        content,
        does,
        opened: AtomicU32::new(0),
    });
    let parts = EngineParts {
        source: source.clone(),
        limits: Limits {
            pass_on: Some(1),
            writes_over: true,
            ..world.limits.clone()
        },
        mirror: None,
        ..world.parts(Steps::all()).await
    };
    let plan = stream::iter([Ok(item)]).boxed();
    let outcome = Engine::new(parts).run(plan).await;
    (outcome, source.opened.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_digest_is_known_is_passed_on_in_one_request() {
    let (world, proxy, _server) = proxied(0).await;
    let (outcome, opened) = pass(&world, Does::Ends).await;
    let report = outcome.expect("runs");
    assert!(report.is_clean() && report.committed == 1, "{report:?}");
    assert_eq!(opened, 1);
    let puts = proxy.requests().into_iter();
    let puts = puts.filter(|seen| seen.target.contains(KEY)).count();
    assert_eq!(puts, 1);
    assert_eq!(world.objects().await[KEY].len(), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_expected_never_becomes_an_object() {
    let (world, _proxy, server) = proxied(0).await;
    for (does, kind) in [
        (Does::Lies, ExceptionKind::WrongDigest),
        (Does::Breaks(7), ExceptionKind::SourceChanged),
        (Does::Breaks(49), ExceptionKind::SourceChanged),
        (Does::Breaks(0), ExceptionKind::SourceChanged),
    ] {
        world.fresh_journal();
        let (outcome, opened) = pass(&world, does).await;
        let report = outcome.expect("runs");
        let kinds: Vec<_> = report.exceptions.iter().map(|it| it.kind).collect();
        assert_eq!((kinds, opened), (vec![kind], 1));
        assert!(world.objects().await.is_empty());
        assert!(!server.root().join("bucket/pre").join(KEY).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_puts_there_while_the_source_breaks_is_named_and_stays() {
    let (world, _proxy, _server) = proxied(0).await;
    let (outcome, _) = pass(&world, Does::Meets(world.target.clone())).await;
    let report = outcome.expect("runs");
    let mut kinds: Vec<_> = report.exceptions.iter().map(|it| it.kind).collect();
    kinds.sort_by_key(|kind| *kind != ExceptionKind::ObjectKept);
    assert_eq!(
        kinds,
        [ExceptionKind::ObjectKept, ExceptionKind::SourceChanged]
    );
    assert_eq!(&world.objects().await[KEY][..], b"by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_drops_is_read_once_more_and_held() {
    for action in [Action::DropBefore, Action::DropAfter] {
        let (world, proxy, _server) = proxied(0).await;
        proxy.add(Rule::new(action).method("PUT").target(KEY).times(1));
        proxy.add(Rule::slow_down().method("PUT").target(KEY).times(1));
        let (outcome, opened) = pass(&world, Does::Ends).await;
        let report = outcome.expect("runs");
        assert!(report.is_clean() && report.committed == 1, "{report:?}");
        assert_eq!(opened, 2, "the second refusal finds it held");
        assert_eq!(world.objects().await[KEY].len(), 50_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_any_checksum_gets_nothing_passed_on() {
    let moto = testkit::Moto::start();
    moto.create_bucket("bucket");
    let world = World::with(open(&moto.store_url("bucket", "")).await, 0);
    let (outcome, opened) = pass(&world, Does::Ends).await;
    let report = outcome.expect("runs");
    assert!(report.is_clean() && report.committed == 1, "{report:?}");
    assert_eq!(opened, 1);
    assert!(report.usage.gets >= 1, "it is read back: {report:?}");
}
