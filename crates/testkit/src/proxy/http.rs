//! As much of HTTP/1.1 as a proxy in a test needs: read one message whole, write one message.
//!
//! Bodies are held in memory, because a test counts, changes and cuts them. It must hold that a
//! message is passed on byte for byte in its body and unchanged in the headers that signatures
//! cover. It deliberately has no pipelining, trailers or HTTP/2.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes a head may have, so that a broken peer cannot fill the memory.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most bytes a body may have.
const BODY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A request or an answer, with its whole body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The first line, without its line end.
    pub start: String,
    /// The headers in their order, names as they were sent.
    pub headers: Vec<(String, String)>,
    /// The body with its transfer coding removed.
    pub body: Vec<u8>,
}

impl Message {
    /// An answer with a status, a content type and a body.
    pub fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Message {
        Message {
            start: format!("HTTP/1.1 {status} {}", reason(status)),
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into(),
        }
    }

    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Sets a header, in place of any of the same name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers
            .retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
    }

    /// The status of an answer; zero for a line that has none.
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    /// The method and the target of a request.
    pub fn request_line(&self) -> (&str, &str) {
        let mut words = self.start.split(' ');
        (words.next().unwrap_or(""), words.next().unwrap_or(""))
    }

    fn announced_length(&self) -> Option<usize> {
        self.header("content-length")?.trim().parse().ok()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    }
}

/// Reads a head; `None` when the peer closed before it began one.
pub(crate) async fn read_head<R: AsyncBufRead + Unpin>(
    from: &mut R,
) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let mut total = 0;
    loop {
        let mut line = String::new();
        let n = from.read_line(&mut line).await?;
        total += n;
        if total > HEAD_BYTES_MAX {
            return Err(invalid("the head is too long"));
        }
        if n == 0 {
            return if message.start.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let line = line.trim_end_matches(['\r', '\n']);
        match (line.is_empty(), message.start.is_empty()) {
            (true, true) => {}
            (true, false) => return Ok(Some(message)),
            (false, true) => message.start = line.to_owned(),
            (false, false) => {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| invalid("a header without a colon"))?;
                message
                    .headers
                    .push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
}

/// Reads the body of a request, which has one only when it says so.
pub(crate) async fn read_request_body<R: AsyncBufRead + Unpin>(
    from: &mut R,
    head: &mut Message,
) -> io::Result<()> {
    head.body = match (head.is_chunked(), head.announced_length()) {
        (true, _) => read_chunks(from).await?,
        (false, Some(length)) => read_exactly(from, length).await?,
        (false, None) => Vec::new(),
    };
    Ok(())
}

/// Reads the body of an answer, which may last until the peer closes.
pub(crate) async fn read_answer_body<R: AsyncBufRead + Unpin>(
    from: &mut R,
    head: &mut Message,
    method: &str,
) -> io::Result<()> {
    if method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
        return Ok(());
    }
    head.body = match (head.is_chunked(), head.announced_length()) {
        (true, _) => read_chunks(from).await?,
        (false, Some(length)) => read_exactly(from, length).await?,
        (false, None) => {
            let mut body = Vec::new();
            from.read_to_end(&mut body).await?;
            body
        }
    };
    Ok(())
}

/// Writes a message; `keep` bytes of the body are sent although all are announced, when it is given.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    message: &Message,
    keep: Option<usize>,
    bodyless: bool,
) -> io::Result<()> {
    let mut head = format!("{}\r\n", message.start);
    for (name, value) in &message.headers {
        let framing = ["content-length", "transfer-encoding", "connection"];
        if bodyless || !framing.iter().any(|skip| name.eq_ignore_ascii_case(skip)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if !bodyless {
        head.push_str(&format!("Content-Length: {}\r\n", message.body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    let sent = keep.unwrap_or(usize::MAX).min(message.body.len());
    if !bodyless {
        bytes.extend_from_slice(&message.body[..sent]);
    }
    to.write_all(&bytes).await?;
    to.flush().await
}

async fn read_exactly<R: AsyncBufRead + Unpin>(from: &mut R, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return Err(invalid("the body is too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_chunks<R: AsyncBufRead + Unpin>(from: &mut R) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).await?;
        let digits = line.trim().split(';').next().unwrap_or("");
        let size =
            usize::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a size"))?;
        if body.len().saturating_add(size) > BODY_BYTES_MAX {
            return Err(invalid("the body is too long"));
        }
        body.extend(read_exactly(from, size).await?);
        // The line end after the chunk, or the empty line after the last one.
        from.read_line(&mut line).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        412 => "Precondition Failed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Slow Down",
        507 => "Insufficient Storage",
        _ => "Status",
    }
}
