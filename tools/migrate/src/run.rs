//! A migration: passes over the rows until none is left that can be moved, then the balance of rows, disk and bucket.
//!
//! What must hold: the lock is held from the first look at a row to the last; an end by any road leaves a summary that says how to
//! go on; 0 is returned only if everything balances.
//!
//! What it deliberately does not do: copy, journal or switch. The engine does, over the plan and the ledger of this crate.

pub mod again;
pub mod apart;
pub mod choose;
pub mod command;
pub mod existing;
pub mod failures;
pub mod journals;
pub mod kindred;
pub mod machine;
pub mod missing;
pub mod mounted;
pub mod nowhere;
pub mod owning;
pub mod parts;
pub mod record;
pub mod session;
mod signals;
pub mod sound;
pub mod stack;
pub mod upon;
mod watch;
pub mod wording;
pub mod workbench;

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use console::{Exit, Failure, human};
use futures::StreamExt;
use transfer::{
    Ended, Engine, Exception, ExceptionKind, Journal, Report, RunError, RunErrorKind, StopSignal,
};

use crate::cli::args::DirectionArg;
use crate::reconcile::Balance;
use crate::report::{self, RunReport};
use crate::rollback::add_new;
use crate::state::RunState;
use crate::witness::Witness;
use failures::{database_failure, journal_failure, run_failure};
use parts::Ends;
use record::{Record, TOOL};
use session::Session;
pub use signals::{hear, listen};
pub use watch::Watch;

/// How often the summary is rewritten and `--progress` says a line.
const TICK: Duration = Duration::from_secs(5);

/// After so many passes the application is filling faster than we move.
const PASSES_MAX: usize = 8;

/// Migrates everything that is still at the source.
///
/// # Errors
/// If the run could not come to its end; the failure says how to go on.
pub async fn run(mut session: Session) -> Result<Exit, Failure> {
    let lock = session
        .database
        .lock()
        .await
        .map_err(|error| database_failure(&error))?;
    check_before(&session)?;
    parts::check_upload(&session, &parts::paths(&session)?)?;
    crate::rollback::check_between(&session)?;
    session.check_user().await?;
    choose::check_bucket(&session).await?;
    // A store that cannot be reached is found out before a run begins that would have to be resumed.
    // It is asked for what probes of a killed process have left, which is cleared away.
    session.target().await?.clear_probes().await?;
    apart::check_apart(&session).await?;
    kindred::warn(&session).await?;
    let (record, journal) = choose::choose(&mut session).await?;
    if session.line.run.user_id.is_none() {
        session
            .line
            .run
            .user_id
            .clone_from(&record.summary.parameters.user);
    }
    let mut ends = Ends::open(&session).await?;
    ends.planner = ends.planner.witnessed(Witness::gather(&session).await?);
    let next = record.next_command(RunState::Stopped);
    ends.vouch_for(&session, &journal, &next).await?;
    parts::clear_halves(&ends.paths);
    let mut migration = Migration::new(session, ends, record, journal).await?;
    let outcome = migration.go().await;
    migration.watch.finish();
    drop(lock);
    outcome
}

/// What a run works with.
struct Migration {
    session: Session,
    ends: Ends,
    record: Record,
    journal: Journal,
    engine: Engine,
    watch: Arc<Watch>,
    stop: StopSignal,
    total: Report,
}

impl Migration {
    async fn new(
        session: Session,
        ends: Ends,
        record: Record,
        journal: Journal,
    ) -> Result<Self, Failure> {
        let (total, bytes) = parts::expected(&session).await?;
        let is_verbose = session.line.output.verbose;
        let watch = Arc::new(Watch::new(
            &session.ui,
            total,
            bytes,
            "migrating",
            is_verbose,
        ));
        let stop = StopSignal::new();
        let engine = Engine::new(parts::engine_parts(
            &session,
            &ends,
            journal.clone(),
            watch.clone(),
            stop.clone(),
        )?);
        Ok(Self {
            session,
            ends,
            record,
            journal,
            engine,
            watch,
            stop,
            total: Report::default(),
        })
    }

