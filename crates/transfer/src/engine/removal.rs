//! Takes objects away whose items are switched back.
//!
//! What must hold: among somebody else's files only those go that were read and found equal, and not touched since: between that look and the removal
//! nothing waits. An item of which something stays is not settled.
//!
//! It deliberately judges no object in a store of ours: `back` has looked at each, and nobody else writes there.

use super::shared::{Shared, exception};
use crate::error::RunError;
use crate::item::{Digest, Item};
use crate::journal::Entry;
use crate::report::ExceptionKind;
use crate::source::objects::digest_of;
use std::collections::HashMap;
use store::{ErrorKind, StoreError};

/// S3 deletes so many objects with one request.
const KEYS_MAX: usize = 1000;

/// What was stored under each key, as far as it is known.
pub(super) type Stored = HashMap<String, (u64, Digest)>;

/// What was taken away.
pub(super) struct Removed {
    /// The items of which nothing is left.
    pub(super) ids: Vec<String>,
    /// The keys.
    pub(super) keys: Vec<String>,
}

/// Collects what was stored of some items.
pub(super) fn stored_of(entries: &[Entry]) -> Stored {
    let blobs = entries
        .iter()
        .flat_map(|entry| entry.item.blobs.iter().zip(&entry.stored));
    let known = blobs.filter_map(|(blob, stored)| {
        let stored = stored.as_ref()?;
        Some((blob.key.clone(), (stored.size, stored.sha256)))
    });
    known.collect()
}

/// Takes away what may go of some items.
pub(super) async fn remove(
    shared: &Shared,
    going: Vec<(Item, Vec<String>)>,
    stored: &Stored,
) -> Result<Removed, RunError> {
    shared.steps.take("removing objects")?;
    let mut removed = Removed {
        ids: Vec::new(),
        keys: Vec::new(),
    };
    if shared.target.writes_over() {
        for (item, keys) in going {
            removed.ids.push(item.id);
            removed.keys.extend(keys);
        }
        for keys in removed.keys.chunks(KEYS_MAX) {
            shared.patiently(|| shared.target.delete(keys)).await?;
        }
    } else {
        for (item, keys) in going {
            if remove_files(shared, &item, &keys, stored).await? {
                removed.ids.push(item.id);
                removed.keys.extend(keys);
            }
        }
    }
    shared.steps.take("removed objects")?;
    Ok(removed)
}

/// Removes the files of one item; false if one of them stays, which is named.
async fn remove_files(
    shared: &Shared,
    item: &Item,
    keys: &[String],
    stored: &Stored,
) -> Result<bool, RunError> {
    let mut is_gone = true;
    for blob in item.blobs.iter().filter(|blob| keys.contains(&blob.key)) {
        let expected = stored.get(&blob.key).copied();
        let removal = || remove_equal(shared, &blob.key, expected);
        if !shared.patiently(removal).await? {
            is_gone = false;
            let message = "the file was left where it is: it was written to a moment ago";
            let remedy = "compare it with its object, and remove it if nobody needs it; then roll back again";
            let kind = ExceptionKind::ObjectKept;
            shared.remark(exception(item, blob, kind, message, remedy))?;
        }
    }
    Ok(is_gone)
}

/// Removes a file that is still what is expected; one of which nothing is known was compared with its source.
async fn remove_equal(
    shared: &Shared,
    key: &str,
    expected: Option<(u64, Digest)>,
) -> Result<bool, StoreError> {
    let target = &shared.target;
    let found = match target.head(key).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let Some(expected) = expected else {
        return target.delete(&[key.to_owned()]).await.map(|()| true);
    };
    if digest_of(target, key).await? != Some(expected) {
        return Ok(false);
    }
    let e_tag = found.e_tag.unwrap_or_default();
    target.delete_unchanged(key, &e_tag).await
}
