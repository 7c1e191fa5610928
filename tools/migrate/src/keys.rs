//! The key of each file's object: the application's own, so that a retry meets the object that it has made before.
//!
//! What must hold: the same row gives the same key at every try; what does not fit into the column or into a bucket is
//! refused before anything is copied.
//!
//! It deliberately looks at no file and at no bucket.

use crate::db::Row;
use crate::mapping::{Mapping, Table};
use crate::template::{Template, Values};

/// The greatest length of an object's key in bytes, as S3 has it.
const KEY_BYTES_MAX: usize = 1024;

/// Why a row gets no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The path would not fit into the column.
    #[error(
        "the path would have {length} characters and {table}.{column} holds {limit}. Shorten the file's extension, or widen the column."
    )]
    TooLong {
        /// How long it would be, in characters.
        length: usize,
        /// What fits.
        limit: usize,
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The key would be longer than a bucket takes.
    #[error("the key would have {0} bytes and a bucket takes 1,024. Shorten the file's extension.")]
    TooManyBytes(usize),
    /// The key holds what no key may hold.
    #[error(
        "the key `{0}` holds control characters, empty parts or `..`. Rename the file in the application."
    )]
    BadCharacters(String),
}

/// What a template is filled in with for a row.
#[must_use]
pub fn values<'a>(row: &'a Row, upload: &'a str) -> Values<'a> {
    Values {
        id: &row.key,
        user: row.user.as_deref(),
        created: row.created,
        filename: row.filename.as_deref(),
        path: &row.path,
        rest: &row.path,
        upload,
    }
}

/// Makes the key of a row's object.
///
/// # Errors
/// If it would not fit.
pub fn object_key(mapping: &Mapping, table: &Table, row: &Row) -> Result<String, KeyError> {
    let key = fill_key(&table.object_key, &values(row, ""))?;
    check_length(mapping, table, &mapping.stored_path(&key))?;
    Ok(key)
}

/// Fills in the template of a key.
///
/// # Errors
/// If the key would not fit into a bucket.
pub fn fill_key(template: &Template, values: &Values<'_>) -> Result<String, KeyError> {
    let key = template.fill(values);
    let key = key
        .trim_start_matches("./")
        .trim_start_matches('/')
        .to_owned();
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if key.chars().any(char::is_control) || key.split('/').any(bad_part) {
        return Err(KeyError::BadCharacters(key.escape_default().to_string()));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooManyBytes(key.len()));
    }
    Ok(key)
}

/// Checks that a path fits into its column.
///
/// # Errors
/// If it does not.
pub fn check_length(mapping: &Mapping, table: &Table, path: &str) -> Result<(), KeyError> {
    let (length, limit) = (path.chars().count(), mapping.stored.max_length);
    if length <= limit {
        return Ok(());
    }
    Err(KeyError::TooLong {
        length,
        limit,
        table: table.table.clone(),
        column: table.path.clone(),
    })
}

/// Returns the media type of an object: by its extension as Readur has it, else what the row says.
#[must_use]
pub fn content_type(key: &str, row_says: Option<&str>) -> String {
    let by_extension = match crate::template::extension_of(key).to_lowercase().as_str() {
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "tif" | "tiff" => "image/tiff",
        "bmp" => "image/bmp",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "ppt" => "application/vnd.ms-powerpoint",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => row_says
            .filter(|mime| is_mime(mime))
            .unwrap_or("application/octet-stream"),
    };
    by_extension.to_owned()
}

/// Tells whether a text can be sent as a media type.
fn is_mime(text: &str) -> bool {
    text.contains('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests;
