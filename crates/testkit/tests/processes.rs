//! Shows that the helpers which run as processes of their own start, answer, and end with their test.
//!
//! That it is an integration test also makes `cargo test` build the helpers' binaries.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Action, Rule, S3Process, ScriptedProxy, built_binary, proxy::http::Message};

fn status(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    // One read is enough for a first line, and a proxy may keep the connection.
    let mut answer = [0; 4096];
    let n = stream.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..n])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn the_s3_process_answers_until_it_is_killed() {
    let mut server = S3Process::start();
    assert!(
        status(server.address(), "/bucket/key").contains("403"),
        "signatures are checked"
    );
    assert!(server.root().join("bucket").is_dir());
    assert!(server.store_url("bucket", "p").contains(&server.endpoint()));
    server.kill();
    TcpStream::connect(server.address())
        .map(drop)
        .expect_err("the server is gone");
}

#[test]
fn the_proxy_process_passes_on_and_ends_with_its_input() {
    let upstream = ScriptedProxy::alone();
    let answer = Message::answer(200, "text/plain", "hello");
    upstream.add(Rule::new(Action::Respond(answer)));
    let mut proxy = Command::new(built_binary("testkit", "testkit-proxy"))
        .args(["--upstream", &upstream.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the proxy starts");
    let mut line = String::new();
    let mut output = BufReader::new(proxy.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("a line");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "listening");
    assert!(status(words[1].parse().expect("an address"), "http://any.test/x").contains("200"));
    assert_eq!(upstream.requests()[0].target, "/x");
    assert!(
        std::fs::read_to_string(words[2])
            .expect("a file")
            .contains("BEGIN CERTIFICATE")
    );
    drop(proxy.stdin.take());
    assert!(proxy.wait().expect("it ends").success());
}

#[test]
fn a_scratch_postgres_does_not_outlive_a_killed_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut readur = Command::new(built_binary("testkit", "testkit-readur"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = readur.stdin.take().expect("a pipe");
    let mut output = BufReader::new(readur.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let place = line.split(['@', '/']).nth(3).expect("a URL");
    let address: SocketAddr = place.parse().expect("an address");
    writeln!(input, "fleet {} 5 1 traps", folder.path().display()).expect("it listens");
    line.clear();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    assert!(folder.path().join("uploads/documents").is_dir());
    TcpStream::connect(address).expect("the database listens");
    readur.kill().expect("it is killed");
    readur.wait().expect("it has ended");
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the database still listens");
        std::thread::yield_now();
    }
}

#[test]
fn a_wrong_argument_is_refused_with_the_usage() {
    for binary in ["testkit-s3", "testkit-proxy"] {
        let output = Command::new(built_binary("testkit", binary))
            .args(["--sideways", "1"])
            .output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
    }
}
