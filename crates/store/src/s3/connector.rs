//! The one way in which requests leave: limits, counts, and notes what came back.
//!
//! What must hold: every request is counted; every refusal is read and noted before the library sees it; a success that
//! carries an error, or that no S3 server would send, is no success. What cannot get better is not sent again.
//!
//! It deliberately does not repeat requests itself: the library does, by the status or kind that it gets from here.

use super::answer::Answer;
use super::body::WatchedBody;
use super::passing::PassedBody;
use super::trail;
use super::transport::{NoAnswer, NoSuchHost, NotS3};
use super::xml;
use crate::classify::first;
use crate::error::ErrorKind;
use crate::meter::{Meter, Request};
use crate::tuning::Tuning;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A refusal's body is read up to here.
const REFUSAL_MAX: usize = 64 * 1024;

/// A page of a listing holds a thousand keys of at most 1,024 bytes; more is no listing.
const PAGE_MAX: usize = 32 * 1024 * 1024;

/// The slowest upload that is not taken for a stall, in bytes a second.
const UPLOAD_RATE_MIN: u64 = 32 * 1024;

/// How often a host that cannot be reached at all is tried within one operation.
const UNREACHABLE_MAX: usize = 3;

/// How long the answer to this one request may take to begin, and may stall then; it goes with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerWithin(pub(super) Duration);

/// An answer did not begin within this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoAnswerWithin(pub(super) Duration);

/// Between us and a server, so many bytes may lie in buffers that count as taken.
const BUFFERED_MAX: u64 = 4 << 20;

/// The client, its counts and its limits. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: reqwest::Client,
    meter: Arc<Meter>,
    connections: Arc<Semaphore>,
    request_timeout: Duration,
    read_timeout: Duration,
}

