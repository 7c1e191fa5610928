//! The way back: sources are made good, items are switched back, then objects are removed.
//!
//! What must hold: an item is switched back only when every source of it is there and equal, which one that was restored has shown by being read
//! back; an object is removed only if this run made it, it is still what the run stored, no row names it, whichever run made that so, no run of
//! others needs it, and its source is there and equal. An item that was only planned was never switched by this run: its row is left alone.

use super::gone::{self, Gone};
use super::removal::{self, Removed};
use super::shared::{Failure, Shared, exception, item_exception, joined, side_by_side};
use super::{MadeObjects, RollbackOptions, plan, refused, switch, unnamed};
use crate::error::RunError;
use crate::item::{Blob, Digest, Item};
use crate::journal::{Entry, Line, State, StoredBlob};
use crate::keyset::KeySet;
use crate::ledger::{Outcome, Standing};
use crate::observer::Event;
use crate::report::{Ended, ExceptionKind, Report};
use crate::source::{SourceError, SourceErrorKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use store::ErrorKind;

/// S3 deletes so many objects with one request.
const KEYS_MAX: usize = 1000;

/// How often a body that arrives damaged is asked for.
const RESTORES_MAX: u32 = 3;

/// How often a restored source that comes back different is read: it may be damaged on the way.
const READS_MAX: u32 = 3;

/// Undoes a run.
pub(super) async fn rollback(
    shared: Arc<Shared>,
    options: RollbackOptions,
) -> Result<Report, RunError> {
    let outcome = backward(&shared, &options).await;
    match outcome {
        Ok(ended) => {
            shared.report().ended = ended;
            shared.end("rollback").await
        }
        Err(error) => Err(error),
    }
    .map_err(|error| error.with_report(shared.report_now()))
}

async fn backward(shared: &Arc<Shared>, options: &RollbackOptions) -> Result<Ended, RunError> {
    shared.begin("rollback")?;
    plan::abort_uploads(shared).await?;
    shared.observer.event(Event::Phase("switching back"));
    let unsettled = |state| {
        !matches!(
            state,
            State::Planned | State::Reverted | State::Undone | State::LeftOut | State::Lost
        )
    };
    let mut checked = HashSet::new();
    let unsettled = shared.journal.places(unsettled);
    let size = shared.limits.batch.max(1);
    let lost = shared.journal.places_lost_on_the_way_back();
    let undone = match options.again.is_empty() {
        true => Vec::new(),
        false => shared
            .journal
            .places(|state| matches!(state, State::Reverted | State::Undone)),
    };
    let batches = unsettled.chunks(size).map(|places| (places, Was::Open));
    let batches = batches.chain(lost.chunks(size).map(|places| (places, Was::Lost)));
    let batches = batches.chain(undone.chunks(size).map(|places| (places, Was::Undone)));
    for (places, was) in batches {
        if shared.stop.is_raised() {
            return Ok(Ended::Stopped);
        }
        let entries = read(shared, places.to_vec()).await?;
        let entries = match was {
            Was::Open => entries,
            Was::Lost => only_named(shared, entries, &options.settled).await?,
            Was::Undone => only_again(shared, entries, &options.again).await?,
        };
        let good = make_good(shared, entries).await?;
        switch_back(shared, good, &mut checked).await?;
    }
    give_planned_up(shared).await?;
    if options.objects == MadeObjects::Keep {
        return Ok(Ended::Complete);
    }
    shared.observer.event(Event::Phase("removing objects"));
    remove_objects(shared, &checked).await
}

/// How far an item was when a rollback began.
#[derive(Clone, Copy)]
enum Was {
    Open,
    Lost,
    Undone,
}

/// Leaves only items that are switched over again, or of which something else names an object, and of which it is known what was stored.
async fn only_again(
    shared: &Shared,
    mut entries: Vec<Entry>,
    again: &KeySet,
) -> Result<Vec<Entry>, RunError> {
    let is_known = |entry: &Entry| entry.stored.iter().any(Option::is_some);
    entries.retain(|entry| again.contains(&entry.item.id) && is_known(entry));
    let standing = shared.standing(&items_of(&entries)).await?;
    let entries = entries.into_iter().zip(standing);
    let is_named = |standing| matches!(standing, Standing::Switched | Standing::Named);
    let switched = entries.filter(|(_, standing)| is_named(*standing));
    Ok(switched.map(|(entry, _)| entry).collect())
}

/// Leaves only items whose objects a row names: of those that somebody had changed, which were told then, the others are settled, and so are those
/// that another run has brought to where they are.
async fn only_named(
    shared: &Shared,
    mut entries: Vec<Entry>,
    settled: &KeySet,
) -> Result<Vec<Entry>, RunError> {
    entries.retain(|entry| !settled.contains(&entry.item.id));
    let standing = shared.standing(&items_of(&entries)).await?;
    let entries = entries.into_iter().zip(standing);
    let named = entries.filter(|(_, standing)| *standing != Standing::Unnamed);
    Ok(named.map(|(entry, _)| entry).collect())
}

fn items_of(entries: &[Entry]) -> Vec<Item> {
    entries.iter().map(|entry| entry.item.clone()).collect()
}

/// Notes that items that were only planned need no switching back. If a row names an object of theirs, another run did that.
async fn give_planned_up(shared: &Arc<Shared>) -> Result<(), RunError> {
    let places = shared.journal.places(|state| state == State::Planned);
    for places in places.chunks(KEYS_MAX) {
        let entries = read(shared, places.to_vec()).await?;
        let never_switched = |entry: Entry| (entry.item.id, Outcome::AlreadyDone);
        let outcomes = entries.into_iter().map(never_switched).collect();
        shared.journal.append(&Line::Reverted { outcomes })?;
        shared.journal.flush()?;
    }
    Ok(())
}

/// Reads items from the journal.
pub(super) async fn read(shared: &Arc<Shared>, places: Vec<u64>) -> Result<Vec<Entry>, RunError> {
    let journal = shared.journal.clone();
    let read = move || {
        let entries = places.into_iter().map(|place| journal.read(place));
        entries.collect::<Result<Vec<Entry>, _>>()
    };
    Ok(joined(tokio::task::spawn_blocking(read).await)??)
}

/// Makes sure of the sources of items, side by side; returns those that may be switched back.
async fn make_good(shared: &Arc<Shared>, entries: Vec<Entry>) -> Result<Vec<Entry>, RunError> {
    let work = |shared: Arc<Shared>, entry: Entry| async move {
        match make_sources_good(&shared, &entry).await {
            Ok(()) => Ok(Ok(entry)),
            Err(Failure::Item(exception)) => Ok(Err(exception)),
            Err(Failure::Run(error)) => Err(error),
        }
    };
    let mut good = Vec::with_capacity(entries.len());
    for outcome in side_by_side(shared, entries, work).await? {
        match outcome {
            Ok(entry) => good.push(entry),
            Err(exception) => {
                shared.report().failed += u64::from(exception.kind.is_failure());
                shared.remark(*exception)?;
            }
        }
    }
    Ok(good)
}

async fn make_sources_good(shared: &Shared, entry: &Entry) -> Result<(), Failure> {
    for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
        if let Some(stored) = stored {
            let made = make_source_good(shared, &entry.item, blob, stored).await;
            refused::judge(shared, &entry.item, blob, made).await?;
        }
    }
    Ok(())
}

