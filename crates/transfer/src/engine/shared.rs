//! What all tasks of a run share: the parts, the budgets, the report.

use super::pace::{Bandwidth, Pace};
use super::{EngineParts, Keepers};
use crate::Steps;
use crate::error::{RunError, RunErrorKind};
use crate::item::{Blob, Digest, Item};
use crate::journal::{Journal, Line, MirrorCopy, MirrorError, StoredBlob};
use crate::keyset::KeySet;
use crate::ledger::{Ledger, LedgerError, Outcome, Standing};
use crate::limits::{Limits, Proof};
use crate::observer::{Event, Observer};
use crate::others::Others;
use crate::report::{Exception, ExceptionKind, Report};
use crate::source::objects::digest_of;
use crate::source::{Removal, Source, SourceError};
use crate::stop::StopSignal;
use futures::StreamExt;
use jiff::Timestamp;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::{ErrorKind, Honesty, Store, StoreError, Usage};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// The budget of memory is handed out in these units.
const UNIT: u64 = 1024;

/// How often an object that comes back different is read again.
const READS_MAX: u32 = 3;

/// So many locks are there for sources that are being restored.
const RESTORING: u64 = 256;

/// Everything a task needs.
pub(super) struct Shared {
    pub(super) journal: Journal,
    pub(super) source: Arc<dyn Source>,
    pub(super) target: Store,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) limits: Limits,
    pub(super) wanted_proof: Proof,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) stop: StopSignal,
    pub(super) keepers: Keepers,
    pub(super) steps: Steps,
    pub(super) pace: Pace,
    pub(super) bandwidth: Arc<Bandwidth>,
    prefixes: Vec<String>,
    mirror: Option<tokio::sync::Mutex<MirrorCopy>>,
    memory: Arc<Semaphore>,
    proof: OnceCell<Proof>,
    parts_proof: OnceCell<Proof>,
    pub(super) creates_only: OnceCell<bool>,
    /// Held while a source is restored, one lock for all whose names have one hash.
    restoring: Vec<tokio::sync::Mutex<()>>,
    /// Held for reading by each probe that is under way.
    pub(super) probing: Arc<tokio::sync::RwLock<()>>,
    existing: OnceCell<KeySet>,
    /// The keys of this run's items.
    pub(super) planned: Mutex<KeySet>,
    /// Those of them that more than one item has.
    pub(super) twins: Mutex<KeySet>,
    report: Mutex<Report>,
    began: Instant,
    usage_before: Usage,
}

/// Why something could not be done: for what is wrong with one item, or with everything.
#[derive(Debug)]
pub(super) enum Failure {
    Item(Box<Exception>),
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Run(error.into())
    }
}

