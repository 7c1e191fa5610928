//! What an audit found.
//!
//! What must hold: every finding has a name, a reason and a remedy; what is only counted is said to be.
//!
//! It deliberately prints nothing.

use crate::db::Count;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More findings than this of one kind are only counted.
const LISTED_MAX: u64 = 10_000;

/// What an audit saw and found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// The rows of every path column.
    pub columns: Vec<Count>,
    /// Tables of the mapping that the database does not have.
    pub missing_tables: Vec<String>,
    /// Rows with a path of their own that were looked at.
    pub rows: u64,
    /// Rows whose file is there and as long as they say.
    pub sound: u64,
    /// Files below the upload path, the application's scratch folders left out.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Objects below the application's prefixes; none if there was no bucket to look at.
    pub objects: Option<u64>,
    /// How many findings there are of each kind.
    pub counts: BTreeMap<FindingKind, u64>,
    /// The findings, at most 10,000 of each kind.
    pub findings: Vec<Finding>,
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What sort of disagreement it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The table and column of the row: `documents.file_path`. Empty for a file or an object without one.
    pub column: String,
    /// The row's key.
    pub row: String,
    /// The path as the row has it, the file's path, or the object's key.
    pub path: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Nothing is lost; somebody should look.
    Warning,
    /// A document cannot be read, or not moved.
    Error,
}

/// What sort of disagreement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A row names a file that is nowhere.
    RowWithoutFile,
    /// A row names an object that is not in the bucket.
    RowWithoutObject,
    /// A manual `REPLACE` made a local path of a stored one.
    BentPath,
    /// A row of the main table has no path.
    EmptyPath,
    /// What a row names is no file.
    NotAFile,
    /// A link leads out of the upload path, or nowhere.
    Symlink,
    /// A row's path leads out of the upload path by `..`.
    OutsidePath,
    /// A file cannot be looked at or read.
    Unreadable,
    /// File or object and row disagree about the length.
    SizeDiffers,
    /// The file's SHA-256 is not the row's.
    HashDiffers,
    /// The file's object would get a key that does not fit.
    KeyTooLong,
    /// The file is not where the row says, but where the application looks next.
    LegacyPath,
    /// Two rows name one file.
    SharedFile,
    /// A column that repeats a document's path repeats one that no longer leads anywhere.
    StaleCopy,
    /// A file was migrated, its row names the object now, and `--delete-source` has not removed it yet.
    MigratedSource,
    /// Such a file is reached through a link, which `--delete-source` leaves alone.
    MigratedLink,
    /// Such a file is not what was migrated: somebody has written to it since.
    MigratedSourceDiffers,
    /// A file whose row names an object that is not in the bucket.
    OnlyCopy,
    /// No row names a file.
    FileWithoutRow,
    /// No row names an object.
    ObjectWithoutRow,
}

impl FindingKind {
    /// Returns the stable name that is used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        use FindingKind as Kind;
        match self {
            Kind::RowWithoutFile => "row_without_file",
            Kind::RowWithoutObject => "row_without_object",
            Kind::BentPath => "bent_path",
            Kind::EmptyPath => "empty_path",
            Kind::NotAFile => "not_a_file",
            Kind::Symlink => "symlink",
            Kind::OutsidePath => "outside_path",
            Kind::Unreadable => "unreadable",
            Kind::SizeDiffers => "size_differs",
            Kind::HashDiffers => "hash_differs",
            Kind::KeyTooLong => "key_too_long",
            Kind::LegacyPath => "legacy_path",
            Kind::SharedFile => "shared_file",
            Kind::StaleCopy => "stale_copy",
            Kind::MigratedSource => "migrated_source",
            Kind::MigratedLink => "migrated_link",
            Kind::MigratedSourceDiffers => "migrated_source_differs",
            Kind::OnlyCopy => "only_copy",
            Kind::FileWithoutRow => "file_without_row",
            Kind::ObjectWithoutRow => "object_without_row",
        }
    }

    /// How bad it is where nothing else is known.
    #[must_use]
    pub fn severity(self) -> Severity {
        use FindingKind as Kind;
        match self {
            Kind::LegacyPath | Kind::SharedFile | Kind::MigratedSource | Kind::MigratedLink => {
                Severity::Info
            }
            Kind::StaleCopy
            | Kind::MigratedSourceDiffers
            | Kind::OnlyCopy
            | Kind::FileWithoutRow
            | Kind::ObjectWithoutRow => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        use FindingKind as Kind;
        match self {
            Kind::RowWithoutFile => {
                "Restore the file from a backup, map the path with --path-map, or delete the document in the application. If a run has moved it and the rows are from an older dump, a migration names the command that brings it back."
            }
            Kind::RowWithoutObject => {
                "Check that this is the bucket of the application; then restore the object, or roll the run back that moved it."
            }
            Kind::BentPath => {
                "Run `migrate_to_s3 --rollback` with the state file of the run that moved it: it restores file and path."
            }
            Kind::EmptyPath => {
                "Delete the document in the application, or restore its row from a backup."
            }
            Kind::NotAFile => "Put the file there, or delete the document in the application.",
            Kind::Symlink => "Put the file itself there, or allow links by --follow-symlinks=all.",
            Kind::OutsidePath => {
                "Correct the row's path, or name the directory that it means: --path-map FROM=TO. Nothing is read there before."
            }
            Kind::Unreadable => "Give this user the right to read the upload path.",
            Kind::SizeDiffers | Kind::HashDiffers => {
                "Compare with a backup: the file was cut or changed after it was received."
            }
            Kind::KeyTooLong => "Shorten the extension of the file's name in the application.",
            Kind::LegacyPath => "Nothing: it is found and moved all the same.",
            Kind::SharedFile => "Nothing: each row gets an object of its own.",
            Kind::StaleCopy => "Nothing: the application does not read it.",
            Kind::MigratedSource => {
                "Nothing, by its length. When the objects have proved themselves (`--verify-state --full` reads them): `migrate_to_s3 --delete-source --state-file FILE --older-than 7d`."
            }
            Kind::MigratedLink => {
                "Nothing is wrong. `--delete-source` removes neither a link nor what it leads to: when the objects have proved themselves, and nothing else uses that file, remove both by hand."
            }
            Kind::MigratedSourceDiffers => {
                "Compare it with the object, which the application reads: a rollback and --delete-source leave both alone until they are equal."
            }
            Kind::OnlyCopy => {
                "Keep it. Roll the run back that moved it (`migrate_to_s3 --rollback`, also if it is rolled back already and the rows are from an older dump), and the row names it again."
            }
            Kind::FileWithoutRow => {
                "Keep it until its origin is clear: it may belong to a run that is not finished, to a row that names an object which is gone, or to a deleted document."
            }
            Kind::ObjectWithoutRow => {
                "Keep it until its origin is clear: it may belong to a run that is not finished, be what a rollback left where it is (`--rollback` says so again), or belong to a deleted document."
            }
        }
    }
}

impl AuditReport {
    /// Takes a finding in.
    pub(super) fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= LISTED_MAX {
            self.findings.push(finding);
        }
    }

    /// Returns how many findings are as bad as this or worse.
    #[must_use]
    pub fn count_of(&self, severity: Severity) -> u64 {
        let bad = |kind: &FindingKind| kind.severity() >= severity;
        self.counts
            .iter()
            .filter(|(kind, _)| bad(kind))
            .map(|(_, count)| count)
            .sum()
    }

    /// Tells whether every row's file is there and whole.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.count_of(Severity::Error) == 0
    }
}
