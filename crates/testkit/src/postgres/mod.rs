//! A PostgreSQL cluster of a test's own: made in a scratch folder, on loopback, gone with the test.
//!
//! What must hold: the system's own clusters are never touched; the server stops and its folder goes when the value is dropped, when the
//! test panics and when the test's process is killed; signing in needs a password, as in the real world.
//! How: a small shell script starts the server and waits for the end of its own input. SIGKILL would leave shared memory behind,
//! so the script ends the server by SIGQUIT, which is as abrupt for its clients.
//! What it deliberately does not do: TLS, replication, or speak the protocol: it asks through `psql`.

mod database;
mod programs;

pub use database::{Database, copy_field};

use crate::process::Spawned;
use programs::Programs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The ordinary role that owns every database made here.
pub const OWNER: &str = "readur";
/// Its password.
pub const OWNER_PASSWORD: &str = "readur-for-tests";
/// The superuser.
pub const ADMIN: &str = "postgres";
/// The superuser's password.
const ADMIN_PASSWORD: &str = "postgres-for-tests";
/// What the server logs when it can be used.
const READY: &str = "LOG:  database system is ready to accept connections";
/// A port is free until somebody else takes it; then another is tried.
const START_ATTEMPTS: u32 = 5;

/// Starts the rest of its arguments, and ends it with its own input, whatever signals a whole group of processes gets; `$0` is the
/// folder to remove then, unless it is told to keep it.
const KEEPER: &str = r#"
"$@" </dev/null >/dev/null &
server=$!
trap "" HUP INT TERM
exec 2>/dev/null
word=
read -r word
kill -QUIT "$server"
wait "$server"
[ "$word" = keep ] || rm -rf -- "$0"
"#;

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Whether a commit waits for the disk, as on a real server. Off, it is several times faster.
    pub fsync: bool,
    /// More settings, as in `postgresql.conf`, such as `("max_connections", "10")`.
    pub settings: Vec<(String, String)>,
}

/// A running cluster; dropping it stops it and removes its folder.
pub struct Postgres {
    programs: Programs,
    options: PostgresOptions,
    folder: PathBuf,
    port: u16,
    server: Option<Spawned>,
}

impl Postgres {
    /// Starts a cluster without fsync.
    ///
    /// # Panics
    /// When PostgreSQL is missing or does not start, because a test that cannot run has failed.
    pub fn start() -> Postgres {
        Postgres::with(PostgresOptions::default())
            .unwrap_or_else(|error| panic!("PostgreSQL does not start: {error}"))
    }

