//! A small world for tests of the real binary: devices with homes of their own, around one folder or one bucket.
//!
//! What must hold: a command sees only the environment that is made here; everything is on loopback or below a scratch
//! directory; no run may print a secret, whatever else the test looks at.
//!
//! Two devices in sync are made once a process and copied: creating a vault is slow on purpose. The endpoint of the
//! bucket comes from the environment, so that a copy finds its own.
//!
//! It deliberately knows no expected message: the tests say what a person must see.

#![allow(dead_code)] // Two test binaries share this file, and each uses a part of it.

use crate::call::Call;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;
use testkit::s3::{ACCESS_KEY, SECRET_KEY};
use testkit::{S3Options, S3Server, ScriptedProxy};

/// The passphrase of every vault here.
pub(crate) const PASSPHRASE: &str = "the-secret-passphrase-of-the-vault";
/// What it is changed to.
pub(crate) const NEW_PASSPHRASE: &str = "another-secret-passphrase-instead";
/// The store in a bucket. It names no endpoint and no keys: those come from the environment.
pub(crate) const BUCKET: &str = "s3://bucket/hx?region=us-east-1";
/// The store in a folder of the world's home.
pub(crate) const FOLDER: &str = "folder:~/vault";

/// What the first device has from the start.
const ON_LAPTOP: &str =
    ": 1700000000:0;cargo build --release\n: 1700000060:0;git push origin main\n";
/// What the second device has from the start.
const ON_DESKTOP: &str = ": 1700000120:0;docker run --rm alpine\n";

/// A home, and a store.
pub(crate) struct World {
    home: TempDir,
    server: Option<S3Server>,
    proxy: Option<ScriptedProxy>,
}

impl World {
    /// A home in which nothing was ever done, and an empty bucket behind a proxy.
    pub(crate) fn empty() -> World {
        World::over(scratch())
    }

    /// A home in which nothing was ever done, and no bucket.
    pub(crate) fn without_bucket() -> World {
        World {
            home: scratch(),
            server: None,
            proxy: None,
        }
    }

    /// Two devices, `laptop` and `desktop`, in sync over a folder.
    pub(crate) fn on_folder() -> World {
        let home = scratch();
        copy_tree(template(FOLDER), home.path());
        let world = World {
            home,
            server: None,
            proxy: None,
        };
        // The vault has moved together with its devices. They have the key, so nobody is asked for it.
        for device in [world.laptop(), world.desktop()] {
            device.hx("sync init --store").arg(FOLDER).run().ok();
        }
        world
    }

    /// Two devices, `laptop` and `desktop`, in sync over a bucket behind a proxy.
    pub(crate) fn on_s3() -> World {
        let home = scratch();
        copy_tree(template(BUCKET), home.path());
        World::over(home)
    }

    fn over(home: TempDir) -> World {
        let options = S3Options {
            root: Some(home.path().join("s3")),
            ..S3Options::default()
        };
        let server = S3Server::with(options).expect("a server on loopback");
        let proxy = ScriptedProxy::in_front_of(server.address());
        World {
            home,
            server: Some(server),
            proxy: Some(proxy),
        }
    }

    /// A device, by its name.
    pub(crate) fn device(&self, name: &'static str) -> Device<'_> {
        Device { world: self, name }
    }

    /// The first device.
    pub(crate) fn laptop(&self) -> Device<'_> {
        self.device("laptop")
    }

    /// The second device.
    pub(crate) fn desktop(&self) -> Device<'_> {
        self.device("desktop")
    }

    /// The proxy in front of the bucket.
    pub(crate) fn proxy(&self) -> &ScriptedProxy {
        self.proxy.as_ref().expect("this world has a bucket")
    }

    /// The server behind the proxy.
    pub(crate) fn server(&self) -> &S3Server {
        self.server.as_ref().expect("this world has a bucket")
    }

    /// Whether the store is a bucket.
    pub(crate) fn is_on_s3(&self) -> bool {
        self.server.is_some()
    }

    /// The home directory that all devices here share.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the vault's objects are files.
    pub(crate) fn vault(&self) -> PathBuf {
        match self.server {
            Some(_) => self.home().join("s3/bucket/hx"),
            None => self.home().join("vault"),
        }
    }

    /// The files of the vault below a part of it, such as `manifests`, in the order of their names.
    pub(crate) fn objects(&self, part: &str) -> Vec<PathBuf> {
        files_below(&self.vault().join(part))
    }

    /// Writes a file into the home and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::write(&path, text).expect("the scratch directory is writable");
        path
    }
}

/// One machine.
#[derive(Clone, Copy)]
pub(crate) struct Device<'w> {
    world: &'w World,
    name: &'static str,
}

impl<'w> Device<'w> {
    /// A run of hx with these words as arguments; what is in quotes in a shell is an argument of [`Call::arg`] here.
    pub(crate) fn hx(&self, words: &str) -> Call {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hx"));
        command.env_clear().envs(self.environment());
        command.args(words.split_whitespace());
        Call::new(command, words)
    }

