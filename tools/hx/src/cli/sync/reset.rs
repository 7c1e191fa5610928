//! `hx sync reset`.
//!
//! What must hold: the history, the key and the store are not touched; `pull` works straight after it.
//! What it deliberately does not do: speak to the store.

use clap::Args;
use console::{Exit, Failure};
use serde_json::json;
use store::{Environment, Store, StoreUrl, Tuning};
use vault::{Device, ResetMode, Vault};

use crate::cli::Context;
use crate::replica::HistoryReplica;
use crate::sync::{KeyFile, Past, SyncLock, failure_of, history_failure, vault_options};

/// Arguments of `hx sync reset`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run `hx sync pull` after it. Without --local-only this device gets a new identity in the vault; what it \
published under the old one stays readable, and is taken over later.\n\n\
It asks first on a terminal and goes on without one: the history stays, and a pull brings the rest back."
)]
pub struct ResetArgs {
    /// Keep this device's identity in the vault
    #[arg(long)]
    local_only: bool,
}

/// Runs `hx sync reset`.
///
/// # Errors
/// If sync is not set up, or the database fails.
pub fn run(args: &ResetArgs, context: &Context) -> Result<Exit, Failure> {
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "reset", &context.ui)?;
    let past = Past::read(&history).map_err(|error| history_failure(&error))?;
    let Some(membership) = past.membership.clone() else {
        return Ok(told(
            context,
            None,
            "Sync is not set up on this machine: nothing to reset.",
        ));
    };
    if let Ok(url) = membership.store.parse() {
        context.paths.refuse_own(&url)?;
    }
    let question = "Forget what was pushed and seen? The history, the key and the store stay; the next pull reads the vault again.";
    context.consent_on_terminal(question)?;
    let Some(keys) = KeyFile::of(&context.paths, membership.vault).read()? else {
        return Err(Failure::new(
            Exit::WrongKey,
            "the key of this vault is not on this machine",
        )
        .hint("Run `hx sync init --store URL` again."));
    };
    // A reset sends nothing, so a store in memory will do to build the vault.
    let memory: StoreUrl = "memory:".parse().expect("a valid URL");
    let store = context.block_on(async {
        Store::open(&memory, &Tuning::default(), &Environment::default())
            .await
            .map_err(Failure::from)
    })?;
    let vault = Vault::new(store, keys);
    let options = vault_options(&context.settings);
    let mode = if args.local_only {
        ResetMode::LocalOnly
    } else {
        ResetMode::NewIdentity
    };
    let mut replica = HistoryReplica::new(&mut history, membership.vault)
        .map_err(|error| history_failure(&error))?;
    let is_new = Device::new(&vault, &mut replica, &options, &mut ())
        .reset(mode)
        .map_err(|error| failure_of(&error))?;
    clear_cache(context)?;
    let kept = Past {
        membership: past.membership,
        emptied: past.emptied,
        ..Past::default()
    };
    kept.write(&mut history)
        .map_err(|error| history_failure(&error))?;
    let done = told(
        context,
        Some(is_new),
        "Reset. The store, the key and the history are as they were.",
    );
    context.ui.status("Next: hx sync pull");
    Ok(done)
}

/// Says what was done: nothing, or a reset, and then whether there is a new identity.
fn told(context: &Context, done: Option<bool>, words: &str) -> Exit {
    if context.ui.is_json() {
        context
            .ui
            .json(&json!({ "reset": done.is_some(), "new_identity": done.unwrap_or(false) }));
    }
    context.ui.out(words);
    Exit::Ok
}

fn clear_cache(context: &Context) -> Result<(), Failure> {
    let cache = context.paths.cache_dir();
    match std::fs::remove_dir_all(&cache) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io("remove the cache", &cache, &error))
        }
        _ => Ok(()),
    }
}
