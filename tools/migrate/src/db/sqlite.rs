//! SQLite: the same behind the same trait, on threads that may block.
//!
//! What must hold: a call's changes are one immediate transaction; the runner's lock is a lock of the operating system on a
//! file beside the database, so it ends with the process, whatever the way.
//!
//! It deliberately makes no table in the application's database and changes no setting of the file.

mod statements;

use super::rows::Shape;
use super::{
    Change, Count, Database, DatabaseOptions, DbError, DbErrorKind, Holder, Info, Page, Row,
    RunnerLock, Switched,
};
use crate::mapping::{CopyColumn, Mapping};
use crate::state::Origin;
use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// An SQLite database file.
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
    runner: String,
    mapping: Arc<Mapping>,
    shape: Arc<Shape>,
    info: Info,
}

/// The lock file, locked; gone when dropped.
struct LockFile {
    path: PathBuf,
    // Held for its lock.
    _file: File,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A file that stays behind does no harm: only its lock counts.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Sqlite {
    /// Opens the file, which must exist, and looks the mapping's tables up.
    ///
    /// # Errors
    /// If there is no such database or it lacks the main table.
    pub async fn open(
        path: &Path,
        options: &DatabaseOptions,
        mapping: &Mapping,
    ) -> Result<Sqlite, DbError> {
        let (file, timeout) = (path.to_owned(), options.timeout);
        let mapping = Arc::new(mapping.clone());
        let for_shape = Arc::clone(&mapping);
        let opened = move || -> Result<(Connection, Shape, Info), DbError> {
            let action = "open the database";
            let explain = |error| from_sqlite(action, error);
            let connection = Connection::open_with_flags(
                &file,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
            .map_err(|error| explain(error).with_detail(file.display().to_string()))?;
            connection.busy_timeout(timeout).map_err(explain)?;
            let shape = statements::shape(&connection, &for_shape).map_err(explain)?;
            // A copy of the file that was put in its place has another number.
            let number = std::fs::metadata(&file).map_or(0, |found| found.ino());
            let mut info = Info {
                origin: Origin {
                    place: format!("{} (file {number})", file.display()),
                    cluster: None,
                },
                server: format!("SQLite {}", rusqlite::version()),
                place: format!("sqlite:{}", file.display()),
                identity: file.canonicalize().unwrap_or(file).display().to_string(),
                read_only: connection.is_readonly("main").map_err(explain)?,
                ..Info::default()
            };
            shape.check(&for_shape, &mut info)?;
            Ok((connection, shape, info))
        };
        let (connection, shape, info) = blocking(opened).await?;
        Ok(Sqlite {
            connection: Arc::new(Mutex::new(connection)),
            path: path.to_owned(),
            runner: options.runner.clone(),
            mapping,
            shape: Arc::new(shape),
            info,
        })
    }

    /// Runs something with the connection on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        action: String,
        work: impl FnOnce(&mut Connection, &Shape, &Mapping) -> Result<T, rusqlite::Error>
        + Send
        + 'static,
    ) -> Result<T, DbError> {
        let connection = Arc::clone(&self.connection);
        let (shape, mapping) = (Arc::clone(&self.shape), Arc::clone(&self.mapping));
        blocking(move || {
            // A panic of another call cannot leave a transaction open: dropping one rolls it back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection, &shape, &mapping).map_err(|error| from_sqlite(&action, error))
        })
        .await
    }
}

#[async_trait]
impl Database for Sqlite {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn lock(&self) -> Result<RunnerLock, DbError> {
        let mut name = self.path.clone().into_os_string();
        name.push(".migrate-lock");
        let (path, runner) = (PathBuf::from(name), self.runner.clone());
        blocking(move || take_lock(path, &runner))
            .await
            .map(RunnerLock::new)
    }

    async fn page(&self, page: &Page<'_>) -> Result<Vec<Row>, DbError> {
        let action = format!("read a page of {}", page.table.table);
        let (table, which, limit) = (page.table.clone(), page.which, page.limit);
        let (user, after) = (page.user.map(str::to_owned), page.after.map(str::to_owned));
        self.with(action, move |connection, shape, mapping| {
            let page = Page {
                table: &table,
                which,
                user: user.as_deref(),
                after: after.as_deref(),
                limit,
            };
            statements::page(connection, shape, mapping, &page)
        })
        .await
    }

    async fn switch(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError> {
        let changes = changes.to_vec();
        self.with("change paths".to_owned(), move |connection, _, _| {
            statements::switch(connection, &changes)
        })
        .await
    }

    async fn peek(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError> {
        let changes = changes.to_vec();
        self.with("read paths".to_owned(), move |connection, _, _| {
            let look = |change| statements::look(connection, change);
            changes.iter().map(look).collect()
        })
        .await
    }

    async fn holders(
        &self,
        columns: &[CopyColumn],
        paths: &[String],
    ) -> Result<Vec<Holder>, DbError> {
        let (columns, paths) = (columns.to_vec(), paths.to_vec());
        self.with("look paths up".to_owned(), move |connection, shape, _| {
            statements::holders(connection, shape, &columns, &paths)
        })
        .await
    }

    async fn counts(&self) -> Result<Vec<Count>, DbError> {
        self.with("count rows".to_owned(), |connection, shape, mapping| {
            statements::counts(connection, shape, mapping)
        })
        .await
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DbError> + Send + 'static,
) -> Result<T, DbError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(
            DbError::new(DbErrorKind::Statement, "finish a database call", "").with_source(error),
        ),
    }
}

/// Locks the file beside the database, or says who has.
fn take_lock(path: PathBuf, runner: &str) -> Result<LockFile, DbError> {
    let action = "take the lock of the migration";
    let failed = |error: std::io::Error| {
        DbError::new(DbErrorKind::Permission, action, path.display().to_string()).with_source(error)
    };
    loop {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Naming the holder is a courtesy: the refusal stands without it.
            let _ = file.read_to_string(&mut holder);
            let detail = format!(
                "held by {}",
                if holder.is_empty() {
                    "another process"
                } else {
                    holder.trim()
                }
            );
            return Err(DbError::new(DbErrorKind::Locked, action, detail));
        }
        // The runner before us may have removed the file between our opening and locking it.
        let ours = file.metadata().map_err(failed)?;
        let current = std::fs::metadata(&path)
            .is_ok_and(|at| at.ino() == ours.ino() && at.dev() == ours.dev());
        if !current {
            continue;
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{runner}").map_err(failed)?;
        return Ok(LockFile { path, _file: file });
    }
}

/// Gives an error its kind.
fn from_sqlite(action: &str, error: rusqlite::Error) -> DbError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DbErrorKind::Contention,
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied,
        ) => DbErrorKind::Permission,
        Some(ErrorCode::DiskFull) => DbErrorKind::DiskFull,
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => DbErrorKind::Connection,
        Some(ErrorCode::NotADatabase | ErrorCode::SchemaChanged) => DbErrorKind::Schema,
        _ => DbErrorKind::Statement,
    };
    DbError::new(kind, action, "").with_source(error)
}
