//! Objects under second names, where a store has such a thing: a folder does, as links; a bucket does not.
//!
//! What must hold: what stands for an object is never a copy of it.

use crate::error::{ErrorKind, StoreError};
use crate::folder::{self, Folder, Reference};
use crate::store::Store;
use object_store::path::Path;

impl Store {
    /// Tells whether a key can be another name of an object here.
    #[must_use]
    pub fn can_refer(&self) -> bool {
        self.folder().is_some()
    }

    /// Looks that the folder of a store is there: what is written where a disk should be mounted would fill another one. Of a bucket nothing is
    /// asked.
    ///
    /// # Errors
    /// If the folder is not there.
    pub async fn check_place(&self) -> Result<(), StoreError> {
        match self.can_refer() {
            true => self.in_folder("open", None, Folder::check_root).await,
            false => Ok(()),
        }
    }

    /// Makes keys other names of objects: pairs of a key and the one that it stands for. Whatever had the keys is replaced, one key
    /// after the other.
    ///
    /// # Errors
    /// Of kind `Unsupported` where there is no such thing; otherwise if it is not certain that all were made: to make them again is harmless.
    pub async fn refer(&self, names: &[(String, String)]) -> Result<(), StoreError> {
        let mut pairs = Vec::with_capacity(names.len());
        for (key, to) in names {
            pairs.push((self.path("refer", key)?, self.path("refer", to)?));
        }
        let shown = names.first().map(|(key, _)| key.as_str());
        self.in_folder("refer", shown, move |folder| folder.refer(&pairs))
            .await
    }

    /// Lists what lies below a prefix, and what each key stands for.
    ///
    /// # Errors
    /// As [`Store::refer`].
    pub async fn references(&self, prefix: &str) -> Result<Vec<Reference>, StoreError> {
        let below = self.path("list", prefix)?;
        self.in_folder("list", Some(prefix), move |folder| {
            folder.references(&below)
        })
        .await
    }

    async fn in_folder<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        work: impl FnOnce(&Folder) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(folder) = self.folder() else {
            let why = "objects of a bucket cannot stand for others";
            return Err(StoreError::new(ErrorKind::Unsupported, operation, key, why));
        };
        let work = folder.blocking(move |folder| {
            work(folder).map_err(|error| folder::failure(&Path::default(), error))
        });
        self.run(operation, key, work).await
    }
}
