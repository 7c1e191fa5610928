//! `hx completions` and `hx man`: both come from the definition of the command line itself.
//!
//! What must hold: they work whatever the configuration file says; stdout is the script or the page and nothing else.
//!
//! What it deliberately does not do: install them. Every system has another place for that.

use clap_complete::Shell;
use console::{Exit, Failure, Ui};

/// Arguments of `hx completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx completions bash > ~/.local/share/bash-completion/completions/hx
  hx completions zsh > ~/.zfunc/_hx
  hx completions fish > ~/.config/fish/completions/hx.fish

`hx init` loads them too.")]
pub(super) struct CompletionsArgs {
    /// Shell to complete for
    #[arg(value_enum)]
    shell: Completed,
}

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Completed {
    Zsh,
    Bash,
    Fish,
}

/// Prints the completion script of a shell.
pub(super) fn run(args: &CompletionsArgs, ui: &Ui) -> Result<Exit, Failure> {
    let shell = match args.shell {
        Completed::Zsh => Shell::Zsh,
        Completed::Bash => Shell::Bash,
        Completed::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "hx", &mut script);
    super::print_text(ui, &script);
    Ok(Exit::Ok)
}

/// Prints the manual page.
pub(super) fn man(ui: &Ui) -> Result<Exit, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(super::command())
        .render(&mut page)
        .map_err(|error| Failure::wrap(Exit::Failed, "cannot make the manual page", &error))?;
    super::print_text(ui, &page);
    Ok(Exit::Ok)
}
