//! A mail server (aiosmtpd) as a process: each mail that it takes becomes a file.
//!
//! It must hold that a missing aiosmtpd is a failing test which says how to get it. `cargo xtask test` installs it into the target directory
//! and hands the Python over in `SYNCLINE_SMTPD`.

use crate::process::Spawned;
use std::env;
use std::path::Path;
use std::process::Command;

/// The variable that holds the path of a Python that has aiosmtpd.
pub const SMTPD_VARIABLE: &str = "SYNCLINE_SMTPD";

/// Runs the server on a port the system chooses, and ends with its standard input.
const PROGRAM: &str = include_str!("start_smtpd.py");

/// The user that may hand in mail.
pub const USER: &str = "mailer";

/// Its password.
pub const PASSWORD: &str = "hunter2";

/// A running mail server; dropping it kills it. It refuses mail for `nobody@` anywhere.
pub struct Smtpd {
    _process: Spawned,
    port: u16,
}

impl Smtpd {
    /// Starts a server that keeps mail in a directory; with the files of a certificate and its key it speaks TLS from the start.
    ///
    /// # Panics
    /// When `SYNCLINE_SMTPD` is not set, because a test that cannot run has failed.
    pub fn start(mails: &Path, tls: Option<(&Path, &Path)>) -> Smtpd {
        let Some(python) = env::var_os(SMTPD_VARIABLE) else {
            panic!("{SMTPD_VARIABLE} is not set: this test needs aiosmtpd, run `cargo xtask test`");
        };
        let mut command = Command::new(python);
        // It warns of a password without TLS, which a test may want.
        command
            .args(["-u", "-W", "ignore", "-c", PROGRAM])
            .arg(mails);
        if let Some((certificate, key)) = tls {
            command.args([certificate, key]);
        }
        let (process, line) = Spawned::start(command, "listening on ").unwrap_or_else(|error| {
            panic!("aiosmtpd does not start ({error}): run `cargo xtask test`")
        });
        Smtpd {
            _process: process,
            port: line.trim().parse().expect("it prints its port"),
        }
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }
}
