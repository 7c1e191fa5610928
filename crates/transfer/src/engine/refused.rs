//! One object that the store never lets through, while it serves others: an exception of that item, and no end of the run.
//!
//! What must hold: it is one object's trouble only if, after all patience, the same store takes, gives back and removes a small
//! object beside it, and where the source failed gives another source; else the run stops, to be resumed, and nothing is undone.
//!
//! It deliberately does not count: how many may fail is `Limits::max_failures`.

use super::shared::{Failure, Shared, chain, exception};
use crate::error::{RunError, RunErrorKind};
use crate::item::{Blob, Digest, Item};
use crate::journal::State;
use crate::report::ExceptionKind;
use bytes::Bytes;
use store::{ErrorKind, Store, StoreError};

const PROBE: &[u8] = b"syncline probe: may be deleted at any time\n";

/// What the probe's name begins with; it lies in the folder of the object that is refused.
const NAME: &str = ".syncline-probe-";

const REMEDY: &str = "other objects go through: look for this key in the store's log, or whether a proxy stops it; then run again";

/// Looks whether a failure that would end the run is that of one blob only.
pub(super) async fn judge<T>(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    outcome: Result<T, Failure>,
) -> Result<T, Failure> {
    let error = match outcome {
        Err(Failure::Run(error)) => error,
        outcome => return outcome,
    };
    if !is_of_one_object(shared, blob, &error).await {
        return Err(Failure::Run(error));
    }
    let message = std::error::Error::source(&error).map_or_else(|| error.to_string(), chain);
    let refused = exception(item, blob, ExceptionKind::Refused, message, REMEDY);
    Err(Failure::Item(Box::new(refused)))
}

async fn is_of_one_object(shared: &Shared, blob: &Blob, error: &RunError) -> bool {
    let Some(below) = error.store_error() else {
        return false;
    };
    let names_it = |key: &str| key == blob.key || key == blob.source;
    if !below.key().is_some_and(names_it) || !may_be_of_one(shared, below) {
        return false;
    }
    if error.kind() == RunErrorKind::Source && !gives_another(shared, blob).await {
        return false;
    }
    is_well(shared, &blob.key).await
}

/// Tells whether an error is the trouble of this one object.
pub(super) async fn is_alone(shared: &Shared, key: &str, error: &StoreError) -> bool {
    may_be_of_one(shared, error) && is_well(shared, key).await
}

/// The store failed or hung at one request. Everything else says something about all of them.
fn may_be_of_one(shared: &Shared, error: &StoreError) -> bool {
    // Who is asked to stop has not been patient.
    matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) && !shared.stop.is_raised()
}

/// Tells whether the target takes, gives back and removes an object beside a key.
async fn is_well(shared: &Shared, key: &str) -> bool {
    // Each object has a probe of its own: two that are refused at once must not take each other's away.
    let name = format!("{NAME}{:016x}", crate::keyset::hash(key));
    let probe = match key.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name,
    };
    // In a task of its own: who asks may be given up because another item failed, and the probe would stay.
    let at_work = shared.probing.clone().read_owned().await;
    let target = shared.target.clone();
    let work = async move {
        let is_well = try_out(&target, probe).await;
        drop(at_work);
        is_well
    };
    tokio::spawn(work).await.unwrap_or(false)
}

async fn try_out(target: &Store, probe: String) -> bool {
    let (bytes, sum) = (Bytes::from_static(PROBE), Digest::of(PROBE).0);
    let nothing = store::Attributes::default();
    let put = target.put_with(&probe, bytes, &nothing, Some(sum)).await;
    let is_back = match put {
        Ok(_) => target
            .get(&probe)
            .await
            .is_ok_and(|found| &found[..] == PROBE),
        Err(_) => false,
    };
    if let Err(error) = target.delete(std::slice::from_ref(&probe)).await {
        tracing::warn!(key = probe, error = %chain(&error), "a probe may be left behind");
        return false;
    }
    is_back
}

/// Tells whether the source gives what it gave before. Where that is nothing, nobody knows.
async fn gives_another(shared: &Shared, blob: &Blob) -> bool {
    let was_read = |state| !matches!(state, State::Planned | State::LeftOut | State::Lost);
    let entries = shared.journal.entries(was_read);
    let blobs = entries
        .flatten()
        .filter_map(|entry| entry.item.blobs.into_iter().next());
    let mut blobs = blobs.into_iter();
    let Some(other) = blobs.find(|other| other.source != blob.source) else {
        return false;
    };
    match shared.source.open(&other, 0, 1).await {
        Ok(_) => true,
        // A file that is gone is no trouble of a store.
        Err(error) => error.store_error().is_none(),
    }
}
