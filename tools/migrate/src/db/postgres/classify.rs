//! Turns an error of the PostgreSQL client into one of ours.
//!
//! What must hold: a lost connection is never taken for an answer of the server.
//!
//! It deliberately keeps the client's error as the cause and repeats nothing of it.

use crate::db::{DbError, DbErrorKind};
use tokio_postgres::error::SqlState;

/// Gives an error its kind.
pub(super) fn from_postgres(action: &str, error: tokio_postgres::Error) -> DbError {
    let kind = kind_of(&error);
    DbError::new(kind, action, "").with_source(error)
}

fn kind_of(error: &tokio_postgres::Error) -> DbErrorKind {
    if let Some(code) = error.code() {
        return kind_of_code(code);
    }
    let refused = error.to_string().starts_with("invalid configuration");
    match std::error::Error::source(error) {
        Some(cause) if cause.is::<std::io::Error>() => DbErrorKind::Connection,
        _ if error.is_closed() => DbErrorKind::Connection,
        _ if refused => DbErrorKind::Unsupported,
        // A session that ends in the middle of a message, a handshake that fails.
        _ => DbErrorKind::Connection,
    }
}

fn kind_of_code(code: &SqlState) -> DbErrorKind {
    match code.code() {
        "57014" => DbErrorKind::Timeout,
        "40001" | "40P01" | "55P03" => DbErrorKind::Contention,
        "42501" | "25006" => DbErrorKind::Permission,
        "42P01" | "42703" | "3D000" | "3F000" => DbErrorKind::Schema,
        "53100" => DbErrorKind::DiskFull,
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" => DbErrorKind::Connection,
        other if other.starts_with("08") => DbErrorKind::Connection,
        other if other.starts_with("28") => DbErrorKind::Authentication,
        _ => DbErrorKind::Statement,
    }
}
