//! `hx sync key`: what opens the vault.
//!
//! What must hold: no key is printed; a rotation keeps every older key readable for who has the new one; what is shown as a way in opens
//! the vault, whoever else changed it at that moment.
//! What it deliberately does not do: remember recovery phrases that were shown.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use console::{Exit, Failure, Table, Ui};
use serde_json::json;
use vault::{KdfCost, Rotation, Secret, SlotKind, Vault, VaultFile, new_recovery_phrase};

use super::passphrase::{self, Purpose};
use super::reveal;
use super::settled::Settled;
use crate::cli::Context;
use crate::history::History;
use crate::sync::{Description, KeyFile, Link, SyncLock, Words, failure_of};

/// Arguments of `hx sync key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Show what opens the vault: passphrases and recovery phrase, never the key
    Show,
    /// Make a new key, so that a lost device reads nothing that is pushed from now on.
    ///
    /// Only the new passphrase and new recovery words open the vault then; every other device asks for the passphrase once, at its next
    /// `hx sync init`. What a lost device has already stays readable there. It asks first; without a terminal it needs --yes.
    Rotate {
        /// Read the new passphrase from the first line of a file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Add another passphrase
    AddPassphrase {
        /// Read it from the first line of a file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// Runs `hx sync key …`.
///
/// # Errors
/// If sync is not set up, or the store's.
pub fn run(args: &KeyArgs, context: &Context) -> Result<Exit, Failure> {
    if matches!(args.command, KeyCommand::Show) {
        let history = context.history_to_read()?.ok_or_else(super::not_set_up)?;
        return show(context, &history);
    }
    let history = context.history()?;
    match &args.command {
        KeyCommand::Show => show(context, &history),
        KeyCommand::Rotate { passphrase_file } => {
            rotate(context, &history, passphrase_file.as_deref())
        }
        KeyCommand::AddPassphrase { passphrase_file } => {
            add(context, &history, passphrase_file.as_deref())
        }
    }
}

/// Opens the vault to change what opens it: only where its description is known to be no older than any key that was announced. One that
/// was written over it would make unreadable what somebody else sealed with the newer key.
fn opened_to_change(context: &Context, history: &History) -> Result<(Vault, VaultFile), Failure> {
    let (vault, file) = opened(context, history)?;
    context
        .block_on(async {
            let checked = vault.check_epoch().await;
            checked.map_err(|error| failure_of(&error))
        })
        .map_err(|failure| failure.context("nothing was changed"))?;
    Ok((vault, file))
}

fn opened(context: &Context, history: &History) -> Result<(Vault, VaultFile), Failure> {
    context.block_on(async {
        let link = Link::open(
            history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        let file = link
            .vault
            .check_file()
            .await
            .map_err(|error| failure_of(&error))?;
        Ok((link.vault, file))
    })
}

fn show(context: &Context, history: &History) -> Result<Exit, Failure> {
    let (vault, file) = opened(context, history)?;
    let ui = &context.ui;
    let key_file = KeyFile::of(&context.paths, file.vault);
    if ui.is_json() {
        let slots: Vec<_> = file
            .slots
            .iter()
            .map(|slot| json!({ "id": slot.id, "kind": slot.kind }))
            .collect();
        ui.json(&json!({ "vault": file.vault, "epoch": file.epoch, "slots": slots, "key_file": key_file.path() }));
        return Ok(Exit::Ok);
    }
    ui.out(format!("vault     {}", file.vault));
    ui.out(format!(
        "key       epoch {}, kept in {}",
        vault.keys().epoch(),
        key_file.path().display()
    ));
    let mut table = Table::new(["slot", "opened by"]);
    for slot in &file.slots {
        let by = match slot.kind {
            SlotKind::Passphrase => "a passphrase",
            SlotKind::Recovery => "the recovery phrase (24 words)",
        };
        table.row([slot.id.clone(), by.to_owned()]);
    }
    ui.out(table.render());
    Ok(Exit::Ok)
}

fn rotate(
    context: &Context,
    history: &History,
    passphrase_file: Option<&std::path::Path>,
) -> Result<Exit, Failure> {
    let ui = &context.ui;
    let _lock = SyncLock::take(&context.paths, "key rotate", ui)?;
    let (vault, file) = opened_to_change(context, history)?;
    let question = "Make a new key? Every other device will ask for the new passphrase once. What is in the store already stays readable with the old key.";
    context.consent(question)?;
    let words = Words::of(&context.paths, file.vault);
    let passphrase = passphrase::find(context, passphrase_file, Purpose::Protect)?;
    if file.unlock(&passphrase).is_ok() {
        // This very rotation was cut off after it came to hold: what is left of it is to show the words.
        if let Some(phrase) = words.owed(&file, vault.keys()).filter(|_| file.epoch > 1) {
            return tell(ui, &words, (&vault, &phrase));
        }
        return Err(
            Failure::usage("the new passphrase is one that opens the vault already")
                .hint("Choose another: who has the lost device may know the old one."),
        );
    }
    let phrase = new_recovery_phrase().to_string();
    let secrets = [&passphrase, &Secret::from_input(&phrase)];
    let rotation = vault
        .begin_rotation(&file, &secrets, KdfCost::RECOMMENDED)
        .map_err(|error| failure_of(&error))?;
    words.keep(&phrase)?;
    let rotated = hold(context, &vault, &rotation, (&words, &phrase))?;
    // Only after the description: a mark without it would lock everybody out. And before the key file: until that says that the rotation
    // is over, each command of this device leaves the mark if it is not there.
    let marked = context.block_on(async {
        let marked = rotated.mark_epoch().await;
        marked.map_err(|error| failure_of(&error))
    });
    match marked {
        Ok(()) => KeyFile::of(&context.paths, file.vault).write(&rotation.keys)?,
        Err(failure) => ui.warn(format!(
            "the key is rotated, but devices that only push do not notice yet ({}): this device's next sync tells them",
            failure.message()
        )),
    }
    tell(ui, &words, (&rotated, &phrase))
}

/// Says that the rotation holds, and shows its words.
fn tell(ui: &Ui, words: &Words, (vault, phrase): (&Vault, &str)) -> Result<Exit, Failure> {
    let keys = vault.keys();
    if ui.is_json() {
        ui.json(
            &json!({ "vault": keys.vault(), "epoch": keys.epoch(), "recovery_phrase": phrase }),
        );
        reveal::in_json(ui, words)?;
        return Ok(Exit::Ok);
    }
    ui.out(format!("Rotated: epoch {}.", keys.epoch()));
    let title = "New recovery phrase. The old one no longer opens the vault. Write it down: it is shown only now.";
    reveal::in_text(ui, words, title, phrase)?;
    ui.status("On every other device: hx sync init --store URL, with the new passphrase.");
    Ok(Exit::Ok)
}

/// Makes the rotation hold in the store. Nothing is sealed with the new key, and nothing is shown, before it does.
fn hold(
    context: &Context,
    vault: &Vault,
    rotation: &Rotation,
    (words, phrase): (&Words, &str),
) -> Result<Vault, Failure> {
    // The new key is kept here before the store knows it, beside the old one: the other order could lock this device out of its own vault.
    let key_file = KeyFile::of(&context.paths, vault.keys().vault());
    key_file.write(&rotation.awaiting)?;
    let rotated = Description::keep_of(
        &context.paths,
        Vault::new(vault.store().clone(), rotation.keys.clone()),
    );
    let settled = Settled::begin();
    let held = context.block_on(async {
        rotated
            .rotate(rotation, async || settled.pause().await)
            .await
            .map_err(|error| failure_of(&error))
    });
    if let Err(failure) = held {
        // What was refused is not on its way, so it can never come to hold. Otherwise the key and its words are kept.
        let is_refused = matches!(failure.exit(), Exit::Denied | Exit::DiskFull);
        let (failure, old_holds) = unrotated(context, vault, failure);
        if is_refused && old_holds {
            words.take_back(phrase);
            // Nothing was sealed with the new key. If it stays, that costs a request now and then.
            let _ = key_file.write(vault.keys());
        }
        return Err(failure);
    }
    Ok(rotated)
}

/// The write failed or its answer was lost: the store decides which key holds. Returns whether that is the old one.
fn unrotated(context: &Context, vault: &Vault, failure: Failure) -> (Failure, bool) {
    let old_holds = context
        .block_on(async { vault.check_file().await.map_err(|error| failure_of(&error)) })
        .is_ok();
    let failure = match old_holds {
        true => failure.context("the key was not rotated; the old one still holds"),
        false if failure.kind_name() == Some("overtaken") => failure,
        false => failure
            .context("it is not certain that the key was rotated; this device keeps both keys"),
    };
    (failure, old_holds)
}

fn add(
    context: &Context,
    history: &History,
    passphrase_file: Option<&std::path::Path>,
) -> Result<Exit, Failure> {
    let _lock = SyncLock::take(&context.paths, "key add-passphrase", &context.ui)?;
    let (vault, file) = opened_to_change(context, history)?;
    let passphrase = passphrase::find(context, passphrase_file, Purpose::Protect)?;
    if file.unlock(&passphrase).is_ok() {
        return Err(
            Failure::usage("this passphrase opens the vault already, so nothing was added")
                .kind("known-passphrase")
                .hint("Give the new one: `--passphrase-file FILE`, or HX_SYNC_PASSPHRASE for this run; on a terminal, unset HX_SYNC_PASSPHRASE to be asked for it."),
        );
    }
    let settled = Settled::begin();
    let slots = context.block_on(async {
        vault
            .add_slot(&passphrase, KdfCost::RECOMMENDED, async || {
                settled.pause().await
            })
            .await
            .map_err(|error| failure_of(&error).context("the passphrase was not added"))
    })?;
    if context.ui.is_json() {
        context
            .ui
            .json(&json!({ "vault": file.vault, "slots": slots }));
    }
    context
        .ui
        .out(format!("Added: the vault now has {slots} ways in."));
    Ok(Exit::Ok)
}
