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
use crate::others::Others;
use crate::report::ExceptionKind;

const NAMED: &str =
    "the object was left where it is: a row names it, which another run may have switched to it";
const UNDO_OTHER: &str =
    "roll back the run that switched the row over, if any; then roll back this one again";
const ALIKE: &str =
    "the object was left where it is: a row names one of this key, and does not say in which store";
const LOOK: &str = "if no application reads this store yet, remove the object, then run again";
const UNDO_OTHERS: &str = "nothing, if the other one is to go on working with it: it is theirs now. Else roll that run back over its own database, then do \
                           this again";

/// Tells whether nothing names the objects of an item and nobody else needs them. Otherwise those with the given keys are named as kept.
pub(super) async fn may_go(
    shared: &Shared,
    item: &Item,
    keys: &[String],
) -> Result<bool, RunError> {
    let standing = shared.standing(std::slice::from_ref(item)).await?;
    match standing[..] {
        [Standing::Unnamed] => {}
        [Standing::Alike] => {
            keep_as(shared, item, keys, ALIKE, LOOK)?;
            return Ok(false);
        }
        _ => {
            keep(shared, item, keys)?;
            return Ok(false);
        }
    }
    let free = only_unneeded(shared, vec![(item.clone(), keys.to_vec())]).await?;
    Ok(!free.is_empty())
}

/// Names objects of an item that stay because something names them.
pub(super) fn keep(shared: &Shared, item: &Item, keys: &[String]) -> Result<(), RunError> {
    keep_as(shared, item, keys, NAMED, UNDO_OTHER)
}

fn keep_as(
    shared: &Shared,
    item: &Item,
    keys: &[String],
    message: &str,
    remedy: &str,
) -> Result<(), RunError> {
    for blob in item.blobs.iter().filter(|blob| keys.contains(&blob.key)) {
        name(shared, item, blob, message, remedy)?;
    }
    Ok(())
}

/// Leaves out, and names, items of which a run of others needs an object that is to go. Asked right before each removal: such a run may have begun since.
pub(super) async fn only_unneeded(
    shared: &Shared,
    items: Vec<(Item, Vec<String>)>,
) -> Result<Vec<(Item, Vec<String>)>, RunError> {
    let others = shared.keepers.of_target.as_deref();
    let going = |(item, keys): &(Item, Vec<String>)| {
        let blobs = item.blobs.iter().filter(|blob| keys.contains(&blob.key));
        (
            item.clone(),
            blobs.map(|it| (it.clone(), it.key.clone())).collect(),
        )
    };
    sift(
        shared,
        others,
        items,
        going,
        "the object was left where it is",
    )
    .await
}

/// Leaves out, and names, items of which a run of others needs a source that is to go.
pub(super) async fn only_unneeded_sources(
    shared: &Shared,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, RunError> {
    let others = shared.keepers.of_source.as_deref();
    let going = |entry: &Entry| {
        let blobs = entry.item.blobs.iter();
        let blobs = blobs.map(|blob| (blob.clone(), blob.source.clone()));
        (entry.item.clone(), blobs.collect())
    };
    sift(shared, others, entries, going, "the source was kept").await
}

/// Leaves out what others need. `going` says of each thing whose it is, and which of its blobs are to go under which names.
async fn sift<T>(
    shared: &Shared,
    others: Option<&Others>,
    things: Vec<T>,
    going: impl Fn(&T) -> (Item, Vec<(Blob, String)>),
    what: &str,
) -> Result<Vec<T>, RunError> {
    let Some(others) = others else {
        return Ok(things);
    };
    let going: Vec<_> = things.iter().map(going).collect();
    let names = going.iter().flat_map(|(_, blobs)| blobs);
    let names: Vec<&str> = names.map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return Ok(things);
    }
    let mut reasons = shared.why_kept(others, &names).await?.into_iter();
    let mut free = Vec::with_capacity(things.len());
    for (thing, (item, blobs)) in things.into_iter().zip(&going) {
        let mut is_free = true;
        for ((blob, _), reason) in blobs.iter().zip(reasons.by_ref()) {
            if let Some(reason) = reason {
                is_free = false;
                name(
                    shared,
                    item,
                    blob,
                    &format!("{what}: {reason}"),
                    UNDO_OTHERS,
                )?;
            }
        }
        if is_free {
            free.push(thing);
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
