//! A site with a running application's data: database, upload path, bucket, and the program to run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use tempfile::TempDir;
use testkit::readur::{Fleet, FleetOptions, Snapshot, Trap, install};
use testkit::s3::{ACCESS_KEY, SECRET_KEY};
use testkit::{Postgres, S3Options, S3Server};

/// The bucket of every site.
pub const BUCKET: &str = "docs";

/// One site.
pub struct Site {
    /// The documents.
    pub fleet: Fleet,
    /// The traps among them.
    pub traps: Vec<Trap>,
    /// The S3 server.
    pub s3: S3Server,
    folder: TempDir,
    endpoint: Option<String>,
}

/// Everything there is at one moment.
pub struct Moment {
    /// The files.
    pub tree: Snapshot,
    /// The rows.
    pub tables: Snapshot,
    /// The objects.
    pub bucket: Snapshot,
}

impl Site {
    /// A site without traps.
    pub fn new(documents: usize) -> Site {
        Site::build(Postgres::shared(), false, of(documents))
    }

    /// A site without traps whose fleet is drawn from a seed.
    pub fn drawn(documents: usize, seed: u64) -> Site {
        let options = FleetOptions {
            seed,
            ..of(documents)
        };
        Site::build(Postgres::shared(), false, options)
    }

    /// A site with every trap.
    pub fn with_traps(documents: usize) -> Site {
        Site::build(Postgres::shared(), true, of(documents))
    }

    /// A site in a cluster of its own.
    pub fn over(postgres: &Postgres, documents: usize) -> Site {
        Site::build(postgres, false, of(documents))
    }

    /// A site whose rows place the files elsewhere than this machine has them.
    pub fn shown_as(documents: usize, shown: &str) -> Site {
        let options = FleetOptions {
            shown: Some(shown.to_owned()),
            ..of(documents)
        };
        Site::build(Postgres::shared(), false, options)
    }

    /// A site without traps whose first document has a copy among the failed ones and a processed image.
    pub fn with_followers(documents: usize) -> Site {
        let site = Site::new(documents);
        let document = &site.fleet.documents[0];
        let (id, path) = (&document.id, &document.path);
        let image = format!("{}/processed_images/{id}.png", site.fleet.shown);
        std::fs::write(&image, b"a picture").expect("writes");
        site.sql(&format!(
            "INSERT INTO failed_documents (user_id, filename, file_path, original_path, failure_reason, failure_stage, ingestion_source) \
             SELECT user_id, filename, file_path, file_path, 'other', 'ocr', 'upload' FROM documents WHERE id = '{id}'; \
             INSERT INTO processed_images (document_id, user_id, original_image_path, processed_image_path, processing_steps, \
             image_width, image_height, file_size) \
             SELECT id, user_id, '{path}', '{image}', '{{deskew}}', 1, 1, 9 FROM documents WHERE id = '{id}'"
        ));
        site
    }

    fn build(postgres: &Postgres, has_traps: bool, options: FleetOptions) -> Site {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let database = postgres.database();
        install(&database);
        let mut fleet = Fleet::build(&database, folder.path(), &options);
        let s3 = S3Server::with(S3Options {
            buckets: vec![BUCKET.into()],
            ..S3Options::default()
        })
        .expect("an S3 server starts");
        let mut traps = vec![];
        if has_traps {
            let (set, objects) = fleet.traps();
            traps = set;
            for (key, bytes) in objects {
                let path = s3.root().join(BUCKET).join(key);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("makes folders");
                std::fs::write(path, bytes).expect("writes an object");
            }
        }
        std::fs::create_dir(folder.path().join("state")).expect("makes a folder");
        Site {
            fleet,
            traps,
            s3,
            folder,
            endpoint: None,
        }
    }

    /// Sends the program through another endpoint, a proxy.
    pub fn through(&mut self, endpoint: String) {
        self.endpoint = Some(endpoint);
    }

    /// The directory of the state files.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The journals in it, in order.
    pub fn journals(&self) -> Vec<PathBuf> {
        self.state_files("journal")
    }

