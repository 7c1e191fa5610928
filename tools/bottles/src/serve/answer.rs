//! One answer: whole, a part, "not changed", or headers only (RFC 9110, 13 and 14).
//!
//! What must hold: a range is answered with exactly the bytes that it says; one that cannot be is refused with the length; what is no valid
//! range is answered whole; "not changed" is said to a time only if whoever fetched then got these very bytes. Packed and bare bytes have
//! two tags, and a range is always one of the bare ones.

use super::view::{ServedFile, Target};
use crate::log;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header, response::Builder};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::ops::Range;
use std::time::{Duration, SystemTime};
use store::{ErrorKind, Store, StoreError};

/// The type of a blob.
const BLOB: &str = "application/octet-stream";

/// What of a request's headers matters.
pub(super) struct Asked {
    is_head: bool,
    range: Option<String>,
    if_range: Option<String>,
    none_match: Option<String>,
    modified_since: Option<String>,
    takes_gzip: bool,
}

impl Asked {
    pub(super) fn new(headers: &HeaderMap, is_head: bool) -> Asked {
        let text = |name: header::HeaderName| {
            let value = headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Asked {
            is_head,
            // A range means something to a GET alone (RFC 9110, 14.2).
            range: text(header::RANGE).filter(|_| !is_head),
            if_range: text(header::IF_RANGE),
            none_match: text(header::IF_NONE_MATCH),
            modified_since: text(header::IF_MODIFIED_SINCE),
            takes_gzip: text(header::ACCEPT_ENCODING).is_some_and(|text| takes_gzip(&text)),
        }
    }

    /// Answers with what a path leads to, and how many bytes of it are sent; nothing if it is not there.
    pub(super) async fn answer(
        &self,
        store: &Store,
        target: &Target,
    ) -> Result<Option<(Response, u64)>, StoreError> {
        match target {
            Target::File { key, file } => self.file(store, key, file).await,
            Target::Blob { key, size } => self.object(store, key, *size).await,
        }
    }

    async fn file(
        &self,
        store: &Store,
        key: &str,
        file: &ServedFile,
    ) -> Result<Option<(Response, u64)>, StoreError> {
        let is_api = key.starts_with("api/");
        let read = || async { log::read_file(store, key, &file.entry).await };
        let bytes = match is_api {
            true => file.bytes.get_or_try_init(read).await.cloned(),
            false => read().await,
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return missing(error),
        };
        let changed = file.changed.map(Changed::now);
        let bare = format!("\"{}\"", file.entry.sha256);
        let packed = match is_api && self.takes_gzip && self.range.is_none() {
            true => file
                .packed
                .get_or_init(|| packed(bytes.clone()))
                .await
                .clone(),
            false => None,
        };
        let (etag, bytes) = match packed {
            Some(packed) => (format!("\"{}-gzip\"", file.entry.sha256), packed),
            None => (bare.clone(), bytes),
        };
        let mut head = self.head(&etag, changed.as_ref(), content_type(key));
        if is_api {
            head = head.header(header::VARY, "Accept-Encoding");
        }
        if etag != bare {
            head = head.header(header::CONTENT_ENCODING, "gzip");
        }
        let size = bytes.len() as u64;
        Ok(Some(match self.part(&etag, changed.as_ref(), size) {
            Part::NotModified => {
                let head = head.status(StatusCode::NOT_MODIFIED);
                (finish(head, Body::empty()), 0)
            }
            Part::Impossible => (impossible(head, size), 0),
            Part::Bytes(range, is_part) => {
                let sent = bytes.slice(at(range.start)..at(range.end));
                self.send(head, size, range, is_part, Body::from(sent))
            }
        }))
    }

    async fn object(
        &self,
        store: &Store,
        key: &str,
        size: u64,
    ) -> Result<Option<(Response, u64)>, StoreError> {
        // The name of a blob is its digest.
        let etag = key
            .rsplit_once("/blobs/")
            .map(|(_, digest)| format!("\"{digest}\""));
        let etag = etag.as_deref().unwrap_or("");
        let head = self.head(etag, None, content_type(key));
        match self.part(etag, None, size) {
            Part::NotModified => {
                let head = head.status(StatusCode::NOT_MODIFIED);
                Ok(Some((finish(head, Body::empty()), 0)))
            }
            Part::Impossible => Ok(Some((impossible(head, size), 0))),
            Part::Bytes(range, is_part) => {
                if self.is_head {
                    // A client that is told it is there will come for it.
                    match store.head(key).await {
                        Ok(_) => {
                            return Ok(Some(self.send(head, size, range, is_part, Body::empty())));
                        }
                        Err(error) => return missing(error),
                    }
                }
                let wanted = is_part.then(|| range.clone());
                let body = match size {
                    0 => Body::empty(),
                    _ => match store.read(key, wanted).await {
                        Ok(body) => Body::from_stream(body),
                        Err(error) => return missing(error),
                    },
                };
                Ok(Some(self.send(head, size, range, is_part, body)))
            }
        }
    }

    fn head(&self, etag: &str, changed: Option<&Changed>, content_type: &'static str) -> Builder {
        // A blob's name is its digest; everything else is another file tomorrow.
        let keeping = match content_type {
            BLOB => "public, max-age=31536000, immutable",
            _ => "no-cache",
        };
        let mut head = Response::builder()
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CACHE_CONTROL, keeping)
            .header(header::ACCEPT_RANGES, "bytes");
        if !etag.is_empty() {
            head = head.header(header::ETAG, etag);
        }
        if let Some(changed) = changed {
            head = head.header(header::LAST_MODIFIED, &changed.told);
        }
        head
    }

