//! Shows that each action of the proxy does what its name says, as reverse and as forward proxy.

use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// An upstream that answers every request with its own request line.
fn echo() -> ScriptedProxy {
    let upstream = ScriptedProxy::alone();
    upstream.add(Rule::new(Action::Respond(Message::answer(
        200,
        "text/plain",
        "hello from upstream",
    ))));
    upstream
}

fn request(method: &str, target: &str, body: &str) -> Message {
    Message {
        start: format!("{method} {target} HTTP/1.1"),
        headers: vec![("Host".into(), "example.test".into())],
        body: body.into(),
    }
}

async fn dial(address: SocketAddr) -> Line {
    wrap(
        TcpStream::connect(address)
            .await
            .expect("the proxy listens"),
    )
}

async fn send(line: &mut Line, message: &Message) -> io::Result<Message> {
    http::write(line, message, None, false).await?;
    let mut answer = http::read_head(line)
        .await?
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    http::read_answer_body(line, &mut answer, message.request_line().0).await?;
    Ok(answer)
}

async fn ask_once(proxy: &ScriptedProxy, message: &Message) -> io::Result<Message> {
    send(&mut dial(proxy.address()).await, message).await
}

#[tokio::test]
async fn it_passes_requests_on_and_counts_them() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    let mut line = dial(proxy.address()).await;
    let answer = send(&mut line, &request("PUT", "/bucket/key", "12345"))
        .await
        .expect("an answer");
    assert_eq!(
        (answer.status(), answer.body),
        (200, b"hello from upstream".to_vec())
    );
    send(
        &mut line,
        &request("GET", "/bucket?list-type=2&prefix=a", ""),
    )
    .await
    .expect("the line is kept alive");
    send(&mut line, &request("POST", "/bucket?delete", "<x/>"))
        .await
        .expect("an answer");
    assert_eq!(
        format!("{:?}", proxy.counts()),
        r#"{"DELETE objects": 1, "LIST": 1, "PUT": 1}"#
    );
    let first = &proxy.requests()[0];
    assert_eq!(
        (first.bytes_up, first.bytes_down, first.status),
        (5, 19, Some(200))
    );
    assert_eq!(
        (first.host.as_str(), first.target.as_str()),
        ("example.test", "/bucket/key")
    );
    assert_eq!(
        upstream.requests()[0].host,
        "example.test",
        "signatures cover the host"
    );
    proxy.forget_requests();
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn rules_choose_by_method_target_and_turn() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    proxy.add(
        Rule::slow_down()
            .method("PUT")
            .target("manifests/")
            .skip(1)
            .times(2),
    );
    let mut statuses = Vec::new();
    for message in [
        request("PUT", "/b/manifests/1", ""),
        request("GET", "/b/manifests/1", ""),
        request("PUT", "/b/objects/1", ""),
        request("PUT", "/b/manifests/2", ""),
        request("PUT", "/b/manifests/2", ""),
        request("PUT", "/b/manifests/2", ""),
    ] {
        statuses.push(
            ask_once(&proxy, &message)
                .await
                .expect("an answer")
                .status(),
        );
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503, 200]);
    proxy.add(Rule::s3_error(403, "AccessDenied", "Access Denied"));
    let denied = ask_once(&proxy, &request("GET", "/b/k", ""))
        .await
        .expect("an answer");
    assert_eq!(denied.status(), 403);
    assert!(String::from_utf8_lossy(&denied.body).contains("<Code>AccessDenied</Code>"));
    proxy.clear();
    assert_eq!(
        ask_once(&proxy, &request("GET", "/b/k", ""))
            .await
            .expect("an answer")
            .status(),
        200
    );
}

#[tokio::test]
async fn a_dropped_answer_leaves_the_effect_and_a_dropped_request_does_not() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    proxy.add(Rule::new(Action::DropAfter).target("/after"));
    proxy.add(Rule::new(Action::DropBefore).target("/before"));
    ask_once(&proxy, &request("PUT", "/after", "x"))
        .await
        .expect_err("the answer is lost");
    ask_once(&proxy, &request("PUT", "/before", "x"))
        .await
        .expect_err("the request is lost");
    let reached: Vec<String> = upstream
        .requests()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(reached, ["/after"]);
    assert!(proxy.requests().iter().all(|seen| seen.status.is_none()));
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn a_body_can_be_cut_or_changed() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    proxy.add(Rule::new(Action::CutBody(5)).target("/cut"));
    proxy.add(Rule::new(Action::Edit(Arc::new(|answer| answer.body[0] ^= 1))).target("/edit"));
    let error = ask_once(&proxy, &request("GET", "/cut", ""))
        .await
        .expect_err("the body is short");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let edited = ask_once(&proxy, &request("GET", "/edit", ""))
        .await
        .expect("an answer");
    assert_eq!(edited.body, b"iello from upstream");
}

