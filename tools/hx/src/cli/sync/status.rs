//! `hx sync status`.
//!
//! What must hold: it changes nothing, asks the store at most one cheap question, and answers from what is known if the store is silent.
//! What it deliberately does not do: take the lock: it works while a sync runs.

use std::time::Duration;

use clap::Args;
use console::{Exit, Failure, ProgressFile, Table, human};
use serde::{Deserialize, Serialize};
use vault::{MANIFESTS, Overview, Place};

use super::cost;
use crate::cli::Context;
use crate::replica::HistoryReplica;
use crate::sync::{LastSync, Link, Past, failure_of, history_failure};

/// Arguments of `hx sync status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show devices, problems and what the last syncs did
    #[arg(long, short, visible_alias = "detailed")]
    verbose: bool,
    /// Show only the last push and pull
    #[arg(long)]
    last_sync: bool,
    /// Follow a sync that is running now
    #[arg(long)]
    progress: bool,
    /// Show how long each phase of the last syncs took
    #[arg(long)]
    timing: bool,
    /// Do not ask the store
    #[arg(long)]
    offline: bool,
}

/// What the store showed when it was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remote {
    /// When, in milliseconds since the Unix epoch.
    at_ms: i64,
    reachable: bool,
    /// Devices whose newest manifest was not read here yet.
    news_from: u64,
    devices: u64,
    error: Option<String>,
    kind: Option<String>,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Report<'r> {
    store: &'r str,
    #[serde(flatten)]
    overview: &'r Overview,
    remote: Option<&'r Remote>,
    push: Option<&'r LastSync>,
    pull: Option<&'r LastSync>,
    month: Option<crate::sync::Month>,
}

/// Runs `hx sync status`.
///
/// # Errors
/// If the database fails, or the store cannot be reached (after everything that is known was shown).
pub fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Failure> {
    let ui = &context.ui;
    if args.progress {
        follow(context)?;
    }
    // Looking needs no permission to write.
    let Some(mut history) = context.history_to_read()? else {
        return Ok(not_set_up(context));
    };
    let past = Past::read(&history).map_err(|error| history_failure(&error))?;
    let Some(membership) = past.membership.clone() else {
        return Ok(not_set_up(context));
    };
    let overview = {
        let replica = HistoryReplica::for_reading(&mut history, membership.vault)
            .map_err(|error| history_failure(&error))?;
        Overview::read(&replica, membership.vault, &context.settings.host_name())
            .map_err(|error| failure_of(&error))?
    };
    if args.last_sync && !ui.is_json() {
        show_syncs(context, &past, args.timing);
        return Ok(Exit::Ok);
    }
    let asked = if args.offline {
        None
    } else {
        Some(remote(context, &history, &overview))
    };
    let (remote, failure) = match asked {
        None => (None, None),
        Some((remote, failure)) => (Some(remote), failure),
    };
    if ui.is_json() {
        ui.json(&Report {
            store: &membership.store,
            overview: &overview,
            remote: remote.as_ref(),
            push: past.push.as_ref(),
            pull: past.pull.as_ref(),
            month: past.month(),
        });
    } else {
        show(
            args,
            context,
            &membership.store,
            &overview,
            remote.as_ref(),
            &past,
        );
    }
    failure.map_or(Ok(Exit::Ok), Err)
}

fn not_set_up(context: &Context) -> Exit {
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(&serde_json::json!({ "store": null, "vault": null }));
    }
    ui.out("Sync is not set up on this machine.");
    ui.status(
        "Set it up: hx sync init --store \"s3://bucket/prefix?region=us-west-2\" (or folder:/path)",
    );
    Exit::Ok
}

/// Follows the sync of another process until it ends.
fn follow(context: &Context) -> Result<(), Failure> {
    let path = context.paths.progress_file();
    let read = || {
        ProgressFile::read(&path)
            .map_err(|error| Failure::io("read the progress of a running sync", &path, &error))
    };
    let mut said = String::new();
    while let Some(state) = read()?.filter(console::ProgressState::is_live) {
        let total = state
            .total
            .map_or_else(String::new, |total| format!(" of {}", human::number(total)));
        let line = format!(
            "{}: {}{total}, {}",
            state.phase,
            human::number(state.done),
            human::bytes(state.bytes)
        );
        if line != said {
            context.ui.status(&line);
            said = line;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    if said.is_empty() {
        context.ui.status("No sync is running now.");
    }
    Ok(())
}

/// Asks the store what is new, or the cache if it was asked a moment ago. One LIST.
fn remote(
    context: &Context,
    history: &crate::history::History,
    overview: &Overview,
) -> (Remote, Option<Failure>) {
    let cache = context.paths.cache_dir().join("listing.json");
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let life_ms = i64::try_from(context.settings.sync.manifest_cache_ttl.value.as_millis())
        .unwrap_or(i64::MAX);
    let cached = std::fs::read(&cache)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<(vault::VaultId, Remote)>(&bytes).ok());
    if let Some((_, known)) = cached.filter(|(vault, known)| {
        *vault == overview.vault
            && known.reachable
            && (0..life_ms).contains(&(now_ms - known.at_ms))
    }) {
        return (known, None);
    }
    let listed = context.block_on(async {
        let mut settings = context.settings.clone();
        settings.sync.max_retries.value = settings.sync.max_retries.value.min(1);
        let link = Link::open(history, &settings, &context.paths, &context.environment()).await?;
        link.vault
            .store()
            .list(MANIFESTS)
            .await
            .map_err(Failure::from)
    });
    match listed {
        Ok(entries) => {
            let remote = news(
                overview,
                entries.iter().map(|entry| entry.key.as_str()),
                now_ms,
            );
            // The cache only saves a request.
            let _ = std::fs::create_dir_all(context.paths.cache_dir());
            let _ = serde_json::to_vec(&(overview.vault, &remote))
                .map(|bytes| store::file::atomic_write(&cache, &bytes));
            (remote, None)
        }
        Err(failure) => {
            let remote = Remote {
                at_ms: now_ms,
                reachable: false,
                news_from: 0,
                devices: 0,
                error: Some(failure.message()),
                kind: failure.kind_name().map(str::to_owned),
                remedy: failure.hint_text(),
            };
            (
                remote,
                Some(failure.context("the store could not be asked")),
            )
        }
    }
}

fn news<'k>(overview: &Overview, keys: impl Iterator<Item = &'k str>, at_ms: i64) -> Remote {
    let mut newest = std::collections::BTreeMap::new();
    for (place, _) in keys.filter_map(Place::parse) {
        let sequence = newest.entry(place.node).or_insert(0);
        *sequence = place.first.max(*sequence);
    }
    let is_known = |node: &vault::NodeId, sequence: u64| {
        overview
            .devices
            .iter()
            .any(|device| device.node == *node && (device.this || device.sequence >= sequence))
    };
    Remote {
        at_ms,
        reachable: true,
        news_from: newest
            .iter()
            .filter(|(node, sequence)| !is_known(node, **sequence))
            .count() as u64,
        devices: newest.len() as u64,
        error: None,
        kind: None,
        remedy: None,
    }
}

