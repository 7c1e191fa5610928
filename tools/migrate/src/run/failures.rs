//! What the errors of the layers below mean to the person: one conversion a kind of error, with its exit code and remedy.
//!
//! What must hold: message and exit code come from the same match; nothing is said twice.
//!
//! What it deliberately does not do: print.

use std::error::Error;
use std::io::ErrorKind;

use console::{Exit, Failure, exit};
use transfer::{JournalError, RunError, RunErrorKind};

use crate::db::{DbError, DbErrorKind};

/// Says what a database's error means.
#[must_use]
pub fn database_failure(error: &DbError) -> Failure {
    let text = error.to_string();
    // The remedy is shown as the hint.
    let message = text.strip_suffix(error.remedy()).unwrap_or(&text);
    Failure::new(
        of_database(error.kind()),
        message.trim_end().trim_end_matches('.'),
    )
    .kind(database_kind(error.kind()))
    .with_causes(error.source())
    .hint(error.remedy())
}

/// Says what a run's error means. The work that was done is kept: `next` is the command that goes on.
#[must_use]
pub fn run_failure(error: &RunError, next: &str) -> Failure {
    let below = error.ledger_error().and_then(Error::source);
    let database = below
        .or_else(|| Error::source(error).and_then(Error::source))
        .and_then(|below| below.downcast_ref::<DbError>());
    let code = match (error.store_error(), database, error.kind()) {
        (Some(store), _, _) => exit::of_store(store.kind()),
        (None, Some(database), _) => of_database(database.kind()),
        (None, None, RunErrorKind::Verification) => Exit::Corrupt,
        (None, None, RunErrorKind::TooManyFailures) => Exit::Partial,
        (None, None, RunErrorKind::Mismatch) => Exit::Conflict,
        _ => Exit::Failed,
    };
    let code = if is_disk_full(error) {
        Exit::DiskFull
    } else {
        code
    };
    let kind = error.store_error().map_or_else(
        || kind_of_run(error.kind()).to_owned(),
        |store| store.kind().as_str().to_owned(),
    );
    Failure::from_error(code, error)
        .kind(kind)
        .hint(format!("{}\n      {next}", error.remedy()))
}

/// Says why the journal of a new run could not be begun.
#[must_use]
pub fn begin_failure(error: &JournalError) -> Failure {
    journal_failure(error).hint(
        "nothing was done: free some space or make the directory writable, or name another one with --state-dir or MIGRATION_STATE_DIR",
    )
}

/// Says what a journal's error means.
#[must_use]
pub fn journal_failure(error: &JournalError) -> Failure {
    let code = match error.kind() {
        transfer::JournalErrorKind::Locked => Exit::Locked,
        transfer::JournalErrorKind::Damaged
        | transfer::JournalErrorKind::Diverged
        | transfer::JournalErrorKind::Shorter => Exit::Corrupt,
        transfer::JournalErrorKind::Store => error
            .store_error()
            .map_or(Exit::Failed, |store| exit::of_store(store.kind())),
        _ if is_disk_full(error) => Exit::DiskFull,
        _ if has_cause(error, |kind| kind == ErrorKind::PermissionDenied) => Exit::Denied,
        _ => Exit::Failed,
    };
    Failure::from_error(code, error).hint(error.remedy())
}

/// A disk that takes nothing more: it is full, or may only be read.
fn is_disk_full(error: &dyn Error) -> bool {
    has_cause(error, |kind| {
        matches!(
            kind,
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::FileTooLarge
                | ErrorKind::ReadOnlyFilesystem
        )
    })
}

/// Tells whether the operating system said something of this kind.
fn has_cause(error: &dyn Error, is_it: impl Fn(ErrorKind) -> bool) -> bool {
    let causes = std::iter::successors(error.source(), |error| Error::source(*error));
    let mut kinds = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    kinds.any(|error| is_it(error.kind()))
}

fn of_database(kind: DbErrorKind) -> Exit {
    match kind {
        DbErrorKind::Connection | DbErrorKind::Timeout => Exit::Network,
        DbErrorKind::Authentication | DbErrorKind::Permission => Exit::Denied,
        DbErrorKind::Locked => Exit::Locked,
        DbErrorKind::Contention => Exit::Conflict,
        DbErrorKind::Schema | DbErrorKind::Unsupported => Exit::Config,
        DbErrorKind::DiskFull => Exit::DiskFull,
        DbErrorKind::Statement => Exit::Failed,
    }
}

fn database_kind(kind: DbErrorKind) -> &'static str {
    match kind {
        DbErrorKind::Connection => "database-connection",
        DbErrorKind::Timeout => "database-timeout",
        DbErrorKind::Authentication => "database-authentication",
        DbErrorKind::Permission => "database-permission",
        DbErrorKind::Locked => "locked",
        DbErrorKind::Contention => "database-contention",
        DbErrorKind::Schema => "database-schema",
        DbErrorKind::Unsupported => "database-unsupported",
        DbErrorKind::DiskFull => "database-disk-full",
        DbErrorKind::Statement => "database",
    }
}

fn kind_of_run(kind: RunErrorKind) -> &'static str {
    match kind {
        RunErrorKind::Plan => "plan",
        RunErrorKind::Source => "source",
        RunErrorKind::Store => "store",
        RunErrorKind::Ledger => "database",
        RunErrorKind::Journal => "journal",
        RunErrorKind::Mismatch => "mismatch",
        RunErrorKind::TooManyFailures => "too-many-failures",
        RunErrorKind::Verification => "verification",
        RunErrorKind::Crash => "crash",
    }
}
