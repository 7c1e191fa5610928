//! The API's files of a run: fetched where they changed, checked, kept byte for byte.
//!
//! What must hold: a file that clients would refuse stops the run before anything is written.

use super::{PlanError, Planner, api_error, api_key};
use crate::api::ApiError;
use crate::api::jws::Envelope;
use crate::log::{self, ApiEntry, FileEntry};
use crate::upstream::{ApiAnswer, Validators};
use bytes::Bytes;
use std::collections::BTreeMap;
use transfer::Digest;

/// What the API's files are, as they are read.
#[derive(Default)]
pub(super) struct ApiFiles {
    pub(super) entries: BTreeMap<String, ApiEntry>,
    pub(super) changed: BTreeMap<String, Bytes>,
    read: BTreeMap<String, Bytes>,
    pub(super) warnings: Vec<String>,
}

impl ApiFiles {
    /// Hands out the payload of a file, once; nothing if the upstream has no such file.
    pub(super) fn payload(&mut self, path: &str) -> Option<Result<String, PlanError>> {
        let bytes = self.read.remove(path)?;
        let envelope = Envelope::parse(&bytes);
        let payload = envelope.map(|envelope| envelope.payload.into_owned());
        Some(payload.map_err(|error| api_error(path)(ApiError::Form(error))))
    }
}

impl Planner<'_> {
    /// Fetches an API file, or finds that it is as the base has it.
    pub(super) async fn fetch(
        &self,
        files: &mut ApiFiles,
        path: &str,
        is_read: bool,
    ) -> Result<(), PlanError> {
        let known = self.base.api.get(path);
        let nothing = Validators::default();
        let validators = known.map_or(&nothing, |entry| &entry.validators);
        let (bytes, validators) = match self.upstream.api_file(path, validators).await? {
            ApiAnswer::Missing => return Ok(()),
            ApiAnswer::NotModified => {
                let Some(entry) = known else {
                    return Ok(());
                };
                files.entries.insert(path.to_owned(), entry.clone());
                if is_read {
                    let key = api_key(path);
                    let bytes = log::read_file(self.store, &key, &entry.file).await?;
                    files.read.insert(path.to_owned(), bytes);
                }
                return Ok(());
            }
            ApiAnswer::File(file) => (file.bytes, file.validators),
        };
        self.check(path, &bytes, files)?;
        let file = FileEntry {
            sha256: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let is_changed = known.is_none_or(|known| known.file != file);
        let entry = ApiEntry { file, validators };
        files.entries.insert(path.to_owned(), entry);
        if is_changed {
            files.changed.insert(path.to_owned(), bytes.clone());
        }
        if is_read {
            files.read.insert(path.to_owned(), bytes);
        }
        Ok(())
    }

    /// Checks that a file is one that clients take.
    fn check(&self, path: &str, bytes: &[u8], files: &mut ApiFiles) -> Result<(), PlanError> {
        let form = |error| api_error(path)(ApiError::Form(error));
        let envelope = Envelope::parse(bytes).map_err(form)?;
        let Some(key) = self.key else {
            if files.warnings.is_empty() {
                files.warnings.push(
                    "the signature of the API files was not checked: give the client's public key with --api-key FILE \
                     (Library/Homebrew/api/homebrew-1.pem of a brew)"
                        .to_owned(),
                );
            }
            return Ok(());
        };
        let verified = envelope.verify(key);
        verified.map_err(|error| api_error(path)(error.into()))
    }
}