async fn make_source_good(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
) -> Result<(), Failure> {
    let failed = |error| shared.source_failure(item, blob, error);
    let found = shared
        .patiently_source(|| shared.digest_of_named(blob))
        .await
        .map_err(failed)?;
    if is_good(item, blob, stored, found)? {
        return Ok(());
    }
    // Two items may have one source: the second finds what the first has restored.
    let _turn = shared.restoring(&blob.source).await;
    let found = shared
        .patiently_source(|| shared.digest_of_named(blob))
        .await
        .map_err(failed)?;
    if is_good(item, blob, stored, found)? {
        return Ok(());
    }
    shared.steps.take("restoring")?;
    restore_proved(shared, item, blob, stored).await?;
    shared.steps.take("restored")?;
    {
        let mut report = shared.report();
        report.restored += 1;
        report.bytes += stored.size;
    }
    shared.observer.event(Event::Restored {
        source: blob.source.clone(),
        bytes: stored.size,
    });
    Ok(())
}

/// Tells whether a source is there as it was copied; fails if it is there and differs.
fn is_good(
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
    found: SourceDigest,
) -> Result<bool, Failure> {
    match found {
        None => Ok(false),
        Some(found) if found == (stored.size, stored.sha256) => Ok(true),
        Some(_) => {
            let message =
                "the source was changed since it was copied; neither it nor the item was touched";
            let remedy =
                "move the changed file away to get the copied one back, then roll back again";
            let kind = ExceptionKind::SourceChanged;
            let exception = exception(item, blob, kind, message, remedy);
            Err(Failure::Item(Box::new(exception)))
        }
    }
}

