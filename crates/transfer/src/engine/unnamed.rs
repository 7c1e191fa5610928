//! Whether somebody needs an object that is to be taken away, or a source.
//!
//! What must hold: an object that a row names stays, whatever this run's journal says of it: another run may have taken it over. So does one that a
//! run of others needs, over a database that the ledger does not know.
//!
//! It deliberately asks for whole items: the ledger knows what an item names, not which key that is.

use super::shared::{Shared, exception};
use crate::error::RunError;
use crate::item::{Blob, Item};
use crate::journal::Entry;
use crate::ledger::Standing;
use crate::report::ExceptionKind;

const NAMED: &str =
    "the object was left where it is: a row names it, which another run may have switched to it";
const UNDO_OTHER: &str =
    "roll back the run that switched the row over, if any; then roll back this one again";
const UNDO_OTHERS: &str = "nothing, if the other one is to go on working with it: it is theirs now. Else roll that run back over its own database, then do \
                           this again";

/// Tells whether nothing names the objects of an item and nobody else needs them. Otherwise those with the given keys are named as kept.
pub(super) async fn may_go(
    shared: &Shared,
    item: &Item,
    keys: &[String],
) -> Result<bool, RunError> {
    let standing = shared.standing(std::slice::from_ref(item)).await?;
    if standing != [Standing::Unnamed] {
        keep(shared, item, keys)?;
        return Ok(false);
    }
    let free = only_unneeded(shared, vec![(item.clone(), keys.to_vec())]).await?;
    Ok(!free.is_empty())
}

/// Names objects of an item that stay because something names them.
pub(super) fn keep(shared: &Shared, item: &Item, keys: &[String]) -> Result<(), RunError> {
    for blob in item.blobs.iter().filter(|blob| keys.contains(&blob.key)) {
        name(shared, item, blob, NAMED, UNDO_OTHER)?;
    }
    Ok(())
}

/// Leaves out, and names, items of which a run of others needs an object that is to go. Asked right before each removal: such a run may have begun since.
pub(super) async fn only_unneeded(
    shared: &Shared,
    items: Vec<(Item, Vec<String>)>,
) -> Result<Vec<(Item, Vec<String>)>, RunError> {
    let keys = items.iter().flat_map(|(_, keys)| keys);
    let keys: Vec<&str> = keys.map(String::as_str).collect();
    let others = shared.keepers.of_target.as_deref();
    let mut reasons = match keys.is_empty() {
        true => Vec::new(),
        false => shared.why_kept(others, &keys).await?,
    }
    .into_iter();
    let mut free = Vec::with_capacity(items.len());
    for (item, keys) in items {
        let mut is_free = true;
        for (key, reason) in keys.iter().zip(reasons.by_ref().take(keys.len())) {
            let (Some(reason), Some(blob)) = (reason, item.blobs.iter().find(|it| it.key == *key))
            else {
                continue;
            };
            is_free = false;
            let message = format!("the object was left where it is: {reason}");
            name(shared, &item, blob, &message, UNDO_OTHERS)?;
        }
        if is_free {
            free.push((item, keys));
        }
    }
    Ok(free)
}

/// Leaves out, and names, items of which a run of others needs a source that is to go.
pub(super) async fn only_unneeded_sources(
    shared: &Shared,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, RunError> {
    let sources = entries.iter().flat_map(|entry| &entry.item.blobs);
    let sources: Vec<&str> = sources.map(|blob| blob.source.as_str()).collect();
    let others = shared.keepers.of_source.as_deref();
    let mut reasons = match sources.is_empty() {
        true => Vec::new(),
        false => shared.why_kept(others, &sources).await?,
    }
    .into_iter();
    let mut free = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut is_free = true;
        let blobs = &entry.item.blobs;
        for (blob, reason) in blobs.iter().zip(reasons.by_ref().take(blobs.len())) {
            if let Some(reason) = reason {
                is_free = false;
                let message = format!("the source was kept: {reason}");
                name(shared, &entry.item, blob, &message, UNDO_OTHERS)?;
            }
        }
        if is_free {
            free.push(entry);
        }
    }
    Ok(free)
}

fn name(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    message: &str,
    remedy: &str,
) -> Result<(), RunError> {
    let kind = ExceptionKind::ObjectKept;
    shared.remark(exception(item, blob, kind, message, remedy))
}
