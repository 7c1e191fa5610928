//! `--test-storage`: does the bucket do what a migration, and the application, will ask of it?
//!
//! What must hold: every check runs, whatever the others found; nothing is left in the bucket, but for what a process leaves that is
//! killed, and that the next one removes; no key but those below `.syncline` is touched.
//!
//! What it deliberately does not do: need the database.

use std::time::{Duration, Instant};

use bytes::Bytes;
use console::{Check, Diagnosis, Exit, Failure, Outcome, Ui, human};
use futures::TryStreamExt;
use store::{Attributes, Honesty, Store, StoreError};
use transfer::Digest;

use crate::mapping::Mapping;
use crate::run::session::open_bucket;
use crate::run::wording::Wording;
use crate::settings::Settings;

/// Below this prefix every test has a folder.
const TESTS: &str = ".syncline/storage-test";

/// What is older belongs to a test that was killed: none takes so long.
const LEFT: Duration = Duration::from_secs(60 * 60);

/// A name with what makes signing names hard.
const NAME: &str = "Rechnung März 'x' (1)+&=.pdf";

/// The smallest part that S3 takes.
const PART: usize = 5 << 20;

/// Runs `--test-storage`.
///
/// # Errors
/// If no bucket is configured or it cannot be opened. What a check finds is no error but an exit code.
pub async fn run(ui: &Ui, settings: &Settings, mapping: &Mapping) -> Result<Exit, Failure> {
    let store = open_bucket(settings).await?;
    let test = StorageTest {
        folder: format!(
            "{TESTS}/{}-{}",
            std::process::id(),
            jiff::Timestamp::now().as_millisecond()
        ),
        store,
        mapping,
        wording: Wording::of(settings),
    };
    let mut diagnosis = Diagnosis::new();
    ui.status(format!("Testing {}", test.store.describe()));
    if let Err(error) = clear_older(&test.store).await {
        tracing::warn!(%error, "what an earlier test left could not be removed");
    }
    let put = test.put().await;
    let can_write = put.outcome == Outcome::Pass;
    diagnosis.add(put);
    if can_write {
        diagnosis.add(test.get().await);
        diagnosis.add(test.as_the_application().await);
        diagnosis.add(test.attributes().await);
        diagnosis.add(test.checksums().await);
        diagnosis.add(test.multipart().await);
    }
    diagnosis.add(test.list().await);
    if can_write {
        diagnosis.add(test.delete().await);
    }
    Ok(diagnosis.show(ui))
}

/// Removes what tests left that were killed.
async fn clear_older(store: &Store) -> Result<(), StoreError> {
    let found: Vec<store::Entry> = store.list_stream(TESTS).try_collect().await?;
    let is_left = |entry: &store::Entry| entry.modified.elapsed().is_ok_and(|age| age > LEFT);
    let left: Vec<String> = found
        .into_iter()
        .filter(is_left)
        .map(|entry| entry.key)
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => store.delete(&left).await,
    }
}

struct StorageTest<'t> {
    folder: String,
    store: Store,
    mapping: &'t Mapping,
    wording: Wording,
}

