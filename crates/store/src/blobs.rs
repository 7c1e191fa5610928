//! What bulk copying needs of a store beyond whole objects: attributes, checksums, uploads in parts, streams.
//!
//! What must hold: a stream that ends without an error had all bytes; an upload in parts is seen by nobody before it is
//! complete; a checksum counts as confirmed only if the store said it back.
//!
//! It deliberately takes no permits: who copies in bulk paces itself. The limit of connections holds all the same.

#[cfg(feature = "s3")]
mod completion;
mod honesty;
mod multipart;
#[cfg(test)]
mod tests;

pub use honesty::Honesty;
pub use multipart::{AbandonedUpload, Multipart};

use crate::classify::from_library;
use crate::error::{BoxError, ErrorKind, StoreError};
use crate::meter::Request;
use crate::store::{Entry, Store};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::{Attribute, GetOptions, GetRange, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

/// What an object has besides its bytes. A folder keeps none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The media type, such as `application/pdf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Names and values of the user's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The storage class, such as `STANDARD_IA`; none leaves it to [`crate::Tuning`] and to the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// What a store said about an object that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whether it said back the very SHA-256 that was sent. That alone proves nothing: see [`Store::checksum_honesty`].
    pub checksum_confirmed: bool,
    /// Its tag of the object's content.
    pub e_tag: Option<String>,
    /// Whether no answer came, and an object of the right length was found instead: it has to be compared before it is relied on.
    pub in_doubt: bool,
}

/// An object whose bytes come while it is written.
pub struct Passed {
    /// How many there are.
    pub size: u64,
    /// The SHA-256 that they have, which the store compares.
    pub sha256: [u8; 32],
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, BoxError>>,
}

/// What a store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The length in bytes.
    pub size: u64,
    /// When it was written last.
    pub modified: SystemTime,
    /// The SHA-256 of the whole object, if the store keeps it.
    pub sha256: Option<[u8; 32]>,
    /// The store's tag of the content.
    pub e_tag: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// Names and values of the user's own.
    pub metadata: BTreeMap<String, String>,
}

impl Store {
    /// Opens a folder whose files are nobody's objects but plain files under their names: nothing else is written into it, and a
    /// directory that becomes empty stays. Nothing is written or removed where a link on the way leads out of the folder. A file that is there is never
    /// written over: that fails with `Precondition`.
    ///
    /// It has no limit of time.
    #[must_use]
    pub fn plain_folder(root: &std::path::Path) -> Store {
        Store::of_folder(crate::folder::Folder::plain(root.to_owned(), false), root)
    }

    /// Opens such a folder where links are trusted, wherever they lead.
    #[must_use]
    pub fn plain_folder_with_links(root: &std::path::Path) -> Store {
        Store::of_folder(crate::folder::Folder::plain(root.to_owned(), true), root)
    }

    /// Whether an object that is there is written over by one that is put; not in a plain folder.
    #[must_use]
    pub fn writes_over(&self) -> bool {
        self.folder().is_none_or(crate::folder::Folder::is_store)
    }

    /// Writes a whole object with its attributes. The SHA-256 of the bytes, where it is known already, saves computing it again;
    /// the store compares it if it can.
    ///
    /// # Errors
    /// If it is not certain that the object was written; `Corrupt` if other bytes arrived than were sent.
    pub async fn put_with(
        &self,
        key: &str,
        bytes: Bytes,
        attributes: &Attributes,
        sha256: Option<[u8; 32]>,
    ) -> Result<Written, StoreError> {
        self.put_if(key, bytes, attributes, sha256, false).await
    }

    /// As [`Store::put_with`], but asks the store to write over nothing; whether it does, [`Store::creates_only`] tells.
    ///
    /// # Errors
    /// Of kind `Precondition` if something has the key: it may be what this very request wrote, if an answer was lost.
    pub async fn put_new(
        &self,
        key: &str,
        bytes: Bytes,
        attributes: &Attributes,
        sha256: Option<[u8; 32]>,
    ) -> Result<Written, StoreError> {
        self.put_if(key, bytes, attributes, sha256, true).await
    }

