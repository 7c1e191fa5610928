//! A proxy that counts, scripts and breaks HTTP between a client and a store.
//!
//! It stands in front of an upstream as a reverse proxy, answers alone when there is none, and is at
//! the same time a forward proxy: `CONNECT host:port` and absolute-form requests for *any* host go
//! to the one loopback upstream, so that a test may use a real provider's name and never leave the
//! machine. TLS inside a tunnel, or on the listener itself, is ended with a certificate of a test
//! authority whose PEM file the client has to be given.
//!
//! What must hold: every request is recorded, also those answered by a script; the `Host` header
//! reaches the upstream unchanged, because signatures cover it, unless a bucket is moved out of it.

pub mod http;
mod rule;
#[cfg(test)]
mod tests;
mod tls;

use crate::host::Host;
use http::Message;
pub use rule::{Action, Edit, Gate, Rule, s3_error};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tls::Authority;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What a proxy is started with.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// Where requests go; without it only scripted answers are given.
    pub upstream: Option<SocketAddr>,
    /// The listener itself speaks TLS, with a certificate for this host.
    pub tls_host: Option<String>,
    /// A sub-domain of one of these is a bucket: it is moved to the front of the path.
    pub bucket_domains: Vec<String>,
    /// The port on loopback; 0 lets the system choose.
    pub port: u16,
}

/// One request the proxy saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The host the client meant.
    pub host: String,
    /// The status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_up: u64,
    /// Bytes of the answer's body.
    pub bytes_down: u64,
    /// The headers of the request.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// What the request does in terms of S3: `LIST`, `DELETE objects`, or the method.
    pub fn class(&self) -> &str {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let has = |name: &str| {
            query
                .split('&')
                .any(|pair| pair.split('=').next() == Some(name))
        };
        match self.method.as_str() {
            "GET" if has("list-type") || has("prefix") => "LIST",
            "GET" if has("location") => "LOCATION",
            "POST" if has("delete") => "DELETE objects",
            method => method,
        }
    }
}

/// The running proxy; dropping it closes everything.
pub struct ScriptedProxy {
    host: Host,
    shared: Arc<Shared>,
    tls: bool,
}

struct Shared {
    options: ProxyOptions,
    authority: Authority,
    script: Mutex<Script>,
    connections: AtomicUsize,
}

/// Counts a connection for as long as it is served.
struct Served(Arc<Shared>);