    async fn go(&mut self) -> Result<Exit, Failure> {
        let _listening = signals::listen(&self.stop);
        self.record.save(RunState::Running, &self.journal)?;
        match self.passes().await {
            Ok(()) => self.end().await,
            Err(error) => self.broke_off(&error).await,
        }
    }

    /// The first pass takes everything on; later ones what arrived meanwhile and what changed while it was read.
    async fn passes(&mut self) -> Result<(), RunError> {
        let mut again: HashSet<String> = HashSet::new();
        for pass in 0..PASSES_MAX {
            let journal = self.journal.clone();
            let retried = std::mem::take(&mut again);
            let is_new =
                move |id: &str| pass == 0 || journal.state(id).is_none() || retried.contains(id);
            let plan = parts::plan(&self.ends);
            let plan = plan.filter(move |item| {
                let wanted = item.as_ref().map_or(true, |item| is_new(&item.id));
                std::future::ready(wanted)
            });
            let work = self.engine.run(plan.boxed());
            let ticking = Ticking {
                record: &mut self.record,
                journal: &self.journal,
                watch: &self.watch,
                says_lines: self.session.line.output.progress,
                state: RunState::Running,
            };
            let report = match ticked(work, ticking).await {
                Ok(report) => report,
                Err(error) => {
                    self.take(error.report());
                    return Err(error);
                }
            };
            self.take(&report);
            again.extend(changed_while_read(&report));
            if report.ended != Ended::Complete || report.planned == 0 {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, report: &Report) {
        self.record.add(report);
        report::add(&mut self.total, report);
    }

    async fn end(&mut self) -> Result<Exit, Failure> {
        if self.total.ended == Ended::Stopped {
            return self.stopped();
        }
        let mut exceptions = self.exceptions()?;
        if self.session.settings.direction == DirectionArg::LocalToS3 {
            missing::name_runs(&self.session, &self.journal, &mut exceptions).await?;
        }
        if let Some(odd) = parts::notes(&self.ends).of_outside() {
            self.session.ui.warn(odd);
        }
        let balance = match self.total.ended {
            Ended::Complete => Some(self.balance(&exceptions).await?),
            _ => None,
        };
        if let Some(failure) = self.missing(balance.as_ref()) {
            let remedy =
                "check the store, and what stands before it (--test-storage), then run again";
            return Err(self.undo(failure, remedy, exceptions).await?);
        }
        let is_odd = exceptions
            .iter()
            .any(|exception| exception.kind != ExceptionKind::OptionalMissing)
            || balance
                .as_ref()
                .is_some_and(|balance| !balance.is_balanced());
        let (state, exit) = match is_odd {
            true => (RunState::FinishedWithExceptions, Exit::Partial),
            false => (RunState::Finished, Exit::Ok),
        };
        self.record
            .name(report::listed(&exceptions, balance.as_ref()));
        self.record.save(state, &self.journal)?;
        let mut report = self.report(state, exit, exceptions);
        if self.journal.tally().total() == 0 {
            report.next.clear();
        }
        report.balance = balance;
        self.show(report)?;
        if self.journal.tally().total() == 0 {
            self.record.discard()?;
        } else if !self.record.has_changed() {
            self.record.step_back()?;
        }
        Ok(exit)
    }

    /// What the journal knows, and rows of which the plan could make no items.
    fn exceptions(&self) -> Result<Vec<Exception>, Failure> {
        let mut exceptions = self
            .journal
            .exceptions()
            .map_err(|error| journal_failure(&error))?;
        exceptions.extend(parts::notes(&self.ends).exceptions);
        exceptions.sort_by(|a, b| (&a.item, a.kind).cmp(&(&b.item, b.kind)));
        exceptions.dedup_by(|a, b| a.item == b.item && a.role == b.role && a.kind == b.kind);
        Ok(exceptions)
    }

    /// A run that took nothing on has nothing to go on with, so it leaves nothing if the balance cannot be drawn either.
    async fn balance(&self, exceptions: &[Exception]) -> Result<Balance, Failure> {
        let drawn = parts::balance(&self.session, &self.ends, exceptions).await;
        if drawn.is_err() && self.journal.tally().total() == 0 {
            self.record.discard()?;
        }
        drawn
    }

    fn stopped(&mut self) -> Result<Exit, Failure> {
        let exceptions = self.exceptions()?;
        self.record.name(exceptions.iter());
        self.record.save(RunState::Stopped, &self.journal)?;
        self.show(self.report(RunState::Stopped, Exit::Interrupted, exceptions))?;
        Ok(Exit::Interrupted)
    }

    /// A run that cannot go on stays as it is, to be resumed, unless an object was not what was stored and the person wants it undone.
    async fn broke_off(&mut self, error: &RunError) -> Result<Exit, Failure> {
        if self.journal.tally().total() == 0 {
            // Nothing was taken on, so nothing has to be resumed.
            self.record.discard()?;
            return Err(run_failure(error, &self.record.begin_command()));
        }
        // The journal may be what failed.
        let exceptions = self.exceptions().unwrap_or_default();
        self.record.name(exceptions.iter());
        self.record.save(RunState::Stopped, &self.journal)?;
        let is_bad = matches!(
            error.kind(),
            RunErrorKind::Verification | RunErrorKind::TooManyFailures
        );
        let failure = run_failure(error, &self.record.next_command(RunState::Stopped));
        if !(is_bad && self.session.line.run.enable_rollback) {
            self.show(self.report(RunState::Stopped, failure.exit(), exceptions))?;
            return Err(failure);
        }
        let remedy = match error.kind() {
            // The engine's own speaks of a run that is not undone.
            RunErrorKind::Verification => {
                "check the network and the store (--test-storage), then run again"
            }
            _ => "see the exceptions of the report, mend their causes, then run again",
        };
        let mut why = exceptions;
        add_new(&mut why, error.report().exceptions.clone());
        Err(self.undo(failure, remedy, why).await?)
    }

    /// With `--enable-rollback`, says that objects are gone to which this run has switched rows: then they were never there, whatever the store said.
    fn missing(&self, balance: Option<&Balance>) -> Option<Failure> {
        let is_ours = |exception: &&Exception| {
            let state = self.journal.state(&exception.item);
            exception.kind == ExceptionKind::ObjectMissing
                && state.is_some_and(transfer::State::is_switched)
        };
        let listed = balance.into_iter().flat_map(|balance| &balance.exceptions);
        let missing: Vec<&Exception> = listed.filter(is_ours).collect();
        let first = missing.first()?;
        if !self.session.line.run.enable_rollback || self.total.committed == 0 {
            return None;
        }
        let n = human::count(missing.len() as u64, "object");
        let message = format!(
            "the store said that it has them, and {n} of this run are not there: {}",
            first.message
        );
        Some(Failure::new(Exit::Corrupt, message).kind("verification"))
    }

    /// Rolls the run back for what is wrong with it, and lists that with what the rollback left; returns the failure, with how that went.
    async fn undo(
        &mut self,
        failure: Failure,
        remedy: &str,
        mut why: Vec<Exception>,
    ) -> Result<Failure, Failure> {
        self.session.ui.warn(format!(
            "{failure}. The run is rolled back, as --enable-rollback asks."
        ));
        self.record.save(RunState::RollingBack, &self.journal)?;
        let undone = self
            .engine
            .rollback(crate::rollback::options(&self.session))
            .await
            .map_err(|error| {
                run_failure(&error, &self.record.next_command(RunState::RollingBack))
            })?;
        self.take(&undone);
        let state = match undone.ended {
            Ended::Complete => record::state_of(&self.journal),
            _ => RunState::RollingBack,
        };
        why.extend(undone.exceptions.iter().cloned());
        self.record.name(why.iter());
        self.record.save(state, &self.journal)?;
        let report = self.report(state, failure.exit(), why);
        let next = report.next.clone();
        self.show(report)?;
        let how = match (state, undone.is_clean()) {
            (RunState::RolledBack, true) => "the run was rolled back".to_owned(),
            (RunState::RolledBack, false) => {
                "the run was rolled back but for the exceptions that are listed".to_owned()
            }
            _ => format!("the run is rolled back in part only; go on: {next}"),
        };
        Ok(failure.hint(format!("{how}; {remedy}")))
    }

    fn report(&self, state: RunState, exit: Exit, exceptions: Vec<Exception>) -> RunReport {
        let mut this_time = self.total.clone();
        this_time.exceptions.clear();
        RunReport {
            action: "migrate",
            tool: TOOL.into(),
            run: self.record.files.run.clone(),
            state,
            exit_code: exit.code(),
            parameters: self.record.summary.parameters.clone(),
            journal: self.journal.path().display().to_string(),
            counts: self.record.summary.counts,
            this_time,
            exceptions,
            balance: None,
            next: self.record.next_command(state),
        }
    }

    fn show(&self, report: RunReport) -> Result<(), Failure> {
        let report = report.counted();
        self.watch.finish();
        report.show(&self.session.ui);
        match &self.session.line.run.report {
            Some(path) => report.write_to(path),
            None => Ok(()),
        }
    }
}

/// Items whose file changed while it was read: the next pass takes them on again.
fn changed_while_read(report: &Report) -> impl Iterator<Item = String> + '_ {
    let changed = report
        .exceptions
        .iter()
        .filter(|exception| exception.kind == ExceptionKind::SourceChanged);
    changed.map(|exception| exception.item.clone())
}

/// What is kept up while the engine works.
pub struct Ticking<'t> {
    /// The summary.
    pub record: &'t mut Record,
    /// The journal it follows.
    pub journal: &'t Journal,
    /// Who knows how far it is.
    pub watch: &'t Watch,
    /// Whether to print a line now and then.
    pub says_lines: bool,
    /// What the summary says the run is doing.
    pub state: RunState,
}

