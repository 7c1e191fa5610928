//! Garage, an S3 server that ignores conditions on writes, as a process; only when it is asked for.
//!
//! It takes about twenty minutes to compile, so it is no part of the ordinary tests:
//! `cargo xtask test --garage` installs it and hands its path over in `SYNCLINE_GARAGE`. It matters
//! because it overwrites where it was told to create: what rests on conditional writes loses data
//! here, in silence.

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

/// Keys in the form that Garage insists on.
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// A server that has not made its bucket by then will not.
const START_SECONDS_MAX: u64 = 60;

/// A running Garage with one empty bucket named `bucket`; dropping it kills it.
pub struct Garage {
    _process: Spawned,
    address: SocketAddr,
    _scratch: TempDir,
}

impl Garage {
    /// Starts Garage when `SYNCLINE_GARAGE` names it; `None` when nobody asked for it.
    ///
    /// # Panics
    /// When it was asked for and does not start.
    pub fn if_asked_for() -> Option<Garage> {
        let program = PathBuf::from(env::var_os(GARAGE_VARIABLE)?);
        Some(
            Garage::start(&program)
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display())),
        )
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A store URL for a bucket and prefix here.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        crate::s3::store_url(self.address, bucket, prefix, ACCESS_KEY, SECRET_KEY)
    }

    fn start(program: &Path) -> io::Result<Garage> {
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
        let process = Spawned::of(command.spawn()?);
        let garage = Garage {
            _process: process,
            address: (Ipv4Addr::LOCALHOST, s3).into(),
            _scratch: scratch,
        };
        wait_for_bucket(program, &config)?;
        Ok(garage)
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

fn wait_for_bucket(program: &Path, config: &Path) -> io::Result<()> {
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
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!(
        "its bucket is not there after {START_SECONDS_MAX} s"
    )))
}
