//! Replacing an object only if it still is what was read, and reading no more of one than it may have.
//!
//! What must hold: where a store compares, of two who replace the same state of an object one is refused; an object that says it is larger
//! than it may be is not read at all.
//!
//! It deliberately promises nothing of stores that do not compare, or say so and do not: whoever replaces an object that others may replace
//! reads it again afterwards.

use super::Store;
use crate::error::{ErrorKind, StoreError};
use crate::meter::Request;
use bytes::Bytes;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};

/// The state of an object that was read: to replace that one, and no other.
#[derive(Clone, Debug)]
pub struct Version(Option<UpdateVersion>);

/// Whether a store compared before it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It says so: nobody wrote in between.
    Yes,
    /// It cannot: what somebody else wrote in between is gone.
    No,
}

impl Store {
    /// Reads a whole object that has no more than so many bytes.
    ///
    /// # Errors
    /// As [`Store::get`]; of kind `Corrupt` if the object is larger.
    pub async fn get_up_to(&self, key: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        Ok(self.read_whole(key, Some(bytes_max)).await?.0)
    }

    /// As [`Store::get_up_to`], with the state that [`Store::exchange`] compares.
    ///
    /// # Errors
    /// As [`Store::get_up_to`].
    pub async fn get_version(
        &self,
        key: &str,
        bytes_max: u64,
    ) -> Result<(Bytes, Version), StoreError> {
        self.read_whole(key, Some(bytes_max)).await
    }

    /// Replaces an object if it still is as it was read, where the store can compare; as [`Store::put`] where it cannot.
    ///
    /// # Errors
    /// Of kind `Precondition` if it is not; it may be that this very call replaced it and the answer was lost. Otherwise as [`Store::put`].
    pub async fn exchange(
        &self,
        key: &str,
        seen: &Version,
        bytes: Bytes,
    ) -> Result<Compared, StoreError> {
        if let Some(version) = &seen.0 {
            let path = self.path("put", key)?;
            let _permit = self.0.uploads.acquire().await;
            self.count(Request::Put);
            let options = PutOptions {
                mode: PutMode::Update(version.clone()),
                ..PutOptions::default()
            };
            let payload = PutPayload::from(bytes.clone());
            let written = self.0.objects.put_opts(&path, payload, options);
            match self.run("put", Some(key), written).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                outcome => {
                    self.count_bytes(bytes.len(), 0);
                    return outcome.map(|_| Compared::Yes);
                }
            }
        }
        self.put(key, bytes).await.map(|()| Compared::No)
    }

    /// Reads a whole object, unless it says that it is too large.
    pub(super) async fn read_whole(
        &self,
        key: &str,
        bytes_max: Option<u64>,
    ) -> Result<(Bytes, Version), StoreError> {
        let path = self.path("get", key)?;
        tracing::debug!(key, "get");
        let _permit = self.0.downloads.acquire().await;
        self.count(Request::Get);
        let read = async {
            let found = self.0.objects.get_opts(&path, Default::default()).await?;
            let meta = found.meta.clone();
            if bytes_max.is_some_and(|max| meta.size > max) {
                return Ok((meta, None));
            }
            let bytes = found.bytes().await?;
            Ok((meta, Some(bytes)))
        };
        let (meta, bytes) = self.run("get", Some(key), read).await?;
        let corrupt = |why: String| StoreError::new(ErrorKind::Corrupt, "get", Some(key), why);
        let size = meta.size;
        let Some(bytes) = bytes else {
            let max = bytes_max.unwrap_or_default();
            return Err(corrupt(format!(
                "it has {size} bytes, and none of its kind has more than {max}: it was not read"
            )));
        };
        if bytes.len() as u64 != size {
            return Err(corrupt(format!("{} of {size} bytes arrived", bytes.len())));
        }
        if self.0.counts_operations {
            self.0.meter.received(bytes.len());
        }
        let version = UpdateVersion {
            e_tag: meta.e_tag,
            version: meta.version,
        };
        Ok((bytes, Version(version.e_tag.is_some().then_some(version))))
    }
}
