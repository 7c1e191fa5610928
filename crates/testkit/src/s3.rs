//! A real S3 server on loopback: s3s-fs over a scratch folder, in this process or in one of its own.
//!
//! What must hold: signatures are checked, every bucket exists before the first request, and the
//! server is gone when it is dropped. What s3s-fs gets wrong is part of its use here: it lets
//! several create-only writers win, which is why nothing may rest on conditional writes.

mod pages;

use crate::host::Host;
use crate::process::{Spawned, built_binary};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use pages::Paged;
use s3s::auth::SimpleAuth;
use s3s::host::MultiDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The access key the test servers know.
pub const ACCESS_KEY: &str = "AKIATESTKITTESTKIT00";
/// The secret key that goes with it.
pub const SECRET_KEY: &str = "testkit/secret/for/loopback/only/0000000";
/// The region they say they are in.
pub const REGION: &str = "us-east-1";

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The folder that holds the buckets; a scratch folder when there is none.
    pub root: Option<PathBuf>,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// The access key that is accepted.
    pub access_key: String,
    /// The secret key that goes with it.
    pub secret_key: String,
    /// The port on loopback; 0 lets the system choose.
    pub port: u16,
    /// A domain below which buckets are sub-domains (virtual-hosted style).
    pub domain: Option<String>,
    /// How many threads serve. A process of its own has one a processor, as the program of s3s-fs has.
    pub threads: usize,
}

impl Default for S3Options {
    fn default() -> Self {
        S3Options {
            root: None,
            buckets: vec!["bucket".into()],
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            port: 0,
            domain: None,
            threads: 1,
        }
    }
}

/// An S3 server in this process.
pub struct S3Server {
    host: Host,
    options: S3Options,
    root: PathBuf,
    _scratch: Option<TempDir>,
}

impl S3Server {
    /// Starts a server with one empty bucket named `bucket`.
    pub fn start() -> S3Server {
        S3Server::with(S3Options::default()).expect("an S3 server can be started on loopback")
    }

