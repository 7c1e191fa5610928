//! Buckets: every kind of failure provoked by a server that is told what to answer, and the whole way against a real one.

mod completion;
mod failures;
mod inquiries;
mod lists;
mod network;
mod opening;
mod passing;
mod real;
mod responder;

use crate::{Environment, Store, StoreError, StoreUrl, Tuning};
use responder::Responder;
use std::time::Duration;

/// Short limits, so that a test of a limit is short too.
fn quick() -> Tuning {
    Tuning {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(300),
        total_timeout: Duration::from_secs(20),
        max_retries: 2,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        ..Tuning::default()
    }
}

/// Nothing of the machine that runs the tests.
fn bare() -> Environment {
    [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HOME", "/nonexistent"),
    ]
    .into_iter()
    .collect()
}

async fn open(url: &str, tuning: &Tuning, env: &Environment) -> Result<Store, StoreError> {
    let url: StoreUrl = url.parse().expect("parses");
    Store::open(&url, tuning, env).await
}

async fn open_at(server: &Responder) -> Store {
    open(&server.url("bucket"), &quick(), &bare())
        .await
        .expect("opens")
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(" | {cause}"));
        next = cause.source();
    }
    text
}
