//! One row becomes one item.
//!
//! What must hold: an item's id, keys and changes follow from its row alone, so that every try makes the same item.
//!
//! It deliberately asks the database nothing: the rows that follow are handed in.

use super::notes::{Notes, Unmovable};
use super::{Context, Direction, Followers, PlanOptions};
use crate::db::{Change, Row};
use crate::keys;
use crate::mapping::{Derived, Mapping, Table};
use crate::resolve::{Found, FoundFile, Paths};
use crate::witness::Witness;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use transfer::{Attributes, Blob, Exception, ExceptionKind, Item};

/// Makes items of the rows of one table.
pub(super) struct Builder {
    pub(super) mapping: Arc<Mapping>,
    pub(super) paths: Arc<Paths>,
    pub(super) options: Arc<PlanOptions>,
    pub(super) witness: Arc<Witness>,
    pub(super) table: Table,
}

/// Where a file comes from and goes to, and what the row will say.
struct Route {
    source: String,
    key: String,
    new_path: String,
    /// The file that was found, where the source is the disk.
    file: Option<FoundFile>,
}

impl Builder {
    /// Makes the items of a page; looks at the disk, so it may block.
    pub(super) fn items(
        &self,
        rows: &[Row],
        followers: &Followers,
        notes: &Mutex<Notes>,
    ) -> Vec<Item> {
        let mut with_followers = HashSet::new();
        let mut items = Vec::with_capacity(rows.len());
        let mut page = Notes::default();
        for row in rows {
            page.rows += 1;
            match self.item(row, &mut page) {
                Ok(mut item) => {
                    // Of two rows with one path, the first takes the others along.
                    if with_followers.insert(row.path.as_str()) {
                        self.add_followers(&mut item, row, followers, &mut page);
                    }
                    page.items += 1;
                    items.push(item.item);
                }
                Err(exception) => page.exception(*exception),
            }
        }
        merge(notes, page);
        items
    }

    fn add_followers(&self, item: &mut Draft, row: &Row, followers: &Followers, page: &mut Notes) {
        for holder in followers.get(&row.path).into_iter().flatten() {
            page.followers += 1;
            item.context.changes.push(Change {
                table: holder.table.clone(),
                key_column: holder.key_column.clone(),
                key: holder.key.clone(),
                column: holder.column.clone(),
                old: row.path.clone(),
                new: item.new_path.clone(),
            });
        }
        item.seal();
    }

    fn item(&self, row: &Row, page: &mut Notes) -> Result<Draft, Box<Exception>> {
        let route = match self.options.direction {
            Direction::LocalToS3 => self.to_bucket(row, page)?,
            Direction::S3ToLocal => self.to_disk(row)?,
            Direction::S3ToS3 => self.between_buckets(row)?,
        };
        let mut blobs = vec![self.main_blob(row, &route, page)];
        if self.table.column() == self.mapping.main.column() {
            for derived in &self.mapping.derived {
                blobs.extend(self.derived_blob(derived, row, &route, page));
            }
        }
        if self.options.direction != Direction::LocalToS3 {
            blobs.iter_mut().for_each(|blob| self.witness.testify(blob));
        }
        let context = Context {
            changes: vec![Change {
                table: self.table.table.clone(),
                key_column: self.table.key.clone(),
                key: row.key.clone(),
                column: self.table.path.clone(),
                old: row.path.clone(),
                new: route.new_path.clone(),
            }],
        };
        let mut draft = Draft {
            item: Item {
                id: self.id(row),
                blobs,
                context: serde_json::Value::Null,
            },
            context,
            new_path: route.new_path,
        };
        draft.seal();
        Ok(draft)
    }

    fn id(&self, row: &Row) -> String {
        self.mapping.row_name(&self.table, &row.key)
    }

