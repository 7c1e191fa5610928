//! Where bottles come from: the API and the registry, over HTTP.
//!
//! What must hold: nothing is taken for whole that was cut; a server that asks for patience gets it; a token goes to the registry and to
//! nobody else; a download that breaks goes on where it broke, if the server can and the file is still the same; a password that stands
//! in an address is sent, and is in no address that is told.
//!
//! It deliberately checks no digest: who stores a blob does, while it streams.

mod download;
mod error;

pub use download::Registry;
pub use error::{UpstreamError, UpstreamErrorKind};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use download::Download;
use percent_encoding::percent_decode_str;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Environment, StoreError, Tuning};
use url::Url;

/// What a client without an account sends: the registry takes it for "anybody".
const ANYBODY: &str = "Bearer QQ==";

/// What a manifest is asked for as.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The largest API file or manifest that is taken, in bytes: a server that sends without end must not fill the memory.
const SMALL_MAX: u64 = 256 << 20;

/// Where an upstream is and how patiently it is asked.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// The root of the API, such as `https://formulae.brew.sh/api`.
    pub api: Url,
    /// The registry, such as `https://ghcr.io`.
    pub registry: Url,
    /// What is sent to the registry as `Authorization`, if it wants more than anybody.
    pub authorization: Option<String>,
    /// How often a request is made in all before its failure counts; a download that gets on between two breaks begins to count anew.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
}

/// An upstream.
pub struct Upstream {
    client: reqwest::Client,
    options: UpstreamOptions,
    /// The name and the password that stood in the API's address.
    login: Option<Login>,
    /// The API's address as it may be told: a key may stand in its query.
    shown: Url,
    /// Tokens by the scope they were given for.
    tokens: Mutex<HashMap<String, HeaderValue>>,
    requests: AtomicU64,
}

/// What the API has under a path.
#[derive(Clone, Debug)]
pub struct ApiFile {
    /// The bytes, as they are.
    pub bytes: Bytes,
    /// The validators to ask with the next time.
    pub validators: Validators,
}

/// What tells a server which version is known here (RFC 9110, 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// The entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was changed last, as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// The answer to the question for an API file.
#[derive(Clone, Debug)]
pub enum ApiAnswer {
    /// It is as it was.
    NotModified,
    /// This is it.
    File(ApiFile),
    /// There is none.
    Missing,
}

/// A name and a password.
struct Login {
    name: String,
    password: String,
}

