//! Comparing the target with the journal, and removing sources after such a comparison.
//!
//! What must hold: a source is removed only if its item is switched over, nothing refers to the source, its objects came back
//! from the target equal to what was stored, the source itself is still what was stored, and no run of others needs it.

use super::back::read;
use super::shared::{Failure, Shared, exception, side_by_side};
use super::{RemoveOptions, Sample, VerifyOptions, refused, unnamed};
use crate::error::RunError;
use crate::item::{Blob, Item};
use crate::journal::{Entry, Line, State, StoredBlob};
use crate::keyset::{KeySet, hash};
use crate::observer::Event;
use crate::report::{EXCEPTIONS_MAX, Ended, Exception, ExceptionKind, Report, VerifyReport};
use crate::source::Removal;
use std::collections::HashSet;
use std::sync::Arc;
use store::{ErrorKind, StoreError};

/// Compares the target with the journal.
pub(super) async fn verify(
    shared: Arc<Shared>,
    options: VerifyOptions,
) -> Result<VerifyReport, RunError> {
    shared.observer.event(Event::Phase("verifying"));
    let places = shared.journal.places(State::is_switched);
    let mut report = VerifyReport {
        items: places.len() as u64,
        ..VerifyReport::default()
    };
    let places = sample(places, options.sample);
    for places in places.chunks(shared.limits.batch.max(1)) {
        if shared.stop.is_raised() {
            report.ended = Ended::Stopped;
            break;
        }
        let entries = read(&shared, places.to_vec()).await?;
        for (_, outcomes) in check_all(&shared, entries, options.read_back).await? {
            outcomes
                .into_iter()
                .for_each(|found| count(&mut report, found));
        }
    }
    report.usage = shared.report_now().usage;
    Ok(report)
}

/// Takes so many places, spread evenly.
fn sample(places: Vec<u64>, sample: Sample) -> Vec<u64> {
    let n = places.len() as u64;
    match sample {
        Sample::Count(wanted) if wanted < n => (0..wanted)
            .map(|number| places[(number * n / wanted) as usize])
            .collect(),
        _ => places,
    }
}

/// What was found of one object.
enum Found {
    Equal { bytes: u64, read_back: bool },
    Wrong(Box<crate::Exception>),
}

fn count(report: &mut VerifyReport, found: Found) {
    report.checked += 1;
    match found {
        Found::Equal { bytes, read_back } => {
            if read_back {
                report.read_back += 1;
                report.bytes += bytes;
            }
        }
        Found::Wrong(exception) => {
            match exception.kind {
                ExceptionKind::ObjectMissing => report.missing += 1,
                _ => report.differing += 1,
            }
            if report.exceptions.len() < EXCEPTIONS_MAX {
                report.exceptions.push(*exception);
            }
        }
    }
}

/// Checks the objects of items, side by side.
async fn check_all(
    shared: &Arc<Shared>,
    entries: Vec<Entry>,
    read_back: bool,
) -> Result<Vec<(Entry, Vec<Found>)>, RunError> {
    let work = |shared: Arc<Shared>, entry: Entry| async move {
        let mut found = Vec::new();
        for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
            if let Some(stored) = stored {
                found.push(check(&shared, &entry.item, blob, stored, read_back).await?);
            }
        }
        Ok((entry, found))
    };
    side_by_side(shared, entries, work).await
}

async fn check(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
    read_back: bool,
) -> Result<Found, RunError> {
    let (key, target) = (&blob.key, &shared.target);
    let wrong = |kind, message: String| {
        let remedy = "where its source is still there: roll the run back, then run anew; else restore the object from a backup or an older \
                      version of it. Then find out who changed it";
        Ok(Found::Wrong(Box::new(exception(
            item, blob, kind, message, remedy,
        ))))
    };
    let missing = || {
        wrong(
            ExceptionKind::ObjectMissing,
            "the object is not there".to_owned(),
        )
    };
    let refused = |error: StoreError| async move {
        match refused::is_alone_to_read(shared, key, &error).await {
            true => wrong(ExceptionKind::Refused, super::shared::chain(&error)),
            false => Err(error.into()),
        }
    };
    let (size, sha256) = match read_back {
        true => match shared.read_back(key, (stored.size, stored.sha256)).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return wrong(ExceptionKind::Verification, super::shared::chain(&error));
            }
            Err(error) => return refused(error).await,
            Ok(None) => return missing(),
            Ok(Some((size, sha256))) => (size, Some(sha256.0)),
        },
        false => match shared.patiently(|| target.head(key)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return missing(),
            Err(error) => return refused(error).await,
            Ok(found) => (found.size, found.sha256),
        },
    };
    shared.observer.event(Event::Checked {
        key: key.clone(),
        bytes: if read_back { size } else { 0 },
    });
    if size != stored.size {
        let message = format!("it has {size} bytes where {} were stored", stored.size);
        return wrong(ExceptionKind::Verification, message);
    }
    match sha256 {
        Some(sha256) if sha256 != stored.sha256.0 => {
            let message = "it has another content than was stored".to_owned();
            wrong(ExceptionKind::Verification, message)
        }
        _ => Ok(Found::Equal {
            bytes: size,
            read_back,
        }),
    }
}

