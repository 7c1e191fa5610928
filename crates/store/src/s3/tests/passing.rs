//! Objects whose bytes come while they are written: against a real server, and against one that does not answer.

use super::responder::{Reply, Responder};
use super::{bare, chain, open, open_at, quick};
use crate::blobs::{Attributes, Honesty, Passed, Written};
use crate::{ErrorKind, Store, StoreError, Tuning};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use std::error::Error;
use std::time::Duration;
use testkit::S3Server;

type Piece = Result<Bytes, Box<dyn Error + Send + Sync>>;

fn content() -> Bytes {
    (0..100_000_u32).map(|n| (n / 3 % 251) as u8).collect()
}

fn pieces() -> Vec<Piece> {
    let content = content();
    let pieces = (0..100).map(|n| Ok(content.slice(n * 1000..(n + 1) * 1000)));
    pieces.collect()
}

/// Passes pieces on as an object of 100,000 bytes with the digest of the right ones.
async fn pass(store: &Store, key: &str, pieces: Vec<Piece>) -> Result<Written, StoreError> {
    let passed = Passed {
        size: 100_000,
        sha256: crate::s3::sha256(&content()),
        bytes: stream::iter(pieces).boxed(),
    };
    store.pass_on(key, passed, &Attributes::default()).await
}

async fn open_real(server: &S3Server) -> Store {
    let url = server.store_url("bucket", "pre");
    let opened = open(&url, &Tuning::default(), &bare()).await;
    opened.expect("opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_pieces_is_one_object_signed_or_not() {
    let server = S3Server::start();
    let store = open_real(&server).await;
    assert!(store.can_pass_on());
    for key in ["signed", "unsigned"] {
        let before = store.usage();
        let written = pass(&store, key, pieces()).await.expect("passes");
        assert!(written.checksum_confirmed, "{written:?}");
        let usage = store.usage() - before;
        assert_eq!((usage.puts, usage.bytes_up), (1, 100_000));
        assert_eq!(store.get(key).await.expect("gets"), content());
        // From the second on the body is not signed.
        let honesty = store.checksum_honesty().await.expect("probes");
        assert_eq!(honesty, Honesty::OnlyWhole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_early_or_too_late_is_no_object() {
    let server = S3Server::start();
    let store = open_real(&server).await;
    let broken = |kept: usize| {
        let pieces = pieces().into_iter().take(kept);
        let pieces = pieces.chain([Err("the source broke".into())]);
        pieces.collect::<Vec<_>>()
    };
    let short = pieces().into_iter().take(99).collect();
    let mut long = pieces();
    long[99] = Ok(content().slice(..2000));
    for pieces in [broken(0), broken(1), broken(99), short, long] {
        let error = pass(&store, "key", pieces).await.expect_err("is cut");
        assert_eq!(error.kind(), ErrorKind::Connection, "{}", chain(&error));
        assert_eq!(store.list("").await.expect("lists"), []);
    }
    // A server that was seen to compare says so of what comes in pieces too.
    let honesty = store.checksum_honesty().await.expect("probes");
    assert_eq!(honesty, Honesty::OnlyWhole);
    let mut wrong = pieces();
    wrong[50] = Ok(Bytes::from(vec![7; 1000]));
    let error = pass(&store, "key", wrong).await.expect_err("is compared");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", chain(&error));
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_a_slow_source_is_not() {
    // The server has 300 ms for its turn.
    let limit = quick().request_timeout;
    let passed = |pause: Duration| {
        let pieces = stream::iter(["01234", "56789"]).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from(piece))
        });
        Passed {
            size: 10,
            sha256: crate::s3::sha256(b"0123456789"),
            bytes: pieces.boxed(),
        }
    };
    let attributes = Attributes::default();
    let server = Responder::start(|_, _| Reply::Silence).await;
    let store = open_at(&server).await;
    let outcome = store
        .pass_on("key", passed(Duration::ZERO), &attributes)
        .await;
    let error = outcome.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    let server = Responder::start(|_, _| Reply::ok("")).await;
    let store = open_at(&server).await;
    let outcome = store.pass_on("key", passed(2 * limit), &attributes).await;
    outcome.expect("its own source is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_before_the_end_is_told_and_nothing_is_sent_again() {
    let server = Responder::start(|_, _| Reply::error(503, "SlowDown")).await;
    let store = open_at(&server).await;
    let error = pass(&store, "key", pieces()).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{}", chain(&error));
    assert_eq!(server.asked().len(), 1);
}
