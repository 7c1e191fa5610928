//! `homebrew-sync scrub`: reads what is stored, and compares it with its digests.
//!
//! What must hold: whatever the store says of a digest, the bytes are read; what is wrong is named by its key.
//!
//! It deliberately changes nothing.

use super::args::ScrubArgs;
use super::failures;
use super::generations::{current, open, read};
use super::mirror::Place;
use crate::log::{Generation, Held};
use console::{Env, Exit, Failure, Ui, human};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use store::{ErrorKind, Store};
use transfer::Digest;

/// So many objects are read at once.
const AT_ONCE: usize = 8;

/// Runs `scrub`.
pub(super) async fn run(
    args: &ScrubArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let (store, log) = open(place, env).await?;
    let id = current(&log, &store)?;
    let generation = read(&store, &id).await?;
    let (read_bottles, mut wrong) = wrong_bottles(args, &store, &generation, ui).await?;
    wrong.extend(wrong_files(&store, &generation).await?);
    let copies = crate::publish::wrong_copies(&store, &log, (&id, &generation)).await;
    wrong.extend(copies.map_err(|error| failures::of_log(&error))?);
    wrong.sort();
    if ui.is_json() {
        ui.json(&json!({"read": read_bottles, "wrong": wrong}));
    } else {
        ui.out(format!(
            "Read {}; {} wrong.",
            human::count(read_bottles, "bottle"),
            human::number(wrong.len() as u64)
        ));
    }
    for line in &wrong {
        ui.warn(console::visible_line(line));
    }
    if wrong.is_empty() {
        return Ok(Exit::Ok);
    }
    ui.hint("Remove the bottles and manifests that are named here from the store, then `homebrew-sync sync --check` fetches them again; files of the API it puts right by itself. Where there is no upstream, `homebrew-sync bundle import DIR --again` with a bundle that holds everything of this generation puts all of it right. A copy below .syncline/mirror/files/ of a file of the current generation is made anew by `sync --check`; a generation that needs another copy cannot be gone back to, and goes with `homebrew-sync prune`.");
    Ok(Exit::Corrupt)
}

/// Reads the bottles of a generation, or a part of them; returns how many, and which are wrong.
async fn wrong_bottles(
    args: &ScrubArgs,
    store: &Store,
    generation: &Generation,
    ui: &Ui,
) -> Result<(u64, Vec<String>), Failure> {
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
            let progress = &progress;
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
    Ok((blobs.len() as u64, wrong))
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
