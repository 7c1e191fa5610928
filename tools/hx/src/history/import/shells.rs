//! From the entries of a shell's file to events.
//!
//! What must hold: ids depend on nothing but the host, the time, the command and the count of equals before it; entries without a
//! time keep the order of their file, after what the same host and shell gave before.
//!
//! What it deliberately does not do: parse (see `zsh`, `bash`, `fish`).
//!
//! Entries with a time are added as they are read. For those without one a first reading gathers only their hashes; once it is known
//! which of them are new, a second reading adds these.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::entry::{Entry, Item, Parser};
use super::lines::Lines;
use super::ordinal::{Repeats, Seconds};
use super::{ImportOptions, ImportProgress, ImportReport, Input, Shell, align, bash, fish, zsh};
use crate::history::apply::{Outcome, wide_hash};
use crate::history::error::HistoryError;
use crate::history::model::{Event, Record};
use crate::history::{Applier, ApplyOptions};

/// What earlier imports of the same host and shell gave without times.
struct Undated {
    hashes: Vec<u64>,
    next_time_us: i64,
}

struct Import<'c> {
    applier: Applier<'c>,
    host: Arc<str>,
    shell: Arc<str>,
    seconds: Seconds,
    repeats: Repeats,
    report: ImportReport,
    /// Hashes of the file's entries without a time, in order.
    undated: Vec<u64>,
    progress: ImportProgress,
}

pub(super) fn import(
    mut input: Input<'_>,
    shell: Shell,
    connection: &Connection,
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    let known = known_undated(connection, &options.host, shell)?;
    let mut import = Import {
        applier: Applier::new(connection, ApplyOptions::default())?,
        host: options.host.clone(),
        shell: Arc::from(shell.as_str()),
        seconds: Seconds::default(),
        repeats: Repeats::default(),
        report: ImportReport::new("", options.dry_run),
        undated: Vec::new(),
        progress: options.progress.clone(),
    };
    for_each(&mut input, shell, |item| import.first_reading(item))?;
    let dated = import.report.first_us.is_some();
    let undated = std::mem::take(&mut import.undated);
    if !undated.is_empty() {
        import.second_reading(&mut input, shell, known, &undated)?;
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
        let Some(second) = entry.second else {
            self.undated.push(wide_hash(&entry.text) as u64);
            return Ok(());
        };
        let id = self.repeats.id(&self.host, second, &entry.text);
        let time_us = self.seconds.time_us(second);
        self.report.saw_time(time_us);
        self.add(Event {
            id,
            time_us,
            time_known: true,
            ..self.event(entry)
        })
    }

    fn second_reading(
        &mut self,
        input: &mut Input<'_>,
        shell: Shell,
        known: Undated,
        undated: &[u64],
    ) -> Result<(), HistoryError> {
        let new = align::new_entries(&known.hashes, undated);
        let mut occurrences: HashMap<u64, u32> = HashMap::new();
        for hash in known.hashes {
            *occurrences.entry(hash).or_default() += 1;
        }
        let mut time_us = known.next_time_us;
        // A shell may append to the file meanwhile: what the first reading did not see waits for the next import.
        let mut plan = new.into_iter().zip(undated);
        for_each(input, shell, |item| {
            let Item::Entry(entry) = item else {
                return Ok(());
            };
            if entry.second.is_some() {
                return Ok(());
            }
            match plan.next() {
                Some((true, hash)) => {
                    let occurrence = occurrences.entry(*hash).or_default();
                    let id = Event::import_id(&self.host, None, &entry.text, *occurrence);
                    *occurrence += 1;
                    let event = Event {
                        id,
                        time_us,
                        time_known: false,
                        ..self.event(entry)
                    };
                    time_us += 1;
                    self.add(event)
                }
                Some((false, _)) => {
                    self.report.known += 1;
                    Ok(())
                }
                None => Ok(()),
            }
        })
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
        match self.applier.add(Record::Event(event))? {
            Outcome::Added => self.report.added += 1,
            Outcome::Known => self.report.known += 1,
            Outcome::Forgotten => self.report.forgotten += 1,
        }
        Ok(())
    }
}

fn for_each(
    input: &mut Input<'_>,
    shell: Shell,
    mut each: impl FnMut(Item) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let (path, crlf) = (input.path(), input.crlf);
    let mut parser = parser(shell, Lines::new(input.reader()?, crlf));
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

fn known_undated(
    connection: &Connection,
    host: &str,
    shell: Shell,
) -> Result<Undated, HistoryError> {
    let string = |text: &str| -> rusqlite::Result<Option<i64>> {
        connection
            .query_row("SELECT id FROM strings WHERE text = ?1", [text], |row| {
                row.get(0)
            })
            .optional()
    };
    let mut undated = Undated {
        hashes: Vec::new(),
        next_time_us: 0,
    };
    let (Some(host), Some(shell)) = (string(host)?, string(shell.as_str())?) else {
        return Ok(undated);
    };
    // The bound lets the index on time find them: ordinals are small.
    let mut select = connection.prepare(
        "SELECT c.hash, r.time FROM records r JOIN commands c ON c.id = r.command
         WHERE r.kind = 1 AND r.time < 1099511627776 AND NOT r.time_known AND r.host = ?1 AND r.shell = ?2 ORDER BY r.time, r.seq",
    )?;
    let mut rows = select.query(params![host, shell])?;
    while let Some(row) = rows.next()? {
        undated.hashes.push(row.get::<_, i64>(0)? as u64);
        undated.next_time_us = row
            .get::<_, i64>(1)?
            .saturating_add(1)
            .max(undated.next_time_us);
    }
    Ok(undated)
}
