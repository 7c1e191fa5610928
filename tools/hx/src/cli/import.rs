//! `hx import`: takes over what the shells remember, or a backup.
//!
//! What must hold: everything that was read is accounted for in the report; with `--dry-run` nothing on the disk changes; one file that
//! cannot be imported does not keep the others out.
//!
//! What it deliberately does not do: parse (see `history::import`).

mod report;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use console::{Exit, Failure, Unasked, human};

use super::Context;
use crate::history::History;
use crate::history::import::{
    ImportOptions, ImportProgress, ImportReport, Shell, find_history_files, history_places,
    import_bytes, import_file, renamed,
};
use crate::sync::history_failure;
use report::Imported;

/// Arguments of `hx import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx import                                        every shell history of yours
  hx import --dry-run                              only say what would happen
  hx import --file old.zsh_history --host laptop   a file of another machine
  hx import --file hx-backup.json                  a backup that hx made
  hx import --file <(zcat old.gz)                  what comes out of a pipe; or: zcat old.gz | hx import --file -

Importing a file again, or one that overlaps, adds nothing twice. The kind of file is recognised by its content.")]
pub(super) struct ImportArgs {
    /// `auto` finds the shells' histories, as no argument at all does
    #[arg(value_name = "auto", conflicts_with = "file")]
    source: Option<String>,
    /// Import this file, or what comes out of this pipe; `-` is the standard input
    #[arg(long, short, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Take the file for a history of this shell; without --file, import only its histories
    #[arg(long, value_enum, default_value_t = ShellChoice::Auto)]
    shell: ShellChoice,
    /// Machine the commands ran on, if not this one
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Do everything but keep it
    #[arg(long)]
    dry_run: bool,
}

/// What `--shell` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ShellChoice {
    Auto,
    Zsh,
    Bash,
    Fish,
}

impl ShellChoice {
    fn shell(self) -> Option<Shell> {
        match self {
            Self::Auto => None,
            Self::Zsh => Some(Shell::Zsh),
            Self::Bash => Some(Shell::Bash),
            Self::Fish => Some(Shell::Fish),
        }
    }

    /// Whether a shell's own file, found in its usual place, is one of this shell's.
    fn takes(self, path: &Path) -> bool {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        match self {
            Self::Auto => true,
            Self::Zsh => name.contains("zsh") || name == ".zhistory" || name == ".histfile",
            Self::Bash => name.contains("bash"),
            Self::Fish => name.contains("fish"),
        }
    }
}

/// Imports and reports.
pub(super) fn run(args: &ImportArgs, context: &Context) -> Result<Exit, Failure> {
    let files = args.files(context)?;
    let mut history = target(args, context)?;
    let progress = context.ui.progress(None, "importing");
    let mut options = args.options(context)?;
    let shown = progress.clone();
    options.progress = ImportProgress::new(move |entries| shown.set_done(entries));
    let mut imported = Vec::with_capacity(files.len());
    for file in files {
        if args.host.is_none() {
            options.host = host_of(context, &history, &file, &options)?;
        }
        progress.phase(&format!("importing {}", file.display()), None);
        let outcome = import(&mut history, &file, &options);
        imported.push(Imported {
            path: file,
            outcome,
        });
    }
    progress.finish();
    // A single file that was asked for by name: its failure is the command's.
    if let [
        Imported {
            outcome: Err(failure),
            ..
        },
    ] = imported.as_slice()
    {
        return Err(failure.clone());
    }
    report::show(&context.ui, &imported, args.dry_run);
    let n_failed = imported.iter().filter(|one| one.outcome.is_err()).count();
    let is_incomplete = |one: &Imported| {
        let report = one.outcome.as_ref();
        report.is_ok_and(|report| report.incomplete || report.has_damage())
    };
    Ok(match n_failed {
        0 if imported.iter().any(is_incomplete) => Exit::Partial,
        0 => Exit::Ok,
        n if n == imported.len() => Exit::Failed,
        _ => Exit::Partial,
    })
}

