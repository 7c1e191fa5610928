//! Finds the programs of a PostgreSQL server, and the account that may run them.
//!
//! What must hold: a missing server is an error that names the package to install. The programs are those of the newest version found in
//! the places where Debian, Fedora, Alpine and Homebrew put them, or on the path.
//! What it deliberately does not do: install anything, or use a cluster that the system runs already.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that hold a folder per version, with the programs in it or in its `bin`.
const VERSIONED: [&str; 6] = [
    "/usr/lib/postgresql",
    "/usr/libexec",
    "/usr/lib64/pgsql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/usr/local/pgsql",
];

/// The programs of one PostgreSQL version.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    account: Option<(u32, u32)>,
}

impl Programs {
    /// Finds them.
    pub(crate) fn find() -> io::Result<Programs> {
        let folder = server_folder().ok_or_else(|| {
            io::Error::other(
                "no PostgreSQL server was found: install the package `postgresql` (apt-get, dnf: `postgresql-server`, apk, brew), \
                 or run `cargo xtask test`, which does it",
            )
        })?;
        Ok(Programs {
            folder,
            account: account()?,
        })
    }

    /// The path of a program: a server's own folder first, then the path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let own = self.folder.join(name);
        if own.exists() {
            own
        } else {
            PathBuf::from(name)
        }
    }

    /// A command that runs as an account the server accepts; it has no standard input and an English voice.
    pub(crate) fn as_server(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a folder to the server's account.
    pub(crate) fn give(&self, folder: &Path) -> io::Result<()> {
        match self.account {
            Some((user, group)) => std::os::unix::fs::chown(folder, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

fn server_folder() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for parent in VERSIONED.map(Path::new) {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let version = version_in(&entry.file_name().to_string_lossy());
            let folders = [entry.path().join("bin"), entry.path()];
            found.extend(
                folders
                    .into_iter()
                    .filter(|folder| is_server(folder))
                    .map(|folder| (version, folder)),
            );
        }
    }
    found.sort();
    let on_path = env::var_os("PATH");
    let on_path = on_path.iter().flat_map(env::split_paths);
    found
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| on_path.into_iter().find(|folder| is_server(folder)))
}

fn is_server(folder: &Path) -> bool {
    folder.join("initdb").exists() && folder.join("postgres").exists()
}

/// The version in `15`, `postgresql16` or `postgresql@17`; zero if there is none.
fn version_in(name: &str) -> u32 {
    name.trim_start_matches(|c: char| !c.is_ascii_digit())
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The server refuses to run as root, so root lends it the account its package made, or that of nobody.
fn account() -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| ids_of(name, &accounts))
        .map(Some)
        .ok_or_else(|| io::Error::other("root may not run PostgreSQL, and there is no account `postgres`: install the package `postgresql`"))
}

fn ids_of(name: &str, accounts: &str) -> Option<(u32, u32)> {
    let line = accounts
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_accounts_are_read() {
        for (name, version) in [
            ("15", 15),
            ("postgresql16", 16),
            ("postgresql@17", 17),
            ("bin", 0),
        ] {
            assert_eq!(version_in(name), version, "{name}");
        }
        let accounts = "root:x:0:0::/:/bin/sh\npostgres:x:101:104:,,,:/x:/bin/bash\n";
        assert_eq!(ids_of("postgres", accounts), Some((101, 104)));
        assert_eq!(ids_of("nobody", accounts), None);
    }
}