impl Login {
    /// Takes them out of an address in which they stand.
    fn taken_from(url: &mut Url) -> Option<Login> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = Login {
            name: plain(url.username()),
            password: plain(url.password().unwrap_or_default()),
        };
        if login.name.is_empty() && login.password.is_empty() {
            return None;
        }
        // Only an address without a host refuses, and such a one has no login.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Some(login)
    }

    /// As a header says it (RFC 7617, 2).
    fn basic(&self) -> String {
        let pair = format!("{}:{}", self.name, self.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

impl Upstream {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// If certificates or proxies cannot be set up.
    pub fn new(
        mut options: UpstreamOptions,
        tuning: &Tuning,
        env: &Environment,
    ) -> Result<Upstream, StoreError> {
        // One client asks both: it needs TLS if either does.
        let stricter = match options.api.scheme() {
            "http" => &options.registry,
            _ => &options.api,
        };
        let client = store::http_client(stricter, tuning, env)?;
        let login = Login::taken_from(&mut options.api);
        if let Some(login) = Login::taken_from(&mut options.registry) {
            options.authorization.get_or_insert(login.basic());
        }
        let mut shown = options.api.clone();
        shown.set_query(None);
        Ok(Upstream {
            client,
            options,
            login,
            shown,
            tokens: Mutex::default(),
            requests: AtomicU64::new(0),
        })
    }

    /// Returns how many requests were made so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the root of the API as it may be told: without a name, a password or a query.
    #[must_use]
    pub fn api(&self) -> &Url {
        &self.shown
    }

    /// Reads an API file, if it is another one than the validators are of.
    ///
    /// # Errors
    /// If the answer is neither the file nor a clear "not there" or "not changed".
    pub async fn api_file(
        &self,
        path: &str,
        known: &Validators,
    ) -> Result<ApiAnswer, UpstreamError> {
        let url = below(&self.options.api, path);
        let known = known.clone();
        let ask = |request: RequestBuilder| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (header::IF_NONE_MATCH, &known.etag),
                (header::IF_MODIFIED_SINCE, &known.last_modified),
            ] {
                if let Some(value) = value.as_deref().and_then(|value| value.parse().ok()) {
                    headers.insert(name, value);
                }
            }
            match &self.login {
                Some(login) => request.header(header::AUTHORIZATION, login.basic()),
                None => request,
            }
            .headers(headers)
        };
        match self.small(&url, ask).await? {
            (StatusCode::NOT_MODIFIED, _, _) if known == Validators::default() => {
                let what = "it answered \"not changed\" to who has nothing";
                Err(UpstreamError::broken(&url, what))
            }
            (StatusCode::NOT_MODIFIED, _, _) => Ok(ApiAnswer::NotModified),
            (StatusCode::NOT_FOUND, _, _) => Ok(ApiAnswer::Missing),
            (_, headers, bytes) => Ok(ApiAnswer::File(ApiFile {
                bytes,
                validators: validators(&headers),
            })),
        }
    }

    /// Reads a manifest by its key; none if there is none.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub async fn manifest(&self, key: &str) -> Result<Option<Bytes>, UpstreamError> {
        let url = below(&self.options.registry, key);
        let ask = |request: RequestBuilder| request.header(header::ACCEPT, INDEX);
        match self.small(&url, ask).await? {
            (StatusCode::NOT_FOUND, _, _) => Ok(None),
            (_, _, bytes) => Ok(Some(bytes)),
        }
    }

    /// Reads something that fits into memory, anew from the beginning where it breaks.
    async fn small(
        &self,
        url: &Url,
        ask: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Bytes), UpstreamError> {
        let mut patience = self.patience();
        loop {
            let read = async {
                let answer = self.send(url, &ask).await?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let bytes = small_body(url, answer).await?;
                Ok((status, headers, bytes))
            };
            match read.await {
                Ok(found) => return Ok(found),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Asks once, with the token that the registry wants. "Not there" and "not changed" are answers, everything else but success
    /// is an error.
    async fn send(
        &self,
        url: &Url,
        ask: &impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, UpstreamError> {
        let mut refused = None;
        loop {
            let mut request = ask(self.client.get(url.clone()));
            let is_registry =
                url.origin() == self.options.registry.origin() && url.path().contains("/v2/");
            if is_registry {
                request = request.header(header::AUTHORIZATION, self.token_for(url));
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let sent = request.send().await;
            let answer = sent.map_err(|error| UpstreamError::transport(url, error))?;
            let status = answer.status();
            let is_answer = [StatusCode::NOT_FOUND, StatusCode::NOT_MODIFIED].contains(&status);
            if status.is_success() || is_answer {
                return Ok(answer);
            }
            if status == StatusCode::UNAUTHORIZED && is_registry && refused.is_none() {
                self.fetch_token(url, answer.headers()).await?;
                refused = Some(());
                continue;
            }
            return Err(UpstreamError::status(url, &answer));
        }
    }

    fn token_for(&self, url: &Url) -> HeaderValue {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens.get(&scope_of(url)) {
            return token.clone();
        }
        let configured = self.options.authorization.as_deref();
        let mut value = HeaderValue::from_str(configured.unwrap_or(ANYBODY))
            .unwrap_or_else(|_| HeaderValue::from_static(ANYBODY));
        value.set_sensitive(true);
        value
    }

    /// Gets the token that a challenge tells of (the distribution specification's "Token Authentication").
    async fn fetch_token(&self, url: &Url, headers: &HeaderMap) -> Result<(), UpstreamError> {
        let challenge = headers.get(header::WWW_AUTHENTICATE);
        let challenge = challenge
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let refused = || UpstreamError::refused(url);
        let realm = parameter("realm").ok_or_else(refused)?;
        let mut realm: Url = realm.parse().map_err(|_| refused())?;
        // A token that is given out for a plain-text address may be read by anybody on the way.
        if url.scheme() == "https" && realm.scheme() != "https" {
            return Err(refused());
        }
        for name in ["service", "scope"] {
            if let Some(value) = parameter(name) {
                realm.query_pairs_mut().append_pair(name, &value);
            }
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.get(realm.clone()).send().await;
        let answer = answer.map_err(|error| UpstreamError::transport(&realm, error))?;
        if !answer.status().is_success() {
            return Err(UpstreamError::status(&realm, &answer));
        }
        let body = small_body(&realm, answer).await?;
        let token = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let token = token.and_then(|found| {
            let text = found.get("token").or_else(|| found.get("access_token"));
            text.and_then(|text| text.as_str().map(|text| format!("Bearer {text}")))
        });
        let mut token = token
            .and_then(|token| HeaderValue::from_str(&token).ok())
            .ok_or_else(refused)?;
        token.set_sensitive(true);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(scope_of(url), token);
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience {
            left: self.options.attempts.max(1) - 1,
            pause: self.options.pause,
        }
    }

    /// Begins to read a blob; nothing if there is none.
    async fn download(self: &Arc<Self>, key: &str) -> Result<Option<Download>, UpstreamError> {
        Download::begin(self.clone(), below(&self.options.registry, key)).await
    }
}

/// How often something is tried once more.
struct Patience {
    left: u32,
    pause: Duration,
}

impl Patience {
    /// Waits, if the failure may pass and there are attempts left.
    async fn after(&mut self, error: UpstreamError) -> Result<(), UpstreamError> {
        if self.left == 0 || !error.may_pass() {
            return Err(error);
        }
        self.left -= 1;
        let pause = error.retry_after().unwrap_or(self.pause);
        tracing::info!(%error, ?pause, "asking the upstream once more");
        tokio::time::sleep(pause).await;
        self.pause = self.pause.saturating_mul(2).min(Duration::from_secs(60));
        Ok(())
    }
}

/// The image that an address is of: a token is good for one.
fn scope_of(url: &Url) -> String {
    let path = url.path();
    let end = path.find("/blobs/").or_else(|| path.find("/manifests/"));
    path[..end.unwrap_or(path.len())].to_owned()
}

fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Validators {
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
    }
}

async fn small_body(url: &Url, mut answer: Response) -> Result<Bytes, UpstreamError> {
    let announced = answer.content_length();
    let mut body =
        Vec::with_capacity(usize::try_from(announced.unwrap_or(0).min(SMALL_MAX)).unwrap_or(0));
    loop {
        let chunk = answer.chunk().await;
        match chunk.map_err(|error| UpstreamError::transport(url, error))? {
            Some(chunk) if body.len() as u64 + chunk.len() as u64 > SMALL_MAX => {
                return Err(UpstreamError::too_large(url, SMALL_MAX));
            }
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(body.into()),
        }
    }
}

/// Puts a path behind a root, whether or not that ends in a slash.
fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    let whole = format!("{}/{path}", root.path().trim_end_matches('/'));
    url.set_path(&whole);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_and_told_to_nobody() {
        let api: Url = "https://us%20er:p%40ss@mirror/api?key=abc"
            .parse()
            .expect("an address");
        let registry: Url = "https://token@registry/".parse().expect("an address");
        let options = UpstreamOptions {
            api,
            registry,
            authorization: None,
            attempts: 1,
            pause: Duration::ZERO,
        };
        let made = Upstream::new(options, &Tuning::default(), &Environment::default());
        let upstream = made.expect("it is made");
        assert_eq!(upstream.api().as_str(), "https://mirror/api");
        // The key is still asked with.
        let asked = below(&upstream.options.api, "formula.jws.json");
        assert_eq!(
            asked.as_str(),
            "https://mirror/api/formula.jws.json?key=abc"
        );
        let login = upstream.login.as_ref().expect("a login");
        assert_eq!(login.basic(), "Basic dXMgZXI6cEBzcw==");
        let authorization = upstream.options.authorization.as_deref();
        assert_eq!(authorization, Some("Basic dG9rZW46"));
    }
}
