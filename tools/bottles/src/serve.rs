//! Serves a mirror over HTTP to clients of all generations: the registry's layout, the flat one, and the API.
//!
//! What must hold: all that one answer says is of one generation, and the API's files of all answers too, until the next one is taken up as a
//! whole; what the current generation does not have and another one has is still served in every layout, because a client may have asked the
//! other API; what nobody has is written down, and costs the store one look at its log a second at most, however many ask; what the generation
//! names and the store has lost is an error of the store, not a miss.
//!
//! It deliberately asks no other server: a mirror that falls back is none.

mod access;
mod answer;
mod figures;
mod listening;
mod misses;
mod page;
mod view;

use crate::log::LogError;
use crate::runs::{self, RunRecord};
pub use access::AccessLog;
use access::{Access, Peer};
use answer::Asked;
use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
pub use listening::Limits;
use misses::MissLog;
pub use misses::{Miss, read_misses};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use store::{Store, StoreError};
use tokio::net::TcpListener;
use transfer::StopSignal;
use view::View;

/// So long a miss waits for nobody: the log is not looked at more often than that because of misses.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After so many failures in a row to look for a new generation a server does not call itself healthy.
const FAILURES_IN_A_ROW: u64 = 3;

/// The records of runs are not listed more often than that, however often somebody asks for figures.
const LOOK_AT_RUNS: Duration = Duration::from_secs(30);

/// So many runs are told of.
const RUNS_SHOWN: usize = 40;

/// How a mirror is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How often a new generation is looked for.
    pub refresh: Duration,
    /// Where misses are written down, a JSON line each.
    pub misses: Option<PathBuf>,
    /// Where requests are written down.
    pub access: Option<Arc<AccessLog>>,
    /// What it bears from its clients.
    pub limits: Limits,
}

/// What all requests share.
struct Shared {
    store: Store,
    options: ServeOptions,
    view: RwLock<Arc<View>>,
    counts: Counts,
    misses: Arc<MissLog>,
    /// When the log was looked at last.
    looked: Mutex<Instant>,
    runs: tokio::sync::Mutex<LastRuns>,
}

/// What a path led to.
enum Found {
    /// This, of which so many bytes are sent.
    Answer(Response, u64),
    /// The generation that is served names it, and the store has it no more.
    Lost,
    /// No generation has it.
    Nowhere,
}

