//! Stored paths that somebody has bent by hand: `UPDATE … SET file_path = REPLACE(file_path, 's3://', '/app/uploads/')`,
//! as a troubleshooting guide has it, leaves rows that point to files which never were there.
//!
//! What must hold: only a path whose rest is the key that the application gives this very row counts as bent, so a real local
//! path never does.
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

/// Returns what a stored path looks like when it has been bent.
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

fn prefixes(mapping: &Mapping, paths: &Paths) -> Vec<String> {
    let values = Values {
        upload: paths.upload(),
        ..Values::default()
    };
    mapping
        .bent
        .iter()
        .map(|bent| bent.prefix.fill(&values))
        .collect()
}