    /// The state files with this extension, in order.
    pub fn state_files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state()).expect("lists");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        paths.sort();
        paths
    }

    /// The summary of the newest run.
    pub fn latest(&self) -> String {
        let latest = self.state().join("migration_state_LATEST.json");
        latest.display().to_string()
    }

    /// Removes what a run has copied, however young that is.
    pub fn delete_source(&self, run: &str, more: &[&str]) -> Ended {
        self.run(&[&removal(run)[..], more].concat())
    }

    /// The site's scratch folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program with no variables at all.
    pub fn program() -> Command {
        let mut command = Command::cargo_bin("migrate_to_s3").expect("the program is built");
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// The program with the application's variables and nobody else's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Site::program();
        let endpoint = self.endpoint.clone().unwrap_or_else(|| self.s3.endpoint());
        command
            .env("DATABASE_URL", self.fleet.database.url())
            .env("UPLOAD_PATH", &self.fleet.shown)
            .env("S3_ENABLED", "true")
            .env("S3_BUCKET_NAME", BUCKET)
            .env("S3_ENDPOINT_URL", endpoint)
            .env("S3_ACCESS_KEY_ID", ACCESS_KEY)
            .env("S3_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("MIGRATION_STATE_DIR", self.state())
            .current_dir(self.folder())
            .args(arguments);
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments), arguments)
    }

    /// Takes everything down.
    pub fn moment(&self) -> Moment {
        Moment {
            tree: Snapshot::tree(&self.fleet.uploads),
            tables: Snapshot::tables(&self.fleet.database),
            bucket: Snapshot::bucket(self.s3.root(), BUCKET),
        }
    }

    /// What probes have left in the bucket.
    pub fn probes(&self) -> Vec<String> {
        let all = Snapshot::tree(&self.s3.root().join(BUCKET));
        let names = all.names().filter(|name| {
            let is_file = all.get(name).is_some_and(|what| what.contains(" bytes, "));
            is_file && name.starts_with(".syncline/probe/")
        });
        names.map(str::to_owned).collect()
    }

    /// One value of the database.
    pub fn sql(&self, statement: &str) -> String {
        self.fleet.database.sql(statement).trim().to_owned()
    }

    /// How many documents' rows name an object.
    pub fn switched(&self) -> usize {
        let count = "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'";
        self.sql(count).parse().expect("a number")
    }
}

/// What is typed to remove at once what a run has copied.
pub fn removal(run: &str) -> [&str; 5] {
    ["--delete-source", "--state-file", run, "--older-than", "0s"]
}

/// A fleet like every other, of so many documents.
fn of(documents: usize) -> FleetOptions {
    FleetOptions {
        documents,
        ..FleetOptions::default()
    }
}

impl Moment {
    /// Fails unless both are the same, byte for byte.
    pub fn assert_same(&self, after: &Moment, what: &str) {
        self.tree
            .assert_same(&after.tree, &format!("{what}: the files"));
        self.tables
            .assert_same(&after.tables, &format!("{what}: the rows"));
        self.bucket
            .assert_same(&after.bucket, &format!("{what}: the objects"));
    }
}

/// How a command ended.
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// What was typed.
    pub line: String,
}

impl Ended {
    /// Runs a command to its end.
    pub fn of(mut command: Command, arguments: &[&str]) -> Ended {
        let output = command.output().expect("the program starts");
        Ended::from(output, arguments)
    }

    /// Of a command that has ended.
    pub fn from(output: Output, arguments: &[&str]) -> Ended {
        let ended = Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            line: arguments.join(" "),
        };
        assert!(
            !ended.out.contains(SECRET_KEY) && !ended.err.contains(SECRET_KEY),
            "a secret is shown: {}",
            ended.all()
        );
        ended
    }

    /// Fails unless the exit code is this one.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{}", self.all());
        self
    }

    /// Fails unless the words are in the output.
    #[track_caller]
    pub fn assert_says(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "`{word}` is not in {}",
                self.all()
            );
        }
        self
    }

    /// The output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }

    /// Everything it said.
    pub fn all(&self) -> String {
        format!(
            "migrate_to_s3 {} ({:?})\n{}\n{}",
            self.line, self.code, self.out, self.err
        )
    }
}
