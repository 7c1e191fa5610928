//! The sources that some row still needs: the files of local paths, or the objects of stored ones.
//!
//! What must hold: a file that any row can still be served from is in the list, whatever way the row spells its path and
//! whatever link leads to it; so is the key of every stored path, and the file of one that a person's REPLACE made of a local path.
//!
//! It deliberately forgets itself after a few seconds: the application goes on working meanwhile.

use crate::bent;
use crate::db::{Database, DbError, Page, Row, Which};
use crate::mapping::{Mapping, Table};
use crate::resolve::Paths;
use std::path::{Path, PathBuf};
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
    /// Reads all rows of all tables for files, all stored ones for objects. Where rows do not show which they are, none counts as needed.
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
        let roots = match which {
            Which::Stored => Vec::new(),
            _ => bent_roots(mapping, paths),
        };
        for table in mapping.tables() {
            needed.add_table(db, mapping, paths, table, &roots).await?;
        }
        for copy in &mapping.copies {
            needed
                .add_table(db, mapping, paths, &copy.as_table(&mapping.main), &roots)
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
        roots: &[PathBuf],
    ) -> Result<(), DbError> {
        let which = match roots.is_empty() {
            true => self.which,
            false => Which::All,
        };
        let mut after: Option<String> = None;
        loop {
            let page = Page {
                table,
                which,
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
                self.add_row(mapping, paths, row, roots);
            }
        }
    }

    fn add_row(&mut self, mapping: &Mapping, paths: &Paths, row: &Row, roots: &[PathBuf]) {
        let places = match (mapping.key_of(&row.path), self.which) {
            (Some(key), Which::Stored) => {
                self.files.insert(key);
                return;
            }
            (Some(key), _) => roots.iter().map(|root| root.join(key)).collect(),
            (None, _) => paths.candidates(mapping, row),
        };
        for place in places {
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

/// Where a stored path leads that somebody's REPLACE has made of a local one: `/app/uploads/documents/x` became `s3://documents/x`.
fn bent_roots(mapping: &Mapping, paths: &Paths) -> Vec<PathBuf> {
    let prefixes = bent::prefixes(mapping, paths).into_iter();
    let mut roots: Vec<PathBuf> = prefixes
        .filter(|prefix| !prefix.is_empty())
        .map(|prefix| paths.here(&prefix))
        .collect();
    roots.sort();
    roots.dedup();
    roots
}
