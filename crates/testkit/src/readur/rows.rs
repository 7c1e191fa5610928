//! The rows of a fleet, and how they get into the database.
//!
//! What must hold: all times are the fleet's, never the clock's, so that tables of two fleets with one seed are equal.

use super::words::{NOW_SECOND, sha256, timestamp};
use crate::postgres::{Database, copy_field};
use std::path::PathBuf;

/// Stands for the user of a document that has none.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A row of `documents`, and where its bytes lie.
#[derive(Clone, Debug)]
pub struct Document {
    /// `id`.
    pub id: String,
    /// `user_id`.
    pub user: Option<String>,
    /// `filename` and `original_filename`.
    pub filename: String,
    /// `file_path`, as the row has it.
    pub path: String,
    /// Where the bytes are on this machine; there need be none.
    pub file: PathBuf,
    /// `file_size`.
    pub size: u64,
    /// `file_hash`: SHA-256 in hexadecimal.
    pub hash: Option<String>,
    /// `mime_type`.
    pub mime: String,
    /// `created_at`, in seconds since 1970.
    pub created: i64,
    /// `ocr_text`; without it the document waits for its text.
    pub text: Option<String>,
    /// Its thumbnail on this machine, if it has one.
    pub thumbnail: Option<PathBuf>,
}

impl Document {
    /// The key at which Readur would store it, had it been uploaded when it was made:
    /// `documents/{user}/{year}/{month}/{id}[.{extension}]`, with the nil UUID where there is no user.
    pub fn key(&self) -> String {
        let user = self.user.as_deref().unwrap_or(NOBODY);
        let month = super::words::year_month(self.created);
        let dot = match self.filename.rsplit_once('.') {
            Some((_, extension)) => format!(".{extension}"),
            None => String::new(),
        };
        format!("documents/{user}/{month}/{}{dot}", self.id)
    }
}

/// A row of `failed_documents`.
#[derive(Clone, Debug)]
pub struct FailedDocument {
    /// `id`, its own.
    pub id: String,
    /// `user_id`.
    pub user: Option<String>,
    /// `filename`.
    pub filename: String,
    /// `file_path`: a copy of the document's, the only reference to the file, or nothing.
    pub path: Option<String>,
    /// Where the bytes are on this machine.
    pub file: PathBuf,
    /// `file_size`.
    pub size: u64,
    /// `file_hash`.
    pub hash: Option<String>,
    /// `mime_type`.
    pub mime: String,
    /// `existing_document_id`.
    pub document: Option<String>,
    /// `created_at`, in seconds since 1970.
    pub created: i64,
}

/// A row of `processed_images`.
#[derive(Clone, Debug)]
pub struct ProcessedImage {
    /// `id`, its own.
    pub id: String,
    /// `document_id`.
    pub document: String,
    /// `user_id`.
    pub user: String,
    /// `original_image_path`: a copy of the document's path.
    pub original: String,
    /// `processed_image_path`, as the row has it.
    pub path: String,
    /// Where the bytes are on this machine.
    pub file: PathBuf,
    /// `file_size`.
    pub size: u64,
    /// `created_at`, in seconds since 1970.
    pub created: i64,
}

/// Makes users; returns their ids in order.
pub(crate) fn insert_users(database: &Database, ids: &[String]) {
    let columns = "users (id, username, email, password_hash, role, created_at, updated_at)";
    let first = timestamp(super::words::FIRST_SECOND);
    let rows = ids.iter().enumerate().map(|(number, id)| {
        let role = if number == 0 { "admin" } else { "user" };
        format!("{id}\tuser{number}\tuser{number}@example.org\t!\t{role}\t{first}\t{first}\n")
    });
    database.copy(columns, &rows.collect::<String>());
}

/// Inserts documents.
pub(crate) fn insert_documents<'a>(
    database: &Database,
    documents: impl IntoIterator<Item = &'a Document>,
) {
    let columns = "documents (id, filename, original_filename, file_path, file_size, mime_type, ocr_text, ocr_confidence, \
                   ocr_word_count, ocr_status, tags, created_at, updated_at, user_id, file_hash)";
    let rows = documents.into_iter().map(document_row);
    database.copy(columns, &rows.collect::<String>());
}

fn document_row(document: &Document) -> String {
    let words = document
        .text
        .as_ref()
        .map(|text| text.split(' ').count().to_string());
    let status = if document.text.is_some() {
        "completed"
    } else {
        "pending"
    };
    let fields = [
        Some(document.id.as_str()),
        Some(&document.filename),
        Some(&document.filename),
        Some(&document.path),
        Some(&document.size.to_string()),
        Some(&document.mime),
        document.text.as_deref(),
        document.text.as_ref().map(|_| "91.5"),
        words.as_deref(),
        Some(status),
        Some("{archive}"),
        Some(&timestamp(document.created)),
        // A migration must leave it alone, and a difference from the time of making shows when it does not.
        Some(&timestamp(document.created + 3600)),
        document.user.as_deref(),
        document.hash.as_deref(),
    ];
    line(&fields)
}

/// Inserts failed documents.
pub(crate) fn insert_failed<'a>(
    database: &Database,
    failed: impl IntoIterator<Item = &'a FailedDocument>,
) {
    let columns = "failed_documents (id, user_id, filename, original_filename, original_path, file_path, file_size, file_hash, mime_type, \
                   failure_reason, failure_stage, existing_document_id, ingestion_source, created_at, updated_at)";
    let rows = failed.into_iter().map(|row| {
        let time = timestamp(row.created);
        line(&[
            Some(row.id.as_str()),
            row.user.as_deref(),
            Some(&row.filename),
            Some(&row.filename),
            row.path.as_deref(),
            row.path.as_deref(),
            Some(&row.size.to_string()),
            row.hash.as_deref(),
            Some(&row.mime),
            Some("low_ocr_confidence"),
            Some("ocr"),
            row.document.as_deref(),
            Some("upload"),
            Some(&time),
            Some(&time),
        ])
    });
    database.copy(columns, &rows.collect::<String>());
}

/// Inserts processed images.
pub(crate) fn insert_images<'a>(
    database: &Database,
    images: impl IntoIterator<Item = &'a ProcessedImage>,
) {
    let columns = "processed_images (id, document_id, user_id, original_image_path, processed_image_path, processing_steps, \
                   image_width, image_height, file_size, created_at)";
    let rows = images.into_iter().map(|row| {
        line(&[
            Some(row.id.as_str()),
            Some(&row.document),
            Some(&row.user),
            Some(&row.original),
            Some(&row.path),
            Some("{deskew,contrast}"),
            Some("1240"),
            Some("1754"),
            Some(&row.size.to_string()),
            Some(&timestamp(row.created)),
        ])
    });
    database.copy(columns, &rows.collect::<String>());
}

/// Notes a document that was deleted: its path is history and nobody's business.
pub(crate) fn insert_ignored(database: &Database, id: &str, path: &str, user: &str) {
    let columns = "ignored_files (id, file_hash, filename, original_filename, file_path, file_size, mime_type, ignored_at, ignored_by, created_at)";
    let now = timestamp(NOW_SECOND);
    let hash = sha256(path.as_bytes());
    let row = [
        id,
        &hash,
        "gone.pdf",
        "gone.pdf",
        path,
        "1234",
        "application/pdf",
        &now,
        user,
        &now,
    ];
    database.copy(columns, &line(&row.map(Some)));
}

/// A line for COPY.
fn line(fields: &[Option<&str>]) -> String {
    let mut line = fields
        .iter()
        .map(|field| copy_field(*field))
        .collect::<Vec<_>>()
        .join("\t");
    line.push('\n');
    line
}
