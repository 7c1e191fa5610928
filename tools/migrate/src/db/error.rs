//! What can go wrong with a database, as a closed set of kinds, each with a remedy.
//!
//! What must hold: `Display` says what failed, of which kind and where; `source()` says why; [`DbError::remedy`] says what to
//! do. No text holds a password.
//!
//! It deliberately does not decide whether to try again: [`DbError::is_retryable`] says whether it may help.

use std::error::Error;
use std::fmt;

/// What sort of trouble an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbErrorKind {
    /// The server could not be reached, or hung up.
    Connection,
    /// The server does not let us in.
    Authentication,
    /// There was no answer in time.
    Timeout,
    /// Another runner is at work.
    Locked,
    /// Others hold the rows, or the transaction fell victim to another one.
    Contention,
    /// The tables are not what the mapping says.
    Schema,
    /// We may not read or change a table, or the database takes no changes at all.
    Permission,
    /// The disk of the database is full.
    DiskFull,
    /// This build or this URL cannot do that.
    Unsupported,
    /// Any other answer of the database.
    Statement,
}

/// Why something could not be done with the database.
#[derive(Debug)]
pub struct DbError {
    kind: DbErrorKind,
    action: String,
    detail: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DbError {
    /// Makes an error. `action` completes "could not …"; `detail` says more where the kind does not suffice.
    #[must_use]
    pub fn new(kind: DbErrorKind, action: &str, detail: impl Into<String>) -> DbError {
        DbError {
            kind,
            action: action.to_owned(),
            detail: detail.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> DbError {
        self.source = Some(source.into());
        self
    }

    /// Says more about it than the kind does.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> DbError {
        self.detail = detail.into();
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> DbErrorKind {
        self.kind
    }

    /// Tells whether doing the same again a little later may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            DbErrorKind::Connection | DbErrorKind::Timeout | DbErrorKind::Contention
        )
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            DbErrorKind::Connection => {
                "Check that the database runs and that DATABASE_URL names its host and port, then run the same command again."
            }
            DbErrorKind::Authentication => {
                "Check the user and password in DATABASE_URL, and pg_hba.conf on the server."
            }
            DbErrorKind::Timeout => {
                "Raise DATABASE_TIMEOUT (seconds), or look for what holds the database up, then run the same command again."
            }
            DbErrorKind::Locked => {
                "Wait until that run has ended, or stop it; its state is kept and can be resumed."
            }
            DbErrorKind::Contention => {
                "Look for long transactions in pg_stat_activity, then run the same command again."
            }
            DbErrorKind::Schema => {
                "Check that DATABASE_URL names the application's database, or give a fitting --mapping."
            }
            DbErrorKind::Permission => {
                "Connect as the application's own database user, to the primary server, with a writable disk."
            }
            DbErrorKind::DiskFull => {
                "Make room on the database's disk, then run the same command again."
            }
            DbErrorKind::Unsupported => {
                "Give a URL of the form postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH."
            }
            DbErrorKind::Statement => {
                "The cause below is the database's own; if it does not help, report it with the version of the application."
            }
        }
    }

    fn headline(&self) -> &'static str {
        match self.kind {
            DbErrorKind::Connection => "the connection failed",
            DbErrorKind::Authentication => "the database refused the login",
            DbErrorKind::Timeout => "there was no answer in time",
            DbErrorKind::Locked => "another migration is running",
            DbErrorKind::Contention => "other sessions were in the way",
            DbErrorKind::Schema => "the tables are not as expected",
            DbErrorKind::Permission => "the database does not allow it",
            DbErrorKind::DiskFull => "the database's disk is full",
            DbErrorKind::Unsupported => "this cannot be done",
            DbErrorKind::Statement => "the database reported an error",
        }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.action, self.headline())?;
        if self.detail.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.detail)
    }
}

impl Error for DbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
