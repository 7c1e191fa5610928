//! A blob on its way here: streamed, and continued where it was cut.
//!
//! What must hold: what is put together from two answers is one file: the second answer must say that it begins where the first one
//! ended and that the whole is as long as before.

use super::{Patience, Upstream, UpstreamError, UpstreamErrorKind};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use std::sync::Arc;
use store::StoreError;
use transfer::{
    Blob, Contents, Digest, Opened, Removal, Source, SourceError, SourceErrorKind, StoredBlob,
};
use url::Url;

/// After so many bytes a download that breaks has got on: what broke before does not count against it.
const PROGRESS: u64 = 64 << 10;

/// A download that is under way.
pub(super) struct Download {
    upstream: Arc<Upstream>,
    url: Url,
    body: Option<Response>,
    /// Bytes that came with others which were known already.
    held: Option<Bytes>,
    offset: u64,
    total: u64,
    etag: Option<String>,
    patience: Patience,
    /// Bytes that came since it broke last.
    since_break: u64,
}

impl Download {
    /// Asks for a blob; nothing if there is none.
    pub(super) async fn begin(
        upstream: Arc<Upstream>,
        url: Url,
    ) -> Result<Option<Download>, UpstreamError> {
        let mut patience = upstream.patience();
        let answer = loop {
            match upstream.send(&url, &|request| request).await {
                Ok(answer) => break answer,
                Err(error) => patience.after(error).await?,
            }
        };
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let Some(total) = length_of(&answer) else {
            let what = "the answer does not say how long the file is";
            return Err(UpstreamError::broken(&url, what));
        };
        let etag = answer.headers().get(header::ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Some(Download {
            upstream,
            url,
            body: Some(answer),
            held: None,
            offset: 0,
            total,
            etag,
            patience,
            since_break: 0,
        }))
    }

    /// Returns how long the whole is.
    fn total(&self) -> u64 {
        self.total
    }

    /// Returns the next bytes; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        while self.offset < self.total {
            let chunk = match self.step().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    let what = format!("the answer ended {} bytes early", self.total - self.offset);
                    self.broke(UpstreamError::broken(&self.url, what)).await?;
                    continue;
                }
                Err(error) => {
                    self.broke(error).await?;
                    continue;
                }
            };
            if chunk.len() as u64 > self.total - self.offset {
                let what = "it sends more bytes than it announced";
                return Err(UpstreamError::broken(&self.url, what));
            }
            self.offset += chunk.len() as u64;
            self.since_break += chunk.len() as u64;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Waits before it goes on, unless it broke too often without getting on.
    async fn broke(&mut self, error: UpstreamError) -> Result<(), UpstreamError> {
        if std::mem::take(&mut self.since_break) >= PROGRESS {
            self.patience = self.upstream.patience();
        }
        self.patience.after(error).await
    }

    /// Takes what comes next off the answer, asking for the rest where there is none. After an error the answer is given up.
    async fn step(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.go_on().await?,
        };
        if let Some(held) = self.held.take() {
            self.body = Some(body);
            return Ok(Some(held));
        }
        let chunk = body.chunk().await;
        let chunk = chunk.map_err(|error| UpstreamError::transport(&self.url, error))?;
        if chunk.is_some() {
            self.body = Some(body);
        }
        Ok(chunk)
    }

    /// Asks for the rest.
    async fn go_on(&mut self) -> Result<Response, UpstreamError> {
        self.held = None;
        let ask = |request: RequestBuilder| {
            let request = request.header(header::RANGE, format!("bytes={}-", self.offset));
            match &self.etag {
                Some(etag) if !etag.starts_with("W/") => request.header(header::IF_RANGE, etag),
                _ => request,
            }
        };
        let mut answer = self.upstream.send(&self.url, &ask).await?;
        let broken = |what: String| UpstreamError::broken(&self.url, what);
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.headers().get(header::CONTENT_RANGE);
                let range = range.and_then(|range| range.to_str().ok()).unwrap_or("");
                let wanted = format!("bytes {}-{}/{}", self.offset, self.total - 1, self.total);
                match range == wanted {
                    true => Ok(answer),
                    false => Err(broken(format!(
                        "it answered the range {range:?}, not {wanted:?}"
                    ))),
                }
            }
            // A server without ranges sends everything anew.
            StatusCode::OK if length_of(&answer) == Some(self.total) && self.etag_fits(&answer) => {
                let mut left = self.offset;
                while left > 0 {
                    let chunk = answer.chunk().await;
                    let chunk =
                        chunk.map_err(|error| UpstreamError::transport(&self.url, error))?;
                    let Some(mut chunk) = chunk else {
                        return Err(broken("the answer ended early".to_owned()));
                    };
                    let known = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= known as u64;
                    let rest = chunk.split_off(known);
                    self.held = (!rest.is_empty()).then_some(rest);
                }
                Ok(answer)
            }
            status => Err(broken(format!(
                "it answered {status} to the question for the rest"
            ))),
        }
    }

    fn etag_fits(&self, answer: &Response) -> bool {
        let found = answer.headers().get(header::ETAG);
        found.and_then(|etag| etag.to_str().ok()) == self.etag.as_deref()
    }
}

