//! Taking away what no kept generation needs.
//!
//! What must hold: what a kept generation names stays; a file of the API goes before the bottles that it names; nothing goes that was needed
//! within the grace period, because clients refresh their API files at their leisure; what another run has just stored and not published yet is
//! younger than that. Times are those of the store's clock. A prune says in the log that it is at work before it reads the log: who publishes or
//! goes back at the same moment writes first and reads then, so that one of the two sees the other. A prune that sees a rollback removes nothing:
//! what is current is about to change, or not. It goes on saying that it is at work, and removes nothing more once it could not say so for
//! minutes (`heart`). The files under their names are put right first: those that lay there may be another generation's, whose clients have the grace
//! period from then on (`needed`). What a damaged generation names is not known, so while one is kept nothing goes; a person may give it up by
//! its number (`dropping`).

mod dropping;
mod heart;
mod needed;

pub use dropping::{DropError, damaged};

pub use heart::Moment;

use crate::log::{self, GenerationId, Log, LogError, OWN, PruneSign};
use crate::plan::api_key;
use crate::publish::{self, Seen};
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{ErrorKind, Store};

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// So many generations, the current one counted.
    pub keep: usize,
    /// What was current, or was stored, within this time stays.
    pub grace: Duration,
    /// Only look.
    pub dry_run: bool,
    /// The time, for who only looks.
    pub now: Timestamp,
}

/// What went.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Pruned {
    /// Generations that went.
    pub generations: Vec<String>,
    /// Generations that would go, but were current within the grace period.
    pub waiting: Vec<String>,
    /// Objects that went.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Prunes.
///
/// # Errors
/// If the store fails, a generation that is kept cannot be read (then nothing is known to be needless), or it was held up.
pub async fn prune(store: &Store, options: PruneOptions) -> Result<Pruned, LogError> {
    prune_by(store, options, Moment::now).await
}

/// Prunes, and takes generations out of the log besides that are [`damaged`]: they are not kept, whatever else is.
///
/// # Errors
/// As [`prune`].
pub async fn prune_dropping(
    store: &Store,
    options: PruneOptions,
    dropped: &[GenerationId],
) -> Result<Pruned, LogError> {
    prune_all(store, options, dropped, Moment::now).await
}

/// Prunes, and sees by a clock whether it was held up.
///
/// # Errors
/// As [`prune`].
pub async fn prune_by(
    store: &Store,
    options: PruneOptions,
    clock: impl Fn() -> Moment,
) -> Result<Pruned, LogError> {
    prune_all(store, options, &[], clock).await
}

async fn prune_all(
    store: &Store,
    options: PruneOptions,
    dropped: &[GenerationId],
    clock: impl Fn() -> Moment,
) -> Result<Pruned, LogError> {
    if options.dry_run {
        let log = Log::read(store).await?;
        let now = SystemTime::from(options.now);
        let edge = now.checked_sub(options.grace).unwrap_or(UNIX_EPOCH);
        let is_settled = match log.current() {
            Some(id) => {
                let current = log::read(store, id).await?;
                publish::not_as_named(store, &current).await?.is_empty()
            }
            None => true,
        };
        let doomed = Box::pin(find(store, &log, (options.keep, dropped), edge, is_settled)).await?;
        return Ok(doomed.pruned);
    }
    let begun = clock();
    let sign = PruneSign::set(store, options.grace).await?;
    // In a place of its own: it is large, and whoever awaits it would be as large on the stack.
    let work = Box::pin(prune_announced(store, options, dropped, &sign));
    let outcome = heart::beat_during(store, &sign, begun, clock, work).await;
    // Whatever happened: while the note is there, nobody goes back.
    sign.remove(store).await?;
    // Now there is room for it, if it was given up.
    log::keep_reserve(store).await;
    outcome
}

