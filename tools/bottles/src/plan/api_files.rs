//! The API's files of a run: fetched where they changed, checked, kept byte for byte.
//!
//! What must hold: a file that clients would refuse stops the run before anything is written, whether it comes from the upstream or lies in the
//! mirror; whose signature was not checked is said in every run; a file that the mirror has had does not
//! drop out of it in silence, neither because the upstream has it no more nor because the store has lost it.

use super::{FormulaFailure, PlanError, Planner, api_error, api_key};
use crate::api::ApiError;
use crate::api::jws::Envelope;
use crate::log::{self, ApiEntry, FileEntry};
use crate::upstream::{ApiAnswer, Validators};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// What the API's files are, as they are read.
#[derive(Default)]
pub(super) struct ApiFiles {
    pub(super) entries: BTreeMap<String, ApiEntry>,
    pub(super) changed: BTreeMap<String, Bytes>,
    pub(super) failures: BTreeSet<FormulaFailure>,
    pub(super) warnings: Vec<String>,
    read: BTreeMap<String, Bytes>,
    /// What lies below `api/` in the store: keys and sizes.
    present: HashMap<String, u64>,
}

impl ApiFiles {
    /// Begins, with a look at what lies in the store: a file that is gone from there is not up to date, whatever the upstream says.
    pub(super) async fn listed(store: &Store, has_key: bool) -> Result<ApiFiles, StoreError> {
        let mut files = ApiFiles::default();
        if !has_key {
            files.warnings.push(
                "the signature of the API files was not checked: give the client's public key with --api-key FILE \
                 (Library/Homebrew/api/homebrew-1.pem of a brew)"
                    .to_owned(),
            );
        }
        let mut entries = store.list_stream("api");
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            files.present.insert(entry.key, entry.size);
        }
        Ok(files)
    }

    /// Notes how many bottles a file names.
    pub(super) fn count(&mut self, path: &str, bottles: usize) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.bottles = Some(bottles as u64);
        }
    }

    /// Hands out the payload of a file, once; nothing if the upstream has no such file.
    pub(super) fn payload(&mut self, path: &str) -> Option<Result<String, PlanError>> {
        let bytes = self.read.remove(path)?;
        let envelope = Envelope::parse(&bytes);
        let payload = envelope.map(|envelope| envelope.payload.into_owned());
        Some(payload.map_err(|error| api_error(path)(ApiError::Form(error))))
    }
}

