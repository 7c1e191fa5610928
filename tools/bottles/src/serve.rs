//! Serves a mirror over HTTP to clients of all generations: the registry's layout, the flat one, and the API.
//!
//! What must hold: all that one answer says is of one generation, and the API's files of all answers too, until the next one is taken up as a
//! whole; what the current generation does not have and an older one has is still served, because a client may have asked the older API; what
//! nobody has is answered at once, and written down.
//!
//! It deliberately asks no other server: a mirror that falls back is none.

mod answer;
mod page;
mod view;

use answer::Asked;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{Store, StoreError};
use tokio::net::TcpListener;
use transfer::StopSignal;
pub use view::Miss;
use view::View;

/// How a mirror is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How often a new generation is looked for.
    pub refresh: Duration,
    /// Where misses are written down, a JSON line each.
    pub misses: Option<PathBuf>,
}

/// What all requests share.
struct Shared {
    store: Store,
    options: ServeOptions,
    view: RwLock<Arc<View>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes up a newer generation, if there is one.
    async fn refresh(&self) -> Result<(), crate::log::LogError> {
        let known = self.view();
        if let Some(view) = View::newer(&self.store, &known).await? {
            tracing::info!(generation = %view.name(), "serving a new generation");
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        }
        Ok(())
    }

    fn note_miss(&self, path: &str, agent: &str) {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        let Some(file) = &self.options.misses else {
            return;
        };
        let miss = Miss {
            time: jiff::Timestamp::now(),
            path: path.to_owned(),
            agent: agent.to_owned(),
        };
        let Ok(mut line) = serde_json::to_vec(&miss) else {
            return;
        };
        line.push(b'\n');
        // One write of an appended line: several servers may share the file.
        let opened = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file);
        if let Err(error) = opened.and_then(|mut file| file.write_all(&line)) {
            tracing::warn!(%error, file = %file.display(), "a miss was not written down");
        }
    }
}

/// Serves until the signal is raised; requests that are under way then are finished.
///
/// # Errors
/// If the mirror cannot be read at the start, or the listener fails.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    options: ServeOptions,
    stop: StopSignal,
) -> Result<(), ServeError> {
    let view = View::newer(&store, &View::default())
        .await?
        .unwrap_or_default();
    let every = options.refresh;
    let shared = Arc::new(Shared {
        store,
        options,
        view: RwLock::new(Arc::new(view)),
        counts: Counts::default(),
    });
    let refreshing = shared.clone();
    let refresher = tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = refreshing.refresh().await {
                tracing::warn!(%error, "the mirror's log was not read; what was known is served on");
            }
        }
    });
    let router = Router::new().fallback(answer_request).with_state(shared);
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.raised().await })
        .await;
    refresher.abort();
    served.map_err(ServeError::Listener)
}

/// A server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The mirror could not be read.
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
    /// The listener failed.
    #[error("the server's socket failed")]
    Listener(#[source] std::io::Error),
}

async fn answer_request(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.counts.requests.fetch_add(1, Ordering::Relaxed);
    let is_head = request.method() == Method::HEAD;
    if !is_head && request.method() != Method::GET {
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response();
    }
    let path = request.uri().path().to_owned();
    let view = shared.view();
    match path.as_str() {
        "/" => return page::status(&view, &shared.counts).into_response(),
        "/health" => return page::health(&view).into_response(),
        "/metrics" => return page::metrics(&view, &shared.counts).into_response(),
        "/v2/" | "/v2" => return "{}".into_response(),
        _ => {}
    }
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let asked = Asked::new(request.headers(), is_head);
    let outcome = match view.find(&path) {
        Some(target) => asked.answer(&shared.store, &view, &target).await,
        None => Ok(None),
    };
    match outcome {
        Ok(Some((answer, bytes))) => {
            shared.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            tracing::info!(
                method = if is_head { "HEAD" } else { "GET" },
                path,
                status = answer.status().as_u16(),
                agent,
                "served"
            );
            answer
        }
        Ok(None) => {
            tracing::warn!(path, agent, "not mirrored");
            shared.note_miss(&path, &agent);
            (StatusCode::NOT_FOUND, "not mirrored\n").into_response()
        }
        Err(error) => failed(&shared, &path, &error),
    }
}

fn failed(shared: &Shared, path: &str, error: &StoreError) -> Response {
    shared.counts.errors.fetch_add(1, Ordering::Relaxed);
    tracing::error!(path, %error, "the store failed");
    (StatusCode::BAD_GATEWAY, "the mirror's store failed\n").into_response()
}
