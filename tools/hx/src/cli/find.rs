//! `hx find`: finds commands, best and newest first.
//!
//! What must hold: it only reads, starts no runtime and opens no connection, for it is on a person's every keystroke; no match is
//! said on stderr and ends with 1.
//!
//! What it deliberately does not do: match fuzzily, or ask the store for what has not been pulled.

mod filters;
mod render;
#[cfg(test)]
mod tests;

use console::{Exit, Failure};

use super::{Context, rescue};
use crate::history::find::FindQuery;
use crate::history::octets;
use crate::history::{History, HistoryErrorKind};
use crate::sync::history_failure;

pub(super) use filters::{FilterArgs, span_us};
pub(super) use render::{HitObject, Listing};

/// Arguments of `hx find`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx find docker run
  hx find '\"docker run\"' --failed
  hx find rsync --after yesterday --host laptop
  hx find --cwd . --limit 50
  hx find make --after \"2 weeks ago\" --json

Each word must begin a word of the command. Words in double quotes must stand together.
Times: 2023-03-01, \"2023-03-01 15:04\", \"yesterday 3pm\", \"2 weeks ago\", \"last monday\".
The eight digits in each line are the beginning of an id, which `hx pin` and `hx forget` take.")]
pub(super) struct FindArgs {
    /// Words to find; none finds everything
    text: Vec<String>,
    /// Show at most so many, 1 or more
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    limit: usize,
    /// Show every time a command was run, not only the last
    #[arg(long, visible_alias = "repeats")]
    all: bool,
    /// Print in this form
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Only pinned commands
    #[arg(long, help_heading = "Filters")]
    pinned: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be 1 or more; for everything give a large number".to_owned()),
        Ok(n) => Ok(n),
        // More than can be counted is everything too.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(u32::MAX as usize)
        }
        Err(_) if text.parse::<i64>().is_ok() => {
            Err("it must be 1 or more; for everything give a large number".to_owned())
        }
        Err(_) => Err("it is not a number".to_owned()),
    }
}

/// How hits are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Lines for people
    Text,
    /// The commands alone, each ended by a zero byte
    Null,
    /// The same as --json
    Json,
}

/// Finds and prints.
pub(super) fn run(args: &FindArgs, context: &Context) -> Result<Exit, Failure> {
    let query = args.query(context)?;
    let (history, hits) = rescue::read(context, |history| history.find(&query))?;
    let ui = &context.ui;
    if ui.is_json() || args.format == Form::Json {
        ui.json(&hits.iter().map(HitObject::from).collect::<Vec<_>>());
    } else if args.format == Form::Null {
        for hit in &hits {
            ui.raw(&octets::to_bytes(&hit.event.command));
            ui.raw(&[0]);
        }
    } else {
        let listing = Listing {
            hits: &hits,
            words: &query.text,
            color: ui.has_color(),
            cut: ui.is_terminal(),
            zone: super::zone::local(&context.env),
        };
        ui.raw(listing.render().as_bytes());
    }
    if hits.is_empty() {
        ui.status(nothing_found(&query, &history));
        return Ok(Exit::Failed.max(rescue::exit(&history)));
    }
    Ok(rescue::exit(&history))
}

/// Opens the history for reading only.
///
/// # Errors
/// If there is none, or it cannot be read.
pub(super) fn open(context: &Context) -> Result<History, Failure> {
    History::open_read_only(&context.paths.database()).map_err(|error| match error.kind() {
        HistoryErrorKind::NotFound => no_history(),
        _ => history_failure(&error),
    })
}

/// The failure where there is no history yet.
pub(super) fn no_history() -> Failure {
    Failure::new(Exit::Failed, "there is no history on this machine yet")
        .kind("no-history")
        .hint("Run `hx import` to take over what your shells remember, or `hx sync init --store URL` and `hx sync pull`.")
}

impl FindArgs {
    fn query(&self, context: &Context) -> Result<FindQuery, Failure> {
        let query = FindQuery {
            pinned: self.pinned,
            repeats: self.all,
            ..FindQuery::new(self.text.join(" "), self.limit)
        };
        self.filters.apply(query, &context.env)
    }
}

fn nothing_found(query: &FindQuery, history: &History) -> String {
    let is_filtered = query.after_us.is_some()
        || query.before_us.is_some()
        || query.cwd.is_some()
        || query.host.is_some()
        || query.session.is_some()
        || query.exit.is_some()
        || query.failed
        || query.pinned;
    // Not by counting, which reads everything.
    if history
        .find(&FindQuery::new("", 1))
        .is_ok_and(|hits| hits.is_empty())
    {
        return "the history is empty: run `hx import`, or `hx sync pull`".into();
    }
    match (query.text.trim(), is_filtered) {
        ("", _) => "no command passes the filters".into(),
        (text, false) => format!("no command matches `{text}`"),
        (text, true) => format!("no command matches `{text}` and passes the filters"),
    }
}