/// Removes sources.
pub(super) async fn remove_sources(
    shared: Arc<Shared>,
    options: RemoveOptions,
) -> Result<Report, RunError> {
    let outcome = remove(&shared, options).await;
    match outcome {
        Ok(ended) => {
            shared.report().ended = ended;
            match options.dry_run {
                true => Ok(shared.report_now()),
                false => shared.end("remove-sources").await,
            }
        }
        Err(error) => Err(error),
    }
    .map_err(|error| error.with_report(shared.report_now()))
}

async fn remove(shared: &Arc<Shared>, options: RemoveOptions) -> Result<Ended, RunError> {
    if !options.dry_run {
        shared.begin("remove-sources")?;
        // That the objects are needed has to be seen by the runs of others before the sources are gone.
        shared.journal.sync().await?;
        shared.copy_journal().await?;
    }
    shared.observer.event(Event::Phase("removing sources"));
    let due = match options.switched_before {
        Some(before) => Some(switched_before(shared, before)?),
        None => None,
    };
    let needed = sources_needed(shared).await?;
    let wanted = |state| matches!(state, State::Committed | State::Removing);
    for places in shared
        .journal
        .places(wanted)
        .chunks(shared.limits.batch.max(1))
    {
        if shared.stop.is_raised() {
            return Ok(Ended::Stopped);
        }
        let mut entries = read(shared, places.to_vec()).await?;
        if let Some(due) = &due {
            entries.retain(|entry| due.contains(&hash(&entry.item.id)));
        }
        let checked = check_all(shared, entries, true).await?;
        let equal = only_equal(shared, checked)?;
        let may_go = only_switched(shared, equal, &needed).await?;
        let may_go = unnamed::only_unneeded_sources(shared, may_go).await?;
        remove_batch(shared, may_go, options).await?;
    }
    Ok(Ended::Complete)
}

/// Collects the items that were switched over before a moment.
fn switched_before(shared: &Shared, before: jiff::Timestamp) -> Result<HashSet<u64>, RunError> {
    let mut due = HashSet::new();
    shared.journal.committed_batches(|time, ids| {
        // One that was switched over again later counts from then.
        for id in ids {
            match time < before {
                true => due.insert(hash(&id)),
                false => due.remove(&hash(&id)),
            };
        }
    })?;
    Ok(due)
}

/// Collects the sources of items that are not switched over.
async fn sources_needed(shared: &Arc<Shared>) -> Result<KeySet, RunError> {
    let places = shared.journal.places(|state| !state.is_switched());
    let mut needed = KeySet::new();
    for places in places.chunks(1000) {
        for entry in read(shared, places.to_vec()).await? {
            for blob in &entry.item.blobs {
                needed.insert(&blob.source);
            }
        }
    }
    Ok(needed)
}

fn only_equal(shared: &Shared, checked: Vec<(Entry, Vec<Found>)>) -> Result<Vec<Entry>, RunError> {
    let mut equal = Vec::new();
    for (entry, found) in checked {
        let wrong = found.into_iter().find_map(|found| match found {
            Found::Wrong(exception) => Some(exception),
            Found::Equal { .. } => None,
        });
        match wrong {
            Some(exception) => {
                shared.report().failed += 1;
                shared.remark(*exception)?;
            }
            None => equal.push(entry),
        }
    }
    Ok(equal)
}

