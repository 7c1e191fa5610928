//! `hx pin`: marks commands to keep them at hand.
//!
//! What must hold: pinning twice is the same as once.
//!
//! What it deliberately does not do: protect a pinned command from `hx forget`, which shows what it is about to do.

use console::{Exit, Failure};
use serde_json::json;

use super::Context;
use super::find::{HitObject, Listing};
use super::forget::named;
use crate::history::find::{FindQuery, Hit};
use crate::sync::history_failure;

/// Arguments of `hx pin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hx pin 3f2a9c1e            mark the command with this id, from the output of `hx find`
  hx pin --remove 3f2a9c1e   take the mark away
  hx pin --list              show what is marked; `hx find --pinned` searches in it")]
pub(super) struct PinArgs {
    /// Ids of commands, or how they begin
    #[arg(value_name = "ID", required_unless_present = "list")]
    ids: Vec<String>,
    /// Take the mark away
    #[arg(long)]
    remove: bool,
    /// List what is marked
    #[arg(long, conflicts_with_all = ["ids", "remove"])]
    list: bool,
}

/// Marks, unmarks or lists.
pub(super) fn run(args: &PinArgs, context: &Context) -> Result<Exit, Failure> {
    if args.list {
        list(context)
    } else {
        mark(args, context)
    }
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let everything = usize::try_from(i64::MAX).unwrap_or(usize::MAX);
    let query = FindQuery {
        pinned: true,
        repeats: true,
        ..FindQuery::new("", everything)
    };
    let hits = super::find::open(context)?
        .find(&query)
        .map_err(|error| history_failure(&error))?;
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(&hits.iter().map(HitObject::from).collect::<Vec<_>>());
    } else {
        ui.raw(
            Listing {
                hits: &hits,
                words: "",
                color: ui.has_color(),
                cut: ui.is_terminal(),
                zone: super::zone::local(&context.env),
            }
            .render()
            .as_bytes(),
        );
    }
    if hits.is_empty() {
        ui.status("nothing is pinned");
    }
    Ok(Exit::Ok)
}

fn mark(args: &PinArgs, context: &Context) -> Result<Exit, Failure> {
    // Looking at a history that is not there must not create one.
    let hits = named(&args.ids, &super::find::open(context)?)?;
    let mut history = context.history()?;
    let pinned = !args.remove;
    let mut changed: Vec<(Hit, bool)> = Vec::with_capacity(hits.len());
    for mut hit in hits {
        let now_us = jiff::Timestamp::now().as_microsecond();
        let is_new = history
            .set_pinned(hit.event.id, pinned, now_us)
            .map_err(|error| history_failure(&error))?;
        hit.pinned = pinned;
        changed.push((hit, is_new));
    }
    let ui = &context.ui;
    if ui.is_json() {
        let objects: Vec<_> = changed
            .iter()
            .map(|(hit, is_new)| json!({ "id": hit.event.id, "pinned": pinned, "changed": is_new }))
            .collect();
        ui.json(&objects);
    }
    for (hit, is_new) in &changed {
        let command = hit.event.command.lines().next().unwrap_or_default();
        ui.status(match (pinned, is_new) {
            (true, true) => format!("pinned: {command}"),
            (true, false) => format!("was pinned already: {command}"),
            (false, true) => format!("no longer pinned: {command}"),
            (false, false) => format!("was not pinned: {command}"),
        });
    }
    Ok(Exit::Ok)
}
