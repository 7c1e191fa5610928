//! Running a program and measuring it: wall time and peak memory.
//!
//! What must hold: the program's environment is only what is given, so that nobody's own configuration takes part.
//! What it deliberately does not do: average; it gives each run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::ScriptedProxy;

/// A program that runs for longer will never end.
const RUN_TIME_MAX: Duration = Duration::from_secs(900);

/// What one run took.
pub struct Measured {
    /// From start to end.
    pub took: Duration,
    /// Highest resident memory, in bytes (read from /proc; 0 where there is none).
    pub peak_bytes: u64,
    /// Processor time in user and kernel, to hundredths of a second (read from /proc; 0 where there is none).
    pub cpu: Duration,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
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
    // Not the null device: a program that shows a secret only once does not count it as shown there.
    let said = tempfile::NamedTempFile::new().map_err(say)?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.reopen().map_err(say)?)
        .stderr(said.reopen().map_err(say)?)
        .spawn()
        .map_err(say)?;
    let status_file = format!("/proc/{}/status", child.id());
    let stat_file = format!("/proc/{}/stat", child.id());
    let (mut peak_bytes, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        peak_bytes = peak_bytes.max(high_water(&status_file));
        cpu = cpu.max(processor_time(&stat_file));
        match child.try_wait().map_err(say)? {
            Some(status) => break status,
            None if begun.elapsed() > RUN_TIME_MAX => {
                child.kill().and_then(|()| child.wait()).map_err(say)?;
                return Err(format!(
                    "{} hangs: killed after {RUN_TIME_MAX:?}",
                    program.display()
                ));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let took = begun.elapsed();
    let stdout = std::fs::read_to_string(output.path()).map_err(say)?;
    let stderr = std::fs::read_to_string(said.path()).map_err(say)?;
    Ok(Measured {
        took,
        peak_bytes,
        cpu,
        stdout,
        stderr,
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

/// Processor time of a running process so far, in user and kernel, to hundredths of a second.
pub fn processor_time_of(id: u32) -> Duration {
    processor_time(&format!("/proc/{id}/stat"))
}

/// Fields 14 and 15 of the file count hundredths of a second; the second field may hold blanks, and ends with a bracket.
fn processor_time(stat_file: &str) -> Duration {
    let text = std::fs::read_to_string(stat_file).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
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

/// Requests, bytes up, bytes down since the proxy was told to forget.
pub fn traffic(proxy: &ScriptedProxy) -> (usize, u64, u64) {
    let seen = proxy.requests();
    let up = seen.iter().map(|request| request.bytes_up).sum();
    let down = seen.iter().map(|request| request.bytes_down).sum();
    (seen.len(), up, down)
}

/// Fails unless a run ended well.
///
/// # Errors
/// With what it printed.
pub fn require(measured: &Measured, what: &str) -> Result<(), String> {
    if measured.code == 0 {
        Ok(())
    } else {
        Err(format!(
            "{what} ended with {}: {}\n{}",
            measured.code, measured.stdout, measured.stderr
        ))
    }
}

/// A folder for the server's objects, in memory where there is such a place: on a disk the first program to run fills the cache of
/// writes, and all that come after it wait for the disk.
///
/// # Errors
/// If it cannot be made.
pub fn in_memory_folder() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let mut folder = tempfile::Builder::new();
    folder.prefix("syncline-bench-");
    match memory.is_dir() {
        true => folder.tempdir_in(memory),
        false => folder.tempdir(),
    }
}

/// Seconds, to hundredths.
pub fn secs(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// Milliseconds, to tenths.
pub fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// Megabytes.
pub fn mb(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
