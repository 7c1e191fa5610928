//! `--verify-state`: a run's journal against the database and against the bucket.
//!
//! What must hold: it changes no row, file or object; every object and every row that is not as the journal says is named, and so is
//! every row that a run must have switched and no journal knows. `--full` compares the bucket's copy of the journal, too. A journal that lost its tail gives way to the bucket's copy of it. Only who
//! looked at everything says that all agrees.
//!
//! What it deliberately does not do: look at what no run touched; `--audit-files` does. Nor wait for the lock: it takes it only while it
//! looks for rows that no journal explains, and leaves that out while another process has it.

use std::path::Path;
use std::sync::Arc;

use console::{Exit, Failure, Ui, human};
use serde::Serialize;
use transfer::{
    CopyFound, Ended, Engine, Entry, Exception, ExceptionKind, Journal, Sample, State, StopSignal,
    VerifyOptions, VerifyReport,
};

use crate::db::{Change, DbErrorKind, Switched};
use crate::leftover;
use crate::plan::Context;
use crate::report::{show_exceptions, write_json};
use crate::rollback::add_new;
use crate::run::again;
use crate::run::command;
use crate::run::existing::{self, Named, Purpose};
use crate::run::failures::{database_failure, journal_failure, run_failure};
use crate::run::parts::{self, Ends};
use crate::run::record::Record;
use crate::run::session::{MIRROR, Session};
use crate::run::stack::Stack;
use crate::run::{Watch, listen};
use crate::state::{Flags, RunState};

/// Rows are asked for so many documents at a time.
const BATCH: usize = 500;

#[derive(Serialize)]
struct StateReport {
    run: String,
    state: RunState,
    rows_checked: u64,
    rows_differing: u64,
    objects: VerifyReport,
    leftover: LookedFor,
    /// What `--full` found of the bucket's copy of the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<CopyFound>,
    exceptions: Vec<Exception>,
}

/// Whether rows that no journal explains were looked for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum LookedFor {
    Done,
    /// Another process was at it, or a signal came.
    Skipped,
}

/// Runs `--verify-state`.
///
/// # Errors
/// If database, bucket or journal cannot be read. What differs or was not looked at is no error but gives [`Exit::Partial`], and a signal
/// [`Exit::Interrupted`].
pub async fn run(mut session: Session, file: Option<&Path>) -> Result<Exit, Failure> {
    let named = Named {
        file,
        purpose: Purpose::Look,
        is_forced: false,
    };
    let (record, journal) = existing::take_up(&mut session, named).await?;
    let ends = Ends::open(&session).await?;
    let action = &session.line.action;
    let options = match (action.full, action.sample_size) {
        (true, _) => options(Sample::All, true),
        (false, Some(n)) => options(Sample::Count(n), true),
        (false, None) => options(Sample::All, false),
    };
    let stop = StopSignal::new();
    let _listening = listen(&stop);
    let mut rows = Rows::default();
    check_rows(&session, &journal, &stop, &mut rows).await?;
    let total = journal.tally().switched();
    let is_verbose = session.line.output.verbose;
    let watch = Arc::new(Watch::new(
        &session.ui,
        Some(total),
        0,
        "verifying",
        is_verbose,
    ));
    let parts = parts::engine_parts(
        &session,
        &ends,
        journal.clone(),
        watch.clone(),
        stop.clone(),
    )?;
    let mut objects = Engine::new(parts)
        .verify(options)
        .await
        .map_err(|error| run_failure(&error, &again(&session, &record)))?;
    watch.finish();
    let mut exceptions = rows.exceptions;
    exceptions.append(&mut objects.exceptions);
    let leftover = tokio::select! {
        biased;
        () = stop.raised() => {
            objects.ended = Ended::Stopped;
            LookedFor::Skipped
        }
        outcome = add_leftover(&session, &journal, &ends, &mut exceptions) => outcome?,
    };
    let copy = match session.line.action.full && !stop.is_raised() {
        true => Some(compare_copy(&journal, &ends).await?),
        false => None,
    };
    let report = StateReport {
        run: record.files.run.clone(),
        state: record.summary.state,
        rows_checked: rows.checked,
        rows_differing: rows.differing,
        objects,
        leftover,
        copy,
        exceptions,
    };
    show(&session.ui, &report, &again(&session, &record));
    if let Some(path) = &session.line.run.report {
        write_json(path, &report)?;
    }
    Ok(report.exit())
}

