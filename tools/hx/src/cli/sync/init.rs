//! `hx sync init`: create a vault in a store, join the one that is there, or switch to another store.
//!
//! What must hold: nothing is configured before the store was written to, read and listed, and the key opened the vault; what is
//! pending stays pending; recovery words are kept until they were shown, once, and nowhere after that; no passphrase and no recovery phrase
//! ends without a yes.
//!
//! What it deliberately does not do: move a vault's objects to another store: the next push publishes everything there.

mod opening;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use console::spec::Flags;
use console::{Exit, Failure, human};
use jiff::Timestamp;
use serde::Serialize;
use store::{Store, StoreKind, StoreUrl};
use vault::{
    Device, KdfCost, Keyring, MANIFESTS, Overview, Secret, Vault, VaultError, VaultFile, VaultId,
    new_recovery_phrase,
};

use super::passphrase::{self, Purpose};
use super::reveal;
use super::settled::Settled;
use crate::cli::Context;
use crate::history::History;
use crate::replica::HistoryReplica;
use crate::settings::{Settings, credentials, write_store};
use crate::sync::{
    Description, KeyFile, Link, Membership, Past, SyncLock, Words, failure_of, history_failure,
    vault_options,
};

/// The name under which hx keeps its vaults apart from other tools'.
const DOMAIN: &str = "hx";

/// Two machines are not equally fast, nor is one at all times.
const OVERTAKEN_MARGIN: Duration = Duration::from_millis(500);

/// Arguments of `hx sync init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hx sync init --store \"s3://bucket/prefix?region=us-west-2\"
  hx sync init --store \"s3://bucket?endpoint=localhost:9000&path_style=true\"
  hx sync init --store folder:~/Sync/hx

Quote the URL: `&` and `?` mean something to the shell. The first device makes the vault and shows 24 recovery \
words once; every other one joins it with the same URL and passphrase. With another URL than before, this device \
switches to that store. Without a terminal the passphrase comes from --passphrase-file or HX_SYNC_PASSPHRASE.")]
pub struct InitArgs {
    /// Where the vault is: s3://bucket/prefix?region=…, folder:/path [default: a folder in the data directory]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The URL is whole: do not take it for one that the shell cut at its `&`, though `&` put this command into the background
    #[arg(long, requires = "store")]
    whole_url: bool,
    /// Read the passphrase from the first line of a file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl InitArgs {
    /// The flags that stand for settings.
    pub fn flags(&self) -> Flags {
        Flags::new().with("HX_SYNC_STORE", "--store", self.store.clone())
    }
}

/// What an init did.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) how: How,
    /// Whether the vault's key was on this device, so that no passphrase was asked for or checked.
    pub(crate) had_key: bool,
    /// The recovery phrase, if there is a new one.
    pub(crate) recovery: Option<String>,
    /// Where it is now.
    pub(crate) membership: Membership,
}

/// What came of coming into a vault, before anything is configured.
struct Entered {
    keys: Keyring,
    how: How,
    had_key: bool,
    recovery: Option<String>,
}

impl Entered {
    /// With keys that were not taken from this device as they were.
    fn new(keys: Keyring, how: How, recovery: Option<String>) -> Self {
        Self {
            keys,
            how,
            had_key: false,
            recovery,
        }
    }
}

/// How a device came into a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It made the vault.
    Created,
    /// The vault was there.
    Joined,
    /// The vault was there, and this device was in it.
    Already,
    /// The vault's description was gone, and is there again as it was.
    Restored,
    /// It was gone, and there is a new one, which other secrets open.
    Renewed,
}

