//! Programs the tests need and a fresh machine lacks, installed by name into the target directory.
//!
//! What must hold: nothing outside the target directory changes, except that a missing Python is
//! installed with the system's package manager where we may use it; a second run finds what the
//! first one installed.

use crate::run::{self, Outcome};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What pip is asked for.
const MOTO: &str = "moto[server]==5.*";

/// Returns a Python that has moto, after installing it if need be.
pub(crate) fn moto() -> Outcome<PathBuf> {
    let tools = tools_dir()?;
    let venv = tools.join("venv").join("bin").join("python");
    let wrapper = tools.join("python-with-moto");
    if let Some(ready) = [&venv, &wrapper]
        .into_iter()
        .find(|python| has_moto(python))
    {
        return Ok(ready.clone());
    }
    let python = python()?;
    eprintln!("Installing moto into {}", tools.display());
    if install_in_venv(&python, &tools, &venv).is_err() {
        // Some systems ship Python without venv; pip alone will do.
        install_beside(&python, &tools, &wrapper)?;
        return Ok(wrapper);
    }
    Ok(venv)
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

fn has_moto(python: &Path) -> bool {
    works(Command::new(python).args(["-c", "import moto.server"]))
}

fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn install_in_venv(python: &str, tools: &Path, venv: &Path) -> Outcome {
    run::status(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(tools.join("venv")),
    )?;
    run::status(Command::new(venv).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        MOTO,
    ]))?;
    if has_moto(venv) {
        Ok(())
    } else {
        Err("moto was installed and cannot be imported".into())
    }
}

fn install_beside(python: &str, tools: &Path, wrapper: &Path) -> Outcome {
    let site = tools.join("site");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .arg(&site)
        .arg(MOTO);
    run::status(&mut pip)?;
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec {python} \"$@\"\n",
        site.display()
    );
    std::fs::write(wrapper, script)
        .map_err(|error| format!("cannot write {}: {error}", wrapper.display()))?;
    run::status(Command::new("chmod").arg("+x").arg(wrapper))?;
    if has_moto(wrapper) {
        Ok(())
    } else {
        Err("moto was installed and cannot be imported".into())
    }
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
    let recipes: [(&str, &[&str]); 4] = [
        (
            "apt-get",
            &["install", "-y", "python3", "python3-venv", "python3-pip"],
        ),
        ("dnf", &["install", "-y", "python3", "python3-pip"]),
        ("apk", &["add", "python3", "py3-pip"]),
        ("brew", &["install", "python3"]),
    ];
    for (manager, args) in recipes {
        if works(Command::new(manager).arg("--version")) && run::command(manager, args).is_ok() {
            break;
        }
    }
    found().map(str::to_owned).ok_or_else(|| {
        "the tests need Python 3.9 or newer with pip, for moto: install it and run this again"
            .to_owned()
    })
}
