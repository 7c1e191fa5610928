//! The application's database: rows in pages, paths changed by compare-and-set, one runner at a time.
//!
//! What must hold: a page is never cut short but at the table's end; [`Database::switch`] changes a path only where the row
//! still holds the old one, all of a call in one transaction, and nothing else in the row; an error means that nothing of
//! the call took effect, or, if the connection was lost while committing, all of it: asking again tells.
//!
//! It deliberately knows no file and no object, and no application: a [`Mapping`] names tables and columns.

mod error;
mod postgres;
mod rows;
mod sqlite;
mod tls;

pub use error::{DbError, DbErrorKind};
pub use postgres::Postgres;
pub use sqlite::Sqlite;

use crate::mapping::{CopyColumn, Mapping, Table};
use crate::state::Origin;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A database with the tables of a mapping.
#[async_trait]
pub trait Database: Send + Sync {
    /// Says what this is, and what of the mapping it does not have.
    fn info(&self) -> &Info;

    /// Makes this process the only one that migrates this database, until the answer is dropped.
    ///
    /// # Errors
    /// Of kind `Locked` if another one is at it; the error names it.
    async fn lock(&self) -> Result<RunnerLock, DbError>;

    /// Reads the next rows of a table, in the order of its key. Rows without a path
    /// are left out unless they are asked for. An empty answer means that
    /// the table's end was reached; a table that the database does not have has no rows.
    ///
    /// # Errors
    /// If the database could not be asked.
    async fn page(&self, page: &Page<'_>) -> Result<Vec<Row>, DbError>;

    /// Changes paths by compare-and-set, all in one transaction; answers in the same order. Calling it again is harmless.
    ///
    /// # Errors
    /// If the transaction was not committed, or if it is not known whether it was.
    async fn switch(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError>;

    /// Says what [`switch`](Database::switch) would answer now, and changes nothing.
    ///
    /// # Errors
    /// If the database could not be asked.
    async fn peek(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError>;

    /// Finds every row that holds one of these paths, in the columns asked for.
    ///
    /// # Errors
    /// If the database could not be asked.
    async fn holders(
        &self,
        columns: &[CopyColumn],
        paths: &[String],
    ) -> Result<Vec<Holder>, DbError>;

    /// Counts the rows of every path column of the mapping.
    ///
    /// # Errors
    /// If the database could not be asked.
    async fn counts(&self) -> Result<Vec<Count>, DbError>;
}

/// Which rows of a table are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those whose file is on the disk. All of them where the mapping does not mark stored paths.
    Local,
    /// Those whose file is in the bucket. All of them where the mapping does not mark stored paths.
    Stored,
    /// All that have a path.
    All,
    /// Those whose path is NULL or empty.
    Empty,
}

/// What to read of a table.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The table, with its columns.
    pub table: &'a Table,
    /// Which rows.
    pub which: Which,
    /// Only those of this owner.
    pub user: Option<&'a str>,
    /// Only those whose key comes after this one.
    pub after: Option<&'a str>,
    /// At most this many.
    pub limit: usize,
}

/// One row, as far as the mapping has its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The key, as text.
    pub key: String,
    /// The path.
    pub path: String,
    /// The owner, as text.
    pub user: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The file's name.
    pub filename: Option<String>,
    /// The file's length in bytes.
    pub size: Option<u64>,
    /// The file's SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// The media type.
    pub mime: Option<String>,
}

/// One path to change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The primary key's column.
    pub key_column: String,
    /// The row's key, as text.
    pub key: String,
    /// The column with the path.
    pub column: String,
    /// What the row must hold now.
    pub old: String,
    /// What it shall hold.
    pub new: String,
}

impl Change {
    /// Returns the change that takes this one back.
    #[must_use]
    pub fn reversed(&self) -> Change {
        Change {
            old: self.new.clone(),
            new: self.old.clone(),
            ..self.clone()
        }
    }

    /// Says what this change means for a row that holds `path`, empty for NULL.
    fn compare(&self, path: &str) -> Switched {
        if path == self.new {
            Switched::AlreadyDone
        } else if path == self.old {
            Switched::Done
        } else {
            Switched::Changed(path.to_owned())
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.table, self.column, self.key)
    }
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switched {
    /// The row held the old path and holds the new one now.
    Done,
    /// The row held the new path already.
    AlreadyDone,
    /// The row holds something else, which was left alone. The text is what it holds, empty for NULL.
    Changed(String),
    /// There is no such row.
    Gone,
}

/// A row that holds a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The table.
    pub table: String,
    /// The primary key's column.
    pub key_column: String,
    /// The row's key, as text.
    pub key: String,
    /// The column with the path.
    pub column: String,
    /// The path.
    pub path: String,
}

/// How many rows a path column has, by where their files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The table.
    pub table: String,
    /// The column with the path.
    pub column: String,
    /// Rows whose path is a local one.
    pub local: u64,
    /// Rows whose path names an object.
    pub stored: u64,
    /// Rows whose path is NULL or empty.
    pub empty: u64,
    /// The sum of the lengths that the local rows note, in bytes.
    pub local_bytes: u64,
}

/// What a database is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Program and version: `PostgreSQL 15.14`.
    pub server: String,
    /// Where it is, without secrets: `postgres://readur@localhost:5432/readur`.
    pub place: String,
    /// A name and number, or a path, that tells this database from every other of its server, for journals.
    pub identity: String,
    /// What tells it from a clone.
    pub origin: Origin,
    /// Whether it takes no changes: a standby, a file without write permission.
    pub read_only: bool,
    /// Tables of the mapping that are not there; they are passed over.
    pub missing_tables: Vec<String>,
    /// `table.column` of the mapping that are not there; they count as NULL.
    pub missing_columns: Vec<String>,
}

/// The right to be the only runner. Dropping it gives it back.
pub struct RunnerLock(
    #[expect(dead_code, reason = "it works by being dropped")] Box<dyn Any + Send + Sync>,
);

impl RunnerLock {
    fn new(held: impl Any + Send + Sync) -> RunnerLock {
        RunnerLock(Box::new(held))
    }
}

impl fmt::Debug for RunnerLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunnerLock")
    }
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// How long connecting and each statement may take.
    pub timeout: Duration,
    /// What the server's list of sessions calls this program; it is how a second runner learns who holds the lock.
    pub runner: String,
}

/// Opens the database that a URL names: `postgres://…`, `postgresql://…` or `sqlite:PATH`, and looks up the mapping's
/// tables in its catalogue.
///
/// # Errors
/// If it cannot be reached, does not let us in, or lacks the main table.
pub async fn open_database(
    url: &str,
    options: &DatabaseOptions,
    mapping: &Mapping,
) -> Result<Arc<dyn Database>, DbError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split('?').next().unwrap_or(path);
        return Ok(Arc::new(
            Sqlite::open(path.as_ref(), options, mapping).await?,
        ));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(Postgres::open(url, options, mapping).await?));
    }
    Err(DbError::new(
        DbErrorKind::Unsupported,
        "open",
        "the URL of the database starts with none of postgres://, postgresql:// and sqlite:",
    ))
}

#[cfg(test)]
mod tests;