    fn to_bucket(&self, row: &Row, page: &mut Notes) -> Result<Route, Box<Exception>> {
        let key = keys::object_key(&self.mapping, &self.table, row).map_err(|error| {
            self.unmovable(
                row,
                ExceptionKind::BadKey,
                error.to_string(),
                "Then run again.",
            )
        })?;
        let found = self.paths.find(&self.mapping, row);
        let (path, file) = match found {
            Found::File(file) => (file.path.clone(), Some(file)),
            Found::Missing { path } => {
                page.missing += 1;
                self.check_bent(row)?;
                (path, None)
            }
            other => return Err(self.not_found(row, &other)),
        };
        if file.as_ref().is_some_and(|file| file.is_legacy) {
            page.legacy += 1;
        }
        if file.is_some() && !self.paths.is_below(&path) {
            page.outside(path.to_string_lossy().into_owned());
        }
        let Some(source) = path.to_str() else {
            let message = format!("{} is no UTF-8", path.display());
            return Err(self.unmovable(
                row,
                ExceptionKind::Unreadable,
                message,
                "Rename the folder that --path-map leads to.",
            ));
        };
        Ok(Route {
            source: source.to_owned(),
            new_path: self.mapping.stored_path(&key),
            key,
            file,
        })
    }

    fn to_disk(&self, row: &Row) -> Result<Route, Box<Exception>> {
        let source = self.stored_key(row)?;
        let relative = self.on_disk(row);
        let new_path = match self.mapping.relative_paths {
            true => relative.clone(),
            false => format!("{}/{relative}", self.upload_in_rows(row)?),
        };
        keys::check_length(&self.mapping, &self.table, &new_path).map_err(|error| {
            self.unmovable(
                row,
                ExceptionKind::BadKey,
                error.to_string(),
                "Then run again.",
            )
        })?;
        Ok(Route {
            source,
            key: relative,
            new_path,
            file: None,
        })
    }

    fn upload_in_rows(&self, row: &Row) -> Result<String, Box<Exception>> {
        self.paths.upload_in_rows().ok_or_else(|| {
            let message = format!("no path map leads to {}", self.paths.upload());
            let remedy = "Name how the application has the upload path: --path-map FROM=TO.";
            self.unmovable(row, ExceptionKind::BadKey, message, remedy)
        })
    }

    fn between_buckets(&self, row: &Row) -> Result<Route, Box<Exception>> {
        let key = self.stored_key(row)?;
        Ok(Route {
            source: key.clone(),
            key,
            new_path: row.path.clone(),
            file: None,
        })
    }

    fn stored_key(&self, row: &Row) -> Result<String, Box<Exception>> {
        let key = if self.mapping.marks_stored() {
            self.mapping.key_of(&row.path).map(str::to_owned)
        } else {
            keys::object_key(&self.mapping, &self.table, row).ok()
        };
        key.filter(|key| !key.is_empty()).ok_or_else(|| {
            let message = format!("`{}` names no object", row.path);
            self.unmovable(
                row,
                ExceptionKind::BadKey,
                message,
                "Correct the row's path in the application.",
            )
        })
    }

    /// Where the application would put the file, relative to the upload path.
    fn on_disk(&self, row: &Row) -> String {
        let place = self.table.local_path.fill(&keys::values(row, ""));
        place.trim_start_matches('/').to_owned()
    }

    fn main_blob(&self, row: &Row, route: &Route, page: &mut Notes) -> Blob {
        let rewritten = self.options.any_content || self.table.is_rewritten(row.mime.as_deref());
        if let Some(file) = &route.file {
            page.file(&self.table.role, file.size);
            page.empty += u64::from(file.size == 0);
            if row.size.is_some_and(|size| size != file.size) {
                self.note_size(row, file, rewritten, page);
            }
        } else if self.options.direction != Direction::LocalToS3 {
            page.file(&self.table.role, row.size.unwrap_or(0));
        }
        let digest = row.sha256.as_deref().and_then(|text| text.parse().ok());
        Blob {
            role: self.table.role.clone(),
            source: route.source.clone(),
            key: route.key.clone(),
            size: row.size.filter(|_| !rewritten),
            sha256: digest.filter(|_| !rewritten),
            required: true,
            attributes: self.attributes(keys::content_type(&route.key, row.mime.as_deref())),
        }
    }

    fn note_size(&self, row: &Row, file: &FoundFile, rewritten: bool, page: &mut Notes) {
        if rewritten {
            let (id, there, noted) = (self.id(row), file.size, row.size.unwrap_or(0));
            page.warn(format!(
                "{id} has {there} bytes and its row says {noted}; the application changes such files itself"
            ));
        } else {
            page.wrong_size += 1;
        }
    }

