//! Runs the program where a directory is another disk: one that may only be read, or a small one.
//!
//! What must hold: nobody else sees the mount, and nothing of it is left; where mounts are not to be had, the test fails and says what
//! is missing.
//!
//! It deliberately needs no rights of its own: who is not root mounts in a namespace of users.

use std::path::Path;
use std::process::Command;

use crate::world::{Ended, Site};

/// Makes a directory one that may only be read.
pub const READ_ONLY: &str = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0""#;

/// Puts a disk of 40 KiB in a directory's place.
pub const FULL: &str = r#"mount -t tmpfs -o size=40k,mode=777 tmpfs "$0""#;

const NEEDED: &str = "this test needs mounts of its own: `unshare` and `mount` (util-linux) on Linux, and as root the right to mount \
    (CAP_SYS_ADMIN: start a container with `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`), else namespaces of users \
    (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)";

/// Runs the program to its end while a script has changed what a directory is; `$0` is the directory.
pub fn mounted(site: &Site, script: &str, dir: &Path, arguments: &[&str]) -> Ended {
    let tried = in_namespace(site, &format!("{script} && cd ."), dir).output();
    let tried = tried.unwrap_or_else(|error| panic!("{NEEDED}; unshare: {error}"));
    let why = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success(), "{NEEDED}; it said: {why}");
    let command = site.command(arguments);
    let mut wrapped = in_namespace(site, &format!(r#"{script} && cd . && exec "$@""#), dir);
    wrapped.arg(command.get_program()).args(arguments);
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.expect("a value"));
    }
    Ended::of(wrapped, arguments)
}

fn in_namespace(site: &Site, script: &str, dir: &Path) -> Command {
    let mut unshare = Command::new("unshare");
    unshare
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(site.folder());
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--mount", "sh", "-c", script]).arg(dir);
    unshare
}
