//! One database of a scratch cluster, asked through `psql`.
//!
//! What must hold: a statement that fails fails the test with the server's words; nothing of the developer's own psql settings takes part.
//! What it deliberately does not do: hold a connection; each call is a session of its own.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A database and the role that speaks to it.
#[derive(Clone, Debug)]
pub struct Database {
    psql: PathBuf,
    port: u16,
    name: String,
    role: String,
    password: String,
}

impl Database {
    pub(crate) fn new(
        psql: PathBuf,
        port: u16,
        name: &str,
        role: &str,
        password: &str,
    ) -> Database {
        Database {
            psql,
            port,
            name: name.into(),
            role: role.into(),
            password: password.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for a client: `postgres://role:password@127.0.0.1:port/name`.
    pub fn url(&self) -> String {
        format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            self.role, self.password, self.port, self.name
        )
    }

    /// The variables with which `psql` and other clients of libpq find it.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.role.clone()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", self.name.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Runs statements in one transaction; returns rows as lines, columns parted by `|`, NULL as nothing.
    ///
    /// # Panics
    /// If a statement fails, with what the server says.
    pub fn sql(&self, statements: &str) -> String {
        self.try_sql(statements)
            .unwrap_or_else(|error| panic!("{error}\nin: {}", beginning(statements)))
    }

    /// As [`Database::sql`].
    ///
    /// # Errors
    /// If `psql` cannot be started or a statement fails.
    pub fn try_sql(&self, statements: &str) -> io::Result<String> {
        // Making and dropping a database refuses to be part of a transaction; alone it needs none.
        let alone = ["CREATE DATABASE", "DROP DATABASE"]
            .iter()
            .any(|verb| statements.starts_with(verb));
        let single: &[&str] = if alone {
            &[]
        } else {
            &["--single-transaction"]
        };
        let output = self.psql(single, statements.as_bytes())?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Loads rows into a table with COPY in text format: a row a line, columns parted by a tab, `\N` for NULL; see [`copy_field`].
    ///
    /// # Panics
    /// If a row is refused.
    pub fn copy(&self, table_and_columns: &str, rows: &str) {
        let script = format!("COPY {table_and_columns} FROM STDIN;\n{rows}\\.\n");
        self.sql(&script);
    }

    fn psql(&self, more: &[&str], input: &[u8]) -> io::Result<Vec<u8>> {
        let mut command = Command::new(&self.psql);
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "--file",
            "-",
        ]);
        command.args(more).env_clear().envs(self.env());
        command
            .env("LC_ALL", "C")
            .env("PGCLIENTENCODING", "UTF8")
            .env("PATH", path());
        // Notices such as "relation exists, skipping" are no news.
        command.env("PGOPTIONS", "-c client_min_messages=warning");
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| {
            io::Error::other(format!(
                "psql cannot be started ({error}): install the package `postgresql-client`"
            ))
        })?;
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        let input = input.to_vec();
        // Beside reading, because neither pipe may fill up. psql hangs up at the first error; what it says then is what counts.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output()?;
        drop(writer.join());
        if status.success() {
            Ok(stdout)
        } else {
            Err(io::Error::other(
                String::from_utf8_lossy(&stderr).trim().to_owned(),
            ))
        }
    }
}

fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The first few lines of a script, for a message.
fn beginning(statements: &str) -> String {
    statements.lines().take(8).collect::<Vec<_>>().join("\n")
}

/// A value in COPY's text format.
pub fn copy_field(value: Option<&str>) -> String {
    let Some(value) = value else {
        return "\\N".into();
    };
    value
        .replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}
