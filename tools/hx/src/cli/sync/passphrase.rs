//! Where a passphrase comes from: a file, the environment, or the person; never the command line, which others can read.
//!
//! What must hold: a new passphrase is asked for twice; an empty one is refused, a short one only with a warning accepted; nobody is
//! asked where nobody is.
//! What it deliberately does not do: judge how good a longer one is.

use std::path::Path;

use console::{Exit, Failure, human};
use vault::Secret;

use crate::cli::Context;

/// Below so many characters a new passphrase is warned of.
const LENGTH_MIN: usize = 8;

/// What the secret is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To open a vault that exists.
    Open,
    /// To protect a new one, or to be added.
    Protect,
}

/// Finds the passphrase or recovery phrase.
pub(super) fn find(
    context: &Context,
    file: Option<&Path>,
    purpose: Purpose,
) -> Result<Secret, Failure> {
    let sync = &context.settings.sync;
    let file = file.or(sync
        .passphrase_file
        .as_ref()
        .map(|setting| setting.value.as_path()));
    let text = match (file, &sync.passphrase) {
        (Some(file), _) => from_file(file)?,
        (None, Some(setting)) => setting.value.expose().to_owned(),
        (None, None) => ask(context, purpose)?,
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the passphrase is empty")
            .hint("Choose one that you will remember; several words are good."));
    }
    if purpose == Purpose::Protect {
        weigh(context, &text)?;
    }
    Ok(match purpose {
        Purpose::Open => Secret::from_input(&text),
        // Joining takes no line end for a part of it either.
        Purpose::Protect => Secret::Passphrase(text.trim_end_matches(['\r', '\n']).to_owned()),
    })
}

/// Whoever has the store can try passphrases on it for years, so a short one protects little.
fn weigh(context: &Context, passphrase: &str) -> Result<(), Failure> {
    let length = passphrase.trim().chars().count();
    if length >= LENGTH_MIN {
        return Ok(());
    }
    context.ui.warn(format!(
        "this passphrase has only {}; whoever owns the store can guess it. Take {LENGTH_MIN} or more: four words are good",
        human::count(length as u64, "character")
    ));
    context.consent_on_terminal("Use it all the same?")
}

fn from_file(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::io("read the passphrase file", file, &error)
            .with_exit(Exit::Usage)
            .hint("Name a file whose first line is the passphrase, or set HX_SYNC_PASSPHRASE.")
    })?;
    // Editors put a mark before the text, and leave blanks behind it; neither is seen, so neither was meant.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let line = text.lines().next().unwrap_or_default();
    Ok(line.trim_end().to_owned())
}

fn ask(context: &Context, purpose: Purpose) -> Result<String, Failure> {
    let ui = &context.ui;
    if !ui.can_prompt() {
        let what = if purpose == Purpose::Open {
            "the vault's passphrase is needed"
        } else {
            "a passphrase for the vault is needed"
        };
        return Err(
            Failure::usage(format!("{what}, and there is no terminal to ask for it"))
                .kind("no-passphrase")
                .hint("Set HX_SYNC_PASSPHRASE, or give --passphrase-file FILE."),
        );
    }
    if purpose == Purpose::Open {
        return ui.prompt_secret("Passphrase (or the 24 words of the recovery phrase)");
    }
    ui.status("The passphrase protects the vault: other devices join with it, and nobody can recover it for you.");
    let first = ui.prompt_secret("New passphrase")?;
    let second = ui.prompt_secret("The same again")?;
    if first == second {
        Ok(first)
    } else {
        Err(Failure::usage("the two passphrases differ").hint("Run the command again."))
    }
}