    /// The same without the power to write where permissions forbid it, which root has otherwise.
    pub(crate) fn hx_as_anyone(&self, words: &str) -> Call {
        if !rustix::process::geteuid().is_root() {
            return self.hx(words);
        }
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]);
        command.arg(env!("CARGO_BIN_EXE_hx"));
        command.env_clear().envs(self.environment());
        command.args(words.split_whitespace());
        Call::new(command, words)
    }

    /// A line for bash, in the same environment, with `hx` on the path.
    pub(crate) fn shell(&self, line: &str) -> Call {
        // Whoever started the tests may ignore signals, which then tells nothing of what the shell does to a command.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,QUIT,XFSZ", "bash"]);
        command.env_clear().envs(self.environment());
        let hx = Path::new(env!("CARGO_BIN_EXE_hx"));
        let bin = hx.parent().expect("a binary lies in a directory");
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.args(["-c", line]).current_dir(self.world.home());
        Call::new(command, line)
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let home = self.world.home();
        let below = |part: &str| home.join(self.name).join(part).display().to_string();
        let mut env: BTreeMap<String, String> = [
            ("HOME", home.display().to_string()),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("XDG_DATA_HOME", below("data")),
            ("XDG_CONFIG_HOME", below("config")),
            ("HX_HOST", self.name.to_owned()),
            // A failure is to show soon, and a busy machine is not to make one.
            ("HX_SYNC_MAX_RETRIES", "1".to_owned()),
            ("HX_SYNC_TIMEOUT", "20s".to_owned()),
            ("HX_SYNC_TOTAL_TIMEOUT", "60s".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(proxy) = &self.world.proxy {
            env.insert("AWS_ENDPOINT_URL".into(), proxy.endpoint());
            env.insert("AWS_ACCESS_KEY_ID".into(), ACCESS_KEY.into());
            env.insert("AWS_SECRET_ACCESS_KEY".into(), SECRET_KEY.into());
        }
        env
    }

    /// `hx sync init` with the vault's passphrase.
    pub(crate) fn init(&self, url: &str) -> Call {
        self.hx("sync init --store")
            .arg(url)
            .env("HX_SYNC_PASSPHRASE", PASSPHRASE)
    }

    /// Imports one more command, as if it had been typed.
    pub(crate) fn types(&self, command: &str) {
        let started = 1_700_001_000 + command.len();
        let name = format!("{}-typed", self.name);
        let file = self
            .world
            .file(&name, &format!(": {started}:0;{command}\n"));
        self.hx("import --file").arg(&file).run().ok();
    }

    /// Every command of the history with its time, in one text that two devices can be compared by.
    pub(crate) fn history(&self) -> Vec<String> {
        let run = self.hx("export --file - --format zsh").run().ok();
        let mut lines: Vec<String> = run.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Whether the history holds this command.
    pub(crate) fn has(&self, command: &str) -> bool {
        self.history()
            .iter()
            .any(|line| line.ends_with(&format!(";{command}")))
    }

    /// How many records `hx sync status` says are pending.
    pub(crate) fn pending(&self) -> u64 {
        let run = self.hx("sync status --offline --json").run().ok();
        run.json()["pending"].as_u64().expect("a number")
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.world.home().join(self.name).join("data/hx")
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.world
            .home()
            .join(self.name)
            .join("config/hx/config.yaml")
    }

    /// Everything that counts as configured: the configuration file and the keys, with their bytes.
    pub(crate) fn configuration(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let keys = files_below(&self.data().join("keys"));
        let files = keys.into_iter().chain([self.config()]);
        files
            .filter_map(|path| Some((path.clone(), fs::read(&path).ok()?)))
            .collect()
    }

    /// Makes `clone` the same machine: its data, identity and configuration are copied.
    pub(crate) fn clone_to(&self, clone: &'static str) -> Device<'w> {
        let home = self.world.home();
        copy_tree(&home.join(self.name), &home.join(clone));
        self.world.device(clone)
    }
}

/// Two devices in sync, made once for each kind of store.
fn template(url: &'static str) -> &'static Path {
    static ON_FOLDER: OnceLock<PathBuf> = OnceLock::new();
    static ON_S3: OnceLock<PathBuf> = OnceLock::new();
    let cell = if url == FOLDER { &ON_FOLDER } else { &ON_S3 };
    cell.get_or_init(|| {
        let world = if url == FOLDER {
            World {
                home: scratch(),
                server: None,
                proxy: None,
            }
        } else {
            World::empty()
        };
        let (laptop, desktop) = (world.laptop(), world.desktop());
        for (device, text) in [(laptop, ON_LAPTOP), (desktop, ON_DESKTOP)] {
            let file = world.file("first-history", text);
            device.hx("import --file").arg(&file).run().ok();
            device.init(url).run().ok();
            device.hx("sync").run().ok();
        }
        laptop.hx("sync pull").run().ok();
        assert_eq!(laptop.history(), desktop.history());
        // It must outlive every test of this process; `scratch` removes what dead processes left.
        world.home.keep()
    })
}

/// A directory of this process; those of processes that are gone are removed.
fn scratch() -> TempDir {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hx-worlds");
    let own = root.join(std::process::id().to_string());
    fs::create_dir_all(&own).expect("the target directory is writable");
    static SWEEP: OnceLock<()> = OnceLock::new();
    SWEEP.get_or_init(|| {
        let of_dead = |entry: &fs::DirEntry| !Path::new("/proc").join(entry.file_name()).exists();
        for entry in fs::read_dir(&root)
            .expect("it was just made")
            .flatten()
            .filter(of_dead)
        {
            // Another test process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    });
    TempDir::new_in(own).expect("the target directory is writable")
}

/// The files below a directory, in the order of their names; none if it does not exist.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a directory with everything in it; modes stay.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the scratch directory is writable");
    let done = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "cannot copy {} to {}",
        from.display(),
        to.display()
    );
}
