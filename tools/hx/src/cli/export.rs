//! `hx export`: the history as a file.
//!
//! What must hold: the file appears, or changes, only when it is complete; why it cannot be written is said before anything is read.
//!
//! What it deliberately does not do: create directories. A mistyped path would make some.

mod standing;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use console::{Exit, Failure, Ui, human};
use serde_json::json;

use self::standing::Standing;

use super::{Context, find, rescue};
use crate::history::export::{
    ExportFilter, ExportFormat, ExportReport, export, export_file, export_or_tell,
};
use crate::history::import::Shell;
use crate::history::{History, HistoryError};
use crate::sync::history_failure;

/// Arguments of `hx export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx export --file hx-backup.json                       everything; `hx import --file` reads it back
  hx export --file commands.csv --after \"2 weeks ago\"
  hx export --file - --format zsh > ~/.zsh_history.new
  hx export --file to-show.md --last --redacted

Histories for shells hold the very bytes that were typed, also where these are no UTF-8. A history of bash has
no place for a line that begins with `#` and a digit, and bash passes over empty lines: such commands are
written as near as can be and named, and the exit code is 3. With --json,
what was done is told as JSON; on the standard output only a JSON export goes together with it, and is
the document.

If the reader of the standard output goes away early (`| head`), nothing is said and the exit code is 3.

With a filter, the file holds only commands: no pins, and nothing of what was forgotten.

A file that is there is replaced if it is an earlier export that has no more records than there are now. A file
that something else wrote, a history of a shell and an export with more records are left alone, unless --force
is given.")]
pub(super) struct ExportArgs {
    /// Write to this file; `-` is the standard output
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Form of the file; if not given, its name says it, else json
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Replace whatever has this name; without it only an earlier export that has no more is replaced
    #[arg(long)]
    force: bool,
    /// Put a mark in place of what is probably a secret; it cannot know every one, so look before you show it
    #[arg(long)]
    redacted: bool,
    /// Only the last stretch of work: the newest session, or the 24 hours up to the newest command
    #[arg(long, help_heading = "Filters")]
    last: bool,
    /// Only commands that started at this time or later
    #[arg(long, value_name = "TIME", help_heading = "Filters")]
    after: Option<String>,
    /// Only commands that started before this time
    #[arg(long, value_name = "TIME", help_heading = "Filters")]
    before: Option<String>,
    /// Only commands of this machine
    #[arg(long, value_name = "HOST", help_heading = "Filters")]
    host: Option<String>,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// hx's own, complete: one document
    Json,
    /// The same, one record a line
    Jsonl,
    /// A table for spreadsheets
    Csv,
    /// A table for people
    #[value(alias = "md")]
    Markdown,
    /// A history file of zsh
    Zsh,
    /// A history file of bash
    Bash,
    /// A history file of fish
    Fish,
}

impl Form {
    fn as_format(self) -> ExportFormat {
        match self {
            Self::Json => ExportFormat::Json,
            Self::Jsonl => ExportFormat::JsonLines,
            Self::Csv => ExportFormat::Csv,
            Self::Markdown => ExportFormat::Markdown,
            Self::Zsh => ExportFormat::Shell(Shell::Zsh),
            Self::Bash => ExportFormat::Shell(Shell::Bash),
            Self::Fish => ExportFormat::Shell(Shell::Fish),
        }
    }

    /// What a file of this name is meant to be; none if the name does not say.
    fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let endings = [
            (".json", Self::Json),
            (".jsonl", Self::Jsonl),
            (".ndjson", Self::Jsonl),
            (".csv", Self::Csv),
            (".md", Self::Markdown),
            (".markdown", Self::Markdown),
            (".zsh", Self::Zsh),
            ("zsh_history", Self::Zsh),
            (".bash", Self::Bash),
            ("bash_history", Self::Bash),
            (".fish", Self::Fish),
            ("fish_history", Self::Fish),
        ];
        endings
            .into_iter()
            .find(|(ending, _)| name.ends_with(ending))
            .map(|(_, form)| form)
    }
}

