//! What every command that works on a store opens: the mapping, the database, the bucket, the state directory.
//!
//! What must hold: opening changes nothing; what is missing is named by the variable and the flag that would supply it.
//!
//! What it deliberately does not do: take the lock. Only what changes something does.

use std::sync::Arc;

use console::{Exit, Failure, Ui};
use futures::TryStreamExt;
use store::{Encryption, Environment, Store, StoreUrl, Tuning};

use super::failures::database_failure;
use super::machine::Machine;
use super::parts;
use crate::cli::args::{CommandLine, DirectionArg};
use crate::db::{Database, DatabaseOptions, DbErrorKind, Page, Which, open_database};
use crate::mapping::Mapping;
use crate::settings::Settings;
use crate::state::{Parameters, StateDir};

/// What a command works with.
pub struct Session {
    /// Where it speaks.
    pub ui: Ui,
    /// What was typed.
    pub line: CommandLine,
    /// What is configured.
    pub settings: Settings,
    /// The application's tables.
    pub mapping: Arc<Mapping>,
    /// The database.
    pub database: Arc<dyn Database>,
    /// The directory of the state files.
    pub state: StateDir,
}

/// The prefix in the bucket below which copies of journals are kept.
pub const MIRROR: &str = ".syncline/migrations";

impl Session {
    /// Opens mapping, database and state directory.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub async fn open(ui: Ui, line: CommandLine, settings: Settings) -> Result<Self, Failure> {
        let mapping = Arc::new(mapping(&settings)?);
        let options = DatabaseOptions {
            timeout: settings.database_timeout.value,
            runner: format!("migrate_to_s3 (process {})", std::process::id()),
        };
        let database = open_database(&settings.database_url.value, &options, &mapping)
            .await
            .map_err(|error| database_failure(&error))?;
        let action = &line.action;
        let only_looks =
            action.dry_run || action.audit_files || action.status || action.rollback_status;
        let state = match only_looks {
            true => StateDir::at(&settings.state_dir.value),
            false => StateDir::open(&settings.state_dir.value)?,
        };
        Ok(Self {
            ui,
            line,
            settings,
            mapping,
            database,
            state,
        })
    }

    /// Makes sure that the user of `--user-id` owns something: a slip of the pen must not look like work that was done.
    ///
    /// # Errors
    /// If no row is theirs, or the id is none.
    pub async fn check_user(&self) -> Result<(), Failure> {
        let Some(user) = self.line.run.user_id.as_deref() else {
            return Ok(());
        };
        for table in self.mapping.tables() {
            for which in [Which::All, Which::Empty] {
                let page = Page {
                    table,
                    which,
                    user: Some(user),
                    after: None,
                    limit: 1,
                };
                let rows = self.database.page(&page).await;
                let rows = rows.map_err(|error| match error.kind() {
                    DbErrorKind::Statement => bad_user(user).with_causes(Some(&error)),
                    _ => database_failure(&error),
                })?;
                if !rows.is_empty() && table.user.is_some() {
                    return Ok(());
                }
            }
        }
        Err(
            Failure::usage(format!("no row of {} belongs to a user {user}", self.database.info().place))
                .kind("no-such-user")
                .hint("look the id up in the application's table of users; without --user-id everything is migrated"),
        )
    }

    /// Opens the application's own bucket.
    ///
    /// # Errors
    /// If none is configured, or it cannot be opened.
    pub async fn bucket(&self) -> Result<Store, Failure> {
        open_bucket(&self.settings).await
    }

    /// Opens the store that the files go to.
    ///
    /// # Errors
    /// If none is named, or it cannot be opened.
    pub async fn target(&self) -> Result<Store, Failure> {
        let is_own = self.settings.direction == DirectionArg::LocalToS3;
        match (is_own, self.target_url()?) {
            (true, _) => self.bucket().await,
            (false, url) => self.open_store(&url).await,
        }
    }

    /// Opens the store that keeps the copies of journals: the one that the objects go to, or come back from.
    ///
    /// # Errors
    /// If none is named, or it cannot be opened.
    pub async fn mirror(&self) -> Result<Store, Failure> {
        match self.settings.direction {
            DirectionArg::S3ToLocal => self.bucket().await,
            DirectionArg::LocalToS3 | DirectionArg::S3ToS3 => self.target().await,
        }
    }

    /// Returns the URL of the store that the files go to.
    ///
    /// # Errors
    /// If none is named.
    pub fn target_url(&self) -> Result<StoreUrl, Failure> {
        let settings = &self.settings;
        let named = settings.target.as_ref().map(|target| target.value.clone());
        match (settings.direction, named) {
            (DirectionArg::LocalToS3, None) => settings
                .bucket
                .as_ref()
                .map(|bucket| bucket.value.clone())
                .ok_or_else(no_bucket),
            (DirectionArg::LocalToS3, Some(_)) => Err(Failure::usage(
                "--target does not go with --direction local-to-s3: the application reads only its own bucket",
            )
            .hint("name the application's bucket with --store or S3_BUCKET_NAME")),
            (DirectionArg::S3ToLocal, None) => {
                let upload = parts::paths(self)?.upload_here();
                let absolute = std::path::absolute(&upload)
                    .map_err(|error| Failure::io("find", &upload, &error))?;
                Ok(StoreUrl::from_folder(absolute))
            }
            (DirectionArg::S3ToS3, None) => Err(Failure::usage(
                "--direction s3-to-s3 needs --target: the store that the files go to",
            )
            .hint("write --target \"s3://OTHER-BUCKET?region=us-west-2\", in quotes")),
            (_, Some(target)) => Ok(target),
        }
    }

    /// Opens a store.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn open_store(&self, url: &StoreUrl) -> Result<Store, Failure> {
        open_store(&self.settings, url).await
    }

    /// Returns what a run of these settings is asked to do, for its journal.
    ///
    /// # Errors
    /// If no target is named.
    pub fn parameters(&self) -> Result<Parameters, Failure> {
        let bucket = || match &self.settings.bucket {
            Some(bucket) => bucket.value.to_config_string(),
            None => String::new(),
        };
        let is_local = self.settings.direction == DirectionArg::LocalToS3;
        Ok(Parameters {
            direction: direction_name(self.settings.direction).into(),
            database: self.database.info().identity.clone(),
            source: if is_local {
                self.settings.upload_path.value.display().to_string()
            } else {
                bucket()
            },
            target: self.target_url()?.to_config_string(),
            application: self.mapping.name.clone(),
            user: self.line.run.user_id.clone(),
            origin: Some(self.database.info().origin.clone()),
            machine: Machine::here(),
        })
    }
}