    fn send(
        &self,
        head: Builder,
        size: u64,
        range: Range<u64>,
        is_part: bool,
        body: Body,
    ) -> (Response, u64) {
        let length = range.end - range.start;
        let mut head = head.header(header::CONTENT_LENGTH, length);
        if is_part {
            let range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range);
        }
        match self.is_head {
            true => (finish(head, Body::empty()), 0),
            false => (finish(head, body), length),
        }
    }

    /// Decides what is sent of a file of so many bytes.
    fn part(&self, etag: &str, changed: Option<&Changed>, size: u64) -> Part {
        if let Some(known) = &self.none_match {
            let is_known = |tag: &str| {
                tag == "*" || (!etag.is_empty() && tag.trim_start_matches("W/") == etag)
            };
            if known.split(',').map(str::trim).any(is_known) {
                return Part::NotModified;
            }
        } else if let (Some(since), Some(changed)) = (&self.modified_since, changed)
            && changed.is_known_to(since)
        {
            return Part::NotModified;
        }
        let whole = Part::Bytes(0..size, false);
        let Some(range) = &self.range else {
            return whole;
        };
        if self
            .if_range
            .as_deref()
            .is_some_and(|tag| tag != etag && !changed.is_some_and(|changed| changed.is(tag)))
        {
            return whole;
        }
        match parse_range(range, size) {
            None => whole,
            Some(range) if range.is_empty() => Part::Impossible,
            Some(range) => Part::Bytes(range, true),
        }
    }
}

/// When a file became what it is. A server may learn of a new file some seconds after another one, so that may lie ahead.
struct Changed {
    at: SystemTime,
    now: SystemTime,
    /// As it is told: never later than now (RFC 9110, 8.8.2.1).
    told: String,
}

impl Changed {
    fn now(seconds: u64) -> Changed {
        let (at, now) = (
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            SystemTime::now(),
        );
        Changed {
            at,
            now,
            told: httpdate::fmt_http_date(at.min(now)),
        }
    }

    /// Tells whether who has had a file since some time has this one. A time that is still to come says nothing.
    fn is_known_to(&self, since: &str) -> bool {
        httpdate::parse_http_date(since).is_ok_and(|since| self.at <= since && since <= self.now)
    }

    /// Tells whether a time that was told names these bytes and no others.
    fn is(&self, told: &str) -> bool {
        self.at <= self.now && self.told == told
    }
}

/// Packs a file for clients, beside everything else; nothing if that cannot be done.
async fn packed(bytes: Bytes) -> Option<Bytes> {
    let work = tokio::task::spawn_blocking(move || {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&bytes)?;
        packer.finish()
    });
    let packed = work.await.ok()?.ok()?;
    Some(packed.into())
}

/// Tells whether `Accept-Encoding` names gzip, and does not refuse it with a weight of nothing.
fn takes_gzip(text: &str) -> bool {
    text.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        ["gzip", "x-gzip"].contains(&name.trim().to_ascii_lowercase().as_str())
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight > 0.0)
    })
}

enum Part {
    NotModified,
    Impossible,
    Bytes(Range<u64>, bool),
}

/// Reads one range of bytes; nothing if it is none, or several. An empty one cannot be had.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number =
        |text: &str| match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => None,
            // One that is too large for a number is beyond every end.
            false => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(size.saturating_sub(number(last)?)..size),
        (false, true) => Some(number(first)?.min(size)..size),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first.min(size)..last.saturating_add(1).min(size))
        }
    }
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn content_type(key: &str) -> &'static str {
    match () {
        () if key.contains("/manifests/") => "application/vnd.oci.image.index.v1+json",
        () if key.starts_with("api/") => "application/json",
        () => BLOB,
    }
}

fn impossible(head: Builder, size: u64) -> Response {
    let head = head.status(StatusCode::RANGE_NOT_SATISFIABLE);
    finish(
        head.header(header::CONTENT_RANGE, format!("bytes */{size}")),
        Body::empty(),
    )
}

fn finish(head: Builder, body: Body) -> Response {
    head.body(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be made");
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

fn missing<T>(error: StoreError) -> Result<Option<T>, StoreError> {
    match error.kind() {
        ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (text, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=5-99", Some(5..10)),
            ("bytes=10-", Some(10..10)),
            ("bytes=99999999999999999999-", Some(10..10)),
            ("bytes=5-2", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn gzip_is_sent_to_who_names_it() {
        for (text, expected) in [
            ("gzip", true),
            ("deflate, gzip, br, zstd", true),
            ("GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("identity", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(text), expected, "{text}");
        }
    }
}
