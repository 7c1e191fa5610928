//! What an application's database and files look like, as data: Readur's is built in, others come from a TOML file.
//!
//! What must hold: a mapping that parses can be used: its templates name only what they may, and its identifiers can be
//! quoted. Nothing else in this crate names a table or a column.
//!
//! It deliberately has no SQL and no code of an application: an application that needs more than tables, keys, paths and
//! templates is not served by a mapping.

use crate::template::Template;
use serde::Deserialize;
use std::path::Path;

/// The mapping of Readur, as it is shown to people who write one of their own.
pub const READUR: &str = include_str!("../mappings/readur.toml");

/// Which tables hold which files, and how their paths become keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The application's name, for messages.
    pub name: String,
    /// The table whose rows are the documents.
    pub main: Table,
    /// Tables with files of their own. Where such a path is also one of the main table, the row follows the document.
    #[serde(default)]
    pub extra: Vec<Table>,
    /// Columns that only repeat a path of the main table: they follow it and never name a file of their own.
    #[serde(default)]
    pub copies: Vec<CopyColumn>,
    /// Columns that keep an old path on purpose. They are never changed; the audit knows that their files are spoken for.
    #[serde(default)]
    pub history: Vec<CopyColumn>,
    /// Files that no table names and that can be made again, such as thumbnails.
    #[serde(default)]
    pub derived: Vec<Derived>,
    /// What a path looks like once the file is in the bucket.
    pub stored: Stored,
    /// Whether paths start below the upload path, and not at the application's working directory.
    #[serde(default)]
    pub relative_paths: bool,
    /// Where to look for a local path, in this order, after the path itself.
    #[serde(default)]
    pub lookups: Vec<Lookup>,
    /// What people's own repairs have made of stored paths; the audit recognises and a rollback mends them.
    #[serde(default)]
    pub bent: Vec<Bent>,
    /// Files below the upload path that are the application's own business: glob-free prefixes, relative to it.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// One table whose rows name files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table's name, `schema.table` where it is not in the search path.
    pub table: String,
    /// The primary key's column: one column, of any type that has an order.
    pub key: String,
    /// The column with the path.
    pub path: String,
    /// The column with the owner, if there is one. It may be NULL.
    pub user: Option<String>,
    /// The column with the time the row was made: a timestamp, text in ISO 8601, or seconds or milliseconds since 1970.
    pub created: Option<String>,
    /// The column with the file's name, which lends its extension to the key.
    pub filename: Option<String>,
    /// The column with the file's length in bytes.
    pub size: Option<String>,
    /// The column with the SHA-256 in hexadecimal.
    pub sha256: Option<String>,
    /// The column with the media type.
    pub mime: Option<String>,
    /// What a file of this table is called in messages and in the journal: `document`, `processed-image`.
    pub role: String,
    /// The key of the object.
    pub object_key: Template,
    /// Where the application would put the file on disk, for the way back from the bucket.
    pub local_path: Template,
    /// Media types, or beginnings of them such as `image/`, whose bytes the application may change after it has noted
    /// length and digest. A difference is then a warning.
    #[serde(default)]
    pub rewritten: Vec<String>,
}

/// A column with paths in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyColumn {
    /// The table.
    pub table: String,
    /// The primary key's column.
    pub key: String,
    /// The column with the path.
    pub path: String,
}

/// Files that go with a document without being in the database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// What the file is called in messages: `thumbnail`.
    pub role: String,
    /// Where it may lie; the first that exists is taken.
    pub paths: Vec<Template>,
    /// The key of the object.
    pub object_key: Template,
    /// Its media type.
    pub content_type: String,
}

/// What the path column holds once the file is in the bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// What stands before the key, `s3://` in Readur. Empty where the application keeps the bare key and its settings say
    /// where to look: then no row tells by itself where its file is.
    pub prefix: String,
    /// The greatest length of a path in characters, prefix included.
    pub max_length: usize,
}

/// A second place to look for a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Only paths that start like this.
    #[serde(default)]
    pub prefix: String,
    /// Only paths that do not contain this.
    pub unless: Option<String>,
    /// The place: `{path}`, `{rest}` (the path without the prefix), `{name}` (its last part), `{upload}`.
    pub form: Template,
}

/// A prefix that somebody's `REPLACE(path, 's3://', …)` has put in place of the right one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bent {
    /// What stands in the row in place of the stored prefix; `{upload}/` may be used.
    pub prefix: Template,
}

/// Why a mapping is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The file could not be read.
    #[error("the mapping file {path} could not be read. Check the path given to --mapping.")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has other fields than a mapping has.
    #[error("{path} is not a mapping. Compare it with the examples in docs/migrate.md.")]
    Parse {
        /// The file, or `the built-in mapping`.
        path: String,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// It parses and contradicts itself.
    #[error("{path}: {problem}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong and what to do about it.
        problem: String,
    },
}

impl Mapping {
    /// Returns Readur's own mapping.
    #[must_use]
    pub fn readur() -> Mapping {
        Mapping::parse(READUR, "the built-in mapping").expect("the built-in mapping is tested")
    }

