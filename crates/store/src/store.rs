//! The store: whole objects under keys, in a folder, a bucket or memory.
//!
//! What must hold: `put` replaces the whole object or leaves it alone; `get` returns as many bytes as the store says the
//! object has; `list` returns everything below the prefix or an error; `delete` of what is not there succeeds.
//!
//! It deliberately offers no rename and no lock, and one conditional write ([`Store::exchange`]) that may turn out to be none: nothing
//! above may rest on it.

mod exchange;
mod opening;

pub use exchange::{Compared, Version};

use crate::classify::from_library;
use crate::error::{ErrorKind, StoreError};
use crate::folder::Folder;
use crate::litter;
use crate::meter::{Meter, Request, Usage};
use crate::tuning::{Environment, Tuning};
use crate::url::{StoreKind, StoreUrl};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use opening::{resolve_folder, unsupported};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// The slowest upload that is not taken for a stall, in bytes a second.
const UPLOAD_RATE_MIN: u64 = 32 * 1024;

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, relative to the store's prefix.
    pub key: String,
    /// The length in bytes.
    pub size: u64,
    /// When the store says it was written last.
    pub modified: SystemTime,
}

impl Entry {
    /// Whether it is what a sync tool, a browser or a desktop left, and no object.
    #[must_use]
    pub fn is_litter(&self) -> bool {
        self.key.split('/').any(litter::is_litter)
    }
}

/// A place for objects. Clones share everything.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    meter: Arc<Meter>,
    /// Whether operations are counted here, or as requests by the HTTP client.
    counts_operations: bool,
    uploads: Semaphore,
    downloads: Semaphore,
    /// No limit for a store that is handed in: a simulator has no clock to run one.
    total_timeout: Option<Duration>,
    folder: Option<Folder>,
    #[cfg(feature = "s3")]
    bucket: Option<crate::s3::Bucket>,
}

impl Store {
    /// Opens the store that a URL names. Nothing is written and, but for finding credentials, nothing is asked yet.
    ///
    /// # Errors
    /// Of kind `Credentials`, `WrongRegion` or `Tls` if the settings do not suffice, `Unsupported` for `gs://` and `az://`.
    pub async fn open(
        url: &StoreUrl,
        tuning: &Tuning,
        env: &Environment,
    ) -> Result<Store, StoreError> {
        match url.kind() {
            StoreKind::Folder => Store::open_folder(url, tuning, env),
            StoreKind::Memory => Ok(Store::from_object_store(
                Arc::new(object_store::memory::InMemory::new()),
                "",
            )),
            #[cfg(feature = "s3")]
            StoreKind::S3 => Store::open_bucket(url, tuning, env).await,
            _ => Err(unsupported(url)),
        }
    }

    /// Wraps an object store that exists already: memory, a simulator, a decorator. It runs without time limits.
    ///
    /// # Panics
    /// If the prefix is no path: empty parts, `..` or control characters.
    #[must_use]
    pub fn from_object_store(inner: Arc<dyn ObjectStore>, prefix: &str) -> Store {
        let prefix = Path::parse(prefix).expect("the prefix is a path");
        let place = format!("memory:{prefix}");
        Store(Arc::new(Inner::new(
            inner,
            prefix,
            place,
            &Tuning {
                concurrent_uploads: usize::MAX,
                concurrent_downloads: usize::MAX,
                ..Tuning::default()
            },
        )))
    }

    /// Wraps a folder, without limits.
    pub(crate) fn of_folder(folder: Folder, root: &std::path::Path) -> Store {
        let place = StoreUrl::from_folder(root).to_string();
        Store(Arc::new(Inner::of_folder(
            folder,
            place,
            &Tuning::default(),
        )))
    }

    fn open_folder(
        url: &StoreUrl,
        tuning: &Tuning,
        env: &Environment,
    ) -> Result<Store, StoreError> {
        let folder = resolve_folder(url, env)?;
        let objects = Folder::new(folder.clone());
        let place = StoreUrl::from_folder(folder).to_string();
        let mut inner = Inner::of_folder(objects, place, tuning);
        inner.total_timeout = Some(tuning.total_timeout);
        Ok(Store(Arc::new(inner)))
    }

