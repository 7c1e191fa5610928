//! Packages of the system that the tests need, installed by name with the package manager that is there.
//!
//! What must hold: what is there already is left as it is; a package that starts a server of its own at installation is kept from it.
//! What it deliberately does not do: choose versions, or add sources of packages.

use crate::run::{self, Outcome};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a package manager is told, before and with the names of packages.
const MANAGERS: [(&str, &[&str]); 4] = [
    ("apt-get", &["install", "-y", "--no-install-recommends"]),
    ("dnf", &["install", "-y"]),
    ("apk", &["add"]),
    ("brew", &["install"]),
];

/// Where distributions put the programs of a PostgreSQL server; a `*` stands for a version.
const SERVERS: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/libexec/postgresql*",
    "/usr/bin",
    "/usr/lib64/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
];

/// Debian makes and starts a cluster with the package, unless a file here says otherwise.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.d";

/// Debian starts servers at installation, unless this says otherwise.
const MAY_START: &str = "/usr/sbin/policy-rc.d";

/// Names of one thing in the order of [`MANAGERS`].
pub(crate) type Names = [&'static [&'static str]; 4];

/// Makes sure that a PostgreSQL server and `psql` are installed.
pub(crate) fn postgres() -> Outcome {
    if has_postgres() {
        return Ok(());
    }
    let guard = Path::new(CLUSTERS).join("syncline-tests.conf");
    let guarded = fs::create_dir_all(CLUSTERS)
        .and_then(|()| fs::write(&guard, "create_main_cluster = false\n"));
    let installed = install(
        "PostgreSQL",
        [
            &["postgresql", "postgresql-client"],
            &["postgresql-server", "postgresql-contrib", "postgresql"],
            &["postgresql", "postgresql-client", "postgresql-contrib"],
            &["postgresql"],
        ],
    );
    if guarded.is_ok() {
        // Whoever makes a cluster later wants the system's own rules.
        let _ = fs::remove_file(&guard);
        let _ = fs::remove_dir(CLUSTERS);
    }
    installed?;
    if has_postgres() {
        Ok(())
    } else {
        Err("PostgreSQL was installed and its programs `initdb`, `postgres` and `psql` are not found".into())
    }
}

/// Makes sure that nginx is installed, the peer of `homebrew-sync serve`, and wrk, which asks both.
pub(crate) fn nginx() -> Outcome {
    // It ends with 1 when it is asked for its version.
    let has_wrk = Command::new("wrk").arg("-v").output().is_ok();
    if has_wrk && works(Command::new("nginx").arg("-v")) {
        return Ok(());
    }
    let guard = Path::new(MAY_START);
    let is_guarded = !guard.exists()
        && fs::write(guard, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(guard, fs::Permissions::from_mode(0o755)))
            .is_ok();
    let installed = install(
        "nginx and wrk",
        [
            &["nginx-light", "wrk"],
            &["nginx", "wrk"],
            &["nginx", "wrk"],
            &["nginx", "wrk"],
        ],
    );
    if is_guarded {
        // Whoever installs a server later wants the system's own rules.
        let _ = fs::remove_file(guard);
    }
    installed
}

/// Makes sure that the shells are installed whose histories `hx` reads and writes.
pub(crate) fn shells() -> Outcome {
    for shell in ["zsh", "fish", "bash"] {
        if !works(Command::new(shell).args(["-c", "true"])) {
            let name: &'static [&'static str] = match shell {
                "zsh" => &["zsh"],
                "fish" => &["fish"],
                _ => &["bash"],
            };
            install(shell, [name; 4])?;
        }
    }
    Ok(())
}

/// Makes sure that Syncthing is installed, which keeps two devices' folders in step.
pub(crate) fn syncthing() -> Outcome {
    if works(Command::new("syncthing").arg("--version")) {
        return Ok(());
    }
    install("Syncthing", [&["syncthing"]; 4])
}

/// Makes sure that a browser is installed that runs without a screen.
pub(crate) fn chromium() -> Outcome {
    if works(Command::new("chromium").arg("--version")) {
        return Ok(());
    }
    install("Chromium", [&["chromium"]; 4])
}

/// Installs packages with the first package manager that is there; asks `sudo` when we may not.
pub(crate) fn install(what: &str, names: Names) -> Outcome {
    let found = MANAGERS
        .iter()
        .zip(names)
        .find(|((manager, _), _)| works(Command::new(manager).arg("--version")));
    let Some(((manager, verb), names)) = found else {
        return Err(format!(
            "the tests need {what}, and there is no package manager known here: install it and run this again"
        ));
    };
    let mut why = String::new();
    // A fresh machine may know no packages yet, so the second attempt comes after an update.
    for update in [false, true] {
        if update
            && *manager == "apt-get"
            && run::status(privileged(manager).arg("update")).is_err()
        {
            break;
        }
        match run::status(privileged(manager).args(*verb).args(names)) {
            Ok(()) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(format!(
        "the tests need {what}: install {} and run this again ({why})",
        names.join(", ")
    ))
}

fn privileged(manager: &str) -> Command {
    let root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = if root || manager == "brew" {
        Command::new(manager)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("-n").arg(manager);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether a command runs and succeeds, without a word.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn has_postgres() -> bool {
    let is_server =
        |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let server = SERVERS
        .iter()
        .flat_map(|pattern| expand(pattern))
        .any(|folder| is_server(&folder));
    server && works(Command::new("psql").arg("--version"))
}

/// The folders a pattern with at most one `*` stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, start) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["pg15/bin", "pg16/bin", "other/bin"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let mut found = expand(&format!("{}/pg*/bin", folder.path().display()));
        found.sort();
        let expected = ["pg15/bin", "pg16/bin"].map(|name| folder.path().join(name));
        assert_eq!(found, expected);
        assert_eq!(expand("/plain"), [PathBuf::from("/plain")]);
    }
}
