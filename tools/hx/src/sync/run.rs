//! Running the vault: opening what a sync needs, and turning the errors of all layers into what a person reads.
//!
//! What must hold: every error keeps its kind, cause and remedy on the way up, and gets the exit code of the table.
//! What it deliberately does not do: decide what to run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use console::{Exit, Failure, exit};
use jiff::Timestamp;
use store::{Environment, Store, StoreKind, StoreUrl};
use vault::{Device, NodeId, Options, Problem, ProblemKind, ResetMode, Vault, VaultError};

use super::past::PastError;
use super::{Description, KeyFile, LastSync, Membership, Past, Watcher};
use crate::history::{BROKEN_REMEDY, History, HistoryError, HistoryErrorKind};
use crate::replica::HistoryReplica;
use crate::settings::{Paths, Settings, credentials};

/// How long a replaced object stays for slow readers: a week.
const GRACE_MS: i64 = 7 * 24 * 3600 * 1000;

/// An open vault and what is needed to work on it.
pub struct Link {
    /// The vault over its store.
    pub vault: Vault,
    /// Limits.
    pub options: Options,
    /// Which vault this is.
    pub membership: Membership,
    /// The kind of store.
    pub kind: StoreKind,
}

impl Link {
    /// Opens the vault this machine is in. Sends nothing yet, unless a rotation of this device was cut off: then the store is asked
    /// whether it holds.
    ///
    /// # Errors
    /// If there is none, the configuration names another store, or the key is not there.
    pub async fn open(
        history: &History,
        settings: &Settings,
        paths: &Paths,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let membership = Past::read(history)
            .map_err(|error| history_failure(&error))?
            .membership
            .ok_or_else(not_set_up)?;
        let url = Self::url(&membership, settings, paths)?;
        let keys = KeyFile::of(paths, membership.vault).read()?.ok_or_else(|| {
            Failure::new(Exit::WrongKey, "the key of this vault is not on this machine")
                .hint("Run `hx sync init --store URL` again: it asks for the passphrase or the recovery phrase.")
        })?;
        let kind = url.kind();
        let store = Store::open(&url, &settings.tuning(), environment)
            .await
            .map_err(Failure::from)?;
        let vault = Description::keep_of(paths, Vault::new(store, keys));
        Ok(Self {
            vault: adopted(paths, vault).await?,
            options: vault_options(settings),
            membership,
            kind,
        })
    }

    /// The store to use: the one that was joined, with whatever the settings say about the same place.
    ///
    /// # Errors
    /// If the settings name another place, or one among the files of hx itself.
    pub fn url(
        membership: &Membership,
        settings: &Settings,
        paths: &Paths,
    ) -> Result<StoreUrl, Failure> {
        let joined: StoreUrl = membership.store.parse().map_err(|error: store::UrlError| {
            Failure::config("the store that this machine joined cannot be understood").cause(error)
        })?;
        let url = match settings
            .store_url()
            .map_err(|problem| Failure::config(problem.what))?
        {
            None => joined,
            Some(configured) if configured.value.same_place(&joined) => configured.value,
            Some(configured) => {
                return Err(Failure::config(format!("the settings name {}, but this machine joined {joined}", configured.value))
                    .cause(format!("the value comes from the {}", configured.origin))
                    .hint("Run `hx sync init --store URL` to switch stores; nothing pending is lost by it."));
            }
        };
        paths.refuse_own(&url)?;
        credentials::attach(paths, url)
    }

    /// If the store was found to have lost everything of the vault: makes whatever this machine has count as not published.
    ///
    /// # Errors
    /// The database's. The next sync tries again.
    pub fn begin_again(&self, history: &mut History) -> Result<(), Failure> {
        let vault = self.vault.keys().vault();
        let mut past = Past::read(history).map_err(|error| history_failure(&error))?;
        if past.emptied != Some(vault) {
            return Ok(());
        }
        {
            let mut replica =
                HistoryReplica::new(history, vault).map_err(|error| history_failure(&error))?;
            Device::new(&self.vault, &mut replica, &self.options, &mut ())
                .reset(ResetMode::Emptied)
                .map_err(|error| failure_of(&error))?;
        }
        past.emptied = None;
        past.write(history).map_err(|error| history_failure(&error))
    }

