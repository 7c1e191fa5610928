//! Whether database, disk and bucket agree, before or after a migration, without changing any of them.
//!
//! What must hold: every row of every table that names files is looked at, every file below the upload path and, where a
//! bucket is given, every object; each disagreement is a finding by name.
//!
//! It deliberately mends nothing; each finding says who or what does.

mod files;
mod objects;
mod report;
mod rows;

pub use report::{AuditReport, Finding, FindingKind, Severity};

use crate::db::{Database, DbError, DbErrorKind, Page, Which};
use crate::digests::Digests;
use crate::listing::Listing;
use crate::mapping::{Mapping, Table};
use crate::resolve::{Paths, Settled};
use rows::Clerk;
use std::sync::Arc;
use store::{Store, StoreError};
use transfer::{KeySet, StopSignal};

/// Rows are read this many at a time.
const PAGE: usize = 500;

/// What to look at.
#[derive(Clone, Default)]
pub struct AuditOptions {
    /// Read every file and compare its SHA-256 with the row's.
    pub hash: bool,
    /// The bucket, if it is to be looked at.
    pub bucket: Option<Store>,
    /// What is in the bucket, if that was listed already.
    pub listing: Option<Arc<Listing>>,
    /// Files that a known journal says were migrated, and whose rows name the objects now, as they were then.
    pub migrated: Digests,
    /// Those of them whose objects are not in the bucket.
    pub only_copies: KeySet,
    /// Ends the audit early.
    pub stop: StopSignal,
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database could not be read.
    #[error("the audit could not read the rows")]
    Database(#[from] DbError),
    /// The bucket could not be listed.
    #[error(
        "the audit could not list the bucket. Check the S3 settings, or audit without the bucket."
    )]
    Store(#[from] StoreError),
    /// It was asked to stop.
    #[error("the audit was stopped before its end. It changes nothing; start it again.")]
    Stopped,
}

/// What an audit has seen.
struct Seen {
    report: AuditReport,
    /// Files that a row names, and places where one would look for a file of a row.
    files: KeySet,
    /// Places where one would look for a file of a row that is in the bucket now.
    migrated: KeySet,
    /// Files of such rows, as they were when they were migrated.
    copied: Digests,
    /// Files of such rows whose objects are gone.
    only_copies: KeySet,
    /// Where folders really are.
    settled: Settled,
    /// Which of the listed objects a row names.
    objects: Vec<bool>,
}

/// Looks at everything.
///
/// # Errors
/// If rows or objects cannot be listed. What is wrong with single files is a finding.
pub async fn audit(
    db: &dyn Database,
    mapping: &Arc<Mapping>,
    paths: &Arc<Paths>,
    options: &AuditOptions,
) -> Result<AuditReport, AuditError> {
    let listing = match (&options.listing, &options.bucket) {
        (Some(listing), _) => Some(Arc::clone(listing)),
        (None, Some(bucket)) => Some(Arc::new(
            Listing::read(bucket, &mapping.object_prefixes()).await?,
        )),
        (None, None) => None,
    };
    let mut seen = Seen {
        report: AuditReport::default(),
        files: KeySet::new(),
        migrated: KeySet::new(),
        copied: options.migrated.clone(),
        only_copies: options.only_copies.clone(),
        settled: Settled::default(),
        objects: vec![false; listing.as_ref().map_or(0, |listing| listing.len())],
    };
    seen.report.columns = db.counts().await?;
    seen.report.missing_tables = db.info().missing_tables.clone();
    let clerk = |table: &Table, is_copy| Clerk {
        mapping: Arc::clone(mapping),
        paths: Arc::clone(paths),
        listing: listing.clone(),
        table: table.clone(),
        is_copy,
        hash: options.hash,
    };
    for table in mapping.tables() {
        seen = look_at_table(db, clerk(table, false), seen, &options.stop).await?;
    }
    for copy in &mapping.copies {
        let table = copy.as_table(&mapping.main);
        seen = look_at_table(db, clerk(&table, true), seen, &options.stop).await?;
    }
    seen = files::look_at_disk(mapping, paths, options.hash, seen).await?;
    if let (Some(bucket), Some(listing)) = (&options.bucket, &listing) {
        objects::name_orphans(bucket, mapping, listing, &mut seen).await?;
    }
    Ok(seen.report)
}

async fn look_at_table(
    db: &dyn Database,
    clerk: Clerk,
    mut seen: Seen,
    stop: &StopSignal,
) -> Result<Seen, AuditError> {
    let clerk = Arc::new(clerk);
    let kinds: &[Which] = if clerk.is_main() {
        &[Which::All, Which::Empty]
    } else {
        &[Which::All]
    };
    for which in kinds {
        let mut after: Option<String> = None;
        loop {
            if stop.is_raised() {
                return Err(AuditError::Stopped);
            }
            let page = Page {
                table: &clerk.table,
                which: *which,
                user: None,
                after: after.as_deref(),
                limit: PAGE,
            };
            let rows = db.page(&page).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key.clone());
            let worker = Arc::clone(&clerk);
            seen = blocking(move || {
                let mut seen = seen;
                rows.iter().for_each(|row| worker.look_at(row, &mut seen));
                seen
            })
            .await?;
        }
    }
    Ok(seen)
}

/// Runs work on the disk off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AuditError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let failed = DbError::new(DbErrorKind::Statement, "look at the disk", "");
        AuditError::Database(failed.with_source(error))
    })
}
