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

/// The file of another tool.
#[derive(Deserialize)]
#[serde(untagged)]
enum External {
    Whole(ExternalFile),
    Bare(BTreeMap<String, ExternalEntry>),
}

#[derive(Deserialize)]
struct ExternalFile {
    #[serde(default)]
    last_updated: String,
    bottles: BTreeMap<String, ExternalEntry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ExternalEntry {
    Digest(String),
    Whole(ExternalBottle),
}

#[derive(Deserialize)]
struct ExternalBottle {
    sha256: String,
    #[serde(default)]
    download_date: String,
    file_size: Option<u64>,
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

    /// Reads the file of another tool, in any form that was ever written: entries with more than this program knows, with a time in place of
    /// a day, without a size, or with nothing but a digest; with `bottles` around them or without.
    ///
    /// # Errors
    /// If it is none of them; the text says where.
    pub fn parse_external(bytes: &[u8]) -> Result<HashFile, HashFileError> {
        let file: External = serde_json::from_slice(bytes).map_err(HashFileError::Form)?;
        let (last_updated, entries) = match file {
            External::Whole(whole) => (whole.last_updated, whole.bottles),
            External::Bare(entries) => (String::new(), entries),
        };
        let mut bottles = BTreeMap::new();
        for (name, entry) in entries {
            let (sha256, date, file_size) = match entry {
                ExternalEntry::Digest(sha256) => (sha256, String::new(), 0),
                ExternalEntry::Whole(entry) => (
                    entry.sha256,
                    entry.download_date,
                    entry.file_size.unwrap_or(0),
                ),
            };
            let sha256 = sha256
                .strip_prefix("sha256:")
                .unwrap_or(&sha256)
                .to_ascii_lowercase();
            if sha256.parse::<transfer::Digest>().is_err() {
                let what = "has no SHA-256 of 64 hexadecimal digits";
                return Err(HashFileError::Entry { name, what });
            }
            // A time begins with its day. One that is none says nothing.
            let day = date.get(..10).unwrap_or("");
            let is_day = day.parse::<jiff::civil::Date>().is_ok();
            let download_date = if is_day { day } else { "" }.to_owned();
            let entry = HashEntry {
                sha256,
                download_date,
                file_size,
            };
            bottles.insert(name, entry);
        }
        Ok(HashFile {
            last_updated,
            bottles,
        })
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

    /// Takes over from another tool's file the days of bottles that are in this one too, if they came earlier; all else in it is a claim about
    /// another place.
    pub fn merge(&mut self, external: &HashFile) -> Merged {
        let mut merged = Merged::default();
        for (name, theirs) in &external.bottles {
            let Some(own) = self.bottles.get_mut(name) else {
                merged.elsewhere += 1;
                continue;
            };
            if !own.sha256.eq_ignore_ascii_case(&theirs.sha256) {
                merged.others.push(name.clone());
                continue;
            }
            merged.shared += 1;
            if !theirs.download_date.is_empty() && theirs.download_date < own.download_date {
                own.download_date.clone_from(&theirs.download_date);
            }
        }
        merged
    }

    /// Writes the file's text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// What of another tool's file is in the mirror too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Entries of bottles that the mirror has.
    pub shared: u64,
    /// Entries of bottles that it has not.
    pub elsewhere: u64,
    /// Names under which the mirror has another digest.
    pub others: Vec<String>,
}

impl Merged {
    /// Says that digests differ.
    #[must_use]
    pub fn warning(&self) -> String {
        let examples: Vec<&str> = self.others.iter().take(3).map(String::as_str).collect();
        format!(
            "the external hash file has other digests than Homebrew's API for {} of the mirror's bottles, such as {}; the mirror keeps its own",
            self.others.len(),
            examples.join(", "),
        )
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
        let external = HashFile::parse_external(text.as_bytes()).expect("it is read");
        assert_eq!(external, file);
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

    #[test]
    fn a_file_of_another_tool_is_read_in_every_form_and_gives_days_only() {
        let (own, other) = ("a".repeat(64), "B".repeat(64));
        let forms = [
            format!(
                r#"{{"last_updated":"x","bottles":{{"jq-1-all":{{"sha256":"{own}","download_date":"2024-01-02T03:04:05Z","url":"u","s3_key":"k"}},"no-1-all":{{"sha256":"{other}","download_date":"?","file_size":0}}}}}}"#
            ),
            format!(
                r#"{{"jq-1-all":{{"sha256":"sha256:{own}","download_date":"2024-01-02"}},"no-1-all":"{other}"}}"#
            ),
        ];
        for text in forms {
            let external = HashFile::parse_external(text.as_bytes()).expect("it is read");
            let entry = |sha256: &str, day: &str| HashEntry {
                sha256: sha256.to_owned(),
                download_date: day.to_owned(),
                file_size: 5,
            };
            let file = |entries: [(&str, HashEntry); 2]| HashFile {
                last_updated: "now".to_owned(),
                bottles: entries.map(|(name, entry)| (name.to_owned(), entry)).into(),
            };
            let mine = [
                ("jq-1-all", entry(&own, "2026-01-01")),
                ("x-1-all", entry(&own, "2026-01-01")),
            ];
            let mut merged = file(mine.clone());
            let what = merged.merge(&external);
            assert_eq!((what.shared, what.elsewhere, what.others.len()), (1, 1, 0));
            // What only the other file names is not in the mirror.
            let [_, rest] = mine;
            assert_eq!(
                merged,
                file([("jq-1-all", entry(&own, "2024-01-02")), rest])
            );
            let mut different = file([
                ("jq-1-all", entry(&other, "2026-01-01")),
                ("no-1-all", entry(&other, "2026-01-01")),
            ]);
            let before = different.clone();
            let what = different.merge(&external);
            assert_eq!(what.others, ["jq-1-all"]);
            assert!(what.warning().contains("jq-1-all"));
            assert_eq!(different, before);
        }
        for (text, what) in [
            ("[]", "Invalid hash file"),
            (r#"{"jq-1-all":"12"}"#, "SHA-256"),
            (r#"{"a":{}}"#, "Invalid"),
        ] {
            let error = HashFile::parse_external(text.as_bytes()).expect_err("refused");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
