//! Requests for objects that carry what the object store library does not: a checksum that is known already, encryption
//! headers, uploads in parts that outlive a process.
//!
//! What must hold: each request is safe to send again, and is, after failures that may pass; a checksum that is sent is signed.
//!
//! It deliberately goes through the same client as the library's own requests, so counts, limits and traces are the same.

use super::Bucket;
use super::connector::AnswerWithin;
use super::encoding::{base64, from_base64, printable, strict_path};
use super::passing::PassedBody;
use crate::blobs::{Attributes, ObjectInfo, Written};
use crate::error::BoxError;
use crate::tuning::Encryption;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::CredentialProvider;
use object_store::aws::AwsAuthorizer;
use object_store::client::{
    HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService,
};
use object_store::path::Path;
use ring::digest;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

pub(super) const CHECKSUM: &str = "x-amz-checksum-sha256";
const METADATA: &str = "x-amz-meta-";

/// One request, as often as it has to be sent.
pub(super) struct Call<'a> {
    method: Method,
    path: Option<&'a Path>,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    /// How long a body is that is not in here.
    announced: Option<u64>,
    sha256: Option<[u8; 32]>,
    once_within: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A request for the bucket itself.
    pub(super) fn of_bucket(method: Method) -> Call<'a> {
        Call {
            method,
            path: None,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            announced: None,
            sha256: None,
            once_within: None,
        }
    }

    pub(super) fn new(method: Method, path: &'a Path) -> Call<'a> {
        Call {
            path: Some(path),
            ..Call::of_bucket(method)
        }
    }

    pub(super) fn query(mut self, query: String) -> Call<'a> {
        self.query = query;
        self
    }

    pub(super) fn body(mut self, body: Bytes, sha256: Option<[u8; 32]>) -> Call<'a> {
        self.body = body;
        self.sha256 = sha256;
        self
    }

    /// A body that comes later, of so many bytes with this digest.
    pub(super) fn announcing(mut self, length: u64, sha256: [u8; 32]) -> Call<'a> {
        self.announced = Some(length);
        self.sha256 = Some(sha256);
        self
    }

    /// Sends it only once, and lets its answer take so long.
    pub(super) fn once_within(mut self, limit: Duration) -> Call<'a> {
        self.once_within = Some(limit);
        self
    }

    pub(super) fn header(&mut self, name: &str, value: &str) -> object_store::Result<()> {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|error| failure(error.into()))?;
        let value =
            HeaderValue::from_str(&printable(value)).map_err(|error| failure(error.into()))?;
        self.headers.insert(name, value);
        Ok(())
    }
}

