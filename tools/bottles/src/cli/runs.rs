//! `homebrew-sync status` and `runs`: what the mirror holds, and how the last runs ended.
//!
//! What must hold: a run that failed, found nothing or died is listed like one that published; who cannot read the store still sees what
//! this machine did.

use super::args::RunsArgs;
use super::generations::{current, open, read};
use super::mirror::Place;
use super::{daemon, failures, recording};
use crate::log::{Generation, GenerationId};
use crate::runs::{self, RunRecord};
use console::{Env, Exit, Failure, Table, Ui, human};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;
use store::Store;

/// So many runs `status` shows.
const SHOWN: usize = 5;

/// Runs `runs`.
pub(super) async fn list(
    args: &RunsArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let store = place.open(env).await?;
    let (found, is_any_unreadable) = last_of_all(&store, place, args.last.into(), ui).await?;
    if ui.is_json() {
        ui.json(&found);
        return Ok(Exit::Ok);
    }
    match found.is_empty() {
        // It was said that there are some.
        true if is_any_unreadable => ui.out("No record of a run can be read."),
        true => ui.out("No run has left a record yet."),
        false => ui.out(table(&found)),
    }
    Ok(Exit::Ok)
}

/// Returns the last runs, of all machines and of this one, the one that began last at the end.
pub(super) async fn last(
    store: &Store,
    place: &Place,
    count: usize,
    ui: &Ui,
) -> Result<Vec<RunRecord>, Failure> {
    let (found, _) = last_of_all(store, place, count, ui).await?;
    Ok(found)
}

/// Returns the last runs, and whether there are records besides that cannot be read, which is said.
async fn last_of_all(
    store: &Store,
    place: &Place,
    count: usize,
    ui: &Ui,
) -> Result<(Vec<RunRecord>, bool), Failure> {
    let own = runs::local_runs(&place.state_dir, &store.describe())
        .map_err(|error| Failure::io("read", &place.state_dir, &error))?;
    let runs::LastRuns {
        runs: mut found,
        unreadable,
    } = match runs::read(store, count, &own).await {
        Ok(found) => found,
        Err(error) if own.is_empty() => return Err(failures::of_store(&error)),
        Err(error) => {
            ui.warn(format!("{error}; these are the runs of this machine only"));
            runs::LastRuns::default()
        }
    };
    if unreadable > 0 {
        ui.warn(format!(
            "{} in the store cannot be read: damaged, or of a newer program; nothing but what is told of runs hangs on that",
            human::count(unreadable, "record"),
        ));
    }
    for record in own {
        if !found.iter().any(|known| known.id == record.id) {
            found.push(record);
        }
    }
    found.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    let many = found.len().saturating_sub(count);
    Ok((found.split_off(many), unreadable > 0))
}

fn table(found: &[RunRecord]) -> String {
    let mut table = Table::new([
        "began", "took", "by", "outcome", "fetched", "size", "removed", "why",
    ]);
    for record in found.iter().rev() {
        let took = record.took().map_or_else(String::new, human::duration);
        let is_told = record.failed > 0 || record.error.is_some();
        let why = if is_told {
            recording::why(record)
        } else {
            String::new()
        };
        table.row([
            record.started.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            took,
            record.host.clone(),
            record.outcome.as_str().to_owned(),
            human::number(record.fetched),
            human::bytes(record.fetched_bytes),
            human::number(record.removed),
            why,
        ]);
    }
    table.render()
}

/// Runs `status`.
pub(super) async fn status(place: &Place, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let found = last(&store, place, SHOWN, ui).await?;
    let id = match current(&log, &store) {
        Ok(id) => id,
        Err(failure) => {
            // The first runs may have failed: that is what one wants to see then.
            if ui.is_json() {
                ui.json(&json!({"store": store.describe(), "runs": found}));
            } else if !found.is_empty() {
                ui.out(table(&found));
            }
            return Err(failure);
        }
    };
    let generation = read(&store, &id).await?;
    let kept = log.published().len();
    let next = daemon::next(place);
    if ui.is_json() {
        ui.json(&json!({
            "store": store.describe(), "generation": id.to_string(), "created": generation.created, "selection": generation.selection,
            "bottles": generation.bottles.len(), "bytes": generation.bytes(), "generations": kept, "runs": found,
            "next_run": next.as_ref().map(|(time, _)| time), "schedule": next.as_ref().map(|(_, state)| &state.schedule),
        }));
        return Ok(Exit::Ok);
    }
    ui.out(format!("Mirror       {}", store.describe()));
    tell_holdings(&id, &generation, kept, ui);
    if let Some((time, state)) = &next {
        let left = time.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        let when = time.strftime("%Y-%m-%d %H:%M UTC");
        ui.out(format!(
            "Next run     {when}, in {}, by {}",
            human::duration(left),
            state.schedule
        ));
    }
    if !found.is_empty() {
        ui.out(format!("\n{}", table(&found)));
    }
    Ok(Exit::Ok)
}

fn tell_holdings(id: &GenerationId, generation: &Generation, kept: usize, ui: &Ui) {
    let age = Timestamp::now().duration_since(generation.created);
    let age = Duration::try_from(age).unwrap_or_default();
    ui.out(format!(
        "Generation   {} ({}), {} kept",
        id.number(),
        human::ago(age),
        human::count(kept as u64, "generation")
    ));
    let selection = match generation.selection.all {
        true => "every formula".to_owned(),
        false => {
            human::count(generation.selection.formulae.len() as u64, "formula")
                + " and what they need"
        }
    };
    ui.out(format!("Selection    {selection}"));
    let platforms: Vec<&str> = generation
        .selection
        .platforms
        .iter()
        .map(String::as_str)
        .collect();
    ui.out(format!("Platforms    {}", platforms.join(", ")));
    ui.out(format!(
        "Bottles      {} in {}",
        human::number(generation.bottles.len() as u64),
        human::bytes(generation.bytes())
    ));
}
