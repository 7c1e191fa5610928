//! Finds out whether a store really compares checksums: by sending a wrong one.

#[cfg(feature = "s3")]
use super::Attributes;
#[cfg(feature = "s3")]
use crate::error::ErrorKind;
use crate::error::StoreError;
use crate::store::{Entry, Store};
#[cfg(feature = "s3")]
use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

/// Below this prefix probes write.
const PROBES: &str = ".syncline/probe";

#[cfg(feature = "s3")]
const PROBE: &[u8] = b"syncline probe: may be deleted at any time\n";

/// What a store does with the checksum of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Honesty {
    /// It compares it and refuses what does not fit, for whole objects and for parts.
    Honest,
    /// It compares it for whole objects only.
    OnlyWhole,
    /// It takes anything: only reading back proves what it stored.
    Ignored,
    /// It does not take the header, or the header is switched off.
    Refused,
}

impl Store {
    /// Writes an object and a part with a deliberately wrong SHA-256, and removes what the store let pass. Eight requests or nine.
    ///
    /// # Errors
    /// If the store cannot be written to at all.
    pub async fn checksum_honesty(&self) -> Result<Honesty, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = self.bucket() {
            if !bucket.sends_checksums() {
                return Ok(Honesty::Refused);
            }
            self.clear_probes().await?;
            let key = probe_key()?;
            let found = self.probe_checksums(&key).await;
            // Whatever happened: nothing is left behind.
            self.delete(&[key]).await?;
            if matches!(found, Ok(Honesty::Refused)) {
                bucket.leave_checksums_out();
            }
            return found;
        }
        Ok(Honesty::Ignored)
    }

    /// Tells whether the store writes over nothing when it is asked to ([`Store::put_new`]): by writing an object twice. Three requests. Some
    /// servers, such as Garage, overlook the condition, and some refuse it.
    ///
    /// # Errors
    /// If the store cannot be written to at all.
    pub async fn creates_only(&self) -> Result<bool, StoreError> {
        #[cfg(feature = "s3")]
        if self.bucket().is_some() {
            let key = probe_key()?;
            let nothing = Attributes::default();
            let put = || self.put_new(&key, Bytes::from_static(PROBE), &nothing, None);
            let twice = match put().await {
                Ok(_) => put().await,
                refused => refused,
            };
            self.delete_singly(&key).await?;
            return match twice {
                Ok(_) => Ok(false),
                Err(error) if error.kind() == ErrorKind::Precondition => Ok(true),
                Err(error) if says_no(&error) => Ok(false),
                Err(error) => Err(error),
            };
        }
        Ok(true)
    }

    /// Removes what probes left whose process was killed. Two requests where there is nothing.
    ///
    /// # Errors
    /// If the store cannot be listed or written to at all.
    pub async fn clear_probes(&self) -> Result<(), StoreError> {
        let left: Vec<Entry> = self.list_stream(PROBES).try_collect().await?;
        if !left.is_empty() {
            let keys: Vec<String> = left.into_iter().map(|entry| entry.key).collect();
            self.delete(&keys).await?;
        }
        // Not every server lists uploads, and not everybody may.
        for upload in self.abandoned_uploads(PROBES).await.unwrap_or_default() {
            self.abort_upload(&upload.key, &upload.id).await?;
        }
        Ok(())
    }

    #[cfg(feature = "s3")]
    async fn probe_checksums(&self, key: &str) -> Result<Honesty, StoreError> {
        let nothing = Attributes::default();
        let bytes = || Bytes::from_static(PROBE);
        // What an earlier probe found holds no more.
        if let Some(bucket) = self.bucket() {
            bucket.rely_on_checksums(false);
        }
        let right = crate::s3::sha256(PROBE);
        match self.put_with(key, bytes(), &nothing, Some(right)).await {
            Ok(_) => {}
            Err(error) if says_no(&error) => return Ok(Honesty::Refused),
            Err(error) => return Err(error),
        }
        let wrong = [0x5a; 32];
        if !self.is_refused(self.put_wrong(key, wrong).await)? {
            return Ok(Honesty::Ignored);
        }
        self.spare_second_hash(key, right).await?;
        let upload = match self.multipart(key, &nothing).await {
            Ok(upload) => upload,
            Err(error) if says_no(&error) => return Ok(Honesty::OnlyWhole),
            Err(error) => return Err(error),
        };
        let part = self.put_wrong_part(key, upload.id(), wrong).await;
        if let Err(error) = upload.abort().await {
            tracing::warn!(key, %error, "the probe's upload in parts may be left behind");
        }
        Ok(match self.is_refused(part)? {
            true => Honesty::Honest,
            false => Honesty::OnlyWhole,
        })
    }

    /// From now on the body of a whole object is vouched for by its checksum alone, if the store takes that, and compares it then too.
    #[cfg(feature = "s3")]
    async fn spare_second_hash(&self, key: &str, right: [u8; 32]) -> Result<(), StoreError> {
        let Some(bucket) = self.bucket() else {
            return Ok(());
        };
        bucket.rely_on_checksums(true);
        let found = self.compares_unsigned(key, right).await;
        bucket.rely_on_checksums(matches!(found, Ok(true)));
        found.map(drop)
    }

    /// Whether a right checksum is taken and a wrong one refused where the body is not signed.
    #[cfg(feature = "s3")]
    async fn compares_unsigned(&self, key: &str, right: [u8; 32]) -> Result<bool, StoreError> {
        let (bytes, nothing) = (Bytes::from_static(PROBE), Attributes::default());
        match self.put_with(key, bytes, &nothing, Some(right)).await {
            Ok(_) => {}
            // Whatever it has against it: signed it took the same.
            Err(error) if says_no(&error) => return Ok(false),
            Err(error)
                if [ErrorKind::Permission, ErrorKind::Credentials].contains(&error.kind()) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let wrong = right.map(|byte| !byte);
        self.is_refused(self.put_wrong(key, wrong).await)
    }

    #[cfg(feature = "s3")]
    async fn put_wrong(&self, key: &str, wrong: [u8; 32]) -> Result<(), StoreError> {
        let path = self.path("put", key)?;
        let Some(bucket) = self.bucket() else {
            return Ok(());
        };
        let work = bucket.put_wrong(&path, None, Bytes::from_static(PROBE), wrong);
        self.run("put", Some(key), work).await
    }

    #[cfg(feature = "s3")]
    async fn put_wrong_part(
        &self,
        key: &str,
        upload: &str,
        wrong: [u8; 32],
    ) -> Result<(), StoreError> {
        let path = self.path("put", key)?;
        let Some(bucket) = self.bucket() else {
            return Ok(());
        };
        let work = bucket.put_wrong(&path, Some(upload), Bytes::from_static(PROBE), wrong);
        self.run("put", Some(key), work).await
    }

    #[cfg(feature = "s3")]
    fn is_refused(&self, outcome: Result<(), StoreError>) -> Result<bool, StoreError> {
        match outcome {
            Ok(()) => Ok(false),
            Err(error) if says_no(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Tells a refusal of this very request from trouble that says nothing about checksums.
#[cfg(feature = "s3")]
fn says_no(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Other | ErrorKind::Precondition
    )
}

#[cfg(feature = "s3")]
fn probe_key() -> Result<String, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::new(ErrorKind::Other, "put", None, error.to_string()))?;
    Ok(format!(
        "{PROBES}/checksum-{:016x}",
        u64::from_le_bytes(random)
    ))
}
