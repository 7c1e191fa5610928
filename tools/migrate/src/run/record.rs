//! The summary of a run while it is at work: made, rewritten every few seconds, closed.
//!
//! What must hold: the summary says what the journal says; a run that changed nothing takes nobody's place as the newest.
//!
//! What it deliberately does not do: hold anything that is not in the journal too.

use console::Failure;
use transfer::{Custody, Exception, Journal, Report, RunHeader, State, Tally};

use super::command;
use super::failures::journal_failure;
use super::session::Session;
use crate::state::{
    Counts, FORMAT, Flags, Parameters, Pointers, RunFiles, RunState, StateDir, Summary, remove,
};

/// The program and its version, as journals and summaries have it.
pub const TOOL: &str = concat!("migrate_to_s3 ", env!("CARGO_PKG_VERSION"));

/// The summary of a run with the place where it is kept.
pub struct Record {
    dir: StateDir,
    /// The files of the run.
    pub files: RunFiles,
    /// What is written.
    pub summary: Summary,
    /// What was done before this process began.
    before: Counts,
    pointers: Pointers,
    /// The flags that were typed and say where things are.
    typed: String,
}

impl Record {
    /// Takes the summary of a run up, or makes it anew from its journal.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn open(session: &Session, files: &RunFiles, journal: &Journal) -> Result<Self, Failure> {
        let summary = match session.state.read(files) {
            Some(summary) => summary,
            None => rebuilt(files, journal)?,
        };
        // The files may lie elsewhere than when the summary was written.
        let dir = match files.summary.parent() {
            Some(parent) if parent != session.state.path() => StateDir::open(parent)?,
            _ => session.state.clone(),
        };
        Ok(Self {
            pointers: dir.pointers(),
            dir,
            files: files.clone(),
            before: summary.counts,
            typed: session.typed(),
            summary: Summary {
                journal: files.journal.clone(),
                parameters: of_journal(files, journal)?,
                ..summary
            },
        })
    }

    /// Writes the summary, as that of the newest run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&mut self, state: RunState, journal: &Journal) -> Result<(), Failure> {
        self.summary.state = state;
        self.summary.taken = journal.custody().is_taken;
        self.summary.updated = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
        self.count(journal);
        self.summary.next = self.next_command(state);
        self.dir.write(&self.summary)
    }

    /// Takes the counts over that the journal knows.
    pub fn count(&mut self, journal: &Journal) {
        let tally = journal.tally();
        self.summary.counts.planned = tally.total();
        self.summary.counts.committed = tally.switched();
        self.summary.counts.reverted = reverted(&tally).saturating_sub(journal.given_up());
        // Only what is on the disk for certain: a crash must not make a journal look cut off.
        let durable = journal.durable_length();
        self.summary.journal_bytes = self.summary.journal_bytes.max(durable);
    }

    /// Takes over how the run stands by its journal, whatever the summary said.
    pub fn follow(&mut self, journal: &Journal) {
        self.summary.state = state_of(journal);
        self.count(journal);
    }

    /// Adds what an attempt did.
    pub fn add(&mut self, report: &Report) {
        let counts = &mut self.summary.counts;
        counts.stored += report.stored;
        counts.already_there += report.already_there;
        counts.restored += report.restored;
        counts.sources_removed += report.sources_removed;
        counts.bytes += report.bytes;
    }

    /// Takes over which exceptions a command over this run lists at its end.
    pub fn name<'e>(&mut self, exceptions: impl Iterator<Item = &'e Exception>) {
        let exceptions: Vec<&Exception> = exceptions.collect();
        self.summary.counts.exceptions = exceptions.len() as u64;
        self.summary.set_exceptions(exceptions);
    }

    /// Forgets a run that took nothing on: its files go, and the newest run is again the one before.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    pub fn discard(&self) -> Result<(), Failure> {
        self.dir.restore(&self.pointers)?;
        for path in [&self.files.summary, &self.files.journal] {
            remove(path)?;
        }
        Ok(())
    }

    /// Gives the place of the newest run back: this one changed nothing.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn step_back(&self) -> Result<(), Failure> {
        self.dir.restore(&self.pointers)
    }

    /// Tells whether this process has changed anything in the target or the database.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let (now, before) = (&self.summary.counts, &self.before);
        now.committed != before.committed
            || now.stored != before.stored
            || now.reverted != before.reverted
            || now.sources_removed != before.sources_removed
    }

    /// Returns what to type to go on with this run.
    #[must_use]
    pub fn next_command(&self, state: RunState) -> String {
        let (file, typed) = (command::path(&self.files.summary), &self.typed);
        let parameters = &self.summary.parameters;
        let (new, known) = (parameters.flags(Flags::New), parameters.flags(Flags::Known));
        match state {
            RunState::Running | RunState::Stopped => {
                format!("migrate_to_s3 --resume-from {file}{new}{typed}")
            }
            RunState::RollingBack => format!("migrate_to_s3 --rollback {file}{known}{typed}"),
            RunState::Finished => {
                format!("migrate_to_s3 --verify-state --state-file {file}{known}{typed}")
            }
            RunState::FinishedWithExceptions | RunState::RolledBack => {
                format!("migrate_to_s3 --audit-files{typed}")
            }
        }
    }

    /// Returns what to type to begin a run like this one.
    #[must_use]
    pub fn begin_command(&self) -> String {
        let new = self.summary.parameters.flags(Flags::New);
        format!("migrate_to_s3{new}{}", self.typed)
    }
}