/// What came back.
pub(super) struct Reply {
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Bucket {
    /// Tells whether objects are written with a checksum.
    pub(crate) fn sends_checksums(&self) -> bool {
        self.tuning.checksums && !self.refuses_checksums.load(Ordering::Relaxed)
    }

    /// Sends no checksums any more: the server refuses what has one.
    pub(crate) fn leave_checksums_out(&self) {
        self.refuses_checksums.store(true, Ordering::Relaxed);
    }

    /// Leaves it to the checksum of a whole object to vouch for its body: the server compares it. Or no more.
    pub(crate) fn rely_on_checksums(&self, is_compared: bool) {
        self.compares_checksums
            .store(is_compared, Ordering::Relaxed);
    }

    /// Writes an object; `only_new`: unless there is one, if the server takes conditions.
    pub(crate) async fn put(
        &self,
        path: &Path,
        bytes: Bytes,
        attributes: &Attributes,
        sha256: Option<[u8; 32]>,
        only_new: bool,
    ) -> object_store::Result<Written> {
        let sum = sha256.unwrap_or_else(|| super::sha256(&bytes));
        let mut call = Call::new(Method::PUT, path).body(bytes, Some(sum));
        self.describe(&mut call, attributes)?;
        self.attach_checksum(&mut call, &sum)?;
        if only_new {
            call.header("if-none-match", "*")?;
        }
        let reply = self.send_call(&call).await?;
        Ok(Written {
            checksum_confirmed: reply.header(CHECKSUM) == Some(&base64(&sum)),
            e_tag: reply.header("etag").map(str::to_owned),
            in_doubt: false,
        })
    }

    /// Writes an object or a part with a checksum that does not fit, once.
    pub(crate) async fn put_wrong(
        &self,
        path: &Path,
        upload: Option<&str>,
        bytes: Bytes,
        wrong: [u8; 32],
    ) -> object_store::Result<()> {
        // Only the checksum header is wrong: the hash in the signature is another thing.
        let right = super::sha256(&bytes);
        let mut call = Call::new(Method::PUT, path).body(bytes, Some(right));
        if let Some(id) = upload {
            call.query = format!("partNumber=1&uploadId={}", super::encoding::strict(id));
        }
        self.attach_checksum(&mut call, &wrong)?;
        self.send_call(&call).await.map(|_| ())
    }

    /// Asks about an object.
    pub(crate) async fn head(&self, path: &Path) -> object_store::Result<ObjectInfo> {
        let mut call = Call::new(Method::HEAD, path);
        if self.sends_checksums() {
            call.header("x-amz-checksum-mode", "ENABLED")?;
        }
        let reply = self.send_call(&call).await?;
        let size = reply
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let size =
            size.ok_or_else(|| failure("the answer does not say the object's size".into()))?;
        let modified = reply.header("last-modified");
        let modified = modified.and_then(|text| httpdate::parse_http_date(text).ok());
        let metadata = reply.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(METADATA)?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok(ObjectInfo {
            size,
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            sha256: reply.header(CHECKSUM).and_then(from_base64),
            e_tag: reply.header("etag").map(str::to_owned),
            content_type: reply.header("content-type").map(str::to_owned),
            metadata: metadata.collect(),
        })
    }

    /// Adds what an object has besides its bytes.
    pub(super) fn describe(
        &self,
        call: &mut Call<'_>,
        attributes: &Attributes,
    ) -> object_store::Result<()> {
        if let Some(content_type) = &attributes.content_type {
            call.header("content-type", content_type)?;
        }
        for (name, value) in &attributes.metadata {
            call.header(&format!("{METADATA}{name}"), value)?;
        }
        let class = attributes.storage_class.as_ref();
        if let Some(class) = class.or(self.tuning.storage_class.as_ref()) {
            call.header("x-amz-storage-class", class)?;
        }
        match &self.tuning.encryption {
            None => {}
            Some(Encryption::Managed) => {
                call.header("x-amz-server-side-encryption", "AES256")?;
            }
            Some(Encryption::Kms(key)) => {
                call.header("x-amz-server-side-encryption", "aws:kms")?;
                if let Some(key) = key {
                    call.header("x-amz-server-side-encryption-aws-kms-key-id", key)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn attach_checksum(
        &self,
        call: &mut Call<'_>,
        sum: &[u8; 32],
    ) -> object_store::Result<()> {
        if self.sends_checksums() {
            call.header(CHECKSUM, &base64(sum))?;
        }
        Ok(())
    }

    /// Sends a request until it succeeds, or cannot.
    pub(super) async fn send_call(&self, call: &Call<'_>) -> object_store::Result<Reply> {
        let retries_max = match call.once_within {
            Some(_) => 0,
            None => self.tuning.max_retries,
        };
        let mut attempt = 0;
        loop {
            let outcome = self.attempt(call).await;
            let may_pass = match &outcome {
                Ok((status, _)) if status.is_success() => false,
                Ok((status, _)) => {
                    status.is_server_error()
                        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS]
                            .contains(status)
                }
                Err(Failed::ByNetwork(error)) => matches!(
                    error.kind(),
                    HttpErrorKind::Connect
                        | HttpErrorKind::Request
                        | HttpErrorKind::Timeout
                        | HttpErrorKind::Interrupted
                ),
                Err(Failed::Otherwise(_)) => false,
            };
            if may_pass && attempt < retries_max {
                tokio::time::sleep(self.pause(attempt)).await;
                attempt += 1;
                continue;
            }
            return succeeded(outcome);
        }
    }

    /// Sends a request once whose body comes while it is sent.
    pub(super) async fn send_passing(
        &self,
        call: &Call<'_>,
        body: PassedBody,
    ) -> object_store::Result<Reply> {
        let request = self.signed(call).await?;
        let answer = self.connector.pass_on(request, body).await;
        let answer = answer.map_err(|error| failure(error.into()))?;
        succeeded(reply_of(answer, &call.method).await)
    }

    /// Returns how long to wait before a request is sent again.
    pub(crate) fn pause(&self, attempt: usize) -> Duration {
        let doubled =
            u32::try_from(attempt).map_or(u32::MAX, |attempt| 2_u32.saturating_pow(attempt));
        let longest = self
            .tuning
            .backoff_min
            .saturating_mul(doubled)
            .min(self.tuning.backoff_max);
        let mut random = [0; 1];
        // Without chance all wait equally long, which is only less polite.
        let _ = getrandom::fill(&mut random);
        longest.mul_f64(0.5 + f64::from(random[0]) / 512.0)
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<(StatusCode, Reply), Failed> {
        let request = self.signed(call).await.map_err(Failed::Otherwise)?;
        let answer = self.connector.call(request).await;
        reply_of(answer.map_err(Failed::ByNetwork)?, &call.method).await
    }

    async fn signed(&self, call: &Call<'_>) -> object_store::Result<HttpRequest> {
        let mut uri = self.settings.bucket_url();
        if let Some(path) = call.path {
            uri.push('/');
            uri.push_str(&strict_path(path.as_ref()));
        }
        if !call.query.is_empty() {
            uri.push('?');
            uri.push_str(&call.query);
        }
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(uri);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&call.headers);
            if call.method != Method::GET && call.method != Method::HEAD {
                let length = call.announced.unwrap_or(call.body.len() as u64);
                headers.insert(http::header::CONTENT_LENGTH, length.into());
            }
        }
        let mut request: HttpRequest = request
            .body(HttpRequestBody::from(call.body.clone()))
            .map_err(|error| failure(error.into()))?;
        if let Some(limit) = call.once_within {
            request.extensions_mut().insert(AnswerWithin(limit));
        }
        let credential = self.credentials.get_credential().await?;
        let digest = call.sha256.as_ref().map(<[u8; 32]>::as_slice);
        // A checksum that the server was seen to compare is signed as a header: to sign the body as well would have it hashed twice.
        // Of parts it is not known.
        let is_compared = self.compares_checksums.load(Ordering::Relaxed)
            && call.query.is_empty()
            && call.headers.contains_key(CHECKSUM);
        AwsAuthorizer::new(&credential, "s3", &self.settings.region)
            .with_sign_payload(!is_compared)
            .try_authorize(&mut request, digest)?;
        Ok(request)
    }
}

/// Why there is no answer.
enum Failed {
    ByNetwork(object_store::client::HttpError),
    Otherwise(object_store::Error),
}

async fn reply_of(answer: HttpResponse, method: &Method) -> Result<(StatusCode, Reply), Failed> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = match *method {
        Method::HEAD => Bytes::new(),
        _ => whole(answer).await?,
    };
    Ok((status, Reply { headers, body }))
}

fn succeeded(outcome: Result<(StatusCode, Reply), Failed>) -> object_store::Result<Reply> {
    match outcome {
        Ok((status, reply)) if status.is_success() => Ok(reply),
        // The trace of the request says more.
        Ok((status, _)) => Err(failure(format!("the server answered {status}").into())),
        Err(Failed::ByNetwork(error)) => Err(failure(error.into())),
        Err(Failed::Otherwise(error)) => Err(error),
    }
}

async fn whole(answer: HttpResponse) -> Result<Bytes, Failed> {
    let mut stream = answer.into_body().bytes_stream();
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(Failed::ByNetwork)?);
    }
    Ok(body.into())
}

pub(super) fn failure(source: BoxError) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source,
    }
}

/// Hashes bytes with the instructions that the processor has for it.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}
