//! What every database must do, run against PostgreSQL and SQLite with keys of each sort.

use super::*;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod contract;
mod server;
mod tls;

/// A mapping of small tables.
const MAPPING: &str = r#"
name = "Test"
[main]
role = "document"
table = "docs"
key = "id"
path = "path"
user = "owner"
created = "made"
filename = "name"
size = "bytes"
sha256 = "digest"
mime = "kind"
object_key = "docs/{id}{.ext}"
local_path = "{upload}/{id}{._ext}"
[[extra]]
role = "spare"
table = "spare"
key = "id"
path = "path"
object_key = "spare/{id}"
local_path = "{upload}/spare/{id}"
[[copies]]
table = "spare"
key = "id"
path = "copy"
[stored]
prefix = "s3://"
max_length = 500
"#;

fn mapping() -> Mapping {
    Mapping::parse(MAPPING, "test").expect("the test's mapping is one")
}

/// What sort of keys the tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Uuid,
    Integer,
    Text,
}

impl Keys {
    const ALL: [Keys; 3] = [Keys::Uuid, Keys::Integer, Keys::Text];

    /// The nth key, in an order that is not that of n.
    fn key(self, n: u32) -> String {
        let mixed = n.wrapping_mul(2_654_435_761);
        match self {
            Keys::Uuid => format!("{mixed:08x}-0000-4000-8000-{n:012x}"),
            Keys::Integer => n.to_string(),
            Keys::Text => format!("kéy '{n}\" {mixed:x}"),
        }
    }
}

/// A database of either kind with empty tables.
struct Fixture {
    keys: Keys,
    url: String,
    run: Box<dyn Fn(&str) -> String + Send + Sync>,
    _folder: Option<tempfile::TempDir>,
}

impl Fixture {
    fn postgres(keys: Keys) -> Fixture {
        let database = testkit::Postgres::shared().database();
        let kind = match keys {
            Keys::Uuid => "uuid",
            Keys::Integer => "bigint",
            Keys::Text => "varchar(80)",
        };
        let url = database.url();
        let fixture = Fixture {
            keys,
            url,
            run: Box::new(move |sql| database.sql(sql)),
            _folder: None,
        };
        fixture.tables(kind, "uuid", "timestamptz", "varchar(500) NOT NULL");
        fixture
    }

    fn sqlite(keys: Keys) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path: PathBuf = folder.path().join("app.db");
        rusqlite::Connection::open(&path).expect("a database");
        let kind = match keys {
            Keys::Integer => "INTEGER",
            _ => "TEXT",
        };
        let url = format!("sqlite:{}", path.display());
        let fixture = Fixture {
            keys,
            url,
            run: Box::new(move |sql| {
                let connection = rusqlite::Connection::open(&path).expect("the database opens");
                match sql.starts_with("SELECT") {
                    true => connection
                        .query_row(sql, [], |row| row.get::<_, Option<String>>(0))
                        .expect("the query runs")
                        .unwrap_or_default(),
                    false => {
                        connection.execute_batch(sql).expect("the statements run");
                        String::new()
                    }
                }
            }),
            _folder: Some(folder),
        };
        fixture.tables(kind, "TEXT", "TEXT", "TEXT");
        fixture
    }

    fn tables(&self, key: &str, user: &str, time: &str, path: &str) {
        (self.run)(&format!(
            "CREATE TABLE docs (id {key} PRIMARY KEY, path {path}, owner {user}, made {time}, name TEXT, bytes BIGINT, \
             digest TEXT, kind TEXT, touched TEXT DEFAULT 'never'); \
             CREATE TABLE spare (id {key} PRIMARY KEY, path TEXT, copy TEXT);"
        ));
    }

    async fn open(&self) -> Arc<dyn Database> {
        self.open_as("test").await
    }

    async fn open_as(&self, runner: &str) -> Arc<dyn Database> {
        open_database(&self.url, &options(runner), &mapping())
            .await
            .unwrap_or_else(|error| panic!("{error}: {:?}", error.source_text()))
    }

    /// Adds documents with local paths.
    fn fill(&self, count: u32) {
        let rows: Vec<String> = (0..count)
            .map(|n| format!("('{}', '/up/{n}.pdf', {n})", quote(&self.keys.key(n))))
            .collect();
        for some in rows.chunks(500) {
            (self.run)(&format!(
                "INSERT INTO docs (id, path, bytes) VALUES {}",
                some.join(", ")
            ));
        }
    }

    fn path_of(&self, n: u32) -> String {
        let key = quote(&self.keys.key(n));
        (self.run)(&format!("SELECT path FROM docs WHERE id = '{key}'"))
            .trim_end_matches('\n')
            .to_owned()
    }
}

impl DbError {
    /// The cause, for a test's failure.
    fn source_text(&self) -> String {
        std::error::Error::source(self)
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

fn quote(text: &str) -> String {
    text.replace('\'', "''")
}

fn options(runner: &str) -> DatabaseOptions {
    DatabaseOptions {
        timeout: Duration::from_secs(20),
        runner: runner.to_owned(),
    }
}

fn change(keys: Keys, n: u32, old: &str, new: &str) -> Change {
    Change {
        table: "docs".to_owned(),
        key_column: "id".to_owned(),
        key: keys.key(n),
        column: "path".to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
    }
}

/// Runs a check against both databases, with keys of every sort.
async fn everywhere<F: Future<Output = ()>>(check: impl Fn(Fixture) -> F) {
    for keys in Keys::ALL {
        check(Fixture::sqlite(keys)).await;
        check(Fixture::postgres(keys)).await;
    }
}
