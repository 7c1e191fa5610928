//! One row: is its file, or its object, there and as it says?
//!
//! What must hold: a row gets at most one finding of an error, the first that explains the others.
//!
//! It deliberately opens a file only where its digest is asked for.

use super::Seen;
use super::report::{Finding, FindingKind};
use crate::bent;
use crate::db::Row;
use crate::keys;
use crate::listing::Listing;
use crate::mapping::{Mapping, Table};
use crate::resolve::{Found, FoundFile, Paths};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use transfer::Digest;

/// Files are read in pieces of so many bytes.
const PIECE: usize = 256 * 1024;

/// Looks at the rows of one table.
pub(super) struct Clerk {
    pub(super) mapping: Arc<Mapping>,
    pub(super) paths: Arc<Paths>,
    pub(super) listing: Option<Arc<Listing>>,
    pub(super) table: Table,
    pub(super) is_copy: bool,
    pub(super) hash: bool,
}

impl Clerk {
    /// Tells whether these are the documents.
    pub(super) fn is_main(&self) -> bool {
        !self.is_copy && self.table.column() == self.mapping.main.column()
    }

    /// Looks at a row and notes what it speaks for.
    pub(super) fn look_at(&self, row: &Row, seen: &mut Seen) {
        if !self.is_copy {
            seen.report.rows += 1;
        }
        let finding = if row.path.is_empty() {
            Some((FindingKind::EmptyPath, "the row names no file".to_owned()))
        } else {
            match self.mapping.key_of(&row.path) {
                Some(key) => self.stored(row, key, seen),
                None => self.local(row, seen),
            }
        };
        match finding {
            Some((kind, detail)) => seen.report.add(self.finding(row, kind, detail)),
            None if !self.is_copy => seen.report.sound += 1,
            None => {}
        }
    }

