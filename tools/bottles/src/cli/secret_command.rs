//! A line of shell that prints a secret, so that it may come from any secret store.
//!
//! What must hold: it is waited for some seconds and no longer; then it is ended with all that it has begun, and so it is if it is not waited for any
//! more. What it says on stderr is not shown: it may have the secret too.
//!
//! It deliberately gives it no terminal: who has to be asked for a password stores the secret elsewhere.

use console::Env;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// So long a program has to print a secret.
const AT_MOST: Duration = Duration::from_secs(10);

/// More than this is no secret.
const PRINTED_MAX: u64 = 1 << 20;

/// Runs a line of shell; returns what it prints.
///
/// # Errors
/// Says why it did not print a text, without any part of it.
pub(super) async fn printed(line: &str, env: &Env) -> Result<String, String> {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .env_clear()
        .envs(env.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| error.to_string())?;
    let mut group = Group(child);
    let reading = tokio::time::timeout(AT_MOST, group.output()).await;
    let (status, text) = reading
        .map_err(|_| format!("it did not end within {} s", AT_MOST.as_secs()))?
        .map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!(
            "it failed with {status}; run it by hand to see why"
        ));
    }
    String::from_utf8(text).map_err(|_| "it printed what is no text".to_owned())
}

/// A process that leads a group of its own.
struct Group(Child);

impl Group {
    async fn output(&mut self) -> std::io::Result<(std::process::ExitStatus, Vec<u8>)> {
        let mut text = Vec::new();
        if let Some(stdout) = self.0.stdout.take() {
            stdout.take(PRINTED_MAX).read_to_end(&mut text).await?;
        }
        Ok((self.0.wait().await?, text))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that was waited for has no number any more: then it has ended by itself, and what it left behind is meant to stay.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // It may have ended just now.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
