//! `hx sync`: everything that has to do with other devices.
//!
//! What must hold: pushes, pulls and everything that changes sync state hold the lock; a failed run is remembered for `status`.
//! What it deliberately does not do: know how the vault works.

mod cut;
mod devices;
mod diagnose;
mod init;
mod key;
mod passphrase;
mod pull;
mod push;
mod repair;
mod reset;
mod reveal;
mod settled;
mod status;
mod test;
mod verify;

use clap::{Args, Subcommand};
use console::spec::Flags;
use console::{Exit, Failure, human};
use serde::Serialize;
use serde_json::Map;
use store::Usage;
use vault::Overview;

pub(crate) use init::{InitArgs, join};
pub(crate) use pull::pull;
pub(crate) use push::push;

use super::Context;

/// Sync with other devices; without a subcommand: pull, then push.
#[derive(Debug, Args)]
#[command(after_help = "Without a command it pulls, then pushes.

Begin with:
  hx sync init --store \"s3://bucket/prefix?region=us-west-2\"   (or --store folder:/path)
  hx sync

If something is wrong: hx sync status --verbose, hx sync diagnose.")]
pub struct SyncArgs {
    #[command(subcommand)]
    command: Option<SyncCommand>,
}

#[derive(Debug, Subcommand)]
enum SyncCommand {
    /// Create a vault in a store, or join the one that is there
    Init(InitArgs),
    /// Publish what other devices do not have yet
    Push(push::PushArgs),
    /// Fetch what other devices published
    Pull(pull::PullArgs),
    /// Show store, vault, devices, what is pending and what the last sync did
    Status(status::StatusArgs),
    /// Re-read the vault and authenticate every object
    Verify(verify::VerifyArgs),
    /// Publish again what the store lost and this device still has, and what lies there and no manifest names
    Repair(repair::RepairArgs),
    /// Forget the sync state; the history, the key and the store stay
    Reset(reset::ResetArgs),
    /// Run every check and say what to do
    Diagnose(diagnose::DiagnoseArgs),
    /// Write, read, list and delete a probe object
    TestConnection,
    /// Try each permission that sync needs
    TestPermissions,
    /// List devices, or remove a lost one
    Devices(devices::DevicesArgs),
    /// Show or change what opens the vault
    Key(key::KeyArgs),
}

impl SyncArgs {
    /// The flags that stand for settings.
    pub fn flags(&self) -> Flags {
        match &self.command {
            Some(SyncCommand::Init(args)) => args.flags(),
            _ => Flags::new(),
        }
    }
}

/// Runs `hx sync …`.
///
/// # Errors
/// The subcommand's.
pub fn run(args: &SyncArgs, context: &Context) -> Result<Exit, Failure> {
    let outcome = run_command(args, context);
    use SyncCommand::{Pull, Push, Status};
    if matches!(args.command, None | Some(Push(_) | Pull(_) | Status(_))) {
        reveal::remind(context);
    }
    outcome
}

fn run_command(args: &SyncArgs, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        None => both(context),
        Some(SyncCommand::Init(args)) => init::run(args, context),
        Some(SyncCommand::Push(args)) => push::run(args, context),
        Some(SyncCommand::Pull(args)) => pull::run(args, context),
        Some(SyncCommand::Status(args)) => status::run(args, context),
        Some(SyncCommand::Verify(args)) => verify::run(args, context),
        Some(SyncCommand::Repair(args)) => repair::run(args, context),
        Some(SyncCommand::Reset(args)) => reset::run(args, context),
        Some(SyncCommand::Diagnose(args)) => diagnose::run(args, context),
        Some(SyncCommand::TestConnection) => test::connection(context),
        Some(SyncCommand::TestPermissions) => test::permissions(context),
        Some(SyncCommand::Devices(args)) => devices::run(args, context),
        Some(SyncCommand::Key(args)) => key::run(args, context),
    }
}

/// Pulls, then pushes; a pull that failed in part does not keep the push back.
fn both(context: &Context) -> Result<Exit, Failure> {
    let ui = &context.ui;
    let give = |name: &str, value: serde_json::Value| {
        if ui.is_json() {
            ui.json(&Map::from_iter([(name.to_owned(), value)]));
        }
    };
    let (pulled, trouble) = match pull::work(&pull::PullArgs::default(), context) {
        Ok((shown, trouble)) => (object(&shown), trouble),
        Err(failure) => (Map::new(), Some(failure)),
    };
    give("pull", with_trouble(pulled, trouble.as_ref()));
    // A conflict may be another device's. If it is this one's, the push says so.
    let goes_on = |failure: &Failure| {
        matches!(
            failure.exit(),
            Exit::Partial | Exit::Corrupt | Exit::Conflict
        )
    };
    if let Some(failure) = trouble.clone().filter(|failure| !goes_on(failure)) {
        return Err(failure);
    }
    let occasion = match trouble {
        None => push::Occasion::AfterPull,
        Some(_) => push::Occasion::Alone,
    };
    let pushed = push::work(&push::PushArgs::default(), context, occasion);
    let (shown, failure) = match pushed {
        Ok(shown) => (object(&shown), None),
        Err(failure) => (Map::new(), Some(failure)),
    };
    give("push", with_trouble(shown, failure.as_ref()));
    failure.or(trouble).map_or(Ok(Exit::Ok), Err)
}

fn object(value: &impl Serialize) -> Map<String, serde_json::Value> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// A half's report, with its own failure in it.
fn with_trouble(
    mut half: Map<String, serde_json::Value>,
    trouble: Option<&Failure>,
) -> serde_json::Value {
    if let Some(serde_json::Value::Object(error)) = trouble.map(Failure::to_json) {
        half.extend(error);
    }
    half.into()
}

/// Whether this device has seen the vault since it joined: before, nobody here knows what of `pending` is in the vault already.
pub(crate) fn is_pending_known(overview: &Overview) -> bool {
    !overview.devices.is_empty()
}

/// How much is pending, in words; `to_do` says what for.
pub(crate) fn pending(overview: &Overview, to_do: &str) -> String {
    let records = human::count(overview.pending, "record");
    if overview.pending == 0 || is_pending_known(overview) {
        return format!("{records}{to_do}");
    }
    format!("up to {records}{to_do} (which of them the vault has already shows at the first pull)")
}

fn not_set_up() -> Failure {
    Failure::new(Exit::NoStore, "sync is not set up on this machine")
        .kind("not-set-up")
        .hint("Run `hx sync init --store URL`.")
}

/// What a sync cost, in words: `3 requests, 1.2 kB up, 0 B down`.
pub(crate) fn cost(usage: Usage) -> String {
    format!(
        "{}, {} up, {} down",
        human::count(usage.requests(), "request"),
        human::bytes(usage.bytes_up),
        human::bytes(usage.bytes_down)
    )
}
