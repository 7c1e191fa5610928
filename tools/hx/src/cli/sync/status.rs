//! `hx sync status`.
//!
//! What must hold: it changes nothing; it says of the store what a push or pull would say; it asks a bucket one cheap question, of which
//! it remembers the answer for a while, and answers from what is known if the store is silent. It reads `vault.json` too where that
//! costs nothing (a folder), where the listing leaves a doubt (it is empty), and for who wants to know more (`--verbose`).
//! What it deliberately does not do: take the lock: it works while a sync runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use console::{Exit, Failure, ProgressFile, Table, human};
use serde::{Deserialize, Serialize};
use store::{StoreKind, StoreUrl};
use vault::{Device, Glance, Look, Overview, Problem, ProblemKind, VaultError};

use super::cost;
use crate::cli::Context;
use crate::history::History;
use crate::replica::HistoryReplica;
use crate::sync::{
    LastSync, Link, Membership, Past, failure_of, hidden_failure, history_failure, remark, worst,
};

/// Arguments of `hx sync status`.
#[derive(Debug, Args)]
#[command(
    after_help = "It asks the store with one request, and remembers a bucket's answer for a while \
(HX_SYNC_MANIFEST_CACHE_TTL) or until the next sync. If the vault is not there it says what push and pull would say, \
with the same exit code. If it does not show all that other devices published, it ends as pull does then: with 3 for a folder, \
where it may be under way, else with 15; with --offline it says what the last pull found. With --verbose, and always for a folder, it asks anew and reads vault.json too; if that is \
damaged, it ends with 16."
)]
pub struct StatusArgs {
    /// Show devices and what the last syncs did, and look more closely at the store
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
    /// What other devices published and the store does not show.
    #[serde(default)]
    hidden: Vec<Problem>,
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
    /// Whether there are recovery words that nobody has seen: `hx sync init` shows them.
    recovery_words_owed: bool,
}

