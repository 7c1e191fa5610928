//! `hx status`: what there is on this machine.
//!
//! What must hold: it changes nothing and asks no store; a machine without a history is no failure; the output is safe to paste.
//!
//! What it deliberately does not do: tell what the store has. That is `hx sync status`.

mod disk;

use std::path::Path;
use std::time::Duration;

use console::{Exit, Failure, ProgressFile, ProgressState, Table, human, redact};
use jiff::Timestamp;
use serde::Serialize;
use vault::Overview;

use super::{Context, rescue};
use crate::history::{Counts, Health, History, HistoryError};
use crate::replica::HistoryReplica;
use crate::sync::{LastSync, Past, failure_of, history_failure};
use disk::Storage;

/// Arguments of `hx status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx status
  hx status --storage    what takes how much space
  hx status --verbose    also check the database, which reads all of it

`hx sync status` asks the store as well.")]
pub(super) struct StatusArgs {
    /// Also check the database and show more of the sync state
    #[arg(long, short)]
    verbose: bool,
    /// Also show what takes how much space
    #[arg(long)]
    storage: bool,
}

/// Everything that is shown.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    host: String,
    paths: Places,
    /// None where there is no history yet.
    history: Option<Counts>,
    database_bytes: u64,
    /// None unless it was asked for, since the check reads the whole database.
    health: Option<Health>,
    /// What is damaged in the database, as far as it was looked at.
    damage: Vec<String>,
    sync: Option<Sync>,
    storage: Option<Storage>,
}

/// Where the files are.
#[derive(Serialize)]
struct Places {
    config: String,
    config_exists: bool,
    data: String,
    database: String,
}

/// What is known here of the sync.
#[derive(Serialize)]
struct Sync {
    store: String,
    #[serde(flatten)]
    overview: Overview,
    running: Option<ProgressState>,
    push: Option<LastSync>,
    pull: Option<LastSync>,
    error: Option<Trouble>,
}

/// Why the last sync failed.
#[derive(Serialize)]
struct Trouble {
    command: String,
    kind: String,
    message: String,
    remedy: String,
}

/// Gathers and shows.
pub(super) fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Failure> {
    let status = gather(args, context)?;
    if context.ui.is_json() {
        context.ui.json(&status);
    } else {
        show(args, context, &status);
    }
    Ok(if status.damage.is_empty() {
        Exit::Ok
    } else {
        Exit::Corrupt
    })
}

fn gather(args: &StatusArgs, context: &Context) -> Result<Status, Failure> {
    let database = context.paths.database();
    let mut damage = Vec::new();
    let mut history = survived(context.history_to_read(), &mut damage)?.flatten();
    let read = history.as_ref();
    let counts = survived(ask(read, History::counts), &mut damage)?.flatten();
    let checked = read.filter(|_| args.verbose || args.storage);
    let health = survived(ask(checked, History::health), &mut damage)?.flatten();
    let database_bytes = read.map_or_else(
        || std::fs::metadata(&database).map_or(0, |metadata| metadata.len()),
        History::bytes,
    );
    let sync = match &mut history {
        Some(history) => survived(sync(history, context), &mut damage)?.flatten(),
        None => None,
    };
    let found = health.iter().flat_map(|health| &health.problems).cloned();
    damage.extend(found);
    damage.dedup();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        host: context.settings.host_name(),
        paths: Places {
            config: shown(context.paths.config_file()),
            config_exists: context.paths.config_file().exists(),
            data: shown(context.paths.data_dir()),
            database: shown(&database),
        },
        history: counts,
        database_bytes,
        health,
        damage,
        sync,
        storage: args.storage.then(|| Storage::measure(&context.paths)),
    })
}

fn ask<T>(
    history: Option<&History>,
    question: impl Fn(&History) -> Result<T, HistoryError>,
) -> Result<Option<T>, Failure> {
    history
        .map(question)
        .transpose()
        .map_err(|error| history_failure(&error))
}

