//! Moto, a model of AWS in Python, as a process: S3 with versions and lifecycle rules, STS and IAM.
//!
//! It must hold that a missing moto is a failing test which says how to get it. `cargo xtask test`
//! installs it into the target directory and hands the Python over in `SYNCLINE_MOTO`.
//! Moto checks neither secrets nor checksums, so it can show neither wrong keys nor corruption.

use crate::process::Spawned;
use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// The variable that holds the path of a Python that has moto.
pub const MOTO_VARIABLE: &str = "SYNCLINE_MOTO";

/// Runs the server on a port the system chooses, and ends with its standard input.
const PROGRAM: &str = include_str!("start_moto.py");

/// Moto wants a signature and does not look at it.
const UNCHECKED: &str = "AWS4-HMAC-SHA256 Credential=AKIATESTKITTESTKIT00/20260101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";

/// A running moto; dropping it kills it.
pub struct Moto {
    _process: Spawned,
    address: SocketAddr,
}

impl Moto {
    /// Starts moto with one empty bucket named `bucket`.
    ///
    /// # Panics
    /// When `SYNCLINE_MOTO` is not set, because a test that cannot run has failed.
    pub fn start() -> Moto {
        let Some(python) = env::var_os(MOTO_VARIABLE) else {
            panic!("{MOTO_VARIABLE} is not set: this test needs moto, run `cargo xtask test`");
        };
        let mut command = Command::new(python);
        command.args(["-u", "-c", PROGRAM]);
        let (process, line) = Spawned::start_by_log(command, " * Running on http://")
            .unwrap_or_else(|error| {
                panic!("moto does not start ({error}): run `cargo xtask test`")
            });
        let address = line.parse().expect("moto prints its address");
        let moto = Moto {
            _process: process,
            address,
        };
        moto.create_bucket("bucket");
        moto
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for clients, for every AWS service.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A store URL for a bucket and prefix here.
    pub fn store_url(&self, bucket: &str, prefix: &str) -> String {
        crate::s3::store_url(
            self.address,
            bucket,
            prefix,
            crate::s3::ACCESS_KEY,
            crate::s3::SECRET_KEY,
        )
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, name: &str) {
        let answer = self
            .ask("PUT", &format!("/{name}"), "")
            .expect("moto answers");
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "moto makes a bucket: {answer}"
        );
    }

    /// Sends one S3 request with a signature nobody checks, and returns the whole answer.
    pub fn ask(&self, method: &str, target: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {UNCHECKED}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_it_is_given_and_knows_versions() {
        let moto = Moto::start();
        let versioned =
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        moto.ask("PUT", "/bucket?versioning", versioned)
            .expect("an answer");
        for text in ["one", "two"] {
            let answer = moto.ask("PUT", "/bucket/key", text).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        assert!(
            moto.ask("GET", "/bucket/key", "")
                .expect("an answer")
                .ends_with("two")
        );
        let versions = moto.ask("GET", "/bucket?versions", "").expect("an answer");
        assert_eq!(versions.matches("<Version>").count(), 2, "{versions}");
    }
}
