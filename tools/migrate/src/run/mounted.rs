//! Whether the upload directory is the one with the run's files: a disk that is not mounted leaves an empty directory in its place.
//!
//! What must hold: nothing is undone or removed while no file is there that the run copied and `--delete-source` did not remove, or, where it removed
//! all, while none of their directories is there: it removes files only. Else every file would be taken for one that is gone, and be downloaded to where
//! the disk will hide it.
//!
//! What it deliberately does not do: write into the application's directory to know it again, or judge where only some files are gone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use console::{Failure, human};
use transfer::{Journal, State};

use super::command;
use super::failures::journal_failure;
use super::session::Session;
use crate::cli::args::DirectionArg;
use crate::resolve::Paths;
use crate::state::{Flags, Parameters, RunFiles};

/// The flag by which a person says that the files are really gone.
pub const FLAG: &str = "--files-gone";

/// What was found of the files that a run copied.
#[derive(Default)]
struct Seen {
    /// How many should be there.
    expected: u64,
    /// How many `--delete-source` has removed, or may have.
    removed: u64,
    /// Their directories below the upload directory, and whether each is there.
    folders: HashMap<PathBuf, bool>,
}

/// Fails if nothing of a run's files is in the upload directory, unless a person says that they are gone.
///
/// # Errors
/// Of kind `files-gone`, or if the journal cannot be read.
pub fn check(
    session: &Session,
    paths: &Paths,
    (files, of): (&RunFiles, &Parameters),
    journal: &Journal,
) -> Result<(), Failure> {
    let is_from_disk = session.settings.direction == DirectionArg::LocalToS3;
    if !is_from_disk || session.line.action.files_gone {
        return Ok(());
    }
    let upload = paths.upload_here();
    let mut seen = Seen::default();
    for entry in journal.entries(|_| true) {
        let entry = entry.map_err(|error| journal_failure(&error))?;
        let is_removed = matches!(entry.state, State::Removing | State::Removed);
        let is_open = is_open(entry.state);
        let stored = entry.item.blobs.iter().zip(&entry.stored);
        for (blob, _) in stored.filter(|(_, stored)| stored.is_some()) {
            let path = Path::new(&blob.source);
            if !paths.is_below(path) {
                continue;
            }
            // One that was brought back already shows the disk as well.
            if !is_removed && path.symlink_metadata().is_ok() {
                return Ok(());
            }
            if is_open {
                seen.take_in(path, &upload, is_removed);
            }
        }
    }
    if seen.is_plausible() {
        return Ok(());
    }
    Err(gone(session, (files, of), &upload, &seen))
}

/// It is still to be undone, or its file to be removed.
fn is_open(state: State) -> bool {
    let is_between = matches!(
        state,
        State::Stored | State::Committing | State::Reverting | State::Reverted
    );
    is_between || state.is_switched()
}

impl Seen {
    /// Takes in a file that is not there, or need not be.
    fn take_in(&mut self, path: &Path, upload: &Path, is_removed: bool) {
        match is_removed {
            true => self.removed += 1,
            false => self.expected += 1,
        }
        let above = path.parent().filter(|above| *above != upload);
        if let Some(above) = above
            && !self.folders.contains_key(above)
        {
            self.folders.insert(above.to_owned(), above.is_dir());
        }
    }

    fn is_plausible(&self) -> bool {
        let has_folder = self.folders.is_empty() || self.folders.values().any(|is| *is);
        self.expected == 0 && has_folder
    }
}

fn gone(
    session: &Session,
    (files, of): (&RunFiles, &Parameters),
    upload: &Path,
    seen: &Seen,
) -> Failure {
    let what = match seen.expected {
        0 => format!(
            "none of the directories of the {} that the run {} copied",
            human::count(seen.removed, "file"),
            files.run
        ),
        n => format!(
            "none of the {} that the run {} copied and did not remove",
            human::count(n, "file"),
            files.run
        ),
    };
    let action = &session.line.action;
    let file = command::path(&files.summary);
    let (what_then, again) = match action {
        _ if action.delete_source => (
            "counted as removed",
            format!("--delete-source --state-file {file}"),
        ),
        _ if action.force_rollback => (
            "downloaded",
            format!("--force-rollback --state-file {file}"),
        ),
        _ => ("downloaded", format!("--rollback {file}")),
    };
    let grace = action.older_than.as_deref();
    let grace = grace.map_or_else(String::new, |grace| {
        format!(" --older-than {}", command::quoted(grace))
    });
    let again = session.command(&format!(" {again}{grace} {FLAG}"), of, Flags::Known);
    Failure::config(format!("{what} is in {}", upload.display()))
        .kind("files-gone")
        .hint(format!(
            "nothing was done; a disk that is not mounted leaves such a directory: mount it, or correct UPLOAD_PATH, then run the command again. Only if \
             they are really gone from there, say so, and they are {what_then}:\n      {again}"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_leaves_its_directories() {
        let dir = tempfile::tempdir().expect("scratch");
        let upload = dir.path();
        let at = |name: &str| upload.join(name);
        let check = |files: &[(&str, bool)], expected: bool| {
            let mut seen = Seen::default();
            for (name, is_removed) in files {
                seen.take_in(&at(name), upload, *is_removed);
            }
            assert_eq!(seen.is_plausible(), expected, "{files:?}");
        };
        check(&[], true);
        check(&[("a", true)], true);
        check(&[("a", false)], false);
        check(&[("documents/a", true)], false);
        std::fs::create_dir(at("documents")).expect("makes");
        check(&[("documents/a", true)], true);
        check(&[("documents/a", true), ("thumbnails/a", true)], true);
        check(&[("documents/a", true), ("documents/b", false)], false);
    }
}