impl Connector {
    pub(super) fn new(client: reqwest::Client, tuning: &Tuning) -> Connector {
        Connector {
            client,
            meter: Arc::default(),
            connections: Arc::new(Semaphore::new(
                tuning.max_connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            request_timeout: tuning.request_timeout,
            read_timeout: tuning.read_timeout,
        }
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Sends a request whose body comes while it is sent.
    pub(super) async fn pass_on(
        &self,
        request: HttpRequest,
        body: PassedBody,
    ) -> Result<HttpResponse, HttpError> {
        self.noted(request, Some(body)).await
    }

    /// Exchanges, and notes what came of it.
    async fn noted(
        &self,
        request: HttpRequest,
        passed: Option<PassedBody>,
    ) -> Result<HttpResponse, HttpError> {
        let what = What::of(&request);
        match self.exchange(request, passed, &what).await {
            Ok(response) => Ok(response),
            Err(error) => {
                if first::<Answer>(&error).is_none() {
                    tracing::debug!(request = %what.name, %error, "no answer");
                    trail::unanswered(&what.name);
                }
                Err(without_hope(error, &what))
            }
        }
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        passed: Option<PassedBody>,
        what: &What,
    ) -> Result<HttpResponse, HttpError> {
        let permit = self
            .connections
            .clone()
            .acquire_owned()
            .await
            .map_err(|closed| HttpError::new(HttpErrorKind::Unknown, closed))?;
        self.meter.count(what.sort);
        if trail::has_failed(&what.name) {
            self.meter.retried();
        }
        let response = self.answer(request, passed, what).await;
        let response = response.map_err(|NoAnswerWithin(waited)| {
            let has_begun = false;
            HttpError::new(HttpErrorKind::Timeout, NoAnswer { waited, has_begun })
        })??;
        tracing::debug!(request = %what.name, status = response.status().as_u16(), "answered");
        if response.status().is_success() {
            self.accept(response, what, permit).await
        } else {
            self.refuse(response, what).await
        }
    }

    /// Sends a request and waits until its answer begins.
    async fn answer(
        &self,
        request: HttpRequest,
        passed: Option<PassedBody>,
        what: &What,
    ) -> Result<Result<reqwest::Response, HttpError>, NoAnswerWithin> {
        let length = request.body().content_length();
        let mut request = match into_reqwest(request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let limit = |buffered: u64| {
            let more = Duration::from_secs(buffered / UPLOAD_RATE_MIN);
            what.answer_within.unwrap_or(self.request_timeout + more)
        };
        let answer = match passed {
            None => {
                self.meter.sent(length);
                let (limit, sent) = (limit(length as u64), self.client.execute(request));
                let answer = tokio::time::timeout(limit, sent).await;
                answer.map_err(|_| NoAnswerWithin(limit))?
            }
            Some(body) => {
                let (turn, limit) = (body.turn(), limit(body.left().min(BUFFERED_MAX)));
                *request.body_mut() = Some(reqwest::Body::wrap(body));
                turn.wait(limit, self.client.execute(request)).await?
            }
        };
        Ok(answer.map_err(http_error))
    }

    /// Passes a success on, once it is certain that it is one.
    async fn accept(
        &self,
        response: reqwest::Response,
        what: &What,
        permit: OwnedSemaphorePermit,
    ) -> Result<HttpResponse, HttpError> {
        let status = response.status();
        if matches!(what.sort, Request::Get | Request::Head) {
            let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
            let body = WatchedBody::new(
                body,
                &what.name,
                self.read_timeout,
                self.meter.clone(),
                permit,
            );
            trail::succeeded(&what.name);
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let headers = response.headers().clone();
        let stall_max = what.answer_within.unwrap_or(self.read_timeout);
        let body = self.read(response, PAGE_MAX, stall_max).await?;
        let is_error = xml::root(&body).is_some_and(|root| root == "Error");
        if is_error || has_failed_keys(what.sort, &body) {
            let answer = Answer::read(status, &headers, &body, what.names_object);
            trail::refused(&what.name, answer.clone());
            if is_error && answer.is_temporary() {
                return Ok(rebuilt(StatusCode::SERVICE_UNAVAILABLE, headers, body));
            }
            if is_error {
                return Err(HttpError::new(HttpErrorKind::Decode, answer));
            }
        } else {
            trail::succeeded(&what.name);
        }
        if what.sort == Request::List {
            check_page(&body).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        }
        Ok(rebuilt(status, headers, body))
    }

    /// Notes a refusal and passes it on, with the status by which the library retries what may pass and nothing else.
    async fn refuse(
        &self,
        response: reqwest::Response,
        what: &What,
    ) -> Result<HttpResponse, HttpError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(response, REFUSAL_MAX, self.read_timeout).await;
        let body = body.unwrap_or_default();
        let answer = Answer::read(status, &headers, &body, what.names_object);
        let kind = answer.kind();
        if kind == ErrorKind::Throttled {
            self.meter.throttled();
        }
        trail::refused(&what.name, answer.clone());
        if status.is_server_error()
            && matches!(kind, ErrorKind::QuotaOrDiskFull | ErrorKind::Unsupported)
        {
            return Err(HttpError::new(HttpErrorKind::Unknown, answer));
        }
        // AWS says "400 RequestTimeout" when a connection idled during an upload; the library retries 408 only.
        let status = if status == StatusCode::BAD_REQUEST && kind == ErrorKind::Timeout {
            StatusCode::REQUEST_TIMEOUT
        } else {
            status
        };
        Ok(rebuilt(status, headers, body))
    }

    /// Reads a whole body, watching for stalls; more than `max` bytes are an error.
    async fn read(
        &self,
        mut response: reqwest::Response,
        max: usize,
        stall_max: Duration,
    ) -> Result<Bytes, HttpError> {
        let mut body = BytesMut::new();
        loop {
            let chunk = match tokio::time::timeout(stall_max, response.chunk()).await {
                Ok(chunk) => chunk.map_err(http_error)?,
                Err(_) => {
                    return Err(HttpError::new(
                        HttpErrorKind::Timeout,
                        NoAnswer {
                            waited: stall_max,
                            has_begun: true,
                        },
                    ));
                }
            };
            let Some(chunk) = chunk else {
                return Ok(body.freeze());
            };
            self.meter.received(chunk.len());
            body.extend_from_slice(&chunk);
            if body.len() > max {
                return Err(HttpError::new(
                    HttpErrorKind::Decode,
                    NotS3("it is too long"),
                ));
            }
        }
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.noted(request, None).await
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// What a request is for.
struct What {
    sort: Request,
    name: String,
    names_object: bool,
    answer_within: Option<Duration>,
}

impl What {
    fn of(request: &HttpRequest) -> What {
        let (method, uri) = (request.method(), request.uri());
        let query = uri.query();
        let is_listing = query.is_some_and(|query| query.contains("list-type=2"));
        let sort = match *method {
            Method::GET if is_listing => Request::List,
            Method::GET
                if query.is_some_and(|query| {
                    ["location", "lifecycle", "uploads"]
                        .iter()
                        .any(|name| query.starts_with(name))
                }) =>
            {
                Request::Other
            }
            Method::GET => Request::Get,
            Method::PUT => Request::Put,
            Method::DELETE => Request::Delete,
            Method::POST if query == Some("delete") => Request::Delete,
            Method::HEAD => Request::Head,
            _ => Request::Other,
        };
        let names_object = matches!(sort, Request::Get | Request::Put | Request::Head)
            || *method == Method::DELETE;
        // The URL holds no secret: the signature travels in a header.
        What {
            sort,
            name: format!("{method} {uri}"),
            names_object,
            answer_within: request
                .extensions()
                .get::<AnswerWithin>()
                .map(|within| within.0),
        }
    }
}

/// Tells whether a bulk delete left objects behind.
fn has_failed_keys(sort: Request, body: &[u8]) -> bool {
    sort == Request::Delete
        && !body.is_empty()
        && xml::leaves(body)
            .is_some_and(|leaves| xml::text(&leaves, "DeleteResult/Error/Code").is_some())
}

/// Fails on a page that the library would take for an empty or a last one although it is not.
fn check_page(body: &[u8]) -> Result<(), NotS3> {
    if xml::root(body).as_deref() != Some("ListBucketResult") {
        return Err(NotS3(
            "it is no listing; a proxy or a login page may have answered in its place",
        ));
    }
    let Some(leaves) = xml::leaves(body) else {
        return Err(NotS3("the listing is cut or broken"));
    };
    let is_truncated = xml::text(&leaves, "ListBucketResult/IsTruncated")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if is_truncated && xml::text(&leaves, "ListBucketResult/NextContinuationToken").is_none() {
        return Err(NotS3(
            "the listing says that there is more, but not how to get it",
        ));
    }
    let counted =
        xml::text(&leaves, "ListBucketResult/KeyCount").and_then(|text| text.parse::<usize>().ok());
    let keys = leaves
        .iter()
        .filter(|leaf| leaf.path == "ListBucketResult/Contents/Key")
        .count();
    let prefixes = leaves
        .iter()
        .filter(|leaf| leaf.path == "ListBucketResult/CommonPrefixes/Prefix")
        .count();
    match counted {
        Some(counted) if counted > keys + prefixes => {
            Err(NotS3("the listing holds fewer keys than it counts"))
        }
        _ => Ok(()),
    }
}

fn rebuilt(status: StatusCode, headers: http::HeaderMap, body: Bytes) -> HttpResponse {
    let mut response = http::Response::new(HttpResponseBody::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn into_reqwest(request: HttpRequest) -> Result<reqwest::Request, HttpError> {
    let (parts, body) = request.into_parts();
    let url = parts
        .uri
        .to_string()
        .parse()
        .map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Unknown, error))?;
    let mut request = reqwest::Request::new(parts.method, url);
    *request.headers_mut() = parts.headers;
    *request.body_mut() = Some(match body.as_bytes() {
        Some(bytes) => bytes.clone().into(),
        None => reqwest::Body::wrap(body),
    });
    Ok(request)
}

/// Gives an error of the HTTP client the kind by which the library decides whether to send the request again.
pub(super) fn http_error(error: reqwest::Error) -> HttpError {
    let by_io = first::<io::Error>(&error).map(io::Error::kind);
    let kind = if first::<rustls::Error>(&error).is_some() {
        // A certificate does not get better by asking again.
        HttpErrorKind::Unknown
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() || by_io == Some(io::ErrorKind::TimedOut) {
        HttpErrorKind::Timeout
    } else {
        // Hung up: before the answer, or in the middle of it.
        HttpErrorKind::Interrupted
    };
    // The URL is in our own error text already.
    HttpError::new(kind, error.without_url())
}

/// Adjusts what is worth sending again: hosts that cannot be reached soon give up, deletions may always be repeated.
fn without_hope(error: HttpError, what: &What) -> HttpError {
    let by_io = first::<io::Error>(&error).map(io::Error::kind);
    let is_unreachable =
        first::<NoSuchHost>(&error).is_some() || by_io == Some(io::ErrorKind::ConnectionRefused);
    if is_unreachable && trail::count_unreachable() >= UNREACHABLE_MAX {
        return HttpError::new(HttpErrorKind::Unknown, error);
    }
    match (error.kind(), what.sort) {
        (HttpErrorKind::Timeout | HttpErrorKind::Interrupted, Request::Delete) => {
            HttpError::new(HttpErrorKind::Request, error)
        }
        _ => error,
    }
}
