//! Where `hx` keeps its files, by the XDG rules.
//!
//! What must hold: every path of the program comes from here; without a home directory and without orders there is an
//! error, never a file in some surprising place.
//!
//! It deliberately creates nothing but on request: looking must not change anything.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use console::{Env, Exit, Failure};
use store::StoreUrl;

/// Holds the paths of one user's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    config_file: PathBuf,
    data_dir: PathBuf,
}

impl Paths {
    /// Finds the paths: `HX_CONFIG` and `HX_DATA_DIR`, then `XDG_CONFIG_HOME` and `XDG_DATA_HOME`, then the home directory. Without a
    /// home, the configuration file is looked for in `HX_DATA_DIR`.
    ///
    /// # Errors
    /// If a path would depend on the home directory and `HOME` is not set, or the data directory on the current one.
    pub fn resolve(env: &Env) -> Result<Self, Failure> {
        let config_file = match env.get("HX_CONFIG") {
            Some(path) => expand_home(path, env),
            None => match (
                xdg(env, "XDG_CONFIG_HOME", ".config", "HX_CONFIG"),
                env.get("HX_DATA_DIR"),
            ) {
                (Ok(dir), _) => dir.join("hx/config.yaml"),
                (Err(_), Some(data_dir)) => expand_home(data_dir, env).join("config.yaml"),
                (Err(failure), None) => return Err(failure),
            },
        };
        let data_dir = match env.get("HX_DATA_DIR") {
            Some(path) => expand_home(path, env),
            None => xdg(env, "XDG_DATA_HOME", ".local/share", "HX_DATA_DIR")?.join("hx"),
        };
        // It would be another history in every directory.
        if !data_dir.is_absolute() {
            return Err(Failure::new(
                Exit::Config,
                format!("HX_DATA_DIR is a relative path: {}", data_dir.display()),
            )
            .kind("config")
            .hint("Begin it with `/` or `~/`."));
        }
        Ok(Self {
            config_file,
            data_dir,
        })
    }

    /// Makes paths under a data directory, with the configuration file in it; for scratch devices and tests.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        Self {
            config_file: data_dir.join("config.yaml"),
            data_dir: data_dir.to_path_buf(),
        }
    }

    /// Returns the configuration file.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Returns the directory of everything below.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns the history database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("hx.db")
    }

    /// Returns the private directory of keys and credentials.
    #[must_use]
    pub fn keys_dir(&self) -> PathBuf {
        self.data_dir.join("keys")
    }

    /// Returns the private file of credentials that were given in a store URL.
    #[must_use]
    pub fn store_credentials(&self) -> PathBuf {
        self.keys_dir().join("store-credentials.json")
    }

    /// Returns the directory that may be removed at any time after a switch of the store.
    #[must_use]
    pub fn sync_dir(&self) -> PathBuf {
        self.data_dir.join("sync")
    }

    /// Returns the manifest cache; removing it is harmless.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.sync_dir().join("cache")
    }

    /// Returns the folder store used when none is named.
    #[must_use]
    pub fn default_store(&self) -> PathBuf {
        self.sync_dir().join("store")
    }

    /// Returns the directory of locks and progress of running commands.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.data_dir.join("run")
    }

    /// Returns the lock that one sync at a time holds.
    #[must_use]
    pub fn sync_lock(&self) -> PathBuf {
        self.run_dir().join("sync.lock")
    }

    /// Returns the file in which a running sync says how far it is.
    #[must_use]
    pub fn progress_file(&self) -> PathBuf {
        self.run_dir().join("progress.json")
    }

    /// Tells whether a path lies where hx keeps its own files: what it leads to by way of links, or the link itself.
    #[must_use]
    pub fn are_own(&self, path: &Path) -> bool {
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let parent = path.parent().map(real);
        let link = parent.zip(path.file_name());
        let link = link.map(|(parent, name)| parent.join(name));
        let own = [real(&self.data_dir), real(&self.config_file)];
        [Some(real(path)), link]
            .iter()
            .flatten()
            .any(|path| own.iter().any(|own| path.starts_with(own)))
    }

    /// Refuses a store in a folder where hx keeps its own files, which it removes and replaces as it likes. The store that is there by
    /// default is left alone by everything else.
    ///
    /// # Errors
    /// That it is such a folder.
    pub fn refuse_own(&self, url: &StoreUrl) -> Result<(), Failure> {
        let Some(folder) = url.folder() else {
            return Ok(());
        };
        if real(folder) == real(&self.default_store()) || !self.are_own(folder) {
            return Ok(());
        }
        let what = format!("the vault cannot be kept in {}", folder.display());
        let cause = format!(
            "hx keeps its own files there, in {}, and clears parts of it away: the vault would go with them",
            self.data_dir.display()
        );
        Err(Failure::usage(what).kind("own-folder").cause(cause).hint(
            "Name a folder elsewhere, for example `hx sync init --store folder:~/hx-vault`; if a vault lies there already, move its files into that folder first. Nothing was changed.",
        ))
    }

    /// Creates the data directory and those in it that must be there, readable by the owner only.
    ///
    /// # Errors
    /// If one cannot be created.
    pub fn create(&self) -> Result<(), Failure> {
        for dir in [self.data_dir.clone(), self.keys_dir(), self.run_dir()] {
            create_private_dir(&dir)
                .map_err(|error| Failure::io("create the directory", &dir, &error))?;
        }
        Ok(())
    }
}

/// The path without links and `..`, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut found = PathBuf::new();
    for part in absolute.components() {
        match part {
            // Of what does not exist, only the words can be followed.
            Component::ParentDir => {
                found.pop();
            }
            part => found.push(part),
        }
        found = std::fs::canonicalize(&found).unwrap_or(found);
    }
    found
}

/// Creates a directory and its parents; new ones are for the owner only.
pub(super) fn create_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Replaces a leading `~/` by the home directory, as a shell would have done had it seen the path.
pub(super) fn expand_home(path: &str, env: &Env) -> PathBuf {
    match (path.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn xdg(env: &Env, variable: &str, below_home: &str, instead: &str) -> Result<PathBuf, Failure> {
    // The XDG rules say that a relative path here is to be ignored.
    if let Some(path) = env
        .get(variable)
        .map(Path::new)
        .filter(|path| path.is_absolute())
    {
        return Ok(path.to_path_buf());
    }
    let home = env
        .get("HOME")
        .map(Path::new)
        .filter(|home| home.is_absolute());
    home.map(|home| home.join(below_home)).ok_or_else(|| {
        Failure::config("the home directory is not known: HOME is not set to an absolute path")
            .kind("no-home")
            .hint(format!("set HOME, or {variable}, or {instead}"))
    })
}
