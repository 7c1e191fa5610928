//! Writes files so that a reader finds the old content or the new, whole, also after a power cut.
//!
//! What must hold: the bytes are on the disk before the name points to them, and the name is on the disk before the call
//! returns. An unfinished file never keeps the final name and is removed; one that a process that was killed has left can be told from one that
//! is being written, by a lock ([`clear_temporaries`]). Every error names the path.
//!
//! It deliberately goes on where a file system knows no fsync (some network shares): the rename is atomic even there.

use crate::litter::TEMPORARY;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may read and write.
const PRIVATE: u32 = 0o600;

/// Replaces a file's content at once. A file that exists keeps its mode.
///
/// # Errors
/// If it is not certain that the new content is on the disk.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Replaces a file's content at once; only the owner can read it, at no moment anybody else.
///
/// # Errors
/// If it is not certain that the new content is on the disk.
pub fn atomic_write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create_private(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Makes a directory and those above it that are missing, durably.
///
/// # Errors
/// If one cannot be made.
pub fn create_dir_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        // A relative path of one name.
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    create_dir_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        other => other.map_err(|error| FileError::wrap("create the directory", dir, error))?,
    }
    sync_dir(parent)
}

/// A file that gets its name when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
    is_committed: bool,
}

impl AtomicFile {
    /// Begins a file that will replace `path`; a file that exists keeps its mode.
    ///
    /// # Errors
    /// If the directory does not exist or cannot be written to.
    pub fn create(path: &Path) -> io::Result<AtomicFile> {
        let mut file = AtomicFile::begin(path, 0o666)?;
        if let Ok(found) = fs::metadata(&file.target) {
            let mode = Permissions::from_mode(found.permissions().mode() & 0o777);
            file.outcome("set the mode of", |file| file.file().set_permissions(mode))?;
        }
        Ok(file)
    }

    /// Begins a file that only the owner can read.
    ///
    /// # Errors
    /// If the directory does not exist or cannot be written to.
    pub fn create_private(path: &Path) -> io::Result<AtomicFile> {
        AtomicFile::begin(path, PRIVATE)
    }

    /// Begins a file that only the owner can read and that replaces what has the path: a link itself, not what it leads to.
    ///
    /// # Errors
    /// If the directory does not exist or cannot be written to.
    pub fn create_anew(path: &Path) -> io::Result<AtomicFile> {
        let temporary = parent_of(path).join(temporary_name()?);
        AtomicFile::begin_as(path.to_owned(), temporary, PRIVATE)
    }

    /// Begins a file that replaces what has the path, a link itself and not what it leads to; a file that exists keeps its mode.
    ///
    /// # Errors
    /// If the directory does not exist or cannot be written to.
    pub fn create_in_place(path: &Path) -> io::Result<AtomicFile> {
        let temporary = parent_of(path).join(temporary_name()?);
        let mut file = AtomicFile::begin_as(path.to_owned(), temporary, 0o666)?;
        if let Ok(found) = fs::symlink_metadata(path)
            && found.is_file()
        {
            let mode = Permissions::from_mode(found.permissions().mode() & 0o777);
            file.outcome("set the mode of", |file| file.file().set_permissions(mode))?;
        }
        Ok(file)
    }

