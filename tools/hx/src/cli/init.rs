//! `hx init SHELL`: the lines that a shell evaluates when it starts.
//!
//! What must hold: the lines do no harm if they are evaluated twice, or where `hx` is not found.
//!
//! What it deliberately does not do: write to start-up files; people want to decide what is in them.

use console::{Exit, Failure, Ui};

/// Arguments of `hx init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Add one line to the shell's start-up file:
  zsh   (~/.zshrc)                    eval \"$(hx init zsh)\"
  bash  (~/.bashrc)                   eval \"$(hx init bash)\"
  fish  (~/.config/fish/config.fish)  hx init fish | source")]
pub(super) struct InitArgs {
    /// Shell to print the lines for
    #[arg(value_enum)]
    shell: Started,
}

/// A shell whose start-up file can have our lines.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Started {
    Zsh,
    Bash,
    Fish,
}

/// Prints the lines for a shell.
pub(super) fn run(args: &InitArgs, ui: &Ui) -> Result<Exit, Failure> {
    let lines = match args.shell {
        Started::Zsh => include_str!("../../../../shell/hx.zsh"),
        Started::Bash => include_str!("../../../../shell/hx.bash"),
        Started::Fish => include_str!("../../../../shell/hx.fish"),
    };
    super::print_text(ui, lines.as_bytes());
    Ok(Exit::Ok)
}