    fn derived_blob(
        &self,
        derived: &Derived,
        row: &Row,
        route: &Route,
        page: &mut Notes,
    ) -> Option<Blob> {
        let stored = keys::fill_key(&derived.object_key, &keys::values(row, "")).ok()?;
        let (source, key) = match self.options.direction {
            Direction::LocalToS3 => {
                let file = self.paths.find_derived(derived, row)?;
                page.file(&derived.role, file.size);
                (file.path.to_str()?.to_owned(), stored)
            }
            direction => {
                let bucket = self.options.objects.as_ref()?;
                page.file(&derived.role, bucket.size(&stored)?);
                match direction {
                    Direction::S3ToS3 => (stored.clone(), stored),
                    _ => (stored, self.derived_on_disk(derived, row, &route.new_path)?),
                }
            }
        };
        Some(Blob {
            role: derived.role.clone(),
            source,
            key,
            size: None,
            sha256: None,
            required: false,
            attributes: self.attributes(derived.content_type.clone()),
        })
    }

    fn derived_on_disk(&self, derived: &Derived, row: &Row, new_path: &str) -> Option<String> {
        let mut values = keys::values(row, "");
        values.path = new_path;
        let place = derived.paths.first()?.fill(&values);
        Some(place.trim_start_matches('/').to_owned())
    }

    fn attributes(&self, content_type: String) -> Attributes {
        Attributes {
            content_type: Some(content_type),
            storage_class: self.options.storage_class.clone(),
            ..Attributes::default()
        }
    }

    /// Refuses a path that somebody's `REPLACE` has made of a stored one.
    fn check_bent(&self, row: &Row) -> Result<(), Box<Exception>> {
        let Some(key) = crate::bent::key_of(&self.mapping, &self.table, &self.paths, row) else {
            return Ok(());
        };
        let message = format!(
            "its path is what a manual REPLACE made of {}",
            self.mapping.stored_path(&key)
        );
        let remedy = "Mend it by `migrate_to_s3 --rollback` with the state file of the run that had moved it.";
        Err(self.unmovable(row, ExceptionKind::Missing, message, remedy))
    }

    fn not_found(&self, row: &Row, found: &Found) -> Box<Exception> {
        let (kind, remedy) = match found {
            Found::Refused { .. } => (
                ExceptionKind::NotAFile,
                "Put the file itself there, or allow it by --follow-symlinks=all.",
            ),
            Found::Leaves { .. } => (
                ExceptionKind::Outside,
                "Correct the row's path; or name the directory that it means: --path-map FROM=TO.",
            ),
            Found::Dangling { .. } => (ExceptionKind::Missing, "Restore what it leads to."),
            Found::NotAFile { .. } => (ExceptionKind::NotAFile, "Put the file there."),
            Found::Denied { .. } => (
                ExceptionKind::Permission,
                "Give this user the right to read the upload path.",
            ),
            Found::File(_) | Found::Missing { .. } => (ExceptionKind::Missing, "Restore the file."),
        };
        let message = found.to_string();
        self.unmovable(row, kind, message, remedy)
    }

    fn unmovable(
        &self,
        row: &Row,
        kind: ExceptionKind,
        message: String,
        remedy: &'static str,
    ) -> Box<Exception> {
        let (item, role, source) = (self.id(row), self.table.role.as_str(), row.path.as_str());
        Box::new(
            Unmovable {
                item,
                role,
                source,
                kind,
                message,
                remedy,
            }
            .into(),
        )
    }
}

/// An item whose context may still grow.
struct Draft {
    item: Item,
    context: Context,
    new_path: String,
}

impl Draft {
    /// Writes the context into the item.
    fn seal(&mut self) {
        self.item.context = serde_json::json!({ "changes": self.context.changes });
    }
}

fn merge(notes: &Mutex<Notes>, page: Notes) {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.rows += page.rows;
    notes.items += page.items;
    notes.followers += page.followers;
    notes.legacy += page.legacy;
    page.outside
        .into_iter()
        .for_each(|path| notes.outside(path));
    notes.empty += page.empty;
    notes.missing += page.missing;
    notes.wrong_size += page.wrong_size;
    for (role, estimate) in page.files {
        let sum = notes.files.entry(role).or_default();
        sum.files += estimate.files;
        sum.bytes += estimate.bytes;
    }
    page.exceptions
        .into_iter()
        .for_each(|exception| notes.exception(exception));
    page.warnings
        .into_iter()
        .for_each(|warning| notes.warn(warning));
}
