//! A fleet: users, documents, thumbnails, processed images and failed documents, on disk and in the tables, from one seed.
//!
//! What must hold: files have the times of their rows, so that a restored tree can be compared with times and all; the fleet itself has no
//! trap in it: every row has its file and every file its row.

use super::rows::{self, Document, FailedDocument, ProcessedImage};
use super::words;
use crate::Rng;
use crate::postgres::Database;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The folders Readur makes below its upload path.
const FOLDERS: [&str; 5] = [
    "documents",
    "thumbnails",
    "processed_images",
    "temp",
    "backups",
];

/// How long the documents are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sizes {
    /// A few kilobytes at most: for tests.
    Tiny,
    /// About 110 kB in the mean, with thumbnails and processed images: ten thousand documents are 1.1 GB.
    Realistic,
}

/// What a fleet is like.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many documents.
    pub documents: usize,
    /// How many users share them.
    pub users: usize,
    /// How long they are.
    pub sizes: Sizes,
    /// The upload path as the rows have it, such as `/app/uploads` or `./uploads`; this machine's own when there is none.
    pub shown: Option<String>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        FleetOptions {
            seed: 1,
            documents: 20,
            users: 3,
            sizes: Sizes::Tiny,
            shown: None,
        }
    }
}

/// A fleet on disk and in a database.
pub struct Fleet {
    /// Where its rows are.
    pub database: Database,
    /// The upload path on this machine.
    pub uploads: PathBuf,
    /// The upload path as the rows have it.
    pub shown: String,
    /// The users' ids.
    pub users: Vec<String>,
    /// The documents, without the traps.
    pub documents: Vec<Document>,
    /// The failed documents: copies of a document's path, and the only references to their files.
    pub failed: Vec<FailedDocument>,
    /// The processed images.
    pub images: Vec<ProcessedImage>,
    pub(crate) rng: Rng,
    sizes: Sizes,
}

impl Fleet {
    /// Makes `uploads` below a folder, and rows in a database that has the tables ([`super::install`]) and no rows.
    ///
    /// # Panics
    /// If a file cannot be written or a row is refused.
    pub fn build(database: &Database, folder: &Path, options: &FleetOptions) -> Fleet {
        let uploads = folder.join("uploads");
        for name in FOLDERS {
            fs::create_dir_all(uploads.join(name)).expect("a folder for uploads");
        }
        let mut rng = Rng::new(options.seed);
        let users = (0..options.users.max(1))
            .map(|_| words::uuid(&mut rng))
            .collect();
        let shown = options
            .shown
            .clone()
            .unwrap_or_else(|| uploads.display().to_string());
        let mut fleet = Fleet {
            database: database.clone(),
            uploads,
            shown,
            users,
            documents: Vec::with_capacity(options.documents),
            failed: Vec::new(),
            images: Vec::new(),
            rng,
            sizes: options.sizes,
        };
        rows::insert_users(database, &fleet.users);
        for _ in 0..options.documents {
            fleet.add_one();
        }
        rows::insert_documents(database, &fleet.documents);
        rows::insert_failed(database, &fleet.failed);
        rows::insert_images(database, &fleet.images);
        fleet
    }

    /// All files of the fleet, in no order.
    pub fn files(&self) -> Vec<PathBuf> {
        let documents = self.documents.iter().map(|document| document.file.clone());
        let thumbnails = self
            .documents
            .iter()
            .filter_map(|document| document.thumbnail.clone());
        let images = self.images.iter().map(|image| image.file.clone());
        let alone = self
            .failed
            .iter()
            .filter(|failed| failed.document.is_none() && !self.is_copy(failed))
            .map(|failed| failed.file.clone());
        documents
            .chain(thumbnails)
            .chain(images)
            .chain(alone)
            .collect()
    }

    fn is_copy(&self, failed: &FailedDocument) -> bool {
        self.documents
            .iter()
            .any(|document| document.file == failed.file)
    }