/// Runs `hx sync init`.
///
/// # Errors
/// Usage, the store's, or a wrong passphrase; then nothing was configured.
pub fn run(args: &InitArgs, context: &Context) -> Result<Exit, Failure> {
    let url = store_url(context)?;
    if args.store.is_some() && !args.whole_url {
        super::cut::refuse(&url, &context.ui)?;
    }
    refuse_unfit(&url)?;
    context.paths.refuse_own(&url)?;
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "init", &context.ui)?;
    tell_of_switch(context, &mut history, &url)?;
    let joined = context.block_on(join(
        context,
        &mut history,
        &url,
        args.passphrase_file.as_deref(),
    ))?;
    show(context, &mut history, &url, &joined)
}

fn store_url(context: &Context) -> Result<StoreUrl, Failure> {
    match context.settings.store_url() {
        Ok(Some(url)) => credentials::attach(&context.paths, url.value),
        // A vault on this machine alone: a beginning that can be moved to a real store later.
        Ok(None) => Ok(StoreUrl::from_folder(context.paths.default_store())),
        Err(problem) => {
            let failure = Failure::usage(problem.what);
            Err(match problem.remedy.is_empty() {
                true => failure,
                false => failure.hint(problem.remedy),
            })
        }
    }
}

/// Stores that can be named and cannot hold a vault.
fn refuse_unfit(url: &StoreUrl) -> Result<(), Failure> {
    let (what, hint) = match url.kind() {
        StoreKind::Memory => (
            "a store in memory is gone when the command ends, and the vault with it".to_owned(),
            "Give a folder or a bucket: folder:/path or s3://bucket/prefix?region=…",
        ),
        StoreKind::Gcs | StoreKind::Azure => (
            format!("hx cannot sync with {url}: this kind of store is not built in"),
            "Give an S3-compatible store or a folder. Google's storage speaks S3: \"s3://bucket?endpoint=storage.googleapis.com\" with HMAC keys.",
        ),
        StoreKind::Folder => match url.folder().filter(|path| path.exists() && !path.is_dir()) {
            None => return Ok(()),
            Some(path) => (
                format!("{} is not a directory", path.display()),
                "Name a directory; a new one is created.",
            ),
        },
        _ => return Ok(()),
    };
    Err(Failure::usage(what).kind("unsupported").hint(hint))
}

fn tell_of_switch(context: &Context, history: &mut History, url: &StoreUrl) -> Result<(), Failure> {
    let past = Past::read(history).map_err(|error| history_failure(&error))?;
    let Some(before) = past.membership else {
        return Ok(());
    };
    if before
        .store
        .parse::<StoreUrl>()
        .is_ok_and(|old| old.same_place(url))
    {
        return Ok(());
    }
    let pending = overview(history, before.vault)?.pending;
    let ui = &context.ui;
    ui.status(format!(
        "This machine syncs with {} now. If all goes well it switches to {url}.",
        before.store
    ));
    ui.status(
        "The old store stays as it is. The next push gives the new one everything that it does not have from here yet.",
    );
    if pending > 0 {
        ui.status(format!(
            "{} that the old store does not have yet will be among it.",
            human::count(pending, "record")
        ));
    }
    Ok(())
}

/// What is known of a vault. Cursors are kept for each, also while another one is in use.
fn overview(history: &mut History, vault: VaultId) -> Result<Overview, Failure> {
    let replica =
        HistoryReplica::for_reading(history, vault).map_err(|error| history_failure(&error))?;
    Overview::read(&replica, vault, "").map_err(|error| failure_of(&error))
}

