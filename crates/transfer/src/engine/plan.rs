//! Writing the plan of a batch, and finding what an earlier process left of it.

use super::copy::{Pending, Ready};
use super::refused;
use super::shared::{Shared, item_exception, joined, locked, side_by_side};
use crate::error::RunError;
use crate::item::Item;
use crate::journal::{Entry, Line, State};
use crate::keyset::KeySet;
use crate::ledger::{Outcome, Standing};
use crate::observer::Event;
use crate::report::ExceptionKind;
use jiff::Timestamp;
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

/// Returns the items that were planned and not stored, and, in batches, those that were stored and not switched over for certain. One of which an
/// object is not there any more, because somebody has removed it since or another run was undone, counts as not stored. The ledger is asked first:
/// one that is switched over already is switched over, whatever became of its objects and sources.
pub(super) async fn unfinished(
    shared: &Arc<Shared>,
) -> Result<(Vec<Pending>, Vec<Vec<Ready>>), RunError> {
    let wanted = [State::Planned, State::Stored, State::Committing];
    let places = shared.journal.places(|state| wanted.contains(&state));
    let reading = shared.clone();
    let read = move || {
        let entries = places.into_iter().map(|place| {
            let entry = reading.journal.read(place)?;
            remember_keys(&reading, &entry);
            Ok::<_, RunError>((place, entry))
        });
        entries.collect::<Result<Vec<_>, _>>()
    };
    let entries = joined(tokio::task::spawn_blocking(read).await)??;
    let items: Vec<Item> = entries
        .iter()
        .map(|(_, entry)| entry.item.clone())
        .collect();
    let standing = shared.standing(&items).await?;
    drop(items);
    let work = |shared: Arc<Shared>, ((place, entry), standing): ((u64, Entry), Standing)| async move {
        let is_there = entry.state != State::Planned && objects_are_there(&shared, &entry).await?;
        Ok((place, entry, is_there, standing == Standing::Switched))
    };
    let (mut pending, mut stored) = (Vec::new(), Vec::new());
    let entries = entries.into_iter().zip(standing).collect();
    for (place, entry, is_there, is_switched) in side_by_side(shared, entries, work).await? {
        if is_switched && entry.state == State::Planned {
            pass_over(shared, entry.item)?;
            continue;
        }
        if is_switched && !is_there {
            leads_nowhere(shared, &entry.item)?;
        }
        if is_there || is_switched {
            stored.push(Ready {
                item: entry.item,
                blobs: entry.stored,
                is_resumed: true,
                is_switched,
            });
            continue;
        }
        pending.push(once_more(shared, place, entry)?);
    }
    shared.journal.sync().await?;
    let size = shared.limits.batch.max(1);
    Ok((
        pending,
        stored.chunks(size).map(<[Ready]>::to_vec).collect(),
    ))
}

/// Notes that an item is to be copied once more, unless the journal says so already.
fn once_more(shared: &Shared, place: u64, entry: Entry) -> Result<Pending, RunError> {
    let Entry {
        item, fresh, state, ..
    } = entry;
    let place = match state {
        State::Planned => place,
        _ => shared.journal.append(&Line::Planned {
            item: item.clone(),
            fresh: fresh.clone(),
        })?,
    };
    Ok(Pending {
        item,
        place,
        is_uncertain: true,
        // It may have been a twin, so it waits for those before it.
        is_twin: fresh.contains(&false),
        fresh,
    })
}

/// Gives an item up that was only planned here and that somebody else has switched over since.
fn pass_over(shared: &Shared, item: Item) -> Result<(), RunError> {
    let message = "another run has switched it over since it was planned; nothing was done";
    let remedy = "nothing is to be done; a rollback of that run undoes it";
    let kind = ExceptionKind::ItemChanged;
    shared.remark(item_exception(&item, kind, message, remedy))?;
    shared.report().changed += 1;
    let outcome = Outcome::Changed(message.to_owned());
    shared.journal.append(&Line::Committed {
        time: Timestamp::now(),
        outcomes: vec![(item.id, outcome)],
    })?;
    Ok(())
}

/// Names an item that is switched over to an object that is gone.
fn leads_nowhere(shared: &Shared, item: &Item) -> Result<(), RunError> {
    let message = "it is switched over, and an object of it is gone or has another size";
    let remedy =
        "verify the run; what is wrong is put right by rolling back, while the source is there";
    let kind = ExceptionKind::ObjectMissing;
    shared.remark(item_exception(item, kind, message, remedy))
}

/// Tells whether all objects of an item are there that were stored, as long as they were.
async fn objects_are_there(shared: &Shared, entry: &Entry) -> Result<bool, RunError> {
    for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
        let Some(stored) = stored else { continue };
        match shared.patiently(|| shared.target.head(&blob.key)).await {
            Ok(found) if found.size == stored.size => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            // Whoever copies it anew meets the same, and leaves it out.
            Err(error) if refused::is_alone(shared, &blob.key, &error).await => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn remember_keys(shared: &Shared, entry: &Entry) {
    let mut planned = locked(&shared.planned);
    for blob in &entry.item.blobs {
        planned.insert(&blob.key);
    }
}

/// Aborts the uploads in parts that the journal says are open.
pub(super) async fn abort_noted_uploads(shared: &Shared) -> Result<(), RunError> {
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
    Ok(())
}

/// Gives up uploads in parts that earlier processes began for this run and did not end.
pub(super) async fn abort_uploads(shared: &Shared) -> Result<(), RunError> {
    abort_noted_uploads(shared).await?;
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