    /// Reads a mapping from a file.
    ///
    /// # Errors
    /// If it cannot be read, does not parse or contradicts itself.
    pub fn from_file(path: &Path) -> Result<Mapping, MappingError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| MappingError::Read {
            path: shown.clone(),
            source,
        })?;
        Mapping::parse(&text, &shown)
    }

    /// Reads a mapping from TOML. `origin` is what messages call it.
    ///
    /// # Errors
    /// If it does not parse or contradicts itself.
    pub fn parse(text: &str, origin: &str) -> Result<Mapping, MappingError> {
        let mapping: Mapping = toml::from_str(text).map_err(|source| MappingError::Parse {
            path: origin.to_owned(),
            source,
        })?;
        match mapping.problem() {
            Some(problem) => Err(MappingError::Wrong {
                path: origin.to_owned(),
                problem,
            }),
            None => Ok(mapping),
        }
    }

    /// Returns the main table and the extra ones, in the order in which they are migrated.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.main).chain(&self.extra)
    }

    /// Finds one of the [`tables`](Mapping::tables) by its name and path column.
    #[must_use]
    pub fn table(&self, table: &str, path: &str) -> Option<&Table> {
        self.tables()
            .find(|known| known.table == table && known.path == path)
    }

    /// Names a row of one of the [`tables`](Mapping::tables): `documents/KEY`, or `documents.path/KEY` for the second and
    /// further path columns of a table. Unique among all rows.
    #[must_use]
    pub fn row_name(&self, table: &Table, key: &str) -> String {
        let first = self.tables().find(|known| known.table == table.table);
        match first.is_none_or(|first| first.path == table.path) {
            true => format!("{}/{key}", table.table),
            false => format!("{}.{}/{key}", table.table, table.path),
        }
    }

    /// Returns every column that follows a document's path: those of extra tables and mere copies.
    #[must_use]
    pub fn followers(&self) -> Vec<CopyColumn> {
        let extra = self.extra.iter().map(Table::column);
        extra.chain(self.copies.iter().cloned()).collect()
    }

    /// Returns every column that holds paths of files, the main one first, history last.
    #[must_use]
    pub fn path_columns(&self) -> Vec<CopyColumn> {
        let mut all = vec![self.main.column()];
        all.extend(self.followers());
        all.extend(self.history.iter().cloned());
        all
    }

    /// Returns what the path column holds for an object of this key.
    #[must_use]
    pub fn stored_path(&self, key: &str) -> String {
        format!("{}{key}", self.stored.prefix)
    }

    /// Returns the key that a path names, or none if the file is local.
    #[must_use]
    pub fn key_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.stored.prefix.is_empty() {
            return None;
        }
        path.strip_prefix(&self.stored.prefix)
    }

    /// Tells whether rows show by themselves that their file is in the bucket.
    #[must_use]
    pub fn marks_stored(&self) -> bool {
        !self.stored.prefix.is_empty()
    }

    /// Returns the beginnings of all keys that this mapping makes, none within another, each ending in a slash. Empty: any.
    #[must_use]
    pub fn object_prefixes(&self) -> Vec<String> {
        let keys = self.tables().map(|table| &table.object_key);
        let keys = keys.chain(self.derived.iter().map(|derived| &derived.object_key));
        let mut heads: Vec<String> = keys
            .map(|key| match key.literal_head().rsplit_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => String::new(),
            })
            .collect();
        heads.sort();
        heads.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
        if heads.iter().any(String::is_empty) {
            Vec::new()
        } else {
            heads
        }
    }

    /// Says what is wrong with a mapping that parsed.
    fn problem(&self) -> Option<String> {
        for table in self.tables() {
            let names = [&table.table, &table.key, &table.path];
            if let Some(bad) = names.iter().find(|name| !is_identifier(name)) {
                return Some(format!(
                    "`{bad}` is not a name of a table or column. Write it without quotes, as `table` or `schema.table`."
                ));
            }
            if !["id", "path", "name"]
                .iter()
                .any(|name| table.object_key.mentions(name))
            {
                return Some(format!(
                    "the object_key of {} holds none of {{id}}, {{path}} and {{name}}, so two rows would share an object. Add one.",
                    table.table
                ));
            }
        }
        (self.stored.max_length == 0).then(|| {
            "stored.max_length is 0, so no path would fit. Set it to the column's length."
                .to_owned()
        })
    }
}

impl Table {
    /// Returns the table's path column.
    #[must_use]
    pub fn column(&self) -> CopyColumn {
        CopyColumn {
            table: self.table.clone(),
            key: self.key.clone(),
            path: self.path.clone(),
        }
    }

    /// Tells whether the application may have changed a file of this media type after it noted length and digest.
    #[must_use]
    pub fn is_rewritten(&self, mime: Option<&str>) -> bool {
        mime.is_some_and(|mime| {
            let mime = mime.to_ascii_lowercase();
            self.rewritten.iter().any(|kind| mime.starts_with(kind))
        })
    }
}

impl CopyColumn {
    /// Returns a table of which only key and path are read; what it lacks is the main table's.
    #[must_use]
    pub fn as_table(&self, main: &Table) -> Table {
        Table {
            table: self.table.clone(),
            key: self.key.clone(),
            path: self.path.clone(),
            role: "copy".to_owned(),
            user: None,
            created: None,
            filename: None,
            size: None,
            sha256: None,
            mime: None,
            rewritten: Vec::new(),
            ..main.clone()
        }
    }
}

/// Tells whether a name can be quoted: no quotes, no control characters, at most one dot between two names.
fn is_identifier(name: &str) -> bool {
    let good =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c == '"' || c.is_control());
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() <= 2 && parts.into_iter().all(good)
}

#[cfg(test)]
mod tests;
