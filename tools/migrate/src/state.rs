//! State files: a small summary that a person can read, beside the journal that holds the truth.
//!
//! What must hold: the journal of a run is never overwritten nor removed here; a summary is replaced at once or not at all; a
//! summary that is gone can be made again from its journal; `LATEST` and `backup` lead to a real journal.
//!
//! What it deliberately does not do: read a journal. Names and summaries are all it knows.

mod find;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use console::{Exit, Failure};
pub use find::{run_age, run_named};
use serde::{Deserialize, Serialize};
use store::file::{atomic_write_private, create_dir_durably};
use transfer::Exception;

use crate::run::command::quoted;
use crate::run::machine::Machine;

/// What the names of all state files begin with: the guide's commands look for it.
pub(crate) const STEM: &str = "migration_state_";

/// The copy of the newest summary.
const LATEST: &str = "migration_state_LATEST.json";

/// The copy of the summary before the newest.
const BACKUP: &str = "migration_state_backup.json";

/// No summary is as long: what is longer is a journal, or something else.
const SUMMARY_MAX: u64 = 16 << 20;

/// So many exceptions stand in a summary; the journal and the report have all.
const EXCEPTIONS_MAX: usize = 100;

/// The directory of the state files.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// The files of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFiles {
    /// The run's name: the UTC time it began, such as `20241201_143022_5230711634`; older versions named only the second.
    pub run: String,
    /// The summary.
    pub summary: PathBuf,
    /// The journal.
    pub journal: PathBuf,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// At work, or cut off without a word.
    Running,
    /// It ended before its end; it can be resumed.
    Stopped,
    /// Everything that was planned was done.
    Finished,
    /// Everything was done but for the exceptions that are listed.
    FinishedWithExceptions,
    /// A rollback began and did not end.
    RollingBack,
    /// The run was undone.
    RolledBack,
}

impl RunState {
    /// Tells whether something is left to do that only this run's journal knows.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Running | Self::Stopped | Self::RollingBack)
    }

    /// Returns the state in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Running => "at work, or cut off",
            Self::Stopped => "stopped before its end",
            Self::Finished => "finished",
            Self::FinishedWithExceptions => "finished, with exceptions",
            Self::RollingBack => "partly rolled back",
            Self::RolledBack => "rolled back",
        }
    }
}

/// What was done so far, over all attempts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Documents (and files without one) that the run took on.
    pub planned: u64,
    /// Objects written.
    pub stored: u64,
    /// Objects that were there already, equal.
    pub already_there: u64,
    /// Documents switched over.
    pub committed: u64,
    /// Documents left out or odd.
    pub exceptions: u64,
    /// Documents switched back.
    pub reverted: u64,
    /// Local files restored from the bucket.
    pub restored: u64,
    /// Local files removed by `--delete-source`.
    pub sources_removed: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// What a command that is printed says of a run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Nothing: the direction has to be said.
    New,
    /// It names the run's file, in which the direction is.
    Known,
}

/// What a run was asked to do. A run goes on only under the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// `local-to-s3`, `s3-to-local` or `s3-to-s3`.
    pub direction: String,
    /// The database, without user or password.
    pub database: String,
    /// Where the files come from, without secrets.
    pub source: String,
    /// Where the files go, without secrets.
    pub target: String,
    /// The name of the mapping.
    pub application: String,
    /// The only user whose documents are moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What tells the database from a clone of it. None in journals of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The machine that the run was begun on. None in journals of older versions, and where it has no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// Where a database is. A clone has its name, and may have its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The address, without user or password. The same database may have several.
    pub place: String,
    /// The number that the server's files were given when they were made; none if the server does not tell it. A database that was restored from a
    /// dump has another one, a copy of the files the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The version of this file's form.
    pub format: u32,
    /// The program and its version.
    pub tool: String,
    /// The run's name.
    pub run: String,
    /// How it stands.
    pub state: RunState,
    /// When it began, in UTC.
    pub started: String,
    /// When this file was written, in UTC.
    pub updated: String,
    /// What it was asked to do.
    pub parameters: Parameters,
    /// The journal with every step.
    pub journal: PathBuf,
    /// How many bytes of it were on the disk for certain: a shorter one has lost its tail.
    #[serde(default)]
    pub journal_bytes: u64,
    /// Whether the journal was taken from the bucket, and the run may be another machine's.
    #[serde(default)]
    pub taken: bool,
    /// What was done.
    pub counts: Counts,
    /// The first hundred exceptions.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    /// What to type next.
    pub next: String,
}

/// The version of the summary's form.
pub const FORMAT: u32 = 1;

