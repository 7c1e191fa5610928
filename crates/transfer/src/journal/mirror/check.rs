//! Whether the copy of a journal is what the journal is, byte for byte.
//!
//! What must hold: every piece is read, and one that is missing between two is missed. A copy that ends before the journal is not wrong: it follows.
//!
//! It deliberately mends nothing: the next command that writes the journal makes the copy anew where it is gone.

use super::super::{Journal, JournalError};
use super::{begin_of, folder, pieces_below, store_error};
use serde::Serialize;
use store::{ErrorKind, Store};

/// What was found of the copy of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum CopyFound {
    /// It is the same.
    Equal {
        /// How many bytes both have.
        bytes: u64,
    },
    /// It is the same as far as it goes.
    Behind {
        /// How many bytes it has.
        bytes: u64,
        /// How many the journal has.
        of: u64,
    },
    /// There is none.
    Missing,
    /// It is another one.
    Differs {
        /// In what.
        why: String,
    },
}

impl Journal {
    /// Compares all of the copy that a store keeps with the journal, also while a process writes it.
    ///
    /// # Errors
    /// If the store or the file cannot be read.
    pub async fn compare_with_mirror(
        &self,
        store: &Store,
        prefix: &str,
    ) -> Result<CopyFound, JournalError> {
        let path = self.path();
        let length = self.0.file.metadata();
        let length = length.map_err(|error| JournalError::io(path, error))?.len();
        let pieces = pieces_below(store, &folder(prefix, &self.header().run_id)).await;
        let pieces = pieces.map_err(|error| store_error(path, error))?;
        let mut end = 0;
        for piece in &pieces {
            let Some(begin) = begin_of(&piece.key) else {
                continue;
            };
            let differs = |why: String| Ok(CopyFound::Differs { why });
            if begin > end {
                return differs(format!("the piece before {} is missing", piece.key));
            }
            let bytes = match store.get(&piece.key).await {
                Ok(bytes) => bytes,
                Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                    return differs(format!("{} cannot be read: {error}", piece.key));
                }
                Err(error) => return Err(store_error(path, error)),
            };
            if !self.has_at(begin, &bytes)? {
                return differs(format!("{} is not what the journal has there", piece.key));
            }
            end = end.max(begin + bytes.len() as u64);
        }
        Ok(match end {
            0 => CopyFound::Missing,
            end if end < length => CopyFound::Behind {
                bytes: end,
                of: length,
            },
            bytes => CopyFound::Equal { bytes },
        })
    }
}
