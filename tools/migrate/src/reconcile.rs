//! The balance after a run: every row's file is where the row says, or the row is named.
//!
//! What must hold: all rows of all tables are looked at, whatever the run did and whoever changed them; what does not
//! balance is an exception by name; nothing is changed.
//!
//! It deliberately compares lengths only: contents were proved when they were copied, and `--verify-state --full` proves them
//! again. Files and objects that no row names are the audit's business: nobody's document is at stake.

use crate::db::{Count, Database, DbError, Page, Row, Which};
use crate::listing::{Listing, row_prefixes};
use crate::mapping::{Mapping, Table};
use crate::plan::Direction;
use crate::resolve::{Found, FoundFile, Paths};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Store, StoreError};
use transfer::{Exception, ExceptionKind};

/// Rows are read this many at a time.
const PAGE: usize = 1000;

/// More exceptions than this are only counted.
const LISTED_MAX: usize = 10_000;

/// What a run was to do.
#[derive(Clone, Debug, Default)]
pub struct ReconcileOptions {
    /// Which way files went.
    pub direction: Direction,
    /// Only rows of this owner were to be moved; others are not expected to have been.
    pub user: Option<String>,
    /// Whether the run is still to come: a row that it can move is as good as in place.
    pub is_before: bool,
}

/// What rows, disk and bucket come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Rows of all tables with a file of their own.
    pub rows: u64,
    /// Rows whose file is where the run was to bring it.
    pub in_place: u64,
    /// Rows whose file is still where it came from.
    pub left: u64,
    /// Rows whose file is nowhere, or of another length than the row says.
    pub lost: u64,
    /// Objects in the bucket below the application's prefixes.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// The rows of every path column.
    pub columns: Vec<Count>,
    /// Every row that is not in place, by name.
    pub exceptions: Vec<Exception>,
    /// How many those are.
    pub exception_count: u64,
}

impl Balance {
    /// Tells whether every row's file is where it should be.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.exception_count == 0
    }

    fn add(&mut self, exception: Exception) {
        self.exception_count += 1;
        if self.exceptions.len() < LISTED_MAX {
            self.exceptions.push(exception);
        }
    }
}

/// Why the balance could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The database could not be read.
    #[error(
        "the rows could not be read for the balance; the run itself is done and its state is kept"
    )]
    Database(#[from] DbError),
    /// The bucket could not be listed.
    #[error(
        "the bucket could not be listed for the balance; the run itself is done and its state is kept"
    )]
    Store(#[from] StoreError),
}

/// Compares all rows with the bucket and the disk.
///
/// `bucket` is where the rows' keys are looked up: the target, or the source of a run from bucket to disk.
///
/// # Errors
/// If rows or objects cannot be listed.
pub async fn reconcile(
    db: &dyn Database,
    mapping: &Arc<Mapping>,
    paths: &Arc<Paths>,
    bucket: &Store,
    options: &ReconcileOptions,
) -> Result<Balance, ReconcileError> {
    let listing = Arc::new(Listing::read(bucket, &row_prefixes(mapping)).await?);
    let mut balance = Balance {
        objects: listing.len() as u64,
        object_bytes: listing.bytes(),
        columns: db.counts().await?,
        ..Balance::default()
    };
    for table in mapping.tables() {
        let clerk = Arc::new(Clerk {
            mapping: Arc::clone(mapping),
            paths: Arc::clone(paths),
            listing: Arc::clone(&listing),
            direction: options.direction,
            is_before: options.is_before,
            table: table.clone(),
        });
        for which in clerk.kinds() {
            balance = look_at_table(db, &clerk, *which, options, balance).await?;
        }
    }
    Ok(balance)
}

async fn look_at_table(
    db: &dyn Database,
    clerk: &Arc<Clerk>,
    which: Which,
    options: &ReconcileOptions,
    mut balance: Balance,
) -> Result<Balance, ReconcileError> {
    let mut after: Option<String> = None;
    loop {
        let page = Page {
            table: &clerk.table,
            which,
            user: options.user.as_deref(),
            after: after.as_deref(),
            limit: PAGE,
        };
        let rows = db.page(&page).await?;
        let Some(last) = rows.last() else {
            return Ok(balance);
        };
        after = Some(last.key.clone());
        let clerk = Arc::clone(clerk);
        // A page of lookups on disk is short work that may block.
        balance = tokio::task::spawn_blocking(move || clerk.look_at(&rows, balance))
            .await
            .map_err(|error| {
                let kind = crate::db::DbErrorKind::Statement;
                DbError::new(kind, "look at a page of rows", "").with_source(error)
            })?;
    }
}