#[tokio::test]
async fn a_held_request_goes_on_when_the_gate_opens() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    let gate = Gate::closed();
    proxy.add(Rule::new(Action::Hold(gate.clone())).target("/held"));
    let message = request("GET", "/held", "");
    let mut held = Box::pin(ask_once(&proxy, &message));
    let free = request("GET", "/free", "");
    tokio::select! {
        biased;
        _ = &mut held => panic!("the gate is closed"),
        answer = ask_once(&proxy, &free) => assert_eq!(answer.expect("others pass").status(), 200),
    }
    gate.open();
    assert_eq!(held.await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_late_answer_comes_when_the_gate_opens_and_the_effect_before() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    let gate = Gate::closed();
    proxy.add(Rule::new(Action::Late(gate.clone())).target("/late"));
    let message = request("GET", "/late", "");
    let mut late = Box::pin(ask_once(&proxy, &message));
    while upstream.requests().is_empty() {
        let free = request("GET", "/free", "");
        tokio::select! {
            biased;
            _ = &mut late => panic!("the gate is closed"),
            answer = ask_once(&upstream, &free) => assert_eq!(answer.expect("an answer").status(), 200),
        }
    }
    gate.open();
    assert_eq!(late.await.expect("an answer").status(), 200);
    let passed = upstream.requests();
    assert!(passed.iter().any(|seen| seen.target == "/late"));
}

#[tokio::test]
async fn any_host_reaches_the_upstream_in_absolute_form() {
    let upstream = echo();
    let options = ProxyOptions {
        upstream: Some(upstream.address()),
        bucket_domains: vec!["s3.example.com".into()],
        ..ProxyOptions::default()
    };
    let proxy = ScriptedProxy::with(options).expect("a proxy");
    let absolute = request("GET", "http://localhost:9000/hx-sync/key?x=1", "");
    assert_eq!(
        ask_once(&proxy, &absolute)
            .await
            .expect("an answer")
            .status(),
        200
    );
    let in_host = request("GET", "http://my-bucket.s3.example.com/a/b", "");
    ask_once(&proxy, &in_host).await.expect("an answer");
    let seen = proxy.requests();
    assert_eq!(
        (seen[0].host.as_str(), seen[0].target.as_str()),
        ("localhost:9000", "/hx-sync/key?x=1")
    );
    assert_eq!(seen[1].target, "/my-bucket/a/b");
}

fn connector(proxy: &ScriptedProxy, trusting: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    if trusting {
        let pem =
            CertificateDer::from_pem_file(proxy.ca_pem_path()).expect("the authority's PEM file");
        roots.add(pem).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn connect_tunnel(proxy: &ScriptedProxy, target: &str) -> Line {
    let mut line = dial(proxy.address()).await;
    http::write(&mut line, &request("CONNECT", target, ""), None, false)
        .await
        .expect("sent");
    let answer = http::read_head(&mut line)
        .await
        .expect("read")
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    line
}

#[tokio::test]
async fn a_tunnel_shows_a_certificate_for_the_host_that_was_asked_for() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    let name = || ServerName::try_from("s3.wasabisys.com").expect("a name");
    let line = connect_tunnel(&proxy, "s3.wasabisys.com:443").await;
    let inside = connector(&proxy, true)
        .connect(name(), line)
        .await
        .expect("the authority is trusted");
    let answer = send(&mut wrap(inside), &request("GET", "/b/k", ""))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);

    let line = connect_tunnel(&proxy, "s3.wasabisys.com:443").await;
    connector(&proxy, false)
        .connect(name(), line)
        .await
        .map(drop)
        .expect_err("nobody else trusts it");
}

#[tokio::test]
async fn a_tunnel_may_hold_plain_requests() {
    let upstream = echo();
    let proxy = ScriptedProxy::in_front_of(upstream.address());
    let mut line = connect_tunnel(&proxy, "minio:9000").await;
    let answer = send(&mut line, &request("GET", "/b/k", ""))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_listener_itself_can_speak_tls() {
    let upstream = echo();
    let proxy = ScriptedProxy::with_tls(upstream.address());
    assert!(proxy.endpoint().starts_with("https://127.0.0.1:"));
    assert!(
        proxy
            .store_url("bucket", "p")
            .contains("endpoint=https://127.0.0.1:")
    );
    let line = dial(proxy.address()).await;
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let inside = connector(&proxy, true)
        .connect(name, line)
        .await
        .expect("the authority is trusted");
    let answer = send(&mut wrap(inside), &request("GET", "/b/k", ""))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn alone_it_says_that_nothing_is_there() {
    let proxy = ScriptedProxy::alone();
    let answer = ask_once(&proxy, &request("GET", "/b/k", ""))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 404);
    let address = proxy.address();
    drop(proxy);
    TcpStream::connect(address)
        .await
        .map(drop)
        .expect_err("dropping closes the port");
}
