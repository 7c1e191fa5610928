//! Starts helper processes for tests and stops them, whatever happens to the test.
//!
//! What must hold: a helper says on its first line of output that it is ready, so nobody waits for
//! a time; it watches its standard input, so it ends even when the test is killed; it is killed when
//! it is dropped. Helpers are found beside the test in the target directory, or built there once.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// A helper process; dropping it kills it.
pub(crate) struct Spawned {
    child: Child,
}

impl Spawned {
    /// Starts a command and waits for the line of its output that holds `ready`; returns what follows it there.
    pub(crate) fn start(mut command: Command, ready: &str) -> io::Result<(Spawned, String)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().expect("its output is a pipe");
        wait_for(child, BufReader::new(output), ready)
    }

    /// As [`Spawned::start`], for a program that says so in its log.
    pub(crate) fn start_by_log(mut command: Command, ready: &str) -> io::Result<(Spawned, String)> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let log = child.stderr.take().expect("its log is a pipe");
        wait_for(child, BufReader::new(log), ready)
    }

    /// Takes over a process that says nothing when it is ready.
    pub(crate) fn of(child: Child) -> Spawned {
        Spawned { child }
    }

    /// Its standard input, once; closing it tells a helper that watches it to end.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        // It fails only when it has ended already, which is what is wanted.
        let _ = self.child.wait();
    }

    /// Kills it and waits for its end.
    pub(crate) fn stop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.stop();
    }
}

fn wait_for(
    child: Child,
    mut output: impl BufRead + Send + 'static,
    ready: &str,
) -> io::Result<(Spawned, String)> {
    let spawned = Spawned { child };
    let mut said = String::new();
    loop {
        let start = said.len();
        if output.read_line(&mut said)? == 0 {
            return Err(io::Error::other(format!(
                "it ended before it was ready: {}",
                said.trim()
            )));
        }
        if let Some((_, rest)) = said[start..].split_once(ready) {
            let rest = rest.trim().to_owned();
            // A full pipe would stop the helper. The thread ends with it.
            std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
            return Ok((spawned, rest));
        }
    }
}

/// The path of a binary of this workspace; builds it when it is not there yet.
///
/// `cargo test --workspace` has built it; `cargo test -p one` has not.
pub fn built_binary(package: &str, binary: &str) -> PathBuf {
    static BUILD: Mutex<()> = Mutex::new(());
    let path = target_dir().join(format!("{binary}{}", env::consts::EXE_SUFFIX));
    let _one_at_a_time = BUILD
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if !path.exists() {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", package, "--bin", binary])
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot build {binary}: run `cargo xtask test`"
        );
    }
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask test`",
        path.display()
    );
    path
}

/// The folder cargo puts this profile's binaries into: two above a test, one above a binary's own.
fn target_dir() -> PathBuf {
    let exe = env::current_exe().expect("a process knows its own path");
    let dir = exe.parent().expect("an executable lies in a folder");
    let above = || dir.parent().map(Path::to_owned);
    match dir.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => above().expect("deps lies in a profile's folder"),
        _ => dir.to_owned(),
    }
}