impl Shared {
    pub(super) fn new(parts: &EngineParts) -> Shared {
        let mirror = parts.mirror.as_ref().map(|mirror| {
            let run = &parts.journal.header().run_id;
            let copy = MirrorCopy::new(mirror.store.clone(), &mirror.prefix, run);
            tokio::sync::Mutex::new(copy)
        });
        let units = usize::try_from(parts.limits.memory / UNIT).unwrap_or(usize::MAX);
        Shared {
            journal: parts.journal.clone(),
            source: parts.source.clone(),
            target: parts.target.clone(),
            ledger: parts.ledger.clone(),
            wanted_proof: parts.proof,
            observer: parts.observer.clone(),
            stop: parts.stop.clone(),
            keepers: parts.keepers.clone(),
            steps: parts.steps.clone(),
            pace: Pace::new(parts.limits.parallel, parts.target.usage().throttled),
            bandwidth: Arc::new(Bandwidth::new(parts.limits.bandwidth)),
            prefixes: parts.prefixes.clone(),
            mirror,
            memory: Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS))),
            proof: OnceCell::new(),
            parts_proof: OnceCell::new(),
            creates_only: OnceCell::new(),
            existing: OnceCell::new(),
            restoring: (0..RESTORING)
                .map(|_| tokio::sync::Mutex::default())
                .collect(),
            probing: Arc::default(),
            planned: Mutex::default(),
            twins: Mutex::default(),
            report: Mutex::default(),
            began: Instant::now(),
            usage_before: parts.target.usage(),
            limits: parts.limits.clone(),
        }
    }

    /// Reserves memory; a blob larger than the whole budget gets all of it.
    pub(super) async fn reserve(&self, bytes: u64) -> OwnedSemaphorePermit {
        let total = (self.limits.memory / UNIT).clamp(1, u64::from(u32::MAX));
        let units = bytes.div_ceil(UNIT).clamp(1, total);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = self.memory.clone().acquire_many_owned(units).await;
        permit.expect("the semaphore is never closed")
    }

    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the report as it is now, with what the target was asked.
    pub(super) fn report_now(&self) -> Report {
        let mut report = self.report().clone();
        report.usage = self.target.usage() - self.usage_before;
        report.elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        report
    }

    /// Notes an exception in the report and tells the observer.
    pub(super) fn note(&self, exception: Exception) {
        self.report().add(exception.clone());
        self.observer.event(Event::Exception(exception));
    }

    /// Notes an exception that does not end its item, also in the journal.
    pub(super) fn remark(&self, exception: Exception) -> Result<(), RunError> {
        let line = Line::Remark {
            exception: exception.clone(),
        };
        self.journal.append(&line)?;
        self.note(exception);
        Ok(())
    }

    /// Tells how objects are proved: what was asked for, or what the store is good for.
    pub(super) async fn proof(&self, in_parts: bool) -> Result<Proof, StoreError> {
        if self.wanted_proof != Proof::Checksum {
            return Ok(self.wanted_proof);
        }
        let found = self.proof.get_or_try_init(|| async {
            let honesty = self.patiently(|| self.target.checksum_honesty()).await?;
            tracing::debug!(?honesty, "probed the store's checksums");
            let parts = match honesty {
                Honesty::Honest => Proof::Checksum,
                _ => Proof::ReadBack,
            };
            let _ = self.parts_proof.set(parts);
            Ok::<Proof, StoreError>(match honesty {
                Honesty::Honest | Honesty::OnlyWhole => Proof::Checksum,
                Honesty::Ignored | Honesty::Refused => Proof::ReadBack,
            })
        });
        let whole = *found.await?;
        Ok(match in_parts {
            true => self.parts_proof.get().copied().unwrap_or(Proof::ReadBack),
            false => whole,
        })
    }

    /// Lists, once, the keys that were in the target before this run.
    pub(super) async fn existing(&self) -> Result<&KeySet, StoreError> {
        self.existing
            .get_or_try_init(|| self.patiently(|| self.list_existing()))
            .await
    }

    /// Returns the prefixes of the target below which all keys lie.
    pub(super) fn prefixes(&self) -> Vec<String> {
        match self.prefixes.is_empty() {
            true => vec![String::new()],
            false => self.prefixes.clone(),
        }
    }

    async fn list_existing(&self) -> Result<KeySet, StoreError> {
        let mut keys = KeySet::new();
        for prefix in self.prefixes() {
            let mut entries = self.target.list_stream(&prefix);
            while let Some(entry) = entries.next().await {
                match entry {
                    Ok(entry) => keys.insert(&entry.key),
                    // A folder that nobody has written to yet is empty.
                    Err(error) if is_new_folder(&self.target, &error) => false,
                    Err(error) => return Err(error),
                };
            }
        }
        Ok(keys)
    }

    /// Calls the store again after failures that may pass, with growing pauses.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let mut attempt = 1;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Throttled {
                self.throttled();
            }
            if !error.kind().is_retryable() || !self.wait(attempt, &error).await {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Calls the source again after failures of its store that may pass.
    pub(super) async fn patiently_source<T, F: Future<Output = Result<T, SourceError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, SourceError> {
        let mut attempt = 1;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let may_pass = error
                .store_error()
                .is_some_and(|error| error.kind().is_retryable());
            if !may_pass || !self.wait(attempt, &error).await {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Asks the ledger again after failures that may pass. Both of its calls may be repeated.
    pub(super) async fn switch(
        &self,
        items: &[Item],
        back: bool,
    ) -> Result<Vec<Outcome>, RunError> {
        let call = || async move {
            match back {
                true => self.ledger.revert(items).await,
                false => self.ledger.commit(items).await,
            }
        };
        self.ask_ledger(items.len(), call).await
    }

    /// Asks the ledger what names the objects of items, a batch at a time.
    pub(super) async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, RunError> {
        let mut found = Vec::with_capacity(items.len());
        for items in items.chunks(self.limits.batch.max(1)) {
            let call = || self.ledger.standing(items);
            found.extend(self.ask_ledger(items.len(), call).await?);
        }
        Ok(found)
    }

    /// Asks the runs of others, as they are now, why they need what has these names; none of what nobody needs.
    pub(super) async fn why_kept(
        &self,
        others: &Others,
        names: &[&str],
    ) -> Result<Vec<Option<String>>, RunError> {
        let mut attempt = 1;
        loop {
            let error = match others.why_kept(names).await {
                Ok(reasons) => return Ok(reasons),
                Err(error) => error,
            };
            let below = error.store_error().map(StoreError::kind);
            let may_pass =
                below.is_some_and(|kind| kind.is_retryable() || kind == ErrorKind::Corrupt);
            if !may_pass || !self.wait(attempt, &error).await {
                return Err(error.into());
            }
            attempt += 1;
        }
    }

    async fn ask_ledger<T, F: Future<Output = Result<Vec<T>, LedgerError>>>(
        &self,
        wanted: usize,
        call: impl Fn() -> F,
    ) -> Result<Vec<T>, RunError> {
        let mut attempt = 1;
        loop {
            let error: LedgerError = match call().await {
                Ok(answers) if answers.len() == wanted => return Ok(answers),
                Ok(answers) => {
                    let n = answers.len();
                    return Err(LedgerError::new(format!("{n} outcomes for {wanted} items")).into());
                }
                Err(error) => error,
            };
            if !error.is_retryable() || !self.wait(attempt, &error).await {
                return Err(error.into());
            }
            attempt += 1;
        }
    }

    /// Reads an object back until it comes as it should; returns what came last. A body may be damaged on the way.
    pub(super) async fn read_back(
        &self,
        key: &str,
        expected: (u64, Digest),
    ) -> Result<Option<(u64, Digest)>, StoreError> {
        let mut attempt = 1;
        loop {
            let found = self.patiently(|| digest_of(&self.target, key)).await;
            match found {
                Ok(Some(found)) if found != expected && attempt < READS_MAX => {}
                Err(error) if error.kind() == ErrorKind::Corrupt && attempt < READS_MAX => {}
                found => return found,
            }
            attempt += 1;
        }
    }

    /// Waits until nobody else restores or removes a source, and keeps others from it: two items may have one.
    pub(super) async fn restoring(&self, source: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let number = crate::keyset::hash(source) % RESTORING;
        self.restoring[number as usize].lock().await
    }

    /// Waits until no probe is under way: each takes away what it put.
    pub(super) async fn probes_done(&self) {
        let _ = self.probing.write().await;
    }

    /// Reads and hashes a source that only the journal names; none if it is not there. Elsewhere than where a journal's word is enough it is not
    /// read, nor taken for what was copied.
    pub(super) async fn digest_of_named(
        &self,
        blob: &Blob,
    ) -> Result<Option<(u64, Digest)>, SourceError> {
        self.source.vouch(blob).await?;
        self.source.digest(blob).await
    }

    /// Removes a source, if it is the one that was stored, and a journal's word for it counts.
    pub(super) async fn remove_named(
        &self,
        blob: &Blob,
        stored: &StoredBlob,
    ) -> Result<Removal, SourceError> {
        self.source.vouch(blob).await?;
        self.source.remove(blob, stored).await
    }

    /// Waits before the next attempt; false if there is none.
    async fn wait(&self, attempt: u32, error: &(dyn Error + Send + Sync + 'static)) -> bool {
        let retry = &self.limits.retry;
        if attempt >= retry.attempts || self.stop.is_raised() {
            return false;
        }
        let doubled = 2_u32.saturating_pow(attempt - 1);
        let pause = retry.pause.saturating_mul(doubled).min(retry.pause_max);
        if pause > Duration::ZERO {
            self.observer.event(Event::Waiting {
                why: chain(error),
                seconds: pause.as_secs_f64(),
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.raised() => {}
            }
        }
        true
    }

    pub(super) fn throttled(&self) {
        if let Some(parallel) = self.pace.slow_down() {
            self.observer.event(Event::Throttled { parallel });
        }
    }

    /// Brings the copy of the journal up to date with what is durable.
    pub(super) async fn copy_journal(&self) -> Result<(), RunError> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let mut attempt = 1;
        loop {
            let copied = mirror.lock().await.catch_up(&self.journal).await;
            match copied {
                Ok(()) => return Ok(()),
                Err(MirrorError::Journal(error)) => return Err(error.into()),
                Err(MirrorError::Store(error)) => {
                    // A body that was cut on the way comes whole the next time.
                    let may_pass =
                        error.kind().is_retryable() || error.kind() == ErrorKind::Corrupt;
                    if !may_pass || !self.wait(attempt, &error).await {
                        return Err(error.into());
                    }
                }
            }
            attempt += 1;
        }
    }

    /// Writes that a call begins.
    pub(super) fn begin(&self, what: &str) -> Result<(), RunError> {
        let line = Line::Begin {
            what: what.to_owned(),
            time: Timestamp::now(),
        };
        self.journal.append(&line)?;
        Ok(())
    }

    /// Writes that a call came to its end, and returns its report.
    pub(super) async fn end(&self, what: &str) -> Result<Report, RunError> {
        let report = self.report_now();
        let short = Report {
            exceptions: Vec::new(),
            ..report.clone()
        };
        let line = Line::End {
            what: what.to_owned(),
            time: Timestamp::now(),
            report: Box::new(short),
        };
        self.journal.append(&line)?;
        self.journal.sync().await?;
        self.copy_journal().await?;
        Ok(report)
    }

    /// Turns a failure of the target at one blob into one of the item or of the run.
    pub(super) fn target_failure(&self, item: &Item, blob: &Blob, error: StoreError) -> Failure {
        let kind = match error.kind() {
            ErrorKind::Corrupt => ExceptionKind::Verification,
            ErrorKind::NotFound => ExceptionKind::ObjectMissing,
            ErrorKind::Other | ErrorKind::Unsupported | ErrorKind::Precondition => {
                ExceptionKind::Refused
            }
            _ => return Failure::Run(error.into()),
        };
        let remedy = error.remedy();
        Failure::Item(Box::new(exception(item, blob, kind, chain(&error), remedy)))
    }

    /// Turns a failure of the source at one blob into one of the item or of the run.
    pub(super) fn source_failure(&self, item: &Item, blob: &Blob, error: SourceError) -> Failure {
        if !error.kind().is_of_one_item() {
            let of_object = error.store_error().map(StoreError::kind);
            match of_object {
                Some(ErrorKind::Corrupt | ErrorKind::Other | ErrorKind::Archived) => {}
                _ => return Failure::Run(error.into()),
            }
        }
        let (kind, remedy) = (error.kind().exception(), error.remedy());
        Failure::Item(Box::new(exception(item, blob, kind, chain(&error), remedy)))
    }

    /// Checks whether the limit of failures is passed.
    pub(super) fn too_many_failures(&self) -> Option<RunError> {
        let failed = self.report().failed;
        let max = self.limits.max_failures?;
        (failed > max).then(|| RunError::too_many_failures(failed))
    }
}

/// Works on many things side by side, as many at once as the pace allows; the results are in the order of the things. After an
/// error nothing goes on in the background.
pub(super) async fn side_by_side<T, R, W, F>(
    shared: &Arc<Shared>,
    things: Vec<T>,
    work: W,
) -> Result<Vec<R>, RunError>
where
    R: Send + 'static,
    F: Future<Output = Result<R, RunError>> + Send + 'static,
    W: Fn(Arc<Shared>, T) -> F,
{
    let mut results: Vec<Option<R>> = things.iter().map(|_| None).collect();
    let mut waiting = things.into_iter().enumerate();
    let mut tasks: JoinSet<Result<(usize, R), RunError>> = JoinSet::new();
    loop {
        while tasks.len() < shared.pace.limit() {
            let Some((number, thing)) = waiting.next() else {
                break;
            };
            let task = work(shared.clone(), thing);
            tasks.spawn(async move { Ok((number, task.await?)) });
        }
        let Some(outcome) = tasks.join_next().await else {
            return Ok(results.into_iter().flatten().collect());
        };
        match joined(outcome).and_then(|outcome| outcome) {
            Ok((number, result)) => results[number] = Some(result),
            Err(error) => {
                tasks.shutdown().await;
                shared.probes_done().await;
                return Err(error);
            }
        }
    }
}

/// A folder store makes its folder at the first write.
pub(crate) fn is_new_folder(target: &Store, error: &StoreError) -> bool {
    error.kind() == ErrorKind::NoBucket && target.describe().starts_with("folder:")
}

/// Makes an exception of one blob.
pub(super) fn exception(
    item: &Item,
    blob: &Blob,
    kind: ExceptionKind,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Exception {
    Exception {
        item: item.id.clone(),
        role: blob.role.clone(),
        source: blob.source.clone(),
        key: blob.key.clone(),
        kind,
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// Makes an exception of a whole item.
pub(super) fn item_exception(
    item: &Item,
    kind: ExceptionKind,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Exception {
    let first = item.blobs.first();
    Exception {
        item: item.id.clone(),
        role: String::new(),
        source: first.map(|blob| blob.source.clone()).unwrap_or_default(),
        key: first.map(|blob| blob.key.clone()).unwrap_or_default(),
        kind,
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// Writes an error with its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Locks a set of keys. A task that panicked with it left it whole.
pub(super) fn locked(keys: &Mutex<KeySet>) -> MutexGuard<'_, KeySet> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a task; a panic goes on here.
pub(super) fn joined<T>(outcome: Result<T, tokio::task::JoinError>) -> Result<T, RunError> {
    match outcome {
        Ok(value) => Ok(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(RunError::new(
            RunErrorKind::Journal,
            Some(error.into()),
            "resume the run".to_owned(),
        )),
    }
}