    /// The cluster that all tests of this process share; each takes a database of its own.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        // A static value is never dropped; the keeper sees the end of its input when this process ends.
        SHARED.get_or_init(Postgres::start)
    }

    /// Starts a cluster with these options.
    ///
    /// # Errors
    /// If PostgreSQL is missing (the text names the package) or does not start.
    pub fn with(options: PostgresOptions) -> io::Result<Postgres> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new()
            .prefix("syncline-postgres-")
            .tempdir()?
            .keep();
        let mut postgres = Postgres {
            programs,
            options,
            folder,
            port: 0,
            server: None,
        };
        postgres.programs.give(&postgres.folder)?;
        postgres.initialise()?;
        postgres.launch()?;
        let owner = format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{OWNER_PASSWORD}'");
        postgres.admin("postgres").try_sql(&owner)?;
        Ok(postgres)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Makes a new, empty database that [`OWNER`] owns, and that no other test has.
    pub fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.named_database(&format!("scratch_{number}"))
    }

    /// Makes a new, empty database of this name (letters, digits, `_`).
    ///
    /// # Panics
    /// If there is one of that name.
    pub fn named_database(&self, name: &str) -> Database {
        // The empty template is not used by anybody, so that this never waits for a connection to end.
        let make =
            format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'");
        self.admin("postgres").sql(&make);
        Database::new(
            self.programs.path("psql"),
            self.port,
            name,
            OWNER,
            OWNER_PASSWORD,
        )
    }

    /// A database as the superuser sees it.
    pub fn admin(&self, name: &str) -> Database {
        Database::new(
            self.programs.path("psql"),
            self.port,
            name,
            ADMIN,
            ADMIN_PASSWORD,
        )
    }

    /// Ends the server at once, as a crash of the machine would for its clients; the data stay.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.tell_and_wait("keep\n");
        }
    }

    /// Starts the server again, on the port it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.stop();
        let server = self.spawn(self.port);
        self.server =
            Some(server.unwrap_or_else(|error| panic!("PostgreSQL does not start again: {error}")));
    }

    /// A second cluster over a copy of this one's files, as the snapshot of a volume gives it: it has the same numbers, and another port. This one is
    /// stopped meanwhile, and goes on.
    ///
    /// # Errors
    /// If the files cannot be copied, or the copy does not start.
    pub fn snapshot(&mut self) -> io::Result<Postgres> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-postgres-")
            .tempdir()?
            .keep();
        let mut copy = Postgres {
            programs: self.programs.clone(),
            options: self.options.clone(),
            folder,
            port: 0,
            server: None,
        };
        copy.programs.give(&copy.folder)?;
        self.stop();
        let mut cp = copy.programs.as_server(Path::new("cp"));
        let copied = cp.arg("-a").arg(self.data()).arg(copy.data()).status();
        self.start_again();
        if !copied?.success() {
            return Err(io::Error::other("the cluster's files could not be copied"));
        }
        copy.launch()?;
        Ok(copy)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn initialise(&self) -> io::Result<()> {
        let password = self.folder.join("password");
        std::fs::write(&password, ADMIN_PASSWORD)?;
        let mut initdb = self.programs.as_server(&self.programs.path("initdb"));
        initdb.arg("--pgdata").arg(self.data());
        initdb.arg("--pwfile").arg(&password);
        initdb.args(["--username", ADMIN, "--auth=scram-sha-256", "--no-sync"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-instructions"]);
        let output = initdb.stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("initdb fails: {}", said.trim())))
    }

    fn launch(&mut self) -> io::Result<()> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            match self.spawn(port) {
                Ok(server) => {
                    (self.port, self.server) = (port, Some(server));
                    return Ok(());
                }
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    fn spawn(&self, port: u16) -> io::Result<Spawned> {
        let mut command = self.programs.as_server(Path::new("sh"));
        command.args(["-c", KEEPER]).arg(&self.folder);
        command.arg(self.programs.path("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(port.to_string());
        self.configure(&mut command);
        Spawned::start_by_log(command, READY).map(|(server, _)| server)
    }

    fn configure(&self, command: &mut Command) {
        let durable = if self.options.fsync { "on" } else { "off" };
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            // The path of a socket may be no longer than 107 bytes; a scratch folder's can be.
            ("unix_socket_directories", ""),
            ("log_line_prefix", ""),
            ("lc_messages", "C"),
            ("timezone", "UTC"),
            ("fsync", durable),
            // A stopped server may forget nothing that it acknowledged, so this stays on; without fsync it costs little.
            ("synchronous_commit", "on"),
            ("full_page_writes", durable),
            ("shared_buffers", "64MB"),
        ];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in ours.iter().chain(&self.options.settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        match self.server.take() {
            Some(mut server) => server.tell_and_wait(""),
            // It was stopped with its data kept, or never ran. What cannot be removed is left in the scratch folder.
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}

impl Spawned {
    /// Says a last word on its input, closes it, and waits for its end.
    fn tell_and_wait(&mut self, word: &str) {
        if let Some(mut input) = self.input() {
            // It may have ended already, which is what is wanted.
            let _ = input.write_all(word.as_bytes());
        }
        self.wait();
    }
}

/// PostgreSQL does not tell which port it got, so it has to be given one.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests;