impl Served {
    fn begin(shared: Arc<Shared>) -> Served {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        Served(shared)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

impl ScriptedProxy {
    /// Starts a proxy in front of a server on loopback.
    pub fn in_front_of(upstream: SocketAddr) -> ScriptedProxy {
        let options = ProxyOptions {
            upstream: Some(upstream),
            ..ProxyOptions::default()
        };
        ScriptedProxy::with(options).expect("a proxy can be started on loopback")
    }

    /// Starts a server that gives scripted answers only, and 404 to everything else.
    pub fn alone() -> ScriptedProxy {
        ScriptedProxy::with(ProxyOptions::default()).expect("a proxy can be started on loopback")
    }

    /// Starts a proxy in front of a server, with TLS on its own listener for `127.0.0.1` and `localhost`.
    pub fn with_tls(upstream: SocketAddr) -> ScriptedProxy {
        let tls_host = Some("127.0.0.1".to_owned());
        let options = ProxyOptions {
            upstream: Some(upstream),
            tls_host,
            ..ProxyOptions::default()
        };
        ScriptedProxy::with(options).expect("a proxy can be started on loopback")
    }

    /// Starts a proxy with these options.
    pub fn with(options: ProxyOptions) -> io::Result<ScriptedProxy> {
        let (port, tls) = (options.port, options.tls_host.is_some());
        let shared = Arc::new(Shared {
            options,
            authority: Authority::new()?,
            script: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let for_connections = Arc::clone(&shared);
        let host = Host::start(port, move |stream| {
            let served = Served::begin(Arc::clone(&for_connections));
            async move {
                // A connection ends as the script or the client wants; there is nobody to tell.
                let _ = listen(&served.0, stream).await;
            }
        })?;
        Ok(ScriptedProxy { host, shared, tls })
    }

    /// Adds a rule after those there are.
    pub fn add(&self, rule: Rule) {
        self.script().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.script().rules.clear();
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// The endpoint for clients.
    pub fn endpoint(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.address()
        )
    }

    /// A store URL for a bucket and prefix through this proxy, with region and the test servers' keys.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        let url = crate::s3::store_url(
            self.address(),
            bucket,
            prefix,
            crate::s3::ACCESS_KEY,
            crate::s3::SECRET_KEY,
        );
        if self.tls {
            url.replace("endpoint=http://", "endpoint=https://")
        } else {
            url
        }
    }

    /// The certificate of the test authority, for `AWS_CA_BUNDLE`.
    pub fn ca_pem_path(&self) -> &Path {
        self.shared.authority.pem_path()
    }

    /// The environment that sends a client's traffic for any host through this proxy.
    pub fn proxy_env(&self) -> Vec<(String, String)> {
        let (url, ca) = (self.endpoint(), self.ca_pem_path().display().to_string());
        [
            ("HTTP_PROXY", &url),
            ("HTTPS_PROXY", &url),
            ("http_proxy", &url),
            ("https_proxy", &url),
            ("AWS_CA_BUNDLE", &ca),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .to_vec()
    }

    /// Every request so far, in the order of their answers.
    pub fn requests(&self) -> Vec<Seen> {
        self.script().seen.clone()
    }

    /// Whether no connection is open: everything that clients sent before they went away has come to its end, upstream too.
    pub fn is_idle(&self) -> bool {
        self.shared.connections.load(Ordering::SeqCst) == 0
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.script().seen.clear();
    }

    /// How many requests there were of each class, such as `PUT` and `LIST`.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.script().seen {
            *counts.entry(seen.class().to_owned()).or_default() += 1;
        }
        counts
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script()
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A connection, plain or inside any number of wrappings.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}
type Line = BufReader<Box<dyn Wire>>;

/// Serves a connection, and what is inside each tunnel that is opened on it.
async fn listen(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    let mut line: Line = match &shared.options.tls_host {
        Some(host) => wrap(shared.authority.acceptor(host)?.accept(stream).await?),
        None => wrap(stream),
    };
    let mut host = String::new();
    while let Some(target) = serve(shared, &mut line, &host).await? {
        line.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        host = host_of(&target).to_owned();
        let is_tls = line.fill_buf().await?.first() == Some(&0x16);
        if is_tls {
            line = wrap(shared.authority.acceptor(&host)?.accept(line).await?);
        }
    }
    Ok(())
}

fn wrap(stream: impl Wire + 'static) -> Line {
    BufReader::new(Box::new(stream))
}

/// Serves requests until the connection ends, or returns the target of the tunnel a client asked for.
async fn serve(shared: &Shared, line: &mut Line, tunnel_host: &str) -> io::Result<Option<String>> {
    while let Some(mut request) = http::read_head(line).await? {
        if let ("CONNECT", target) = request.request_line() {
            return Ok(Some(target.to_owned()));
        }
        if request
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            line.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        http::read_request_body(line, &mut request).await?;
        if !exchange(shared, line, request, tunnel_host).await? {
            break;
        }
    }
    Ok(None)
}

/// Answers one request as the script says; false when the connection is to be closed.
async fn exchange(
    shared: &Shared,
    client: &mut Line,
    mut request: Message,
    tunnel_host: &str,
) -> io::Result<bool> {
    let host = normalise(&mut request, tunnel_host);
    move_bucket(&mut request, &host, &shared.options.bucket_domains);
    let action = shared
        .script()
        .rules
        .iter_mut()
        .find_map(|rule| rule.take(&request));
    let mut keep = None;
    let answer = match &action {
        Some(Action::Respond(message)) => Some(message.clone()),
        Some(Action::DropBefore) => None,
        Some(Action::Stall) => {
            note(shared, &request, &host, None);
            gone(client).await;
            None
        }
        Some(Action::DropAfter) => {
            forward(shared, &request).await?;
            None
        }
        Some(Action::Hold(gate)) => {
            gate.wait().await;
            Some(forward(shared, &request).await?)
        }
        Some(Action::Late(gate)) => {
            let answer = forward(shared, &request).await?;
            note(shared, &request, &host, Some(&answer));
            gate.wait().await;
            http::write(client, &answer, None, is_bodyless(&request, &answer)).await?;
            return Ok(true);
        }
        Some(Action::CutBody(bytes)) => {
            keep = Some(*bytes);
            Some(forward(shared, &request).await?)
        }
        Some(Action::Edit(edit)) => {
            let mut answer = forward(shared, &request).await?;
            edit(&mut answer);
            Some(answer)
        }
        None => Some(forward(shared, &request).await?),
    };
    note(shared, &request, &host, answer.as_ref());
    let Some(answer) = answer else {
        return Ok(false);
    };
    http::write(client, &answer, keep, is_bodyless(&request, &answer)).await?;
    Ok(keep.is_none())
}

fn is_bodyless(request: &Message, answer: &Message) -> bool {
    request.request_line().0 == "HEAD" || matches!(answer.status(), 204 | 304)
}

/// Waits until the client has gone away.
async fn gone(client: &mut Line) {
    while let Ok(more @ 1..) = client.fill_buf().await.map(<[u8]>::len) {
        client.consume(more);
    }
}

/// Turns an absolute-form target into a path; returns the host the client meant.
fn normalise(request: &mut Message, tunnel_host: &str) -> String {
    let (method, target) = request.request_line();
    let header_host = request.header("host").unwrap_or(tunnel_host).to_owned();
    let Some(rest) = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
    else {
        return header_host;
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, start) = (authority.to_owned(), format!("{method} /{path} HTTP/1.1"));
    request.start = start;
    host
}

/// Moves a bucket from the front of the host to the front of the path, and out of the `Host` header.
fn move_bucket(request: &mut Message, host: &str, domains: &[String]) {
    let found = domains.iter().find_map(|domain| {
        let bucket = host_of(host)
            .strip_suffix(domain.as_str())?
            .strip_suffix('.')?;
        Some((bucket, domain))
    });
    if let Some((bucket, domain)) = found {
        let (method, target) = request.request_line();
        request.start = format!("{method} /{bucket}{target} HTTP/1.1");
        request.set_header("Host", domain);
    }
}

fn host_of(authority: &str) -> &str {
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

async fn forward(shared: &Shared, request: &Message) -> io::Result<Message> {
    let Some(upstream) = shared.options.upstream else {
        return Ok(s3_error(
            404,
            "NoSuchKey",
            "The specified key does not exist.",
        ));
    };
    let method = request.request_line().0.to_owned();
    match ask(upstream, request, &method).await {
        Ok(answer) => Ok(answer),
        Err(error) => Ok(Message::answer(
            502,
            "text/plain",
            format!("the upstream does not answer: {error}"),
        )),
    }
}

async fn ask(upstream: SocketAddr, request: &Message, method: &str) -> io::Result<Message> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut request = request.clone();
    request
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("expect"));
    http::write(&mut stream, &request, None, false).await?;
    loop {
        let mut answer = http::read_head(&mut stream)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        http::read_answer_body(&mut stream, &mut answer, method).await?;
        if !(100..200).contains(&answer.status()) {
            return Ok(answer);
        }
    }
}

fn note(shared: &Shared, request: &Message, host: &str, answer: Option<&Message>) {
    let (method, target) = request.request_line();
    shared.script().seen.push(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        host: host.to_owned(),
        status: answer.map(Message::status),
        bytes_up: request.body.len() as u64,
        bytes_down: answer.map_or(0, |answer| answer.body.len() as u64),
        headers: request.headers.clone(),
    });
}
