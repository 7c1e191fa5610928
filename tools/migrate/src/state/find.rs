//! Finding the run that a person means: by its summary, its journal, `LATEST`, `backup`, or no name at all.
//!
//! What must hold: a name that leads nowhere is an error that lists what there is; a summary that was removed does not hide
//! its journal; the files of another user are not believed.
//!
//! What it deliberately does not do: look into the bucket.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use console::{Exit, Failure};

use super::{RunFiles, STEM, StateDir, Summary, parse, read_file};

impl StateDir {
    /// Lists the runs that have a journal here, the newest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn runs(&self) -> Result<Vec<RunFiles>, Failure> {
        let failed = |error: &std::io::Error| Failure::io("list", &self.path, error);
        let mut runs = vec![];
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(runs),
            entries => entries.map_err(|error| failed(&error))?,
        };
        for entry in entries {
            let name = entry.map_err(|error| failed(&error))?.file_name();
            let run = name
                .to_str()
                .and_then(|name| name.strip_prefix(STEM)?.strip_suffix(".journal"));
            if let Some(run) = run {
                let files = self.files(run);
                if is_ours(&files.journal) {
                    runs.push(files);
                }
            }
        }
        runs.sort_by_key(|files| std::cmp::Reverse(run_age(&files.run)));
        Ok(runs)
    }

    /// Finds the run that a path means: a summary, a journal, `LATEST` or `backup`, there or already removed.
    ///
    /// # Errors
    /// If it leads to no journal.
    pub fn resolve(&self, path: &Path) -> Result<RunFiles, Failure> {
        check_regular(path)?;
        let named = candidates(path);
        match named.iter().find(|files| files.journal.is_file()) {
            Some(files) if is_ours(&files.journal) => Ok(files.clone()),
            Some(files) => Err(Failure::new(
                Exit::Denied,
                format!("{} belongs to another user", files.journal.display()),
            )
            .hint("run the command as the user who ran the migration")),
            None => match self.pointer_without_summary(path)? {
                Some(files) => Ok(files),
                None => Err(self.not_found(path)),
            },
        }
    }

    /// Returns the path that a person means who typed `LATEST`, `backup`, the name of a run, or that of its file without the directory. What is a
    /// file as it was typed is that file.
    #[must_use]
    pub fn meant(&self, typed: &Path) -> PathBuf {
        let is_bare = typed.components().count() == 1 && !typed.exists();
        let name = typed.to_str().filter(|_| is_bare);
        let Some(name) = name.map(|name| name.strip_prefix(STEM).unwrap_or(name)) else {
            return typed.to_owned();
        };
        let (run, extension) = match name.rsplit_once('.') {
            Some((run, extension @ ("json" | "journal"))) => (run, extension),
            _ => (name, "json"),
        };
        let run = match run {
            "latest" => "LATEST",
            run => run,
        };
        let is_run = ["LATEST", "backup"].contains(&run) || begins_like_a_run(run);
        match is_run {
            true => self.path.join(format!("{STEM}{run}.{extension}")),
            false => typed.to_owned(),
        }
    }

    /// `LATEST` and `backup` that were removed mean the newest journal.
    fn pointer_without_summary(&self, path: &Path) -> Result<Option<RunFiles>, Failure> {
        let is_pointer = |name: &str| name == super::LATEST || name == super::BACKUP;
        let named = path.file_name().and_then(|name| name.to_str());
        if path.exists() || !named.is_some_and(is_pointer) {
            return Ok(None);
        }
        Ok(sibling(path)?.runs()?.into_iter().next())
    }

    fn not_found(&self, path: &Path) -> Failure {
        let mut failure = Failure::new(
            Exit::NoStore,
            format!("{} leads to no journal of a migration", path.display()),
        )
        .kind("no-state-file");
        let runs = self.runs().unwrap_or_default();
        for files in runs.iter().take(5) {
            failure = failure.cause(format!("there is {}", files.journal.display()));
        }
        failure.hint(if runs.is_empty() {
            "name the directory with --state-dir; `--rollback` without a file works from the copy in the bucket"
        } else {
            "name one of them; `--status` says more about each"
        })
    }
}

/// Returns the run that a file's name names, whether the file is there or not.
#[must_use]
pub fn run_named(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let run = name.strip_prefix(STEM)?;
    let run = run
        .strip_suffix(".json")
        .or_else(|| run.strip_suffix(".journal"))?;
    begins_like_a_run(run).then(|| run.to_owned())
}

fn begins_like_a_run(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_digit())
}

/// Fails if a path names something that no state file can be.
fn check_regular(path: &Path) -> Result<(), Failure> {
    let what = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => "a directory",
        Ok(found) if !found.is_file() => "a device, a pipe or a socket",
        _ => return Ok(()),
    };
    Err(Failure::usage(format!(
        "{} is {what}, and no state file",
        path.display()
    ))
    .kind("no-state-file")
    .hint("nothing was done; name a summary (.json) or a journal (.journal); `--status` lists the runs, --state-dir names their directory"))
}

/// Every place that a path may mean, the likeliest first.
fn candidates(path: &Path) -> Vec<RunFiles> {
    let mut found = vec![];
    if let Some(summary) = read_file(path).as_deref().and_then(parse) {
        found.extend(from_journal(&summary.journal));
        found.extend(beside(path, &summary));
    }
    found.extend(from_journal(&path.with_extension("journal")));
    found.extend(from_journal(path));
    found
}

/// The directory may have been moved since the summary was written.
fn beside(path: &Path, summary: &Summary) -> Option<RunFiles> {
    Some(sibling(path).ok()?.files(&summary.run))
}

fn from_journal(journal: &Path) -> Option<RunFiles> {
    if journal.extension()? != "journal" {
        return None;
    }
    let stem = journal.file_stem()?.to_str()?;
    let run = stem.strip_prefix(STEM).unwrap_or(stem).to_owned();
    let journal = std::path::absolute(journal).ok()?;
    Some(RunFiles {
        run,
        summary: journal.with_extension("json"),
        journal,
    })
}

fn sibling(path: &Path) -> Result<StateDir, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::io("find", path, &error))?;
    Ok(StateDir {
        path: absolute.parent().map_or_else(PathBuf::new, Path::to_owned),
    })
}

/// In a directory like /tmp anybody can plant a file; a journal says which objects a rollback removes.
fn is_ours(journal: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::symlink_metadata(journal).is_ok_and(|metadata| {
        metadata.is_file() && (own == 0 || metadata.uid() == own || metadata.uid() == 0)
    })
}

/// Returns by what runs are sorted: `20241201_143022` comes before `20241201_143022_2`, and that before `…_10`.
#[must_use]
pub fn run_age(run: &str) -> (String, u64) {
    let number = run.get(16..).and_then(|number| number.parse().ok());
    (run.get(..15).unwrap_or(run).to_owned(), number.unwrap_or(1))
}