/// Brings a source back and reads it back: a store may answer well and keep other bytes.
async fn restore_proved(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
) -> Result<(), Failure> {
    for _ in 0..RESTORES_MAX {
        restore(shared, item, blob, stored).await?;
        for _ in 0..READS_MAX {
            let read = shared
                .patiently_source(|| shared.digest_of_named(blob))
                .await;
            let read = read.map_err(|error| shared.source_failure(item, blob, error))?;
            if read == Some((stored.size, stored.sha256)) {
                return Ok(());
            }
        }
    }
    let message = "the source was restored and is not what was written when it is read back; the item and its object were not touched";
    let remedy = "check the disk or the store that the source is in; remove the damaged one, then roll back again";
    let kind = ExceptionKind::Verification;
    Err(Failure::Item(Box::new(exception(
        item, blob, kind, message, remedy,
    ))))
}

/// Brings a source back from its object; a body that was damaged on the way is asked for again.
async fn restore(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
) -> Result<(), Failure> {
    let once = || async {
        let body = shared.target.read(&blob.key, None).await;
        let body = body.map_err(|error| SourceError::store("restore", &blob.source, error))?;
        shared.source.restore(blob, stored, body).await
    };
    let mut attempt = 1;
    loop {
        let Err(error) = shared.patiently_source(once).await else {
            return Ok(());
        };
        let of_object = error.store_error().map(store::StoreError::kind);
        let is_damaged =
            error.kind() == SourceErrorKind::WrongDigest || of_object == Some(ErrorKind::Corrupt);
        match of_object {
            Some(ErrorKind::NotFound) => return Err(object_missing(item, blob)),
            _ if is_damaged && attempt < RESTORES_MAX => attempt += 1,
            _ => return Err(shared.source_failure(item, blob, error)),
        }
    }
}

fn object_missing(item: &Item, blob: &Blob) -> Failure {
    let message = "neither the source nor its object is there";
    let remedy = "restore one of them from a backup, then roll back again";
    let kind = ExceptionKind::ObjectMissing;
    Failure::Item(Box::new(exception(item, blob, kind, message, remedy)))
}

async fn switch_back(
    shared: &Shared,
    good: Vec<Entry>,
    checked: &mut HashSet<u64>,
) -> Result<(), RunError> {
    if good.is_empty() {
        return Ok(());
    }
    let items: Vec<Item> = good.into_iter().map(|entry| entry.item).collect();
    let ids: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
    shared.steps.take("reverting")?;
    shared
        .journal
        .append(&Line::Reverting { ids: ids.clone() })?;
    shared.journal.sync().await?;
    shared.steps.take("intent durable")?;
    let outcomes = shared.switch(&items, true).await?;
    shared.steps.take("switched back")?;
    let mut n_back = 0;
    for (item, outcome) in items.iter().zip(&outcomes) {
        if let Outcome::Changed(now) = outcome {
            let message = format!(
                "it does not point to the object of this run any more: {now}; it was left alone, and its object was kept"
            );
            let remedy = "see what it points to now; if that is right, nothing is to be done; else mend it, then roll back again";
            let kind = ExceptionKind::ItemChanged;
            shared.remark(item_exception(item, kind, message, remedy))?;
            shared.report().changed += 1;
            continue;
        }
        switch::note_others(shared, item, outcome)?;
        checked.insert(crate::keyset::hash(&item.id));
        n_back += 1;
    }
    shared.report().reverted += n_back;
    shared.observer.event(Event::Reverted { items: n_back });
    let outcomes = ids.into_iter().zip(outcomes).collect();
    shared.journal.append(&Line::Reverted { outcomes })?;
    shared.journal.flush()?;
    shared.steps.take("reverted")
}