/// Opens the application's own bucket. Where nothing says how it is addressed, path style is tried first, then the host name.
///
/// # Errors
/// If none is configured, or it cannot be opened.
pub async fn open_bucket(settings: &Settings) -> Result<Store, Failure> {
    let Some(url) = &settings.bucket else {
        return Err(no_bucket());
    };
    let store = open_store(settings, &url.value).await?;
    if let Some(second) = &settings.second_bucket
        && !answers(&store).await
    {
        let other = open_store(settings, second).await?;
        if answers(&other).await {
            return Ok(other);
        }
    }
    // If neither answers, the error of the first is the one to be seen.
    Ok(store)
}

async fn answers(store: &Store) -> bool {
    store.list_stream(MIRROR).try_next().await.is_ok()
}

/// Opens a store with the limits of the settings.
///
/// # Errors
/// If it cannot be opened.
pub async fn open_store(settings: &Settings, url: &StoreUrl) -> Result<Store, Failure> {
    let parallel = settings.limits.parallel;
    let tuning = Tuning {
        max_connections: parallel.max(4),
        max_retries: settings.limits.max_retries as usize,
        concurrent_uploads: parallel,
        concurrent_downloads: parallel,
        checksums: settings.limits.checksum_headers,
        encryption: encryption(settings)?,
        storage_class: settings.limits.storage_class.clone(),
        ..Tuning::default()
    };
    let environment = Environment::from(&settings.environment);
    Ok(Store::open(url, &tuning, &environment).await?)
}

/// Returns a direction as it is typed.
#[must_use]
pub fn direction_name(direction: DirectionArg) -> &'static str {
    match direction {
        DirectionArg::LocalToS3 => "local-to-s3",
        DirectionArg::S3ToLocal => "s3-to-local",
        DirectionArg::S3ToS3 => "s3-to-s3",
    }
}

/// Reads the description of the application's tables: Readur's own if no other was named.
///
/// # Errors
/// If the file is no mapping.
pub fn mapping(settings: &Settings) -> Result<Mapping, Failure> {
    match &settings.mapping {
        Some(path) => {
            Mapping::from_file(path).map_err(|error| Failure::from_error(Exit::Config, &error))
        }
        None => Ok(Mapping::readur()),
    }
}

/// Reads a direction as a journal has it.
#[must_use]
pub fn direction_named(name: &str) -> Option<DirectionArg> {
    let all = [
        DirectionArg::LocalToS3,
        DirectionArg::S3ToLocal,
        DirectionArg::S3ToS3,
    ];
    all.into_iter()
        .find(|direction| direction_name(*direction) == name)
}

fn encryption(settings: &Settings) -> Result<Option<Encryption>, Failure> {
    let Some((kind, key)) = &settings.limits.sse else {
        return Ok(None);
    };
    match (kind.as_str(), key) {
        ("AES256", None) => Ok(Some(Encryption::Managed)),
        ("aws:kms", key) => Ok(Some(Encryption::Kms(key.clone()))),
        _ => Err(
            Failure::usage("--sse takes AES256, or aws:kms with an --sse-kms-key-id")
                .hint("write --sse AES256, or --sse aws:kms --sse-kms-key-id KEY"),
        ),
    }
}

/// Says that an id cannot be one of a user.
pub(crate) fn bad_user(user: &str) -> Failure {
    Failure::usage(format!("--user-id {user} is no id of a user"))
        .kind("bad-user-id")
        .hint("write it as the application has it, such as 6f1a2b3c-0d4e-4f5a-8b6c-7d8e9f0a1b2c")
}

fn no_bucket() -> Failure {
    Failure::config("no bucket is configured: S3_BUCKET_NAME is not set")
        .kind("no-bucket")
        .hint("set S3_BUCKET_NAME, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY as for the application, or give --store URL")
}
