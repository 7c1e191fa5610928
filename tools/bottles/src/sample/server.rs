//! A server for a sample: the API below `/api`, the registry below `/v2`, with the anonymous tokens that a registry gives out.
//!
//! What must hold: it listens on loopback only, and ends when it is dropped.

use super::Sample;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The token that the server gives out.
const TOKEN: &str = "sample-token";

/// When everything was changed last, as the server tells it: long before anybody asks, as an upstream's files are that another
/// mirror takes over later.
const CHANGED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

/// What a server does to a path, for tests: each entry of the list is used up by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Answers with this status, and `Retry-After: 0`.
    Status(u16),
    /// Sends so many bytes of the body and cuts the connection.
    CutAfter(usize),
    /// Sends the body with one bit turned.
    Damage,
}

/// A server that runs.
pub struct SampleServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    sample: Mutex<Arc<Sample>>,
    troubles: Mutex<BTreeMap<String, Vec<Trouble>>>,
    asked: Mutex<Vec<String>>,
    sent: std::sync::atomic::AtomicU64,
}

impl SampleServer {
    /// Starts a server on a free port of loopback.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start(sample: Sample) -> io::Result<SampleServer> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        *shared.sample.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(sample);
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the sample's server ended");
            }
        });
        Ok(SampleServer {
            address,
            shared,
            task,
        })
    }

    /// Returns where the API is.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Returns where the registry is.
    #[must_use]
    pub fn registry(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves something else from now on.
    pub fn replace(&self, sample: Sample) {
        *locked(&self.shared.sample) = Arc::new(sample);
    }

    /// Makes trouble at a path, once for each entry.
    pub fn trouble(&self, path: &str, troubles: Vec<Trouble>) {
        locked(&self.shared.troubles).insert(path.to_owned(), troubles);
    }

    /// Returns what was asked so far, method and path, and forgets it.
    #[must_use]
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.shared.asked))
    }
}

impl Drop for SampleServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    locked(&shared.asked).push(format!("{} {path}", request.method()));
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if path == "/token" {
        return format!(r#"{{"token":"{TOKEN}"}}"#).into_response();
    }
    if path.starts_with("/v2/") && !has_token(request.headers()) {
        return refuse(request.headers());
    }
    let trouble = {
        let mut troubles = locked(&shared.troubles);
        let waiting = troubles.get_mut(&path).filter(|list| !list.is_empty());
        waiting.map(|list| list.remove(0))
    };
    let sample = locked(&shared.sample).clone();
    let found = match path.strip_prefix("/api/") {
        Some(name) => sample.api.get(name),
        None => sample.registry.get(path.trim_start_matches('/')),
    };
    let Some(bytes) = found.cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    serve(&shared, request.headers(), bytes, trouble)
}

fn has_token(headers: &HeaderMap) -> bool {
    let wanted = [format!("Bearer {TOKEN}"), "Bearer QQ==".to_owned()];
    let given = headers.get(header::AUTHORIZATION);
    given.is_some_and(|given| wanted.iter().any(|wanted| given == wanted.as_str()))
}

fn refuse(headers: &HeaderMap) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or("localhost");
    let challenge = format!(
        r#"Bearer realm="http://{host}/token",service="{host}",scope="repository:user/image:pull""#
    );
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, challenge)],
    )
        .into_response()
}

fn serve(
    shared: &Shared,
    headers: &HeaderMap,
    bytes: Vec<u8>,
    trouble: Option<Trouble>,
) -> Response {
    let etag = format!("\"{}\"", transfer::Digest::of(&bytes));
    let asked = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if asked(header::IF_NONE_MATCH) == Some(etag.as_str()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let total = bytes.len();
    let from = asked(header::RANGE)
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.strip_suffix('-'))
        .and_then(|from| from.parse::<usize>().ok())
        .filter(|from| *from < total);
    let mut body = bytes[from.unwrap_or(0)..].to_vec();
    let length = body.len();
    let mut answer = Response::builder()
        .header(header::ETAG, etag)
        .header(header::LAST_MODIFIED, CHANGED)
        .header(header::ACCEPT_RANGES, "bytes");
    answer = match from {
        Some(from) => {
            let range = format!("bytes {from}-{}/{total}", total - 1);
            answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range)
        }
        None => answer,
    };
    match trouble {
        Some(Trouble::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, [(header::RETRY_AFTER, "0")]).into_response();
        }
        Some(Trouble::Damage) => {
            if let Some(last) = body.last_mut() {
                *last ^= 1;
            }
        }
        Some(Trouble::CutAfter(kept)) => {
            body.truncate(kept);
            shared
                .sent
                .fetch_add(kept as u64, std::sync::atomic::Ordering::Relaxed);
            // What comes before the break is sent only if the server has to wait for what comes next.
            let broken = async {
                tokio::task::yield_now().await;
                Err(io::Error::other("cut off"))
            };
            let sent = futures::stream::iter([Ok(bytes::Bytes::from(body))]);
            let stream = Body::from_stream(sent.chain(futures::stream::once(broken)));
            let answer = answer.header(header::CONTENT_LENGTH, length).body(stream);
            return answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
        None => {}
    }
    shared
        .sent
        .fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
    let answer = answer.body(Body::from(body));
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
