//! Requests for uploads in parts.
//!
//! What must hold: a part may be sent again; the object appears only when the upload is completed.
//!
//! It deliberately does not ask for the completion again: who asks has to look first whether the object is there.

use super::encoding::strict;
use super::objects::{CHECKSUM, Call, failure};
use super::{Bucket, xml};
use crate::blobs::{Attributes, Written};
use bytes::Bytes;
use http::Method;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::time::Duration;

/// More pages of uploads than this are not read.
const UPLOAD_PAGES_MAX: usize = 1000;

/// The slowest server that is waited for while it makes an object of its parts, in bytes a second: some copy and hash them all.
const ASSEMBLY_RATE_MIN: u64 = 16 << 20;

/// A part that is in the bucket.
#[derive(Clone, Debug)]
pub(crate) struct PartDone {
    pub(crate) size: u64,
    e_tag: String,
    sha256: Option<String>,
}

impl Bucket {
    /// Begins an upload in parts; returns its id.
    pub(crate) async fn begin_upload(
        &self,
        path: &Path,
        attributes: &Attributes,
    ) -> object_store::Result<String> {
        let mut call = Call::new(Method::POST, path).query("uploads=".to_owned());
        self.describe(&mut call, attributes)?;
        if self.sends_checksums() {
            call.header("x-amz-checksum-algorithm", "SHA256")?;
        }
        let reply = self.send_call(&call).await?;
        let leaves = xml::leaves(&reply.body).unwrap_or_default();
        let id = xml::text(&leaves, "InitiateMultipartUploadResult/UploadId");
        let id = id.filter(|id| !id.is_empty());
        id.map(str::to_owned)
            .ok_or_else(|| failure("the answer does not name the upload".into()))
    }

    /// Writes a part; `number` begins with 0.
    pub(crate) async fn put_part(
        &self,
        path: &Path,
        upload: &str,
        number: usize,
        bytes: Bytes,
        sha256: Option<[u8; 32]>,
    ) -> object_store::Result<PartDone> {
        let sum = sha256.unwrap_or_else(|| super::sha256(&bytes));
        let size = bytes.len() as u64;
        let query = format!("partNumber={}&uploadId={}", number + 1, strict(upload));
        let mut call = Call::new(Method::PUT, path)
            .query(query)
            .body(bytes, Some(sum));
        self.attach_checksum(&mut call, &sum)?;
        let reply = self.send_call(&call).await?;
        let e_tag = reply.header("etag");
        Ok(PartDone {
            size,
            e_tag: e_tag
                .ok_or_else(|| failure("the answer does not tag the part".into()))?
                .to_owned(),
            // Sent again only to a store that knows it: others stumble over it.
            sha256: reply.header(CHECKSUM).map(str::to_owned),
        })
    }

    /// Returns how long the server may take to make an object of so many bytes.
    pub(crate) fn assembly_limit(&self, size: u64) -> Duration {
        let least = self.tuning.complete_timeout;
        least.max(self.tuning.request_timeout) + Duration::from_secs(size / ASSEMBLY_RATE_MIN)
    }

    /// Returns how often a request is sent again.
    pub(crate) fn retries_max(&self) -> usize {
        self.tuning.max_retries
    }

    /// Asks once to make an object of its parts, with `only_new` unless there is one; none if the answer is a success that does not say so.
    pub(crate) async fn complete_upload(
        &self,
        path: &Path,
        upload: &str,
        parts: &BTreeMap<usize, PartDone>,
        (limit, only_new): (Duration, bool),
    ) -> object_store::Result<Option<Written>> {
        let mut body = String::from(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        for (number, part) in parts {
            let e_tag = quick_xml::escape::escape(&part.e_tag);
            body.push_str(&format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{e_tag}</ETag>",
                number + 1
            ));
            if let Some(sum) = &part.sha256 {
                body.push_str(&format!(
                    "<ChecksumSHA256>{}</ChecksumSHA256>",
                    quick_xml::escape::escape(sum)
                ));
            }
            body.push_str("</Part>");
        }
        body.push_str("</CompleteMultipartUpload>");
        let mut call = Call::new(Method::POST, path)
            .query(format!("uploadId={}", strict(upload)))
            .body(body.into(), None)
            .once_within(limit);
        call.header("content-type", "application/xml")?;
        if only_new {
            call.header("if-none-match", "*")?;
        }
        let reply = self.send_call(&call).await?;
        if xml::root(&reply.body).as_deref() != Some("CompleteMultipartUploadResult") {
            return Ok(None);
        }
        let leaves = xml::leaves(&reply.body).unwrap_or_default();
        let e_tag = xml::text(&leaves, "CompleteMultipartUploadResult/ETag");
        Ok(Some(Written {
            checksum_confirmed: parts.values().all(|part| part.sha256.is_some()),
            e_tag: e_tag.map(str::to_owned),
            in_doubt: false,
        }))
    }

    /// Gives an upload up.
    pub(crate) async fn abort_upload(&self, path: &Path, upload: &str) -> object_store::Result<()> {
        let call = Call::new(Method::DELETE, path).query(format!("uploadId={}", strict(upload)));
        self.send_call(&call).await.map(|_| ())
    }

    /// Lists uploads that were begun and not ended: whole key, id.
    pub(crate) async fn uploads(
        &self,
        prefix: &str,
    ) -> object_store::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut after = String::new();
        for _ in 0..UPLOAD_PAGES_MAX {
            let call = Call::of_bucket(Method::GET)
                .query(format!("uploads=&prefix={}{after}", strict(prefix)));
            let reply = self.send_call(&call).await?;
            let page: Uploads =
                quick_xml::de::from_reader(&*reply.body).map_err(|error| failure(error.into()))?;
            let uploads = page.uploads.into_iter();
            found.extend(uploads.map(|upload| (upload.key, upload.upload_id)));
            match (
                page.is_truncated,
                page.next_key_marker,
                page.next_upload_id_marker,
            ) {
                (true, Some(key), id) => {
                    after = format!("&key-marker={}", strict(&key));
                    if let Some(id) = id {
                        after.push_str(&format!("&upload-id-marker={}", strict(&id)));
                    }
                }
                _ => break,
            }
        }
        Ok(found)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(rename = "Upload", default)]
    uploads: Vec<Upload>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}
