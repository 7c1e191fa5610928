//! Everything that a store consists of, in a form that can be compared: each file with its bytes and time, each row.
//!
//! What must hold: two fingerprints are equal only if every byte and every row is.
//!
//! What it deliberately does not do: look at what the tool keeps for itself, below `.syncline/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use console::{Exit, Failure, FailureExt};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use transfer::Digest;

/// Names of files and rows with what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// Takes the fingerprint of a directory: bytes, times and modes of its files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of_tree(root: &Path) -> Result<Self, Failure> {
        let mut found = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            let failed = |error: &std::io::Error| Failure::io("list", &directory, error);
            for entry in fs::read_dir(&directory).map_err(|error| failed(&error))? {
                let path = entry.map_err(|error| failed(&error))?.path();
                let name = path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                if is_our_own(&name) {
                    continue;
                }
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(name, file(&path)?);
                }
            }
        }
        Ok(Self(found))
    }

    /// Takes the fingerprint of every table of an SQLite database.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_tables(database: &Path) -> Result<Self, Failure> {
        let doing = format!("{} could not be read", database.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let sql = Connection::open_with_flags(database, flags).or_fail(Exit::Failed, &doing)?;
        let mut found = BTreeMap::new();
        for table in [
            "documents",
            "failed_documents",
            "processed_images",
            "ignored_files",
        ] {
            rows(&sql, table, &mut found).or_fail(Exit::Failed, &doing)?;
        }
        Ok(Self(found))
    }

    /// Returns how many files or rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names the first file or row in which two differ.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let names = self.0.keys().chain(other.0.keys());
        let mut differing = names.filter(|name| self.0.get(*name) != other.0.get(*name));
        differing.next().cloned()
    }
}

/// What the tool keeps in a store, and what a killed process left half-written: a store never shows that as an object.
fn is_our_own(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with(".syncline"))
}

fn file(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path, &error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let content = fs::read(path).map_err(failed)?;
    Ok(format!(
        "{} {}.{} {:o}",
        Digest::of(&content),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.mode()
    ))
}

fn rows(
    sql: &Connection,
    table: &str,
    found: &mut BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let mut statement = sql.prepare(&format!("SELECT * FROM {table} ORDER BY id"))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = vec![];
        for column in 0..columns {
            values.push(match row.get_ref(column)? {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            });
        }
        found.insert(format!("{table} {}", values[0]), values.join("\u{1f}"));
    }
    Ok(())
}
