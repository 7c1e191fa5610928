//! One object that the store never lets through, while it serves others: an exception of that item, and no end of the run.
//!
//! What must hold: it is one object's trouble only if, after all patience, the same store serves others: a target takes, gives back and
//! removes a small object, and answers for a name beside the refused one; a source, or a target that is only looked at, gives another
//! object, or a source says of others that they are gone. Else the run stops, to be resumed, and nothing is undone. Where nothing is to be changed nothing is written.
//!
//! It deliberately does not write beside the refused object: a process that is killed here would leave the probe among the documents.
//! So a store that fails at every write below one prefix, and only there, is not told apart from one that refuses single objects. It
//! deliberately does not count: how many may fail is `Limits::max_failures`.

use super::shared::{Failure, Shared, chain, exception};
use crate::error::{RunError, RunErrorKind};
use crate::item::{Blob, Digest, Item};
use crate::journal::State;
use crate::report::ExceptionKind;
use bytes::Bytes;
use futures::StreamExt;
use store::{ErrorKind, Store, StoreError};

const PROBE: &[u8] = b"syncline probe: may be deleted at any time\n";

/// Below it probes are written; every probe of checksums clears away what is left there.
const PROBES: &str = ".syncline/probe";

/// So many others are tried before nobody knows.
const OTHERS_MAX: usize = 5;

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
    let is_sources = error.kind() == RunErrorKind::Source;
    if is_sources && !source_answers(shared, blob).await {
        return false;
    }
    // A source that is restored is read from the target: the failure bears the name of what failed.
    let is_targets = !is_sources || below.key() == Some(&blob.key);
    !is_targets || is_well(shared, &blob.key).await
}

/// Tells whether an error is the trouble of this one object.
pub(super) async fn is_alone(shared: &Shared, key: &str, error: &StoreError) -> bool {
    may_be_of_one(shared, error) && is_well(shared, key).await
}

/// The same for who may only read: nothing is written.
pub(super) async fn is_alone_to_read(shared: &Shared, key: &str, error: &StoreError) -> bool {
    may_be_of_one(shared, error) && target_gives_another(shared, key).await
}

/// The store failed or hung at one request. Everything else says something about all of them.
fn may_be_of_one(shared: &Shared, error: &StoreError) -> bool {
    // Who is asked to stop has not been patient.
    matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) && !shared.stop.is_raised()
}

/// Tells whether the target takes, gives back and removes an object, and answers for a name beside a key.
async fn is_well(shared: &Shared, key: &str) -> bool {
    // Each object has a probe of its own: two that are refused at once must not take each other's away.
    let name = format!("{:016x}", crate::keyset::hash(key));
    // Below the same folder's name: what stops every request with that in its path stops the probe, too.
    let (probe, absent) = match key.rsplit_once('/') {
        Some((folder, _)) => (
            format!("{PROBES}/{folder}/{name}"),
            format!("{folder}/{name}"),
        ),
        None => (format!("{PROBES}/{name}"), name),
    };
    // In a task of its own: who asks may be given up because another item failed, and the probe would stay.
    let at_work = shared.probing.clone().read_owned().await;
    let target = shared.target.clone();
    let work = async move {
        let is_well = try_out(&target, probe, &absent).await;
        drop(at_work);
        is_well
    };
    tokio::spawn(work).await.unwrap_or(false)
}

async fn try_out(target: &Store, probe: String, absent: &str) -> bool {
    let answers = match target.head(absent).await {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !answers {
        return false;
    }
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

/// Tells whether the source gives another that it gave before, or at least says that those are gone: after a removal they all are, and
/// a store that says so is at work. Where there was no other, nobody knows.
async fn source_answers(shared: &Shared, blob: &Blob) -> bool {
    let mut answers = false;
    for other in others(shared, |other| other.source != blob.source) {
        match shared.source.open(&other, 0, 1).await {
            Ok(_) => return true,
            Err(error) if error.kind().is_of_one_item() => answers = true,
            Err(_) => return false,
        }
    }
    answers
}

/// Tells whether the target gives another object that it took before.
async fn target_gives_another(shared: &Shared, key: &str) -> bool {
    for other in others(shared, |other| other.key != key) {
        let first = match shared.target.read(&other.key, None).await {
            Ok(mut body) => body.next().await.transpose(),
            Err(error) => Err(error),
        };
        match first {
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return false,
        }
    }
    false
}

/// Returns the first blobs of some items that were read and stored.
fn others(shared: &Shared, is_another: impl Fn(&Blob) -> bool) -> Vec<Blob> {
    let was_read = |state| !matches!(state, State::Planned | State::LeftOut | State::Lost);
    let entries = shared.journal.entries(was_read).flatten();
    entries
        .filter_map(|entry| entry.item.blobs.into_iter().next())
        .filter(is_another)
        .take(OTHERS_MAX)
        .collect()
}
