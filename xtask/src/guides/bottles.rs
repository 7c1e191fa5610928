//! What the bottles' guide needs beside the S3 server: an upstream to mirror, and the AWS client.
//!
//! What must hold: the upstream is the sample that `homebrew-sync` itself serves on loopback; nobody else's server is asked.
//! What it deliberately does not do: stand in for the cloud side (functions, containers, rules), which does not exist yet.

use super::world::start;
use crate::run::Outcome;
use crate::tools;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The bucket that the guide names.
pub(crate) const BUCKET: &str = "your-homebrew-bucket";

/// A sample upstream.
pub(crate) struct Upstream {
    server: Child,
    flags: String,
    python: PathBuf,
}

impl Upstream {
    /// Starts it; `homebrew-sync` must have been built.
    pub(crate) fn start(programs: &Path) -> Outcome<Upstream> {
        let python = tools::aws()?;
        let mut server = Command::new(programs.join("homebrew-sync"));
        server.arg("sample-upstream").stdout(Stdio::piped());
        let (server, rest) = start(server, "--api ")?;
        Ok(Upstream {
            server,
            flags: format!("--api {rest}"),
            python,
        })
    }

    /// What a block's shells have because of it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("UPSTREAM", self.flags.clone()),
            ("AWS_PYTHON", self.python.display().to_string()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("HOMEBREW_SYNC_STORE", format!("s3://{BUCKET}")),
        ];
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It keeps nothing on disk. Both fail only when it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
