//! The command line of `migrate_to_s3`.
//!
//! What must hold: help and version work whatever is configured; settings that are wrong stop a command before it does
//! anything; the exit code tells a script what happened.
//!
//! What it deliberately does not do: the work. That is in the modules beside it.

pub mod args;
pub mod exits;
mod pairs;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use console::{ColorChoice, Env, Exit, Failure, FailureExt, Ui, UiOptions, init_watched_logging};

use crate::run::session::{self, Session};
use crate::run::wording::Wording;
use crate::settings::Settings;
use crate::{
    audit_files, delete, dry, quickstart, report::place, rollback, run, status, storage_test,
    verify,
};
use args::{ActionArgs, ColorArg, CommandLine, OutputArgs, QuickstartArgs, Word};

/// Threads for waiting on sockets; hashing and reading have their own.
const WORKERS: usize = 2;

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
        Err(error) => return refuse(&error, wants_json(&arguments), env),
    };
    let options = match &line.word {
        Some(Word::Quickstart(args)) => args.into(),
        None => line.output.into(),
    };
    let ui = Ui::new(options, env);
    let outcome = console::without_panic(|| dispatch(line, &ui, env));
    ui.finish(outcome)
}

fn dispatch(line: CommandLine, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    if let Some(Word::Quickstart(args)) = &line.word {
        return quickstart::run(args, ui);
    }
    if line.action.delete_local {
        return Err(Failure::usage(
            "--delete-local is not offered: a file is never removed in the run that copies it",
        )
        .hint("migrate first; days later, run --delete-source --state-file FILE --older-than 7d"));
    }
    if line.action.no_s3 && !(line.action.dry_run || line.action.audit_files) {
        return Err(
            Failure::usage("--no-s3 goes with --dry-run and --audit-files only").hint(
                "add --dry-run to see what a migration would do, or leave --no-s3 out to migrate",
            ),
        );
    }
    pairs::check(&line)?;
    let level = if line.output.verbose { "info" } else { "warn" };
    // A second start within one process (tests) keeps the first log.
    let _ = init_watched_logging(level, env);
    let working_directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let settings = Settings::resolve(&line, env, &working_directory)?;
    if line.output.verbose {
        for [name, value, origin] in settings.describe() {
            ui.status(format!("{name}: {value} ({origin})"));
        }
    }
    for warning in &settings.warnings {
        ui.warn(warning);
    }
    console::check_room_for_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .or_fail(Exit::Failed, "the asynchronous runtime could not start")?;
    let wording = Wording::of(&settings);
    runtime
        .block_on(act(line, ui.clone(), settings))
        .map_err(|failure| wording.apply(failure))
}

async fn act(line: CommandLine, ui: Ui, settings: Settings) -> Result<Exit, Failure> {
    let left = line.action.test_storage.then_some(
        "what the test has put below .syncline/storage-test/ is removed by a later --test-storage",
    );
    let _hearing = run::hear(&ui, left)?;
    if let Some(path) = &line.run.report {
        place::check(path, &settings)?;
    }
    if line.action.test_storage {
        let mapping = session::mapping(&settings)?;
        return storage_test::run(&ui, &settings, &mapping).await;
    }
    let session = Session::open(ui, line, settings).await?;
    let action = session.line.action.clone();
    // clap sees to it that only one of them is asked for.
    let named = action.state_file.as_deref();
    match &action {
        ActionArgs {
            dry_run: true,
            delete_source: false,
            ..
        } => dry::run(&session).await,
        ActionArgs {
            audit_files: true, ..
        } => audit_files::run(&session).await,
        ActionArgs {
            verify_state: true, ..
        } => verify::run(session, named).await,
        ActionArgs {
            rollback: Some(file),
            ..
        } => rollback::run(session, file.as_deref().or(named), false).await,
        ActionArgs {
            force_rollback: true,
            ..
        } => rollback::run(session, named, true).await,
        ActionArgs {
            rollback_status: true,
            ..
        } => status::rollback_status(&session).await,
        ActionArgs { status: true, .. } => status::run(&session).await,
        ActionArgs {
            delete_source: true,
            ..
        } => delete::run(session, named).await,
        _ => run::run(session).await,
    }
}

impl From<OutputArgs> for UiOptions {
    fn from(output: OutputArgs) -> Self {
        Self {
            json: output.json,
            quiet: output.quiet,
            color: match output.color {
                ColorArg::Auto => ColorChoice::Auto,
                ColorArg::Always => ColorChoice::Always,
                ColorArg::Never => ColorChoice::Never,
            },
            assume_yes: output.yes,
            no_input: output.no_input,
        }
    }
}

impl From<&QuickstartArgs> for UiOptions {
    fn from(args: &QuickstartArgs) -> Self {
        Self {
            json: args.json,
            quiet: args.quiet,
            ..Self::default()
        }
    }
}

/// Whether `--json` is among the flags of a command line that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

/// Prints clap's help or usage error.
fn refuse(error: &clap::Error, json: bool, env: &Env) -> Exit {
    let options = UiOptions {
        json,
        ..UiOptions::default()
    };
    let ui = Ui::new(options, env);
    let text = error.render();
    let plain = text.to_string();
    if json && error.use_stderr() {
        return ui.finish(Err(Failure::from_usage_text(&plain, "migrate_to_s3")));
    }
    if json {
        ui.json(&serde_json::json!({ "text": plain.trim_end() }));
        return ui.finish(Ok(Exit::Ok));
    }
    let shown = match ui.has_color() {
        true => text.ansi().to_string(),
        false => plain,
    };
    if error.use_stderr() {
        ui.status(shown.trim_end());
        return ui.finish(Ok(Exit::Usage));
    }
    ui.out(shown.trim_end());
    ui.finish(Ok(Exit::Ok))
}

/// The whole command, for the manual and tests.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}
