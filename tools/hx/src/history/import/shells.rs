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
//! which of them are new, a second reading adds these.

use std::collections::{HashMap, HashSet};
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
use crate::history::{Applier, ApplyOptions, octets};

/// What earlier imports of the same host and shell gave without times.
struct Undated {
    hashes: Vec<u64>,
    next_time_us: i64,
}

/// What a text without a time was known by before its bytes were kept.
struct Former {
    /// Its index among the file's entries without a time.
    index: usize,
    hash: u64,
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
    /// Those of them that may have been imported with replacement characters.
    former: Vec<Former>,
    /// Counts texts with replacement characters.
    former_repeats: Repeats,
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
        former: Vec::new(),
        former_repeats: Repeats::default(),
        progress: options.progress.clone(),
    };
    for_each(&mut input, shell, |item| import.first_reading(item))?;
    let dated = import.report.first_us.is_some();
    let undated = std::mem::take(&mut import.undated);
    if !undated.is_empty() {
        let former = std::mem::take(&mut import.former);
        let mut plan = Plan::new(connection, &known, &undated, &former)?;
        import.second_reading(&mut input, shell, known, &mut plan)?;
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
            if entry.escaped {
                let hash = wide_hash(&octets::formerly(&entry.text)) as u64;
                let index = self.undated.len();
                self.former.push(Former { index, hash });
            }
            self.undated.push(wide_hash(&entry.text) as u64);
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
        let mut occurrences: HashMap<u64, u32> = HashMap::new();
        for hash in known.hashes {
            *occurrences.entry(hash).or_default() += 1;
        }
        let mut time_us = known.next_time_us;
        // A shell may append to the file meanwhile: what the first reading did not see waits for the next import.
        for_each(input, shell, |item| {
            let Item::Entry(entry) = item else {
                return Ok(());
            };
            if entry.second.is_some() {
                return Ok(());
            }
            match plan.is_new.next() {
                Some(true) => {
                    if entry.escaped && self.was_forgotten(&entry.text, &occurrences)? {
                        self.report.forgotten += 1;
                        return Ok(());
                    }
                    let hash = wide_hash(&entry.text) as u64;
                    let occurrence = occurrences.entry(hash).or_default();
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
                Some(false) => {
                    self.report.known += 1;
                    Ok(())
                }
                None => Ok(()),
            }
        })
    }

    /// Whether an entry without a time was forgotten after it had been imported with its bytes replaced.
    fn was_forgotten(
        &mut self,
        text: &str,
        occurrences: &HashMap<u64, u32>,
    ) -> Result<bool, HistoryError> {
        let former = octets::formerly(text);
        let occurrence = occurrences.get(&(wide_hash(&former) as u64));
        let id = Event::import_id(&self.host, None, &former, occurrence.copied().unwrap_or(0));
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

/// Which entries without a time are new.
struct Plan {
    is_new: std::vec::IntoIter<bool>,
}

impl Plan {
    fn new(
        connection: &Connection,
        known: &Undated,
        undated: &[u64],
        former: &[Former],
    ) -> Result<Self, HistoryError> {
        let hashes: HashSet<u64> = known.hashes.iter().copied().collect();
        let is_former = |hash: &u64| hashes.contains(hash);
        let (mut known, mut undated) = (known.hashes.clone(), undated.to_vec());
        if former.iter().any(|former| is_former(&former.hash)) {
            // Both ways to keep a text count as one, or the two would not line up.
            let mut same: HashMap<u64, u64> = texts_with_octets(connection)?
                .into_iter()
                .filter(|(_, former)| is_former(former))
                .collect();
            for entry in former.iter().filter(|former| is_former(&former.hash)) {
                same.insert(undated[entry.index], entry.hash);
            }
            for hash in known.iter_mut().chain(&mut undated) {
                *hash = same.get(hash).copied().unwrap_or(*hash);
            }
        }
        Ok(Self {
            is_new: align::new_entries(&known, &undated).into_iter(),
        })
    }
}

/// The hashes of all commands with bytes that are no text, each with what its hash was before these were kept.
fn texts_with_octets(connection: &Connection) -> Result<Vec<(u64, u64)>, HistoryError> {
    let mut select = connection.prepare("SELECT hash, text FROM commands WHERE text GLOB ?1")?;
    let mut rows = select.query([octets::GLOB])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let former = octets::formerly(&row.get::<_, String>(1)?);
        found.push((row.get::<_, i64>(0)? as u64, wide_hash(&former) as u64));
    }
    Ok(found)
}

pub(super) fn for_each(
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