/// Says how a run stands by its journal alone.
#[must_use]
pub fn state_of(journal: &Journal) -> RunState {
    let tally = journal.tally();
    let is_open = journal.last_ended().is_none();
    if tally.of(State::Reverting) > 0 {
        return RunState::RollingBack;
    }
    let are_copies = journal.header().parameters["direction"] == "s3-to-s3";
    let is_left = tally.of(State::Reverted) > 0 && !are_copies;
    if reverted(&tally) > 0 && tally.switched() == 0 && !is_left {
        return RunState::RolledBack;
    }
    if reverted(&tally) > 0 {
        return RunState::RollingBack;
    }
    if tally.unfinished() > 0 || (is_open && tally.total() > 0) {
        return RunState::Stopped;
    }
    if tally.of(State::LeftOut) + tally.of(State::Lost) > 0 {
        return RunState::FinishedWithExceptions;
    }
    RunState::Finished
}

fn reverted(tally: &Tally) -> u64 {
    tally.of(State::Reverted) + tally.of(State::Undone)
}

/// Reads what a run was asked to do from its journal: from its first line, unless somebody said something else since.
///
/// # Errors
/// If another tool wrote it.
pub fn of_journal(files: &RunFiles, journal: &Journal) -> Result<Parameters, Failure> {
    read(files, journal.parameters())
}

/// Reads the same from what was read of the file.
///
/// # Errors
/// If another tool wrote it.
pub fn of_header(
    files: &RunFiles,
    header: &RunHeader,
    custody: &Custody,
) -> Result<Parameters, Failure> {
    let said = custody.parameters.as_ref();
    read(files, said.unwrap_or(&header.parameters).clone())
}

fn read(files: &RunFiles, parameters: serde_json::Value) -> Result<Parameters, Failure> {
    serde_json::from_value(parameters).map_err(|error| {
        let message = format!("{} is the journal of another tool", files.journal.display());
        Failure::wrap(console::Exit::Conflict, message, &error)
            .hint("name a journal of migrate_to_s3; `--status` lists them")
    })
}

fn rebuilt(files: &RunFiles, journal: &Journal) -> Result<Summary, Failure> {
    let header = journal.header();
    let parameters = of_journal(files, journal)?;
    let exceptions = journal
        .exceptions()
        .map_err(|error| journal_failure(&error))?;
    let mut summary = Summary {
        format: FORMAT,
        tool: TOOL.into(),
        run: files.run.clone(),
        state: state_of(journal),
        started: header.started.strftime("%FT%TZ").to_string(),
        updated: String::new(),
        parameters,
        journal: files.journal.clone(),
        journal_bytes: 0,
        taken: journal.custody().is_taken,
        counts: Counts {
            exceptions: exceptions.len() as u64,
            ..Counts::default()
        },
        exceptions: vec![],
        next: String::new(),
    };
    summary.set_exceptions(&exceptions);
    Ok(summary)
}