/// The last runs, as they were read last.
#[derive(Default)]
struct LastRuns {
    read: Option<Instant>,
    runs: Arc<Vec<RunRecord>>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    /// How often in a row a new generation was looked for in vain.
    not_refreshed: AtomicU64,
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
    async fn refresh(&self) -> Result<(), LogError> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let known = self.view();
        // What was passed over while the store did not answer, as the bottles of other generations, is looked for again.
        let was_blind = self.counts.not_refreshed.load(Ordering::Relaxed) > 0;
        let newer = View::newer(&self.store, &known, self.options.refresh, was_blind).await;
        match &newer {
            Ok(_) => self.counts.not_refreshed.store(0, Ordering::Relaxed),
            Err(_) => {
                self.counts.not_refreshed.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(view) = newer? {
            tracing::info!(generation = %view.name(), "serving a new generation");
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        }
        Ok(())
    }

    /// Answers a request for a part of the mirror. Who asks for what is not known may have read the API of a generation that this server
    /// has not taken up yet.
    async fn look_up(&self, asked: &Asked, path: &str) -> Result<Found, StoreError> {
        let view = self.view();
        let found = self.look_in(&view, asked, path).await?;
        if matches!(found, Found::Answer(..)) {
            return Ok(found);
        }
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < LOOK_AGAIN.min(self.options.refresh) {
            return Ok(found);
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the mirror's log was not read");
        }
        let newer = self.view();
        match newer.id == view.id {
            true => Ok(found),
            false => self.look_in(&newer, asked, path).await,
        }
    }

    /// Answers from one generation, and what others have beside it.
    async fn look_in(&self, view: &View, asked: &Asked, path: &str) -> Result<Found, StoreError> {
        let Some(target) = view.find(&self.store, path).await? else {
            return Ok(Found::Nowhere);
        };
        Ok(match asked.answer(&self.store, &target).await? {
            Some((answer, bytes)) => Found::Answer(answer, bytes),
            None if view.names(&target) => Found::Lost,
            // Another generation had it, and that was pruned since.
            None => Found::Nowhere,
        })
    }

    /// The page for people. What the other generations were like is left out if the store does not tell.
    async fn page(&self) -> Response {
        let view = self.view();
        let others = view.others(&self.store).await;
        let others = others
            .inspect_err(|error| tracing::warn!(%error, "the other generations were not read"))
            .ok();
        page::status(&page::Told {
            view: &view,
            others,
            counts: &self.counts,
            runs: &self.runs().await,
            misses: &self.misses.recent(),
            now: Timestamp::now(),
        })
    }

    /// The last runs, read again if that is a while ago. If the store does not tell, it is those that were known.
    async fn runs(&self) -> Arc<Vec<RunRecord>> {
        let mut last = self.runs.lock().await;
        if last.read.is_none_or(|read| read.elapsed() >= LOOK_AT_RUNS) {
            last.read = Some(Instant::now());
            match runs::read(&self.store, RUNS_SHOWN, &last.runs).await {
                Ok(read) => last.runs = Arc::new(read.runs),
                Err(error) => tracing::warn!(%error, "the records of runs were not read"),
            }
        }
        last.runs.clone()
    }
}

/// Serves until the signal is raised; requests that are under way then are finished, if that does not take too long.
///
/// # Errors
/// If the mirror cannot be read at the start.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    options: ServeOptions,
    stop: StopSignal,
) -> Result<(), LogError> {
    let (every, limits, access) = (options.refresh, options.limits, options.access.clone());
    let view = View::newer(&store, &View::default(), every, false)
        .await?
        .unwrap_or_default();
    let shared = Arc::new(Shared {
        store,
        misses: MissLog::new(options.misses.clone()),
        looked: Mutex::new(Instant::now()),
        options,
        view: RwLock::new(Arc::new(view)),
        counts: Counts::default(),
        runs: tokio::sync::Mutex::default(),
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
    listening::run(listener, router, limits, stop).await;
    refresher.abort();
    if let Some(access) = access {
        // It panics only if its thread did, which has said so.
        let _ = tokio::task::spawn_blocking(move || access.finish()).await;
    }
    Ok(())
}

async fn answer_request(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (request, _body) = request.into_parts();
    let answer = answer(&shared, &request).await;
    if let Some(access) = &shared.options.access {
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.or_else(|| answer.body().size_hint().exact());
        let target = request.uri.path_and_query();
        let access_of = Access {
            peer: request.extensions.get::<Peer>().copied(),
            method: request.method.as_str(),
            target: target.map_or("*", |target| target.as_str()),
            version: version(request.version),
            status: answer.status().as_u16(),
            bytes: length.filter(|_| request.method != Method::HEAD),
            agent: agent(&request),
        };
        access.note(&access_of, Timestamp::now());
    }
    answer
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Who asks, as it calls itself.
fn agent(request: &Parts) -> &str {
    let agent = request.headers.get(header::USER_AGENT);
    agent.and_then(|agent| agent.to_str().ok()).unwrap_or("")
}

async fn answer(shared: &Shared, request: &Parts) -> Response {
    shared.counts.requests.fetch_add(1, Ordering::Relaxed);
    let is_head = request.method == Method::HEAD;
    if !is_head && request.method != Method::GET {
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response();
    }
    let path = folded(request.uri.path());
    let view = shared.view();
    match path.as_str() {
        "/" => return shared.page().await,
        "/health" => {
            let failures = shared.counts.not_refreshed.load(Ordering::Relaxed);
            return figures::health(&view, failures >= FAILURES_IN_A_ROW);
        }
        "/metrics" => return figures::metrics(&view, &shared.counts, &shared.runs().await),
        "/v2/" | "/v2" => return "{}".into_response(),
        _ => {}
    }
    let agent = agent(request);
    let asked = Asked::new(&request.headers, is_head);
    match shared.look_up(&asked, &path).await {
        Ok(Found::Answer(answer, bytes)) => {
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
        // Not a miss: who mirrors it once more would not get it either.
        Ok(Found::Lost) => failed(shared, &path, &"it is gone, and the generation names it"),
        Ok(Found::Nowhere) => {
            tracing::warn!(path, agent, "not mirrored");
            shared.counts.misses.fetch_add(1, Ordering::Relaxed);
            shared.misses.note(&path, agent).await;
            (StatusCode::NOT_FOUND, "not mirrored\n").into_response()
        }
        Err(error) => failed(shared, &path, &error),
    }
}

/// Takes several slashes for one: a client whose address of the mirror ends in a slash asks so.
fn folded(path: &str) -> String {
    let mut folded = String::with_capacity(path.len());
    for part in path.chars() {
        if part != '/' || !folded.ends_with('/') {
            folded.push(part);
        }
    }
    folded
}

fn failed(shared: &Shared, path: &str, error: &dyn Display) -> Response {
    shared.counts.errors.fetch_add(1, Ordering::Relaxed);
    tracing::error!(path, %error, "the store failed");
    (StatusCode::BAD_GATEWAY, "the mirror's store failed\n").into_response()
}
