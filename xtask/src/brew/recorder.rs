//! Stands between a client and a mirror, and writes down what the client asks, as it asks it.
//!
//! What must hold: every byte goes on unchanged, in both directions; a request is written down before its answer can come.
//!
//! It deliberately knows only requests without a body: clients of a mirror make no others.

use crate::run::Outcome;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What a server may look at. The rest names the machine, or is the connection's.
const HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "authorization",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
];

/// A recorder at work, until the process ends.
pub(super) struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

impl Recorder {
    /// Begins one in front of a server at `http://HOST:PORT`.
    pub(super) fn in_front_of(url: &str) -> Outcome<Recorder> {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorder = Recorder {
            address,
            seen: seen.clone(),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, seen) = (server.clone(), seen.clone());
                thread::spawn(move || {
                    if let Err(error) = pass(client, &server, &seen) {
                        eprintln!("a connection through the recorder ended early: {error}");
                    }
                });
            }
        });
        Ok(recorder)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes what was asked since the last time, a line of JSON each.
    pub(super) fn take(&self, client: &str, case: &str) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = seen.drain(..).map(|seen| {
            let line: Value = json!({
                "client": client, "case": case, "method": seen.method, "path": seen.path, "headers": seen.headers,
            });
            line.to_string()
        });
        lines.collect()
    }
}

fn pass(mut client: TcpStream, server: &str, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        // Nobody reads on if it is gone.
        let _ = to.shutdown(Shutdown::Write);
        copied
    });
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let count = client.read(&mut bytes)?;
        if count == 0 {
            break;
        }
        head.extend_from_slice(&bytes[..count]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&head[..end]).into_owned();
            head.drain(..end + 4);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(read(&request));
        }
        server.write_all(&bytes[..count])?;
    }
    server.shutdown(Shutdown::Write)?;
    back.join()
        .map(drop)
        .map_err(|_| io::Error::other("the way back broke"))
}

fn read(head: &str) -> Option<Seen> {
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        let is_wanted = HEADERS.contains(&name.as_str());
        is_wanted.then(|| (name, value.trim().to_owned()))
    });
    Some(Seen {
        method,
        path,
        headers: headers.collect(),
    })
}