    /// Runs one piece of work on the vault, and remembers what it did or why it failed.
    ///
    /// # Errors
    /// The work's own.
    pub async fn run<T>(
        &self,
        history: &mut History,
        command: &str,
        mut watcher: Watcher,
        work: impl AsyncFnOnce(&mut Device<'_, HistoryReplica<'_>>) -> Result<(T, u64), VaultError>,
    ) -> Result<(T, LastSync), Failure> {
        let at = Timestamp::now();
        let before = self.vault.store().usage();
        self.begin_again(history)?;
        let outcome = {
            let mut replica = HistoryReplica::new(history, self.vault.keys().vault())
                .map_err(|error| history_failure(&error))?;
            let mut device = Device::new(&self.vault, &mut replica, &self.options, &mut watcher);
            work(&mut device).await.map_err(|error| failure_of(&error))
        };
        let (phases, took) = watcher.finish();
        let sync = LastSync {
            command: command.into(),
            at,
            took_ms: millis(took),
            phases: phases
                .into_iter()
                .map(|(name, took)| (name, millis(took)))
                .collect(),
            records: outcome.as_ref().map_or(0, |(_, records)| *records),
            usage: self.vault.store().usage() - before,
            error: outcome.as_ref().err().map(|failure| PastError {
                kind: failure.kind_name().unwrap_or("failed").into(),
                message: failure.message(),
                remedy: failure.hint_text().unwrap_or_default(),
            }),
        };
        let mut past = Past::read(history).map_err(|error| history_failure(&error))?;
        past.note(sync.clone());
        let noted = past.write(history).map_err(|error| history_failure(&error));
        // Why the work failed matters more than that it could not be noted.
        let (value, _) = outcome?;
        noted?;
        Ok((value, sync))
    }
}

