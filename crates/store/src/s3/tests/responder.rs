//! A server that answers as a test tells it to.
//!
//! What must hold: it listens on loopback on a port the system chose, records every request, and ends with its test.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to answer.
pub(super) enum Reply {
    /// A status, further header lines and a body.
    Answer(u16, Vec<String>, Vec<u8>),
    /// A head that promises more bytes than come before the connection ends.
    Cut(Vec<u8>, usize),
    /// Nothing, for ever.
    Silence,
    /// The beginning of a body, then nothing for ever.
    Stall(Vec<u8>, usize),
    /// The connection ends without an answer.
    HangUp,
}

impl Reply {
    pub(super) fn error(status: u16, code: &str) -> Reply {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>Told to say {code}.</Message><RequestId>R1</RequestId></Error>"
        );
        Reply::Answer(status, vec![], body.into_bytes())
    }

    pub(super) fn ok(body: &str) -> Reply {
        let headers = vec![
            "ETag: \"1\"".to_owned(),
            "Last-Modified: Fri, 20 Nov 2026 12:00:00 GMT".to_owned(),
        ];
        Reply::Answer(200, headers, body.as_bytes().to_vec())
    }

    pub(super) fn with(self, header: &str) -> Reply {
        match self {
            Reply::Answer(status, mut headers, body) => {
                headers.push(header.to_owned());
                Reply::Answer(status, headers, body)
            }
            other => other,
        }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
}

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// The server.
pub(super) struct Responder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Starts a server; the script gets each request and how many came before it.
    pub(super) async fn start(
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Responder {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is no trouble of ours.
                tokio::spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Responder {
            address,
            asked,
            task,
        }
    }

    pub(super) fn url(&self, bucket: &str) -> String {
        format!(
            "s3://{bucket}?endpoint=http://{}&region=us-east-1&access_key=ACCESSKEY&secret_key=SECRETKEY",
            self.address
        )
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Asked>>>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(asked) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let before = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(asked.clone());
            log.len() - 1
        };
        match script(&asked, before) {
            Reply::Answer(status, headers, body) => {
                let length = if status == 304 || asked.method == "HEAD" {
                    String::new()
                } else {
                    format!("Content-Length: {}\r\n", body.len())
                };
                let headers: String = headers
                    .iter()
                    .map(|header| format!("{header}\r\n"))
                    .collect();
                stream
                    .write_all(
                        format!("HTTP/1.1 {status} Told\r\n{headers}{length}\r\n").as_bytes(),
                    )
                    .await?;
                stream.write_all(&body).await?;
            }
            Reply::Cut(body, promised) => {
                begin(&mut stream, &body, promised).await?;
                return stream.shutdown().await;
            }
            Reply::Stall(body, promised) => {
                begin(&mut stream, &body, promised).await?;
                std::future::pending::<()>().await;
            }
            Reply::Silence => std::future::pending().await,
            Reply::HangUp => return Ok(()),
        }
    }
}

async fn begin(stream: &mut TcpStream, body: &[u8], promised: usize) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Length: {promised}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Reads a head and its body; what came after them stays in the buffer.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length:")
            .map(|value| value.trim().parse::<usize>())
    });
    let length = length.and_then(Result::ok).unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..end + length);
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Ok(Some(Asked {
        method: word(),
        target: word(),
    }))
}
