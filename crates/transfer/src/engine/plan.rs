//! Writing the plan of a batch, and finding what an earlier process left of it.

use super::copy::{Pending, Ready};
use super::shared::{Shared, joined, locked};
use crate::error::RunError;
use crate::item::Item;
use crate::journal::{Entry, Line, State};
use crate::keyset::KeySet;
use crate::observer::Event;
use std::collections::HashSet;
use std::sync::Arc;
use store::ErrorKind;

/// Writes the lines of a batch, and makes them durable.
pub(super) async fn write(shared: Arc<Shared>, items: Vec<Item>) -> Result<Vec<Pending>, RunError> {
    let existing = shared.existing().await?;
    shared.steps.take("planning")?;
    let mut pending = Vec::with_capacity(items.len());
    let mut bytes = 0;
    for item in items {
        let (fresh, is_twin) = look_up(&shared, &item, existing);
        bytes += item.blobs.iter().filter_map(|blob| blob.size).sum::<u64>();
        let line = Line::Planned { item, fresh };
        let place = shared.journal.append(&line)?;
        let Line::Planned { item, fresh } = line else {
            continue;
        };
        pending.push(Pending {
            item,
            fresh,
            place,
            is_uncertain: false,
            is_twin,
        });
    }
    shared.journal.sync().await?;
    shared.steps.take("planned")?;
    let items = pending.len() as u64;
    shared.report().planned += items;
    shared.observer.event(Event::Planned { items, bytes });
    Ok(pending)
}

/// Tells of each key of an item whether it is new to the target and to this run, and whether another item of the run has one.
fn look_up(shared: &Shared, item: &Item, existing: &KeySet) -> (Vec<bool>, bool) {
    let (mut planned, mut twins) = (locked(&shared.planned), locked(&shared.twins));
    let mut has_twin = false;
    let keys = item.blobs.iter().map(|blob| blob.key.as_str());
    let fresh = keys.map(|key| {
        let is_new = planned.insert(key);
        if !is_new {
            twins.insert(key);
            has_twin = true;
        }
        is_new && !existing.contains(key)
    });
    (fresh.collect(), has_twin)
}

/// Returns the items that were planned and not stored, and, in batches, those that were stored and not switched over for certain.
pub(super) async fn unfinished(
    shared: &Arc<Shared>,
) -> Result<(Vec<Pending>, Vec<Vec<Ready>>), RunError> {
    let shared = shared.clone();
    let read = move || {
        let (mut pending, mut stored) = (Vec::new(), Vec::new());
        let wanted = [State::Planned, State::Stored, State::Committing];
        for place in shared.journal.places(|state| wanted.contains(&state)) {
            let entry = shared.journal.read(place)?;
            remember_keys(&shared, &entry);
            match entry.state {
                State::Planned => pending.push(Pending {
                    item: entry.item,
                    // It may have been a twin, so it waits for those before it.
                    is_twin: entry.fresh.contains(&false),
                    fresh: entry.fresh,
                    place,
                    is_uncertain: true,
                }),
                _ => stored.push(Ready {
                    item: entry.item,
                    blobs: entry.stored,
                    is_resumed: true,
                }),
            }
        }
        let size = shared.limits.batch.max(1);
        let batches = stored.chunks(size).map(<[Ready]>::to_vec).collect();
        Ok::<_, RunError>((pending, batches))
    };
    joined(tokio::task::spawn_blocking(read).await)?
}

fn remember_keys(shared: &Shared, entry: &Entry) {
    let mut planned = locked(&shared.planned);
    for blob in &entry.item.blobs {
        planned.insert(&blob.key);
    }
}

/// Gives up uploads in parts that earlier processes began for this run and did not end.
pub(super) async fn abort_uploads(shared: &Shared) -> Result<(), RunError> {
    for (key, id) in shared.journal.open_uploads() {
        let aborted = shared.patiently(|| shared.target.abort_upload(&key, &id));
        match aborted.await {
            Ok(()) => {
                shared.journal.append(&Line::UploadEnded { id })?;
            }
            // Some servers answer so where the upload was completed, and not everybody may abort one. It costs space, nothing else.
            Err(error) if error.kind() == ErrorKind::Permission => {
                tracing::warn!(key, %error, "an upload in parts may be left behind");
            }
            Err(error) => return Err(error.into()),
        }
    }
    // One may have been begun whose id did not reach the journal.
    let keys = large_unfinished_keys(shared)?;
    if keys.is_empty() {
        return Ok(());
    }
    let listed = shared
        .patiently(|| shared.target.abandoned_uploads(""))
        .await;
    let uploads = match listed {
        Ok(uploads) => uploads,
        // Not every server lists them, nor may everybody.
        Err(error)
            if [
                ErrorKind::Unsupported,
                ErrorKind::Permission,
                ErrorKind::Other,
            ]
            .contains(&error.kind()) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for upload in uploads.iter().filter(|upload| keys.contains(&upload.key)) {
        let aborted = shared.patiently(|| shared.target.abort_upload(&upload.key, &upload.id));
        aborted.await?;
    }
    Ok(())
}

fn large_unfinished_keys(shared: &Shared) -> Result<HashSet<String>, RunError> {
    let mut keys = HashSet::new();
    let least = shared
        .limits
        .part_size
        .min(shared.limits.multipart_threshold);
    for entry in shared.journal.entries(|state| state == State::Planned) {
        for blob in entry?.item.blobs {
            if blob.size.is_none_or(|size| size > least) {
                keys.insert(blob.key);
            }
        }
    }
    Ok(keys)
}