    /// Starts a server with these options.
    pub fn with(options: S3Options) -> io::Result<S3Server> {
        let (root, scratch) = root_of(&options)?;
        create_buckets(&root, &options.buckets)?;
        let service = service(&root, &options)?;
        let host = Host::start_on(options.threads, options.port, move |stream| {
            let service = service.clone();
            async move {
                let http = ConnectionBuilder::new(TokioExecutor::new());
                // The client may hang up when it likes.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        })?;
        Ok(S3Server {
            host,
            options,
            root,
            _scratch: scratch,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// The endpoint for clients, such as `http://127.0.0.1:40123`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The access key that is accepted.
    pub fn access_key(&self) -> &str {
        &self.options.access_key
    }

    /// The secret key that goes with it.
    pub fn secret_key(&self) -> &str {
        &self.options.secret_key
    }

    /// The folder that holds the buckets; an object is a file below its bucket.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes another bucket.
    pub fn create_bucket(&self, name: &str) {
        create_buckets(&self.root, &[name.to_owned()]).expect("a bucket is a folder");
    }

    /// A store URL for a bucket and prefix here, with endpoint, region and keys in it.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        store_url(
            self.address(),
            bucket,
            prefix,
            self.access_key(),
            self.secret_key(),
        )
    }

    /// The environment a client needs to reach this server with a URL that names neither endpoint nor keys.
    pub fn aws_env(&self) -> Vec<(String, String)> {
        aws_env(&self.endpoint(), self.access_key(), self.secret_key())
    }
}

/// An S3 server in a process of its own, which can be killed like a real one.
pub struct S3Process {
    process: Spawned,
    address: SocketAddr,
    root: PathBuf,
    _scratch: Option<TempDir>,
}

impl S3Process {
    /// Starts the `testkit-s3` binary with one empty bucket named `bucket`.
    pub fn start() -> S3Process {
        S3Process::with(S3Options::default()).expect("the testkit-s3 binary can be started")
    }

    /// Starts the `testkit-s3` binary with these options.
    pub fn with(options: S3Options) -> io::Result<S3Process> {
        let (root, scratch) = root_of(&options)?;
        let mut command = Command::new(built_binary("testkit", "testkit-s3"));
        command
            .arg("--watch-stdin")
            .arg("--root")
            .arg(&root)
            .arg("--port")
            .arg(options.port.to_string());
        command.args([
            "--access-key",
            &options.access_key,
            "--secret-key",
            &options.secret_key,
        ]);
        for bucket in &options.buckets {
            command.args(["--bucket", bucket]);
        }
        let (process, line) = Spawned::start(command, "listening ")?;
        let address = line.parse().map_err(io::Error::other)?;
        Ok(S3Process {
            process,
            address,
            root,
            _scratch: scratch,
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

    /// The folder that holds the buckets.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A store URL for a bucket and prefix here, with endpoint, region and the default keys in it.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        store_url(self.address, bucket, prefix, ACCESS_KEY, SECRET_KEY)
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the process at once.
    pub fn kill(&mut self) {
        self.process.stop();
    }
}

/// The environment with which a client reaches an S3 server on loopback.
pub fn aws_env(endpoint: &str, access_key: &str, secret_key: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", access_key),
        ("AWS_SECRET_ACCESS_KEY", secret_key),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

pub(crate) fn store_url(
    address: SocketAddr,
    bucket: &str,
    prefix: &str,
    access: &str,
    secret: &str,
) -> String {
    // A slash in a secret key is legal in a query, but `+` and `&` are not; ours have neither.
    let place = if prefix.is_empty() {
        bucket.to_owned()
    } else {
        format!("{bucket}/{prefix}")
    };
    format!(
        "s3://{place}?endpoint=http://{address}&region={REGION}&path_style=true&access_key={access}&secret_key={secret}"
    )
}

fn root_of(options: &S3Options) -> io::Result<(PathBuf, Option<TempDir>)> {
    match &options.root {
        Some(root) => Ok((root.clone(), None)),
        None => {
            let scratch = tempfile::Builder::new().prefix("syncline-s3-").tempdir()?;
            Ok((scratch.path().to_owned(), Some(scratch)))
        }
    }
}

fn create_buckets(root: &Path, buckets: &[String]) -> io::Result<()> {
    buckets
        .iter()
        .try_for_each(|bucket| std::fs::create_dir_all(root.join(bucket)))
}

fn service(root: &Path, options: &S3Options) -> io::Result<S3Service> {
    let files = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(Paged {
        files,
        root: root.to_owned(),
    });
    builder.set_auth(SimpleAuth::from_single(
        &options.access_key,
        options.secret_key.as_str(),
    ));
    if let Some(domain) = &options.domain {
        builder.set_host(MultiDomain::new(std::slice::from_ref(domain)).map_err(io::Error::other)?);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn status(address: SocketAddr, target: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_unsigned_request_is_refused_and_dropping_closes_the_port() {
        let server = S3Server::start();
        assert!(
            status(server.address(), "/bucket/key").contains("403"),
            "signatures are checked"
        );
        assert!(server.root().join("bucket").is_dir());
        server.create_bucket("second");
        assert!(server.root().join("second").is_dir());
        let address = server.address();
        drop(server);
        TcpStream::connect(address)
            .map(drop)
            .expect_err("the server is gone");
    }

    #[test]
    fn a_store_url_names_everything_a_client_needs() {
        let server = S3Server::start();
        let url = server.store_url("bucket", "a/b");
        assert!(
            url.starts_with("s3://bucket/a/b?endpoint=http://127.0.0.1:"),
            "{url}"
        );
        assert!(url.contains(SECRET_KEY));
        assert!(server.store_url("bucket", "").starts_with("s3://bucket?"));
        assert!(
            server
                .aws_env()
                .iter()
                .any(|(name, value)| name == "AWS_ENDPOINT_URL" && *value == server.endpoint())
        );
    }
}
