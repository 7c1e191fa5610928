//! The files below the upload path that no row names, or none any more since they were migrated.
//!
//! What must hold: every folder is walked, however deep; no link is followed, so that nothing is walked twice.
//!
//! It deliberately leaves the application's scratch folders out, as the mapping lists them.

use super::report::{Finding, FindingKind};
use super::{AuditError, Seen, blocking};
use crate::mapping::Mapping;
use crate::resolve::Paths;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transfer::KeySet;

/// Walks the upload path.
pub(super) async fn look_at_disk(
    mapping: &Arc<Mapping>,
    paths: &Arc<Paths>,
    seen: Seen,
) -> Result<Seen, AuditError> {
    let (mapping, paths) = (Arc::clone(mapping), Arc::clone(paths));
    blocking(move || {
        let mut seen = seen;
        let root = paths.upload_here();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            walk(&folder, &root, &mapping, &mut folders, &mut seen);
        }
        seen
    })
    .await
}

fn walk(
    folder: &Path,
    root: &Path,
    mapping: &Mapping,
    folders: &mut Vec<PathBuf>,
    seen: &mut Seen,
) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            seen.report
                .add(finding(folder, FindingKind::Unreadable, error.to_string()));
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            // It went while we were looking.
            continue;
        };
        if is_ignored(&path, root, mapping) {
            continue;
        }
        if metadata.is_dir() {
            folders.push(path);
        } else {
            look_at_file(&path, metadata.len(), seen);
        }
    }
}

fn look_at_file(path: &Path, bytes: u64, seen: &mut Seen) {
    seen.report.files += 1;
    seen.report.file_bytes += bytes;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_in = |set: &KeySet| {
        [path, real.as_path()]
            .iter()
            .any(|path| set.contains(&path.to_string_lossy()))
    };
    if is_in(&seen.files) {
        return;
    }
    let found = match is_in(&seen.migrated) {
        true => {
            let detail = format!(
                "it is in the bucket now, and waits for --delete-source; it has {bytes} bytes"
            );
            finding(path, FindingKind::MigratedSource, detail)
        }
        false => {
            let detail = format!("no row names it; it has {bytes} bytes");
            finding(path, FindingKind::FileWithoutRow, detail)
        }
    };
    seen.report.add(found);
}

fn is_ignored(path: &Path, root: &Path, mapping: &Mapping) -> bool {
    path.strip_prefix(root).is_ok_and(|below| {
        mapping
            .ignored
            .iter()
            .any(|ignored| below.starts_with(ignored.trim_end_matches('/')))
    })
}

fn finding(path: &Path, kind: FindingKind, detail: String) -> Finding {
    Finding {
        kind,
        severity: kind.severity(),
        column: String::new(),
        row: String::new(),
        path: path.display().to_string(),
        detail,
        remedy: kind.remedy().to_owned(),
    }
}
