//! The command line of `homebrew-sync`.
//!
//! What must hold: help and version work whatever is configured; the exit code tells a script what happened; a run of which anything failed
//! does not end with 0.
//!
//! It deliberately does no work of its own: that is in the modules beside it.

pub mod args;
mod bundles;
mod client_env;
mod daemon;
mod diagnose;
mod doctor;
mod external_hash;
mod failures;
mod generations;
mod mirror;
mod notices;
mod permissions;
mod quickstart;
mod recording;
mod runs;
mod scrub;
mod secret_command;
mod serving;
mod signals;
mod sync_run;
mod telling;

use args::{Command, CommandLine, OutputArgs};
use clap::Parser;
use console::{ColorChoice, Env, Exit, Failure, FailureExt, Ui, UiOptions, init_logging};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    console::outlive_size_limit();
    let env = Env::from_process();
    run_line(std::env::args_os(), &env).into()
}

/// Runs a command line.
pub fn run_line(arguments: impl IntoIterator<Item = OsString>, env: &Env) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let line = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        Err(error) => return refuse(&error, arguments.iter().any(|word| word == "--json"), env),
    };
    let ui = Ui::new((&line.output).into(), env);
    let outcome = console::without_panic(|| dispatch(line, &ui, env));
    ui.finish(outcome)
}

fn dispatch(line: CommandLine, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let level = match () {
        () if line.output.verbose || is_log(&line) => "info",
        () => "warn",
    };
    // A second start within one process (tests) keeps the first log.
    let _ = init_logging(level, env);
    console::check_room_for_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Exit::Failed, "the asynchronous runtime could not start")?;
    runtime.block_on(act(line, ui, env))
}

/// Whether what a run says on stderr is read as a log, and not by a person who looks on.
fn is_log(line: &CommandLine) -> bool {
    let is_watched = match line.command {
        Command::Sync(_) => std::io::stderr().is_terminal(),
        Command::Daemon(_) => false,
        _ => true,
    };
    !is_watched && !line.output.quiet
}

async fn act(line: CommandLine, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let place = mirror::Place::resolve(&line.place, env);
    match line.command {
        Command::Sync(args) => sync_run::run(&args, &place, ui, env).await,
        Command::Daemon(args) => daemon::run(&args, &place, ui, env).await,
        Command::Status => runs::status(&place, ui, env).await,
        Command::Runs(args) => runs::list(&args, &place, ui, env).await,
        Command::Generations => generations::list(&place, ui, env).await,
        Command::Diff(args) => generations::diff(&args, &place, ui, env).await,
        Command::Rollback(args) => generations::rollback(&args, &place, ui, env).await,
        Command::Prune(args) => generations::prune(&args, &place, ui, env).await,
        Command::Scrub(args) => scrub::run(&args, &place, ui, env).await,
        Command::Serve(args) => serving::run(&args, &place, ui, env).await,
        Command::Misses => serving::misses(&place, ui),
        Command::ClientEnv(args) => client_env::run(&args, ui),
        Command::Bundle(command) => bundles::run(&command, &place, ui, env).await,
        Command::TestPermissions => permissions::run(&place, ui, env).await,
        Command::Diagnose(args) => diagnose::run(&args, &place, ui, env).await,
        Command::Doctor(args) => doctor::run(&args, &place, ui, env).await,
        Command::TestNotification(args) => notices::test(&args, ui, env).await,
        Command::SampleUpstream(args) => serving::sample_upstream(&args, ui).await,
        Command::Quickstart(args) => quickstart::run(&args, ui, env).await,
    }
}

impl From<&OutputArgs> for UiOptions {
    fn from(output: &OutputArgs) -> Self {
        Self {
            json: output.json,
            quiet: output.quiet,
            color: ColorChoice::Auto,
            assume_yes: output.yes,
            no_input: false,
        }
    }
}

fn refuse(error: &clap::Error, json: bool, env: &Env) -> Exit {
    let options = UiOptions {
        json,
        ..UiOptions::default()
    };
    let ui = Ui::new(options, env);
    let text = error.render();
    if error.use_stderr() {
        return ui.finish(Err(Failure::from_usage_text(
            &text.to_string(),
            "homebrew-sync",
        )));
    }
    match ui.has_color() {
        true => ui.out(text.ansi().to_string().trim_end()),
        false => ui.out(text.to_string().trim_end()),
    }
    ui.finish(Ok(Exit::Ok))
}