fn show(
    args: &StatusArgs,
    context: &Context,
    store: &str,
    overview: &Overview,
    remote: Option<&Remote>,
    past: &Past,
) {
    let ui = &context.ui;
    let mut table = Table::plain();
    table.row(["store", store]);
    table.row(["vault", &overview.vault.to_string()]);
    table.row(["state", &state(remote)]);
    table.row(["pending", &pending(overview)]);
    table.row(["devices", &human::number(overview.devices.len() as u64)]);
    table.row(["last push", &sync_line(past.push.as_ref())]);
    table.row(["last pull", &sync_line(past.pull.as_ref())]);
    if let Some(month) = past.month() {
        let cost = format!(
            "about {} a month, {}, ${:.4} at S3 list prices",
            human::count(month.writes + month.reads, "request"),
            human::bytes(month.bytes),
            month.micro_usd as f64 / 1e6
        );
        table.row(["estimate", &cost]);
    }
    ui.out(table.render());
    if let Some((sync, error)) = past.last_error() {
        ui.out(format!(
            "\nThe last {} failed ({}): {}",
            sync.command, error.kind, error.message
        ));
        ui.out(format!("  {}", error.remedy));
    }
    if args.verbose {
        ui.out(format!("\n{}", super::devices::table(overview)));
        ui.out(format!(
            "{} of this device, {} wait for their removal",
            human::count(overview.segments, "segment"),
            human::count(overview.garbage, "replaced object")
        ));
    }
    for problem in &overview.problems {
        ui.warn(format!("{}: {}", problem.key, problem.detail));
    }
    if args.verbose || args.timing {
        ui.out("");
        show_syncs(context, past, args.timing);
    }
}

fn state(remote: Option<&Remote>) -> String {
    match remote {
        None => "not asked".into(),
        Some(remote) if !remote.reachable => format!(
            "unreachable ({})",
            remote.kind.as_deref().unwrap_or("failed")
        ),
        Some(remote) if remote.news_from == 0 => "reachable, nothing new".into(),
        Some(remote) => format!(
            "reachable, news from {}: run `hx sync pull`",
            human::count(remote.news_from, "device")
        ),
    }
}

fn pending(overview: &Overview) -> String {
    let interrupted = if overview.interrupted {
        ", a push was interrupted: run it again"
    } else {
        ""
    };
    let again = match overview.again {
        0 => String::new(),
        n => format!(
            ", and {} to be published again under a new identity by the next push",
            human::number(n)
        ),
    };
    format!(
        "{}{again}{interrupted}",
        human::count(overview.pending, "record")
    )
}

fn sync_line(sync: Option<&LastSync>) -> String {
    let Some(sync) = sync else {
        return "never".into();
    };
    let age = jiff::Timestamp::now().duration_since(sync.at);
    let ago = human::ago(Duration::try_from(age).unwrap_or_default());
    if sync.error.is_some() {
        return format!("{ago}, failed");
    }
    format!(
        "{ago}, {}, {} ({})",
        human::count(sync.records, "record"),
        human::duration(Duration::from_millis(sync.took_ms)),
        cost(sync.usage)
    )
}

fn show_syncs(context: &Context, past: &Past, timing: bool) {
    let ui = &context.ui;
    for sync in past.push.iter().chain(&past.pull) {
        let retries = if sync.usage.retries > 0 {
            format!(", {}", human::count(sync.usage.retries, "retry"))
        } else {
            String::new()
        };
        ui.out(format!(
            "{}: {}{retries}",
            sync.command,
            sync_line(Some(sync))
        ));
        if timing {
            for (phase, took_ms) in &sync.phases {
                ui.out(format!(
                    "  {phase:<10} {}",
                    human::duration(Duration::from_millis(*took_ms))
                ));
            }
        }
    }
    if past.last().is_none() {
        ui.out("Nothing was synced yet.");
    }
}
