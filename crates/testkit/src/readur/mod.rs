//! A Readur installation as a migration meets it: its tables, a fleet of documents with their files, and the traps among them.
//!
//! What must hold: the tables have the columns, constraints and indexes of the real ones; one seed gives one fleet, byte for byte, times
//! of files included; every trap says what a good migration makes of it.
//! What it deliberately does not do: run Readur, or know anything of our tools.
//!
//! Traps that need an actor beside the migration (a row changed or deleted meanwhile, a file that grows while it is read, a full
//! disk, a bucket that refuses, throttles, cuts or lies) are for the tests to play: the fleet gives the documents, [`crate::proxy`] the bucket.

mod fleet;
mod moved;
mod rows;
mod snapshot;
mod traps;
mod words;

pub use fleet::{Fleet, FleetOptions, Sizes};
pub use moved::already_moved;
pub use rows::{Document, FailedDocument, ProcessedImage};
pub use snapshot::Snapshot;
pub use traps::{Expect, Flaw, Trap};

use crate::postgres::Database;

/// The statements that make Readur's tables in an empty database; an ordinary owner may run them.
pub fn schema() -> &'static str {
    include_str!("schema.sql")
}

/// Makes Readur's tables in an empty database.
///
/// # Panics
/// If the database has them already.
pub fn install(database: &Database) {
    database.sql(schema());
}

#[cfg(test)]
mod tests;
