//! What was asked for and is not mirrored: written down for `homebrew-sync misses`, and the last of it kept for the status page.
//!
//! What must hold: who asks for nonsense all day fills neither the disk nor the memory, and holds up nobody's answer but their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the file ends and another one begins; the one before is kept, so there are at most twice as many bytes.
const FILE_MAX: u64 = 4 << 20;

/// So much of a path or an agent is written down.
const TEXT_MAX: usize = 300;

/// So many are kept for the status page.
const RECENT: usize = 20;

/// Something that was asked for and is not mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// When.
    pub time: Timestamp,
    /// What, as it was asked.
    pub path: String,
    /// Who: the client's `User-Agent`.
    pub agent: String,
}

/// The misses of one server.
pub(super) struct MissLog {
    file: Option<PathBuf>,
    /// The end of the file, for one writer at a time.
    writing: Mutex<()>,
    recent: Mutex<VecDeque<Miss>>,
}

impl MissLog {
    pub(super) fn new(file: Option<PathBuf>) -> Arc<MissLog> {
        Arc::new(MissLog {
            file,
            writing: Mutex::default(),
            recent: Mutex::default(),
        })
    }

    /// Writes a miss down; it is in the file when this returns.
    pub(super) async fn note(self: &Arc<Self>, path: &str, agent: &str) {
        let miss = Miss {
            time: Timestamp::now(),
            path: shortened(path),
            agent: shortened(agent),
        };
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.retain(|known| known.path != miss.path);
            recent.push_front(miss.clone());
            recent.truncate(RECENT);
        }
        let Some(file) = self.file.clone() else {
            return;
        };
        let own = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _writing = own.writing.lock().unwrap_or_else(PoisonError::into_inner);
            append(&file, &miss)
                .map_err(|error| tracing::warn!(%error, file = %file.display(), "a miss was not written down"))
        });
        // What went wrong has been said.
        let _ = written.await;
    }

    /// Returns the last ones, the newest first, each path once.
    pub(super) fn recent(&self) -> Vec<Miss> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }
}

fn append(file: &Path, miss: &Miss) -> io::Result<()> {
    let mut line = serde_json::to_vec(miss)?;
    line.push(b'\n');
    let is_full = std::fs::metadata(file).is_ok_and(|found| found.len() >= FILE_MAX);
    if is_full {
        std::fs::rename(file, before(file))?;
    }
    // One write of an appended line: several servers may share the file.
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(&line)
}

/// Where the file lies that was full.
fn before(file: &Path) -> PathBuf {
    file.with_extension("old.jsonl")
}

/// Reads what servers have written down, the oldest first.
///
/// # Errors
/// If a file is there and cannot be read.
pub fn read_misses(file: &Path) -> io::Result<Vec<Miss>> {
    let mut found = Vec::new();
    for path in [before(file), file.to_owned()] {
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A line that a server was killed at is none.
        found.extend(
            text.lines()
                .filter_map(|line| serde_json::from_str::<Miss>(line).ok()),
        );
    }
    Ok(found)
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_file_is_set_aside_and_what_is_kept_stays_small() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("misses.jsonl");
        let full = usize::try_from(FILE_MAX).expect("a number");
        std::fs::write(&file, vec![b'\n'; full]).expect("written");
        std::fs::write(before(&file), "older\n").expect("written");
        let log = MissLog::new(Some(file.clone()));
        for number in 0..RECENT + 5 {
            log.note(&format!("/{number}{}", "x".repeat(10_000)), "curl")
                .await;
        }
        let sizes =
            [&file, &before(&file)].map(|path| std::fs::metadata(path).expect("it is there").len());
        assert!(sizes[0] < 20_000 && sizes[1] == FILE_MAX, "{sizes:?}");
        let found = read_misses(&file).expect("read");
        assert_eq!(found.len(), RECENT + 5);
        assert_eq!(log.recent().len(), RECENT);
        assert_eq!(log.recent().first(), found.last());
    }
}
