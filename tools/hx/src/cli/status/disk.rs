//! What takes how much space, for `hx status --storage`.
//!
//! What must hold: looking creates nothing; what cannot be looked at counts as nothing and is not an error.
//!
//! What it deliberately does not do: follow symbolic links, or measure a store that lies elsewhere.

use std::path::{Path, PathBuf};

use console::{Table, human};
use serde::Serialize;

use crate::settings::Paths;

/// How deep directories are looked at; ours have five levels.
const DEPTH_MAX: usize = 16;

/// Sizes in bytes.
#[derive(Serialize)]
pub(super) struct Storage {
    database_bytes: u64,
    journal_bytes: u64,
    keys_bytes: u64,
    cache_bytes: u64,
    default_store_bytes: u64,
    total_bytes: u64,
    /// None if the file system does not say.
    disk_free_bytes: Option<u64>,
}

impl Storage {
    pub(super) fn measure(paths: &Paths) -> Self {
        let database = paths.database();
        let beside = |suffix: &str| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            file_bytes(&PathBuf::from(name))
        };
        Self {
            database_bytes: file_bytes(&database),
            journal_bytes: beside("-wal") + beside("-journal"),
            keys_bytes: directory_bytes(&paths.keys_dir(), 0),
            cache_bytes: directory_bytes(&paths.cache_dir(), 0),
            default_store_bytes: directory_bytes(&paths.default_store(), 0),
            total_bytes: directory_bytes(paths.data_dir(), 0),
            disk_free_bytes: free_bytes(paths.data_dir()),
        }
    }

    pub(super) fn rows(&self, table: &mut Table) {
        // A store that lies elsewhere is not measured, so nothing is said of one where none lies here.
        let store = ("folder store size", self.default_store_bytes);
        let rows = [
            ("database size", self.database_bytes),
            ("journal size", self.journal_bytes),
            ("keys size", self.keys_bytes),
            ("cache size", self.cache_bytes),
        ];
        let rows = rows.into_iter().chain((store.1 > 0).then_some(store));
        for (name, n_bytes) in rows.chain([("all of it", self.total_bytes)]) {
            table.row([name, &human::bytes(n_bytes)]);
        }
        table.row([
            "free on the disk",
            &self
                .disk_free_bytes
                .map_or_else(|| "not known".to_owned(), human::bytes),
        ]);
    }
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

fn directory_bytes(directory: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => {
                directory_bytes(&entry.path(), depth + 1)
            }
            Ok(kind) if kind.is_file() => file_bytes(&entry.path()),
            _ => 0,
        })
        .sum()
}

/// What this person may still write on the disk of the directory, or of the nearest one above it that exists.
fn free_bytes(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(existing).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
