//! Walks a folder and finds the objects in it.
//!
//! What must hold: every file that can be an object is found, or the walk fails. What vanishes while we look was deleted by
//! somebody and is passed over; what cannot be read is not.
//!
//! It deliberately follows no link to a directory: it might lead in a circle.

use super::{MARKER, meta};
use crate::file::{FileError, clear_temporary};
use crate::litter::{TEMPORARY, is_litter};
use object_store::ObjectMeta;
use object_store::path::{Path as Key, PathPart};
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::Duration;

/// A temporary file of ours that is older than this belongs to a process that is gone.
const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Which files are objects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All but those that sync tools leave.
    NoLitter,
    /// All but our own temporary files and the marker.
    Everything,
}

/// Finds every object below a prefix.
pub(super) fn walk(root: &Path, below: &Key, wanted: Wanted) -> io::Result<Vec<ObjectMeta>> {
    let mut found = Vec::new();
    let mut pending = vec![below.clone()];
    while let Some(dir) = pending.pop() {
        let path = root.join(dir.as_ref());
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(FileError::wrap("list", &path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| FileError::wrap("list", &path, error))?;
            match look(&dir, &entry, wanted) {
                Ok(Sort::Object(meta)) => found.push(meta),
                Ok(Sort::Directory(key)) => pending.push(key),
                Ok(Sort::Nothing) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(FileError::wrap("look at", &entry.path(), error)),
            }
        }
    }
    Ok(found)
}

enum Sort {
    Object(ObjectMeta),
    Directory(Key),
    Nothing,
}

fn look(dir: &Key, entry: &DirEntry, wanted: Wanted) -> io::Result<Sort> {
    let name = entry.file_name();
    // We write no name that is not UTF-8 or has control characters in it, so such a file is nobody's object.
    let Some(name) = name.to_str() else {
        return Ok(Sort::Nothing);
    };
    if name.starts_with(TEMPORARY) {
        remove_if_stale(entry);
    }
    let Ok(part) = PathPart::parse(name) else {
        return Ok(Sort::Nothing);
    };
    let is_other = match wanted {
        Wanted::NoLitter => is_litter(name),
        Wanted::Everything => name.starts_with(TEMPORARY) || name == MARKER,
    };
    if is_other {
        return Ok(Sort::Nothing);
    }
    let file_type = entry.file_type()?;
    if file_type.is_dir() {
        return Ok(Sort::Directory(dir.clone().join(part)));
    }
    let metadata = fs::metadata(entry.path())?;
    if !metadata.is_file() {
        return Ok(Sort::Nothing);
    }
    Ok(Sort::Object(meta(dir.clone().join(part), &metadata)?))
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}

fn remove_if_stale(entry: &DirEntry) {
    let age = entry
        .metadata()
        .and_then(|found| found.modified())
        .ok()
        .and_then(|modified| modified.elapsed().ok());
    if age.is_some_and(|age| age > STALE_AFTER) {
        // It is only litter: what fails now succeeds another day. The age alone does not tell: a file that is being restored may have been
        // given the old one that it had.
        let _ = clear_temporary(&entry.path(), true);
    }
}
