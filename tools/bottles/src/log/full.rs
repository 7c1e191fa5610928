//! What the log has to take even where no room is left: on a full disk only a prune makes room, and it must not fail for want of it.
//!
//! What must hold: what is written here says all that it says by its name, so that it may be empty; a folder keeps a reserve, which is given up
//! only to write such a thing, and made again when there is room. The reserve is the same in every mirror: two that were made alike stay alike.
//!
//! It deliberately keeps no reserve in buckets: what is full there is a quota, which counts bytes.

use super::OWN;
use bytes::Bytes;
use store::{ErrorKind, Store, StoreError};
use transfer::Digest;

/// So many digests the reserve is long. File systems that compress cannot make it smaller.
const RESERVE_DIGESTS: u32 = 2048;

fn reserve_key() -> String {
    format!("{OWN}/reserve")
}

/// Writes a small object whose text nobody reads, if need be without the text, or in place of the reserve.
///
/// # Errors
/// If it is not certain that it was written.
pub(super) async fn put(store: &Store, key: &str, text: &'static str) -> Result<(), StoreError> {
    let is_full = |outcome: &Result<(), StoreError>| {
        let kind = outcome.as_ref().err().map(StoreError::kind);
        kind == Some(ErrorKind::QuotaOrDiskFull)
    };
    let mut outcome = store.put(key, Bytes::from_static(text.as_bytes())).await;
    if is_full(&outcome) {
        // A name often fits where a block does not.
        outcome = store.put(key, Bytes::new()).await;
    }
    if is_full(&outcome) {
        tracing::info!("no room is left: the reserve is given up");
        store.delete(&[reserve_key()]).await?;
        outcome = store.put(key, Bytes::new()).await;
    }
    outcome
}

/// Makes the reserve where it is missing, if there is room. A mirror does without.
pub(crate) async fn keep_reserve(store: &Store) {
    if !store.can_refer() {
        return;
    }
    let key = reserve_key();
    let made = match store.head(&key).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => store.put(&key, reserve()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        tracing::info!(%error, "no room is reserved for a prune of a full disk");
    }
}

fn reserve() -> Bytes {
    let digests = (0..RESERVE_DIGESTS).map(|number| Digest::of(&number.to_be_bytes()).0);
    digests.flatten().collect()
}
