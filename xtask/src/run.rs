//! Running other programs, from the root of the workspace, with what they print passed through.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Success, or one sentence on what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo sets this when it runs the task; the compiled-in one serves a copied binary's tests.
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    Path::new(&here)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The cargo that runs this task, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program and fails when it does.
pub(crate) fn command(program: &str, args: &[&str]) -> Outcome {
    let mut command = if program == "cargo" {
        cargo()
    } else {
        Command::new(program)
    };
    command.current_dir(root()).args(args);
    status(&mut command)
}

/// Runs a prepared command and fails when it does; prints it first.
pub(crate) fn status(command: &mut Command) -> Outcome {
    eprintln!("+ {}", shown(command));
    let status = command
        .status()
        .map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} failed: {status}", shown(command)))
    }
}

/// Runs a prepared command and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
    if !status.success() {
        return Err(format!(
            "{} failed: {}",
            shown(command),
            String::from_utf8_lossy(&stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// The directory cargo builds into.
pub(crate) fn target_dir() -> Outcome<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "cargo names no target directory".to_owned())
}

/// What `cargo metadata` says.
pub(crate) fn metadata(more: &[&str]) -> Outcome<serde_json::Value> {
    let text = output(
        cargo()
            .args(["metadata", "--format-version", "1"])
            .args(more),
    )?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