impl StateDir {
    /// Opens the directory, making it if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        create_dir_durably(path).map_err(|error| {
            let failure = Failure::io("make the directory for state files", path, &error);
            let failure = match error.kind() {
                // Something else has the name, or one above it.
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    failure.with_exit(Exit::Config)
                }
                _ => failure,
            };
            failure.hint("name another with --state-dir or MIGRATION_STATE_DIR")
        })?;
        Ok(Self::at(path))
    }

    /// Names the directory for who only looks: one that is missing stays so, and has no runs.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path }
    }

    /// Returns the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names the files of a new run that begins now; no run here has them yet, and none of those that are named. Two machines that begin in the same
    /// second must not come to one name, for it is that of the journal's copy in the bucket, too: behind the second stand its millionths and four
    /// digits that nobody else draws.
    #[must_use]
    pub fn new_run(&self, now: jiff::Timestamp, taken: &[String]) -> RunFiles {
        let second = now.strftime("%Y%m%d_%H%M%S");
        let millionths = now.subsec_nanosecond() / 1000;
        loop {
            let drawn = RandomState::new().build_hasher().finish() % 10_000;
            let files = self.files(&format!("{second}_{millionths:06}{drawn:04}"));
            let is_free = !files.journal.exists() && !files.summary.exists();
            if is_free && !taken.contains(&files.run) {
                return files;
            }
        }
    }

    /// Names the files of a run.
    #[must_use]
    pub fn files(&self, run: &str) -> RunFiles {
        RunFiles {
            run: run.to_owned(),
            summary: self.path.join(format!("{STEM}{run}.json")),
            journal: self.path.join(format!("{STEM}{run}.journal")),
        }
    }

    /// Writes a summary, at its own name and as the newest one; the one before becomes the backup.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, summary: &Summary) -> Result<(), Failure> {
        let own = self.files(&summary.run).summary;
        let bytes = render(summary)?;
        write_file(&own, &bytes)?;
        let latest = self.path.join(LATEST);
        // A backup that leads nowhere would be worse than an older one.
        let before = match read_file(&latest) {
            Some(before) if parse(&before).is_some() => before,
            _ => bytes.clone(),
        };
        write_file(&self.path.join(BACKUP), &before)?;
        write_file(&latest, &bytes)
    }

    /// Remembers which run is the newest.
    #[must_use]
    pub fn pointers(&self) -> Pointers {
        let read = |name: &str| read_file(&self.path.join(name));
        Pointers {
            latest: read(LATEST),
            backup: read(BACKUP),
        }
    }

    /// Makes the run the newest again that was it at some moment.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    pub fn restore(&self, pointers: &Pointers) -> Result<(), Failure> {
        for (name, content) in [(LATEST, &pointers.latest), (BACKUP, &pointers.backup)] {
            let path = self.path.join(name);
            match content {
                Some(content) => write_file(&path, content)?,
                None => remove(&path)?,
            }
        }
        Ok(())
    }

    /// Reads the summary of a run; none if it is missing or not understood.
    #[must_use]
    pub fn read(&self, files: &RunFiles) -> Option<Summary> {
        parse(&read_file(&files.summary)?)
    }
}

/// What `LATEST` and `backup` held at some moment.
#[derive(Clone, Debug)]
pub struct Pointers {
    latest: Option<Vec<u8>>,
    backup: Option<Vec<u8>>,
}

impl Parameters {
    /// Tells whether both are over the same database, files and store. Which user's documents does not matter.
    #[must_use]
    pub fn is_same_place(&self, other: &Parameters) -> bool {
        self.difference(other).is_none()
    }

    /// Tells whether the files come from the disk; else they are objects.
    #[must_use]
    pub fn is_from_disk(&self) -> bool {
        self.direction == "local-to-s3"
    }

    /// Tells whether the files go to the disk; else they become objects.
    #[must_use]
    pub fn is_to_disk(&self) -> bool {
        self.direction == "s3-to-local"
    }

    /// Tells whether both are certainly over two databases: they differ by name or number, or lie in two servers' files.
    #[must_use]
    pub fn is_surely_other(&self, other: &Parameters) -> bool {
        let cluster = |of: &Parameters| of.origin.as_ref()?.cluster.clone();
        let clusters = cluster(self).zip(cluster(other));
        self.database != other.database || clusters.is_some_and(|(mine, theirs)| mine != theirs)
    }

    /// Tells whether nothing says that both are over two databases, or of two applications.
    #[must_use]
    pub fn is_kin(&self, other: &Parameters) -> bool {
        let origins = self.origin.as_ref().zip(other.origin.as_ref());
        let is_one_place = origins.is_none_or(|(mine, theirs)| mine == theirs);
        is_one_place && !self.is_surely_other(other) && self.application == other.application
    }

    /// Tells whether the database of both has one name, number and server, but another address: it moved, or one of them is a copy of the other's files.
    #[must_use]
    pub fn is_elsewhere(&self, other: &Parameters) -> bool {
        let origins = self.origin.as_ref().zip(other.origin.as_ref());
        !self.is_surely_other(other) && origins.is_some_and(|(mine, theirs)| mine != theirs)
    }

    /// Tells whether both were begun on two machines for certain: it was moved, or one of them is a copy of the other.
    #[must_use]
    pub fn is_on_another_machine(&self, other: &Parameters) -> bool {
        let machines = self.machine.as_ref().zip(other.machine.as_ref());
        machines.is_some_and(|(mine, theirs)| mine.is_another(theirs))
    }

