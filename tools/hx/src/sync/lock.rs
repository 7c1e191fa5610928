//! One sync at a time on one machine.
//!
//! What must hold: the operating system releases the lock when the process ends, however it ends; who holds it can be named.
//! What it deliberately does not do: guard against other machines, which never touch each other's objects.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use console::{Exit, Failure, Ui};

use crate::settings::Paths;

/// Held while a sync runs.
#[derive(Debug)]
pub struct SyncLock {
    _file: File,
}

/// So long a second sync waits for the first.
const WAIT_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

impl SyncLock {
    /// Takes the lock for `command`, waiting for another sync to end.
    ///
    /// # Errors
    /// [`Exit::Locked`] with the holder's name if it takes too long.
    pub fn take(paths: &Paths, command: &str, ui: &Ui) -> Result<Self, Failure> {
        let path = paths.sync_lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Failure::io("open the lock", &path, &error))?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(Failure::io("lock", &path, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = holder(&mut file);
            if begun.elapsed() >= WAIT_MAX {
                return Err(Failure::new(
                    Exit::Locked,
                    format!("{holder} is syncing on this machine"),
                )
                .hint("Wait for it to end, or follow it with `hx sync status --progress`."));
            }
            if !told {
                ui.status(format!("waiting for {holder} …"));
                told = true;
            }
            std::thread::sleep(POLL);
        }
        // The name is a courtesy; the lock is held without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "hx sync {command} (process {})", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.rewind().and_then(|()| file.read_to_string(&mut text)) {
        Ok(_) if !text.is_empty() => format!("`{text}`"),
        _ => "another hx".into(),
    }
}
