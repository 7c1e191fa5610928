//! Garage, an S3 server that ignores conditions on writes, as a process; only when it is asked for.
//!
//! It takes about twenty minutes to compile, so it is no part of the ordinary tests:
//! `cargo xtask test --garage` installs it and hands its path over in `SYNCLINE_GARAGE`. It matters
//! because it overwrites where it was told to create: what rests on conditional writes loses data
//! here, in silence. Tests that want it stand in test binaries named `garage`, which nothing else runs: so none of them is
//! ever passed over and counted as passed.

use crate::process::Spawned;
use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The variable that holds the path of the program.
pub const GARAGE_VARIABLE: &str = "SYNCLINE_GARAGE";

/// The id of its key, in the form that Garage insists on.
pub const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
/// The secret of that key.
pub const SECRET_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// A server that has not made its bucket by then will not.
const START_SECONDS_MAX: u64 = 60;

/// A running Garage with one empty bucket named `bucket`; dropping it kills it.
pub struct Garage {
    _process: Spawned,
    address: SocketAddr,
    _scratch: TempDir,
}

impl Garage {
    /// Starts Garage with one empty bucket named `bucket`.
    ///
    /// # Panics
    /// When `SYNCLINE_GARAGE` does not name it, because a test that cannot run has failed; when it does not start.
    pub fn start() -> Garage {
        let Some(program) = env::var_os(GARAGE_VARIABLE) else {
            panic!(
                "{GARAGE_VARIABLE} is not set: this test needs Garage, run `cargo xtask test --garage`"
            );
        };
        let program = PathBuf::from(program);
        // Somebody else may take a port that was free a moment ago.
        let mut attempts = (0..3).map(|_| Garage::start_once(&program));
        let started = attempts.find_map(Result::ok);
        started.unwrap_or_else(|| {
            let error = Garage::start_once(&program).err();
            panic!("{} does not start: {error:?}", program.display())
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for clients.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A store URL for a bucket and prefix here.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        crate::s3::store_url(self.address, bucket, prefix, ACCESS_KEY, SECRET_KEY)
    }

    fn start_once(program: &Path) -> io::Result<Garage> {
        let scratch = tempfile::Builder::new()
            .prefix("syncline-garage-")
            .tempdir()?;
        let (rpc, s3) = (free_port()?, free_port()?);
        let config = scratch.path().join("garage.toml");
        std::fs::write(&config, configuration(scratch.path(), rpc, s3))?;
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(&config)
            .args(["server", "--single-node", "--default-bucket"]);
        command
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY);
        command.env("GARAGE_DEFAULT_BUCKET", "bucket");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Spawned::of(command.spawn()?);
        wait_for_bucket(program, &config, &mut process)?;
        Ok(Garage {
            _process: process,
            address: (Ipv4Addr::LOCALHOST, s3).into(),
            _scratch: scratch,
        })
    }
}

/// Garage does not tell which port it got, so it has to be given one.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn configuration(folder: &Path, rpc: u16, s3: u16) -> String {
    let folder = folder.display();
    format!(
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\ndb_engine = \"sqlite\"\n\
         replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
         rpc_secret = \"{SECRET_KEY}\"\n[s3_api]\ns3_region = \"{}\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n",
        crate::s3::REGION
    )
}

fn wait_for_bucket(program: &Path, config: &Path, server: &mut Spawned) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while Instant::now() < deadline {
        let mut ask = Command::new(program);
        ask.arg("-c").arg(config).args(["bucket", "info", "bucket"]);
        ask.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if ask.status()?.success() {
            return Ok(());
        }
        if server.has_ended() {
            return Err(io::Error::other("it ended at once"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!(
        "its bucket is not there after {START_SECONDS_MAX} s"
    )))
}