    /// Tells whether everything that can be known says that both are over one database.
    #[must_use]
    pub fn is_surely_same(&self, other: &Parameters) -> bool {
        self.origin.is_some() && other.origin.is_some() && self.is_kin(other)
    }

    /// Returns the bucket at which the way ends or begins that is not a local folder; the one that the copies go to, if both are buckets.
    #[must_use]
    pub fn bucket(&self) -> &str {
        match self.is_to_disk() {
            true => &self.source,
            false => &self.target,
        }
    }

    /// Names the database to a person.
    #[must_use]
    pub fn database_in_words(&self) -> String {
        match &self.origin {
            Some(origin) => format!("the database {} ({})", self.database, origin.place),
            None => format!("the database {}", self.database),
        }
    }

    /// Returns the flags, each with a space before it, without which a command would not mean the way of this run.
    #[must_use]
    pub fn flags(&self, with: Flags) -> String {
        if self.is_from_disk() {
            return String::new();
        }
        let direction = format!(" --direction {}", self.direction);
        let target = format!(" --target {}", quoted(&self.target));
        match with {
            Flags::New => format!("{direction}{target}"),
            Flags::Known => target,
        }
    }

    /// Tells whether the database of another has the name of this one and is not the same by number or address: this one may have been restored from a
    /// dump of it, or have moved, and may as well be a clone.
    #[must_use]
    pub fn may_be_made_of(&self, other: &Parameters) -> bool {
        let name = |of: &Parameters| of.database.split('#').next().map(str::to_owned);
        let is_another = self.is_surely_other(other) || self.is_elsewhere(other);
        is_another && name(self) == name(other) && self.application == other.application
    }

    /// Returns the same, over the database of another, and on its machine.
    #[must_use]
    pub fn over_database_of(&self, other: &Parameters) -> Parameters {
        Parameters {
            database: other.database.clone(),
            origin: other.origin.clone(),
            machine: other.machine.clone(),
            ..self.clone()
        }
    }

    /// Tells whether nothing but the database differs.
    #[must_use]
    pub fn differs_in_database_only(&self, other: &Parameters) -> bool {
        self.difference(other).is_some() && self.over_database_of(other).difference(other).is_none()
    }

    /// Tells whether both go the same way over one database, and nothing but a bucket differs.
    #[must_use]
    pub fn differs_in_bucket_only(&self, other: &Parameters) -> bool {
        let mut there = self.clone();
        if !self.is_from_disk() {
            there.source.clone_from(&other.source);
        }
        if !self.is_to_disk() {
            there.target.clone_from(&other.target);
        }
        self.difference(other).is_some() && there.difference(other).is_none()
    }

    /// Says in what another run's parameters differ; none if it may go on with this run.
    #[must_use]
    pub fn difference(&self, other: &Parameters) -> Option<String> {
        if self.database == other.database && self.is_surely_other(other) {
            let (mine, theirs) = (self.database_in_words(), other.database_in_words());
            return Some(format!("{mine}, not its clone {theirs}"));
        }
        let pairs = [
            ("the direction", &self.direction, &other.direction),
            ("the database", &self.database, &other.database),
            ("the source", &self.source, &other.source),
            ("the target", &self.target, &other.target),
            ("the application", &self.application, &other.application),
        ];
        let differing = pairs
            .into_iter()
            .find(|(_, mine, theirs)| !is_one_place(mine, theirs));
        differing.map(|(what, mine, theirs)| format!("{what} {mine}, not {theirs}"))
    }
}

impl Summary {
    /// Takes the first exceptions of a report over.
    pub fn set_exceptions<'e>(&mut self, exceptions: impl IntoIterator<Item = &'e Exception>) {
        let first = exceptions.into_iter().take(EXCEPTIONS_MAX);
        self.exceptions = first.cloned().collect();
    }
}

/// Tells whether two names are of one place: a slash at a directory's end says nothing.
#[must_use]
pub fn is_one_place(one: &str, other: &str) -> bool {
    let bare = |name: &str| match name.trim_end_matches('/') {
        "" => name.len().min(1),
        bare => bare.len(),
    };
    one[..bare(one)] == other[..bare(other)]
}

fn render(summary: &Summary) -> Result<Vec<u8>, Failure> {
    let mut bytes = serde_json::to_vec_pretty(summary)
        .map_err(|error| Failure::wrap(Exit::Failed, "the summary could not be written", &error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<Summary> {
    serde_json::from_slice(bytes).ok()
}

/// Reads a file that may be a summary. A pipe would never end, nor would a device; a journal may be longer than all memory.
fn read_file(path: &Path) -> Option<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() > SUMMARY_MAX {
        return None;
    }
    let mut bytes = vec![];
    file.take(SUMMARY_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Removes a file. A run over another database that shares the directory may have been faster.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    atomic_write_private(path, bytes).map_err(|error| {
        Failure::io("write", path, &error).hint(
            "free some space or make the directory writable, or name another one with --state-dir",
        )
    })
}