async fn prune_announced(
    store: &Store,
    options: PruneOptions,
    dropped: &[GenerationId],
    sign: &PruneSign,
) -> Result<Pruned, LogError> {
    let log = Log::read(store).await?;
    let own = log.prunes.iter().find(|note| sign.is(note));
    let (now, edge) = own.map_or((UNIX_EPOCH, UNIX_EPOCH), |own| (own.written, own.edge()));
    if log.rollbacks.iter().any(|note| note.is_alive(now)) {
        return Err(LogError::RollingBack);
    }
    let stale = log.prunes.iter().filter(|note| !note.is_alive(now));
    let mut stale: Vec<String> = stale.flat_map(|note| note.keys.clone()).collect();
    stale.extend(log.rollbacks.iter().map(|note| note.key.clone()));
    let clocks = log.clocks.iter().filter(|(_, written)| *written <= edge);
    stale.extend(clocks.map(|(key, _)| key.clone()));
    store.delete(&stale).await?;
    let is_settled = settle(store).await?;
    // What was found to be right is right for what is current now, or for what came after.
    let log = Log::read(store).await?;
    let doomed = Box::pin(find(store, &log, (options.keep, dropped), edge, is_settled)).await?;
    // The log first: a generation whose files are half gone must not be there to go back to.
    log::forget(store, &log, &doomed.generations).await?;
    // What came into the log meanwhile, or was spared, needs its files.
    let after = Log::read(store).await?;
    let mut named = BTreeSet::new();
    for id in after.generations.keys() {
        if !doomed.kept.contains(id) {
            name(store, id, &mut named).await?;
        }
    }
    let mut pruned = Pruned {
        objects: 0,
        bytes: 0,
        ..doomed.pruned
    };
    // What makes clients ask goes first, and by itself: what is removed with one request may go in any order.
    for mut needless in [doomed.api, doomed.objects] {
        needless.retain(|(key, _)| !named.contains(key));
        for objects in needless.chunks(1000) {
            let keys: Vec<String> = objects.iter().map(|(key, _)| key.clone()).collect();
            store.delete(&keys).await?;
            pruned.objects += objects.len() as u64;
            pruned.bytes += objects.iter().map(|(_, size)| size).sum::<u64>();
        }
    }
    Ok(pruned)
}

/// Puts the files under their names right, which a run that died may have left as another generation has them; tells whether they are.
async fn settle(store: &Store) -> Result<bool, LogError> {
    let mut seen = Seen::default();
    match Box::pin(publish::settle_whole(store, &mut seen, None, None, None)).await {
        Ok(whole) => Ok(whole.is_none_or(|whole| whole.settled.lost.is_empty())),
        // Room is what it is to make.
        Err(LogError::Store(error)) if error.kind() == ErrorKind::QuotaOrDiskFull => Ok(false),
        Err(error) => Err(error),
    }
}

/// What nobody needs.
struct Doomed {
    kept: Vec<GenerationId>,
    generations: Vec<GenerationId>,
    /// Files of the API.
    api: Vec<(String, u64)>,
    objects: Vec<(String, u64)>,
    pruned: Pruned,
}

async fn find(
    store: &Store,
    log: &Log,
    (keep, dropped): (usize, &[GenerationId]),
    edge: SystemTime,
    is_settled: bool,
) -> Result<Doomed, LogError> {
    let mut pruned = Pruned::default();
    let settled = match is_settled {
        true => Some(needed::last_written(store).await?),
        false => None,
    };
    let (mut kept, generations) = sort_out(log, (keep.max(1), dropped), edge, settled, &mut pruned);
    // A mark goes before its generation: one without has lost it, and nobody knows what that named.
    kept.extend(log.lost().filter(|id| !dropped.contains(id)).cloned());
    let named = named_by(store, &kept).await?;
    let api = needless_api(store, &named, edge).await?;
    pruned.objects += api.len() as u64;
    pruned.bytes += api.iter().map(|(_, size)| size).sum::<u64>();
    let mut objects = Vec::new();
    if store.can_refer() {
        // They come first, so that nothing stands for what is gone.
        for found in store.references(crate::flat::ROOT).await? {
            // What leads elsewhere, or is a file, is somebody else's.
            let to = found.to.as_deref().unwrap_or_default();
            let is_ours = to.starts_with(crate::names::CORE);
            if is_ours && !named.contains(&found.key) && found.made <= edge {
                pruned.objects += 1;
                objects.push((found.key, 0));
            }
        }
    }
    for prefix in [crate::names::CORE.to_owned(), format!("{OWN}/files")] {
        let mut entries = store.list_stream(&prefix);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if !named.contains(&entry.key) && entry.modified <= edge {
                pruned.objects += 1;
                pruned.bytes += entry.size;
                objects.push((entry.key, entry.size));
            }
        }
    }
    // Where nothing says what is current nobody knows what is needed: the log is gone, or on another disk.
    if log.marks.is_empty() && !(api.is_empty() && objects.is_empty()) {
        let place = store.describe();
        return Err(LogError::NoLog { place });
    }
    pruned.generations = generations.iter().map(GenerationId::to_string).collect();
    Ok(Doomed {
        kept,
        generations,
        api,
        objects,
        pruned,
    })
}

