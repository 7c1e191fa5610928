//! The copy of a journal that is kept in the target, so that a run can be rolled back when its machine is gone.
//!
//! What must hold: only what is durable here is copied; a piece is named by the byte it begins at, so pieces that were written
//! twice agree, and one that is missing is noticed.

mod check;
mod fork;

pub use check::CopyFound;
pub(crate) use fork::aside_of;

use super::{Journal, JournalError, JournalErrorKind, writer};
use bytes::Bytes;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use store::{Entry, Store, StoreError};

/// A piece is never larger.
const PIECE_MAX: u64 = 8 << 20;

/// How far a journal is copied.
pub(crate) struct MirrorCopy {
    store: Store,
    folder: String,
    /// So many bytes are copied; none before the first look at what an earlier process left.
    copied: Option<u64>,
}

impl MirrorCopy {
    pub(crate) fn new(store: Store, prefix: &str, run_id: &str) -> MirrorCopy {
        MirrorCopy {
            store,
            folder: folder(prefix, run_id),
            copied: None,
        }
    }

    /// Copies what has become durable since the last time.
    pub(crate) async fn catch_up(&mut self, journal: &Journal) -> Result<(), MirrorError> {
        // A run that took nothing on has nothing to undo: its copy would only hide that of the run before it.
        if journal.is_empty() {
            return Ok(());
        }
        let mut from = match self.copied {
            Some(copied) => copied,
            None => fork::begin(&self.store, &self.folder, journal).await?,
        };
        let length = journal.durable_length();
        while from < length {
            let bytes = journal.slice(from, (length - from).min(PIECE_MAX))?;
            let n = bytes.len() as u64;
            let key = format!("{}/{from:016}", self.folder);
            self.store.put(&key, bytes).await?;
            from += n;
        }
        self.copied = Some(from);
        Ok(())
    }
}

/// Either side of a copy can fail.
#[derive(Debug)]
pub(crate) enum MirrorError {
    Store(StoreError),
    Journal(JournalError),
}

impl From<StoreError> for MirrorError {
    fn from(error: StoreError) -> MirrorError {
        MirrorError::Store(error)
    }
}

impl From<JournalError> for MirrorError {
    fn from(error: JournalError) -> MirrorError {
        MirrorError::Journal(error)
    }
}

impl Journal {
    /// Tells whether these bytes are in the file at a place.
    fn has_at(&self, from: u64, bytes: &[u8]) -> Result<bool, JournalError> {
        let mut here = vec![0; bytes.len()];
        match self.0.file.read_exact_at(&mut here, from) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            read => {
                read.map_err(|error| JournalError::io(self.path(), error))?;
                Ok(here == bytes)
            }
        }
    }

    fn slice(&self, from: u64, length: u64) -> Result<Bytes, JournalError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.0
            .file
            .read_exact_at(&mut bytes, from)
            .map_err(|error| JournalError::new(JournalErrorKind::Io, self.path()).because(error))?;
        // A piece ends with a line: if it is the last to arrive, what is rebuilt has no torn tail.
        if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
            bytes.truncate(end + 1);
        }
        Ok(bytes.into())
    }
}

/// How far a copy goes without a gap.
pub(super) struct Extent {
    /// How many bytes from the start.
    pub(super) end: u64,
    /// The piece that ends there, and where it begins.
    last: Option<(u64, String)>,
}

impl Extent {
    /// Looks at the copy of a run.
    pub(super) async fn find(
        store: &Store,
        prefix: &str,
        run_id: &str,
        path: &Path,
    ) -> Result<Extent, JournalError> {
        let pieces = pieces_below(store, &folder(prefix, run_id)).await;
        Ok(Extent::of(
            pieces.map_err(|error| store_error(path, error))?,
        ))
    }

    fn of(pieces: Vec<Entry>) -> Extent {
        let (mut end, mut last) = (0, None);
        for piece in pieces {
            match begin_of(&piece.key) {
                Some(begin) if begin <= end && begin + piece.size > end => {
                    end = begin + piece.size;
                    last = Some((begin, piece.key));
                }
                _ => {}
            }
        }
        Extent { end, last }
    }

    /// Reads the last piece; returns where it begins, too.
    pub(super) async fn last_piece(
        &self,
        store: &Store,
        path: &Path,
    ) -> Result<Option<(u64, Bytes)>, JournalError> {
        let Some((begin, key)) = &self.last else {
            return Ok(None);
        };
        let bytes = store.get(key).await;
        let bytes = bytes.map_err(|error| store_error(path, error))?;
        Ok(Some((*begin, bytes)))
    }
}

/// Lists the pieces below a prefix, in order. A folder store that was never written to has none.
async fn pieces_below(store: &Store, prefix: &str) -> Result<Vec<Entry>, StoreError> {
    let listed = store.list_stream(prefix).try_collect::<Vec<Entry>>().await;
    let mut pieces = match listed {
        Err(error) if crate::engine::is_new_folder(store, &error) => return Ok(Vec::new()),
        listed => listed?,
    };
    pieces.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(pieces)
}

fn folder(prefix: &str, run_id: &str) -> String {
    match prefix.trim_matches('/') {
        "" => run_id.to_owned(),
        prefix => format!("{prefix}/{run_id}"),
    }
}

pub(super) fn begin_of(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

pub(super) async fn runs(store: &Store, prefix: &str) -> Result<Vec<String>, JournalError> {
    Ok(pieces_by_run(store, prefix).await?.into_keys().collect())
}

/// Lists the pieces of all copies with one listing: by run, in order.
pub(crate) async fn pieces_by_run(
    store: &Store,
    prefix: &str,
) -> Result<BTreeMap<String, Vec<Entry>>, JournalError> {
    let prefix = prefix.trim_matches('/');
    let listed = pieces_below(store, prefix).await;
    let pieces = listed.map_err(|error| store_error(Path::new(prefix), error))?;
    let run_of = |key: &str| {
        let rest = key.strip_prefix(prefix)?.trim_start_matches('/');
        rest.split_once('/').map(|(run, _)| run.to_owned())
    };
    let mut runs: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for piece in pieces {
        if let Some(run) = run_of(&piece.key) {
            runs.entry(run).or_default().push(piece);
        }
    }
    Ok(runs)
}

/// Writes the file anew from its pieces.
pub(super) async fn rebuild(
    store: &Store,
    prefix: &str,
    run_id: &str,
    path: &Path,
) -> Result<(), JournalError> {
    let pieces = pieces_below(store, &folder(prefix, run_id)).await;
    let pieces = pieces.map_err(|error| store_error(path, error))?;
    if pieces.is_empty() {
        let why = format!("the target keeps no copy of run {run_id}");
        return Err(JournalError::new(JournalErrorKind::NotFound, path).because(why));
    }
    let mut file = writer::NewFile::create(path)?;
    for piece in &pieces {
        let Some(begin) = begin_of(&piece.key) else {
            continue;
        };
        let end = file.length();
        if begin > end {
            let why = format!("the piece before {} is missing from the target", piece.key);
            return Err(JournalError::new(JournalErrorKind::Damaged, path).because(why));
        }
        let bytes = store.get(&piece.key).await;
        let bytes = bytes.map_err(|error| store_error(path, error))?;
        let new = usize::try_from(end - begin).unwrap_or(usize::MAX);
        file.append(bytes.get(new..).unwrap_or_default())?;
    }
    file.finish()
}

fn store_error(path: &Path, error: StoreError) -> JournalError {
    JournalError::new(JournalErrorKind::Store, path).because(error)
}