impl StateReport {
    fn exit(&self) -> Exit {
        let is_copied = !matches!(
            self.copy,
            Some(CopyFound::Missing | CopyFound::Differs { .. })
        );
        let is_whole = self.leftover == LookedFor::Done && is_copied;
        match (self.objects.ended, is_whole && self.exceptions.is_empty()) {
            (Ended::Stopped, _) => Exit::Interrupted,
            (_, true) => Exit::Ok,
            (_, false) => Exit::Partial,
        }
    }
}

async fn compare_copy(journal: &Journal, ends: &Ends) -> Result<CopyFound, Failure> {
    let found = journal.compare_with_mirror(&ends.mirror, MIRROR).await;
    found.map_err(|error| journal_failure(&error))
}

/// The command that verifies the same run again.
fn again(session: &Session, record: &Record) -> String {
    let action = &session.line.action;
    let how = match (action.full, action.sample_size) {
        (true, _) => " --full".to_owned(),
        (false, Some(n)) => format!(" --sample-size {n}"),
        (false, None) => String::new(),
    };
    let file = command::path(&record.files.summary);
    let what = format!(" --verify-state --state-file {file}{how}");
    session.command(&what, &record.summary.parameters, Flags::Known)
}

/// Adds the rows that no journal explains. While another process is at it, the journal is behind the rows, and nothing can be said.
async fn add_leftover(
    session: &Session,
    journal: &Journal,
    ends: &Ends,
    exceptions: &mut Vec<Exception>,
) -> Result<LookedFor, Failure> {
    // Held until the rows are looked through.
    let _lock = match session.database.lock().await {
        Ok(lock) => lock,
        Err(error) if error.kind() == DbErrorKind::Locked => {
            session.ui.warn(
                "another process is at it, so rows that no journal explains were not looked for: run this again when it has ended",
            );
            return Ok(LookedFor::Skipped);
        }
        Err(error) => return Err(database_failure(&error)),
    };
    let left = leftover::find(session, journal, &ends.paths).await?;
    left.add_to(exceptions, &session.ui);
    add_new(exceptions, again::still_switched(session, journal).await?);
    Ok(LookedFor::Done)
}

fn options(sample: Sample, read_back: bool) -> VerifyOptions {
    VerifyOptions { sample, read_back }
}

#[derive(Default)]
struct Rows {
    checked: u64,
    differing: u64,
    exceptions: Vec<Exception>,
    /// Of undone items, with what the row holds: another run may have brought it there.
    undone: Vec<(Exception, String)>,
}

/// Compares the database with what the journal says of it: switched items at the new path, undone ones at the old. What a rollback left alone differs.
async fn check_rows(
    session: &Session,
    journal: &Journal,
    stop: &StopSignal,
    rows: &mut Rows,
) -> Result<(), Failure> {
    let is_settled =
        |state: State| state.is_switched() || matches!(state, State::Reverted | State::Undone);
    let mut batch: Vec<(Entry, Change)> = vec![];
    for entry in journal.entries(is_settled) {
        let entry = entry.map_err(|error| journal_failure(&error))?;
        if let Some(change) = own_change(&entry) {
            batch.push((entry, change));
        }
        if batch.len() == BATCH {
            check_batch(session, &mut batch, rows).await?;
        }
        if stop.is_raised() {
            return Ok(());
        }
    }
    check_batch(session, &mut batch, rows).await?;
    settle(session, journal, rows).await?;
    let settled = again::held(session, journal).await?.settled;
    let changed = again::still_changed(session, journal, &settled).await?;
    rows.checked += changed.len() as u64;
    rows.differing += changed.len() as u64;
    rows.exceptions.extend(changed);
    Ok(())
}

/// Names those of the rows of undone items that are elsewhere than before the run and that no other run has brought there.
async fn settle(session: &Session, journal: &Journal, rows: &mut Rows) -> Result<(), Failure> {
    if rows.undone.is_empty() {
        return Ok(());
    }
    let items = rows.undone.iter().map(|(odd, _)| odd.item.as_str());
    let stack = Stack::of(session, journal, &items.collect()).await?;
    for (odd, holds) in std::mem::take(&mut rows.undone) {
        if !stack.has(&odd.item, &holds) {
            rows.differing += 1;
            rows.exceptions.push(odd);
        }
    }
    Ok(())
}

