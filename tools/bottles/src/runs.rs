//! What runs did: a short record of each, in the store beside the mirror's log and in the state directory.
//!
//! What must hold: a record is an object of its own under a name that nobody else takes, so two runs at once lose nothing of each other; only
//! the last [`KEPT`] stay; nothing of a run hangs on its record.
//!
//! It deliberately keeps no list of everything that a run fetched: generations say what changed.

mod local;

pub use local::{Begun, local_runs, take_killed};

use crate::log::OWN;
use crate::plan::FormulaFailure;
use crate::sync::SyncReport;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use store::{Store, StoreError};

/// So many records are kept, in the store and in the state directory each.
pub const KEPT: usize = 100;

/// So many failed formulae are named in a record.
const FAILURES_NAMED: usize = 20;

/// So many characters of a text are kept.
const TEXT_MAX: usize = 300;

/// So many records are read at once.
const AT_ONCE: usize = 16;

/// A larger object is no record.
const RECORD_MAX: u64 = 64 << 10;

/// The version of the form of a record.
const FORMAT: u32 = 1;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It is under way.
    Running,
    /// It published a generation, and nothing failed.
    Published,
    /// The mirror was up to date.
    NothingNew,
    /// It published a generation without the formulae that failed.
    PublishedIncomplete,
    /// Formulae failed, so nothing was published.
    Incomplete,
    /// It could not go on.
    Failed,
    /// It was asked to stop.
    Interrupted,
    /// It ended without a word: killed, or its machine went off.
    Killed,
}

impl RunOutcome {
    /// Returns it in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RunOutcome::Running => "running",
            RunOutcome::Published => "published",
            RunOutcome::NothingNew => "nothing new",
            RunOutcome::PublishedIncomplete => "published incomplete",
            RunOutcome::Incomplete => "incomplete",
            RunOutcome::Failed => "failed",
            RunOutcome::Interrupted => "interrupted",
            RunOutcome::Killed => "killed",
        }
    }

    /// Tells whether the mirror is as the run was to leave it.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, RunOutcome::Published | RunOutcome::NothingNew)
    }
}

/// Who began a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person or a script.
    Manual,
    /// `daemon`, by its schedule.
    Schedule,
    /// `bundle import`.
    Import,
}

/// What one run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this form.
    pub format: u32,
    /// Its name: when it began, and something that no other run has.
    pub id: String,
    /// The mirror's store.
    pub store: String,
    /// The machine.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// Who began it.
    pub trigger: Trigger,
    /// When it began, by its machine's clock.
    pub started: Timestamp,
    /// When it ended; nothing if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The generation that it published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Bottles of the selection.
    pub bottles: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were fetched.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Manifests that changed.
    pub manifests: u64,
    /// API files that changed.
    pub api_files: u64,
    /// Formulae that it took out of the mirror, wholly or for some platforms. Records of earlier programs do not say it.
    #[serde(default)]
    pub removed: u64,
    /// Requests to the store.
    pub store_requests: u64,
    /// Requests to the upstream.
    pub upstream_requests: u64,
    /// How many formulae, or API files, failed.
    pub failed: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedName>,
}

/// What failed in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedName {
    /// The formula.
    pub formula: String,
    /// What went wrong.
    pub what: String,
}

impl RunRecord {
    /// Makes the record of a run that begins.
    #[must_use]
    pub fn begin(store: &str, host: &str, trigger: Trigger, now: Timestamp) -> RunRecord {
        let mut random = [0; 4];
        // Two runs that begin in the same millisecond on machines without randomness would share a name; the time still tells most apart.
        let _ = getrandom::fill(&mut random);
        let id = format!(
            "{}-{:08x}",
            now.strftime("%Y%m%dT%H%M%S%3fZ"),
            u32::from_le_bytes(random)
        );
        RunRecord {
            format: FORMAT,
            id,
            store: store.to_owned(),
            host: shortened(host),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trigger,
            started: now,
            ended: None,
            outcome: RunOutcome::Running,
            error: None,
            remedy: None,
            generation: None,
            bottles: 0,
            bytes: 0,
            fetched: 0,
            fetched_bytes: 0,
            manifests: 0,
            api_files: 0,
            removed: 0,
            store_requests: 0,
            upstream_requests: 0,
            failed: 0,
            failures: Vec::new(),
        }
    }

