//! The commands about what the mirror holds: `generations`, `diff`, `rollback`, `prune`.

use super::args::{DiffArgs, PruneArgs, RollbackArgs};
use super::failures;
use super::mirror::Place;
use crate::diff::Kind;
use crate::log::{self, Generation, GenerationId, Log, LogError};
use crate::prune::{self, PruneOptions};
use crate::rollback;
use console::{Env, Exit, Failure, Table, Ui, human};
use jiff::Timestamp;
use serde_json::json;
use store::Store;

pub(super) async fn open(place: &Place, env: &Env) -> Result<(Store, Log), Failure> {
    let store = place.open(env).await?;
    let log = Log::read(&store)
        .await
        .map_err(|error| failures::of_store(&error))?;
    Ok((store, log))
}

pub(super) async fn read(store: &Store, id: &GenerationId) -> Result<Generation, Failure> {
    log::read(store, id)
        .await
        .map_err(|error| failures::of_log(&error))
}

pub(super) fn current(log: &Log, store: &Store) -> Result<GenerationId, Failure> {
    log.current().cloned().ok_or_else(|| {
        Failure::new(
            Exit::NoStore,
            format!("nothing is mirrored in {}", store.describe()),
        )
        .hint("run `homebrew-sync sync --formula NAME` first, or check --store")
    })
}

/// Finds the generation that a number or a name stands for.
fn named(log: &Log, name: &str) -> Result<GenerationId, Failure> {
    match log.named(name)[..] {
        [id] => Ok(id.clone()),
        [] => {
            let text = format!("there is no generation {}", name.escape_debug());
            Err(Failure::new(Exit::Failed, text)
                .hint("`homebrew-sync generations` lists those that are there"))
        }
        ref several => {
            let names: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            let text = format!("two runs at once made generations of the number {name}");
            Err(Failure::new(Exit::Failed, text)
                .hint(format!("write the whole name: {}", names.join(" or "))))
        }
    }
}

pub(super) async fn list(place: &Place, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let now = current(&log, &store)?;
    let mut table = Table::new(["", "number", "created", "bottles", "size"]);
    let mut listed = Vec::new();
    for id in log.published() {
        let is_current = *id == now;
        // A number alone would not say which.
        let name = match log.named(&id.number().to_string()).len() {
            1 => id.number().to_string(),
            _ => id.to_string(),
        };
        let star = if is_current { "*" } else { "" }.to_owned();
        let generation = match log::read(&store, id).await {
            Ok(generation) => generation,
            // It can still be left: the others have to be seen for that.
            Err(error @ (LogError::Damaged { .. } | LogError::Newer { .. })) => {
                let why = match error {
                    LogError::Damaged { why, .. } => why,
                    newer => newer.to_string(),
                };
                let nothing = String::new();
                table.row([
                    star,
                    name,
                    format!("damaged: {why}"),
                    nothing.clone(),
                    nothing,
                ]);
                listed.push(json!({"id": id.to_string(), "number": id.number(), "damaged": why, "current": is_current}));
                continue;
            }
            Err(error) => return Err(failures::of_log(&error)),
        };
        let (bottles, bytes) = (generation.bottles.len() as u64, generation.bytes());
        table.row([
            star,
            name,
            generation
                .created
                .strftime("%Y-%m-%d %H:%M UTC")
                .to_string(),
            human::number(bottles),
            human::bytes(bytes),
        ]);
        listed.push(json!({
            "id": id.to_string(), "number": id.number(), "created": generation.created, "bottles": bottles, "bytes": bytes, "current": is_current,
        }));
    }
    match ui.is_json() {
        true => ui.json(&listed),
        false => ui.out(table.render()),
    }
    Ok(Exit::Ok)
}

pub(super) async fn diff(
    args: &DiffArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let from = read(&store, &named(&log, &args.from)?).await?;
    let to = match &args.to {
        Some(name) => named(&log, name)?,
        None => current(&log, &store)?,
    };
    let to = read(&store, &to).await?;
    let changes = crate::diff::diff(&from, &to);
    if ui.is_json() {
        ui.json(&changes);
        return Ok(Exit::Ok);
    }
    if changes.is_empty() {
        ui.out(format!(
            "Generations {} and {} have the same bottles.",
            from.number, to.number
        ));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["formula", "from", "to", "size", ""]);
    for change in &changes {
        let kind = match change.kind {
            Kind::New => "new",
            Kind::Gone => "gone",
            Kind::Version => "",
            Kind::Bottles => "other bottles",
        };
        table.row([
            change.formula.clone(),
            change.from.join(", "),
            change.to.join(", "),
            human::bytes(change.bytes_after),
            kind.to_owned(),
        ]);
    }
    ui.out(table.render());
    ui.out(format!(
        "{} changed; {} before, {} after.",
        human::count(changes.len() as u64, "formula"),
        human::bytes(from.bytes()),
        human::bytes(to.bytes()),
    ));
    Ok(Exit::Ok)
}

pub(super) async fn rollback(
    args: &RollbackArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let now = current(&log, &store)?;
    let to = match &args.to {
        Some(name) => named(&log, name)?,
        None => {
            let before = log
                .published()
                .into_iter()
                .rfind(|id| id.number() < now.number());
            before.cloned().ok_or_else(|| {
                Failure::new(
                    Exit::Failed,
                    format!("generation {} is the first one", now.number()),
                )
                .hint("`homebrew-sync generations` lists those that are there")
            })?
        }
    };
    // The current one too: an attempt that was cut off may have left files of another one in place.
    let settled = rollback::roll_back(&store, &to).await;
    let settled = settled.map_err(|error| failures::of_rollback(&error))?;
    if settled.id != to {
        let text = format!("another run has published {} meanwhile", settled.id);
        return Err(Failure::new(Exit::Failed, text).hint("run this again, if it is still wanted"));
    }
    match ui.is_json() {
        true => ui.json(&json!({"from": now.to_string(), "to": to.to_string()})),
        false if to == now => ui.out(format!(
            "Generation {} is the current one already.",
            to.number()
        )),
        false => ui.out(format!(
            "Generation {} is the current one now; it was {}.",
            to.number(),
            now.number()
        )),
    }
    Ok(Exit::Ok)
}

pub(super) async fn prune(
    args: &PruneArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let store = place.open(env).await?;
    let options = PruneOptions {
        keep: args.keep as usize,
        grace: args.grace,
        dry_run: args.dry_run,
        now: Timestamp::now(),
    };
    let mut dropped = Vec::new();
    for name in &args.drop {
        let damaged = prune::damaged(&store, name).await;
        dropped.push(damaged.map_err(|error| failures::of_drop(&error))?);
    }
    let pruned = prune::prune_dropping(&store, options, &dropped)
        .await
        .map_err(|error| failures::of_log(&error))?;
    if ui.is_json() {
        ui.json(&pruned);
        return Ok(Exit::Ok);
    }
    let would = if args.dry_run {
        "Would remove"
    } else {
        "Removed"
    };
    ui.out(format!(
        "{would} {} and {} of {}.",
        human::count(pruned.generations.len() as u64, "generation"),
        human::count(pruned.objects, "object"),
        human::bytes(pruned.bytes),
    ));
    if !pruned.waiting.is_empty() {
        ui.status(format!(
            "{} stay for now: clients may have used them within the last {}.",
            human::count(pruned.waiting.len() as u64, "generation"),
            human::duration(args.grace),
        ));
    }
    Ok(Exit::Ok)
}
