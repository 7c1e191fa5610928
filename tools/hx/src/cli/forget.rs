//! `hx forget`: takes commands out of the history, on every device and out of the store.
//!
//! What must hold: nothing is forgotten that was not shown first; without a terminal nothing is forgotten unless `--yes` says so.
//!
//! What it deliberately does not do: change the shells' own history files. They belong to the shells.

use console::{Exit, Failure, human};
use serde_json::json;

use super::Context;
use super::find::{FilterArgs, HitObject, Listing};
use crate::history::find::{FindQuery, Hit, Tier};
use crate::history::model::RecordId;
use crate::history::{History, HistoryError};
use crate::sync::{Past, history_failure};

/// So many are shown before the question.
const SHOWN_MAX: usize = 20;

/// Arguments of `hx forget`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx forget 3f2a9c1e                      the command with this id, from the output of `hx find`
  hx forget --match hunter2 --dry-run     show what would be forgotten
  hx forget --match \"curl example.org\" --after yesterday
  hx forget --host old-laptop --yes       everything of one machine, without asking

It shows what it is about to forget and asks; without a terminal it needs --yes.
Every time a command was run counts, not only the last. The entries stay away: neither importing
them again nor another device brings them back. The same text under another host name or time is
another entry. Other devices and the store follow with the next syncs.")]
pub(super) struct ForgetArgs {
    /// Ids of commands, or how they begin
    #[arg(value_name = "ID", conflicts_with_all = ["text", "after", "before", "cwd", "host", "session", "exit", "failed"])]
    ids: Vec<String>,
    /// Forget what has all these words, also inside other words
    #[arg(long = "match", value_name = "TEXT")]
    text: Option<String>,
    /// Only show what would be forgotten
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

/// Shows, asks, forgets.
pub(super) fn run(args: &ForgetArgs, context: &Context) -> Result<Exit, Failure> {
    if args.ids.is_empty() && args.text.is_none() && args.filters.is_empty() {
        return Err(Failure::usage("nothing says what to forget")
            .hint("Give an id from the output of `hx find`, or `--match TEXT`, or a filter."));
    }
    // Looking at a history that is not there must not create one.
    let reader = super::find::open(context)?;
    let hits = if args.ids.is_empty() {
        matching(args, context, &reader)?
    } else {
        named(&args.ids, &reader)?
    };
    drop(reader);
    let ui = &context.ui;
    if hits.is_empty() {
        if ui.is_json() {
            ui.json(&json!({ "forgotten": 0, "events": [] }));
        }
        ui.status("no command matches, so nothing was forgotten");
        return Ok(Exit::Failed);
    }
    show(args, context, &hits);
    if args.dry_run {
        report(context, 0, &hits);
        return Ok(Exit::Ok);
    }
    context.consent(&question(hits.len()))?;
    let targets: Vec<RecordId> = hits.iter().map(|hit| hit.event.id).collect();
    let mut history = context.history()?;
    history
        .forget(&targets, jiff::Timestamp::now().as_microsecond())
        .map_err(|error| history_failure(&error))?;
    report(context, targets.len(), &hits);
    let what = human::count(targets.len() as u64, "command");
    ui.status(format!("forgot {what}.{}", afterwards(&history)));
    Ok(Exit::Ok)
}

fn matching(args: &ForgetArgs, context: &Context, history: &History) -> Result<Vec<Hit>, Failure> {
    let everything = usize::try_from(i64::MAX).unwrap_or(usize::MAX);
    let query = FindQuery {
        repeats: true,
        // A secret hides inside a word as well: `-phunter2`.
        within: true,
        ..FindQuery::new(args.text.clone().unwrap_or_default(), everything)
    };
    let query = args.filters.apply(query, &context.env)?;
    if args.filters.is_empty() && query.text.trim().is_empty() {
        return Err(Failure::usage("an empty --match would match everything")
            .hint("Give at least one word or a filter."));
    }
    history
        .find(&query)
        .map_err(|error| history_failure(&error))
}

/// The events with these ids, each once.
pub(super) fn named(ids: &[String], history: &History) -> Result<Vec<Hit>, Failure> {
    let failed = |error: HistoryError| history_failure(&error);
    let mut hits: Vec<Hit> = Vec::with_capacity(ids.len());
    for text in ids {
        let id = history.resolve_id_prefix(text).map_err(failed)?;
        if hits.iter().any(|hit| hit.event.id == id) {
            continue;
        }
        let event = history
            .event(id)
            .map_err(failed)?
            .ok_or_else(|| Failure::new(Exit::Failed, format!("the event {text} has just gone")))?;
        hits.push(Hit {
            event,
            uses: 1,
            pinned: false,
            tier: Tier::Whole,
        });
    }
    Ok(hits)
}

fn show(args: &ForgetArgs, context: &Context, hits: &[Hit]) {
    if context.ui.is_json() {
        return;
    }
    let shown = if args.dry_run {
        hits
    } else {
        &hits[..hits.len().min(SHOWN_MAX)]
    };
    let listing = Listing {
        hits: shown,
        words: args.text.as_deref().unwrap_or_default(),
        color: context.ui.has_color(),
        cut: context.ui.is_terminal(),
        zone: super::zone::local(&context.env),
    };
    context.ui.raw(listing.render().as_bytes());
    if shown.len() < hits.len() {
        context.ui.out(format!(
            "… and {} more (`--dry-run` shows all)",
            human::number((hits.len() - shown.len()) as u64)
        ));
    }
    if args.dry_run {
        context.ui.status(format!(
            "would forget {}; nothing was changed",
            human::count(hits.len() as u64, "command")
        ));
    }
}

fn question(n: usize) -> String {
    match n {
        1 => "Forget this command, on every device and for good?".to_owned(),
        n => format!(
            "Forget these {}, on every device and for good?",
            human::count(n as u64, "command")
        ),
    }
}

fn report(context: &Context, n_forgotten: usize, hits: &[Hit]) {
    if context.ui.is_json() {
        let events: Vec<HitObject> = hits.iter().map(HitObject::from).collect();
        context
            .ui
            .json(&json!({ "forgotten": n_forgotten, "events": events }));
    }
}

/// What else there is to know: who still has it.
fn afterwards(history: &History) -> &'static str {
    // Whether there is a vault decides only on a sentence.
    let is_member = Past::read(history).is_ok_and(|past| past.membership.is_some());
    if is_member {
        " With the next `hx sync` no live object holds it any more; the replaced ones are removed by the first sync after a week. Other devices follow when they sync; one that never will again: `hx sync devices remove`. The shells' own history files are as they were."
    } else {
        " The shells' own history files are as they were."
    }
}
