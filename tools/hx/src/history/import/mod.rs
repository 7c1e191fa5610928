//! Importing: histories of zsh, bash and fish, and exports of hx, recognised by their content.
//!
//! What must hold: one import is one transaction: it happens as a whole or not at all; the same or an overlapping file again adds
//! nothing twice; memory does not grow with the length of the file beyond a few bytes an entry.
//!
//! What it deliberately does not do: print, guess the host, or read a shell's configuration.

mod align;
mod bash;
mod detect;
mod entry;
mod fish;
mod json;
mod lines;
mod locate;
mod ordinal;
mod pipe;
mod renamed;
mod report;
mod seen;
mod shells;
mod undated;
mod zeros;
pub(crate) mod zsh;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::entry::SkipReason;
pub use self::locate::{find_history_files, history_places};
pub use self::renamed::{Renamed, renamed};
pub use self::report::{Assumed, ImportReport, Skipped};

use self::detect::{Kind, Sample};
use super::error::{HistoryError, HistoryErrorKind, shown};
use super::{Applier, ApplyOptions, History};

/// So much of each end of a file is looked at to recognise it.
const SAMPLE_BYTES: usize = 64 << 10;

/// After so many entries it is told how far the import is.
const PROGRESS_STEP: u64 = 1000;

/// A history to try things on, for a person who has none yet: zsh, extended.
pub const SAMPLE: &[u8] = include_bytes!("../../../sample/history.zsh");

/// A shell whose history can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// zsh
    Zsh,
    /// bash
    Bash,
    /// fish
    Fish,
}

impl Shell {
    /// The name, as events carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zsh => "zsh",
            Self::Bash => "bash",
            Self::Fish => "fish",
        }
    }
}

impl std::str::FromStr for Shell {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        [Self::Zsh, Self::Bash, Self::Fish]
            .into_iter()
            .find(|shell| shell.as_str() == text)
            .ok_or_else(|| {
                HistoryError::new(
                    HistoryErrorKind::Invalid,
                    format!("`{text}` is no shell that hx knows"),
                    "",
                )
                .with_remedy("Say `zsh`, `bash` or `fish`.")
            })
    }
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What the file is; none to recognise it.
    pub shell: Option<Shell>,
    /// The machine that the commands ran on. Exports of hx carry it themselves.
    pub host: Arc<str>,
    /// Do everything but keep it.
    pub dry_run: bool,
    /// Who hears how far it is.
    pub progress: ImportProgress,
}

/// Hears now and then how many entries of a file were read.
#[derive(Clone, Default)]
pub struct ImportProgress(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl ImportProgress {
    /// Calls `hear` with the number of entries so far.
    pub fn new(hear: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    fn tell(&self, entries: u64) {
        if let Some(hear) = &self.0 {
            hear(entries);
        }
    }
}

impl std::fmt::Debug for ImportProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "heard" } else { "unheard" })
    }
}

/// A file that can be read twice.
trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Imports a file; what comes out of a pipe is read into memory.
///
/// # Errors
/// [`HistoryErrorKind::Refused`] if it is no history, with a reason; or if it cannot be read or the database fails. Then nothing was
/// imported.
pub fn import_file(
    history: &mut History,
    path: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    let metadata =
        std::fs::metadata(path).map_err(|error| HistoryError::io("read", path, error))?;
    if pipe::is_pipe(&metadata) {
        let bytes = pipe::read(path)?;
        return import_source(history, &mut Cursor::new(bytes), path, options);
    }
    // Opening a device may wait, and reading it need not end.
    if !metadata.is_file() {
        let what = if metadata.is_dir() {
            "it is a directory"
        } else {
            "it is not an ordinary file; hand its content over on the standard input, as in `zcat old.gz | hx import --file -`"
        };
        return Err(refusal(path, what));
    }
    if is_of_the_kernel(path) {
        return Err(refusal(
            path,
            "it is a file of the kernel, which may never end; save its content to a file first",
        ));
    }
    let mut file = File::open(path).map_err(|error| HistoryError::io("read", path, error))?;
    import_source(history, &mut file, path, options)
}

