//! An upload in parts into a folder: a file that grows under a temporary name and gets its own at the end.
//!
//! What must hold: parts are written in the order in which they are handed over; an upload that is dropped leaves nothing.

use super::{Folder, failure};
use crate::file::AtomicFile;
use async_trait::async_trait;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that is being written.
pub(super) struct Upload {
    folder: Folder,
    key: Key,
    file: Arc<Mutex<Option<AtomicFile>>>,
}

impl Upload {
    pub(super) fn new(folder: Folder, key: Key, file: AtomicFile) -> Upload {
        let file = Arc::new(Mutex::new(Some(file)));
        Upload { folder, key, file }
    }

    fn take(&self) -> Option<AtomicFile> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.key)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (folder, file, key) = (self.folder.clone(), self.file.clone(), self.key.clone());
        Box::pin(async move {
            let write = move |_: &Folder| {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let file = file.as_mut().ok_or_else(|| over(&key))?;
                data.iter()
                    .try_for_each(|part| file.write_all(part))
                    .map_err(|error| failure(&key, error))
            };
            folder.blocking(write).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let key = self.key.clone();
        let file = self.take().ok_or_else(|| over(&key))?;
        let finish = move |folder: &Folder| {
            let place = folder.place(&key);
            let written = folder.commit(file).and_then(|()| folder.written(&place));
            written.map_err(|error| failure(&key, error))
        };
        self.folder.blocking(finish).await
    }

    async fn abort(&mut self) -> Result<()> {
        // Dropping removes the temporary file.
        drop(self.take());
        Ok(())
    }
}

fn over(key: &Key) -> object_store::Error {
    failure(key, io::Error::other("the upload is over"))
}
