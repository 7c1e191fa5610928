//! What a tree, a database or a bucket holds, byte for byte, to compare before and after.
//!
//! What must hold: two snapshots are equal exactly when everything a person could notice is: names, bytes, times and rights of files,
//! every column of every row, bytes and attributes of objects. What a migration keeps for itself below `.syncline/` in a bucket does not count.
//! What it deliberately does not do: times of folders, which change with every file in them.

use super::words::sha256;
use crate::postgres::Database;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The folder below a bucket in which the tools keep their own state.
const OUR_OWN: &str = ".syncline/";
/// More differences than this tell a person nothing more.
const DIFFERENCES_MAX: usize = 20;

/// Names and what is behind them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    entries: BTreeMap<String, String>,
}

impl Snapshot {
    /// Everything below a folder: bytes, length, rights and time of change of files, targets of links, rights of folders.
    ///
    /// # Panics
    /// If something cannot be read.
    pub fn tree(folder: &Path) -> Snapshot {
        let mut entries = BTreeMap::new();
        walk(folder, "", &mut |name, path, metadata| {
            entries.insert(name.to_owned(), describe(path, metadata)?);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Snapshot { entries }
    }

    /// Every column of every row of every table; a row's name is its table and `id`.
    ///
    /// # Panics
    /// If the database cannot be asked.
    pub fn tables(database: &Database) -> Snapshot {
        let names = database.sql(
            "SELECT quote_ident(table_name) FROM information_schema.tables \
             WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1",
        );
        // JSON has no line breaks in it, so a row is a line.
        let rows = names
            .lines()
            .map(|table| {
                format!("SELECT '{table} ' || t.id || chr(9) || to_jsonb(t) FROM {table} t;")
            })
            .collect::<String>();
        let rows = database.sql(&rows);
        let rows = rows.lines().filter_map(|line| line.split_once('\t'));
        Snapshot {
            entries: rows
                .map(|(name, row)| (name.to_owned(), row.to_owned()))
                .collect(),
        }
    }

    /// Every object of a bucket of [`crate::S3Server`] or [`crate::S3Process`], whose folder of buckets is given: length, digest and attributes;
    /// and the uploads that were begun and neither completed nor aborted.
    ///
    /// # Panics
    /// If something cannot be read.
    pub fn bucket(root: &Path, bucket: &str) -> Snapshot {
        let mut entries = BTreeMap::new();
        let folder = root.join(bucket);
        walk(&folder, "", &mut |key, path, metadata| {
            if metadata.is_file() && !key.starts_with(OUR_OWN) {
                let bytes = fs::read(path)?;
                let attributes = attributes(root, bucket, key);
                let object = format!("{} bytes, {} {attributes}", bytes.len(), sha256(&bytes));
                entries.insert(key.to_owned(), object);
            }
            Ok(())
        })
        .and_then(|()| abandoned(root, &mut entries))
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        Snapshot { entries }
    }

    /// How many files, rows or objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What is behind a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// The snapshot without the names for which `drop` is true.
    #[must_use]
    pub fn without(mut self, drop: impl Fn(&str) -> bool) -> Snapshot {
        self.entries.retain(|name, _| !drop(name));
        self
    }

    /// What is missing, new or other in `after`, a line each.
    pub fn differences(&self, after: &Snapshot) -> Vec<String> {
        let names = self.entries.keys().chain(
            after
                .entries
                .keys()
                .filter(|name| !self.entries.contains_key(*name)),
        );
        names
            .filter_map(
                |name| match (self.entries.get(name), after.entries.get(name)) {
                    (Some(before), Some(after)) if before == after => None,
                    (Some(before), Some(after)) => {
                        Some(format!("changed: {name}\n    {before}\n    {after}"))
                    }
                    (Some(_), None) => Some(format!("gone: {name}")),
                    (None, _) => Some(format!("new: {name}")),
                },
            )
            .collect()
    }

    /// Fails the test, with the differences, unless `after` is equal.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn assert_same(&self, after: &Snapshot, what: &str) {
        let differences = self.differences(after);
        let shown = &differences[..differences.len().min(DIFFERENCES_MAX)];
        assert!(
            differences.is_empty(),
            "{what}: {} differences\n{}",
            differences.len(),
            shown.join("\n")
        );
    }
}

/// Calls `each` for everything below a folder; links are not followed.
fn walk(
    folder: &Path,
    below: &str,
    each: &mut impl FnMut(&str, &Path, &Metadata) -> io::Result<()>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = if below.is_empty() {
            name.into_owned()
        } else {
            format!("{below}/{name}")
        };
        let metadata = fs::symlink_metadata(&path)?;
        each(&name, &path, &metadata)?;
        if metadata.is_dir() {
            walk(&path, &name, each)?;
        }
    }
    Ok(())
}

fn describe(path: &Path, metadata: &Metadata) -> io::Result<String> {
    let mode = metadata.mode() & 0o7777;
    let kind = metadata.file_type();
    Ok(if kind.is_symlink() {
        format!("a link to {}", fs::read_link(path)?.display())
    } else if kind.is_dir() {
        format!("a folder, {mode:o}")
    } else if kind.is_file() {
        let digest = sha256(&fs::read(path)?);
        let (second, nano) = (metadata.mtime(), metadata.mtime_nsec());
        format!(
            "{} bytes, {digest}, {mode:o}, changed at {second}.{nano:09}",
            metadata.len()
        )
    } else {
        format!("something else, {mode:o}")
    })
}

/// The attributes that the server keeps beside the objects, in a file named after bucket and key.
fn attributes(root: &Path, bucket: &str, key: &str) -> String {
    let file = format!(
        ".bucket-{}.object-{}.metadata.json",
        base64(bucket),
        base64(key)
    );
    fs::read_to_string(root.join(file)).unwrap_or_default()
}

/// Uploads in parts that nobody finished.
fn abandoned(root: &Path, entries: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(".upload") {
            entries.insert(format!("(unfinished) {name}"), String::new());
        }
    }
    Ok(())
}

/// Base64 for URLs, without padding, as the server names its files.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for position in 0..=chunk.len() {
            let letter = bits >> (18 - 6 * position) & 0x3f;
            encoded.push(char::from(LETTERS[letter as usize]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_no_padding() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("??>", "Pz8-"),
        ] {
            assert_eq!(base64(text), encoded);
        }
    }

    #[test]
    fn a_snapshot_sees_bytes_times_rights_and_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a/b");
        fs::create_dir(folder.path().join("a")).expect("a folder");
        super::super::fleet::write_file(&file, b"one", 1_700_000_000);
        let before = Snapshot::tree(folder.path());
        before.assert_same(&Snapshot::tree(folder.path()), "nothing was done");
        assert_eq!(before.names().collect::<Vec<_>>(), ["a", "a/b"]);
        super::super::fleet::write_file(&file, b"one", 1_700_000_001);
        assert_eq!(before.differences(&Snapshot::tree(folder.path())).len(), 1);
        super::super::fleet::write_file(&file, b"two", 1_700_000_000);
        assert_eq!(before.differences(&Snapshot::tree(folder.path())).len(), 1);
        fs::rename(&file, folder.path().join("c")).expect("renamed");
        let after = Snapshot::tree(folder.path());
        assert_eq!(before.differences(&after), ["gone: a/b", "new: c"]);
    }
}
