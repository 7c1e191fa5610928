//! The command line: one file a command, each a `…Args` for clap and a `run`.
//!
//! What must hold: help, version, completions and `config` work whatever the configuration file says; every other command refuses
//! settings that it cannot understand, before it does anything; `find` starts no runtime and opens no connection; with `--json` anywhere
//! on the command line stdout is one JSON document, also where the command line is wrong.
//!
//! What it deliberately does not do: the work. That is in `history` and `sync`.

mod completions;
mod config;
mod context;
mod crypto;
mod export;
mod find;
mod forget;
mod import;
mod init;
mod pin;
mod profile;
mod quickstart;
mod rescue;
mod status;
mod sync;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use console::{ColorChoice, Env, Exit, Failure, Ui, UiOptions};

pub use context::Context;
use context::Reach;

/// Shell history, searchable, synced end-to-end encrypted through a folder or a bucket, with no server.
#[derive(Debug, Parser)]
#[command(name = "hx", version, after_help = after_help(), max_term_width = 100)]
pub struct Hx {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalArgs,
}

fn after_help() -> String {
    format!(
        "Begin with:
  hx quickstart          see it work, in a scratch directory
  hx import              take in the histories of your shells
  hx find docker run     find what you typed
  hx sync init --help    how to sync with other devices

{}",
        console::exit::help_table()
    )
}

/// Options of every command.
#[derive(Clone, Copy, Debug, clap::Args)]
struct GlobalArgs {
    /// Print one JSON document, also on failure (then with `error` in it)
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Print only results, warnings and errors
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = "Output")]
    color: Color,
    /// Answer every question with yes; without a terminal, what takes something away for good needs it
    #[arg(long, short = 'y', global = true, help_heading = "Output")]
    yes: bool,
    /// Never ask
    #[arg(long, global = true, help_heading = "Output")]
    no_input: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything on your own history, in a scratch directory
    Quickstart(quickstart::QuickstartArgs),
    /// Import shell histories or a backup
    Import(import::ImportArgs),
    /// Export the history to a file
    Export(export::ExportArgs),
    /// Find commands
    #[command(visible_alias = "search")]
    Find(find::FindArgs),
    /// Show what there is: paths, counts, health, sync
    Status(status::StatusArgs),
    /// Forget commands, on every device
    Forget(forget::ForgetArgs),
    /// Mark a command to keep it at hand
    Pin(pin::PinArgs),
    /// Sync with other devices
    Sync(sync::SyncArgs),
    /// Show or check the settings
    Config(config::ConfigArgs),
    /// Check the cryptography
    Crypto(crypto::CryptoArgs),
    /// Print the lines to add to a shell's start-up file
    Init(init::InitArgs),
    /// Print a completion script
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    console::outlive_size_limit();
    let env = Env::from_process();
    run(std::env::args_os(), &env).into()
}

/// Runs a command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>, env: &Env) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let hx = match Hx::try_parse_from(&arguments) {
        Ok(hx) => hx,
        Err(error) => return refuse(&error, &arguments, env),
    };
    let ui = Ui::new(hx.global.into(), env);
    let outcome = console::without_panic(|| dispatch(hx.command, &ui, env));
    ui.finish(outcome)
}

impl From<GlobalArgs> for UiOptions {
    fn from(global: GlobalArgs) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            color: match global.color {
                Color::Auto => ColorChoice::Auto,
                Color::Always => ColorChoice::Always,
                Color::Never => ColorChoice::Never,
            },
            assume_yes: global.yes,
            no_input: global.no_input,
        }
    }
}

fn dispatch(command: Command, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    match command {
        Command::Completions(args) => return completions::run(&args, ui),
        Command::Man => return completions::man(ui),
        Command::Crypto(args) => return crypto::run(&args, ui),
        Command::Init(args) => return init::run(&args, ui),
        Command::Config(args) => return config::run(&args, ui, env),
        Command::Quickstart(args) => return quickstart::run(&args, ui, env),
        _ => {}
    }
    let context = Context::new(ui.clone(), env.clone(), &command.flags(), command.reach())?;
    profile::profiled(&context, || match &command {
        Command::Import(args) => import::run(args, &context),
        Command::Export(args) => export::run(args, &context),
        Command::Find(args) => find::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Forget(args) => forget::run(args, &context),
        Command::Pin(args) => pin::run(args, &context),
        Command::Sync(args) => sync::run(args, &context),
        _ => Err(Failure::usage("this command was answered before")),
    })
}

impl Command {
    fn reach(&self) -> Reach {
        match self {
            Self::Sync(_) => Reach::Store,
            _ => Reach::Local,
        }
    }

    /// The flags that stand for settings.
    fn flags(&self) -> console::spec::Flags {
        match self {
            Self::Sync(args) => args.flags(),
            _ => console::spec::Flags::new(),
        }
    }
}

/// Whether `--json` is among the options of a command line that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

/// What a person who looks for a command with an option meant to type; none if that is not it.
fn meant(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).collect();
    let is_search = words.len() == arguments.len()
        && words.iter().any(|word| matches!(*word, "find" | "search"));
    if error.kind() != clap::error::ErrorKind::UnknownArgument || !is_search {
        return None;
    }
    let (mut words, mut text) = (words, Vec::new());
    // One by one: what the next unknown option is shows only without this one.
    for _ in 0..words.len() {
        let Err(error) = Hx::try_parse_from(words.iter().chain([&"--"]).chain(&text)) else {
            let words = words.iter().skip(1).chain([&"--"]).chain(&text);
            let words: Vec<String> = words.map(|word| import::quoted(word)).collect();
            return Some(format!("hx {}", words.join(" ")));
        };
        let Some(clap::error::ContextValue::String(unknown)) =
            error.get(clap::error::ContextKind::InvalidArg)
        else {
            return None;
        };
        let at = words.iter().position(|word| {
            let is_cluster = !word.starts_with("--") && word.len() > 2;
            word == unknown
                || (is_cluster
                    && unknown.len() == 2
                    && word.starts_with('-')
                    && word.contains(&unknown[1..]))
        })?;
        text.push(words.remove(at));
    }
    None
}

/// Prints clap's help or usage error.
fn refuse(error: &clap::Error, arguments: &[OsString], env: &Env) -> Exit {
    let json = wants_json(arguments);
    let meant = meant(error, arguments)
        .map(|line| format!("to look for the text itself, put it behind `--`: {line}"));
    let options = UiOptions {
        json,
        ..UiOptions::default()
    };
    let ui = Ui::new(options, env);
    let text = error.render();
    let is_failure = error.use_stderr();
    if json {
        let text = text.to_string();
        if is_failure {
            let failure = Failure::from_usage_text(&text, "hx");
            return ui.finish(Err(match meant {
                Some(meant) => failure.hint(meant),
                None => failure,
            }));
        }
        ui.json(&serde_json::json!({ "text": text.trim_end() }));
        return ui.finish(Ok(Exit::Ok));
    }
    let text = if ui.has_color() {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    if is_failure {
        ui.status(text.trim_end());
        if let Some(meant) = meant {
            ui.hint(meant);
        }
        return ui.finish(Ok(Exit::Usage));
    }
    ui.out(text.trim_end());
    ui.finish(Ok(Exit::Ok))
}

/// Prints a script or page: as it is, or with `--json` as a text within a document.
fn print_text(ui: &Ui, text: &[u8]) {
    if ui.is_json() {
        ui.json(&serde_json::json!({ "text": String::from_utf8_lossy(text) }));
    } else {
        ui.raw(text);
    }
}

/// The whole command, for completions, the manual and tests.
pub fn command() -> clap::Command {
    Hx::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