/// Lists the API's files that no kept generation names: those of a platform that is mirrored no more name bottles that go. Only files that a run
/// could have put there are looked at.
async fn needless_api(
    store: &Store,
    named: &BTreeSet<String>,
    edge: SystemTime,
) -> Result<Vec<(String, u64)>, LogError> {
    let mut found = Vec::new();
    let mut entries = store.list_stream("api");
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let path = entry.key.strip_prefix("api/");
        let is_own = path.is_some_and(crate::plan::is_api_file);
        if is_own && !named.contains(&entry.key) && entry.modified <= edge {
            found.push((entry.key, entry.size));
        }
    }
    Ok(found)
}

/// Lists the keys of everything that is named by the generations that stay.
async fn named_by(store: &Store, kept: &[GenerationId]) -> Result<BTreeSet<String>, LogError> {
    let mut named = BTreeSet::new();
    let (mut damaged, mut whys) = (Vec::new(), Vec::new());
    for id in kept {
        match name(store, id, &mut named).await {
            // All of them are told at once: each is to be given up by itself.
            Err(LogError::Damaged { id, why, .. }) => {
                damaged.push(id);
                whys.push(why);
            }
            outcome => outcome?,
        }
    }
    match whys.into_iter().next() {
        None => Ok(named),
        Some(why) => Err(LogError::NeedsUnknown {
            ids: damaged,
            place: store.describe(),
            why,
        }),
    }
}

/// Adds the keys of everything that a generation names.
async fn name(
    store: &Store,
    id: &GenerationId,
    named: &mut BTreeSet<String>,
) -> Result<(), LogError> {
    let generation = log::read(store, id).await?;
    named.extend(generation.bottles.iter().map(log::Held::blob_key));
    named.extend(generation.manifests.keys().cloned());
    named.extend(generation.api.keys().map(|path| api_key(path)));
    named.extend(crate::flat::links(&generation).into_keys());
    let files = generation.manifests.values().map(|entry| entry.sha256);
    let api = generation.api.values().map(|entry| entry.file.sha256);
    named.extend(files.chain(api).map(log::kept_key));
    Ok(())
}

/// Divides the generations into those that stay and those that go.
fn sort_out(
    log: &Log,
    (keep, dropped): (usize, &[GenerationId]),
    edge: SystemTime,
    settled: Option<SystemTime>,
    pruned: &mut Pruned,
) -> (Vec<GenerationId>, Vec<GenerationId>) {
    // Who has put one back and gone back to it since it was looked at wants it.
    let is_dropped = |id: &GenerationId| dropped.contains(id) && log.current() != Some(id);
    let (mut kept, mut going) = (Vec::new(), Vec::new());
    let there = log.generations.keys().chain(log.lost());
    going.extend(there.filter(|id| is_dropped(id)).cloned());
    let mut published = log.published();
    published.retain(|id| !is_dropped(id));
    let first_kept = published.len().saturating_sub(keep);
    for (place, id) in published.iter().enumerate() {
        let last = log.marks.iter().rposition(|mark| mark.generation == **id);
        let was_needed = match last.map(|last| last + 1) {
            Some(next) if next < log.marks.len() => {
                needed::until(log, next, settled).is_none_or(|until| until > edge)
            }
            _ => true,
        };
        match (place >= first_kept, was_needed) {
            (true, _) => kept.push((*id).clone()),
            (false, true) => {
                pruned.waiting.push(id.to_string());
                kept.push((*id).clone());
            }
            (false, false) => going.push((*id).clone()),
        }
    }
    // One that was never current belongs to a run that works now, or to one that died long ago.
    for (id, written) in &log.generations {
        if !published.contains(&id) && !is_dropped(id) {
            let next = log.marks.iter().position(|mark| mark.written > *written);
            // It may have put its files in place before it died.
            let was_needed = *written > edge
                || match next {
                    Some(next) => needed::until(log, next, settled),
                    None => settled.filter(|_| !log.marks.is_empty()),
                }
                .is_none_or(|until| until > edge);
            match was_needed {
                true => kept.push(id.clone()),
                false => going.push(id.clone()),
            }
        }
    }
    (kept, going)
}