async fn remove_objects(shared: &Arc<Shared>, checked: &HashSet<u64>) -> Result<Ended, RunError> {
    let in_use = Arc::new(keys_in_use(shared).await?);
    let places = shared.journal.places(|state| state == State::Reverted);
    let mut gone = Gone::default();
    for places in places.chunks(KEYS_MAX) {
        if shared.stop.is_raised() {
            gone.settle(shared).await?;
            return Ok(Ended::Stopped);
        }
        let entries = read(shared, places.to_vec()).await?;
        let ids = entries.iter().map(|entry| entry.item.id.clone());
        let places: HashMap<String, u64> = ids.zip(places.iter().copied()).collect();
        let entries = only_unnamed(shared, entries).await?;
        let stored = removal::stored_of(&entries);
        let work = |shared: Arc<Shared>, entry: Entry| {
            let is_checked = checked.contains(&crate::keyset::hash(&entry.item.id));
            let made = Made {
                shared,
                entry,
                is_checked,
            };
            let in_use = in_use.clone();
            async move { Ok((made.removable(&in_use).await?, made.entry.item)) }
        };
        let found = side_by_side(shared, entries, work).await?;
        // One of which something is kept, or has no answer, stays as it is, for the next rollback to name again. So does one that somebody else needs.
        let (mut open, mut going) = (HashSet::new(), Vec::with_capacity(found.len()));
        for (found, item) in found {
            if found.is_open {
                open.insert(item.id.clone());
            }
            gone.say_absent(&found.absent);
            going.push((item, found.keys));
        }
        let free = unnamed::only_unneeded(shared, going).await?;
        let Removed { mut ids, keys } = removal::remove(shared, free, &stored).await?;
        ids.retain(|id| !open.contains(id));
        let n = keys.len() as u64;
        shared.report().objects_removed += n;
        shared.observer.event(Event::ObjectsRemoved { objects: n });
        gone.say_removed(&keys);
        gone.items.extend(ids.iter().map(|id| places[id]));
    }
    gone.settle(shared).await?;
    Ok(Ended::Complete)
}

/// Leaves out, and names, items of which a row names an object: another run may have switched it since. They stay for the next rollback.
async fn only_unnamed(shared: &Shared, entries: Vec<Entry>) -> Result<Vec<Entry>, RunError> {
    let standing = shared.standing(&items_of(&entries)).await?;
    let mut unnamed = Vec::with_capacity(entries.len());
    for (entry, standing) in entries.into_iter().zip(standing) {
        // Where the names are alike a person has said that these copies may go.
        if matches!(standing, Standing::Unnamed | Standing::Alike) {
            unnamed.push(entry);
            continue;
        }
        let blobs = entry.item.blobs.iter().enumerate();
        let may_be_ours = blobs.filter(|(index, _)| gone::may_be_ours(&entry, *index));
        let keys: Vec<String> = may_be_ours.map(|(_, blob)| blob.key.clone()).collect();
        unnamed::keep(shared, &entry.item, &keys)?;
    }
    Ok(unnamed)
}

/// Collects the keys of items that are, or may be, still switched over.
async fn keys_in_use(shared: &Arc<Shared>) -> Result<KeySet, RunError> {
    let may_use = |state| {
        !matches!(
            state,
            State::Reverted | State::Undone | State::LeftOut | State::Planned
        )
    };
    let places = shared.journal.places(may_use);
    let mut keys = KeySet::new();
    for places in places.chunks(KEYS_MAX) {
        for entry in read(shared, places.to_vec()).await? {
            for blob in &entry.item.blobs {
                keys.insert(&blob.key);
            }
        }
    }
    Ok(keys)
}

/// Size and digest of a source; none if it is not there.
type SourceDigest = Option<(u64, Digest)>;

/// What a look at the objects of one item has shown.
#[derive(Default)]
struct Removable {
    /// The keys of those that may go.
    keys: Vec<String>,
    /// Those of this run that the store says are not there.
    absent: Vec<String>,
    /// Whether one is kept, or could not be looked at.
    is_open: bool,
}

/// The objects that the run made of one item.
struct Made {
    shared: Arc<Shared>,
    entry: Entry,
    /// Whether this call has seen that its sources are there and equal.
    is_checked: bool,
}

impl Made {
    async fn removable(&self, in_use: &KeySet) -> Result<Removable, RunError> {
        let mut found = Removable::default();
        for (index, blob) in self.entry.item.blobs.iter().enumerate() {
            if in_use.contains(&blob.key) {
                continue;
            }
            match self.may_go(index, blob).await? {
                Some(true) => found.keys.push(blob.key.clone()),
                Some(false) if gone::may_be_ours(&self.entry, index) => {
                    found.absent.push(blob.key.clone());
                }
                Some(false) => {}
                None => found.is_open = true,
            }
        }
        Ok(found)
    }