/// The vault under the key that a rotation of this device made, if that was cut off and turns out to hold: then the other devices are told
/// of it first, and the key file changes last.
async fn adopted(paths: &Paths, vault: Vault) -> Result<Vault, Failure> {
    if !vault.keys().is_awaiting() {
        return Ok(vault);
    }
    // Whoever needs the file finds out what is wrong with it.
    let Ok(Some(file)) = Vault::read_file(vault.store()).await else {
        return Ok(vault);
    };
    let settled = vault.keys().settled_by(&file);
    let Some(settled) =
        settled.filter(|settled| settled.keys.epoch() > vault.keys().epoch() && !settled.gave_up)
    else {
        return Ok(vault);
    };
    let rotated = Description::keep_of(paths, Vault::new(vault.store().clone(), settled.keys));
    // Where nothing can be written, what is in the store can be read all the same; the next command tries again.
    if rotated.announce_epoch().await.is_ok() {
        KeyFile::of(paths, rotated.keys().vault()).write(rotated.keys())?;
    }
    Ok(rotated)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

fn not_set_up() -> Failure {
    Failure::new(Exit::NoStore, "sync is not set up on this machine")
        .kind("not-set-up")
        .hint("Run `hx sync init --store URL`, for example with \"s3://bucket/prefix?region=us-west-2\" or folder:/path.")
}

/// The vault's limits as the settings have them.
pub fn vault_options(settings: &Settings) -> Options {
    let sync = &settings.sync;
    let streaming = sync.streaming.value;
    Options {
        node_name: settings.host_name(),
        segment_raw_bytes_max: usize::try_from(sync.chunk_size.value).unwrap_or(usize::MAX),
        segment_records_max: 131_072,
        batch_records: sync.batch_size.value.max(1),
        uploads: if streaming {
            1
        } else {
            settings.uploads_in_flight()
        },
        downloads: if streaming {
            1
        } else {
            settings.downloads_in_flight()
        },
        memory_bytes_max: usize::try_from(sync.max_memory_usage.value).unwrap_or(usize::MAX),
        compression: settings.compression_level(),
        grace_ms: GRACE_MS,
        now_ms: Arc::new(|| Timestamp::now().as_millisecond()),
        new_node: Arc::new(NodeId::random),
    }
}

/// What a person reads of a vault's error.
pub fn failure_of(error: &VaultError) -> Failure {
    match error {
        VaultError::Store { doing, source } => Failure::from(source).context(doing),
        VaultError::WrongKey => Failure::from_error(Exit::WrongKey, error)
            .kind("wrong-key")
            .hint("Check the passphrase (HX_SYNC_PASSPHRASE, --passphrase-file), or give the 24 words of the recovery phrase in its place."),
        VaultError::BadPhrase(_) => Failure::from_error(Exit::WrongKey, error).kind("wrong-key").hint("Type all 24 words, in order."),
        VaultError::NoVault(place) => Failure::from_error(Exit::NoStore, error)
            .kind("no-vault")
            .hint(no_vault_hint(place)),
        VaultError::NoVaultFile(place) => Failure::from_error(Exit::NoStore, error)
            .kind("no-vault-file")
            .hint(format!("Run `hx sync init --store {}` on a device that is in the vault, such as this one: it puts vault.json back. Nothing else is missing.", quoted(place))),
        VaultError::DamagedVaultFile(_) => Failure::from_error(Exit::Corrupt, error)
            .kind("corrupt")
            .hint("Put the newest version of vault.json back if the bucket keeps versions. Else move it to another name, keeping it, and run `hx sync init --store URL` on a device that is in the vault: it puts vault.json back as that device last saw it."),
        VaultError::OtherKey { .. } => Failure::from_error(Exit::WrongKey, error)
            .kind("rotated")
            .hint("Run `hx sync init --store URL` with the passphrase that was given on the other device: this device then publishes anew what it wrote, and nothing is lost. If no other device rotated the key, keep a copy of vault.json and put its newest good version back."),
        VaultError::OldVaultFile { .. } => Failure::from_error(Exit::Corrupt, error)
            .kind("corrupt")
            .hint("Run `hx sync init --store URL` on a device that has the newer key: it puts the newer vault.json back as it last saw it. Where that is not to be had, the newest version of vault.json that the bucket or a backup keeps."),
        VaultError::LateVaultFile { .. } => Failure::from_error(Exit::Partial, error)
            .kind("late")
            .hint("Wait for the sync tool, then run it again. If it stays, an old vault.json was put back: `hx sync init --store URL` on a device that has the newer key puts the newer one back as it last saw it."),
        VaultError::Overtaken => Failure::from_error(Exit::WrongKey, error)
            .kind("overtaken")
            .hint("Run `hx sync init --store URL` with the passphrase that was given on the other device; then, if this device's is wanted too, `hx sync key add-passphrase`."),
        VaultError::Contended => Failure::from_error(Exit::Conflict, error)
            .kind("contended")
            .hint("Run it again."),
        VaultError::TooManySlots(_) => Failure::from_error(Exit::Usage, error)
            .kind("too-many-passphrases")
            .hint("`hx sync key rotate` makes a new key, which only the new passphrase and words open."),
        VaultError::OtherVault { .. } => Failure::from_error(Exit::Conflict, error)
            .kind("other-vault")
            .hint("This machine is in the vault that was not kept there, so it is the one to act on. Run `hx sync init --store URL` to join the vault that is there, then `hx sync repair`; or give each vault a prefix of its own."),
        VaultError::NewerFormat(_) => Failure::from_error(Exit::Failed, error).kind("newer-format").hint("Update hx on this machine."),
        VaultError::Rotated { .. } => Failure::from_error(Exit::WrongKey, error)
            .kind("rotated")
            .hint("Run `hx sync init --store URL` again with the new passphrase."),
        VaultError::SequenceConflict { .. } | VaultError::Regression { .. } => Failure::from_error(Exit::Conflict, error)
            .kind("sequence-conflict")
            .hint("Run `hx sync pull --force` to accept what the store shows, then `hx sync push`; or `hx sync push --force` to publish under a new identity. Neither loses a record."),
        VaultError::Miscounted { .. } => Failure::from_error(Exit::Corrupt, error)
            .kind("corrupt")
            .hint(BROKEN_REMEDY),
        VaultError::Replica { source, .. } => replica_failure(error, source.as_ref()),
        VaultError::TimedOut(_) => Failure::from_error(Exit::Network, error).kind("timeout").hint("Raise HX_SYNC_TOTAL_TIMEOUT and run it again: it goes on where it stopped."),
        _ => Failure::from_error(Exit::Failed, error).hint("`hx sync reset` forgets the sync state and keeps the history; then pull again."),
    }
}

/// The commonest reason for an empty folder is a disk that is not mounted there.
fn no_vault_hint(place: &str) -> String {
    let look = if place.starts_with("folder:") {
        "Is the disk or share mounted there? Mount it and run this again; nothing was changed."
    } else {
        "Check the bucket and the prefix."
    };
    let url = quoted(place);
    format!(
        "{look} If the store was really emptied: `hx sync init --store {url}` on one device puts the vault back under the same key, and its next `hx sync` publishes everything it has."
    )
}

/// A URL as it is typed: in quotes where a shell would take part of it for something else.
fn quoted(url: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-~+@%=,".contains(c);
    if url.chars().all(is_plain) {
        url.to_owned()
    } else {
        format!("\"{url}\"")
    }
}

fn replica_failure(
    error: &VaultError,
    source: &(dyn std::error::Error + Send + Sync + 'static),
) -> Failure {
    match source.downcast_ref::<HistoryError>() {
        Some(history) => history_failure(history).context(error),
        None => Failure::from_error(Exit::Failed, error),
    }
}

/// What a person reads of a database error.
pub fn history_failure(error: &HistoryError) -> Failure {
    let (code, kind) = match error.kind() {
        HistoryErrorKind::Busy => (Exit::Locked, "busy"),
        HistoryErrorKind::DiskFull => (Exit::DiskFull, "disk-full"),
        HistoryErrorKind::Invalid | HistoryErrorKind::Ambiguous => (Exit::Usage, "usage"),
        HistoryErrorKind::Broken => (Exit::Corrupt, "corrupt"),
        HistoryErrorKind::Refused => (Exit::Failed, "refused"),
        HistoryErrorKind::NotFound => (Exit::Failed, "not-found"),
        HistoryErrorKind::Permission => (Exit::Denied, "permission"),
        HistoryErrorKind::NewerVersion => (Exit::Failed, "newer-version"),
        HistoryErrorKind::Other => (Exit::Failed, "failed"),
    };
    Failure::from_error(code, error)
        .kind(kind)
        .hint(error.remedy())
}

/// The failure that a list of object problems amounts to; none if all of them are remarks.
///
/// In a folder that another program syncs, an object that is not there yet is no failure of the vault: the exit code says "in part".
pub fn problems_failure(command: &str, problems: &[Problem], kind: StoreKind) -> Option<Failure> {
    let worst = worst(problems)?;
    let code = exit_of(worst.kind, kind);
    let serious = problems.iter().filter(|problem| problem.kind.is_serious());
    let objects: BTreeSet<&str> = serious.map(|problem| problem.key.as_str()).collect();
    Some(
        Failure::new(code, format!("hx sync {command} failed in part: {} of the vault's objects could not be used; everything else was", objects.len()))
            .cause(format!("{}: {}", worst.key, worst.detail))
            .kind(kind_word(worst.kind))
            .hint(remedy(worst.kind)),
    )
}

/// The failure that a look at the store amounts to which does not show what other devices published; the code is a pull's.
pub fn hidden_failure(problems: &[Problem], kind: StoreKind) -> Option<Failure> {
    let worst = worst(problems)?;
    Some(
        Failure::new(
            exit_of(worst.kind, kind),
            "the store does not show all that other devices published",
        )
        .cause(format!("{}: {}", worst.key, worst.detail))
        .kind(kind_word(worst.kind))
        .hint(remedy(worst.kind)),
    )
}

/// A problem in words. One that is no failure, and that somebody can do something about, brings its remedy along.
pub fn remark(problem: &Problem) -> String {
    let text = format!("{}: {}", problem.key, problem.detail);
    match problem.kind {
        ProblemKind::Twins => format!("{text}. {}", remedy(problem.kind)),
        _ => text,
    }
}

fn exit_of(problem: ProblemKind, kind: StoreKind) -> Exit {
    match problem {
        ProblemKind::Missing | ProblemKind::Withheld if kind == StoreKind::Folder => Exit::Partial,
        ProblemKind::Conflict | ProblemKind::Regression | ProblemKind::Withheld => Exit::Conflict,
        ProblemKind::NoKey => Exit::WrongKey,
        ProblemKind::Unnamed | ProblemKind::LateKey => Exit::Partial,
        ProblemKind::OtherVault => Exit::Conflict,
        _ => exit::of_store(store::ErrorKind::Corrupt),
    }
}

/// The problem that the failure is named after; none if all are remarks.
pub fn worst(problems: &[Problem]) -> Option<&Problem> {
    let serious = problems.iter().filter(|problem| problem.kind.is_serious());
    // Of equals the first.
    serious.rev().max_by_key(|problem| severity(problem.kind))
}

/// A problem's kind in the words of the error kinds.
fn kind_word(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Missing => "not-found",
        ProblemKind::Archived => "archived",
        ProblemKind::Conflict | ProblemKind::Regression => "sequence-conflict",
        ProblemKind::OtherVault => "other-vault",
        ProblemKind::Withheld => "withheld",
        ProblemKind::NoKey => "rotated",
        ProblemKind::Unnamed => "unnamed",
        ProblemKind::NewerFormat => "newer-format",
        ProblemKind::LateKey => "late",
        _ => "corrupt",
    }
}

/// What to do, in hx's own commands.
fn remedy(kind: ProblemKind) -> String {
    let text = kind.remedy();
    let mut chars = text
        .replace("`sync ", "`hx sync ")
        .replace("`sync`", "`hx sync`")
        .chars()
        .collect::<Vec<_>>();
    if let Some(first) = chars.first_mut() {
        *first = first.to_ascii_uppercase();
    }
    chars.into_iter().collect::<String>() + "."
}

fn severity(kind: ProblemKind) -> u8 {
    match kind {
        ProblemKind::NoKey => 6,
        ProblemKind::Conflict | ProblemKind::Regression => 5,
        ProblemKind::Corrupt | ProblemKind::OtherVault | ProblemKind::NewerFormat => 4,
        ProblemKind::Archived => 3,
        ProblemKind::Missing | ProblemKind::Withheld | ProblemKind::LateKey => 2,
        _ => 1,
    }
}