/// The change of the item's own row, in the direction that is in effect.
fn own_change(entry: &Entry) -> Option<Change> {
    let context: Context = serde_json::from_value(entry.item.context.clone()).ok()?;
    let change = context.changes.into_iter().next()?;
    Some(if entry.state.is_switched() {
        change
    } else {
        change.reversed()
    })
}

async fn check_batch(
    session: &Session,
    batch: &mut Vec<(Entry, Change)>,
    rows: &mut Rows,
) -> Result<(), Failure> {
    let changes: Vec<Change> = batch.iter().map(|(_, change)| change.clone()).collect();
    let answers = session
        .database
        .peek(&changes)
        .await
        .map_err(|error| database_failure(&error))?;
    for ((entry, change), answer) in batch.drain(..).zip(answers) {
        rows.checked += 1;
        let (kind, message, holds) = match answer {
            Switched::AlreadyDone => continue,
            Switched::Done if change.old == change.new => continue,
            Switched::Done => (
                ExceptionKind::ItemChanged,
                format!("the row holds {} again", change.old),
                Some(change.old),
            ),
            Switched::Changed(current) => (
                ExceptionKind::ItemChanged,
                format!("the row holds `{current}`, not {}", change.new),
                Some(current),
            ),
            Switched::Gone => (
                ExceptionKind::ItemGone,
                format!("the row that held {} is gone", change.new),
                None,
            ),
        };
        let remedy = match entry.state.is_switched() {
            true => {
                "nothing, if the application or a person changed it on purpose; else --rollback mends what it can"
            }
            false => {
                "if an older state of the database was restored, roll this run back again: that brings each row back whose file is there, or whose object is"
            }
        };
        let odd = again::about(&entry, kind, message, remedy);
        match holds.filter(|_| !entry.state.is_switched()) {
            Some(holds) => rows.undone.push((odd, holds)),
            None => {
                rows.differing += 1;
                rows.exceptions.push(odd);
            }
        }
    }
    Ok(())
}

fn show(ui: &Ui, report: &StateReport, again: &str) {
    if ui.is_json() {
        ui.json(report);
        return;
    }
    ui.out(format!("Run {}: {}.", report.run, report.state.words()));
    ui.out(format!(
        "  rows: {} checked, {} differ",
        human::number(report.rows_checked),
        human::number(report.rows_differing)
    ));
    ui.out(format!(
        "  objects: {} checked, {} read back ({}), {} missing, {} differ",
        human::number(report.objects.checked),
        human::number(report.objects.read_back),
        human::bytes(report.objects.bytes),
        human::number(report.objects.missing),
        human::number(report.objects.differing)
    ));
    if let Some(copy) = &report.copy {
        show_copy(ui, &report.run, copy);
    }
    show_exceptions(ui, &report.exceptions);
    match report.exit() {
        Exit::Interrupted => {
            ui.out(format!(
                "Stopped: of {} only what is counted above was looked at.",
                human::count(report.objects.items, "document")
            ));
            ui.out(format!("Next: {again}"));
        }
        Exit::Ok => ui.out("Journal, database and bucket agree."),
        _ => {}
    }
}

fn show_copy(ui: &Ui, run: &str, copy: &CopyFound) {
    let bytes = |n: &u64| human::count(*n, "byte");
    let words = match copy {
        CopyFound::Equal { bytes: n } => format!("equal ({})", bytes(n)),
        CopyFound::Behind { bytes: n, of } => format!(
            "equal as far as it goes ({} of {}); the next command that writes the journal brings it up to date",
            human::number(*n),
            bytes(of)
        ),
        CopyFound::Missing => {
            "missing: the next command that writes the journal makes it anew".to_owned()
        }
        CopyFound::Differs { why } => format!(
            "differs: {why}. Look who writes there; once everything below {MIRROR}/{run}/ is removed, the next command that writes the \
             journal makes it anew"
        ),
    };
    ui.out(format!("  copy of the journal in the bucket: {words}"));
}