/// Looks at the rows of one table.
struct Clerk {
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    listing: Arc<Listing>,
    direction: Direction,
    is_before: bool,
    table: Table,
}

/// What is wrong with a row.
struct Wrong {
    kind: ExceptionKind,
    message: String,
    remedy: &'static str,
}

impl Clerk {
    /// A document without a path has lost its file; in other tables such a row never had one.
    fn kinds(&self) -> &'static [Which] {
        if self.table.column() == self.mapping.main.column() {
            &[Which::All, Which::Empty]
        } else {
            &[Which::All]
        }
    }

    fn look_at(&self, rows: &[Row], mut balance: Balance) -> Balance {
        for row in rows {
            balance.rows += 1;
            let key = if self.mapping.marks_stored() {
                self.mapping.key_of(&row.path).map(str::to_owned)
            } else {
                crate::keys::object_key(&self.mapping, &self.table, row).ok()
            };
            let wrong = match &key {
                Some(_) if self.is_on_disk() => self.file(row).err(),
                Some(key) => self.stored(row, key),
                None => self.local(row),
            };
            let arrived = key.is_some() != (self.direction == Direction::S3ToLocal);
            match &wrong {
                None => balance.in_place += 1,
                Some(_) if arrived => balance.lost += 1,
                Some(_) => balance.left += 1,
            }
            if let Some(wrong) = wrong {
                balance.add(self.exception(row, key.unwrap_or_default(), wrong));
            }
        }
        balance
    }

    /// Where rows do not show where their file is, the direction says on which side it should be.
    fn is_on_disk(&self) -> bool {
        let is_to_disk = self.direction == Direction::S3ToLocal;
        let is_from_disk = self.direction == Direction::LocalToS3;
        let is_on_disk = if self.is_before {
            is_from_disk
        } else {
            is_to_disk
        };
        !self.mapping.marks_stored() && is_on_disk
    }

    /// A row whose path names an object.
    fn stored(&self, row: &Row, key: &str) -> Option<Wrong> {
        let Some(size) = self.listing.size(key) else {
            return Some(Wrong {
                kind: ExceptionKind::ObjectMissing,
                message: format!("there is no object {key}"),
                remedy: "Look for it by --audit-files; restore the file, or roll the run back that moved it.",
            });
        };
        if let Some(wrong) = self.another_size(row, size) {
            return Some(wrong);
        }
        let is_back = self.mapping.marks_stored() && self.direction == Direction::S3ToLocal;
        (is_back && !self.is_before).then(|| Wrong {
            kind: ExceptionKind::ItemChanged,
            message: "it is still in the bucket".to_owned(),
            remedy: "Run again: it came or changed meanwhile.",
        })
    }

    /// A row whose path is a local one.
    fn local(&self, row: &Row) -> Option<Wrong> {
        if row.path.is_empty() {
            return Some(Wrong {
                kind: ExceptionKind::Missing,
                message: "the row names no file".to_owned(),
                remedy: "Restore the row from a backup, or delete the document in the application.",
            });
        }
        let file = match self.file(row) {
            Ok(file) => file,
            Err(wrong) => return Some(wrong),
        };
        (self.direction != Direction::S3ToLocal && !self.is_before).then(|| Wrong {
            kind: ExceptionKind::ItemChanged,
            message: format!("{} is there and was not moved", file.path.display()),
            remedy: "Run again: it came or changed meanwhile, or is another exception of this run.",
        })
    }

    /// The row's file on disk, if it is there and whole.
    fn file(&self, row: &Row) -> Result<FoundFile, Wrong> {
        match self.paths.find(&self.mapping, row) {
            Found::File(file) => match self.another_size(row, file.size) {
                Some(wrong) => Err(wrong),
                None => Ok(file),
            },
            found => Err(Wrong {
                kind: ExceptionKind::Missing,
                message: found.to_string(),
                remedy: "Restore the file, then run again; --audit-files says more.",
            }),
        }
    }

    fn another_size(&self, row: &Row, size: u64) -> Option<Wrong> {
        let noted = row.size.filter(|noted| *noted != size)?;
        (!self.table.is_rewritten(row.mime.as_deref())).then(|| Wrong {
            kind: ExceptionKind::WrongSize,
            message: format!("it has {size} bytes and its row says {noted}"),
            remedy: "Restore the file from a backup; --audit-files --hash compares contents.",
        })
    }

    fn exception(&self, row: &Row, key: String, wrong: Wrong) -> Exception {
        Exception {
            item: self.mapping.row_name(&self.table, &row.key),
            role: self.table.role.clone(),
            source: row.path.clone(),
            key,
            kind: wrong.kind,
            message: wrong.message,
            remedy: wrong.remedy.to_owned(),
        }
    }
}