/// Exports and says what.
pub(super) fn run(args: &ExportArgs, context: &Context) -> Result<Exit, Failure> {
    let (after_us, before_us) =
        find::span_us(args.after.as_deref(), args.before.as_deref(), &context.env)?;
    let filter = ExportFilter {
        redacted: args.redacted,
        last: args.last,
        after_us,
        before_us,
        host: args.host.clone(),
    };
    let format = args
        .format
        .or_else(|| Form::of_name(&args.file))
        .unwrap_or(Form::Json)
        .as_format();
    let ui = &context.ui;
    let to_stdout_asked = args.file == Path::new("-");
    if ui.is_json() && to_stdout_asked && format != ExportFormat::Json {
        return Err(
            Failure::usage("with --json the standard output is one JSON document, so no export of another form fits there")
                .kind("usage")
                .hint("Leave --json out, or write to a file with `--file NAME`."),
        );
    }
    let name = args.file.display().to_string();
    if to_stdout_asked {
        let (history, report) = to_stdout(context, format, &filter)?;
        // Where it did not arrive, the error is said at the end; of a reader that went away nothing is, but what it got is a part.
        if ui.flush() {
            ui.status(sentence(&report, "to the standard output"));
        }
        if ui.is_cut_off() {
            return Ok(Exit::Partial);
        }
        return Ok(ended(&history, &report, context, "THAT_FILE"));
    }
    refuse_own(&args.file, context)?;
    let (history, report) = to_file(context, args, format, &filter)?;
    let n_bytes = std::fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
    if ui.is_json() {
        ui.json(
            &json!({ "file": name, "bytes": n_bytes, "report": report, "losses": history.losses() }),
        );
    } else {
        ui.status(sentence(
            &report,
            &format!("({}) to {name}", human::bytes(n_bytes)),
        ));
    }
    Ok(ended(&history, &report, context, &name))
}

/// The exit code; for a damaged database also the way out, by the file that was written, and what the form could not hold.
fn ended(history: &History, report: &ExportReport, context: &Context, file: &str) -> Exit {
    if history.losses().is_some() {
        rescue::hint(&context.ui, context, file);
    }
    if report.unheld == 0 {
        return rescue::exit(history);
    }
    let ui = &context.ui;
    ui.warn(format!(
        "{} cannot be held by a history of bash as {}: bash takes a line that begins with `#` and a digit for a time, and passes over empty lines and a return at the end of a line. {} written as near as can be, with a blank before the `#`",
        human::count(report.unheld, "command"),
        if report.unheld == 1 { "it is" } else { "they are" },
        if report.unheld == 1 { "It was" } else { "They were" },
    ));
    for example in &report.unheld_examples {
        ui.status(format!("  {example}"));
    }
    if report.unheld > report.unheld_examples.len() as u64 {
        ui.status("  …");
    }
    ui.hint("`hx export --file hx-backup.json` holds every command as it is.");
    Exit::Partial
}

fn sentence(report: &ExportReport, place: &str) -> String {
    let others = if report.others > 0 {
        format!(" and {}", human::count(report.others, "other record"))
    } else {
        String::new()
    };
    let marked = match report.redacted {
        0 => String::new(),
        n => format!(
            "; in {} of them a likely secret was replaced",
            human::number(n)
        ),
    };
    format!(
        "exported {}{others} {place}{marked}",
        human::count(report.events, "command")
    )
}

/// Refuses to write over the files of hx itself, also by way of links.
fn refuse_own(file: &Path, context: &Context) -> Result<(), Failure> {
    if !context.paths.are_own(file) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is in the place where hx keeps its own files",
        file.display()
    ))
    .kind("own-file")
    .hint("Name a file elsewhere, for example `hx export --file ~/hx-backup.json`. Nothing was changed."))
}

/// Opens a device or a pipe. A pipe without a reader would make us wait for ever.
fn open_device(path: &Path, metadata: &std::fs::Metadata) -> io::Result<std::fs::File> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    if metadata.file_type().is_fifo() {
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let probed = OpenOptions::new()
            .write(true)
            .custom_flags(flags as i32)
            .open(path);
        if probed.is_err_and(|error| {
            error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
        }) {
            return Err(io::Error::other("it is a pipe that nobody reads"));
        }
    }
    OpenOptions::new().write(true).open(path)
}

