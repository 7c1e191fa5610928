//! Where everything is and how to run: flags over the application's variables over its `.env` file over defaults.
//!
//! What must hold: the application's variables mean here exactly what they mean to the application; what this tool understands
//! and the application does not is said in a warning; a secret is shown nowhere.
//!
//! What it deliberately does not do: open a database or a store.

mod bucket;
mod database;
mod layers;
mod limits;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use console::{Env, Failure, Origin, Setting};
use store::StoreUrl;

use crate::cli::args::{CommandLine, DirectionArg, SymlinksArg};
use crate::run::session::bad_user;

pub use database::password_encoded;
pub use layers::Layers;
pub use limits::{RunLimits, older_than};

/// Where a container keeps its state files unless something better is said; the guide's commands look there.
const STATE_DIR: &str = "/tmp";

/// How long connecting to the database and each statement may take, unless `DATABASE_TIMEOUT` says otherwise.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that was typed or configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database, with its password.
    pub database_url: Setting<String>,
    /// How long connecting and each statement may take.
    pub database_timeout: Setting<Duration>,
    /// The directory of the application's files, verbatim as the application has it.
    pub upload_path: Setting<PathBuf>,
    /// The application's bucket; none if it is not configured.
    pub bucket: Option<Setting<StoreUrl>>,
    /// The same bucket, addressed in the host name, to be tried if it does not answer; none if an address was ordered.
    pub second_bucket: Option<StoreUrl>,
    /// The store named by `--target`.
    pub target: Option<Setting<StoreUrl>>,
    /// Whether the application itself is set to use S3.
    pub app_uses_s3: Setting<bool>,
    /// Where state files are kept.
    pub state_dir: Setting<PathBuf>,
    /// The description of the tables; Readur's own if none.
    pub mapping: Option<PathBuf>,
    /// Prefixes of paths in the database and where they lie here.
    pub path_map: Vec<(String, PathBuf)>,
    /// Which symbolic links are followed.
    pub symlinks: SymlinksArg,
    /// From where to where.
    pub direction: DirectionArg,
    /// Limits of a run.
    pub limits: RunLimits,
    /// The environment with the `.env` file below it, for the store.
    pub environment: Env,
    /// What a person should know before anything begins.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Puts the layers together.
    ///
    /// # Errors
    /// If a value is not understood, or nothing names the database.
    pub fn resolve(
        line: &CommandLine,
        env: &Env,
        working_directory: &Path,
    ) -> Result<Self, Failure> {
        let layers = Layers::load(env, working_directory)?;
        let place = &line.place;
        // What ids look like elsewhere only the database knows.
        if let (Some(user), None) = (&line.run.user_id, &place.mapping)
            && !is_uuid(user)
        {
            return Err(bad_user(user));
        }
        let mut warnings = vec![];
        let app_uses_s3 = bucket::app_uses_s3(&layers);
        let mut second_bucket = None;
        let bucket = match &place.store {
            Some(url) => Some(Setting::new(
                bucket::parse_url("--store", url)?,
                Origin::Argument("--store".into()),
            )),
            None => match bucket::from_variables(&layers, &mut warnings)? {
                Some(found) => {
                    second_bucket = found.second;
                    Some(found.url)
                }
                None => None,
            },
        };
        let target = match &line.action.target {
            Some(url) => Some(Setting::new(
                bucket::parse_url("--target", url)?,
                Origin::Argument("--target".into()),
            )),
            None => None,
        };
        Ok(Self {
            database_url: database::url(place.database_url.as_deref(), &layers)?,
            database_timeout: database::timeout(&layers, DATABASE_TIMEOUT)?,
            upload_path: path_setting(
                place.upload_path.as_deref(),
                "--upload-path",
                &layers,
                "UPLOAD_PATH",
                "./uploads",
            ),
            bucket,
            second_bucket,
            target,
            app_uses_s3,
            state_dir: path_setting(
                place.state_dir.as_deref(),
                "--state-dir",
                &layers,
                "MIGRATION_STATE_DIR",
                STATE_DIR,
            ),
            mapping: place.mapping.clone(),
            path_map: path_map(&place.path_map)?,
            symlinks: place.follow_symlinks,
            direction: line.action.direction,
            limits: RunLimits::resolve(&line.run, place)?,
            environment: layers.merged(),
            warnings,
        })
    }

    /// Returns what is in effect as names, values and origins, without secrets.
    #[must_use]
    pub fn describe(&self) -> Vec<[String; 3]> {
        fn row<T>(name: &str, setting: &Setting<T>, value: String) -> [String; 3] {
            [name.into(), value, setting.origin.to_string()]
        }
        let mut rows = vec![
            row(
                "database",
                &self.database_url,
                console::redact(&self.database_url.value),
            ),
            row(
                "database timeout",
                &self.database_timeout,
                console::human::duration(self.database_timeout.value),
            ),
            row(
                "upload path",
                &self.upload_path,
                self.upload_path.value.display().to_string(),
            ),
            row(
                "state directory",
                &self.state_dir,
                self.state_dir.value.display().to_string(),
            ),
            row(
                "application uses S3",
                &self.app_uses_s3,
                self.app_uses_s3.value.to_string(),
            ),
        ];
        for (name, store) in [("bucket", &self.bucket), ("target", &self.target)] {
            if let Some(store) = store {
                rows.push(row(name, store, store.value.to_config_string()));
            }
        }
        rows
    }

    /// Tells whether the application's bucket is one, and not a folder that stands for it.
    #[must_use]
    pub fn bucket_is_remote(&self) -> bool {
        let kind = self.bucket.as_ref().map(|bucket| bucket.value.kind());
        kind == Some(store::StoreKind::S3)
    }

    /// Tells whether the state files lie, without anybody having said so, where a restart of a container, or of the machine, removes them.
    #[must_use]
    pub fn state_is_volatile(&self) -> bool {
        self.state_dir.origin == Origin::Default
    }
}

/// Tells whether a text is a UUID, in any of the forms that PostgreSQL reads.
fn is_uuid(text: &str) -> bool {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let digits = inner.unwrap_or(text).replace('-', "");
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn path_setting(
    typed: Option<&Path>,
    flag: &str,
    layers: &Layers,
    variable: &str,
    default: &str,
) -> Setting<PathBuf> {
    match (typed, layers.get(variable)) {
        (Some(path), _) => Setting::new(path.to_owned(), Origin::Argument(flag.into())),
        (None, Some(set)) => set.map(PathBuf::from),
        (None, None) => Setting::new(PathBuf::from(default), Origin::Default),
    }
}

fn path_map(typed: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
    typed
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                Ok((from.to_owned(), PathBuf::from(to)))
            }
            _ => Err(
                Failure::usage(format!("--path-map {pair} is not of the form FROM=TO"))
                    .hint("write --path-map /app/uploads=/srv/readur/uploads"),
            ),
        })
        .collect()
}