/// Tries the store, creates or joins the vault, and only then configures it.
///
/// # Errors
/// The store's, the vault's, or a wrong passphrase; then nothing was configured.
pub(crate) async fn join(
    context: &Context,
    history: &mut History,
    url: &StoreUrl,
    passphrase_file: Option<&std::path::Path>,
) -> Result<Joined, Failure> {
    let store = Store::open(url, &context.settings.tuning(), &context.environment())
        .await
        .map_err(Failure::from)?;
    store::check_round_trip(&store).await.map_err(|error| {
        Failure::from(error).context("the store could not be used, so nothing was configured")
    })?;
    let file = Vault::read_file(&store)
        .await
        .map_err(|error| failure_of(&error))?;
    let mut past = Past::read(history).map_err(|error| history_failure(&error))?;
    // What may fail here fails before anything is in the store: a vault would be there, and its words were never seen.
    past.write(history)
        .map_err(|error| history_failure(&error))?;
    overview(history, VaultId::random())?;
    let Entered {
        keys,
        how,
        had_key,
        recovery,
    } = match &file {
        Some(file) => {
            let is_known = past.membership.as_ref().is_some_and(|old| {
                let place = old.store.parse::<StoreUrl>();
                old.vault == file.vault && place.is_ok_and(|old| old.same_place(url))
            });
            let found = (&store, file, is_known);
            opening::enter(context, history, &mut past, found, passphrase_file).await?
        }
        None => {
            let place = (store.clone(), url);
            create(context, history, &mut past, place, passphrase_file).await?
        }
    };
    let membership = Membership {
        vault: keys.vault(),
        store: url.to_config_string(),
        since: Timestamp::now(),
    };
    KeyFile::of(&context.paths, keys.vault()).write(&keys)?;
    credentials::write(&context.paths, url)?;
    past.membership = Some(membership.clone());
    past.write(history)
        .map_err(|error| history_failure(&error))?;
    write_store(&context.paths, url)?;
    let vault = Description::keep_of(&context.paths, Vault::new(store, keys));
    // So that it is kept here. The next command that reads it keeps it as well.
    let _ = vault.check_file().await;
    let link = Link {
        vault,
        options: vault_options(&context.settings),
        membership: membership.clone(),
        kind: url.kind(),
    };
    link.begin_again(history)?;
    Ok(Joined {
        how,
        had_key,
        recovery,
        membership,
    })
}

/// Notes that the store lost everything of this machine's vault, if it did. That comes before the vault's description is put back: once
/// it is there again, nothing shows that the rest is not.
async fn note_emptiness(
    history: &mut History,
    past: &mut Past,
    (store, vault): (&Store, VaultId),
) -> Result<(), Failure> {
    let manifests = store.list(MANIFESTS).await.map_err(Failure::from)?;
    if manifests.is_empty() {
        past.emptied = Some(vault);
        past.write(history)
            .map_err(|error| history_failure(&error))?;
    }
    Ok(())
}

/// Creates a vault; or, where this machine's own vault lost its description, puts that back.
async fn create(
    context: &Context,
    history: &mut History,
    past: &mut Past,
    (store, url): (Store, &StoreUrl),
    passphrase_file: Option<&std::path::Path>,
) -> Result<Entered, Failure> {
    let same_place = past.membership.as_ref().filter(|old| {
        old.store
            .parse::<StoreUrl>()
            .is_ok_and(|old| old.same_place(url))
    });
    let known = match same_place {
        Some(membership) => KeyFile::of(&context.paths, membership.vault).read()?,
        None => None,
    };
    if let Some(keys) = known {
        let vault = Vault::new(store, keys);
        let (how, recovery) = put_back(context, history, past, &vault, passphrase_file).await?;
        return Ok(Entered::new(vault.keys().clone(), how, recovery));
    }
    let passphrase = passphrase::find(context, passphrase_file, Purpose::Protect)?;
    let phrase = new_recovery_phrase().to_string();
    let recovery = Secret::from_input(&phrase);
    refuse_headless(&store).await?;
    let begun = Instant::now();
    let secrets = [&passphrase, &recovery];
    let keys = Keyring::generate();
    let own = keys.vault();
    // Both are here before the store knows of them: a command that is cut off leaves no vault whose words nobody has seen.
    let (key_file, words) = (
        KeyFile::of(&context.paths, own),
        Words::of(&context.paths, own),
    );
    key_file.write(&keys)?;
    words.keep(&phrase)?;
    let created = Vault::create(
        store.clone(),
        keys.clone(),
        DOMAIN,
        &secrets,
        KdfCost::RECOMMENDED,
    )
    .await;
    match &created {
        Ok(_) | Err(VaultError::OtherVault { .. }) => {}
        Err(error) => return Err(failure_of(error)),
    }
    if let Some(theirs) =
        overtaken(context, (&store, own), begun.elapsed(), passphrase_file).await?
    {
        words.forget();
        key_file.remove();
        return Ok(Entered::new(theirs, How::Joined, None));
    }
    created.map_err(|error| failure_of(&error))?;
    Ok(Entered::new(keys, How::Created, Some(phrase)))
}

