//! A home directory with nothing in it, and the program run in it.
//!
//! What must hold: nothing of the machine's own environment reaches the program but `PATH`.
//!
//! What it deliberately does not do: hide the exit code; each test names the one it expects.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// Three commands of zsh, one of two lines and one with a secret.
pub(crate) const ZSH: &str = ": 1700000000:3;git status\n: 1700000100:0;docker run -it ubuntu \\\n  bash\n: 1700000200:0;export API_TOKEN=hunter2secret\n";

/// A person's account on a machine.
pub(crate) struct Device {
    home: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Device {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a scratch directory");
        Self {
            home,
            env: vec![
                ("HX_HOST".into(), "box".into()),
                ("TZ".into(), "UTC".into()),
            ],
        }
    }

    /// One whose history has been imported from [`ZSH`].
    pub(crate) fn with_history() -> Self {
        let device = Self::new();
        device.write(".zsh_history", ZSH);
        device.hx(&["import"]).succeeds();
        device
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// A path as an argument.
    pub(crate) fn name(&self, below: &str) -> String {
        self.path(below)
            .to_str()
            .expect("scratch paths are UTF-8")
            .to_owned()
    }

    pub(crate) fn write(&self, below: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("it is below the home")).expect("a directory");
        fs::write(path, content).expect("a file");
        self.name(below)
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).expect("a file")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hx"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.env.iter().cloned())
            .current_dir(self.home.path());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    #[must_use]
    pub(crate) fn hx(&self, args: &[&str]) -> Ran {
        self.hx_reading(args, "")
    }

    #[must_use]
    pub(crate) fn hx_reading(&self, args: &[&str], input: &str) -> Ran {
        let output = self
            .command()
            .args(args)
            .write_stdin(input)
            .output()
            .expect("the program starts");
        Ran {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// The ids of what `hx find` finds, best first.
    pub(crate) fn ids(&self, args: &[&str]) -> Vec<String> {
        let found = self.hx(&[&["find", "--json"], args].concat());
        let hits = found.json();
        hits.as_array()
            .expect("an array")
            .iter()
            .map(|hit| hit["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// Whether anything is in the home directory that was not there.
    pub(crate) fn entries(&self) -> Vec<String> {
        names(self.home.path())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

impl Ran {
    /// It ended with 0 and no error or warning.
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        assert!(
            !self.err.contains("error:") && !self.err.contains("warning:"),
            "{self:?}"
        );
        self
    }

    /// It ended with this code, an error and a remedy on stderr, and nothing on stdout.
    pub(crate) fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(
            self.err.starts_with("error: ") && self.err.contains(says),
            "{self:?}"
        );
        assert!(self.err.contains("\nhint: "), "no remedy: {self:?}");
        assert_eq!(self.out, "", "{self:?}");
        self
    }

    /// It is refused by the parser of the command line.
    pub(crate) fn misused(self, says: &str) -> Self {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.contains(says) && self.out.is_empty(), "{self:?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