    fn finding(&self, row: &Row, kind: FindingKind, detail: String) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            column: format!("{}.{}", self.table.table, self.table.path),
            row: row.key.clone(),
            path: row.path.clone(),
            detail,
            remedy: kind.remedy().to_owned(),
        }
    }

    /// A row whose path names an object.
    fn stored(&self, row: &Row, key: &str, seen: &mut Seen) -> Option<(FindingKind, String)> {
        self.claim_object(key, seen);
        self.claim_derived(row, seen);
        // The file that a migration has left on disk on purpose.
        let place = self
            .table
            .local_path
            .fill(&keys::values(row, self.paths.upload()));
        let place = seen.settled.place(&self.paths.here(&place));
        let place = place.to_string_lossy();
        seen.migrated.insert(&place);
        if self
            .listing
            .as_ref()
            .is_some_and(|listing| listing.size(key).is_none())
        {
            seen.only_copies.insert(&place);
        }
        let noted = row.sha256.as_deref().and_then(|text| text.parse().ok());
        if let (Some(size), Some(sha256)) = (row.size, noted)
            && !self.table.is_rewritten(row.mime.as_deref())
        {
            seen.copied.add(&place, size, sha256);
        }
        let listing = self.listing.as_ref()?;
        let Some(size) = listing.size(key) else {
            return Some((
                FindingKind::RowWithoutObject,
                self.why_no_object(key, listing),
            ));
        };
        self.compare_size(row, size, "the object")
    }

    fn why_no_object(&self, key: &str, listing: &Listing) -> String {
        match key.split_once('/') {
            Some((first, rest)) if listing.size(rest).is_some() => format!(
                "there is {rest}: the path names the bucket `{first}` as well, which the application takes for a part of the key"
            ),
            _ => format!("the bucket has no {key}"),
        }
    }

    /// A row whose path is a local one.
    fn local(&self, row: &Row, seen: &mut Seen) -> Option<(FindingKind, String)> {
        self.claim_derived(row, seen);
        // Where paths do not say where the file is, a row names file and object alike.
        if !self.mapping.marks_stored()
            && let Ok(key) = keys::object_key(&self.mapping, &self.table, row)
        {
            self.claim_object(&key, seen);
        }
        let found = self.paths.find(&self.mapping, row);
        let bent = self.bent(row, &found, seen);
        let file = match found {
            Found::File(file) => file,
            other => return Some(bent.unwrap_or_else(|| self.not_found(&other, seen))),
        };
        let is_new = seen.files.insert(&file.path.to_string_lossy());
        if let Ok(real) = file.path.canonicalize() {
            seen.files.insert(&real.to_string_lossy());
        }
        if self.is_copy {
            return None;
        }
        bent.or_else(|| self.compare_size(row, file.size, "the file"))
            .or_else(|| self.compare_digest(row, &file.path))
            .or_else(|| self.key_problem(row))
            .or_else(|| self.oddity(row, &file, is_new, seen))
    }

    /// A path that somebody's `REPLACE` has made. The application would not find a file that lies elsewhere under its name.
    fn bent(&self, row: &Row, found: &Found, seen: &mut Seen) -> Option<(FindingKind, String)> {
        if matches!(found, Found::File(file) if !file.is_legacy) {
            return None;
        }
        let key = bent::key_of(&self.mapping, &self.table, &self.paths, row)?;
        self.claim_object(&key, seen);
        let there = match self
            .listing
            .as_ref()
            .map(|listing| listing.size(&key).is_some())
        {
            Some(true) => "which is in the bucket",
            Some(false) => "which is not in the bucket",
            None => "the bucket was not looked at",
        };
        let stored = self.mapping.stored_path(&key);
        Some((
            FindingKind::BentPath,
            format!("a manual REPLACE made it of {stored}, {there}"),
        ))
    }

    fn not_found(&self, found: &Found, seen: &mut Seen) -> (FindingKind, String) {
        match found {
            Found::File(_) | Found::Missing { .. } | Found::Leaves { .. } => {}
            Found::Refused { path, .. }
            | Found::Dangling { path, .. }
            | Found::NotAFile { path, .. }
            | Found::Denied { path, .. } => {
                seen.files.insert(&path.to_string_lossy());
            }
        }
        let kind = match found {
            _ if self.is_copy => FindingKind::StaleCopy,
            Found::Refused { .. } | Found::Dangling { .. } => FindingKind::Symlink,
            Found::NotAFile { .. } => FindingKind::NotAFile,
            Found::Leaves { .. } => FindingKind::OutsidePath,
            Found::Denied { .. } => FindingKind::Unreadable,
            Found::File(_) | Found::Missing { .. } => FindingKind::RowWithoutFile,
        };
        (kind, found.to_string())
    }

    fn compare_size(&self, row: &Row, size: u64, what: &str) -> Option<(FindingKind, String)> {
        let noted = row.size.filter(|noted| *noted != size)?;
        (!self.table.is_rewritten(row.mime.as_deref())).then(|| {
            let detail = format!("{what} has {size} bytes and the row says {noted}");
            (FindingKind::SizeDiffers, detail)
        })
    }

    fn compare_digest(&self, row: &Row, path: &Path) -> Option<(FindingKind, String)> {
        let noted = row
            .sha256
            .as_deref()
            .filter(|noted| self.hash && !noted.is_empty())?;
        if self.table.is_rewritten(row.mime.as_deref()) {
            return None;
        }
        match sha256(path) {
            Ok(digest) if digest.to_string() == noted => None,
            Ok(digest) => Some((
                FindingKind::HashDiffers,
                format!("its SHA-256 is {digest} and the row says {noted}"),
            )),
            Err(error) => Some((FindingKind::Unreadable, error.to_string())),
        }
    }

    fn key_problem(&self, row: &Row) -> Option<(FindingKind, String)> {
        let error = keys::object_key(&self.mapping, &self.table, row).err()?;
        Some((FindingKind::KeyTooLong, error.to_string()))
    }

    /// What is odd about a sound row: it counts as sound all the same.
    fn oddity(
        &self,
        row: &Row,
        file: &FoundFile,
        is_new: bool,
        seen: &mut Seen,
    ) -> Option<(FindingKind, String)> {
        if file.is_legacy {
            let detail = format!("it is at {}", file.path.display());
            seen.report
                .add(self.finding(row, FindingKind::LegacyPath, detail));
        }
        if !is_new {
            let detail = format!("another row names {} too", file.path.display());
            seen.report
                .add(self.finding(row, FindingKind::SharedFile, detail));
        }
        None
    }

    fn claim_object(&self, key: &str, seen: &mut Seen) {
        if let Some(place) = self.listing.as_ref().and_then(|listing| listing.place(key))
            && let Some(claimed) = seen.objects.get_mut(place)
        {
            *claimed = true;
        }
    }

    /// Speaks for the thumbnails of a document, on disk and in the bucket.
    fn claim_derived(&self, row: &Row, seen: &mut Seen) {
        if !self.is_main() {
            return;
        }
        let values = keys::values(row, self.paths.upload());
        for derived in &self.mapping.derived {
            for place in &derived.paths {
                let place = self.paths.here(&place.fill(&values));
                seen.files.insert(&place.to_string_lossy());
            }
            if let Ok(key) = keys::fill_key(&derived.object_key, &values) {
                self.claim_object(&key, seen);
            }
        }
    }
}

/// Reads a file and returns its SHA-256.
pub(super) fn sha256(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    let mut digest = Digest([0; 32]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            digest.0.copy_from_slice(context.finish().as_ref());
            return Ok(digest);
        }
        context.update(&piece[..length]);
    }
}
