//! Showing recovery words: the one thing that a command must not take back once it is made.
//!
//! What must hold: words stay in their file until they have arrived where a person can read them, as far as that can be told; if they
//! have not, the command fails and says how to see them.
//! Until they have, each everyday command says that they are owed.
//! What it deliberately does not do: show them twice.

use console::{Exit, Failure, Ui};
use vault::VaultId;

use crate::cli::Context;
use crate::sync::{Past, Words};

/// Says, if it is so, that the vault has words which nobody has seen.
pub(super) fn remind(context: &Context) {
    // Most devices keep none, and need not look which vault they are in.
    if !Words::are_any_kept(&context.paths) {
        return;
    }
    if membership(context).is_some_and(|vault| are_owed(context, vault)) {
        context.ui.warn("recovery words for this vault were made on this machine, and nobody has seen them yet. Run `hx sync init` on a terminal: it shows them, once");
    }
}

/// Whether words of this vault wait to be shown.
pub(super) fn are_owed(context: &Context, vault: VaultId) -> bool {
    Words::of(&context.paths, vault).are_kept()
}

/// The vault that this machine is in. What cannot be read now is said by who needs it.
fn membership(context: &Context) -> Option<VaultId> {
    let history = context.history_to_read().ok()??;
    Some(Past::read(&history).ok()?.membership?.vault)
}

/// Shows words on stderr, under a line that says what they are.
pub(super) fn in_text(ui: &Ui, words: &Words, title: &str, phrase: &str) -> Result<(), Failure> {
    let lines: Vec<_> = phrase.split(' ').collect();
    let lines: Vec<_> = lines.chunks(6).map(|line| line.join(" ")).collect();
    let text = format!("\n{title}\n\n    {}\n", lines.join("\n    "));
    ui.reveal(text).map_err(|error| unseen(words, &error))?;
    words.forget();
    Ok(())
}

/// Shows the words that are in the JSON document.
pub(super) fn in_json(ui: &Ui, words: &Words) -> Result<(), Failure> {
    ui.reveal_json().map_err(|error| unseen(words, &error))?;
    words.forget();
    Ok(())
}

fn unseen(words: &Words, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::StorageFull => Exit::DiskFull,
        _ => Exit::Partial,
    };
    Failure::new(
        exit,
        "the recovery words could not be shown; everything else was done",
    )
    .cause(error)
    .kind("words-not-shown")
    .hint(format!(
        "Nothing is lost: they are kept in {} until they were shown. Run `hx sync init` on a terminal: it shows them.",
        words.path().display()
    ))
}