    /// Returns the name that the file has until it is committed: to set its mode, owner and times.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    fn begin(path: &Path, mode: u32) -> io::Result<AtomicFile> {
        // A link is followed: people keep their settings elsewhere and link to them.
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink());
        let target = if is_link {
            fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
        } else {
            path.to_owned()
        };
        let temporary = parent_of(&target).join(temporary_name()?);
        AtomicFile::begin_as(target, temporary, mode)
    }

    fn begin_as(target: PathBuf, temporary: PathBuf, mode: u32) -> io::Result<AtomicFile> {
        let create = || loop {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&temporary)?;
            // Somebody who clears up may have taken it for a leftover before it had its lock.
            if !is_locked_by_another(&file) && file.metadata()?.nlink() > 0 {
                return Ok(file);
            }
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        };
        let file = create()
            .map_err(|error| FileError::wrap("create a temporary file beside", &target, error))?;
        Ok(AtomicFile {
            target,
            temporary,
            writer: Some(BufWriter::new(file)),
            is_committed: false,
        })
    }

    /// Puts the file in its place. It is on the disk when this returns.
    ///
    /// # Errors
    /// If any step failed; the old file is then still there, unless only the last step (making the name durable) failed.
    pub fn commit(mut self) -> io::Result<()> {
        let _locked = self.finish()?;
        self.outcome("rename a temporary file to", |file| {
            fs::rename(&file.temporary, &file.target)
        })?;
        self.is_committed = true;
        sync_dir(parent_of(&self.target))
    }

    /// Puts the file in its place only if nothing has its name yet.
    ///
    /// # Errors
    /// Of kind `AlreadyExists` if something has; otherwise as [`AtomicFile::commit`].
    pub fn commit_new(mut self) -> io::Result<()> {
        let _locked = self.finish()?;
        self.outcome("create", |file| {
            fs::hard_link(&file.temporary, &file.target)
        })?;
        // Dropping removes the temporary name; the file keeps the other.
        sync_dir(parent_of(&self.target))
    }

    /// Puts the file in its place if nothing has its name, or only a link that leads to nothing, or what `is_ours` says may be replaced: it gets what
    /// is there then, not what was there when the file was begun. Where a file system has neither a rename that replaces nothing nor hard links, there
    /// is a moment between the look and the rename.
    ///
    /// # Errors
    /// Of kind `AlreadyExists` if something else has its name, which is left alone; otherwise as [`AtomicFile::commit`].
    pub fn commit_over(mut self, is_ours: impl Fn(&fs::Metadata) -> bool) -> io::Result<()> {
        let _locked = self.finish()?;
        self.outcome("create", |file| {
            match rename_new(&file.temporary, &file.target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let found = fs::symlink_metadata(&file.target)?;
                    let leads_nowhere = found.is_symlink() && !file.target.exists();
                    // Over a directory no rename goes, and its error says so.
                    match leads_nowhere || found.is_dir() || is_ours(&found) {
                        true => fs::rename(&file.temporary, &file.target),
                        false => Err(error),
                    }
                }
                outcome => outcome,
            }
        })?;
        self.is_committed = true;
        sync_dir(parent_of(&self.target))
    }

    /// Brings all bytes to the disk. The file that is returned has the lock, which is needed until the temporary name is given up.
    fn finish(&mut self) -> io::Result<File> {
        self.outcome("write", |file| match file.writer.take() {
            Some(writer) => {
                let inner = writer.into_inner();
                let inner = inner.map_err(io::IntoInnerError::into_error)?;
                tolerate_no_fsync(inner.sync_all())?;
                Ok(inner)
            }
            None => Err(io::Error::other("the file is closed already")),
        })
    }

    fn file(&self) -> &File {
        self.writer
            .as_ref()
            .expect("the writer is taken only when the file is finished")
            .get_ref()
    }

    fn outcome<T>(
        &mut self,
        doing: &'static str,
        step: impl FnOnce(&mut AtomicFile) -> io::Result<T>,
    ) -> io::Result<T> {
        step(self).map_err(|error| FileError::wrap(doing, &self.target, error))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outcome("write", |file| match &mut file.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("the file is closed already")),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outcome("write", |file| {
            file.writer.as_mut().map_or(Ok(()), Write::flush)
        })
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // A file that stays behind is recognised by its name and removed later.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Tells whether the directory of a path, as far as it is there, really lies below the root. The last part may be a link: it is replaced or
/// removed itself, and not what it leads to.
#[must_use]
pub fn stays_below(root: &Path, path: &Path) -> bool {
    let real_root = match fs::canonicalize(root) {
        Ok(real) => real,
        // Below what is not there are no links.
        Err(error) => return error.kind() == io::ErrorKind::NotFound && !root.is_symlink(),
    };
    for above in path.ancestors().skip(1) {
        match fs::canonicalize(above) {
            Ok(real) => return real.starts_with(&real_root),
            // A link to nothing would be followed once there is something.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !above.is_symlink() => {}
            Err(_) => return false,
        }
    }
    false
}

/// What was cleared away below a directory, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Cleared {
    /// How many files were removed.
    pub files: u64,
    /// How many directories could not be read, and files not be removed.
    pub passed_over: u64,
    /// Why the first of them could not.
    pub first: Option<io::Error>,
}