impl Planner<'_> {
    /// Fetches an API file, or finds that it is as the base has it, here too. One that is passed over stays as the base has it.
    pub(super) async fn fetch(
        &self,
        files: &mut ApiFiles,
        path: &str,
        is_read: bool,
    ) -> Result<(), PlanError> {
        if self.skip.contains(path) {
            return self.passed_over(files, path, is_read).await;
        }
        let known = self.base.api.get(path);
        let mut is_in_place =
            known.is_some_and(|entry| files.present.get(&api_key(path)) == Some(&entry.file.size));
        let nothing = Validators::default();
        let file = loop {
            // "Not changed" is an answer only for who still has it.
            let asked = known.filter(|_| is_in_place);
            let validators = asked.map_or(&nothing, |entry| &entry.validators);
            match (self.ask(path, validators).await?, asked) {
                (ApiAnswer::File(file), _) => break file,
                (ApiAnswer::Missing, _) => return self.withdrawn(files, path, is_read).await,
                (ApiAnswer::NotModified, None) => return Ok(()),
                (ApiAnswer::NotModified, Some(entry)) => {
                    let mut entry = entry.clone();
                    if is_read || self.checks_store || !self.is_verified(&entry) {
                        // One that clients would refuse may be the upstream's better one by now.
                        let found = self.in_place(path, &entry).await?;
                        let found = found.filter(|bytes| {
                            self.is_verified(&entry) || self.check(path, bytes).is_ok()
                        });
                        let Some(bytes) = found else {
                            is_in_place = false;
                            continue;
                        };
                        if let Some(key) = self.key {
                            entry.verified = Some(key.name().to_owned());
                        }
                        if is_read {
                            files.read.insert(path.to_owned(), bytes);
                        }
                    }
                    files.entries.insert(path.to_owned(), entry);
                    return Ok(());
                }
            }
        };
        let (bytes, validators) = (file.bytes, file.validators);
        self.check(path, &bytes)?;
        let file = FileEntry {
            sha256: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        let is_changed = !is_in_place || known.is_none_or(|known| known.file != file);
        let entry = ApiEntry {
            file,
            validators,
            bottles: None,
            verified: self.key.map(|key| key.name().to_owned()),
        };
        files.entries.insert(path.to_owned(), entry);
        if is_changed {
            files.changed.insert(path.to_owned(), bytes.clone());
        }
        if is_read {
            files.read.insert(path.to_owned(), bytes);
        }
        Ok(())
    }

    async fn ask(&self, path: &str, validators: &Validators) -> Result<ApiAnswer, PlanError> {
        let answer = self.upstream.api_file(path, validators).await;
        answer.map_err(|error| PlanError::Upstream {
            path: path.to_owned(),
            error,
        })
    }

    /// Tells whether nothing is left to check of a file that the mirror has.
    fn is_verified(&self, entry: &ApiEntry) -> bool {
        self.key
            .is_none_or(|key| entry.verified.as_deref() == Some(key.name()))
    }

    /// Reads a file where clients read it; nothing if it is gone from there or another one.
    async fn in_place(&self, path: &str, entry: &ApiEntry) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(&api_key(path)).await {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| Digest::of(bytes) == entry.file.sha256)),
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The upstream has no such file. One that the mirror has is kept, and is a failure by name: clients that ask for it would be without.
    async fn withdrawn(
        &self,
        files: &mut ApiFiles,
        path: &str,
        is_read: bool,
    ) -> Result<(), PlanError> {
        if !self.base.api.contains_key(path) {
            return Ok(());
        }
        files.failures.insert(FormulaFailure {
            formula: path.to_owned(),
            what: format!("the API at {} has no such file, and the mirror has one", self.upstream.api()),
            remedy: "see whether --api leads to Homebrew's own API; to keep the mirror's file from now on, pass it over with --skip NAME".to_owned(),
        });
        self.keep_file(files, path, is_read).await?;
        Ok(())
    }

    /// A file that is to be passed over is not asked for, so whatever is wrong with it does not matter: the mirror keeps what it has.
    async fn passed_over(
        &self,
        files: &mut ApiFiles,
        path: &str,
        is_read: bool,
    ) -> Result<(), PlanError> {
        let is_kept = self.keep_file(files, path, is_read).await?;
        if !is_kept && self.base.api.contains_key(path) {
            files.failures.insert(FormulaFailure {
                formula: path.to_owned(),
                what: "it was to be passed over, and the mirror has lost its own".to_owned(),
                remedy: "run without --skip for it, so that the upstream's is fetched".to_owned(),
            });
        }
        Ok(())
    }

    /// Keeps a file as the mirror has it; tells whether it has it.
    async fn keep_file(
        &self,
        files: &mut ApiFiles,
        path: &str,
        is_read: bool,
    ) -> Result<bool, PlanError> {
        let Some(entry) = self.base.api.get(path) else {
            return Ok(false);
        };
        let bytes = match log::read_file(self.store, &api_key(path), &entry.file).await {
            Ok(bytes) => bytes,
            Err(error) if is_lost(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut entry = entry.clone();
        if !self.is_verified(&entry) {
            self.check(path, &bytes)?;
            entry.verified = self.key.map(|key| key.name().to_owned());
        }
        files.entries.insert(path.to_owned(), entry.clone());
        if files.present.get(&api_key(path)) != Some(&entry.file.size) {
            files.changed.insert(path.to_owned(), bytes.clone());
        }
        if is_read {
            files.read.insert(path.to_owned(), bytes);
        }
        Ok(true)
    }

    /// Checks that a file is one that clients take.
    fn check(&self, path: &str, bytes: &[u8]) -> Result<(), PlanError> {
        let form = |error| api_error(path)(ApiError::Form(error));
        let envelope = Envelope::parse(bytes).map_err(form)?;
        let verified = self.key.map_or(Ok(()), |key| envelope.verify(key));
        verified.map_err(|error| api_error(path)(error.into()))
    }
}

/// Tells whether the store says that an object is gone or damaged, not that it cannot be asked.
pub(super) fn is_lost(error: &StoreError) -> bool {
    [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind())
}