    /// Tells whether an object may go; false if there is none of this run, and none if it is kept, which is named.
    async fn may_go(&self, index: usize, blob: &Blob) -> Result<Option<bool>, RunError> {
        let is_fresh = self.entry.fresh.get(index).copied().unwrap_or(false);
        match self.entry.stored.get(index) {
            Some(Some(stored)) if stored.created => {
                if !self.is_checked {
                    match self.has_source(blob, stored).await? {
                        Some(true) => {}
                        no => return Ok(no),
                    }
                }
                // Somebody may have written to it since: the application, once its row named it.
                let ours = Some((stored.size, stored.sha256));
                self.is_copy(blob, ours).await
            }
            // It was planned, and the process died before it was written down that it was stored.
            None if is_fresh => self.is_copy(blob, None).await,
            _ => Ok(Some(false)),
        }
    }

    /// Tells whether the source is there and as it was copied. If not, the object is kept, and named; false if that is gone too.
    async fn has_source(&self, blob: &Blob, stored: &StoredBlob) -> Result<Option<bool>, RunError> {
        match self.source_digest(blob).await? {
            None => Ok(None),
            Some(found) if found == Some((stored.size, stored.sha256)) => Ok(Some(true)),
            Some(_) => {
                let shared = &self.shared;
                match shared.patiently(|| shared.target.head(&blob.key)).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(false)),
                    Err(error) => self.refused_one(blob, error).await,
                    Ok(_) => self.keep(blob),
                }
            }
        }
    }

    /// Reads and hashes the source, if it is there; none if only this one cannot be read, which is named. A source that cannot be asked is not one
    /// that is gone.
    async fn source_digest(&self, blob: &Blob) -> Result<Option<SourceDigest>, RunError> {
        let (shared, item) = (&self.shared, &self.entry.item);
        let found = shared
            .patiently_source(|| shared.digest_of_named(blob))
            .await;
        let found = found.map_err(|error| shared.source_failure(item, blob, error));
        match refused::judge(shared, item, blob, found).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Item(why)) => {
                let remedy = "roll back again when its source can be read";
                self.remark(blob, &why.message, remedy)?;
                Ok(None)
            }
            Err(Failure::Run(error)) => Err(error),
        }
    }

    /// Tells whether an object has the bytes that are expected: those of the source, if nothing else is known; none if the store refuses
    /// this one object.
    async fn is_copy(
        &self,
        blob: &Blob,
        expected: Option<(u64, Digest)>,
    ) -> Result<Option<bool>, RunError> {
        let shared = &self.shared;
        let head = match shared.patiently(|| shared.target.head(&blob.key)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(false)),
            Err(error) => return self.refused_one(blob, error).await,
            Ok(head) => head,
        };
        let expected = match expected {
            Some(expected) => Some(expected),
            None => match self.source_digest(blob).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if let Some(expected) = expected {
            // The checksum that came with the bytes: a store that gives other bytes back has still been given ours.
            if head.size == expected.0 && head.sha256 == Some(expected.1.0) {
                return Ok(Some(true));
            }
            match shared.read_back(&blob.key, expected).await {
                Ok(None) => return Ok(Some(false)),
                Ok(Some(object)) if object == expected => return Ok(Some(true)),
                Ok(Some(_)) => {}
                Err(error) => return self.refused_one(blob, error).await,
            }
        }
        self.keep(blob)
    }

    /// Names the object if it is the only one that the store refuses.
    async fn refused_one(
        &self,
        blob: &Blob,
        error: store::StoreError,
    ) -> Result<Option<bool>, RunError> {
        if !refused::is_alone(&self.shared, &blob.key, &error).await {
            return Err(error.into());
        }
        let remedy = "roll back again when the store lets it be looked at";
        self.remark(blob, &super::shared::chain(&error), remedy)?;
        Ok(None)
    }

    fn keep(&self, blob: &Blob) -> Result<Option<bool>, RunError> {
        let message = "the object was left where it is: it is not what the run stored, or its source is not there or differs";
        let remedy = "compare both, and remove the object if nobody needs it; then roll back again";
        self.remark(blob, message, remedy)?;
        Ok(None)
    }

    fn remark(&self, blob: &Blob, message: &str, remedy: &str) -> Result<(), RunError> {
        let kind = ExceptionKind::ObjectKept;
        self.shared
            .remark(exception(&self.entry.item, blob, kind, message, remedy))
    }
}
