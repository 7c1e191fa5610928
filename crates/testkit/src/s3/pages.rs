//! Listings of the test server, a page at a time.
//!
//! s3s-fs walks a bucket and asks for every object's length for each page of a listing, so that a listing costs it the square of
//! what is there: at 17,000 objects it is busier with one listing than with a third of the uploads. Real servers keep their keys
//! sorted. So does this: a page reads no directory that lies wholly before it, and ends where the page is full.
//!
//! What must hold: keys come in the order of their bytes, each once, and a page begins after the key that the last one ended with.
//! What it deliberately does not do: listings with a delimiter or of the first version, and everything else; those are s3s-fs's own.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, Object, PutObjectInput, PutObjectOutput,
    Timestamp, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const PAGE_MAX: usize = 1000;

/// s3s-fs, but for its listings.
pub(super) struct Paged {
    pub(super) files: FileSystem,
    pub(super) root: PathBuf,
}

/// Hands methods on as they are.
macro_rules! by_the_files {
    ($($method:ident: $input:ty => $output:ty,)*) => {
        #[async_trait::async_trait]
        impl S3 for Paged {
            async fn list_objects_v2(
                &self,
                request: S3Request<ListObjectsV2Input>,
            ) -> S3Result<S3Response<ListObjectsV2Output>> {
                if request.input.delimiter.is_some() {
                    return self.files.list_objects_v2(request).await;
                }
                let bucket = self.root.join(&request.input.bucket);
                let listed = tokio::task::spawn_blocking(move || answer(&bucket, request.input));
                listed.await.map_err(|_| s3_error!(InternalError))?
            }

            $(
                async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.files.$method(request).await
                }
            )*
        }
    };
}

by_the_files! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    create_bucket: CreateBucketInput => CreateBucketOutput,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    list_buckets: ListBucketsInput => ListBucketsOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_parts: ListPartsInput => ListPartsOutput,
    put_object: PutObjectInput => PutObjectOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
}

fn answer(bucket: &Path, input: ListObjectsV2Input) -> S3Result<S3Response<ListObjectsV2Output>> {
    if !bucket.is_dir() {
        return Err(s3_error!(NoSuchBucket));
    }
    let wanted = input.max_keys.unwrap_or(1000);
    let wanted = usize::try_from(wanted).map_err(|_| s3_error!(InvalidArgument))?;
    let after = input
        .continuation_token
        .clone()
        .max(input.start_after.clone());
    let mut page = Page {
        prefix: input.prefix.clone().unwrap_or_default(),
        after: after.unwrap_or_default(),
        most: wanted.min(PAGE_MAX),
        keys: vec![],
        goes_on: false,
    };
    page.walk(bucket, "")
        .map_err(|error| s3_error!(InternalError, "{error}"))?;
    let objects = page.keys.iter();
    let objects: Vec<Object> = objects
        .filter_map(|key| described(bucket, key).transpose())
        .collect::<io::Result<_>>()
        .map_err(|error| s3_error!(InternalError, "{error}"))?;
    Ok(S3Response::new(ListObjectsV2Output {
        key_count: i32::try_from(objects.len()).ok(),
        max_keys: i32::try_from(wanted).ok(),
        is_truncated: Some(page.goes_on),
        next_continuation_token: page.keys.pop().filter(|_| page.goes_on),
        contents: (!objects.is_empty()).then_some(objects),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        prefix: input.prefix,
        start_after: input.start_after,
        ..Default::default()
    }))
}

/// Returns what a listing says of an object, or none if it was removed in the meantime.
fn described(bucket: &Path, key: &str) -> io::Result<Option<Object>> {
    let file = match std::fs::metadata(bucket.join(key)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    Ok(Some(Object {
        key: Some(key.to_owned()),
        last_modified: Some(Timestamp::from(file.modified()?)),
        size: i64::try_from(file.len()).ok(),
        ..Default::default()
    }))
}

/// A page that is being filled.
struct Page {
    prefix: String,
    after: String,
    most: usize,
    keys: Vec<String>,
    goes_on: bool,
}

impl Page {
    /// Goes through a directory whose keys begin with `above`, in the order of the keys: a directory stands where its slash puts it.
    fn walk(&mut self, directory: &Path, above: &str) -> io::Result<()> {
        let mut entries = vec![];
        let found = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        for entry in found {
            let entry = entry?;
            // No key is anything but UTF-8, so this is none.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            let key = format!("{above}{name}{slash}");
            if self.may_hold(&key) {
                entries.push(key);
            }
        }
        entries.sort_unstable();
        for key in entries {
            if self.goes_on {
                break;
            }
            match key.strip_suffix('/').and_then(|key| key.rsplit('/').next()) {
                Some(name) => self.walk(&directory.join(name), &key)?,
                None if self.keys.len() < self.most => self.keys.push(key),
                None => self.goes_on = true,
            }
        }
        Ok(())
    }

    /// Tells whether a key, or a key below it if it ends with a slash, belongs to this page or a later one.
    fn may_hold(&self, key: &str) -> bool {
        if key.ends_with('/') {
            let wanted = key.starts_with(&self.prefix) || self.prefix.starts_with(key);
            return wanted && (key > self.after.as_str() || self.after.starts_with(key));
        }
        key.starts_with(&self.prefix) && key > self.after.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 9] = [
        "a-b", "a.b/1", "a.b/2", "a/x", "a/y/z", "a/é", "a0", "b/ c", "b/c+d",
    ];

    fn bucket() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a scratch directory");
        for key in KEYS {
            let file = folder.path().join(key);
            let above = file.parent().expect("is below the bucket");
            std::fs::create_dir_all(above).expect("made");
            std::fs::write(file, key).expect("written");
        }
        folder
    }

    /// Every page of a listing.
    fn pages(bucket: &Path, prefix: &str, most: i32) -> Vec<Vec<String>> {
        let mut pages = vec![];
        let mut token = None;
        loop {
            let input = ListObjectsV2Input {
                bucket: "bucket".into(),
                prefix: Some(prefix.into()),
                max_keys: Some(most),
                continuation_token: token,
                ..Default::default()
            };
            let page = answer(bucket, input).expect("listed").output;
            let objects = page.contents.unwrap_or_default().into_iter();
            pages.push(objects.filter_map(|object| object.key).collect());
            token = page.next_continuation_token;
            assert_eq!(page.is_truncated, Some(token.is_some()));
            if token.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_of_any_length_hold_every_key_once_in_order() {
        let bucket = bucket();
        for most in 1..=10 {
            let pages = pages(bucket.path(), "", most);
            let full = usize::try_from(most).expect("is positive");
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == full));
            assert_eq!(pages.concat(), KEYS, "{most} a page");
        }
    }

    #[test]
    fn a_prefix_is_of_the_key_and_not_of_a_directory() {
        let bucket = bucket();
        for prefix in ["a", "a.", "a/", "a/y", "b/c", "z", "a/é"] {
            let wanted: Vec<&str> = KEYS
                .into_iter()
                .filter(|key| key.starts_with(prefix))
                .collect();
            assert_eq!(pages(bucket.path(), prefix, 2).concat(), wanted, "{prefix}");
        }
    }

    #[test]
    fn a_bucket_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        answer(&folder.path().join("gone"), ListObjectsV2Input::default()).expect_err("is gone");
    }
}
