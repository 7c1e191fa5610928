//! Two runs at once, and a mirror without its log.
//!
//! What must hold: what either of two runs has published is in what is current at the end; whoever merges the same two makes the same
//! third, byte for byte.

use crate::log::{self, Generation, GenerationId, Held, Log, LogError};
use crate::manifest::Index;
use crate::names;
use crate::publish;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{Store, StoreError};

/// Looks whether another run has published since `seen` was read, and if so publishes what both have.
///
/// # Errors
/// If the store fails.
pub(super) async fn with_others(
    store: &Store,
    seen: &Log,
    mut id: GenerationId,
    mut own: Generation,
) -> Result<(GenerationId, Generation), LogError> {
    let mut known: BTreeSet<GenerationId> = seen
        .marks
        .iter()
        .map(|mark| mark.generation.clone())
        .collect();
    loop {
        known.insert(id.clone());
        let log = Log::read(store).await?;
        let other = log
            .marks
            .iter()
            .map(|mark| &mark.generation)
            .find(|other| !known.contains(*other));
        let Some(other) = other.cloned() else {
            return Ok((id, own));
        };
        known.insert(other.clone());
        if !log.generations.contains_key(&other) {
            continue;
        }
        let theirs = log::read(store, &other).await?;
        let merged = union(&own, &id, &theirs, &other);
        if merged.bottles == own.bottles
            && merged.api == own.api
            && merged.selection == own.selection
        {
            // Theirs is in ours already; but ours must be the one that holds.
            if log.current() != Some(&id) {
                publish::switch_to(store, &log, &theirs, &own, &id).await?;
            }
            continue;
        }
        let merged_id = log::write(store, &merged).await?;
        let now = match log.current() {
            Some(current) if *current == other => &theirs,
            _ => &own,
        };
        publish::switch_to(store, &log, now, &merged, &merged_id).await?;
        (id, own) = (merged_id, merged);
    }
}

/// Puts two generations together: all bottles of both, and the files of the later one.
fn union(a: &Generation, a_id: &GenerationId, b: &Generation, b_id: &GenerationId) -> Generation {
    let (older, newer) = match (a.created, a_id) < (b.created, b_id) {
        true => (a, b),
        false => (b, a),
    };
    let mut merged = Generation {
        number: a.number.max(b.number) + 1,
        base: Some(a_id.max(b_id).to_string()),
        ..newer.clone()
    };
    merged.selection.extend(older.selection.clone());
    for (path, entry) in &older.api {
        merged
            .api
            .entry(path.clone())
            .or_insert_with(|| entry.clone());
    }
    for (key, entry) in &older.manifests {
        merged
            .manifests
            .entry(key.clone())
            .or_insert_with(|| entry.clone());
    }
    let have: BTreeSet<_> = merged.bottles.iter().map(Held::bottle).collect();
    let added = older
        .bottles
        .iter()
        .filter(|held| !have.contains(&held.bottle()));
    merged.bottles.extend(added.cloned().collect::<Vec<_>>());
    merged.bottles.sort();
    merged
}

/// Reads what a mirror without a log holds, from its manifests and the list of its objects. Nothing is fetched from anywhere else.
///
/// # Errors
/// If the store fails.
pub(super) async fn read_back(
    store: &Store,
    present: &HashMap<String, u64>,
    now: Timestamp,
) -> Result<Generation, StoreError> {
    let prefix = format!("{}/", names::CORE);
    let mut generation = Generation::empty(now);
    let mut manifests = BTreeMap::new();
    for key in present.keys() {
        let Some((image, _)) = key
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once("/manifests/"))
        else {
            continue;
        };
        manifests.insert(key.clone(), image.to_owned());
    }
    for (key, image) in manifests {
        let bytes = store.get(&key).await?;
        let Ok(index) = Index::parse(&bytes) else {
            tracing::warn!(key, "a manifest cannot be read");
            continue;
        };
        for (bottle, size) in index.bottles(&image) {
            // The image does not say how the formula is written; the blob's key follows from the image alone.
            let held = Held {
                formula: bottle.formula,
                version: bottle.version,
                rebuild: bottle.rebuild,
                tag: bottle.tag,
                sha256: bottle.sha256,
                size,
                date: now.strftime("%Y-%m-%d").to_string(),
            };
            if present.contains_key(&held.blob_key()) {
                generation.bottles.push(Held {
                    formula: formula_of(&image),
                    ..held
                });
            }
        }
    }
    generation.bottles.sort();
    generation.bottles.dedup();
    Ok(generation)
}

/// Guesses how a formula is written whose image is known: `python/3.12` is `python@3.12`. That a `+` was an `x` cannot be seen.
fn formula_of(image: &str) -> String {
    image.replace('/', "@")
}