    pub(crate) async fn put_if(
        &self,
        key: &str,
        bytes: Bytes,
        attributes: &Attributes,
        sha256: Option<[u8; 32]>,
        only_new: bool,
    ) -> Result<Written, StoreError> {
        let path = self.path("put", key)?;
        tracing::debug!(key, bytes = bytes.len(), "put");
        self.count(Request::Put);
        let length = bytes.len();
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            let work = bucket.put(&path, bytes, attributes, sha256, only_new);
            return self.run_for("put", Some(key), length, work).await;
        }
        let options = PutOptions {
            attributes: library_attributes(attributes),
            mode: match only_new {
                true => PutMode::Create,
                false => PutMode::Overwrite,
            },
            ..PutOptions::default()
        };
        let work = self
            .objects()
            .put_opts(&path, PutPayload::from(bytes), options);
        let written = self.run_for("put", Some(key), length, work).await?;
        self.count_bytes(length, 0);
        let _ = sha256;
        Ok(Written {
            checksum_confirmed: false,
            e_tag: written.e_tag,
            in_doubt: false,
        })
    }

    /// Whether objects can be written while their bytes come: see [`Store::pass_on`].
    #[must_use]
    pub fn can_pass_on(&self) -> bool {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            return bucket.sends_checksums();
        }
        false
    }

    /// Writes a whole object while its bytes come, with its attributes. It is sent once, and never again: the bytes are gone. Where they
    /// end in an error, or are not as many as was announced, what was announced never arrives, and there is no object.
    ///
    /// # Errors
    /// If it is not certain that the object was written; `Corrupt` if other bytes arrived than were announced; `Unsupported` where
    /// [`Store::can_pass_on`] says no.
    pub async fn pass_on(
        &self,
        key: &str,
        passed: Passed,
        attributes: &Attributes,
    ) -> Result<Written, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            let path = self.path("put", key)?;
            tracing::debug!(key, bytes = passed.size, "pass on");
            // The request has a limit of its own, which does not run while its bytes are waited for.
            let work = bucket.pass_on(&path, passed, attributes);
            return self.run_at_leisure("put", Some(key), work).await;
        }
        let _ = (passed, attributes);
        let why = "objects are written here only when all their bytes are there";
        Err(StoreError::new(
            ErrorKind::Unsupported,
            "put",
            Some(key),
            why,
        ))
    }

    /// Asks about an object.
    ///
    /// # Errors
    /// Of kind `NotFound` if there is none.
    pub async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        let path = self.path("look at", key)?;
        tracing::debug!(key, "head");
        self.count(Request::Head);
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            return self.run("look at", Some(key), bucket.head(&path)).await;
        }
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let work = self.objects().get_opts(&path, options);
        let found = self.run("look at", Some(key), work).await?;
        let text = |name: &Attribute| found.attributes.get(name).map(|value| value.to_string());
        let metadata = found
            .attributes
            .iter()
            .filter_map(|(name, value)| match name {
                Attribute::Metadata(name) => Some((name.to_string(), value.to_string())),
                _ => None,
            });
        Ok(ObjectInfo {
            size: found.meta.size,
            modified: found.meta.last_modified.into(),
            sha256: None,
            content_type: text(&Attribute::ContentType),
            metadata: metadata.collect(),
            e_tag: found.meta.e_tag,
        })
    }

    /// Reads an object, or a range of it, as it comes. A stream that ends early is an error of kind `Corrupt` at its end.
    ///
    /// # Errors
    /// Of kind `NotFound` if there is none.
    pub async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let path = self.path("get", key)?;
        tracing::debug!(key, "read");
        self.count(Request::Get);
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self
            .run("get", Some(key), self.objects().get_opts(&path, options))
            .await?;
        let left = found.range.end - found.range.start;
        let state = Reading {
            store: self.clone(),
            key: key.to_owned(),
            body: found.into_stream(),
            left,
        };
        Ok(stream::try_unfold(state, Reading::next).boxed())
    }

    /// Lists everything below a prefix as it comes, in no order. Unlike [`Store::list`] it leaves nothing out: a user's file may be
    /// called `notes.bak`. Only temporary files of this library in a folder are no objects.
    pub fn list_stream(&self, prefix: &str) -> BoxStream<'static, Result<Entry, StoreError>> {
        let prefix = prefix.trim_end_matches('/');
        let below = match prefix {
            "" => Ok(self.prefix().clone()),
            prefix => self.path("list", prefix),
        };
        let below = match below {
            Ok(below) => below,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        self.count(Request::List);
        let below = (!below.as_ref().is_empty()).then_some(below);
        let pages = match self.folder() {
            Some(folder) => folder.list_all(below),
            None => self.objects().list(below.as_ref()),
        };
        let state = (self.clone(), pages, prefix.to_owned());
        stream::unfold(state, |(store, mut pages, prefix)| async move {
            loop {
                let next = next_of_list(&store, &mut pages, &prefix).await?;
                match next {
                    Ok(None) => {}
                    Ok(Some(entry)) => return Some((Ok(entry), (store, pages, prefix))),
                    Err(error) => {
                        return Some((Err(error), (store, stream::empty().boxed(), prefix)));
                    }
                }
            }
        })
        .boxed()
    }
}

type Pages = BoxStream<'static, object_store::Result<object_store::ObjectMeta>>;

async fn next_of_list(
    store: &Store,
    pages: &mut Pages,
    prefix: &str,
) -> Option<Result<Option<Entry>, StoreError>> {
    let shown = if prefix.is_empty() {
        "everything"
    } else {
        prefix
    };
    let next = async { pages.next().await.transpose() };
    match store.run("list", Some(shown), next).await {
        Ok(meta) => meta.map(|meta| Ok(store.any_entry(meta))),
        Err(error) => Some(Err(error)),
    }
}

/// An object that is being read.
struct Reading {
    store: Store,
    key: String,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    left: u64,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Reading)>, StoreError> {
        let too_few = |key: &str, left: u64| {
            let why = format!("the last {left} bytes did not arrive");
            Err(StoreError::new(ErrorKind::Corrupt, "get", Some(key), why))
        };
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.store.count_bytes(0, bytes.len());
                let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
                    let why = "more bytes arrived than were announced";
                    let key = Some(self.key.as_str());
                    return Err(StoreError::new(ErrorKind::Corrupt, "get", key, why));
                };
                self.left = left;
                Ok(Some((bytes, self)))
            }
            Some(Err(error)) => Err(from_library("get", Some(&self.key), error)),
            None if self.left > 0 => too_few(&self.key, self.left),
            None => Ok(None),
        }
    }
}

fn library_attributes(attributes: &Attributes) -> object_store::Attributes {
    let mut found = object_store::Attributes::new();
    if let Some(content_type) = &attributes.content_type {
        found.insert(Attribute::ContentType, content_type.clone().into());
    }
    for (name, value) in &attributes.metadata {
        found.insert(
            Attribute::Metadata(name.clone().into()),
            value.clone().into(),
        );
    }
    found
}