/// Puts the description of this machine's vault back: as it was, if a copy of it is here. Without one there must be new secrets, and the
/// old ones end.
async fn put_back(
    context: &Context,
    history: &mut History,
    past: &mut Past,
    vault: &Vault,
    passphrase_file: Option<&std::path::Path>,
) -> Result<(How, Option<String>), Failure> {
    let keys = vault.keys();
    let newer = vault.newer_epoch().await;
    if let Some(epoch) = newer.map_err(|error| failure_of(&error))? {
        return Err(Failure::new(
            Exit::WrongKey,
            "vault.json is gone, and the key was rotated since this device read it last: it cannot put it back",
        )
        .kind("rotated")
        .hint(format!("Run `hx sync init` with this URL on the device where the key was rotated, or on one that synced with the new key; then here, with the new passphrase. If no such device is left, nobody has the new key, and nobody will read what was pushed under it: then remove manifests/epoch-{epoch:08x} from the store, and `hx sync init` here puts vault.json back as this device last saw it.")));
    }
    let copy = Description::of(&context.paths, keys.vault()).read(keys);
    let (file, how, phrase) = match copy {
        Some(file) => (file, How::Restored, None),
        None => {
            context.consent("vault.json is gone from the store, and this device has no copy of it. Make a new one? It needs a new passphrase and has new recovery words; the old passphrase and the old words open nothing any more.")?;
            let passphrase = passphrase::find(context, passphrase_file, Purpose::Protect)?;
            let phrase = new_recovery_phrase().to_string();
            let secrets = [&passphrase, &Secret::from_input(&phrase)];
            let generation = next_generation(history, vault, &context.settings)?;
            let file = VaultFile::build(keys, DOMAIN, generation, &secrets, KdfCost::RECOMMENDED);
            let file = file.map_err(|error| failure_of(&error))?;
            (file, How::Renewed, Some(phrase))
        }
    };
    note_emptiness(history, past, (vault.store(), keys.vault())).await?;
    if let Some(phrase) = &phrase {
        Words::of(&context.paths, keys.vault()).keep(phrase)?;
    }
    let settled = Settled::begin();
    vault
        .put_back(&file, async || settled.pause().await)
        .await
        .map_err(|error| failure_of(&error))?;
    Ok((how, phrase))
}

fn next_generation(
    history: &mut History,
    vault: &Vault,
    settings: &Settings,
) -> Result<u64, Failure> {
    let mut replica = HistoryReplica::for_reading(history, vault.keys().vault())
        .map_err(|error| history_failure(&error))?;
    let options = vault_options(settings);
    Device::new(vault, &mut replica, &options, &mut ())
        .next_generation()
        .map_err(|error| failure_of(&error))
}

/// A place with a vault's objects and no description of it is not empty: a second vault among them would be in everybody's way.
async fn refuse_headless(store: &Store) -> Result<(), Failure> {
    let manifests = store.list(MANIFESTS).await.map_err(Failure::from)?;
    if manifests.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NoStore,
        "there are objects of a vault, but its description (vault.json) is gone, so no passphrase can open it",
    )
    .kind("no-vault")
    .hint("Run `hx sync init` with this URL on a device that is in the vault: it puts the description back. Or give this one a prefix of its own."))
}

