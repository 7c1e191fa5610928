//! Coming into a vault that exists: with a key that is here, or with the passphrase; and what becomes of a key that does not hold.
//!
//! What must hold: a key that objects may be sealed with is never dropped; where another device's key took the place of this one's, what
//! this device published is to be published anew before the key file changes, so that nothing cuts that short.
//!
//! What it deliberately does not do: take a `vault.json` that a person did not open, and no key of this device, for the vault's.

use console::{Exit, Failure};
use store::Store;
use vault::{Device, Keyring, ResetMode, Vault, VaultError, VaultFile};

use super::{DOMAIN, Entered, How, put_back};
use crate::cli::Context;
use crate::cli::sync::passphrase::{self, Purpose};
use crate::history::History;
use crate::replica::HistoryReplica;
use crate::sync::{Description, KeyFile, Past, Words, failure_of, history_failure, vault_options};

/// A vault's keys, and how they came.
pub(super) struct Opened {
    pub(super) keys: Keyring,
    /// Whether they were on this device, so that no passphrase was asked for.
    pub(super) had_key: bool,
    pub(super) standing: Standing,
}

/// How the keys of this device and `vault.json` stand to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// They fit.
    Good,
    /// This device had a key that did not come to hold, and may have sealed objects with it.
    GaveUp,
    /// The file is from before a rotation of which this device has the key.
    OldFile,
}

impl Opened {
    fn with(keys: Keyring, had_key: bool) -> Self {
        Self {
            keys,
            had_key,
            standing: Standing::Good,
        }
    }
}

/// Comes into the vault that `file` describes. `is_known`: whether this device was in it, in this place.
pub(super) async fn enter(
    context: &Context,
    history: &mut History,
    past: &mut Past,
    (store, file, is_known): (&Store, &VaultFile, bool),
    passphrase_file: Option<&std::path::Path>,
) -> Result<Entered, Failure> {
    let opened = open(context, file, passphrase_file)?;
    let vault = Vault::new(store.clone(), opened.keys.clone());
    if opened.standing == Standing::OldFile {
        let (how, recovery) = put_back(context, history, past, &vault, passphrase_file).await?;
        return Ok(Entered {
            keys: opened.keys,
            how,
            had_key: true,
            recovery,
        });
    }
    vault
        .check_epoch()
        .await
        .map_err(|error| failure_of(&error))?;
    // Whoever made the key may have been cut off before it was announced.
    let announced = vault.announce_epoch().await;
    announced.map_err(|error| failure_of(&error))?;
    if opened.standing == Standing::GaveUp {
        publish_anew(context, history, &vault)?;
    }
    let how = match opened.had_key && is_known {
        true => How::Already,
        false => How::Joined,
    };
    Ok(Entered {
        recovery: Words::of(&context.paths, file.vault).owed(file, &opened.keys),
        keys: opened.keys,
        how,
        had_key: opened.had_key,
    })
}

/// Goes on under a new identity, whose first push takes over what was published with a key that nobody else has.
fn publish_anew(context: &Context, history: &mut History, vault: &Vault) -> Result<(), Failure> {
    let options = vault_options(&context.settings);
    let id = vault.keys().vault();
    {
        let mut replica =
            HistoryReplica::new(history, id).map_err(|error| history_failure(&error))?;
        Device::new(vault, &mut replica, &options, &mut ())
            .reset(ResetMode::NewIdentity)
            .map_err(|error| failure_of(&error))?;
    }
    Description::of(&context.paths, id).forget();
    context.ui.status("Another device rotated the key at the same time as this one, and its key holds. What this device published with its own is published anew by its next sync; nothing is lost.");
    Ok(())
}

/// Opens a vault that exists: with the key that is already here, else with the passphrase.
pub(super) fn open(
    context: &Context,
    file: &VaultFile,
    passphrase_file: Option<&std::path::Path>,
) -> Result<Opened, Failure> {
    if file.domain != DOMAIN {
        return Err(Failure::new(
            Exit::Conflict,
            format!(
                "the vault there belongs to another tool (`{}`)",
                file.domain
            ),
        )
        .hint("Give hx a prefix of its own."));
    }
    let Some(kept) = KeyFile::of(&context.paths, file.vault).read()? else {
        let secret = passphrase::find(context, passphrase_file, Purpose::Open)?;
        let keys = file.unlock(&secret).map_err(|error| not_opened(&error))?;
        return Ok(Opened::with(keys, false));
    };
    // One of the keys that are here: also one of a rotation that was cut off.
    if let Some(settled) = kept.settled_by(file) {
        return Ok(Opened {
            keys: settled.keys,
            had_key: true,
            standing: match settled.gave_up {
                true => Standing::GaveUp,
                false => Standing::Good,
            },
        });
    }
    match file.check(&kept) {
        Err(VaultError::OldVaultFile { .. }) => Ok(Opened {
            keys: kept,
            had_key: true,
            standing: Standing::OldFile,
        }),
        // The key was rotated elsewhere, later or at the same time: the passphrase opens the one that holds.
        Err(VaultError::Rotated { .. } | VaultError::OtherKey { .. }) => {
            let secret = passphrase::find(context, passphrase_file, Purpose::Open)?;
            let keys = file.unlock(&secret).map_err(|error| not_opened(&error))?;
            let next = keys.after(&kept).map_err(|error| failure_of(&error))?;
            Ok(Opened {
                keys: next.keys,
                had_key: false,
                standing: match next.gave_up {
                    true => Standing::GaveUp,
                    false => Standing::Good,
                },
            })
        }
        Err(error) => Err(failure_of(&error)),
        Ok(()) => Ok(Opened::with(kept, true)),
    }
}

/// Nothing tells a wrong passphrase from a slot that somebody changed: the code over the whole file is made with the key in it.
fn not_opened(error: &VaultError) -> Failure {
    let failure = failure_of(error);
    match error {
        VaultError::WrongKey => failure.hint("Check the passphrase (HX_SYNC_PASSPHRASE, --passphrase-file), or give the 24 words of the recovery phrase in its place. If it is surely right, somebody may have changed vault.json: `hx sync verify` on a device that is in the vault says whether it is as it was written."),
        _ => failure,
    }
}