    /// Takes over what a run reports.
    pub fn take_report(&mut self, report: &SyncReport) {
        self.outcome = match () {
            () if report.stopped => RunOutcome::Interrupted,
            () if report.published.is_some() && !report.failures.is_empty() => {
                RunOutcome::PublishedIncomplete
            }
            () if !report.failures.is_empty() => RunOutcome::Incomplete,
            () if report.published.is_some() => RunOutcome::Published,
            () => RunOutcome::NothingNew,
        };
        self.generation.clone_from(&report.published);
        self.bottles = report.bottles;
        self.bytes = report.bytes;
        self.fetched = report.fetched;
        self.fetched_bytes = report.fetched_bytes;
        self.manifests = report.manifests;
        self.api_files = report.api_files;
        // What is not published takes nothing away.
        self.removed = match report.published {
            Some(_) => report.removed.len() as u64,
            None => 0,
        };
        self.failed = report.failures.len() as u64;
        let named = report.failures.iter().take(FAILURES_NAMED);
        self.failures = named.map(FailedName::of).collect();
    }

    /// Says that it could not go on.
    pub fn take_error(&mut self, why: &str, remedy: Option<&str>) {
        self.outcome = RunOutcome::Failed;
        self.remedy = remedy.map(|remedy| shortened(&console::redact(remedy)));
        self.error = Some(shortened(&console::redact(why)));
    }

    /// Returns how long it took, if it is known.
    #[must_use]
    pub fn took(&self) -> Option<std::time::Duration> {
        let took = self.ended?.duration_since(self.started);
        Some(std::time::Duration::try_from(took).unwrap_or_default())
    }

    /// Returns the key of its object.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}.json", folder(), self.id)
    }

    /// Reads one; nothing if it is none, or of a newer form.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<RunRecord> {
        let record: RunRecord = serde_json::from_slice(bytes).ok()?;
        (record.format == FORMAT && is_id(&record.id)).then_some(record)
    }

    /// Returns its text: one line.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl FailedName {
    fn of(failure: &FormulaFailure) -> FailedName {
        FailedName {
            formula: shortened(&failure.formula),
            what: shortened(&console::redact(&failure.what)),
        }
    }
}

fn folder() -> String {
    format!("{OWN}/runs")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a text can be the name of a record: it becomes the name of a file.
fn is_id(text: &str) -> bool {
    text.len() <= 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Writes a record into the store, and removes the oldest of too many.
///
/// # Errors
/// If it is not certain that it was written. That an old one was not removed is no error: the next run does it.
pub async fn write(store: &Store, record: &RunRecord) -> Result<(), StoreError> {
    store.put(&record.key(), record.encode().into()).await?;
    let cleared = async {
        let found = listed(store).await?;
        let old = found.iter().rev().skip(KEPT).map(|(_, key)| key.clone());
        let old: Vec<String> = old.filter(|key| *key != record.key()).collect();
        match old.is_empty() {
            true => Ok(()),
            false => store.delete(&old).await,
        }
    };
    if let Err(error) = cleared.await {
        tracing::info!(%error, "old records of runs were not removed");
    }
    Ok(())
}

/// Lists the records' keys, the last one written at the end: by the store's clock, as machines' clocks may differ.
async fn listed(store: &Store) -> Result<Vec<(SystemTime, String)>, StoreError> {
    let mut found = Vec::new();
    let mut entries = store.list_stream(&folder());
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if entry.size <= RECORD_MAX && entry.key.ends_with(".json") {
            found.push((entry.modified, entry.key));
        }
    }
    found.sort();
    Ok(found)
}

/// The last records of a store.
#[derive(Debug, Default)]
pub struct LastRuns {
    /// Those that can be read, the one that began last at the end.
    pub runs: Vec<RunRecord>,
    /// How many are there and are none, or of a newer form.
    pub unreadable: u64,
}

/// Reads the last records. `known` are not read again: a record never changes.
///
/// # Errors
/// If the store cannot be listed, or an object cannot be read that is there.
pub async fn read(store: &Store, last: usize, known: &[RunRecord]) -> Result<LastRuns, StoreError> {
    let keys = listed(store).await?;
    let keys = keys.into_iter().rev().take(last).map(|(_, key)| key);
    let reading = stream::iter(keys.map(|key| async move {
        if let Some(record) = known.iter().find(|record| record.key() == key) {
            return Ok(Some(Some(record.clone())));
        }
        match store.get(&key).await {
            Ok(bytes) => Ok(Some(RunRecord::parse(&bytes))),
            Err(error) if error.kind() == store::ErrorKind::Corrupt => Ok(Some(None)),
            // Another run has just removed it.
            Err(error) if error.kind() == store::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }));
    let mut found = LastRuns::default();
    let mut reading = reading.buffer_unordered(AT_ONCE);
    while let Some(record) = reading.next().await {
        match record? {
            Some(Some(record)) => found.runs.push(record),
            Some(None) => found.unreadable += 1,
            None => {}
        }
    }
    found
        .runs
        .sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    Ok(found)
}

#[cfg(test)]
mod tests;
