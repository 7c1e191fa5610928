//! The files below the upload path that no row names, or none any more since they were migrated.
//!
//! What must hold: every folder is walked, however deep; no link is followed, so that nothing is walked twice.
//!
//! It deliberately leaves the application's scratch folders out, as the mapping lists them.

use super::report::{Finding, FindingKind};
use super::{AuditError, Seen, blocking};
use crate::mapping::Mapping;
use crate::resolve::Paths;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transfer::{Digest, KeySet};

/// Walks the upload path.
pub(super) async fn look_at_disk(
    mapping: &Arc<Mapping>,
    paths: &Arc<Paths>,
    hash: bool,
    seen: Seen,
) -> Result<Seen, AuditError> {
    let (mapping, paths) = (Arc::clone(mapping), Arc::clone(paths));
    blocking(move || {
        let mut seen = seen;
        let root = paths.upload_here();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for (path, bytes) in walk(&folder, &root, &mapping, &mut folders, &mut seen) {
                look_at_file(&path, bytes, hash, &mut seen);
            }
        }
        seen
    })
    .await
}

/// Reads a folder, and returns its files and their lengths.
fn walk(
    folder: &Path,
    root: &Path,
    mapping: &Mapping,
    folders: &mut Vec<PathBuf>,
    seen: &mut Seen,
) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            seen.report
                .add(finding(folder, FindingKind::Unreadable, error.to_string()));
            return files;
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
            // A link is as long as the file that it leads to: that is what was, or will be, migrated.
            let led_to = fs::metadata(&path).ok().filter(Metadata::is_file);
            files.push((path, led_to.unwrap_or(metadata).len()));
        }
    }
    files
}

fn look_at_file(path: &Path, bytes: u64, hash: bool, seen: &mut Seen) {
    seen.report.files += 1;
    seen.report.file_bytes += bytes;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let settled = seen.settled.place(path);
    let names = [path, real.as_path(), settled.as_path()];
    let is_in = |set: &KeySet| {
        names
            .iter()
            .any(|path| set.contains(&path.to_string_lossy()))
    };
    if is_in(&seen.files) {
        return;
    }
    let copied = names
        .iter()
        .find_map(|path| seen.copied.get(&path.to_string_lossy()));
    let link = fs::read_link(path).ok();
    let through = link.as_ref().map_or(String::new(), |target| {
        format!("it is a link to {}; ", target.display())
    });
    let found = match copied {
        Some(was) if let Some(how) = differs(path, bytes, was, hash) => {
            let detail = format!("{through}{how}");
            finding(path, FindingKind::MigratedSourceDiffers, detail)
        }
        known if is_in(&seen.only_copies) && (known.is_some() || is_in(&seen.migrated)) => {
            let detail = format!(
                "{through}the row names an object that is not in the bucket: of the document there is this file; it has {bytes} bytes"
            );
            finding(path, FindingKind::OnlyCopy, detail)
        }
        known if link.is_some() && (known.is_some() || is_in(&seen.migrated)) => {
            let detail = format!(
                "{through}its {bytes} bytes are in the bucket now, and the link stays with --delete-source"
            );
            finding(path, FindingKind::MigratedLink, detail)
        }
        known if known.is_some() || is_in(&seen.migrated) => {
            let detail = format!(
                "it is in the bucket now, and waits for --delete-source; it has {bytes} bytes"
            );
            finding(path, FindingKind::MigratedSource, detail)
        }
        _ => {
            let detail = format!("{through}no row names it; it has {bytes} bytes");
            finding(path, FindingKind::FileWithoutRow, detail)
        }
    };
    seen.report.add(found);
}

/// Says how a file differs from what was migrated.
fn differs(path: &Path, bytes: u64, (size, sha256): (u64, Digest), hash: bool) -> Option<String> {
    if bytes != size {
        return Some(format!("it has {bytes} bytes and had {size}"));
    }
    if !hash {
        return None;
    }
    match super::rows::sha256(path) {
        Ok(now) if now == sha256 => None,
        Ok(now) => Some(format!("its SHA-256 is {now} and was {sha256}")),
        Err(error) => Some(error.to_string()),
    }
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