async fn only_switched(
    shared: &Shared,
    entries: Vec<Entry>,
    needed: &KeySet,
) -> Result<Vec<Entry>, RunError> {
    if entries.is_empty() {
        return Ok(entries);
    }
    let items: Vec<Item> = entries.iter().map(|entry| entry.item.clone()).collect();
    let switched = shared.ledger.is_switched(&items).await?;
    let mut may_go = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let is_needed = entry
            .item
            .blobs
            .iter()
            .any(|blob| needed.contains(&blob.source));
        if switched.get(index) == Some(&true) && !is_needed {
            may_go.push(entry);
            continue;
        }
        shared.remark(why_needed(shared, &entry.item).await)?;
    }
    Ok(may_go)
}

/// Says why the sources of an item stay: a link by that alone, for somebody has made it, and a rollback could not make it again.
async fn why_needed(shared: &Shared, item: &Item) -> Exception {
    for blob in &item.blobs {
        if let Some(target) = shared.source.leads_to(blob).await {
            let message = format!(
                "the source {} is a link to {target}: neither it nor what it leads to is ever removed; both were kept",
                blob.source
            );
            let remedy = "see what else uses the file that it leads to; if nothing does, remove both by hand";
            return exception(item, blob, ExceptionKind::NotAFile, message, remedy);
        }
    }
    let message =
        "something still refers to its source, or it is not switched over; the source was kept";
    let remedy =
        "run the migration again, and see what refers to the file; then remove sources again";
    super::shared::item_exception(item, ExceptionKind::ItemChanged, message, remedy)
}

async fn remove_batch(
    shared: &Arc<Shared>,
    entries: Vec<Entry>,
    options: RemoveOptions,
) -> Result<(), RunError> {
    if entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = entries.iter().map(|entry| entry.item.id.clone()).collect();
    if !options.dry_run {
        shared.steps.take("removing")?;
        shared.journal.append(&Line::Removing { ids })?;
        shared.journal.sync().await?;
        shared.steps.take("intent durable")?;
    }
    let work = |shared: Arc<Shared>, entry: Entry| async move {
        match remove_item(&shared, &entry, options.dry_run).await {
            Ok(()) => Ok(Ok(entry.item.id)),
            Err(Failure::Item(exception)) => Ok(Err(exception)),
            Err(Failure::Run(error)) => Err(error),
        }
    };
    let mut gone = Vec::new();
    for outcome in side_by_side(shared, entries, work).await? {
        match outcome {
            Ok(id) => gone.push(id),
            Err(exception) => {
                shared.report().failed += u64::from(exception.kind.is_failure());
                shared.remark(*exception)?;
            }
        }
    }
    if !options.dry_run {
        shared.steps.take("sources removed")?;
        shared.journal.append(&Line::Removed { ids: gone })?;
        shared.journal.flush()?;
    }
    Ok(())
}

async fn remove_item(shared: &Shared, entry: &Entry, dry_run: bool) -> Result<(), Failure> {
    for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
        if let Some(stored) = stored {
            remove_source(shared, &entry.item, blob, stored, dry_run).await?;
        }
    }
    Ok(())
}

async fn remove_source(
    shared: &Shared,
    item: &Item,
    blob: &Blob,
    stored: &StoredBlob,
    dry_run: bool,
) -> Result<(), Failure> {
    let failed = |error| shared.source_failure(item, blob, error);
    // Of two items with one source the second must not read what the first is removing.
    let _turn = shared.restoring(&blob.source).await;
    let found = match dry_run {
        true => {
            let found = shared.patiently_source(|| shared.digest_of_named(blob));
            found.await.map(|found| match found {
                None => Removal::NotThere,
                Some(found) if found == (stored.size, stored.sha256) => Removal::Removed,
                Some(_) => Removal::Differs,
            })
        }
        false => {
            shared.steps.take("remove source")?;
            // Reading, the last look and the removal are one step of the source: nothing waits in between.
            shared
                .patiently_source(|| shared.remove_named(blob, stored))
                .await
        }
    };
    match found.map_err(failed)? {
        Removal::NotThere => return Ok(()),
        Removal::Removed => {}
        Removal::Differs => {
            let message = "the source was changed since it was copied; it was kept";
            let remedy = "compare it with the object, and remove the one that is wrong";
            let kind = ExceptionKind::SourceChanged;
            let exception = exception(item, blob, kind, message, remedy);
            return Err(Failure::Item(Box::new(exception)));
        }
    }
    {
        let mut report = shared.report();
        report.sources_removed += 1;
        report.bytes += stored.size;
    }
    shared.observer.event(Event::SourceRemoved {
        source: blob.source.clone(),
        bytes: stored.size,
    });
    Ok(())
}
