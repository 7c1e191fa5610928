//! Documents that are in the bucket already, many of them and fast: for measuring a run that finds nothing to do.
//!
//! What must hold: every row has its object, under the key its path names.

use super::rows::insert_users;
use super::words;
use crate::Rng;
use crate::postgres::Database;
use std::fmt::Write;

/// Inserts this many rows whose files are in the bucket, and calls `put` with key and bytes of a short object for each. The rows are the
/// only ones of the database.
///
/// # Panics
/// If a row is refused.
pub fn already_moved(
    database: &Database,
    documents: usize,
    seed: u64,
    mut put: impl FnMut(&str, &[u8]),
) {
    let mut rng = Rng::new(seed);
    let user = words::uuid(&mut rng);
    insert_users(database, std::slice::from_ref(&user));
    let columns = "documents (id, filename, original_filename, file_path, file_size, mime_type, ocr_status, created_at, updated_at, user_id)";
    let mut rows = String::new();
    for number in 0..documents {
        let id = words::uuid(&mut rng);
        let second = words::moment(&mut rng);
        let folder = format!("documents/{user}/{}", words::year_month(second));
        let time = words::timestamp(second);
        let name = format!("{number}.txt");
        writeln!(
            rows,
            "{id}\t{name}\t{name}\ts3://{folder}/{id}.txt\t{}\ttext/plain\tpending\t{time}\t{time}\t{user}",
            name.len()
        )
        .expect("a string takes everything");
        put(&format!("{folder}/{id}.txt"), name.as_bytes());
    }
    database.copy(columns, &rows);
}