impl Cleared {
    fn pass_over(&mut self, doing: &'static str, path: &Path, error: io::Error) {
        self.passed_over += 1;
        self.first
            .get_or_insert_with(|| FileError::wrap(doing, path, error));
    }
}

/// Removes the unfinished files below a directory whose writers are gone. One that a process still writes has a lock, and stays;
/// so does one of which nobody can say because the file system has no locks. Links to directories are not followed. What cannot be read or removed,
/// such as `lost+found`, is passed over and counted; a directory that is not there is empty.
#[must_use]
pub fn clear_temporaries(root: &Path) -> Cleared {
    let mut cleared = Cleared::default();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let listed = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                cleared.pass_over("list", &dir, error);
                continue;
            }
        };
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(file_type) = entry.file_type() else {
                continue;
            };
            if file_type.is_dir() {
                pending.push(path);
            } else if file_type.is_file() && is_temporary(&name.to_string_lossy()) {
                match clear_temporary(&path, false) {
                    Ok(is_cleared) => cleared.files += u64::from(is_cleared),
                    Err(error) => cleared.pass_over("remove", &path, error),
                }
            }
        }
    }
    cleared
}

/// Tells whether a name is exactly one that we make up.
fn is_temporary(name: &str) -> bool {
    let digits = name.strip_prefix(TEMPORARY);
    digits.is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes an unfinished file unless its writer may be at work; true if it did. `is_old`: where there are no locks, its age tells enough.
pub(crate) fn clear_temporary(path: &Path, is_old: bool) -> io::Result<bool> {
    use rustix::io::Errno;
    // Some network file systems lock only what is open for writing; some files may only be read.
    let opened = OpenOptions::new().write(true).open(path);
    let file = match opened.or_else(|_| File::open(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Removed with the lock in hand: who has just begun the file finds out, and begins it anew.
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) if is_old => {
            fs::remove_file(path).map(|()| true)
        }
        Err(_) => Ok(false),
    }
}

/// Takes the lock that says that a file is being written, for as long as it is open. Where there are no locks it is done without.
fn is_locked_by_another(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// What failed at which path.
#[derive(Debug)]
pub(crate) struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Adds the path to an I/O error that has none yet.
    pub(crate) fn wrap(doing: &'static str, path: &Path, source: io::Error) -> io::Error {
        if source
            .get_ref()
            .is_some_and(|inner| inner.is::<FileError>())
        {
            return source;
        }
        io::Error::new(
            source.kind(),
            FileError {
                doing,
                path: path.to_owned(),
                source,
            },
        )
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}", self.doing, self.path.display())
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the directory cannot be opened or synced; file systems that know no fsync are passed over.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let outcome = File::open(dir).and_then(|dir| tolerate_no_fsync(dir.sync_all()));
    outcome.map_err(|error| FileError::wrap("make durable the names in", dir, error))
}

/// Gives a file another name that nothing has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        outcome => return Ok(outcome?),
    }
    match fs::hard_link(from, to) {
        Ok(()) => return fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Accepts that some file systems have no fsync for this sort of file.
fn tolerate_no_fsync(outcome: io::Result<()>) -> io::Result<()> {
    use rustix::io::Errno;
    match outcome {
        Err(error)
            if [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS]
                .iter()
                .any(|code| error.raw_os_error() == Some(code.raw_os_error())) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(crate) fn temporary_name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{TEMPORARY}{:016x}", u64::from_le_bytes(random)))
}

#[cfg(test)]
mod tests;
