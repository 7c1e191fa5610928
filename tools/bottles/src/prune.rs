//! Taking away what no kept generation needs.
//!
//! What must hold: what a kept generation names stays; nothing goes that was needed within the grace period, because clients refresh their API
//! files at their leisure; what another run has just stored and not published yet is younger than that.

use crate::log::{self, GenerationId, Log, LogError, OWN};
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use store::Store;

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// So many generations, the current one counted.
    pub keep: usize,
    /// What was current, or was stored, within this time stays.
    pub grace: Duration,
    /// Only look.
    pub dry_run: bool,
    /// The time.
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
/// If the store fails, or a generation that is kept cannot be read: then nothing is known to be needless.
pub async fn prune(store: &Store, options: PruneOptions) -> Result<Pruned, LogError> {
    let log = Log::read(store).await?;
    let edge = SystemTime::from(options.now)
        .checked_sub(options.grace)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let mut pruned = Pruned::default();
    let (kept, going) = sort_out(&log, options.keep.max(1), edge, &mut pruned);
    let mut named = BTreeSet::new();
    for id in &kept {
        let generation = log::read(store, id).await?;
        for held in &generation.bottles {
            named.insert(held.blob_key());
        }
        named.extend(generation.manifests.keys().cloned());
        let files = generation.manifests.values().map(|entry| entry.sha256);
        let api = generation.api.values().map(|entry| entry.file.sha256);
        named.extend(files.chain(api).map(log::kept_key));
    }
    let mut needless = Vec::new();
    for prefix in [crate::names::CORE.to_owned(), format!("{OWN}/files")] {
        let mut entries = store.list_stream(&prefix);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if !named.contains(&entry.key) && entry.modified <= edge {
                pruned.objects += 1;
                pruned.bytes += entry.size;
                needless.push(entry.key);
            }
        }
    }
    pruned.generations = going.iter().map(GenerationId::to_string).collect();
    if !options.dry_run {
        // The log first: a generation whose files are half gone must not be there to go back to.
        log::forget(store, &log, &going).await?;
        for keys in needless.chunks(1000) {
            store.delete(keys).await?;
        }
    }
    Ok(pruned)
}

/// Divides the generations into those that stay and those that go.
fn sort_out(
    log: &Log,
    keep: usize,
    edge: SystemTime,
    pruned: &mut Pruned,
) -> (Vec<GenerationId>, Vec<GenerationId>) {
    let published = log.published();
    let first_kept = published.len().saturating_sub(keep);
    let (mut kept, mut going) = (Vec::new(), Vec::new());
    for (place, id) in published.iter().enumerate() {
        // It was current until the next mark was set.
        let last = log.marks.iter().rposition(|mark| mark.generation == **id);
        let until = last
            .and_then(|last| log.marks.get(last + 1))
            .map(|next| next.written);
        let was_needed = until.is_none_or(|until| until > edge);
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
        if !published.contains(&id) {
            match *written > edge {
                true => kept.push(id.clone()),
                false => going.push(id.clone()),
            }
        }
    }
    (kept, going)
}
