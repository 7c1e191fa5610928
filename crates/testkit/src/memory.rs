//! An S3 server that keeps its objects in memory and lists a hundred thousand of them as fast as one page.
//!
//! What must hold: listings are complete, in order and in pages of at most 1,000 keys; signatures are checked; an object whose SHA-256
//! checksum header is wrong is refused.
//! What it deliberately does not do: multipart uploads, versions, conditions. [`crate::S3Server`] is the real one; its listings
//! read the whole bucket for each page, which no measurement with many objects survives.

use crate::host::Host;
use crate::s3::{ACCESS_KEY, SECRET_KEY, store_url};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use ring::digest::{SHA256, digest};
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

/// The most keys of one page, as at Amazon.
const PAGE_KEYS_MAX: usize = 1000;
/// When every object was last changed, in seconds since 1970: a fixed time, because there is nothing to tell by it.
const MODIFIED_SECOND: u64 = 1_767_225_600;

/// A running server with one bucket named `bucket`; dropping it stops it.
pub struct MemoryS3 {
    host: Host,
    objects: Objects,
}

#[derive(Clone, Default)]
struct Objects(Arc<Mutex<BTreeMap<String, Stored>>>);

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    content_type: Option<String>,
    metadata: Option<Metadata>,
    sha256: Option<String>,
}

impl MemoryS3 {
    /// Starts it, empty; its keys are [`ACCESS_KEY`] and [`SECRET_KEY`].
    ///
    /// # Panics
    /// If nothing can be bound on loopback.
    pub fn start() -> MemoryS3 {
        MemoryS3::on_port(0).expect("an S3 server can be started on loopback")
    }

    fn on_port(port: u16) -> io::Result<MemoryS3> {
        let objects = Objects::default();
        let mut builder = S3ServiceBuilder::new(objects.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let host = Host::start(port, move |stream| {
            let service = service.clone();
            async move {
                let http = ConnectionBuilder::new(TokioExecutor::new());
                // The client may hang up when it likes.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        })?;
        Ok(MemoryS3 { host, objects })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// A store URL for a prefix of its bucket.
    pub fn store_url(&self, prefix: &str) -> String {
        store_url(self.address(), "bucket", prefix, ACCESS_KEY, SECRET_KEY)
    }

    /// Puts an object without asking the server.
    pub fn insert(&self, key: &str, bytes: &[u8]) {
        let stored = Stored {
            bytes: Bytes::copy_from_slice(bytes),
            content_type: None,
            metadata: None,
            sha256: None,
        };
        self.objects.lock().insert(key.to_owned(), stored);
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.objects.lock().keys().cloned().collect()
    }
}

impl Objects {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn find(&self, key: &str) -> S3Result<Stored> {
        self.lock()
            .get(key)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// A page of keys with a prefix, after a key; and whether there are more.
    fn page(&self, prefix: &str, after: &str, most: usize) -> (Vec<Object>, bool) {
        let objects = self.lock();
        let from = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let mut rest = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let page = rest
            .by_ref()
            .take(most)
            .map(|(key, stored)| listed(key, stored))
            .collect();
        (page, rest.next().is_some())
    }
}

#[async_trait]
impl S3 for Objects {
    async fn head_bucket(
        &self,
        _: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "there are no folders here"));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after);
        let most = input.max_keys.and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(PAGE_KEYS_MAX).min(PAGE_KEYS_MAX);
        let (page, truncated) = self.page(&prefix, &after.unwrap_or_default(), most);
        let next = page.last().and_then(|object| object.key.clone());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            max_keys: i32::try_from(most).ok(),
            key_count: i32::try_from(page.len()).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(truncated),
            next_continuation_token: next.filter(|_| truncated),
            contents: Some(page),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(stored.bytes.len()).ok(),
            e_tag: Some(e_tag(&stored)),
            last_modified: Some(modified()),
            content_type: stored.content_type,
            metadata: stored.metadata,
            checksum_sha256: stored.sha256,
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let stored = self.find(&request.input.key)?;
        let full = stored.bytes.len() as u64;
        let (bytes, content_range) = match request.input.range {
            None => (stored.bytes.clone(), None),
            Some(range) => {
                let range = range.check(full)?;
                let shown = format!("bytes {}-{}/{full}", range.start, range.end.max(1) - 1);
                let range = range.start as usize..range.end as usize;
                (stored.bytes.slice(range), Some(shown))
            }
        };
        let content_length = i64::try_from(bytes.len()).ok();
        let body = stream::once(async move { Ok::<_, io::Error>(bytes) });
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length,
            content_range,
            e_tag: Some(e_tag(&stored)),
            last_modified: Some(modified()),
            content_type: stored.content_type,
            metadata: stored.metadata,
            ..GetObjectOutput::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let mut bytes = Vec::new();
        let mut body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        while let Some(chunk) = body.next().await {
            bytes.extend(chunk.map_err(|_| s3_error!(IncompleteBody))?);
        }
        let actual = base64(digest(&SHA256, &bytes).as_ref());
        if input
            .checksum_sha256
            .as_ref()
            .is_some_and(|wanted| *wanted != actual)
        {
            return Err(s3_error!(BadDigest));
        }
        let stored = Stored {
            bytes: bytes.into(),
            content_type: input.content_type,
            metadata: input.metadata,
            sha256: input.checksum_sha256,
        };
        let output = PutObjectOutput {
            e_tag: Some(e_tag(&stored)),
            checksum_sha256: stored.sha256.clone(),
            ..PutObjectOutput::default()
        };
        self.lock().insert(input.key, stored);
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.lock().remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }
}

fn listed(key: &str, stored: &Stored) -> Object {
    Object {
        key: Some(key.to_owned()),
        size: i64::try_from(stored.bytes.len()).ok(),
        e_tag: Some(e_tag(stored)),
        last_modified: Some(modified()),
        ..Object::default()
    }
}

/// Something that changes with the bytes; real servers show an MD5.
fn e_tag(stored: &Stored) -> ETag {
    let short = stored.bytes.len() as u64 ^ 0x5eed;
    let sum = stored.bytes.iter().fold(short, |sum, byte| {
        sum.rotate_left(5).wrapping_add(u64::from(*byte))
    });
    ETag::Strong(format!("{:016x}{:016x}", crate::rng::mix(sum), sum))
}

fn modified() -> Timestamp {
    (UNIX_EPOCH + Duration::from_secs(MODIFIED_SECOND)).into()
}

/// Base64 with padding, as checksum headers have it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for position in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * position) & 0x3f) as usize];
            encoded.push(if position <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_complete_in_order_and_know_of_more() {
        let server = MemoryS3::start();
        for number in 0..25 {
            server.insert(&format!("a/{number:02}"), b"x");
        }
        server.insert("b", b"y");
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let (page, more) = server.objects.page("a/", &after, 10);
            assert!(page.len() <= 10);
            seen.extend(page.into_iter().filter_map(|object| object.key));
            after = seen.last().cloned().expect("a page has keys");
            if !more {
                break;
            }
        }
        assert_eq!(seen.len(), 25);
        assert!(seen.is_sorted());
        assert_eq!(server.keys().len(), 26);
    }

    #[test]
    fn base64_has_padding() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
