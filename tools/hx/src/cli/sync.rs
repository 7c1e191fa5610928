//! `hx sync`: everything that has to do with other devices.
//!
//! What must hold: pushes, pulls and everything that changes sync state hold the lock; a failed run is remembered for `status`.
//! What it deliberately does not do: know how the vault works.

mod devices;
mod diagnose;
mod init;
mod key;
mod passphrase;
mod pull;
mod push;
mod repair;
mod reset;
mod status;
mod test;
mod verify;

use clap::{Args, Subcommand};
use console::spec::Flags;
use console::{Exit, Failure, human};
use store::Usage;

pub(crate) use init::{InitArgs, join};
pub(crate) use pull::pull;
pub(crate) use push::push;

use super::Context;

/// Sync with other devices; without a subcommand: pull, then push.
#[derive(Debug, Args)]
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
    /// Publish again what the store lost and this device still has
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
    let pulled = pull::run(&pull::PullArgs::default(), context);
    match &pulled {
        // A conflict may be another device's. If it is this one's, the push says so.
        Err(failure)
            if !matches!(
                failure.exit(),
                Exit::Partial | Exit::Corrupt | Exit::Conflict
            ) =>
        {
            return pulled;
        }
        _ => {}
    }
    let pushed = push::run(&push::PushArgs::default(), context)?;
    pulled.map(|_| pushed)
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
