//! Records of runs in the state directory: of those that ended, and of the one that is under way.
//!
//! What must hold: a run that died without a word is known to the next one on the same machine: the file of a run that is under way is
//! locked by its process, and the system unlocks it whatever that process died of.

use super::{KEPT, RunOutcome, RunRecord};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A run that is under way.
pub struct Begun {
    dir: PathBuf,
    path: PathBuf,
    // Locked until this is dropped.
    _file: File,
}

fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("runs")
}

impl Begun {
    /// Says in the state directory that a run is under way.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn new(state_dir: &Path, record: &RunRecord) -> io::Result<Begun> {
        let dir = dir(state_dir);
        store::file::create_dir_durably(&dir)?;
        let path = dir.join(format!("{}.running", record.id));
        let mut file = File::create_new(&path)?;
        file.lock()?;
        file.write_all(record.encode().as_bytes())?;
        file.sync_all()?;
        Ok(Begun {
            dir,
            path,
            _file: file,
        })
    }

    /// Writes down how it ended, and removes the oldest of too many.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn end(self, record: &RunRecord) -> io::Result<()> {
        keep(&self.dir, record)?;
        remove(&self.path)
    }

    /// Forgets it: it was none.
    pub fn cancel(self) {
        // One that stays behind is taken for a run that died, which is what it nearly was.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn keep(dir: &Path, record: &RunRecord) -> io::Result<()> {
    let path = dir.join(format!("{}.json", record.id));
    store::file::atomic_write(&path, record.encode().as_bytes())?;
    let mut found = files(dir, "json")?;
    // Names begin with the time.
    found.sort();
    let many = found.len().saturating_sub(KEPT);
    for old in &found[..many] {
        remove(old)?;
    }
    Ok(())
}

/// Removes a file, if another run has not done so at the same moment.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads what the state directory tells of the runs for a store, the one that began last at the end: those under way too, and as killed
/// those that ended without a word.
///
/// # Errors
/// If the directory is there and cannot be read.
pub fn local_runs(state_dir: &Path, store: &str) -> io::Result<Vec<RunRecord>> {
    let dir = dir(state_dir);
    let mut found: Vec<RunRecord> = Vec::new();
    for path in files(&dir, "running")? {
        let Some((mut record, is_dead)) = look(&path)? else {
            continue;
        };
        if is_dead {
            record.outcome = RunOutcome::Killed;
        }
        found.push(record);
    }
    // Later than the files of those under way: one that ends meanwhile is seen twice, not missed.
    for path in files(&dir, "json")? {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(record) = RunRecord::parse(&bytes) {
            found.retain(|known| known.id != record.id);
            found.push(record);
        }
    }
    found.retain(|record| record.store == store);
    found.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    Ok(found)
}

/// Reads the file of a run that is under way, and tells whether its process is gone. Nothing if it ended meanwhile, or has only begun.
fn look(path: &Path) -> io::Result<Option<(RunRecord, bool)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_dead = match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let record = RunRecord::parse(&std::fs::read(path).unwrap_or_default());
    Ok(record.map(|record| (record, is_dead)))
}

/// Takes the runs for a store that ended without a word out of the state directory, written down as killed.
///
/// # Errors
/// If the directory is there and cannot be used.
pub fn take_killed(state_dir: &Path, store: &str) -> io::Result<Vec<RunRecord>> {
    let dir = dir(state_dir);
    let mut found = Vec::new();
    for path in files(&dir, "running")? {
        let Some((mut record, true)) = look(&path)? else {
            continue;
        };
        if record.store != store {
            continue;
        }
        // It may have ended between two steps: then what it says itself holds.
        if !dir.join(format!("{}.json", record.id)).exists() {
            record.outcome = RunOutcome::Killed;
            keep(&dir, &record)?;
            found.push(record);
        }
        remove(&path)?;
    }
    Ok(found)
}