/// What was read; where the database is damaged, nothing, and the damage is noted.
fn survived<T>(
    outcome: Result<T, Failure>,
    damage: &mut Vec<String>,
) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(read) => Ok(Some(read)),
        Err(failure) if failure.exit() == Exit::Corrupt => {
            let cause = failure.causes().pop();
            damage.push(cause.unwrap_or_else(|| failure.message()));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

fn sync(history: &mut History, context: &Context) -> Result<Option<Sync>, Failure> {
    let past = Past::read(history).map_err(|error| history_failure(&error))?;
    let Some(membership) = past.membership.clone() else {
        return Ok(None);
    };
    let replica = HistoryReplica::for_reading(history, membership.vault)
        .map_err(|error| history_failure(&error))?;
    let overview = Overview::read(&replica, membership.vault, &context.settings.host_name())
        .map_err(|error| failure_of(&error))?;
    let error = past.last_error().map(|(sync, error)| Trouble {
        command: sync.command.clone(),
        kind: error.kind.clone(),
        message: redact(&error.message),
        remedy: redact(&error.remedy),
    });
    // A file that cannot be read says as much as none.
    let running = ProgressFile::read(&context.paths.progress_file())
        .ok()
        .flatten()
        .filter(ProgressState::is_live);
    Ok(Some(Sync {
        store: redact(&membership.store),
        overview,
        running,
        push: past.push,
        pull: past.pull,
        error,
    }))
}

fn show(args: &StatusArgs, context: &Context, status: &Status) {
    let ui = &context.ui;
    let mut table = Table::plain();
    history_rows(&mut table, status);
    let missing = if status.paths.config_exists {
        ""
    } else {
        " (not there: every setting has its default)"
    };
    table.row([
        "configuration",
        &format!("{}{missing}", status.paths.config),
    ]);
    table.row(["data", &status.paths.data]);
    if args.verbose {
        table.row(["version", status.version]);
        table.row(["host", &status.host]);
    }
    match &status.sync {
        Some(sync) => sync_rows(&mut table, sync, args.verbose),
        None if !status.damage.is_empty() => {
            table.row(["sync", "cannot be read"]);
        }
        None => {
            table.row(["sync", "not set up"]);
        }
    }
    if let Some(storage) = &status.storage {
        storage.rows(&mut table);
    }
    ui.out(table.render());
    for problem in &status.damage {
        ui.warn(format!("the database is damaged: {problem}"));
    }
    if !status.damage.is_empty() {
        ui.hint(format!(
            "save what can be read: `{}`; it says what is missing, and how to go on",
            rescue::COMMAND
        ));
    } else if status.history.is_none() {
        ui.hint("run `hx import` to take over what your shells remember");
    } else if status.sync.is_none() {
        ui.hint("to sync, run `hx sync init --store URL`");
    }
}

fn history_rows(table: &mut Table, status: &Status) {
    if !status.damage.is_empty() {
        let damage = human::count(status.damage.len() as u64, "problem");
        table.row(["health", &format!("DAMAGED: {damage}")]);
    }
    let Some(counts) = &status.history else {
        if !status.damage.is_empty() {
            table.row(["history", "cannot be counted"]);
            table.row(["database", &status.paths.database]);
            return;
        }
        table.row(["history", "none on this machine yet"]);
        let path = &status.paths.database;
        let state = if std::path::Path::new(path).exists() {
            "there, with nothing in it"
        } else {
            "not there"
        };
        table.row(["database", &format!("{path} ({state})")]);
        return;
    };
    table.row([
        "history",
        &format!(
            "{}, {} different",
            human::count(counts.events, "command"),
            human::number(counts.commands)
        ),
    ]);
    if let (Some(oldest), Some(newest)) = (counts.oldest_us, counts.newest_us) {
        table.row(["from", &date(oldest)]);
        table.row(["to", &date(newest)]);
    }
    let others = [
        ("pinned", counts.pins),
        ("forgotten", counts.tombstones),
        ("sessions", counts.sessions),
    ];
    for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        table.row([name, &human::number(count)]);
    }
    table.row([
        "database",
        &format!(
            "{} ({})",
            status.paths.database,
            human::bytes(status.database_bytes)
        ),
    ]);
    if !status.damage.is_empty() {
        return;
    }
    let health = match &status.health {
        None => "not checked; `hx status --verbose` does".to_owned(),
        Some(health) => format!(
            "sound; {} free within, journal {}",
            human::bytes(health.free_bytes),
            health.journal
        ),
    };
    table.row(["health", &health]);
}

fn sync_rows(table: &mut Table, sync: &Sync, verbose: bool) {
    table.row(["store", &sync.store]);
    table.row(["vault", &sync.overview.vault.to_string()]);
    let interrupted = if sync.overview.interrupted {
        "; a push was interrupted, run it again"
    } else {
        ""
    };
    table.row([
        "pending",
        &format!(
            "{}{interrupted}",
            super::sync::pending(&sync.overview, " to push")
        ),
    ]);
    table.row([
        "devices",
        &human::number(sync.overview.devices.len() as u64),
    ]);
    if let Some(running) = &sync.running {
        table.row([
            "running",
            &format!("{} (process {})", running.phase, running.pid),
        ]);
    }
    table.row(["last push", &line(sync.push.as_ref())]);
    table.row(["last pull", &line(sync.pull.as_ref())]);
    if let Some(error) = &sync.error {
        table.row([
            "last error",
            &format!(
                "{} failed ({}): {}",
                error.command, error.kind, error.message
            ),
        ]);
        table.row(["remedy", &error.remedy]);
    }
    if verbose {
        for device in &sync.overview.devices {
            let this = if device.this { ", this one" } else { "" };
            table.row([
                "device",
                &format!(
                    "{} ({}{this}), {}",
                    device.name,
                    device.node,
                    human::count(device.records, "record")
                ),
            ]);
        }
    }
    for problem in &sync.overview.problems {
        table.row(["problem", &format!("{}: {}", problem.key, problem.detail)]);
    }
}

fn line(sync: Option<&LastSync>) -> String {
    let Some(sync) = sync else {
        return "never".to_owned();
    };
    let age = Duration::try_from(Timestamp::now().duration_since(sync.at)).unwrap_or_default();
    let outcome = if sync.error.is_some() {
        "failed".to_owned()
    } else {
        human::count(sync.records, "record")
    };
    format!("{}, {outcome}", human::ago(age))
}

fn date(time_us: i64) -> String {
    let time = Timestamp::from_microsecond(time_us)
        .map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    time.map_or_else(
        |_| "-".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
