//! `bottles_hash.json`: what the mirror holds, in the form that earlier tools read.
//!
//! What must hold: what was in the file and is still in the mirror stays in it; a file that cannot be read is named, moved aside and made
//! anew from the mirror, never taken for an empty one.
//!
//! It deliberately decides nothing: what is in the mirror is in its log. This file is for those who read it.

use crate::log::{Generation, Held};
use crate::names;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{ErrorKind, Store, StoreError};

/// The file's key.
pub const KEY: &str = "bottles_hash.json";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashFile {
    /// When the mirror changed last.
    pub last_updated: String,
    /// Bottles by `FORMULA-VERSION-PLATFORM`.
    pub bottles: BTreeMap<String, HashEntry>,
}

/// One bottle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashEntry {
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The day it came, such as 2025-07-21.
    pub download_date: String,
    /// How many bytes its file has; more than none.
    pub file_size: u64,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum HashFileError {
    /// It is no JSON, or not of that form.
    #[error("Invalid hash file format: {0}")]
    Form(#[source] serde_json::Error),
    /// An entry makes no sense.
    #[error("Invalid hash file format: the entry {name:?} {what}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl HashFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is not what it should be; the text says where.
    pub fn parse(bytes: &[u8]) -> Result<HashFile, HashFileError> {
        let file: HashFile = serde_json::from_slice(bytes).map_err(HashFileError::Form)?;
        for (name, entry) in &file.bottles {
            let wrong = |what| {
                let name = name.clone();
                Err(HashFileError::Entry { name, what })
            };
            if entry.sha256.parse::<transfer::Digest>().is_err() {
                return wrong("has no SHA-256 of 64 hexadecimal digits");
            }
            if entry.file_size == 0 {
                return wrong("has a file_size of 0");
            }
            if entry.download_date.parse::<jiff::civil::Date>().is_err() {
                return wrong("has no download_date such as 2025-07-21");
            }
        }
        Ok(file)
    }

    /// Makes the file of a generation. The days of what an earlier file had are kept.
    #[must_use]
    pub fn of(generation: &Generation, earlier: Option<&HashFile>, now: Timestamp) -> HashFile {
        let entries = generation.bottles.iter().map(|held| {
            let name = name_of(held);
            let known = earlier.and_then(|file| file.bottles.get(&name));
            let known = known.filter(|entry| entry.sha256.eq_ignore_ascii_case(&held.sha256));
            let entry = HashEntry {
                sha256: held.sha256.clone(),
                download_date: known
                    .map_or(&held.date, |entry| &entry.download_date)
                    .clone(),
                file_size: held.size,
            };
            (name, entry)
        });
        let bottles: BTreeMap<_, _> = entries.collect();
        // The same contents are the same bytes.
        let last_updated = match earlier {
            Some(earlier) if earlier.bottles == bottles => earlier.last_updated.clone(),
            _ => now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        HashFile {
            last_updated,
            bottles,
        }
    }

    /// Writes the file's text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// Names a bottle as the file does. A rebuild is part of the version: it is another file.
fn name_of(held: &Held) -> String {
    let version = names::manifest_tag(&held.version, held.rebuild);
    format!("{}-{version}-{}", held.formula, held.tag)
}

/// What was found where the file should be.
#[derive(Debug)]
pub enum Found {
    /// There is none.
    Missing,
    /// This is it.
    File(HashFile),
    /// It cannot be read, and lies under the other key now.
    Damaged {
        /// Where it lies.
        aside: String,
        /// What is wrong with it.
        error: HashFileError,
    },
}

/// Reads the mirror's file; one that is damaged is moved aside.
///
/// # Errors
/// If the store fails.
pub async fn read(store: &Store, now: Timestamp) -> Result<Found, StoreError> {
    let bytes = match store.get(KEY).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    match HashFile::parse(&bytes) {
        Ok(file) => Ok(Found::File(file)),
        Err(error) => {
            let aside = format!(
                "backups/bottles_hash_{}.json",
                now.strftime("%Y%m%dT%H%M%SZ")
            );
            store.put(&aside, bytes).await?;
            Ok(Found::Damaged { aside, error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_earlier_tools_is_read_and_what_is_wrong_is_named() {
        let sum = "0".repeat(64);
        let text = format!(
            r#"{{"last_updated":"2025-07-21T03:00:00Z","bottles":{{"jq-1.6-monterey":{{"sha256":"{sum}","download_date":"2025-07-21","file_size":123}}}}}}"#
        );
        let file = HashFile::parse(text.as_bytes()).expect("it is read");
        assert_eq!(file.bottles["jq-1.6-monterey"].file_size, 123);
        assert_eq!(HashFile::parse(&file.encode()).expect("it is read"), file);
        for (from, to, what) in [
            ("123", "0", "file_size"),
            (sum.as_str(), "00", "SHA-256"),
            ("\"2025-07-21\"", "\"yesterday\"", "download_date"),
            ("\"bottles\"", "\"bottle\"", "bottles"),
        ] {
            let error =
                HashFile::parse(text.replacen(from, to, 1).as_bytes()).expect_err("refused");
            let text = error.to_string();
            assert!(
                text.starts_with("Invalid hash file format") && text.contains(what),
                "{text}"
            );
        }
    }
}
