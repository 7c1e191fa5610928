//! A sample document store: files on disk, and the tables that an application like Readur keeps about them, in SQLite.
//!
//! What must hold: the same number of documents gives the same bytes, so that two tries can be compared; among them are the
//! cases that real stores have: no extension, blanks and other scripts in names, a file two rows share, thumbnails, processed
//! images, a document whose text recognition failed.
//!
//! What it deliberately does not do: anything wrong. What is broken in real stores is in the tests.

use std::fs;
use std::path::{Path, PathBuf};

use console::{Exit, Failure, FailureExt};
use rusqlite::{Connection, params};
use transfer::Digest;

/// The tables with the columns that a migration looks at, and one that it must leave alone.
const TABLES: &str = "
    CREATE TABLE documents (id TEXT PRIMARY KEY, filename TEXT NOT NULL, original_filename TEXT NOT NULL,
        file_path TEXT NOT NULL, file_size INTEGER NOT NULL, mime_type TEXT NOT NULL, file_hash TEXT, user_id TEXT,
        created_at TEXT, updated_at TEXT);
    CREATE TABLE failed_documents (id TEXT PRIMARY KEY, user_id TEXT, filename TEXT NOT NULL, file_path TEXT,
        original_path TEXT, file_size INTEGER, file_hash TEXT, mime_type TEXT, created_at TEXT, updated_at TEXT);
    CREATE TABLE processed_images (id TEXT PRIMARY KEY, document_id TEXT NOT NULL, user_id TEXT NOT NULL,
        original_image_path TEXT NOT NULL, processed_image_path TEXT NOT NULL, created_at TEXT);
    CREATE TABLE ignored_files (id TEXT PRIMARY KEY, file_path TEXT NOT NULL);";

/// File names with what makes names hard.
const NAMES: [&str; 8] = [
    "invoice.pdf",
    "Rechnung März.pdf",
    "contract (signed).PDF",
    "scan 0001.jpg",
    "notes",
    "it's \"final\".docx",
    "レシート.png",
    "archive.tar.gz",
];

/// The length as SQLite takes it.
fn size_of(content: &[u8]) -> i64 {
    i64::try_from(content.len()).unwrap_or(i64::MAX)
}

/// Where the sample is.
pub struct Sample {
    /// The database file.
    pub database: PathBuf,
    /// The directory of the files.
    pub uploads: PathBuf,
    /// How many files were made.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    random: u64,
}

/// Makes a sample below a directory.
///
/// # Errors
/// If the disk is full or the directory cannot be written.
pub fn make(below: &Path, documents: u32) -> Result<Sample, Failure> {
    let mut sample = Sample {
        database: below.join("readur.db"),
        uploads: below.join("uploads"),
        files: 0,
        bytes: 0,
        random: 1,
    };
    for kind in ["documents", "thumbnails", "processed_images"] {
        let path = sample.uploads.join(kind);
        fs::create_dir_all(&path).map_err(|error| Failure::io("make", &path, &error))?;
    }
    let mut connection = Connection::open(&sample.database).or_fail(Exit::Failed, SQL)?;
    let transaction = connection.transaction().or_fail(Exit::Failed, SQL)?;
    transaction
        .execute_batch(TABLES)
        .or_fail(Exit::Failed, SQL)?;
    for number in 0..documents {
        sample.document(&transaction, number)?;
    }
    transaction.commit().or_fail(Exit::Failed, SQL)?;
    Ok(sample)
}

const SQL: &str = "the sample database could not be made";

impl Sample {
    fn document(&mut self, sql: &Connection, number: u32) -> Result<(), Failure> {
        let id = self.uuid();
        let user = format!("00000000-0000-4000-8000-{:012}", number % 3 + 1);
        let name = NAMES[number as usize % NAMES.len()];
        let extension = name
            .rsplit_once('.')
            .map_or(String::new(), |(_, ext)| format!(".{ext}"));
        let path = self
            .uploads
            .join("documents")
            .join(format!("{id}{extension}"));
        let length = 1_000 + self.next() % 60_000;
        let content = self.content(length);
        self.write(&path, &content)?;
        let created = format!(
            "2024-{:02}-{:02}T10:00:00Z",
            number % 12 + 1,
            number % 28 + 1
        );
        let hash = Digest::of(&content).to_string();
        let stored = path.display().to_string();
        sql.execute(
            "INSERT INTO documents VALUES (?1, ?2, ?2, ?3, ?4, 'application/octet-stream', ?5, ?6, ?7, ?7)",
            params![id, name, stored, size_of(&content), hash, user, created],
        )
        .or_fail(Exit::Failed, SQL)?;
        self.companions(sql, number, &id, &user, &stored, &created)
    }

    /// Thumbnails, processed images and rows of failed documents, for some.
    fn companions(
        &mut self,
        sql: &Connection,
        number: u32,
        id: &str,
        user: &str,
        stored: &str,
        created: &str,
    ) -> Result<(), Failure> {
        if number.is_multiple_of(3) {
            let content = self.content(900);
            let path = self
                .uploads
                .join("thumbnails")
                .join(format!("{id}_thumb.jpg"));
            self.write(&path, &content)?;
        }
        if number.is_multiple_of(10) {
            let content = self.content(5_000);
            let name = format!("{id}_processed_{}.png", 1_700_000_000 + number);
            let path = self.uploads.join("processed_images").join(name);
            self.write(&path, &content)?;
            sql.execute(
                "INSERT INTO processed_images VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    self.uuid(),
                    id,
                    user,
                    stored,
                    path.display().to_string(),
                    created
                ],
            )
            .or_fail(Exit::Failed, SQL)?;
        }
        if number % 25 == 1 {
            // Half of them only repeat a document's path; the others are all that still names their file.
            let path = if number.is_multiple_of(2) {
                self.orphan()?
            } else {
                stored.to_owned()
            };
            sql.execute(
                "INSERT INTO failed_documents VALUES (?1, ?2, 'failed.pdf', ?3, NULL, NULL, NULL, 'application/pdf', ?4, ?4)",
                params![self.uuid(), user, path, created],
            )
            .or_fail(Exit::Failed, SQL)?;
        }
        Ok(())
    }

    /// A file that no document names.
    fn orphan(&mut self) -> Result<String, Failure> {
        let content = self.content(3_000);
        let path = self
            .uploads
            .join("documents")
            .join(format!("{}.pdf", self.uuid()));
        self.write(&path, &content)?;
        Ok(path.display().to_string())
    }

    fn write(&mut self, path: &Path, content: &[u8]) -> Result<(), Failure> {
        fs::write(path, content).map_err(|error| Failure::io("write", path, &error))?;
        self.files += 1;
        self.bytes += content.len() as u64;
        Ok(())
    }

    fn content(&mut self, size: u64) -> Vec<u8> {
        let words = size / 8 + 1;
        (0..words).flat_map(|_| self.next().to_le_bytes()).collect()
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 48 & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }

    /// SplitMix64: the same numbers in every try.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