/// Runs `hx sync status`.
///
/// # Errors
/// If the database fails, the store cannot be reached, or the next sync would stop at a conflict (after everything that is known was shown).
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
    let (remote, failure) = if args.offline {
        (None, None)
    } else {
        let (remote, failure) = remote(args, context, &mut history, (&membership, &past));
        (Some(remote), failure)
    };
    if ui.is_json() {
        ui.json(&Report {
            store: &membership.store,
            overview: &overview,
            remote: remote.as_ref(),
            push: past.push.as_ref(),
            pull: past.pull.as_ref(),
            month: past.month(),
            recovery_words_owed: super::reveal::are_owed(context, membership.vault),
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
    let failure = failure.or_else(|| {
        let kind = store_kind(&membership.store)?;
        hidden_failure(&hidden(remote.as_ref(), &overview), kind)
    });
    failure.map_or(Ok(Exit::Ok), Err)
}

/// What other devices published and the store does not show: as it shows now, or as the last pull found it.
fn hidden(remote: Option<&Remote>, overview: &Overview) -> Vec<Problem> {
    match remote.filter(|remote| remote.reachable) {
        Some(remote) => remote.hidden.clone(),
        None => {
            let problems = overview.problems.iter();
            problems.filter(|one| is_of_hidden(one)).cloned().collect()
        }
    }
}

fn is_of_hidden(problem: &Problem) -> bool {
    matches!(
        problem.kind,
        ProblemKind::Withheld | ProblemKind::Regression
    )
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

/// Asks the store what is new. A bucket's answer is kept until the next sync, but no longer than the settings say.
fn remote(
    args: &StatusArgs,
    context: &Context,
    history: &mut History,
    (membership, past): (&Membership, &Past),
) -> (Remote, Option<Failure>) {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let asks = args.verbose || is_folder(&membership.store);
    if let Some(known) = remembered(context, membership, past, now_ms).filter(|_| !asks) {
        return (known, None);
    }
    let look = if asks { Look::VaultFile } else { Look::Listing };
    match glance(context, history, membership, look) {
        Ok(Ok(glance)) => {
            let remote = Remote::answered(&glance, now_ms);
            if glance.conflict.is_none() {
                remember(context, membership, &remote);
            }
            (remote, glance.conflict.as_ref().map(failure_of))
        }
        Ok(Err(error)) => {
            let failure = failure_of(&error);
            let reachable = !matches!(error, VaultError::Store { .. });
            let remote = Remote::failed(&failure, reachable, now_ms);
            let failure = match reachable {
                true => failure,
                false => failure.context("the store could not be asked"),
            };
            (remote, Some(failure))
        }
        Err(failure) => (
            Remote::failed(&failure, false, now_ms),
            Some(failure.context("the store could not be asked")),
        ),
    }
}

fn store_kind(store: &str) -> Option<StoreKind> {
    store.parse::<StoreUrl>().ok().map(|url| url.kind())
}

fn is_folder(store: &str) -> bool {
    store_kind(store) == Some(StoreKind::Folder)
}

/// The outer failure is that the store could not be opened.
pub(super) fn glance(
    context: &Context,
    history: &mut History,
    membership: &Membership,
    look: Look,
) -> Result<Result<Glance, VaultError>, Failure> {
    context.block_on(async {
        let mut settings = context.settings.clone();
        settings.sync.max_retries.value = settings.sync.max_retries.value.min(1);
        let link = Link::open(history, &settings, &context.paths, &context.environment()).await?;
        let mut replica = HistoryReplica::for_reading(history, membership.vault)
            .map_err(|error| history_failure(&error))?;
        Ok(
            Device::new(&link.vault, &mut replica, &link.options, &mut ())
                .glance(look)
                .await,
        )
    })
}

/// What the store answered a moment ago, if nothing was synced since.
fn remembered(
    context: &Context,
    membership: &Membership,
    past: &Past,
    now_ms: i64,
) -> Option<Remote> {
    let life_ms = i64::try_from(context.settings.sync.manifest_cache_ttl.value.as_millis())
        .unwrap_or(i64::MAX);
    let bytes = std::fs::read(cache(context)).ok()?;
    let (vault, known): (vault::VaultId, Remote) = serde_json::from_slice(&bytes).ok()?;
    let synced_ms = past.last().map_or(i64::MIN, |sync| {
        sync.at.as_millisecond() + i64::try_from(sync.took_ms).unwrap_or_default()
    });
    let is_fresh = vault == membership.vault
        && known.reachable
        && known.at_ms > synced_ms
        && (0..life_ms).contains(&(now_ms - known.at_ms));
    is_fresh.then_some(known)
}

fn remember(context: &Context, membership: &Membership, remote: &Remote) {
    // It only saves a request.
    let _ = std::fs::create_dir_all(context.paths.cache_dir());
    let _ = serde_json::to_vec(&(membership.vault, remote))
        .map(|bytes| store::file::atomic_write(&cache(context), &bytes));
}

fn cache(context: &Context) -> PathBuf {
    context.paths.cache_dir().join("listing.json")
}

impl Remote {
    fn answered(glance: &Glance, at_ms: i64) -> Self {
        let conflict = glance.conflict.as_ref().map(failure_of);
        Self {
            at_ms,
            reachable: true,
            news_from: glance.news_from,
            devices: glance.devices,
            error: conflict.as_ref().map(Failure::message),
            kind: conflict
                .as_ref()
                .and_then(|failure| failure.kind_name().map(str::to_owned)),
            remedy: conflict.as_ref().and_then(Failure::hint_text),
            hidden: glance.hidden.clone(),
        }
    }

    fn failed(failure: &Failure, reachable: bool, at_ms: i64) -> Self {
        Self {
            at_ms,
            reachable,
            news_from: 0,
            devices: 0,
            error: Some(failure.message()),
            kind: failure.kind_name().map(str::to_owned),
            remedy: failure.hint_text(),
            hidden: vec![],
        }
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
    // Nobody charges for requests to a folder.
    if let Some(month) = past.month().filter(|_| !is_folder(store)) {
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
    let hidden = hidden(remote, overview);
    let others = overview.problems.iter().filter(|one| !is_of_hidden(one));
    // The error at the end names one of them.
    let last = worst(&hidden).filter(|_| is_last(remote));
    for problem in others.chain(hidden.iter().filter(|one| Some(*one) != last)) {
        ui.warn(remark(problem));
    }
    if args.verbose || args.timing {
        ui.out("");
        show_syncs(context, past, args.timing);
    }
}

/// Whether nothing else is the error at the end.
fn is_last(remote: Option<&Remote>) -> bool {
    remote.is_none_or(|remote| remote.error.is_none())
}

fn state(remote: Option<&Remote>) -> String {
    match remote {
        None => "not asked".into(),
        Some(remote) if !remote.reachable => format!(
            "unreachable ({})",
            remote.kind.as_deref().unwrap_or("failed")
        ),
        Some(remote) => match remote.kind.as_deref() {
            Some("no-vault") => "the vault is not there: not mounted, or emptied".into(),
            Some("no-vault-file") => "reachable, but vault.json is gone: no device can join".into(),
            Some("corrupt") => "reachable, but vault.json is damaged: no device can join".into(),
            Some(kind) => format!("reachable, but it cannot be synced with ({kind})"),
            None if !remote.hidden.is_empty() => {
                "reachable, but it does not show all that other devices published".into()
            }
            None => format!("reachable, {}{}", news(remote), age(remote)),
        },
    }
}

fn news(remote: &Remote) -> String {
    match remote.news_from {
        0 => "nothing new".into(),
        n => format!(
            "news from {}: run `hx sync pull`",
            human::count(n, "device")
        ),
    }
}

/// When the store was asked, if that was not just now.
fn age(remote: &Remote) -> String {
    let age_ms = jiff::Timestamp::now().as_millisecond() - remote.at_ms;
    match u64::try_from(age_ms) {
        Ok(age_ms) if age_ms >= 1000 => {
            format!(" (asked {})", human::ago(Duration::from_millis(age_ms)))
        }
        _ => String::new(),
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
    format!("{}{again}{interrupted}", super::pending(overview, ""))
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
