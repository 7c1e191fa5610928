//! The settings of `hx`: one struct out of flags, environment, configuration file and defaults.
//!
//! What must hold: [`SETTINGS`] is the only list of them; resolving reads nothing but its arguments; a broken file or
//! value still leaves settings to work with, beside the problems, so that help and `config` never fail because of one.
//!
//! It deliberately reads no environment by itself, and keeps credentials out of the configuration file: they live in
//! [`credentials`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use console::spec::{Flags, Layers, Resolved, resolve};
use console::{ConfigFile, Env, Origin, Problem, Setting, Severity};
use store::{StoreUrl, Tuning};

mod checks;
pub mod credentials;
pub mod docs;
mod entries;
mod paths;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use entries::Entry;
pub use paths::Paths;
pub use table::SETTINGS;
pub use write::write_store;

/// All variables of ours begin with this.
pub const ENV_PREFIX: &str = "HX_";

/// Holds a text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret itself, to be handed on and not to be printed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Says what is profiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing.
    Off,
    /// Where the processor spends its time; written as a flame graph.
    Cpu,
}

/// Holds what governs a sync.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// How long one request may take.
    pub timeout: Setting<Duration>,
    /// How long setting up a connection may take.
    pub connect_timeout: Setting<Duration>,
    /// How long an answer may stall.
    pub read_timeout: Setting<Duration>,
    /// How long an operation may take, retries included.
    pub total_timeout: Setting<Duration>,
    /// How often a request is sent again.
    pub max_retries: Setting<usize>,
    /// Objects written at once.
    pub concurrent_uploads: Setting<usize>,
    /// Objects read at once.
    pub concurrent_downloads: Setting<usize>,
    /// Requests under way at once.
    pub max_connections: Setting<usize>,
    /// Raw bytes of a segment.
    pub chunk_size: Setting<u64>,
    /// Bytes of all segments in memory.
    pub max_memory_usage: Setting<u64>,
    /// Whether only one segment is in memory at a time.
    pub streaming: Setting<bool>,
    /// Whether segments are compressed.
    pub compression: Setting<bool>,
    /// How hard.
    pub compression_level: Setting<i32>,
    /// Records in one local batch.
    pub batch_size: Setting<usize>,
    /// How long status and background work trust the manifests they have.
    pub manifest_cache_ttl: Setting<Duration>,
    /// Where the vault is, as given and perhaps with keys in it; [`Settings::store_url`] parses it.
    pub store: Option<Setting<Secret>>,
    /// The passphrase from the environment.
    pub passphrase: Option<Setting<Secret>>,
    /// A file whose first line is the passphrase.
    pub passphrase_file: Option<Setting<PathBuf>>,
}

/// Holds every setting in effect, with its origin.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What governs a sync.
    pub sync: SyncSettings,
    /// How much is logged.
    pub log_level: Setting<String>,
    /// What is profiled.
    pub profile: Setting<Profile>,
    /// The host name written into imported commands; none takes the machine's.
    pub host: Option<Setting<String>>,
    home: Option<PathBuf>,
    resolved: Resolved,
}

