//! The commands about what the mirror holds: `generations`, `diff`, `rollback`, `prune`, `scrub`.

use super::args::{DiffArgs, PruneArgs, RollbackArgs, ScrubArgs};
use super::failures;
use super::mirror::Place;
use crate::diff::Kind;
use crate::log::{self, Generation, GenerationId, Held, Log, LogError};
use crate::prune::{self, PruneOptions};
use crate::rollback;
use console::{Env, Exit, Failure, Table, Ui, human};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use store::{ErrorKind, Store};
use transfer::Digest;

/// So many objects are read at once by a scrub.
const AT_ONCE: usize = 8;

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
        [] => Err(
            Failure::new(Exit::Failed, format!("there is no generation {name}"))
                .hint("`homebrew-sync generations` lists those that are there"),
        ),
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
            Err(LogError::Damaged { why, .. }) => {
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

pub(super) async fn scrub(
    args: &ScrubArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let generation = read(&store, &current(&log, &store)?).await?;
    let mut blobs: BTreeMap<String, &Held> = generation
        .bottles
        .iter()
        .map(|held| (held.blob_key(), held))
        .collect();
    let day = u64::try_from(Timestamp::now().as_second() / 86_400).unwrap_or(0);
    // Digests are evenly spread, so a part of them is a part of the bottles; each day another.
    blobs.retain(|_, held| {
        let place = u64::from_str_radix(held.sha256.get(..8).unwrap_or("0"), 16).unwrap_or(0);
        (place + day * u64::from(args.sample)) % 100 < u64::from(args.sample)
    });
    let progress = ui.progress(Some(blobs.len() as u64), "reading bottles");
    let outcomes = stream::iter(&blobs)
        .map(|(key, held)| {
            let (store, progress) = (&store, &progress);
            async move {
                let outcome = read_back(store, key, &held.sha256).await;
                progress.inc(1);
                (key, outcome)
            }
        })
        .buffer_unordered(AT_ONCE);
    let outcomes: Vec<_> = outcomes.collect().await;
    progress.finish();
    let mut wrong = Vec::new();
    for (key, outcome) in outcomes {
        match outcome {
            Ok(true) => {}
            Ok(false) => wrong.push(format!("{key}: other bytes than its digest says")),
            Err(error) if error.kind() == ErrorKind::NotFound => wrong.push(format!("{key}: gone")),
            Err(error) => return Err(failures::of_store(&error)),
        }
    }
    wrong.extend(wrong_files(&store, &generation).await?);
    wrong.sort();
    if ui.is_json() {
        ui.json(&json!({"read": blobs.len(), "wrong": wrong}));
    } else {
        ui.out(format!(
            "Read {}; {} wrong.",
            human::count(blobs.len() as u64, "bottle"),
            human::number(wrong.len() as u64)
        ));
    }
    for line in &wrong {
        ui.warn(console::visible_line(line));
    }
    if wrong.is_empty() {
        return Ok(Exit::Ok);
    }
    ui.hint("Remove the bottles and manifests that are named here from the store, then `homebrew-sync sync --check` fetches them again; files of the API it puts right by itself. Where there is no upstream, `homebrew-sync bundle import DIR --again` with a bundle that holds everything of this generation puts all of it right.");
    Ok(Exit::Corrupt)
}

/// Reads the manifests and the API's files under their names, where clients of plain files find them; names those that are not as the generation
/// has them.
async fn wrong_files(store: &Store, generation: &Generation) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    let manifests = generation.manifests.iter();
    let manifests = manifests.map(|(key, entry)| (key.clone(), entry));
    let api = generation.api.iter();
    let api = api.map(|(path, entry)| (crate::plan::api_key(path), &entry.file));
    let names = crate::flat::wrong(store, generation).await;
    for (key, to) in names.map_err(|error| failures::of_store(&error))? {
        wrong.push(format!("{key}: does not stand for {to}"));
    }
    for (key, entry) in manifests.chain(api) {
        match store.get(&key).await {
            Ok(bytes) if Digest::of(&bytes) == entry.sha256 => {}
            Ok(_) => wrong.push(format!("{key}: other bytes than the generation has")),
            Err(error) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()) => {
                wrong.push(format!("{key}: gone or cut"));
            }
            Err(error) => return Err(failures::of_store(&error)),
        }
    }
    Ok(wrong)
}

/// Reads an object whatever the store says of its digest: a scrub is to find what the store does not know.
async fn read_back(store: &Store, key: &str, sha256: &str) -> Result<bool, store::StoreError> {
    let mut body = store.read(key, None).await?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    while let Some(bytes) = body.next().await {
        match bytes {
            Ok(bytes) => context.update(&bytes),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    let found: String = context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(found == sha256)
}
