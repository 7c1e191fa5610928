//! What is to be moved: every row that a run concerns becomes one item, with its file, its thumbnail and all rows that
//! repeat its path.
//!
//! What must hold: all tables are read to their end, in pages, with no cap; a row is in one item only; a row that cannot be
//! an item is in the notes by name; planning changes nothing anywhere.
//!
//! It deliberately does not say whether a file is there and whole: the engine finds that out when it reads it, and reports
//! it. Planning looks only for where it is.

mod build;
mod notes;

pub use notes::{Estimate, Notes};

use crate::db::{Database, Page, Row, Which};
use crate::listing::Listing;
use crate::mapping::{CopyColumn, Mapping, Table};
use crate::resolve::Paths;
use crate::witness::Witness;
use build::Builder;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use transfer::{Item, KeySet, PlanError};

/// Rows are read this many at a time.
const PAGE: usize = 1000;

/// Which way files go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the upload path into the bucket.
    #[default]
    LocalToS3,
    /// From the bucket into the upload path.
    S3ToLocal,
    /// From the bucket into another one; the rows stay as they are.
    S3ToS3,
}

impl Direction {
    /// Which rows such a run concerns.
    #[must_use]
    pub fn which(self) -> Which {
        match self {
            Direction::LocalToS3 => Which::Local,
            Direction::S3ToLocal | Direction::S3ToS3 => Which::Stored,
        }
    }
}

/// What to plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Which way files go.
    pub direction: Direction,
    /// Only rows of this owner.
    pub user: Option<String>,
    /// Do not compare files with the length and digest that their rows note.
    pub any_content: bool,
    /// The storage class of new objects, as S3 names it.
    pub storage_class: Option<String>,
    /// What is in the bucket that files come from. Without it, thumbnails stay there: no row names them.
    pub objects: Option<Arc<Listing>>,
}

/// What the ledger needs to know about an item: kept in the journal as its context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The paths to change, the item's own row first.
    pub changes: Vec<crate::db::Change>,
}

/// Makes the plan of a run.
#[derive(Clone)]
pub struct Planner {
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    options: Arc<PlanOptions>,
    witness: Arc<Witness>,
    notes: Arc<Mutex<Notes>>,
}

/// Where planning is: which table, after which key, and which rows are spoken for.
struct Cursor {
    planner: Planner,
    table: usize,
    after: Option<String>,
    covered: KeySet,
}

impl Planner {
    /// Makes a planner. Nothing is read yet.
    #[must_use]
    pub fn new(
        db: Arc<dyn Database>,
        mapping: Arc<Mapping>,
        paths: Arc<Paths>,
        options: PlanOptions,
    ) -> Planner {
        Planner {
            db,
            mapping,
            paths,
            options: Arc::new(options),
            witness: Arc::default(),
            notes: Arc::default(),
        }
    }

    /// Lets earlier runs say what objects should have in them of which no row does.
    #[must_use]
    pub fn witnessed(mut self, witness: Witness) -> Planner {
        self.witness = Arc::new(witness);
        self
    }

    /// Makes a planner of the same plan that notes nothing for this one.
    #[must_use]
    pub fn apart(&self) -> Planner {
        Planner {
            notes: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns the items of a run, read as they are asked for. Each call reads from the beginning.
    ///
    /// # Errors
    /// The stream ends with an error if the database cannot be read.
    #[must_use]
    pub fn stream(&self) -> BoxStream<'static, Result<Item, PlanError>> {
        let cursor = Cursor {
            planner: self.clone(),
            table: 0,
            after: None,
            covered: KeySet::new(),
        };
        let pages = stream::try_unfold(cursor, |mut cursor| async move {
            Ok::<_, PlanError>(cursor.next().await?.map(|items| (items, cursor)))
        });
        let items = pages.map_ok(|items| stream::iter(items.into_iter().map(Ok)));
        items.try_flatten().boxed()
    }

    /// Returns what planning has noted so far: counts, and rows that cannot be moved.
    #[must_use]
    pub fn notes(&self) -> Notes {
        // The notes are whole after every change, so one that panicked in between spoils nothing.
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Cursor {
    /// Reads the next page that has rows; `None` at the end of the last table.
    async fn next(&mut self) -> Result<Option<Vec<Item>>, PlanError> {
        loop {
            let planner = self.planner.clone();
            let Some(table) = planner.mapping.tables().nth(self.table) else {
                return Ok(None);
            };
            let page = Page {
                table,
                which: planner.options.direction.which(),
                user: planner.options.user.as_deref(),
                after: self.after.as_deref(),
                limit: PAGE,
            };
            let rows = planner.db.page(&page).await.map_err(stopped)?;
            let Some(last) = rows.last() else {
                self.table += 1;
                self.after = None;
                continue;
            };
            self.after = Some(last.key.clone());
            return self.plan_page(table, rows).await.map(Some);
        }
    }

    async fn plan_page(&mut self, table: &Table, rows: Vec<Row>) -> Result<Vec<Item>, PlanError> {
        let own = table.column();
        let rows = self.without_covered(&own, rows);
        let followers = self.followers(&own, &rows).await?;
        // A row may repeat the path of another one of this very page.
        let rows = self.without_covered(&own, rows);
        let builder = Builder {
            mapping: Arc::clone(&self.planner.mapping),
            paths: Arc::clone(&self.planner.paths),
            options: Arc::clone(&self.planner.options),
            witness: Arc::clone(&self.planner.witness),
            table: table.clone(),
        };
        let notes = Arc::clone(&self.planner.notes);
        let work = move || builder.items(&rows, &followers, &notes);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(PlanError::new)
    }

    fn without_covered(&self, own: &CopyColumn, mut rows: Vec<Row>) -> Vec<Row> {
        rows.retain(|row| !self.covered.contains(&name_of(own, &row.key)));
        rows
    }

    /// Finds the rows that repeat these rows' paths, and takes note that they are spoken for.
    async fn followers(&mut self, own: &CopyColumn, rows: &[Row]) -> Result<Followers, PlanError> {
        let mut followers = Followers::new();
        if rows.is_empty() || !self.planner.mapping.marks_stored() {
            return Ok(followers);
        }
        let mut first = HashMap::new();
        for row in rows {
            first.entry(row.path.as_str()).or_insert(row.key.as_str());
        }
        let paths: Vec<String> = first.keys().map(|path| (*path).to_owned()).collect();
        let columns = self.planner.mapping.followers();
        for holder in self
            .planner
            .db
            .holders(&columns, &paths)
            .await
            .map_err(stopped)?
        {
            let column = CopyColumn {
                table: holder.table.clone(),
                key: holder.key_column.clone(),
                path: holder.column.clone(),
            };
            let is_itself =
                column == *own && first.get(holder.path.as_str()) == Some(&holder.key.as_str());
            if !is_itself && self.covered.insert(&name_of(&column, &holder.key)) {
                followers
                    .entry(holder.path.clone())
                    .or_default()
                    .push(holder);
            }
        }
        Ok(followers)
    }
}

/// The rows that repeat a path, by the path.
type Followers = HashMap<String, Vec<crate::db::Holder>>;

/// Names a path of a row, for the set of those that are spoken for.
fn name_of(column: &CopyColumn, key: &str) -> String {
    format!("{}\u{0}{}\u{0}{key}", column.table, column.path)
}

fn stopped(error: crate::db::DbError) -> PlanError {
    let remedy = error.remedy();
    PlanError::new(error).with_remedy(remedy)
}

#[cfg(test)]
mod tests;
