//! What stands where an export is to go: only an earlier export that has no more than the new one is written over unasked.
//!
//! What must hold: a file that somebody else wrote, a shell's own history above all, and an export with more records stay as they are
//! unless `--force` is given; whatever is refused is named with what to type instead.
//!
//! What it deliberately does not do: read all of a large export. Its beginning says what it is, and its end how many records it has.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use console::{Exit, Failure, human};

use crate::history::exchange::{End, FORMAT};
use crate::history::export::{ExportFormat, ExportReport};
use crate::history::{HistoryError, HistoryErrorKind};

/// So much of a file's beginning and of its end is read.
const LOOKED_AT: u64 = 4096;

/// An earlier file, or none.
pub(super) struct Standing {
    /// Where the export really goes: links lead there.
    pub(super) target: PathBuf,
    /// How many records the export that stands there has, as far as it says so.
    records: Option<u64>,
    /// Whether the form has no such number.
    is_uncounted: bool,
    is_forced: bool,
}

impl Standing {
    /// Looks at what has the name now; `is_forced` lets everything pass.
    ///
    /// # Errors
    /// If it must not be written over, or cannot be read.
    pub(super) fn look(
        path: &Path,
        format: ExportFormat,
        is_forced: bool,
    ) -> Result<Self, Failure> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut standing = Self {
            target,
            records: None,
            is_uncounted: false,
            is_forced,
        };
        let metadata = match std::fs::metadata(&standing.target) {
            Ok(metadata) if metadata.len() > 0 && !is_forced => metadata,
            _ => return Ok(standing),
        };
        if metadata.permissions().mode() & 0o222 == 0 {
            return Err(refusal(path, "it is there and write-protected"));
        }
        let (begin, end) =
            ends(&standing.target).map_err(|error| Failure::io("read", path, &error))?;
        let mark: &[u8] = match format {
            ExportFormat::Json | ExportFormat::JsonLines => FORMAT.as_bytes(),
            ExportFormat::Csv => b"time,command,exit,duration_ms,cwd,host,",
            ExportFormat::Markdown => b"| time | command | exit |",
            ExportFormat::Shell(_) => {
                let why = "it is there, and of a shell's history it cannot be told who wrote it";
                return Err(refusal(path, why));
            }
        };
        let head = &begin[..begin.len().min(200)];
        if !head.windows(mark.len()).any(|window| window == mark) {
            let why = "it is there, and it is no export of hx in this form";
            return Err(refusal(path, why));
        }
        standing.records = records_of(&end);
        standing.is_uncounted = matches!(format, ExportFormat::Csv | ExportFormat::Markdown);
        Ok(standing)
    }

    /// Says whether what was just written may take the place; `is_rescue` if the database is damaged.
    ///
    /// # Errors
    /// If it has fewer records than what stands there.
    pub(super) fn admit(&self, report: &ExportReport, is_rescue: bool) -> Result<(), HistoryError> {
        let written = report.events + report.others;
        let why = match self.records {
            _ if self.is_forced => return Ok(()),
            Some(records) if records > written => format!(
                "it is an export with {}, and there are only {} to write now",
                human::count(records, "record"),
                human::number(written)
            ),
            _ if is_rescue && self.is_uncounted => {
                "it is an earlier export, and the database is damaged now".to_owned()
            }
            _ => return Ok(()),
        };
        let shown = self.target.display();
        Err(HistoryError::new(
            HistoryErrorKind::Invalid,
            format!("{shown} was left as it is"),
            why,
        )
        .with_remedy("Choose another name, or say --force to replace it."))
    }
}

fn refusal(path: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("cannot export to {}: {why}", path.display()),
    )
    .kind("exists")
    .hint("Choose another name, or say --force to replace it. Nothing was changed.")
}

/// The beginning and the end of a file; for a short one they overlap.
fn ends(path: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut read_at = |at: u64| -> io::Result<Vec<u8>> {
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.by_ref().take(LOOKED_AT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok((read_at(0)?, read_at(length.saturating_sub(LOOKED_AT))?))
}

/// How many records an export says it has, at its end.
fn records_of(end: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(end);
    let object = &text[text.rfind("{\"type\":\"end\"")?..];
    let mut objects = serde_json::Deserializer::from_str(object).into_iter::<End>();
    objects.next()?.ok().map(|end| end.records)
}