/// The machine to import a file for: this one; or what it was called before, if a person on the terminal says so.
fn host_of(
    context: &Context,
    history: &History,
    file: &Path,
    options: &ImportOptions,
) -> Result<Arc<str>, Failure> {
    let own: Arc<str> = Arc::from(context.settings.host_name());
    // Why a file cannot be read is said where it is imported.
    let Ok(Some(found)) = renamed(history, file, options) else {
        return Ok(own);
    };
    let ui = &context.ui;
    ui.warn(format!(
        "{}: {} of {} that were looked at are here already as those of `{}`, and none as those of `{own}`",
        file.display(),
        human::number(found.known),
        human::count(found.seen, "command"),
        found.host
    ));
    let question = format!(
        "Was this machine called `{}` before? Then its commands are imported under that name, and none twice.",
        found.host
    );
    if ui.can_prompt() && ui.confirm(&question, Unasked::No)? {
        return Ok(Arc::from(found.host));
    }
    ui.hint(format!(
        "if this machine was renamed, `hx import --host {host}` adds nothing twice, and HX_HOST={host} keeps its old name for good; as `{own}` they are other commands",
        host = quoted(&found.host)
    ));
    Ok(own)
}

/// A word as a person types it into a shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-/~+".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn import(
    history: &mut History,
    file: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, Failure> {
    let outcome = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::io("read", Path::new("the standard input"), &error))?;
        import_bytes(history, "the standard input", &bytes, options)
    } else {
        import_file(history, file, options)
    };
    outcome.map_err(|error| history_failure(&error))
}

/// The database to import into. A rehearsal on a machine without one must not leave one behind.
fn target(args: &ImportArgs, context: &Context) -> Result<History, Failure> {
    if args.dry_run && !context.paths.database().exists() {
        return History::in_memory().map_err(|error| history_failure(&error));
    }
    context.history()
}

impl ImportArgs {
    fn options(&self, context: &Context) -> Result<ImportOptions, Failure> {
        let host = self
            .host
            .clone()
            .unwrap_or_else(|| context.settings.host_name());
        if host.trim().is_empty() || host.chars().any(char::is_control) {
            return Err(Failure::usage("--host is empty or has control characters")
                .hint("Give the machine's name, for example `--host laptop`."));
        }
        Ok(ImportOptions {
            // Without --file the choice is among files, and each is recognised by its content.
            shell: if self.file.is_empty() {
                None
            } else {
                self.shell.shell()
            },
            host: Arc::from(host),
            dry_run: self.dry_run,
            progress: ImportProgress::default(),
        })
    }

    fn files(&self, context: &Context) -> Result<Vec<PathBuf>, Failure> {
        if !self.file.is_empty() {
            return Ok(self.file.clone());
        }
        if let Some(source) = self.source.as_deref().filter(|source| *source != "auto") {
            return Err(Failure::usage(format!(
                "`hx import` takes `auto` or nothing, and a file after --file; not `{source}` alone"
            ))
            .kind("usage")
            .hint(format!("Type: hx import --file {}", quoted(source))));
        }
        let home = context.env.get("HOME").ok_or_else(|| {
            Failure::config("the home directory is not known: HOME is not set")
                .kind("no-home")
                .hint("Set HOME, or name the file with `--file`.")
        })?;
        let env = |name: &str| context.env.get(name);
        let mut files = find_history_files(env, Path::new(home));
        files.retain(|file| self.shell.takes(file));
        if files.is_empty() {
            let mut failure = Failure::new(Exit::Failed, "no shell history was found")
                .kind("not-found")
                .hint("Name the file: `hx import --file FILE`. A shell whose history was never saved has none.");
            for place in history_places(env, Path::new(home))
                .iter()
                .filter(|place| self.shell.takes(place))
            {
                failure = failure.cause(format!("no file {}", place.display()));
            }
            return Err(failure);
        }
        Ok(files)
    }
}
