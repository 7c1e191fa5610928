//! What a real brew asked, literally and in order, asked again: of `serve`, and of a web server that knows nothing of mirrors.
//!
//! `requests.jsonl` was written by `cargo xtask brew --checkout DIR --record FILE`, which runs the client itself.

use crate::layouts::{asking_flat, in_folder};
use crate::serve::start;
use crate::world::FIRST;
use bottles::sample::Sample;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transfer::Digest;

/// One request.
#[derive(Deserialize)]
struct Asked {
    client: String,
    case: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

fn asked() -> Vec<Asked> {
    let lines = include_str!("requests.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a request"))
        .collect()
}

/// Reads to the end of a head; returns it, and what came behind it.
async fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return (String::from_utf8(read).expect("text"), rest);
        }
        let count = stream.read(&mut bytes).await.expect("it is read");
        assert!(count > 0, "the head is cut");
        read.extend_from_slice(&bytes[..count]);
    }
}

impl Asked {
    async fn of(&self, server: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(server).await.expect("it listens");
        let (method, path) = (&self.method, &self.path);
        let mut text =
            format!("{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await.expect("it is sent");
        let (head, mut body) = head(&mut stream).await;
        stream.read_to_end(&mut body).await.expect("it is read");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.expect("a status"),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.into(),
        }
    }

    /// Checks that an answer has what lies in the mirror under the path.
    fn check(&self, answer: &Answer, mirror: &Path) {
        let what = format!(
            "{} {} ({}, {})",
            self.method, self.path, self.client, self.case
        );
        assert_eq!(answer.status, 200, "{what}");
        let path = percent_decode_str(&self.path).decode_utf8().expect("text");
        let expected = std::fs::read(mirror.join(path.trim_start_matches('/')));
        let expected = expected.unwrap_or_else(|error| panic!("{what}: {error}"));
        if let Some((_, digest)) = path.rsplit_once("/blobs/sha256:") {
            assert_eq!(Digest::of(&expected).to_string(), digest, "{what}");
        }
        if self.method == "HEAD" {
            let length = expected.len().to_string();
            assert_eq!(
                answer.headers.get("content-length"),
                Some(&length),
                "{what}"
            );
            return;
        }
        let body = match answer.headers.get("content-encoding").map(String::as_str) {
            None => answer.body.to_vec(),
            Some("gzip") => {
                assert!(self.headers["accept-encoding"].contains("gzip"), "{what}");
                let mut body = Vec::new();
                let mut packed = flate2::read::GzDecoder::new(answer.body.as_ref());
                packed.read_to_end(&mut body).expect("it is gzip");
                body
            }
            Some(other) => panic!("{what}: {other}"),
        };
        assert!(body == expected, "{what}: other bytes came");
    }
}

/// Serves the files of a folder, as any web server does.
async fn plain(root: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, _) = head(&mut stream).await;
            let mut words = head.split(' ');
            let is_head = words.next() == Some("HEAD");
            let path = words.next().expect("a path");
            let path = percent_decode_str(path).decode_utf8().expect("text");
            let found = std::fs::read(root.join(path.trim_start_matches('/')));
            let (status, body) = match found {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let mut answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            if !is_head {
                answer.extend(body);
            }
            // A client that has gone needs no answer.
            let _ = stream.write_all(&answer).await;
        }
    });
    address
}

#[tokio::test]
async fn what_a_real_brew_asked_is_answered_by_serve_and_by_any_web_server() {
    let folder = tempfile::tempdir().expect("a directory");
    let world = in_folder(Sample::embedded(), folder.path()).await;
    let outcome = world
        .run(&asking_flat(&world, &["wget", "gtk+"], FIRST))
        .await;
    outcome.expect("it is mirrored");
    let (_, generation) = world.current().await.expect("something is published");
    let serving = start(&world, Duration::from_secs(60)).await;
    let server = serving.root.trim_start_matches("http://");
    let server = server.parse().expect("an address");
    let files = plain(folder.path().to_owned()).await;
    let asked = asked();
    for request in &asked {
        for server in [server, files] {
            request.check(&request.of(server).await, folder.path());
        }
    }
    // It is all that an install needs, in each case.
    for case in ["registry", "old API", "flat"] {
        let of_case = asked.iter().filter(|asked| asked.case == case);
        let paths: BTreeSet<String> = of_case
            .map(|asked| {
                percent_decode_str(&asked.path)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect();
        // The API that it has is young in the last case.
        let asks_api = paths.iter().any(|path| path.starts_with("/api/"));
        assert_eq!(asks_api, case != "flat", "{case}");
        let needed = generation.bottles.iter();
        let needed = needed.filter(|held| case != "old API" || held.formula == "wget");
        for held in needed {
            let file =
                bottles::names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
            let path = match case {
                "flat" => format!("/flat/{file}"),
                _ => format!("/{}", held.blob_key()),
            };
            assert!(paths.contains(&path), "{case}: nobody asked for {path}");
        }
    }
}