/// Waits for the engine, and keeps summary and screen up to date meanwhile.
///
/// # Errors
/// Those of the work. A summary that cannot be written is only logged: the journal has it all.
pub async fn ticked<T>(work: impl Future<Output = T>, ticking: Ticking<'_>) -> T {
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                if let Err(failure) = ticking.record.save(ticking.state, ticking.journal) {
                    tracing::warn!(%failure, "the summary could not be written");
                }
                if ticking.says_lines {
                    ticking.watch.say();
                }
            }
        }
    }
}

/// Says what a person should know before anything is changed.
fn check_before(session: &Session) -> Result<(), Failure> {
    let info = session.database.info();
    if info.read_only {
        return Err(
            Failure::new(Exit::Denied, format!("{} takes no changes", info.place))
                .hint("connect to the primary server, as a user who may change the tables"),
        );
    }
    let settings = &session.settings;
    if settings.state_is_volatile() {
        session.ui.warn(format!(
            "state files are kept in {}, which a restart may empty; name another place with MIGRATION_STATE_DIR or --state-dir \
             (a copy of the journal is kept in the bucket)",
            settings.state_dir.value.display()
        ));
    }
    let to_s3 = settings.direction == DirectionArg::LocalToS3;
    if to_s3
        && !settings.app_uses_s3.value
        && settings.mapping.is_none()
        && settings.bucket_is_remote()
    {
        session.ui.warn(
            "the application is not set to use S3 here: until it runs with S3_ENABLED=true it cannot read what is migrated",
        );
    }
    for table in &info.missing_tables {
        session.ui.warn(format!(
            "the database has no table {table}; it is passed over"
        ));
    }
    Ok(())
}
