//! From the entries of a shell's file to events.
//!
//! What must hold: ids depend on nothing but the host, the time, the command and the count of equals before it; entries without a
//! time keep the order of their file, after what the same host and shell gave before.
//!
//! What it deliberately does not do: parse (see `zsh`, `bash`, `fish`).
//!
//! An entry with bytes that are no text may be in the database from before these were kept: its text then has replacement characters in
//! their place, and it counts as known under the id that this text gave it.
//!
//! Entries with a time are added as they are read. For those without one a first reading gathers only their hashes; once it is known
//! which of them are new (see `undated`), a second reading adds these.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use rusqlite::Connection;

use super::entry::{Entry, Item, Parser};
use super::lines::Lines;
use super::ordinal::{Repeats, Seconds};
use super::seen::Seen;
use super::undated::{self, Gathered, Numbers, Plan, Undated, Verdict};
use super::{ImportOptions, ImportProgress, ImportReport, Input, Shell, bash, fish, zsh};
use crate::history::apply::{Outcome, wide_hash};
use crate::history::error::HistoryError;
use crate::history::model::{Event, Record};
use crate::history::{Applier, ApplyOptions, Indexes, Reliance, octets};

struct Import<'c> {
    applier: Applier<'c>,
    host: Arc<str>,
    shell: Arc<str>,
    seconds: Seconds,
    repeats: Repeats,
    report: ImportReport,
    /// The file's entries without a time.
    undated: Gathered,
    /// Counts texts with replacement characters.
    former_repeats: Repeats,
    progress: ImportProgress,
}

pub(super) fn import(
    mut input: Input<'_>,
    shell: Shell,
    (connection, indexes): (&Connection, Indexes),
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    let known = Undated::read(connection, &options.host, shell)?;
    let mut import = Import {
        applier: Applier::new(connection, ApplyOptions::default(), indexes)?,
        host: options.host.clone(),
        shell: Arc::from(shell.as_str()),
        seconds: Seconds::default(),
        repeats: Repeats::default(),
        report: ImportReport::new("", options.dry_run),
        undated: Gathered::default(),
        former_repeats: Repeats::default(),
        progress: options.progress.clone(),
    };
    for_each(&mut input, shell, |item| import.first_reading(item))?;
    let dated = import.report.first_us.is_some();
    let undated = std::mem::take(&mut import.undated);
    if !undated.hashes.is_empty() {
        // What lines up with the file was found by an index: a lie would pass what is new off as known.
        import.applier.ensure_indexes(Reliance::All)?;
        let mut seen = Seen::read(connection, &options.host, shell)?;
        let origin = seen.origin(&undated.hashes);
        let mut plan = Plan::new(connection, &known, undated, origin)?;
        import.report.assumed = plan.assumed.take();
        import.second_reading(&mut input, shell, known, &mut plan)?;
        seen.write(connection)?;
    }
    let mut report = import.report;
    report.erased = import.applier.finish()?.erased;
    report.format = match (shell, dated) {
        (Shell::Zsh, true) => "zsh (extended)",
        (Shell::Zsh, false) => "zsh (plain)",
        (Shell::Bash, true) => "bash (with times)",
        (Shell::Bash, false) => "bash (plain)",
        (Shell::Fish, _) => "fish",
    };
    Ok(report)
}