/// Whether a file only looks like one: some of those in `/proc` and `/sys` wait for news when they are read.
#[cfg(target_os = "linux")]
fn is_of_the_kernel(path: &Path) -> bool {
    const PROC: u32 = 0x9fa0;
    const SYS: u32 = 0x6265_6572;
    rustix::fs::statfs(path).is_ok_and(|stat| matches!(stat.f_type as u32, PROC | SYS))
}

#[cfg(not(target_os = "linux"))]
fn is_of_the_kernel(_path: &Path) -> bool {
    false
}

/// Imports bytes that are in memory; `name` stands for the file's name.
///
/// # Errors
/// As [`import_file`].
pub fn import_bytes(
    history: &mut History,
    name: &str,
    bytes: &[u8],
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    import_source(history, &mut Cursor::new(bytes), Path::new(name), options)
}

fn import_source(
    history: &mut History,
    source: &mut dyn Source,
    path: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    let cannot_read = |error: io::Error| HistoryError::io("read", path, error);
    let (head, tail) = sample(source).map_err(cannot_read)?;
    let sample = Sample {
        head: &head,
        tail: &tail,
        name: path,
        shell: options.shell,
    };
    let kind = detect::detect(&sample).map_err(|reason| refusal(path, &reason))?;
    let start = (head.len() - detect::without_mark(&head).len()) as u64;
    let input = Input {
        source,
        path,
        start,
        crlf: detect::has_crlf(&head),
    };
    let target = history.path().to_owned();
    let indexes = history.indexes();
    let transaction = history
        .begin()
        .map_err(|error| error.at("write to the history database", &target))?;
    let report = match kind {
        Kind::Empty => ImportReport::new("empty", options.dry_run),
        Kind::Json | Kind::JsonLines => {
            let applier = Applier::new(&transaction, ApplyOptions::default(), indexes)?;
            json::import(input, kind == Kind::JsonLines, applier, options)?
        }
        Kind::Shell(shell) => shells::import(input, shell, (&transaction, indexes), options)?,
    };
    if options.dry_run {
        transaction.rollback()?;
    } else {
        transaction.commit().map_err(|error| {
            HistoryError::from(error).at("write to the history database", &target)
        })?;
    }
    if report.erased > 0 && !options.dry_run {
        history.clean_journal();
    }
    Ok(report)
}

/// A file to import, and how to read it from its first entry on.
struct Input<'a> {
    source: &'a mut dyn Source,
    path: &'a Path,
    start: u64,
    crlf: bool,
}

impl Input<'_> {
    /// A reader from the start; calling it again starts again.
    fn reader(&mut self) -> Result<BufReader<&mut dyn Source>, HistoryError> {
        self.source
            .seek(SeekFrom::Start(self.start))
            .map_err(|error| HistoryError::io("read", self.path, error))?;
        Ok(BufReader::with_capacity(1 << 16, &mut *self.source))
    }

    fn path(&self) -> PathBuf {
        self.path.to_owned()
    }
}

/// The first and the last bytes; the latter empty if the former has them.
fn sample(source: &mut dyn Source) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    (&mut *source)
        .take(SAMPLE_BYTES as u64)
        .read_to_end(&mut head)?;
    let length = source.seek(SeekFrom::End(0))?;
    if length > 2 * SAMPLE_BYTES as u64 {
        source.seek(SeekFrom::Start(length - SAMPLE_BYTES as u64))?;
        (&mut *source)
            .take(SAMPLE_BYTES as u64)
            .read_to_end(&mut tail)?;
    }
    Ok((head, tail))
}

fn refusal(path: &Path, reason: &str) -> HistoryError {
    HistoryError::new(
        HistoryErrorKind::Refused,
        format!("cannot import {}", shown(path).display()),
        reason,
    )
}

#[cfg(test)]
mod tests;