/// Another device may create a vault in the same place at the same moment; a store without honest conditional writes lets both. The last
/// one holds: who finds another's joins it.
async fn overtaken(
    context: &Context,
    (store, own): (&Store, VaultId),
    took: Duration,
    passphrase_file: Option<&std::path::Path>,
) -> Result<Option<Keyring>, Failure> {
    // Who looked before this one wrote has written by then, since creating takes all about as long.
    tokio::time::sleep(took * 2 + OVERTAKEN_MARGIN).await;
    let found = Vault::read_file(store)
        .await
        .map_err(|error| failure_of(&error))?;
    match found {
        Some(file) if file.vault != own => {
            context.ui.status(
                "Another device created a vault there at the same moment; this one joins it.",
            );
            opening::open(context, &file, passphrase_file).map(|opened| Some(opened.keys))
        }
        _ => Ok(None),
    }
}

#[derive(Serialize)]
struct Report<'r> {
    vault: String,
    store: String,
    created: bool,
    /// Whether this device was in it before.
    already: bool,
    /// Whether the key was here, so that no passphrase was checked.
    had_key: bool,
    /// Whether the vault was there, but its description was gone and is back.
    restored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_phrase: Option<&'r str>,
    pending: u64,
    /// Whether it is known what of `pending` the vault has already; after joining that shows at the first pull.
    pending_known: bool,
}

fn show(
    context: &Context,
    history: &mut History,
    url: &StoreUrl,
    joined: &Joined,
) -> Result<Exit, Failure> {
    let ui = &context.ui;
    let overview = overview(history, joined.membership.vault)?;
    let is_known = joined.how == How::Created || super::is_pending_known(&overview);
    let vault = joined.membership.vault.to_string();
    let words = Words::of(&context.paths, joined.membership.vault);
    if ui.is_json() {
        ui.json(&Report {
            vault,
            store: url.to_config_string(),
            created: joined.how == How::Created,
            already: joined.how == How::Already,
            had_key: joined.had_key,
            restored: matches!(joined.how, How::Restored | How::Renewed),
            recovery_phrase: joined.recovery.as_deref(),
            pending: overview.pending,
            pending_known: is_known,
        });
        if joined.recovery.is_some() {
            reveal::in_json(ui, &words)?;
        }
        return Ok(Exit::Ok);
    }
    let (did, next) = match joined.how {
        How::Created => ("Created", "hx sync push"),
        How::Joined => ("Joined", "hx sync pull"),
        How::Already => ("Already in", "hx sync"),
        How::Restored | How::Renewed => ("Restored", "hx sync"),
    };
    ui.out(format!("{did} vault {} in {url}", &vault[..8]));
    match joined.how {
        How::Restored => ui.status("vault.json was gone from the store, or an old one lay there; it is put back as this device last saw it: its passphrases and recovery words stay valid."),
        How::Renewed => ui.warn("vault.json was gone from the store; there is a new one, under the same key. Only the new passphrase and the new recovery words open the vault: THE OLD ONES ARE NO LONGER VALID. Devices that are in the vault need neither."),
        How::Created | How::Joined | How::Already => {}
    }
    if joined.had_key {
        ui.status("The vault's key was on this device: no passphrase was asked for or checked.");
    }
    let records = human::count(overview.pending, "record");
    match (overview.pending, is_known) {
        (0, _) => {}
        (_, true) if matches!(joined.how, How::Restored | How::Renewed) => ui.status(format!(
            "{records} of this device's own are to be published; what else the store has lost shows at the next sync, which publishes that too."
        )),
        (_, true) => ui.status(format!("{records} here that it does not have yet.")),
        (_, false) => ui.status(format!(
            "{records} here; which of them it has already shows at the first pull."
        )),
    }
    if let Some(phrase) = &joined.recovery {
        let title = "Recovery phrase. It opens the vault if the passphrase is forgotten. Write it down: it is shown only now.";
        reveal::in_text(ui, &words, title, phrase)?;
    }
    ui.status(format!("Next: {next}"));
    Ok(Exit::Ok)
}
