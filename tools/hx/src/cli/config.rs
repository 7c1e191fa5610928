//! `hx config`: which settings are in effect, where they come from, and what is wrong with them.
//!
//! What must hold: both commands work with a configuration file that is broken; no secret is shown.
//!
//! What it deliberately does not do: change the file. People edit it, and `hx sync init` writes one key.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Subcommand;
use console::spec::Flags;
use console::{Env, Exit, Failure, Problem, Severity, Table, Ui, human, redact};
use serde_json::json;

use crate::settings::{Entry, Paths, Settings, credentials};

/// Arguments of `hx config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx config show
  hx config show --json
  hx config validate

A setting comes from the environment, else from the configuration file, else it has its default.")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting in effect and where it comes from
    Show,
    /// Name everything that is wrong with the settings
    Validate,
}

/// Runs `hx config …`.
pub(super) fn run(args: &ConfigArgs, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let paths = Paths::resolve(env)?;
    let (settings, mut problems) = Settings::load(&Flags::new(), env, &paths);
    problems.extend(file_problems(&settings, &paths));
    match args.command {
        ConfigCommand::Show => show(ui, env, &paths, &settings, &problems),
        ConfigCommand::Validate => validate(ui, &paths, &problems),
    }
}

fn show(
    ui: &Ui,
    env: &Env,
    paths: &Paths,
    settings: &Settings,
    problems: &[Problem],
) -> Result<Exit, Failure> {
    let (entries, foreign) = (settings.entries(), Entry::foreign(env));
    if ui.is_json() {
        ui.json(&json!({
            "config_file": paths.config_file().display().to_string(),
            "config_file_exists": paths.config_file().exists(),
            "data_dir": paths.data_dir().display().to_string(),
            "settings": entries,
            "foreign": foreign,
            "problems": redacted(problems),
        }));
        return Ok(Exit::Ok);
    }
    let missing = if paths.config_file().exists() {
        ""
    } else {
        " (not there)"
    };
    ui.out(format!(
        "configuration file: {}{missing}",
        paths.config_file().display()
    ));
    ui.out(format!("data directory: {}\n", paths.data_dir().display()));
    let mut table = Table::new(["setting", "value", "from"]);
    for entry in entries.iter().chain(&foreign) {
        let value = entry.value.as_deref().unwrap_or("(not set)");
        table.row([&entry.key, value, entry.origin.as_deref().unwrap_or("")]);
    }
    ui.out(table.render());
    for problem in problems {
        ui.warn(problem);
    }
    if !problems.is_empty() {
        ui.hint("`hx config validate` says what to do about each");
    }
    Ok(Exit::Ok)
}

fn validate(ui: &Ui, paths: &Paths, problems: &[Problem]) -> Result<Exit, Failure> {
    let n = |severity| {
        problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count() as u64
    };
    let (n_errors, n_warnings) = (n(Severity::Error), n(Severity::Warning));
    // Commands go on without a setting whose name they do not know. Here the question is whether all that is set has its effect.
    let is_misspelt = problems.iter().any(|problem| problem.nearest.is_some());
    if ui.is_json() {
        ui.json(&json!({ "valid": n_errors == 0 && !is_misspelt, "errors": n_errors, "warnings": n_warnings, "problems": redacted(problems) }));
    }
    for problem in redacted(problems) {
        let label = if problem.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        ui.out(format!("{label}: {problem}\n  {}", problem.remedy));
    }
    let file = paths.config_file().display();
    let missing = if paths.config_file().exists() {
        ""
    } else {
        " (not there)"
    };
    ui.out(match (n_errors, n_warnings) {
        (0, 0) => format!("The settings are valid. Configuration file: {file}{missing}"),
        (errors, warnings) => format!(
            "{}, {}. Configuration file: {file}{missing}",
            human::count(errors, "error"),
            human::count(warnings, "warning")
        ),
    });
    Ok(if n_errors > 0 || is_misspelt {
        Exit::Config
    } else {
        Exit::Ok
    })
}

fn redacted(problems: &[Problem]) -> Vec<Problem> {
    let clean = |problem: &Problem| Problem {
        what: redact(&problem.what),
        remedy: redact(&problem.remedy),
        ..problem.clone()
    };
    problems.iter().map(clean).collect()
}

/// What is wrong with files that settings name. Only these commands look: others say it when they need the file.
fn file_problems(settings: &Settings, paths: &Paths) -> Vec<Problem> {
    let mut problems = Vec::new();
    if credentials::is_exposed(paths) {
        problems.push(exposed(
            &paths.store_credentials(),
            "others can read the stored credentials",
        ));
    }
    if let Some(file) = &settings.sync.passphrase_file {
        let place = format!("sync.passphrase_file ({})", file.origin);
        match std::fs::metadata(&file.value) {
            Err(error) => problems.push(Problem {
                place,
                what: format!("{} cannot be read: {error}", file.value.display()),
                nearest: None,
                remedy: "correct the path, or unset it".to_owned(),
                severity: Severity::Warning,
            }),
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                problems.push(Problem {
                    place,
                    ..exposed(&file.value, "others can read the passphrase")
                });
            }
            Ok(_) => {}
        }
    }
    problems
}

fn exposed(path: &Path, what: &str) -> Problem {
    Problem {
        place: format!("file {}", path.display()),
        what: what.to_owned(),
        nearest: None,
        remedy: format!("run `chmod 600 {}`", path.display()),
        severity: Severity::Warning,
    }
}
