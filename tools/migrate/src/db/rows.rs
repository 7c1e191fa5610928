//! What both databases have in common: which columns there are, quoted names, and times as text or numbers.
//!
//! What must hold: a name that comes from a mapping reaches SQL only in quotes; a column that is not there reads as NULL.
//!
//! It deliberately runs no statement.

use super::{DbError, DbErrorKind, Info};
use crate::mapping::{Mapping, Table};
use jiff::Timestamp;
use jiff::civil::DateTime;
use std::collections::HashMap;

/// The tables and columns that exist, with their types.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    tables: HashMap<String, HashMap<String, String>>,
}

impl Shape {
    /// Notes a table's columns and their types. A table without columns is one that does not exist.
    pub(super) fn add(&mut self, table: &str, columns: HashMap<String, String>) {
        if !columns.is_empty() {
            self.tables.insert(table.to_owned(), columns);
        }
    }

    /// Tells whether a table exists.
    pub(super) fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Returns a column's type, if there is such a column.
    pub(super) fn kind(&self, table: &str, column: &str) -> Option<&str> {
        self.tables.get(table)?.get(column).map(String::as_str)
    }

    /// Compares with a mapping and notes what is missing.
    pub(super) fn check(&self, mapping: &Mapping, info: &mut Info) -> Result<(), DbError> {
        for table in mapping.tables() {
            if !self.has_table(&table.table) {
                info.missing_tables.push(table.table.clone());
                continue;
            }
            for column in named_columns(table) {
                if self.kind(&table.table, column).is_none() {
                    info.missing_columns
                        .push(format!("{}.{column}", table.table));
                }
            }
        }
        let main = &mapping.main;
        let needed = [&main.key, &main.path];
        let missing = needed
            .into_iter()
            .find(|column| self.kind(&main.table, column).is_none());
        match missing {
            None => Ok(()),
            Some(column) => Err(DbError::new(
                DbErrorKind::Schema,
                "find the documents",
                format!("there is no {}.{column} in {}", main.table, info.place),
            )),
        }
    }
}

/// Returns every column that a table of the mapping names.
fn named_columns(table: &Table) -> Vec<&str> {
    let optional = [
        &table.user,
        &table.created,
        &table.filename,
        &table.size,
        &table.sha256,
        &table.mime,
    ];
    let mut columns = vec![table.key.as_str(), table.path.as_str()];
    columns.extend(optional.into_iter().flatten().map(String::as_str));
    columns
}

/// Quotes a name; the part before a dot is the schema's.
pub(super) fn quoted(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// Reads a time out of text: ISO 8601 with or without zone (UTC then), or a number of seconds, milliseconds or microseconds
/// since 1970, told apart by its size.
pub(super) fn time_from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return time_from_number(number);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let civil: DateTime = text.replace(' ', "T").parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

/// Reads a time out of a number: seconds up to the year 5138, milliseconds and microseconds above.
pub(super) fn time_from_number(number: i64) -> Option<Timestamp> {
    const SECONDS_MAX: i64 = 100_000_000_000;
    const MILLIS_MAX: i64 = 100_000_000_000_000;
    if number <= SECONDS_MAX {
        Timestamp::from_second(number).ok()
    } else if number <= MILLIS_MAX {
        Timestamp::from_millisecond(number).ok()
    } else {
        Timestamp::from_microsecond(number).ok()
    }
}