impl Settings {
    /// Resolves the settings, or says everything that is wrong with them.
    ///
    /// The file is its path and its contents; none if there is no file. Warnings alone do not fail.
    ///
    /// # Errors
    /// All problems, if at least one is an error.
    pub fn resolve(
        flags: &Flags,
        env: &Env,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, Vec<Problem>> {
        let (settings, problems) = Self::resolve_leniently(flags, env, file);
        if problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
        {
            Err(problems)
        } else {
            Ok(settings)
        }
    }

    /// Resolves the settings with defaults in place of what is wrong, and names it.
    #[must_use]
    pub fn resolve_leniently(
        flags: &Flags,
        env: &Env,
        file: Option<(&Path, &str)>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let file = match file
            .map(|(path, text)| ConfigFile::parse(path, text))
            .transpose()
        {
            Ok(file) => file,
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let layers = Layers {
            flags,
            env,
            file: file.as_ref(),
            env_prefix: ENV_PREFIX,
        };
        let (resolved, found) = resolve(SETTINGS, &layers);
        problems.extend(found);
        let settings = Self::from_resolved(resolved, env);
        problems.extend(checks::check(&settings));
        (settings, problems)
    }

    /// Reads the configuration file and resolves leniently. A missing file is fine; one that cannot be read is a problem.
    #[must_use]
    pub fn load(flags: &Flags, env: &Env, paths: &Paths) -> (Self, Vec<Problem>) {
        match std::fs::read_to_string(paths.config_file()) {
            Ok(text) => Self::resolve_leniently(flags, env, Some((paths.config_file(), &text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::resolve_leniently(flags, env, None)
            }
            Err(error) => {
                let (settings, mut problems) = Self::resolve_leniently(flags, env, None);
                problems.insert(0, unreadable(paths.config_file(), &error));
                (settings, problems)
            }
        }
    }

    fn from_resolved(resolved: Resolved, env: &Env) -> Self {
        let text = |name: &str| resolved.text(name);
        let default_text = |fallback: &str| Setting::new(fallback.to_string(), Origin::Default);
        let profile = text("HX_PROFILE").unwrap_or_else(|| default_text("off"));
        Self {
            sync: SyncSettings::from_resolved(&resolved, env),
            log_level: text("HX_LOG_LEVEL").unwrap_or_else(|| default_text("warn")),
            profile: profile.map(|word| {
                if word == "cpu" {
                    Profile::Cpu
                } else {
                    Profile::Off
                }
            }),
            host: text("HX_HOST"),
            home: env.get("HOME").map(PathBuf::from),
            resolved,
        }
    }

    /// Parses the store URL, if there is one; `~` in a folder is the home directory.
    ///
    /// # Errors
    /// The problem with it.
    pub fn store_url(&self) -> Result<Option<Setting<StoreUrl>>, Problem> {
        let Some(given) = &self.sync.store else {
            return Ok(None);
        };
        match StoreUrl::from_str(given.value.expose()) {
            Ok(url) => {
                let url = match &self.home {
                    Some(home) => url.expand_home(home),
                    None => url,
                };
                Ok(Some(Setting::new(url, given.origin.clone())))
            }
            Err(error) => Err(checks::bad_store(given, &error)),
        }
    }

    /// Returns the limits and parallelism for a store.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        let sync = &self.sync;
        Tuning {
            connect_timeout: sync.connect_timeout.value,
            read_timeout: sync.read_timeout.value,
            request_timeout: sync.timeout.value,
            total_timeout: sync.total_timeout.value,
            max_retries: sync.max_retries.value,
            max_connections: sync.max_connections.value,
            concurrent_uploads: sync.concurrent_uploads.value,
            concurrent_downloads: sync.concurrent_downloads.value,
            ..Tuning::default()
        }
    }

    /// Returns how many segments may be in memory at once while writing.
    #[must_use]
    pub fn uploads_in_flight(&self) -> usize {
        self.in_flight(self.sync.concurrent_uploads.value)
    }

    /// Returns how many segments may be in memory at once while reading.
    #[must_use]
    pub fn downloads_in_flight(&self) -> usize {
        self.in_flight(self.sync.concurrent_downloads.value)
    }

    /// A segment is in memory raw and sealed, hence twice. One is always allowed: it could not move otherwise.
    fn in_flight(&self, concurrent: usize) -> usize {
        if self.sync.streaming.value {
            return 1;
        }
        let fitting =
            self.sync.max_memory_usage.value / self.sync.chunk_size.value.saturating_mul(2).max(1);
        usize::try_from(fitting)
            .unwrap_or(usize::MAX)
            .clamp(1, concurrent.max(1))
    }

    /// Returns the compression level, or none if compression is off.
    #[must_use]
    pub fn compression_level(&self) -> Option<i32> {
        self.sync
            .compression
            .value
            .then_some(self.sync.compression_level.value)
    }

    /// Returns the host name for what is imported and recorded here: the one that is set, or else the machine's own.
    #[must_use]
    pub fn host_name(&self) -> String {
        match &self.host {
            Some(host) => host.value.clone(),
            None => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// Lists every setting for `config show`, secrets masked.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        entries::entries(&self.resolved)
    }
}

impl SyncSettings {
    fn from_resolved(resolved: &Resolved, env: &Env) -> Self {
        let fetch = Fetch(resolved);
        Self {
            timeout: fetch.duration("HX_SYNC_TIMEOUT"),
            connect_timeout: fetch.duration("HX_SYNC_CONNECT_TIMEOUT"),
            read_timeout: fetch.duration("HX_SYNC_READ_TIMEOUT"),
            total_timeout: fetch.duration("HX_SYNC_TOTAL_TIMEOUT"),
            max_retries: fetch.count("HX_SYNC_MAX_RETRIES"),
            concurrent_uploads: fetch.count("HX_SYNC_CONCURRENT_UPLOADS"),
            concurrent_downloads: fetch.count("HX_SYNC_CONCURRENT_DOWNLOADS"),
            max_connections: fetch.count("HX_SYNC_MAX_CONNECTIONS"),
            chunk_size: fetch.size("HX_SYNC_CHUNK_SIZE"),
            max_memory_usage: fetch.size("HX_SYNC_MAX_MEMORY_USAGE"),
            streaming: fetch.bool("HX_SYNC_STREAMING"),
            compression: fetch.bool("HX_SYNC_COMPRESSION"),
            compression_level: fetch
                .count("HX_SYNC_COMPRESSION_LEVEL")
                .map(|level| i32::try_from(level).unwrap_or(i32::MAX)),
            batch_size: fetch.count("HX_SYNC_BATCH_SIZE"),
            manifest_cache_ttl: fetch.duration("HX_SYNC_MANIFEST_CACHE_TTL"),
            store: resolved
                .text("HX_SYNC_STORE")
                .map(|setting| setting.map(Secret)),
            passphrase: resolved
                .text("HX_SYNC_PASSPHRASE")
                .map(|setting| setting.map(Secret)),
            passphrase_file: resolved
                .text("HX_SYNC_PASSPHRASE_FILE")
                .map(|setting| setting.map(|path| paths::expand_home(&path, env))),
        }
    }
}

/// Takes values that always exist because the table gives them a default of the right kind; a test holds the table to it.
struct Fetch<'a>(&'a Resolved);

impl Fetch<'_> {
    fn duration(&self, name: &str) -> Setting<Duration> {
        self.0
            .duration(name)
            .expect("the table gives every duration a default")
    }

    fn size(&self, name: &str) -> Setting<u64> {
        self.0
            .size(name)
            .expect("the table gives every size a default")
    }

    fn count(&self, name: &str) -> Setting<usize> {
        let setting = self
            .0
            .integer(name)
            .expect("the table gives every number a default");
        setting.map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    fn bool(&self, name: &str) -> Setting<bool> {
        self.0
            .bool(name)
            .expect("the table gives every switch a default")
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        place: format!("file {}", path.display()),
        what: format!("cannot be read: {error}"),
        nearest: None,
        remedy: "check that it is a text file and who may read it".to_string(),
        severity: Severity::Error,
    }
}
