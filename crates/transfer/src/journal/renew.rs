//! Comparing a journal with its copy in the target. An older copy of the file that was put back, or one whose tail was cut off at
//! a line's end, looks whole by itself.
//!
//! What must hold: the longer of the two is taken only if it begins with the shorter one; where they differ neither is believed.
//! Nor is a longer copy taken where nothing here says that the file is short: whoever can write to the target can add lines to a copy.
//! The file that was replaced is kept aside, whole. Nobody writes the file from the comparison to the replacement.
//!
//! It deliberately asks for the copy's length before the file's: a run that is at work copies only what is in the file already.

use super::{Journal, JournalError, JournalErrorKind, mirror, reader};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::Store;

/// What the name of a file in the making has behind the journal's.
const RENEWING: &str = "renewing";

/// So much is compared at once.
const GULP: usize = 64 * 1024;

/// A journal that was replaced by the longer copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Where the shorter file is now.
    pub aside: PathBuf,
    /// How many bytes of whole lines it has.
    pub was: u64,
    /// How many the journal has now.
    pub is: u64,
}

impl Journal {
    /// Replaces the journal of a run by the copy that a store keeps of it, if that goes on where the file ends and the file is known to have had more
    /// bytes than it has: `known`, by what is kept here and not in the store.
    ///
    /// # Errors
    /// `Shorter` if the copy is the longer one and the file is as long as is known, `Diverged` if one does not begin with the other, `Locked` if the file would have to be replaced and a process writes it,
    /// `Damaged`, `Store`, `Io`.
    pub async fn renew_from_mirror(
        store: &Store,
        prefix: &str,
        path: &Path,
        known: u64,
    ) -> Result<Option<Renewed>, JournalError> {
        let run_id = Journal::header_of(path)?.run_id;
        let copy = mirror::Extent::find(store, prefix, &run_id, path).await?;
        let length = reader::whole_length(path)?;
        if agrees(store, &copy, path, length).await? {
            return Ok(None);
        }
        if length >= known {
            return Err(shorter(path, copy.end, length));
        }
        // Held until the new file is in its place. Who had the lock before may have written, or renewed the file.
        let _locked = reader::open_locked(path, || File::open(path))?;
        let was = reader::whole_length(path)?;
        if agrees(store, &copy, path, was).await? {
            return Ok(None);
        }
        sweep(path);
        let new = name_for_new(path);
        let kept = mirror::rebuild(store, prefix, &run_id, &new).await;
        let renewed = kept.and_then(|()| replace(path, &new, was));
        if !matches!(renewed, Ok(Some(_))) {
            let _ = fs::remove_file(&new);
        }
        renewed
    }
}

/// Tells whether the copy is no longer than the file and its last piece the same.
async fn agrees(
    store: &Store,
    copy: &mirror::Extent,
    path: &Path,
    length: u64,
) -> Result<bool, JournalError> {
    if copy.end > length {
        return Ok(false);
    }
    if let Some((begin, bytes)) = copy.last_piece(store, path).await? {
        check_equal(path, begin, &bytes)?;
    }
    Ok(true)
}

/// Puts the new file in the old one's place, unless it turns out to have no more whole lines. The old one is locked.
fn replace(path: &Path, new: &Path, was: u64) -> Result<Option<Renewed>, JournalError> {
    if !begins_with(new, path, was)? {
        return Err(diverged(path));
    }
    let is = reader::whole_length(new)?;
    if is <= was {
        return Ok(None);
    }
    let failed = |error| JournalError::io(path, error);
    let aside = put_aside(path, "short").map_err(failed)?;
    put_in_place(new, path).map_err(failed)?;
    Ok(Some(Renewed { aside, was, is }))
}

/// Names a new file beside a journal, for one that is to take its place.
pub(super) fn name_for_new(path: &Path) -> PathBuf {
    let random = RandomState::new().build_hasher().finish();
    beside(path, &format!("{RENEWING}-{random:016x}"))
}

/// Gives the new file the journal's name, durably.
pub(super) fn put_in_place(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    store::file::sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Copies a file to a name beside it that no other has and that says why.
pub(super) fn put_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let aside = beside(path, &format!("{why}-{number}"));
        let mut options = OpenOptions::new();
        match options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)
        {
            Ok(mut file) => {
                io::copy(&mut File::open(path)?, &mut file)?;
                file.sync_all()?;
                return Ok(aside);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Removes what processes that were killed have left of their attempts. Only who holds the lock may: nobody else is at it then.
pub(super) fn sweep(path: &Path) {
    let begin = beside(path, RENEWING);
    let (Some(dir), Some(begin)) = (begin.parent(), begin.file_name()) else {
        return;
    };
    let begin = begin.as_encoded_bytes();
    // What cannot be listed or removed is in nobody's way.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(begin) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

pub(super) fn shorter(path: &Path, copied: u64, length: u64) -> JournalError {
    let why = format!("it has {copied} bytes, the journal {length}");
    JournalError::new(JournalErrorKind::Shorter, path).because(why)
}

pub(super) fn diverged(path: &Path) -> JournalError {
    let why = "the copy of it that the target keeps is another one, from some line on";
    JournalError::new(JournalErrorKind::Diverged, path).because(why)
}

fn check_equal(path: &Path, begin: u64, bytes: &[u8]) -> Result<(), JournalError> {
    use std::os::unix::fs::FileExt;
    let mut here = vec![0; bytes.len()];
    let file = File::open(path).map_err(|error| JournalError::io(path, error))?;
    file.read_exact_at(&mut here, begin)
        .map_err(|error| JournalError::io(path, error))?;
    match here == bytes {
        true => Ok(()),
        false => Err(diverged(path)),
    }
}

/// Tells whether the first bytes of both files are the same.
fn begins_with(new: &Path, old: &Path, length: u64) -> Result<bool, JournalError> {
    let open = |path: &Path| {
        let file = File::open(path).map_err(|error| JournalError::io(path, error))?;
        Ok::<_, JournalError>(BufReader::new(file).take(length))
    };
    let (mut of_new, mut of_old) = (open(new)?, open(old)?);
    let (mut one, mut other) = (vec![0; GULP], vec![0; GULP]);
    let mut left = length;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(GULP).min(GULP);
        of_new
            .read_exact(&mut one[..n])
            .map_err(|error| JournalError::io(new, error))?;
        of_old
            .read_exact(&mut other[..n])
            .map_err(|error| JournalError::io(old, error))?;
        if one[..n] != other[..n] {
            return Ok(false);
        }
        left -= n as u64;
    }
    Ok(true)
}

/// A name beside the journal's that no journal has.
fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    PathBuf::from(name)
}

#[cfg(test)]
pub(super) mod tests;