    #[cfg(feature = "s3")]
    async fn open_bucket(
        url: &StoreUrl,
        tuning: &Tuning,
        env: &Environment,
    ) -> Result<Store, StoreError> {
        let bucket = crate::s3::Bucket::open(url, tuning, env).await?;
        let prefix =
            Path::parse(url.prefix()).map_err(|error| from_library("open", None, error.into()))?;
        let mut inner = Inner::new(bucket.objects(), prefix, url.to_string(), tuning);
        inner.meter = bucket.meter();
        inner.counts_operations = false;
        inner.total_timeout = Some(tuning.total_timeout);
        inner.bucket = Some(bucket);
        Ok(Store(Arc::new(inner)))
    }

    /// Writes a whole object, in place of any that has the key already. In a folder it is on the disk when this returns.
    ///
    /// # Errors
    /// If it is not certain that the object was written. It may have been: writing it again is harmless.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path("put", key)?;
        tracing::debug!(key, bytes = bytes.len(), "put");
        let _permit = self.0.uploads.acquire().await;
        let length = bytes.len();
        self.count(Request::Put);
        self.run(
            "put",
            Some(key),
            self.0.objects.put(&path, PutPayload::from(bytes)),
        )
        .await?;
        if self.0.counts_operations {
            self.0.meter.sent(length);
        }
        Ok(())
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// Of kind `NotFound` if there is none, `Corrupt` if it does not have the length that the store announced.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        Ok(self.read_whole(key, None).await?.0)
    }

    /// Lists everything below a prefix, sorted by key. The litter of sync tools is left out.
    ///
    /// # Errors
    /// If any page of the listing fails; there is no short list. A bucket or folder that is gone is `NoBucket`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let prefix = prefix.trim_end_matches('/');
        tracing::debug!(prefix, "list");
        let below = if prefix.is_empty() {
            self.0.prefix.clone()
        } else {
            self.path("list", prefix)?
        };
        let shown = Some(if prefix.is_empty() {
            "everything"
        } else {
            prefix
        });
        self.count(Request::List);
        let pages = self
            .0
            .objects
            .list((!below.as_ref().is_empty()).then_some(&below));
        let found: Vec<ObjectMeta> = self.run("list", shown, pages.try_collect()).await?;
        // Some tools mark a directory by an empty object of its name.
        let mut entries: Vec<Entry> = found
            .into_iter()
            .filter(|meta| meta.location != below)
            .filter_map(|meta| self.entry(meta))
            .collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Deletes objects, a thousand per request where the store can. Those that do not exist are passed over.
    ///
    /// # Errors
    /// The first one, after all have been tried.
    pub async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        tracing::debug!(objects = keys.len(), "delete");
        let mut paths = Vec::with_capacity(keys.len());
        for key in keys {
            paths.push(self.path("delete", key)?);
            self.count(Request::Delete);
        }
        if paths.is_empty() {
            return Ok(());
        }
        let shown = if keys.len() == 1 {
            keys[0].clone()
        } else {
            format!("{} objects", keys.len())
        };
        let outcome = self
            .run(
                "delete",
                Some(&shown),
                delete_all(&*self.0.objects, paths.clone()),
            )
            .await;
        #[cfg(feature = "s3")]
        if let (Err(error), Some(bucket)) = (&outcome, &self.0.bucket)
            && error.kind() == ErrorKind::Unsupported
        {
            return self
                .run(
                    "delete",
                    Some(&shown),
                    delete_all(&*bucket.without_bulk_delete(), paths),
                )
                .await;
        }
        outcome
    }

    /// Deletes an object by a request of its own: one for many carries a checksum of its body, which not every server takes.
    #[cfg(feature = "s3")]
    pub(crate) async fn delete_singly(&self, key: &str) -> Result<(), StoreError> {
        let Some(bucket) = &self.0.bucket else {
            return self.delete(&[key.to_owned()]).await;
        };
        let path = self.path("delete", key)?;
        self.count(Request::Delete);
        let singly = bucket.without_bulk_delete();
        let work = delete_all(&*singly, vec![path]);
        self.run("delete", Some(key), work).await
    }

    /// Deletes an object of a folder if it is the one that had this tag; false if another one has its key now. One that is not there is passed over.
    ///
    /// # Errors
    /// If it may still be there; of kind `Unsupported` where the store is no folder.
    pub async fn delete_unchanged(&self, key: &str, e_tag: &str) -> Result<bool, StoreError> {
        let path = self.path("delete", key)?;
        let Some(folder) = self.folder() else {
            let why = "only in a folder is an object removed by its tag";
            return Err(StoreError::new(
                ErrorKind::Unsupported,
                "delete",
                Some(key),
                why,
            ));
        };
        self.count(Request::Delete);
        let e_tag = e_tag.to_owned();
        let work = folder.blocking(move |folder| folder.remove_unchanged(&path, &e_tag));
        match self.run("delete", Some(key), work).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            outcome => outcome,
        }
    }

    /// Returns what the store was asked so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.meter.read()
    }

    /// Whether the store is a folder, in which sync tools and people leave files.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.0.folder.is_some()
    }

    /// Returns the store's URL, without secrets.
    #[must_use]
    pub fn describe(&self) -> String {
        self.0.place.clone()
    }

    /// Finds lifecycle rules of the bucket that would move this store's objects into cold storage. A folder has none.
    ///
    /// # Errors
    /// `Permission` if the rules may not be read, `Unsupported` if the server knows none.
    #[cfg(feature = "s3")]
    pub async fn cold_storage_rules(&self) -> Result<Vec<crate::s3::ColdStorageRule>, StoreError> {
        match &self.0.bucket {
            Some(bucket) => bucket.cold_storage_rules(self.0.prefix.as_ref()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Counts the old versions that a versioned bucket keeps below a prefix, delete markers included. A folder keeps none.
    ///
    /// # Errors
    /// `Permission` if they may not be listed (s3:ListBucketVersions), `Unsupported` if the server knows no versions.
    #[cfg(feature = "s3")]
    pub async fn old_versions(&self, prefix: &str) -> Result<u64, StoreError> {
        let below = if prefix.is_empty() {
            self.0.prefix.clone()
        } else {
            self.path("list", prefix.trim_end_matches('/'))?
        };
        match &self.0.bucket {
            Some(bucket) => bucket.old_versions(below.as_ref()).await,
            None => Ok(0),
        }
    }

    /// Returns the library's store, for the probe.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.0.objects
    }

    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.0.folder.as_ref()
    }

    #[cfg(feature = "s3")]
    pub(crate) fn bucket(&self) -> Option<&crate::s3::Bucket> {
        self.0.bucket.as_ref()
    }

    /// Runs one operation within its time limit and gives its error a kind.
    pub(crate) async fn run<T>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        self.run_for(operation, key, 0, work).await
    }

    /// Runs one operation that sends so many bytes; the more, the longer it may take.
    pub(crate) async fn run_for<T>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        bytes: usize,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let slowest = Duration::from_secs(bytes as u64 / UPLOAD_RATE_MIN);
        self.run_longer(operation, key, slowest, work).await
    }

    /// Runs one operation that may take so much longer than others.
    pub(crate) async fn run_longer<T>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        longer: Duration,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let limit = self.0.total_timeout.map(|limit| limit + longer);
        let limited = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| limit),
                None => Ok(work.await),
            }
        };
        self.followed(operation, key, limited).await
    }

    /// Runs one operation without a limit of time: it has one of its own.
    #[cfg(feature = "s3")]
    pub(crate) async fn run_at_leisure<T>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        self.followed(operation, key, async { Ok(work.await) })
            .await
    }

    /// Runs one operation, which may run out of time, and gives its error a kind.
    async fn followed<T>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        limited: impl Future<Output = Result<object_store::Result<T>, Duration>>,
    ) -> Result<T, StoreError> {
        #[cfg(feature = "s3")]
        let (outcome, traces) = crate::s3::trail::follow(limited).await;
        #[cfg(not(feature = "s3"))]
        let outcome = limited.await;
        let error = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            // What the server kept answering meanwhile says more, if it answered.
            Err(limit) => object_store::Error::Generic {
                store: "store",
                source: Box::new(OutOfTime(limit)),
            },
        };
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.0.bucket {
            return Err(bucket.failure(operation, key, error, traces));
        }
        Err(from_library(operation, key, error))
    }

    /// Returns the full path of a key.
    pub(crate) fn path(&self, operation: &'static str, key: &str) -> Result<Path, StoreError> {
        let whole = if self.0.prefix.as_ref().is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.0.prefix)
        };
        match Path::parse(&whole) {
            Ok(path) if !key.is_empty() => Ok(path),
            Ok(_) => Err(StoreError::new(
                ErrorKind::Other,
                operation,
                Some(key),
                "the key is empty",
            )),
            Err(error) => Err(StoreError::new(
                ErrorKind::Other,
                operation,
                Some(key),
                error,
            )),
        }
    }

    /// Counts an operation, unless the HTTP client counts its requests.
    pub(crate) fn count(&self, request: Request) {
        if self.0.counts_operations {
            self.0.meter.count(request);
        }
    }

    /// Counts bytes, unless the HTTP client does.
    pub(crate) fn count_bytes(&self, sent: usize, received: usize) {
        if self.0.counts_operations {
            self.0.meter.sent(sent);
            self.0.meter.received(received);
        }
    }

    /// Returns the prefix that all keys of this store have in its bucket.
    pub(crate) fn prefix(&self) -> &Path {
        &self.0.prefix
    }

    /// Makes an entry of an object of this store; none if it is what a sync tool left.
    fn entry(&self, meta: ObjectMeta) -> Option<Entry> {
        let entry = self.any_entry(meta)?;
        (!entry.is_litter()).then_some(entry)
    }

    /// Makes an entry of an object of this store, whatever its name.
    pub(crate) fn any_entry(&self, meta: ObjectMeta) -> Option<Entry> {
        let whole = meta.location.as_ref();
        let key = match self.0.prefix.as_ref() {
            "" => whole,
            prefix => whole.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        Some(Entry {
            key: key.to_owned(),
            size: meta.size,
            modified: meta.last_modified.into(),
        })
    }
}

