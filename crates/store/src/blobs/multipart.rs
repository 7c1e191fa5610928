//! Uploads in parts.

#[cfg(feature = "s3")]
use super::completion::Completion;
use super::{Attributes, Written, library_attributes};
use crate::error::{ErrorKind, StoreError};
use crate::meter::Request;
use crate::store::Store;
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload};
use tokio::sync::Mutex;

/// An upload in parts that is under way. Nobody sees the object before [`Multipart::complete`]; one that is dropped leaves its parts
/// behind, so abort it.
pub struct Multipart {
    store: Store,
    key: String,
    #[cfg(feature = "s3")]
    path: Path,
    attributes: Attributes,
    way: Way,
}

enum Way {
    #[cfg(feature = "s3")]
    Bucket {
        id: String,
        parts: std::sync::Mutex<std::collections::BTreeMap<usize, crate::s3::PartDone>>,
    },
    Library(Mutex<(usize, Box<dyn MultipartUpload>)>),
    /// A store that knows no parts gets the object whole, at the end.
    Gathered(Mutex<(usize, BytesMut)>),
}

/// An upload in parts that was begun and never ended; its parts cost money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedUpload {
    /// The key that the object would have got, relative to the store's prefix.
    pub key: String,
    /// What names the upload.
    pub id: String,
}

impl Store {
    /// Begins an upload in parts.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn multipart(
        &self,
        key: &str,
        attributes: &Attributes,
    ) -> Result<Multipart, StoreError> {
        let path = self.path("put", key)?;
        tracing::debug!(key, "begin an upload in parts");
        self.count(Request::Put);
        Ok(Multipart {
            store: self.clone(),
            key: key.to_owned(),
            attributes: attributes.clone(),
            way: self.begin(key, &path, attributes).await?,
            #[cfg(feature = "s3")]
            path,
        })
    }

    async fn begin(
        &self,
        key: &str,
        path: &Path,
        attributes: &Attributes,
    ) -> Result<Way, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            let begun = bucket.begin_upload(path, attributes);
            return Ok(Way::Bucket {
                id: self.run("put", Some(key), begun).await?,
                parts: std::sync::Mutex::default(),
            });
        }
        let options = PutMultipartOptions {
            attributes: library_attributes(attributes),
            ..PutMultipartOptions::default()
        };
        let begun = self.objects().put_multipart_opts(path, options);
        match self.run("put", Some(key), begun).await {
            Ok(upload) => Ok(Way::Library(Mutex::new((0, upload)))),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Ok(Way::Gathered(Mutex::default()))
            }
            Err(error) => Err(error),
        }
    }

    /// Lists the uploads in parts below a prefix that were begun and never ended, whoever began them. A folder has none.
    ///
    /// # Errors
    /// `Permission` if they may not be listed (s3:ListBucketMultipartUploads), `Unsupported` if the server cannot.
    pub async fn abandoned_uploads(
        &self,
        prefix: &str,
    ) -> Result<Vec<AbandonedUpload>, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            let prefix = prefix.trim_end_matches('/');
            let below = match prefix {
                "" => self.prefix().clone(),
                prefix => self.path("list uploads below", prefix)?,
            };
            let listed = bucket.uploads(below.as_ref());
            let found = self.run("list uploads below", Some(prefix), listed).await?;
            let own = |key: &str| match self.prefix().as_ref() {
                "" => Some(key.to_owned()),
                prefix => Some(key.strip_prefix(prefix)?.strip_prefix('/')?.to_owned()),
            };
            let uploads = found.into_iter();
            return Ok(uploads
                .filter_map(|(key, id)| own(&key).map(|key| AbandonedUpload { key, id }))
                .collect());
        }
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Gives up an upload in parts that another process began; one that is not there any more is passed over.
    ///
    /// # Errors
    /// If it is not certain that it is gone.
    pub async fn abort_upload(&self, key: &str, id: &str) -> Result<(), StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            let path = self.path("abort the upload of", key)?;
            let aborted = bucket.abort_upload(&path, id);
            let outcome = self.run("abort the upload of", Some(key), aborted).await;
            return match outcome {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                outcome => outcome,
            };
        }
        let _ = (key, id);
        Ok(())
    }
}

