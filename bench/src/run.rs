//! Running a program and measuring it: wall time and peak memory.
//!
//! What must hold: the program's environment is only what is given, so that nobody's own configuration takes part.
//! What it deliberately does not do: average; it gives each run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run took.
pub struct Measured {
    /// From start to end.
    pub took: Duration,
    /// Highest resident memory, in bytes (read from /proc; 0 where there is none).
    pub peak_bytes: u64,
    /// What it printed.
    pub stdout: String,
    /// Its exit code.
    pub code: i32,
}

/// Runs a program to its end.
///
/// # Errors
/// If it cannot be started.
pub fn measure(
    program: &Path,
    arguments: &[&str],
    env: &[(String, String)],
) -> Result<Measured, String> {
    let say = |error: std::io::Error| format!("{}: {error}", program.display());
    let output = tempfile::NamedTempFile::new().map_err(say)?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.reopen().map_err(say)?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(say)?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(high_water(&status_file));
        match child.try_wait().map_err(say)? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let took = begun.elapsed();
    let stdout = std::fs::read_to_string(output.path()).map_err(say)?;
    Ok(Measured {
        took,
        peak_bytes,
        stdout,
        code: status.code().unwrap_or(-1),
    })
}

/// The shortest, and the middle, of many short runs; polling would disturb these.
///
/// # Errors
/// If it cannot be started.
pub fn median(
    program: &Path,
    arguments: &[&str],
    env: &[(String, String)],
    runs: usize,
) -> Result<Duration, String> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let begun = Instant::now();
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[runs / 2])
}

fn high_water(status_file: &str) -> u64 {
    let Ok(text) = std::fs::read_to_string(status_file) else {
        return 0;
    };
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib * 1024)
}