impl StorageTest<'_> {
    fn key(&self) -> String {
        format!("{}/{NAME}", self.folder)
    }

    fn big_key(&self) -> String {
        format!("{}/parts.bin", self.folder)
    }

    fn content(&self) -> Bytes {
        Bytes::from(format!("a test of migrate_to_s3 in {}\n", self.folder))
    }

    async fn put(&self) -> Check {
        let (begun, content) = (Instant::now(), self.content());
        let digest = Digest::of(&content).0;
        let written = self
            .store
            .put_with(&self.key(), content, &attributes(), Some(digest))
            .await;
        self.check(
            "put",
            begun,
            written.map(|_| "an object with a hard name was written".into()),
        )
    }

    async fn get(&self) -> Check {
        let begun = Instant::now();
        let found = self.store.get(&self.key()).await;
        self.same("get", begun, found, &self.content())
    }

    /// The application strips its prefix from what the row holds; all the rest is the key.
    async fn as_the_application(&self) -> Check {
        let begun = Instant::now();
        let row = self.mapping.stored_path(&self.key());
        let key = self.mapping.key_of(&row).unwrap_or(&row).to_owned();
        let found = self.store.get(&key).await;
        self.same(
            "read as the application does",
            begun,
            found,
            &self.content(),
        )
    }

    async fn attributes(&self) -> Check {
        let begun = Instant::now();
        let name = "content type";
        match self.store.head(&self.key()).await {
            Err(error) => self.failed(name, begun, &error),
            Ok(info) if info.content_type == attributes().content_type => {
                Check::pass(name, "kept").taking(begun.elapsed())
            }
            Ok(_) => Check::warn(
                name,
                "not kept by this store",
                "nothing, unless you link to objects directly",
            )
            .taking(begun.elapsed()),
        }
    }

    async fn checksums(&self) -> Check {
        let begun = Instant::now();
        let name = "checksum headers";
        let check = match self.store.checksum_honesty().await {
            Err(error) => return self.failed(name, begun, &error),
            Ok(Honesty::Honest) => {
                Check::pass(name, "compared by the store, for objects and parts")
            }
            Ok(Honesty::OnlyWhole) => Check::pass(
                name,
                "compared for whole objects; what is sent in parts is read back",
            ),
            Ok(Honesty::Ignored) => Check::warn(
                name,
                "ignored by the store",
                "nothing: every object is read back instead, which takes longer",
            ),
            Ok(Honesty::Refused) => Check::warn(
                name,
                "not taken, or switched off",
                "nothing: every object is read back instead, which takes longer",
            ),
        };
        check.taking(begun.elapsed())
    }

    async fn multipart(&self) -> Check {
        let begun = Instant::now();
        let content = Bytes::from(
            (0..PART + 1000)
                .map(|at| (at % 251) as u8)
                .collect::<Vec<u8>>(),
        );
        match self.send_in_parts(&content).await {
            Err(error) => self.failed("multipart", begun, &error),
            Ok(found) => self.same("multipart", begun, Ok(found), &content),
        }
    }

    async fn send_in_parts(&self, content: &Bytes) -> Result<Bytes, StoreError> {
        let key = self.big_key();
        let upload = self.store.multipart(&key, &attributes()).await?;
        let parts = [content.slice(..PART), content.slice(PART..)];
        for (number, part) in parts.into_iter().enumerate() {
            let digest = Digest::of(&part).0;
            if let Err(error) = upload.put_part(number, part, Some(digest)).await {
                // The first error is what a person needs; what is left is removed by the next run.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.complete().await?;
        let body = self.store.read(&key, None).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat().into())
    }

    async fn list(&self) -> Check {
        let begun = Instant::now();
        let listed = self.listed().await;
        let named =
            listed.map(|entries| human::count(entries.len() as u64, "object") + " of this test");
        self.check("list", begun, named)
    }

    async fn listed(&self) -> Result<Vec<store::Entry>, StoreError> {
        self.store.list_stream(&self.folder).try_collect().await
    }

    async fn delete(&self) -> Check {
        let begun = Instant::now();
        let keys = [self.key(), self.big_key()];
        if let Err(error) = self.store.delete(&keys).await {
            return self.failed("delete", begun, &error);
        }
        match self.listed().await {
            Err(error) => self.failed("delete", begun, &error),
            Ok(left) if left.is_empty() => {
                Check::pass("delete", "nothing is left").taking(begun.elapsed())
            }
            Ok(left) => Check::warn(
                "delete",
                format!("{} still listed", human::count(left.len() as u64, "object")),
                format!(
                    "look whether the bucket keeps old versions; the objects are below {}",
                    self.folder
                ),
            )
            .taking(begun.elapsed()),
        }
    }
}

fn attributes() -> Attributes {
    Attributes {
        content_type: Some("application/pdf".into()),
        ..Attributes::default()
    }
}

impl StorageTest<'_> {
    fn check(&self, name: &str, begun: Instant, outcome: Result<String, StoreError>) -> Check {
        match outcome {
            Ok(detail) => Check::pass(name, detail).taking(begun.elapsed()),
            Err(error) => self.failed(name, begun, &error),
        }
    }

    fn same(
        &self,
        name: &str,
        begun: Instant,
        found: Result<Bytes, StoreError>,
        content: &Bytes,
    ) -> Check {
        match found {
            Err(error) => self.failed(name, begun, &error),
            Ok(found) if found == *content => {
                let detail = format!("{}, equal", human::bytes(found.len() as u64));
                Check::pass(name, detail).taking(begun.elapsed())
            }
            Ok(found) => Check::fail(
                name,
                format!(
                    "{} came back, but not those that were sent",
                    human::bytes(found.len() as u64)
                ),
                "do not migrate to this store",
            )
            .taking(begun.elapsed()),
        }
    }

    fn failed(&self, name: &str, begun: Instant, error: &StoreError) -> Check {
        Check::failed(name, &self.wording.apply(Failure::from(error))).taking(begun.elapsed())
    }
}