    fn add_one(&mut self) {
        let mut rng = Rng::new(self.rng.next_u64());
        let size = words::document_bytes(&mut rng, self.sizes);
        let mut document = self.draw(&mut rng);
        let content = words::bytes(&mut rng, size);
        self.store(&mut document, &content);
        if rng.chance(650) {
            let thumbnail = self
                .uploads
                .join(format!("thumbnails/{}_thumb.jpg", document.id));
            let size = words::thumbnail_bytes(&mut rng, self.sizes);
            write_file(
                &thumbnail,
                &words::bytes(&mut rng, size),
                document.created + 60,
            );
            document.thumbnail = Some(thumbnail);
        }
        if rng.chance(50) {
            self.add_image(&mut rng, &document);
        }
        if rng.chance(15) {
            self.add_failed_copy(&mut rng, &document);
        }
        if rng.chance(10) {
            self.add_failed_alone(&mut rng);
        }
        self.documents.push(document);
    }

    /// A document of one of the users, in the usual place; size and hash follow when its bytes are stored.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Document {
        let id = words::uuid(rng);
        let (extension, mime) = words::kind(rng);
        let dot = if extension.is_empty() { "" } else { "." };
        let name = format!("documents/{id}{dot}{extension}");
        // The first user has about half of everything, as somebody always has.
        let user = if rng.chance(400) {
            0
        } else {
            rng.index(self.users.len())
        };
        Document {
            user: Some(self.users[user].clone()),
            filename: format!("{}{dot}{extension}", words::stem(rng)),
            path: format!("{}/{name}", self.shown),
            file: self.uploads.join(name),
            size: 0,
            hash: None,
            mime: mime.into(),
            created: words::moment(rng),
            text: rng.chance(800).then(|| words::text(rng)),
            thumbnail: None,
            id,
        }
    }

    /// Writes a document's bytes, and notes length and digest in the row to be.
    pub(crate) fn store(&self, document: &mut Document, content: &[u8]) {
        document.size = content.len() as u64;
        document.hash = Some(words::sha256(content));
        write_file(&document.file, content, document.created);
    }

    fn add_image(&mut self, rng: &mut Rng, document: &Document) {
        let created = document.created + 120;
        let name = format!("processed_images/{}_processed_{created}.png", document.id);
        let size = words::document_bytes(rng, self.sizes);
        let file = self.uploads.join(&name);
        write_file(&file, &words::bytes(rng, size), created);
        self.images.push(ProcessedImage {
            id: words::uuid(rng),
            document: document.id.clone(),
            user: document
                .user
                .clone()
                .expect("a document of the fleet has a user"),
            original: document.path.clone(),
            path: format!("{}/{name}", self.shown),
            file,
            size,
            created,
        });
    }

    /// The row that says why text recognition failed, half of the time without the document's id.
    fn add_failed_copy(&mut self, rng: &mut Rng, document: &Document) {
        self.failed.push(FailedDocument {
            id: words::uuid(rng),
            user: document.user.clone(),
            filename: document.filename.clone(),
            path: Some(document.path.clone()),
            file: document.file.clone(),
            size: document.size,
            hash: document.hash.clone(),
            mime: document.mime.clone(),
            document: rng.chance(500).then(|| document.id.clone()),
            created: document.created + 30,
        });
    }

    /// A file that only `failed_documents` knows: an early migration of Readur moved such rows there.
    pub(crate) fn add_failed_alone(&mut self, rng: &mut Rng) {
        let mut lost = self.draw(rng);
        let content = words::bytes(rng, 700);
        self.store(&mut lost, &content);
        self.failed.push(FailedDocument {
            id: words::uuid(rng),
            user: lost.user,
            filename: lost.filename,
            path: Some(lost.path),
            file: lost.file,
            size: lost.size,
            hash: lost.hash,
            mime: lost.mime,
            document: None,
            created: lost.created,
        });
    }
}

/// Writes a file with a fixed time, so that trees of one seed are equal with times and all.
pub(crate) fn write_file(path: &Path, content: &[u8], second: i64) {
    let time = UNIX_EPOCH
        + Duration::from_secs(u64::try_from(second).expect("the fleet's times are after 1970"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.set_modified(time)
    };
    write().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