impl Inner {
    fn of_folder(folder: Folder, place: String, tuning: &Tuning) -> Inner {
        let objects = Arc::new(folder.clone());
        let mut inner = Inner::new(objects, Path::default(), place, tuning);
        inner.folder = Some(folder);
        inner
    }

    fn new(objects: Arc<dyn ObjectStore>, prefix: Path, place: String, tuning: &Tuning) -> Inner {
        let permits = |wanted: usize| Semaphore::new(wanted.clamp(1, Semaphore::MAX_PERMITS));
        Inner {
            objects,
            prefix,
            place,
            meter: Arc::default(),
            counts_operations: true,
            uploads: permits(tuning.concurrent_uploads),
            downloads: permits(tuning.concurrent_downloads),
            total_timeout: None,
            folder: None,
            #[cfg(feature = "s3")]
            bucket: None,
        }
    }
}

/// An operation that took too long in all.
#[derive(Debug)]
pub(crate) struct OutOfTime(Duration);

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it took longer than the total timeout of {:?}", self.0)
    }
}

impl std::error::Error for OutOfTime {}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.place)
    }
}

/// Deletes every path; the first failure is reported after all were tried.
async fn delete_all(objects: &dyn ObjectStore, paths: Vec<Path>) -> object_store::Result<()> {
    let mut outcomes = objects.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    let mut failure = None;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}
