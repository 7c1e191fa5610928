//! Switching a batch over.
//!
//! What must hold: the intent is durable, here and in the target, before the ledger is asked; what the ledger said is
//! written down; objects of items that somebody else changed meanwhile are taken away again, if this run made them and no row names
//! them; an item whose source was changed after it was read is not switched, unless it is already.

use super::copy::Ready;
use super::shared::{Shared, exception, item_exception, locked};
use super::unnamed;
use crate::error::RunError;
use crate::item::{Blob, Item, Stamp};
use crate::journal::Line;
use crate::ledger::Outcome;
use crate::observer::Event;
use crate::report::ExceptionKind;
use jiff::Timestamp;

/// Switches a batch over.
pub(super) async fn commit(shared: &Shared, batch: Vec<Ready>) -> Result<(), RunError> {
    let batch = without_changed(shared, batch).await?;
    if batch.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = batch.iter().map(|ready| ready.item.id.clone()).collect();
    shared.steps.take("committing")?;
    shared
        .journal
        .append(&Line::Committing { ids: ids.clone() })?;
    shared.journal.sync().await?;
    shared.steps.take("intent durable")?;
    shared.copy_journal().await?;
    shared.steps.take("intent copied")?;
    let items: Vec<Item> = batch.iter().map(|ready| ready.item.clone()).collect();
    let outcomes = shared.switch(&items, false).await?;
    shared.steps.take("switched")?;
    // First the objects: if this is not reached, asking the ledger again gives the same answer.
    take_back(shared, &batch, &outcomes).await?;
    count(shared, &outcomes);
    for (ready, outcome) in batch.iter().zip(&outcomes) {
        note_others(shared, &ready.item, outcome)?;
    }
    shared.steps.take("taken back")?;
    let line = Line::Committed {
        time: Timestamp::now(),
        outcomes: ids.into_iter().zip(outcomes).collect(),
    };
    shared.journal.append(&line)?;
    shared.journal.flush()?;
    shared.steps.take("committed")
}

/// Leaves out items whose source was changed after it was copied: the object is of what it was. The next run plans them anew.
async fn without_changed(shared: &Shared, batch: Vec<Ready>) -> Result<Vec<Ready>, RunError> {
    let wanted = batch.iter().flat_map(stamped);
    let blobs = wanted.map(|(blob, _, _)| blob.clone()).collect();
    let mut found = shared.source.look(blobs).await.into_iter();
    let mut same = Vec::with_capacity(batch.len());
    for ready in batch {
        let mut changed = None;
        for (blob, size, was) in stamped(&ready) {
            // One that is gone, or cannot be looked at, has its bytes in the object.
            let now = found.next().flatten();
            let differs = now.is_some_and(|(size_now, now)| {
                (size_now, now.mtime_s, now.mtime_ns) != (size, was.mtime_s, was.mtime_ns)
            });
            if differs && changed.is_none() {
                changed = Some(blob);
            }
        }
        match changed {
            None => same.push(ready),
            Some(blob) => leave_out(shared, &ready, blob).await?,
        }
    }
    Ok(same)
}

/// The blobs of an item of which it is known how they were when they were read.
fn stamped(ready: &Ready) -> impl Iterator<Item = (&Blob, u64, Stamp)> {
    let blobs = ready.item.blobs.iter().zip(&ready.blobs);
    // Of one that is switched over the row names the object, and the source is nobody's any more.
    let blobs = blobs.filter(|_| !ready.is_switched);
    blobs.filter_map(|(blob, stored)| {
        let stored = stored.as_ref()?;
        Some((blob, stored.size, stored.stamp?))
    })
}

async fn leave_out(shared: &Shared, ready: &Ready, blob: &Blob) -> Result<(), RunError> {
    shared.steps.take("leaving out")?;
    remove(shared, &made(shared, ready).await?).await?;
    let message = "the source was changed after it was copied, so the item was not switched over";
    let remedy = "run again: it is copied anew as it is now";
    let kind = ExceptionKind::SourceChanged;
    let exception = exception(&ready.item, blob, kind, message, remedy);
    shared.journal.append(&Line::LeftOut {
        id: ready.item.id.clone(),
        exception: exception.clone(),
    })?;
    shared.report().left_out += 1;
    shared.note(exception);
    Ok(())
}

fn count(shared: &Shared, outcomes: &[Outcome]) {
    let mut report = shared.report();
    let mut n_done = 0;
    for outcome in outcomes {
        match outcome {
            Outcome::Done => n_done += 1,
            Outcome::AlreadyDone => {
                n_done += 1;
                report.already_done += 1;
            }
            Outcome::Changed(_) => report.changed += 1,
            Outcome::Gone(_) => report.gone += 1,
        }
    }
    report.committed += n_done;
    drop(report);
    shared.observer.event(Event::Committed { items: n_done });
}

/// Writes down what somebody else did to an item.
pub(super) fn note_others(shared: &Shared, item: &Item, outcome: &Outcome) -> Result<(), RunError> {
    let (kind, message, remedy) = match outcome {
        Outcome::Done | Outcome::AlreadyDone => return Ok(()),
        Outcome::Changed(now) => (
            ExceptionKind::ItemChanged,
            format!("somebody changed it meanwhile: it now has '{now}'"),
            "run again: it is planned anew as it is now",
        ),
        Outcome::Gone(what) => (
            ExceptionKind::ItemGone,
            format!("somebody removed it meanwhile: {what}"),
            "nothing is to be done",
        ),
    };
    shared.remark(item_exception(item, kind, message, remedy))
}

/// Removes objects that this run made for items that were not switched over.
async fn take_back(shared: &Shared, batch: &[Ready], outcomes: &[Outcome]) -> Result<(), RunError> {
    let mut keys = Vec::new();
    for (ready, outcome) in batch.iter().zip(outcomes) {
        if !outcome.is_done() {
            keys.extend(made(shared, ready).await?);
        }
    }
    remove(shared, &keys).await
}

/// Collects the keys of the objects that this run made for an item, that no other item has and no row names.
async fn made(shared: &Shared, ready: &Ready) -> Result<Vec<String>, RunError> {
    let mut keys = Vec::new();
    let made = ready.item.blobs.iter().zip(&ready.blobs);
    let made = made.filter(|(_, stored)| stored.as_ref().is_some_and(|stored| stored.created));
    for (blob, _) in made {
        let may_have_twin = ready.is_resumed || locked(&shared.twins).contains(&blob.key);
        if may_have_twin && is_needed_by_another(shared, &ready.item.id, &blob.key)? {
            tracing::debug!(key = %blob.key, "kept: another item has the key");
        } else {
            keys.push(blob.key.clone());
        }
    }
    if !keys.is_empty() && !unnamed::may_go(shared, &ready.item, &keys).await? {
        keys.clear();
    }
    Ok(keys)
}

async fn remove(shared: &Shared, keys: &[String]) -> Result<(), RunError> {
    if keys.is_empty() {
        return Ok(());
    }
    shared.patiently(|| shared.target.delete(keys)).await?;
    let n = keys.len() as u64;
    shared.report().objects_removed += n;
    shared.observer.event(Event::ObjectsRemoved { objects: n });
    Ok(())
}

/// Looks through the whole journal; only items that share a key with another need it.
fn is_needed_by_another(shared: &Shared, id: &str, key: &str) -> Result<bool, RunError> {
    for entry in shared.journal.entries(|_| true) {
        let item = entry?.item;
        if item.id != id && item.blobs.iter().any(|blob| blob.key == key) {
            return Ok(true);
        }
    }
    Ok(false)
}
