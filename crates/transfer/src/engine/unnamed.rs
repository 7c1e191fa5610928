//! Whether something names an object that is to be taken away.
//!
//! What must hold: an object that a row names stays, whatever this run's journal says of it: another run may have taken it over.
//!
//! It deliberately asks for whole items: the ledger knows what an item names, not which key that is.

use super::shared::{Shared, exception};
use crate::error::RunError;
use crate::item::Item;
use crate::ledger::Standing;
use crate::report::ExceptionKind;

/// Tells whether nothing names the objects of an item. Otherwise those with the given keys are named as kept.
pub(super) async fn may_go(
    shared: &Shared,
    item: &Item,
    keys: &[String],
) -> Result<bool, RunError> {
    let standing = shared.standing(std::slice::from_ref(item)).await?;
    if standing == [Standing::Unnamed] {
        return Ok(true);
    }
    keep(shared, item, keys)?;
    Ok(false)
}

/// Names objects of an item that stay because something names them.
pub(super) fn keep(shared: &Shared, item: &Item, keys: &[String]) -> Result<(), RunError> {
    for blob in item.blobs.iter().filter(|blob| keys.contains(&blob.key)) {
        let message = "the object was left where it is: a row names it, which another run may have switched to it";
        let remedy =
            "roll back the run that switched the row over, if any; then roll back this one again";
        let kind = ExceptionKind::ObjectKept;
        shared.remark(exception(item, blob, kind, message, remedy))?;
    }
    Ok(())
}
