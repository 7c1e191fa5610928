//! The sources that some row still needs: the files of local paths, or the objects of stored ones.
//!
//! What must hold: a file that any row can still be served from is in the list, whatever way the row spells its path and
//! whatever link leads to it; so is the key of every stored path.
//!
//! It deliberately forgets itself after a few seconds: the application goes on working meanwhile.

use crate::db::{Database, DbError, Page, Row, Which};
use crate::mapping::{Mapping, Table};
use crate::resolve::Paths;
use std::path::Path;
use std::time::{Duration, Instant};
use transfer::KeySet;

/// How long a list may be used.
const FRESH: Duration = Duration::from_secs(10);

/// Rows are read this many at a time.
const PAGE: usize = 1000;

/// The list, by the files' real paths or by keys.
pub(super) struct Needed {
    which: Which,
    files: KeySet,
    collected: Instant,
}

impl Needed {
    /// Reads all local, or all stored, rows of all tables. Where rows do not show which they are, none counts as needed.
    pub(super) async fn collect(
        db: &dyn Database,
        mapping: &Mapping,
        paths: &Paths,
        which: Which,
    ) -> Result<Needed, DbError> {
        let mut needed = Needed {
            which,
            files: KeySet::new(),
            collected: Instant::now(),
        };
        if !mapping.marks_stored() {
            return Ok(needed);
        }
        for table in mapping.tables() {
            needed.add_table(db, mapping, paths, table).await?;
        }
        for copy in &mapping.copies {
            needed
                .add_table(db, mapping, paths, &copy.as_table(&mapping.main))
                .await?;
        }
        Ok(needed)
    }

    async fn add_table(
        &mut self,
        db: &dyn Database,
        mapping: &Mapping,
        paths: &Paths,
        table: &Table,
    ) -> Result<(), DbError> {
        let mut after: Option<String> = None;
        loop {
            let page = Page {
                table,
                which: self.which,
                user: None,
                after: after.as_deref(),
                limit: PAGE,
            };
            let rows = db.page(&page).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            for row in &rows {
                self.add_row(mapping, paths, row);
            }
        }
    }

    fn add_row(&mut self, mapping: &Mapping, paths: &Paths, row: &Row) {
        if let Some(key) = mapping.key_of(&row.path) {
            self.files.insert(key);
            return;
        }
        for place in paths.candidates(mapping, row) {
            if place.symlink_metadata().is_ok() {
                self.add(&place);
            }
        }
    }

    fn add(&mut self, place: &Path) {
        self.files.insert(&place.to_string_lossy());
        if let Ok(real) = place.canonicalize() {
            self.files.insert(&real.to_string_lossy());
        }
    }

    /// Tells whether the list is of these rows and young enough.
    pub(super) fn is_usable(&self, which: Which) -> bool {
        self.which == which && self.collected.elapsed() < FRESH
    }

    /// Tells whether a source has to stay: a row still needs it, or it is a link. Somebody has made that, for a reason that we
    /// do not know; a rollback could not make it again.
    pub(super) fn has(&self, source: &str) -> bool {
        if self.which == Which::Stored {
            return self.files.contains(source);
        }
        let path = Path::new(source);
        let real = path.canonicalize();
        path.is_symlink()
            || self.files.contains(source)
            || real.is_ok_and(|real| self.files.contains(&real.to_string_lossy()))
    }
}