fn length_of(answer: &Response) -> Option<u64> {
    let length = answer.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// The registry as the source of a run: a blob's source is its key.
pub struct Registry(pub Arc<Upstream>);

fn failed(key: &str, error: UpstreamError) -> SourceError {
    let kind = match error.kind() {
        UpstreamErrorKind::Denied => SourceErrorKind::Permission,
        _ => SourceErrorKind::Network,
    };
    SourceError::new(kind, "download", key).because(error)
}

#[async_trait]
impl Source for Registry {
    async fn open(&self, blob: &Blob, whole_max: u64, piece: usize) -> Result<Opened, SourceError> {
        let key = blob.source.clone();
        let found = self.0.download(&key).await;
        let found = found.map_err(|error| failed(&key, error))?;
        let Some(mut download) = found else {
            return Err(SourceError::new(SourceErrorKind::Missing, "download", &key));
        };
        let size = download.total();
        if size > whole_max {
            let stream = stream::try_unfold((download, key), |(mut download, key)| async move {
                let chunk = download.next().await.map_err(|error| failed(&key, error))?;
                Ok(chunk.map(|chunk| (chunk, (download, key))))
            });
            return Ok(Opened {
                size,
                stamp: None,
                contents: Contents::Stream(transfer::in_pieces(stream.boxed(), piece)),
            });
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        // On the way: hashed at the end, a large one would keep others from being read meanwhile.
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        while let Some(chunk) = download.next().await.map_err(|error| failed(&key, error))? {
            hash.update(&chunk);
            bytes.extend_from_slice(&chunk);
        }
        let bytes = bytes.freeze();
        let mut sha256 = Digest([0; 32]);
        sha256.0.copy_from_slice(hash.finish().as_ref());
        Ok(Opened {
            size,
            stamp: None,
            contents: Contents::Whole { bytes, sha256 },
        })
    }

    async fn digest(&self, blob: &Blob) -> Result<Option<(u64, Digest)>, SourceError> {
        // The key of a blob is its digest: who put it there had proved it, and who reads it proves it again.
        let known = blob.size.zip(blob.sha256);
        known.map(Some).ok_or_else(|| {
            SourceError::new(
                SourceErrorKind::Missing,
                "find out the digest of",
                &blob.source,
            )
        })
    }

    async fn restore(
        &self,
        blob: &Blob,
        _stored: &StoredBlob,
        _body: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<(), SourceError> {
        let kind = SourceErrorKind::Permission;
        Err(SourceError::new(
            kind,
            "write into the upstream",
            &blob.source,
        ))
    }

    async fn remove(&self, blob: &Blob, _equal: &StoredBlob) -> Result<Removal, SourceError> {
        let kind = SourceErrorKind::Permission;
        Err(SourceError::new(
            kind,
            "remove from the upstream",
            &blob.source,
        ))
    }
}
