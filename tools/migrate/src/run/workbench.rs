//! Work on a run that is there already: undoing it, removing its sources. Lock, journal, engine and summary, opened as one.
//!
//! What must hold: the lock is held until the work is over; whatever the outcome, the summary says how the run stands.
//!
//! What it deliberately does not do: know which work it is.

use std::future::Future;
use std::sync::Arc;

use console::{Exit, Failure};
use transfer::{Engine, Exception, Journal, Report, RunError, StopSignal};

use super::existing::{self, Named};
use super::failures::{database_failure, run_failure};
use super::mounted;
use super::parts::{self, Ends};
use super::record::{Record, TOOL};
use super::session::Session;
use super::{Ticking, Watch, listen, ticked};
use crate::db::RunnerLock;
use crate::report::RunReport;
use crate::state::RunState;

/// A run that is taken up, with what works on it.
pub struct Workbench {
    /// What was typed and opened.
    pub session: Session,
    /// The summary.
    pub record: Record,
    /// The journal.
    pub journal: Journal,
    /// Both ends of the way.
    pub ends: Ends,
    /// What works.
    pub engine: Engine,
    action: &'static str,
    watch: Arc<Watch>,
    stop: StopSignal,
    _lock: RunnerLock,
}

impl Workbench {
    /// Takes the lock and the run. `action` and `label` say what is done: for the report, and for the screen.
    ///
    /// # Errors
    /// If another process is at it, or database, store or journal cannot be opened.
    pub async fn open(
        mut session: Session,
        named: Named<'_>,
        action: &'static str,
        label: &str,
    ) -> Result<Self, Failure> {
        let lock = session
            .database
            .lock()
            .await
            .map_err(|error| database_failure(&error))?;
        let (record, journal) = existing::take_up(&mut session, named).await?;
        let ends = Ends::open(&session).await?;
        // A disk that is not mounted is neither filled up nor taken for one from which the files are gone.
        parts::check_upload(&session, &ends.paths)?;
        let of = (&record.files, &record.summary.parameters);
        mounted::check(&session, &ends.paths, of, &journal)?;
        if !session.line.action.dry_run {
            parts::clear_halves(&ends.paths);
        }
        let total = journal.tally().switched();
        let is_verbose = session.line.output.verbose;
        let watch = Arc::new(Watch::new(&session.ui, Some(total), 0, label, is_verbose));
        let stop = StopSignal::new();
        let parts = parts::engine_parts(
            &session,
            &ends,
            journal.clone(),
            watch.clone(),
            stop.clone(),
        )?;
        Ok(Self {
            engine: Engine::new(parts),
            session,
            record,
            journal,
            ends,
            action,
            watch,
            stop,
            _lock: lock,
        })
    }

    /// Does the work, with the summary saying `state` meanwhile, and takes its counts over.
    ///
    /// # Errors
    /// Those of the work; `next` is what a person is told to type then.
    pub async fn work<'w, F>(
        &'w mut self,
        state: RunState,
        next: &str,
        work: impl FnOnce(&'w mut Engine) -> F,
    ) -> Result<Report, Failure>
    where
        F: Future<Output = Result<Report, RunError>> + 'w,
    {
        let _listening = listen(&self.stop);
        self.record.save(state, &self.journal)?;
        let ticking = Ticking {
            record: &mut self.record,
            journal: &self.journal,
            watch: &self.watch,
            says_lines: self.session.line.output.progress,
            state,
        };
        let outcome = ticked(work(&mut self.engine), ticking).await;
        self.watch.finish();
        match outcome {
            Ok(report) => {
                self.record.add(&report);
                Ok(report)
            }
            Err(error) => {
                self.record.add(error.report());
                self.record.save(state, &self.journal)?;
                Err(run_failure(&error, next))
            }
        }
    }

    /// Does what changes nothing: the summary stays as it is.
    ///
    /// # Errors
    /// Those of the work; `next` is what a person is told to type then.
    pub async fn try_out<'w, F>(
        &'w mut self,
        next: &str,
        work: impl FnOnce(&'w mut Engine) -> F,
    ) -> Result<Report, Failure>
    where
        F: Future<Output = Result<Report, RunError>> + 'w,
    {
        let _listening = listen(&self.stop);
        let outcome = work(&mut self.engine).await;
        self.watch.finish();
        outcome.map_err(|error| run_failure(&error, next))
    }

    /// Shows what was done, and writes it where `--report` says.
    ///
    /// # Errors
    /// If the report cannot be written.
    pub fn show(
        &self,
        mut this_time: Report,
        state: RunState,
        exit: Exit,
        next: String,
    ) -> Result<(), Failure> {
        let exceptions: Vec<Exception> = std::mem::take(&mut this_time.exceptions);
        let report = RunReport {
            action: self.action,
            tool: TOOL.into(),
            run: self.record.files.run.clone(),
            state,
            exit_code: exit.code(),
            parameters: self.record.summary.parameters.clone(),
            journal: self.record.files.journal.display().to_string(),
            counts: self.record.summary.counts,
            this_time,
            exceptions,
            balance: None,
            next,
        }
        .counted();
        report.show(&self.session.ui);
        match &self.session.line.run.report {
            Some(path) => report.write_to(path),
            None => Ok(()),
        }
    }
}
