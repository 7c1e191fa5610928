//! Stored paths that somebody has bent by hand: `UPDATE … SET file_path = REPLACE(file_path, 's3://', '/app/uploads/')`,
//! as a troubleshooting guide has it, leaves rows that point to files which never were there.
//!
//! What must hold: a row that can mean an object, in whatever way it spells that, counts as one that names it; but only a path whose rest is the
//! key of that very row counts as bent and is mended, so a real local path never is.
//!
//! It deliberately mends nothing: a rollback does, from the journal.

use crate::db::Row;
use crate::keys;
use crate::mapping::{Mapping, Table};
use crate::resolve::Paths;
use crate::template::Values;

/// Returns the key of the object that a bent path once named.
#[must_use]
pub fn key_of(mapping: &Mapping, table: &Table, paths: &Paths, row: &Row) -> Option<String> {
    let head = table.object_key.literal_head();
    prefixes(mapping, paths).into_iter().find_map(|prefix| {
        let key = row.path.strip_prefix(&prefix)?;
        let is_ours = keys::object_key(mapping, table, row).is_ok_and(|ours| ours == key);
        // Other tools put the month of the move into the key, so the row's own month may differ.
        let is_like = !head.is_empty()
            && key.starts_with(head)
            && key.matches('/').count() >= 3
            && crate::template::stem_of(key) == row.key;
        (is_ours || is_like).then(|| key.to_owned())
    })
}

/// Returns what a stored path looks like when it has been bent in a way that is known.
#[must_use]
pub fn forms(mapping: &Mapping, paths: &Paths, stored: &str) -> Vec<String> {
    let Some(key) = mapping.key_of(stored) else {
        return Vec::new();
    };
    prefixes(mapping, paths)
        .into_iter()
        .map(|prefix| format!("{prefix}{key}"))
        .collect()
}

/// Tells whether a path ends with the key of a stored one, whatever somebody has put in the place of what stood before it.
#[must_use]
pub fn names(mapping: &Mapping, path: &str, stored: &str) -> bool {
    let before = |key| path.strip_suffix(key);
    let before = mapping.key_of(stored).and_then(before);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// Returns what may stand in the place of the stored prefix, none twice.
#[must_use]
pub fn prefixes(mapping: &Mapping, paths: &Paths) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let spellings = paths.upload_spellings();
    for bent in &mapping.bent {
        for upload in &spellings {
            let values = Values {
                upload,
                ..Values::default()
            };
            let prefix = bent.prefix.fill(&values);
            if !found.contains(&prefix) {
                found.push(prefix);
            }
        }
    }
    found
}
