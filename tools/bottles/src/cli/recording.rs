//! The record of a run, from its beginning to its end.
//!
//! What must hold: whatever goes wrong with a record is said, and fails nothing and delays nothing for long.

use super::mirror::Place;
use crate::runs::{self, Begun, RunOutcome, RunRecord, Trigger};
use crate::sync::SyncReport;
use console::{Env, Exit, Failure, Ui};
use jiff::Timestamp;
use std::io;
use std::time::Duration;
use store::{Store, StoreError};

/// So long a run waits for its record to be written into the store.
const WRITE_AT_MOST: Duration = Duration::from_secs(15);

/// A run that leaves a record.
pub(super) struct Recording {
    record: RunRecord,
    begun: Option<Begun>,
    /// Whether two mirrors are to come out the same: then nothing goes into the store that says how and when it was made.
    is_reproducible: bool,
    killed: Vec<RunRecord>,
}

impl Recording {
    /// Begins one for a run on a store.
    pub(super) fn begin(
        store: &str,
        place: &Place,
        env: &Env,
        now: Timestamp,
        trigger: Trigger,
        ui: &Ui,
    ) -> Recording {
        let record = RunRecord::begin(store, &host(env), trigger, whole_millisecond(now));
        let killed = runs::take_killed(&place.state_dir, &record.store);
        let killed = killed.unwrap_or_else(|error| not_kept(ui, place, &error));
        let begun = Begun::new(&place.state_dir, &record).map(Some);
        let begun = begun.unwrap_or_else(|error| not_kept(ui, place, &error));
        let recording = Recording {
            record,
            begun,
            is_reproducible: env.get("SOURCE_DATE_EPOCH").is_some(),
            killed,
        };
        for warning in recording.warnings() {
            ui.warn(warning);
        }
        recording
    }

    /// What a person should know of earlier runs.
    pub(super) fn warnings(&self) -> Vec<String> {
        let told = |killed: &RunRecord| {
            let began = killed.started.strftime("%Y-%m-%d %H:%M UTC");
            format!(
                "the run that began {began} ended without a word: it was killed, or the machine went off"
            )
        };
        self.killed.iter().map(told).collect()
    }

    /// Ends it: the record is completed, written, and logged as one line.
    pub(super) async fn end(
        mut self,
        store: Option<&Store>,
        outcome: &Result<SyncReport, Failure>,
        upstream_requests: u64,
        ui: &Ui,
    ) -> Recorded {
        let record = &mut self.record;
        record.upstream_requests = upstream_requests;
        record.store_requests = store.map_or(0, |store| store.usage().requests());
        record.ended = Some(match self.is_reproducible {
            true => record.started,
            false => whole_millisecond(Timestamp::now()),
        });
        match outcome {
            Ok(report) => record.take_report(report),
            Err(failure) => {
                record.take_error(&whole(failure), failure.hint_text().as_deref());
            }
        }
        let is_typed_wrong = matches!(outcome, Err(failure) if [Exit::Usage, Exit::Config].contains(&failure.exit()));
        let is_run = record.trigger == Trigger::Schedule || !is_typed_wrong;
        match self.begun.take() {
            Some(begun) if is_run => {
                if let Err(error) = begun.end(&self.record) {
                    ui.warn(format!("the record of this run was not kept: {error}"));
                }
            }
            Some(begun) => begun.cancel(),
            None => {}
        }
        if !is_run {
            return Recorded::default();
        }
        let is_told = self.log(outcome.as_ref().err(), ui);
        if let Some(store) = store {
            self.write(store, ui).await;
        }
        Recorded {
            record: Some(self.record),
            is_told,
        }
    }

    /// Writes the records of this run, and of those that were killed, into the store.
    async fn write(&self, store: &Store, ui: &Ui) {
        if self.is_reproducible {
            return;
        }
        let writing = async {
            for record in self.killed.iter().chain([&self.record]) {
                runs::write(store, record).await?;
            }
            Ok::<(), StoreError>(())
        };
        let why = match tokio::time::timeout(WRITE_AT_MOST, writing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Failure::from(error).message(),
            Err(_) => "the store did not answer in time".to_owned(),
        };
        ui.warn(format!(
            "the record of this run is not in the store: {why}; nothing else hangs on it"
        ));
    }

    /// Writes what came of it into the log, if there is one. Tells whether that says all there is to say of a failure: it is not to be said twice.
    fn log(&self, failure: Option<&Failure>, ui: &Ui) -> bool {
        let record = &self.record;
        let is_log = tracing::enabled!(tracing::Level::INFO);
        if is_log && !record.outcome.is_good() && record.outcome != RunOutcome::Interrupted {
            let (why, remedy) = match failure {
                Some(failure) => (whole(failure), failure.hint_text()),
                None => (why(record), None),
            };
            let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
            tracing::error!("Sync {}: {why}{remedy}", record.outcome.as_str());
        }
        if ui.is_json() {
            ui.json(&serde_json::json!({"run": record}));
        } else if is_log {
            // The line that figures are read from.
            ui.status(console::visible_json(&record.encode()));
        }
        is_log && !ui.is_json()
    }
}

/// What came of a record.
#[derive(Default)]
pub(super) struct Recorded {
    /// The record; nothing for who typed something that is no run.
    pub(super) record: Option<RunRecord>,
    /// Whether the log has said why the run failed.
    pub(super) is_told: bool,
}

impl Recorded {
    /// Turns what came of a run into its exit code: what the log has said is said by nobody else.
    pub(super) fn exit<T>(&self, outcome: Result<T, Failure>) -> Result<Result<T, Exit>, Failure> {
        match outcome {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(failure) if self.is_told => Ok(Err(failure.exit())),
            Err(failure) => Err(failure),
        }
    }
}

/// Nobody reads the rest.
fn whole_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Says in one line why a run did not end well.
pub(super) fn why(record: &RunRecord) -> String {
    if let Some(error) = &record.error {
        return error.clone();
    }
    let named = record.failures.iter();
    let named: Vec<&str> = named.map(|failure| failure.formula.as_str()).collect();
    let count = console::human::count(record.failed, "failure");
    match record.failed > named.len() as u64 {
        true => format!("{count}: {}, and more", named.join(", ")),
        false => format!("{count}: {}", named.join(", ")),
    }
}

/// Says a failure in one line, with its causes.
pub(super) fn whole(failure: &Failure) -> String {
    let mut text = failure.message();
    for cause in failure.causes() {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

fn not_kept<T: Default>(ui: &Ui, place: &Place, error: &io::Error) -> T {
    let dir = place.state_dir.display();
    ui.warn(format!(
        "runs cannot be written down in {dir}: {error}; name another directory with --state-dir DIR"
    ));
    T::default()
}

/// Names this machine.
pub(super) fn host(env: &Env) -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel().or_else(|| env.get("HOSTNAME").map(str::to_owned));
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}