impl Multipart {
    /// Returns what names the upload in the store; empty if nothing of it outlives this process.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.way {
            #[cfg(feature = "s3")]
            Way::Bucket { id, .. } => id,
            _ => "",
        }
    }

    /// Tells whether parts may be written side by side; if not, they are written one after the other, in order.
    #[must_use]
    pub fn is_parallel(&self) -> bool {
        #[cfg(feature = "s3")]
        if let Way::Bucket { .. } = &self.way {
            return true;
        }
        false
    }

    /// Writes one part; numbers begin with 0 and leave no gap. In a bucket all parts but the last have 5 MiB or more.
    ///
    /// # Errors
    /// If it is not certain that the part was written; writing it again is harmless in a bucket.
    pub async fn put_part(
        &self,
        number: usize,
        bytes: Bytes,
        sha256: Option<[u8; 32]>,
    ) -> Result<(), StoreError> {
        let (key, length) = (Some(self.key.as_str()), bytes.len());
        match &self.way {
            #[cfg(feature = "s3")]
            Way::Bucket { id, parts } => {
                let bucket = self
                    .store
                    .bucket()
                    .ok_or_else(|| self.out_of_order(number))?;
                let work = bucket.put_part(&self.path, id, number, bytes, sha256);
                let done = self.store.run_for("put", key, length, work).await?;
                let mut parts = parts
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                parts.insert(number, done);
            }
            Way::Library(state) => {
                let mut state = state.lock().await;
                if state.0 != number {
                    return Err(self.out_of_order(number));
                }
                let work = state.1.put_part(PutPayload::from(bytes));
                self.store.run_for("put", key, length, work).await?;
                state.0 += 1;
            }
            Way::Gathered(state) => {
                let mut state = state.lock().await;
                if state.0 != number {
                    return Err(self.out_of_order(number));
                }
                state.1.extend_from_slice(&bytes);
                state.0 += 1;
            }
        }
        let _ = sha256;
        self.store.count_bytes(length, 0);
        Ok(())
    }

    /// Makes the object of its parts, which may take minutes. Where the answer is lost the object is looked for: one that is found has
    /// its length, and [`Written::in_doubt`] is set.
    ///
    /// # Errors
    /// If it is not certain that the object was written.
    pub async fn complete(&self) -> Result<Written, StoreError> {
        self.complete_if(false).await
    }

    /// As [`Multipart::complete`], but asks the store to write over nothing; whether it does, [`Store::creates_only`] tells.
    ///
    /// # Errors
    /// Of kind `Precondition` if something has the key.
    pub async fn complete_new(&self) -> Result<Written, StoreError> {
        self.complete_if(true).await
    }

    async fn complete_if(&self, only_new: bool) -> Result<Written, StoreError> {
        let key = Some(self.key.as_str());
        match &self.way {
            #[cfg(feature = "s3")]
            Way::Bucket { id, parts } => {
                let bucket = self.store.bucket().ok_or_else(|| self.out_of_order(0))?;
                let parts = {
                    let parts = parts
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                    parts.clone()
                };
                let (store, path, key) = (&self.store, &self.path, &self.key);
                let completion = Completion {
                    store,
                    bucket,
                    key,
                    path,
                    id,
                    parts,
                    only_new,
                };
                completion.run().await
            }
            Way::Library(state) => {
                let mut state = state.lock().await;
                // The library has no condition for this: there is a moment between the look and the object.
                if only_new && self.store.head(&self.key).await.is_ok() {
                    let why = "something has the key";
                    return Err(StoreError::new(ErrorKind::Precondition, "put", key, why));
                }
                let written = self.store.run("put", key, state.1.complete()).await?;
                Ok(Written {
                    checksum_confirmed: false,
                    e_tag: written.e_tag,
                    in_doubt: false,
                })
            }
            Way::Gathered(state) => {
                let bytes = state.lock().await.1.split().freeze();
                self.store
                    .put_if(&self.key, bytes, &self.attributes, None, only_new)
                    .await
            }
        }
    }

    /// Gives the upload up.
    ///
    /// # Errors
    /// If its parts may still be there.
    pub async fn abort(&self) -> Result<(), StoreError> {
        match &self.way {
            #[cfg(feature = "s3")]
            Way::Bucket { id, .. } => self.store.abort_upload(&self.key, id).await,
            Way::Library(state) => {
                let mut state = state.lock().await;
                let key = Some(self.key.as_str());
                self.store.run("put", key, state.1.abort()).await
            }
            Way::Gathered(state) => {
                state.lock().await.1.clear();
                Ok(())
            }
        }
    }

    fn out_of_order(&self, number: usize) -> StoreError {
        let why = format!("part {number} came out of order");
        StoreError::new(ErrorKind::Other, "put", Some(&self.key), why)
    }
}
