//! A small file that says how far a running command is, for `status --progress` in another process.
//!
//! What must hold: a reader sees a whole state or none; the file is written at most four times a second however often
//! the work counts; it goes when the work ends, and one left by a killed process is recognised by its process id.
//!
//! It deliberately is not durable (no fsync): after a power cut nobody follows that process any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The shortest time between two writes.
const WRITE_INTERVAL_MIN: Duration = Duration::from_millis(250);

/// A progress file larger than this is none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Says how far a command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressState {
    /// What it is doing.
    pub phase: String,
    /// Items done in this phase.
    pub done: u64,
    /// Items of this phase, if known.
    pub total: Option<u64>,
    /// Bytes moved in this phase.
    pub bytes: u64,
    /// When the command began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When this was written, in milliseconds since 1970.
    pub updated_unix_ms: u64,
    /// The process that works.
    pub pid: u32,
}

impl ProgressState {
    /// Tells whether the process is still there.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| match rustix::process::test_kill_process(pid) {
            Ok(()) => true,
            // It is there, but belongs to somebody else.
            Err(error) => error == rustix::io::Errno::PERM,
        })
    }
}

/// Writes the progress of this process.
pub struct ProgressFile {
    path: PathBuf,
    state: Mutex<Written>,
}

struct Written {
    state: ProgressState,
    last_write: Instant,
}

impl ProgressFile {
    /// Creates the file with its first state.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path, phase: &str) -> io::Result<Self> {
        let now = unix_ms();
        let state = ProgressState {
            phase: phase.to_string(),
            done: 0,
            total: None,
            bytes: 0,
            started_unix_ms: now,
            updated_unix_ms: now,
            pid: std::process::id(),
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        replace(path, &state)?;
        Ok(Self {
            path: path.to_path_buf(),
            state: Mutex::new(Written {
                state,
                last_write: Instant::now(),
            }),
        })
    }

    /// Changes the state; writes it if the last write is long enough ago.
    pub fn update(&self, change: impl FnOnce(&mut ProgressState)) {
        let mut written = self.lock();
        change(&mut written.state);
        if written.last_write.elapsed() >= WRITE_INTERVAL_MIN {
            // Progress is a courtesy: a full disk must not stop the work here, the work will meet it by itself.
            let _ = write_now(&self.path, &mut written);
        }
    }

    /// Writes the state at once and returns it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&self) -> io::Result<ProgressState> {
        let mut written = self.lock();
        write_now(&self.path, &mut written)?;
        Ok(written.state.clone())
    }

    /// Reads the progress of another process; none if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is no progress file.
    pub fn read(path: &Path) -> io::Result<Option<ProgressState>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            // It ended between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ProgressFile {
    fn drop(&mut self) {
        // A file that stays is recognised as stale by its process id.
        let _ = fs::remove_file(&self.path);
    }
}

fn write_now(path: &Path, written: &mut Written) -> io::Result<()> {
    written.state.updated_unix_ms = unix_ms();
    written.last_write = Instant::now();
    replace(path, &written.state)
}

/// A clock before 1970 is shown as 1970: the time only says how old the progress is.
fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn replace(path: &Path, state: &ProgressState) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    fs::write(&temporary, serde_json::to_vec(state)?)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_updates_make_few_writes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("run/progress.json");
        let file = ProgressFile::create(&path, "pull").expect("creates");
        let first = ProgressFile::read(&path).expect("reads").expect("is there");
        let began = Instant::now();
        for _ in 0..1000 {
            file.update(|state| state.done += 1);
        }
        let now = ProgressFile::read(&path).expect("reads").expect("is there");
        if began.elapsed() < WRITE_INTERVAL_MIN {
            assert_eq!(now, first);
        }
        assert_eq!(file.flush().expect("writes").done, 1000);
        assert!(now.is_live());
    }

    #[test]
    fn a_missing_file_is_nothing_and_a_wrong_one_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("progress.json");
        assert_eq!(ProgressFile::read(&path).expect("nothing"), None);
        fs::write(&path, "{").expect("writes");
        assert!(ProgressFile::read(&path).is_err());
    }

    #[test]
    fn a_process_that_ended_is_not_live() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("`true` runs");
        let pid = child.id();
        child.wait().expect("it ends");
        let now = unix_ms();
        let state = ProgressState {
            phase: String::new(),
            done: 0,
            total: None,
            bytes: 0,
            started_unix_ms: now,
            updated_unix_ms: now,
            pid,
        };
        assert!(!state.is_live());
    }
}