impl Import<'_> {
    fn first_reading(&mut self, item: Item) -> Result<(), HistoryError> {
        let entry = match item {
            Item::Skipped {
                line,
                reason,
                excerpt,
            } => {
                self.report.skip(line, reason, excerpt);
                return Ok(());
            }
            Item::Entry(entry) => entry,
        };
        self.report.read += 1;
        if self.report.read.is_multiple_of(super::PROGRESS_STEP) {
            self.progress.tell(self.report.read);
        }
        self.report.escaped += u64::from(entry.escaped);
        self.report.lossy += u64::from(entry.lossy);
        self.report.bad_times += u64::from(entry.bad_time);
        let Some(second) = entry.second else {
            self.undated.note(&mut self.applier, &self.host, &entry)?;
            return Ok(());
        };
        let id = self.repeats.id(&self.host, second, &entry.text);
        let time_us = self.seconds.time_us(second);
        self.report.saw_time(time_us);
        if let Some(fate) = self.former_fate(&entry, second)? {
            self.count(fate);
            return Ok(());
        }
        self.add(Event {
            id,
            time_us,
            time_known: true,
            ..self.event(entry)
        })
    }

    /// What became of an entry with a time when its bytes were replaced, if it was imported then.
    fn former_fate(&mut self, entry: &Entry, second: i64) -> Result<Option<Outcome>, HistoryError> {
        if entry.escaped {
            let text = octets::formerly(&entry.text);
            let id = self.former_repeats.id(&self.host, second, &text);
            return self.applier.fate(id);
        }
        // A text that really has the replacement character is counted among those that got one.
        if entry.text.contains(char::REPLACEMENT_CHARACTER) {
            self.former_repeats.id(&self.host, second, &entry.text);
        }
        Ok(None)
    }

    fn second_reading(
        &mut self,
        input: &mut Input<'_>,
        shell: Shell,
        known: Undated,
        plan: &mut Plan,
    ) -> Result<(), HistoryError> {
        // Where something was forgotten the numbers have gaps: each is then looked at.
        let numbers = if self.applier.has_tombstones() {
            HashMap::default()
        } else {
            undated::counts(&known.hashes)
        };
        let mut numbers = Numbers(numbers);
        let mut time_us = known.next_time_us;
        // A shell may append to the file meanwhile: what the first reading did not see waits for the next import.
        for_each(input, shell, |item| {
            let Item::Entry(entry) = item else {
                return Ok(());
            };
            if entry.second.is_some() {
                return Ok(());
            }
            let Some(verdict) = plan.next() else {
                return Ok(());
            };
            if verdict == Verdict::Known {
                self.report.known += 1;
                return Ok(());
            }
            if entry.escaped && self.was_forgotten(&entry.text, &numbers)? {
                self.report.forgotten += 1;
                return Ok(());
            }
            let again = verdict == Verdict::RunAgain;
            let id = numbers.next_id(&mut self.applier, &self.host, &entry.text, again)?;
            let event = Event {
                id,
                time_us,
                time_known: false,
                ..self.event(entry)
            };
            time_us += 1;
            self.add(event)
        })
    }

    /// Whether an entry without a time was forgotten after it had been imported with its bytes replaced.
    fn was_forgotten(&mut self, text: &str, numbers: &Numbers) -> Result<bool, HistoryError> {
        let former = octets::formerly(text);
        let number = numbers.0.get(&(wide_hash(&former) as u64));
        let id = Event::import_id(&self.host, None, &former, number.copied().unwrap_or(0));
        Ok(self.applier.fate(id)? == Some(Outcome::Forgotten))
    }

    /// The event of an entry, its id and time still to be set.
    fn event(&self, entry: Entry) -> Event {
        Event {
            id: crate::history::model::RecordId([0; 16]),
            command: Arc::from(entry.text),
            time_us: 0,
            time_known: false,
            duration_ms: entry.duration_ms,
            exit: None,
            cwd: None,
            host: self.host.clone(),
            shell: Some(self.shell.clone()),
            session: None,
            actor: None,
        }
    }

    fn add(&mut self, event: Event) -> Result<(), HistoryError> {
        let outcome = self.applier.add(Record::Event(event))?;
        self.count(outcome);
        Ok(())
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Added => self.report.added += 1,
            Outcome::Known => self.report.known += 1,
            Outcome::Forgotten => self.report.forgotten += 1,
        }
    }
}

pub(super) fn for_each(
    input: &mut Input<'_>,
    shell: Shell,
    mut each: impl FnMut(Item) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let (path, crlf) = (input.path(), input.crlf);
    let mut parser = parser(shell, Lines::new(input.reader()?, crlf).without_zeros());
    let mut next = || -> Result<Option<Item>, io::Error> { parser.next() };
    while let Some(item) = next().map_err(|error| HistoryError::io("read", &path, error))? {
        each(item)?;
    }
    Ok(())
}

fn parser<'a, R: BufRead + 'a>(shell: Shell, lines: Lines<R>) -> Box<dyn Parser + 'a> {
    match shell {
        Shell::Zsh => Box::new(zsh::Zsh::new(lines)),
        Shell::Bash => Box::new(bash::Bash::new(lines)),
        Shell::Fish => Box::new(fish::Fish::new(lines)),
    }
}