fn to_file(
    context: &Context,
    args: &ExportArgs,
    format: ExportFormat,
    filter: &ExportFilter,
) -> Result<(History, ExportReport), Failure> {
    let path = args.file.as_path();
    let shown = path.display();
    let refuse = |why: &str, hint: String| {
        Failure::new(Exit::Failed, format!("cannot export to {shown}"))
            .kind("not-writable")
            .cause(why)
            .hint(hint)
    };
    let found = std::fs::metadata(path);
    if found.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
        let example = path.join("hx-backup.json");
        return Err(refuse(
            "it is a directory",
            format!(
                "Name a file in it: `hx export --file {}`.",
                example.display()
            ),
        ));
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        let hint = format!("Create it: `mkdir -p {}`.", parent.display());
        return Err(refuse(
            &format!("the directory {} does not exist", parent.display()),
            hint,
        ));
    }
    let now_us = jiff::Timestamp::now().as_microsecond();
    // A device or a pipe is written to. Replacing it by a file is what nobody means.
    let Some(metadata) = found.ok().filter(|metadata| !metadata.is_file()) else {
        let standing = Standing::look(path, format, args.force)?;
        let write = |history: &History| {
            history.ensure_sound()?;
            let admit = |report: &ExportReport| standing.admit(report, history.losses().is_some());
            export_file(history, &standing.target, format, filter, now_us, &admit)
        };
        return rescue::read(context, write).map_err(|failure| at(failure, path));
    };
    let mut device = open_device(path, &metadata).map_err(|error| {
        let failure = Failure::io("write", path, &error);
        if failure.hint_text().is_some() {
            failure
        } else {
            failure.hint("Start what is to read it first, or write to a file.")
        }
    })?;
    rescue::read(context, |history| {
        // What was written to it cannot be taken back, so that damage has to be found before.
        history.ensure_sound()?;
        export(history, &mut io::sink(), format, filter, now_us)?;
        export(history, &mut device, format, filter, now_us)
    })
    .map_err(|failure| at(failure, path))
}

/// Says which file was to be written.
fn at(failure: Failure, path: &Path) -> Failure {
    let shown = path.display().to_string();
    let failure = if failure.message().contains(&shown) {
        failure
    } else {
        failure.context(format!("cannot export to {shown}"))
    };
    match failure.exit() {
        Exit::DiskFull => failure.hint(format!(
            "Free some space, or export to another disk. {shown} is as it was."
        )),
        _ => failure,
    }
}

/// Writes to the person's output. A reader that goes away early ends the export; whether that is a failure is for the caller to say.
fn to_stdout(
    context: &Context,
    format: ExportFormat,
    filter: &ExportFilter,
) -> Result<(History, ExportReport), Failure> {
    let ui = &context.ui;
    let tell = |error: &HistoryError| match history_failure(error).to_json() {
        serde_json::Value::Object(mut document) => document.remove("error").unwrap_or_default(),
        other => other,
    };
    let now_us = jiff::Timestamp::now().as_microsecond();
    rescue::read(context, |history| {
        // What was written cannot be taken back, so that damage has to be found before.
        history.ensure_sound()?;
        export(history, &mut io::sink(), format, filter, now_us)?;
        let mut out = Stdout(ui);
        let outcome = export_or_tell(history, &mut out, format, filter, now_us, Some(&tell));
        match outcome {
            Err(_) if ui.is_reader_gone() => Ok(ExportReport::default()),
            outcome => outcome,
        }
    })
}

/// The standard output as a writer.
struct Stdout<'a>(&'a Ui);

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_reader_gone() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_its_form() {
        for (name, form) in [
            ("hx-backup.json", Some(Form::Json)),
            ("a.JSONL", Some(Form::Jsonl)),
            (".zsh_history", Some(Form::Zsh)),
            ("old.bash_history", Some(Form::Bash)),
            ("x/y.md", Some(Form::Markdown)),
            ("history.csv", Some(Form::Csv)),
            ("fish_history", Some(Form::Fish)),
            ("backup", None),
        ] {
            assert_eq!(Form::of_name(Path::new(name)), form, "{name}");
        }
    }
}
