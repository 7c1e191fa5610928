//! One object under a second name in a folder: a relative symbolic link, which web servers follow and which costs nothing.
//!
//! What must hold: a name is there with its old meaning or with its new one, at every moment; links lead nowhere but to other keys of the
//! same store.
//! It deliberately makes no hard links: an object that is written over would keep its old bytes under the second name.

use super::{Folder, is_gone};
use crate::file::{self, FileError};
use object_store::path::Path as Key;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A key that is another name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The key.
    pub key: String,
    /// The key of the object that it stands for, whether or not that is there; none if this is an object of its own, or leads elsewhere.
    pub to: Option<String>,
    /// When it was made.
    pub made: SystemTime,
}

impl Folder {
    /// Makes keys other names of objects, in place of whatever had them. They are durable when this returns.
    pub(crate) fn refer(&self, names: &[(Key, Key)]) -> io::Result<()> {
        let mut directories = BTreeSet::new();
        for (key, to) in names {
            let place = self.place(key);
            self.link(&place, &target(key, to))
                .map_err(|error| FileError::wrap("make a link at", &place, error))?;
            directories.extend(place.parent().map(Path::to_owned));
        }
        directories.iter().try_for_each(|dir| file::sync_dir(dir))
    }

    fn link(&self, place: &Path, target: &Path) -> io::Result<()> {
        self.prepare(place)?;
        let temporary = place.with_file_name(file::temporary_name()?);
        std::os::unix::fs::symlink(target, &temporary)?;
        fs::rename(&temporary, place).inspect_err(|_| {
            // It is only litter.
            let _ = fs::remove_file(&temporary);
        })
    }

    /// Lists everything below a prefix, links that lead nowhere too.
    pub(crate) fn references(&self, below: &Key) -> io::Result<Vec<Reference>> {
        self.check_root()?;
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::from(below.as_ref())];
        while let Some(dir) = pending.pop() {
            let path = self.root().join(&dir);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(FileError::wrap("list", &path, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| FileError::wrap("list", &path, error))?;
                let name = entry.file_name();
                let is_own = name
                    .to_str()
                    .is_some_and(|name| !name.starts_with(crate::litter::TEMPORARY));
                match entry.metadata() {
                    Ok(kind) if kind.is_dir() => pending.push(dir.join(name)),
                    Ok(kind) if is_own => {
                        let place = dir.join(name);
                        let to = fs::read_link(entry.path()).ok();
                        found.push(Reference {
                            to: to.and_then(|to| source(&place, &to)),
                            key: place.to_string_lossy().into_owned(),
                            made: kind.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                        });
                    }
                    Ok(_) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(FileError::wrap("look at", &entry.path(), error)),
                }
            }
        }
        Ok(found)
    }
}

/// Writes the way from one key to another.
fn target(key: &Key, to: &Key) -> PathBuf {
    let up = key.parts().count().saturating_sub(1);
    let mut way: PathBuf = std::iter::repeat_n("..", up).collect();
    way.push(to.as_ref());
    way
}

/// Reads the way that a link goes; nothing if it leads out of the store, or is not written as we write it.
fn source(place: &Path, way: &Path) -> Option<String> {
    let up = place.components().count().checked_sub(1)?;
    let rest = way.strip_prefix(std::iter::repeat_n("..", up).collect::<PathBuf>());
    let rest = rest.ok()?.to_str()?;
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    rest.split('/').all(is_plain).then(|| rest.to_owned())
}
