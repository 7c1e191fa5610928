//! What a command says at its end: to a person in a few lines, to a script as JSON.
//!
//! What must hold: both say the same; every exception has a name, a reason and a remedy.
//!
//! What it deliberately does not do: decide how the command ends.

pub mod place;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use console::{Failure, Ui, human};
use serde::Serialize;
use store::Usage;
use transfer::{Exception, Report};

use crate::reconcile::Balance;
use crate::state::{Counts, Parameters, RunState};

/// So many exceptions are shown on a screen; `--report` and `--json` have all.
const SHOWN_MAX: usize = 40;

/// The action of a removal.
pub const REMOVAL: &str = "delete-source";

/// The action of a removal that was only tried: `sources_removed` says what would have gone.
pub const TRIED_REMOVAL: &str = "delete-source --dry-run";

/// The report of a run, a rollback or a removal.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// What the command did: `migrate`, `rollback`, [`REMOVAL`] or [`TRIED_REMOVAL`].
    pub action: &'static str,
    /// The program and its version.
    pub tool: String,
    /// The run's name.
    pub run: String,
    /// How it stands.
    pub state: RunState,
    /// The code the command ends with.
    pub exit_code: u8,
    /// What it was asked to do.
    pub parameters: Parameters,
    /// The journal with every step.
    pub journal: String,
    /// What was done by all attempts of this run.
    pub counts: Counts,
    /// What was done this time.
    pub this_time: Report,
    /// Everything that was left out or is odd.
    pub exceptions: Vec<Exception>,
    /// What rows, disk and bucket come to after the run, with what no exception explains; none if that was not looked at.
    pub balance: Option<Balance>,
    /// What to type next.
    pub next: String,
}

impl RunReport {
    /// Writes the report as JSON to the file of `--report`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_to(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }

    /// Counts the exceptions that are listed: there is one number, wherever it stands.
    #[must_use]
    pub fn counted(mut self) -> Self {
        let n = listed(&self.exceptions, self.balance.as_ref()).count() as u64;
        (self.counts.exceptions, self.this_time.exception_count) = (n, n);
        self
    }

    /// Shows the report.
    pub fn show(&self, ui: &Ui) {
        if ui.is_json() {
            ui.json(self);
            return;
        }
        ui.out(self.headline());
        for line in self.lines() {
            ui.out(format!("  {line}"));
        }
        show_exceptions(ui, &self.exceptions);
        if let Some(balance) = &self.balance {
            show_balance(ui, balance, !self.exceptions.is_empty());
        }
        if !self.next.is_empty() {
            ui.out(format!("Next: {}", self.next));
        }
    }

    fn headline(&self) -> String {
        let took = human::duration(std::time::Duration::from_millis(self.this_time.elapsed_ms));
        let report = &self.this_time;
        let documents = |n: u64| human::count(n, "document");
        let source = match self.parameters.is_from_disk() {
            true => "local file",
            false => "object",
        };
        let removed = human::count(report.sources_removed, source);
        match self.state {
            _ if self.action == TRIED_REMOVAL => {
                format!("{removed} would be removed. Nothing was changed.")
            }
            _ if self.action == REMOVAL && report.ended == transfer::Ended::Stopped => {
                format!("Stopped after {removed} in {took}; nothing is lost.")
            }
            RunState::RolledBack | RunState::RollingBack => {
                format!("Rolled back {} in {took}.", documents(report.reverted))
            }
            RunState::Stopped | RunState::Running => format!(
                "Stopped after {} ({}) in {took}; nothing is lost.",
                documents(report.committed),
                human::bytes(report.bytes)
            ),
            _ if report.sources_removed > 0 => format!("Removed {removed} in {took}."),
            _ if self.action == REMOVAL => format!("No {source} was removed."),
            _ if report.committed == 0 && report.planned == 0 && self.exceptions.is_empty() => {
                match self
                    .balance
                    .as_ref()
                    .map_or(0, |balance| balance.exception_count)
                {
                    0 => "Nothing to migrate: every document is where it should be.".into(),
                    n => format!(
                        "Nothing to migrate, but {} not in place; see the balance.",
                        match n {
                            1 => "the file of one row is".to_owned(),
                            n => format!("the files of {} rows are", human::number(n)),
                        }
                    ),
                }
            }
            _ => format!(
                "Migrated {} ({}) in {took}.",
                documents(report.committed),
                human::bytes(report.bytes)
            ),
        }
    }

    fn lines(&self) -> Vec<String> {
        let report = &self.this_time;
        let is_disk = |is_disk: bool| if is_disk { "file" } else { "object" };
        let source = is_disk(self.parameters.is_from_disk());
        let target = is_disk(self.parameters.is_to_disk());
        let restored = match source {
            "file" => "downloaded and checked",
            _ => "brought back and checked",
        };
        // Between buckets no row changes, so none shows that it had changed before.
        let already_done = match source == target {
            true => 0,
            false => report.already_done,
        };
        let parts = [
            (report.stored, target, "stored and proved"),
            (report.already_there, target, "there already, equal"),
            (
                already_done,
                "document",
                "whose row had the new path already",
            ),
            (
                report.changed,
                "document",
                "changed by somebody else meanwhile, left alone",
            ),
            (
                report.gone,
                "document",
                "deleted by somebody else meanwhile",
            ),
            (
                report.left_out,
                "document",
                "left out for what is wrong with the file",
            ),
            (report.failed, "document", "failed"),
            (report.restored, source, restored),
            (report.objects_removed, target, "removed"),
        ];
        let said = parts.into_iter().filter(|(n, ..)| *n > 0);
        said.map(|(n, noun, what)| format!("{} {what}", human::count(n, noun)))
            .collect()
    }
}

/// Everything that a report lists: the exceptions, and those of the balance that none of them explains.
pub fn listed<'e>(
    exceptions: &'e [Exception],
    balance: Option<&'e Balance>,
) -> impl Iterator<Item = &'e Exception> {
    let unexplained = balance.into_iter().flat_map(|balance| &balance.exceptions);
    exceptions.iter().chain(unexplained)
}

/// Writes what a command reports as JSON to the file of `--report`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(report).map_err(|error| {
        Failure::wrap(
            console::Exit::Failed,
            "the report could not be written",
            &error,
        )
    })?;
    place::write(path, &bytes)
}

/// Shows exceptions by kind, each with its reason; a remedy once below those that it is for.
pub fn show_exceptions(ui: &Ui, exceptions: &[Exception]) {
    if exceptions.is_empty() {
        return;
    }
    ui.out(format!(
        "{}:",
        human::count(exceptions.len() as u64, "exception")
    ));
    let mut by_kind: BTreeMap<_, Vec<&Exception>> = BTreeMap::new();
    for exception in exceptions {
        by_kind.entry(exception.kind).or_default().push(exception);
    }
    let mut left = SHOWN_MAX;
    for (kind, exceptions) in by_kind {
        let name = kind.as_str().replace('_', " ");
        ui.out(format!(
            "  {name} ({})",
            human::number(exceptions.len() as u64)
        ));
        for (index, (remedy, exceptions)) in by_remedy(&exceptions).into_iter().enumerate() {
            if left == 0 && index > 0 {
                break;
            }
            for exception in exceptions.iter().take(left) {
                ui.out(format!("    {}: {}", exception.item, exception.message));
            }
            left = left.saturating_sub(exceptions.len());
            ui.out(format!("    what to do: {remedy}"));
        }
    }
    if exceptions.len() > SHOWN_MAX {
        ui.out(format!(
            "  … {} more; --report FILE has all",
            human::number((exceptions.len() - SHOWN_MAX) as u64)
        ));
    }
}

/// Groups exceptions by their remedy, in the order in which each remedy comes first.
fn by_remedy<'e>(exceptions: &[&'e Exception]) -> Vec<(&'e str, Vec<&'e Exception>)> {
    let mut groups: Vec<(&str, Vec<&Exception>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for exception in exceptions {
        let remedy = exception.remedy.as_str();
        let place = *places.entry(remedy).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(exception),
            None => groups.push((remedy, vec![exception])),
        }
    }
    groups
}

fn show_balance(ui: &Ui, balance: &Balance, has_others: bool) {
    ui.out(format!(
        "Balance: {} of {} have their file in place; {} ({}) in the store.",
        human::number(balance.in_place),
        human::count(balance.rows, "row"),
        human::count(balance.objects, "object"),
        human::bytes(balance.object_bytes)
    ));
    if balance.is_balanced() {
        return;
    }
    let besides = match has_others {
        true => ", besides those of the exceptions above",
        false => "",
    };
    let n = human::count(balance.exception_count, "row");
    ui.out(format!("Out of balance: {n} not in place{besides}."));
    show_exceptions(ui, &balance.exceptions);
    let unlisted = balance
        .exception_count
        .saturating_sub(balance.exceptions.len() as u64);
    if unlisted > 0 {
        let n = human::count(unlisted, "row");
        ui.out(format!(
            "  {n} beyond these are not listed; --audit-files names them"
        ));
    }
}

/// Adds what one call of the engine did to what earlier ones did.
pub fn add(total: &mut Report, more: &Report) {
    total.ended = more.ended;
    total.planned += more.planned;
    total.skipped += more.skipped;
    total.stored += more.stored;
    total.already_there += more.already_there;
    total.committed += more.committed;
    total.already_done += more.already_done;
    total.changed += more.changed;
    total.gone += more.gone;
    total.failed += more.failed;
    total.left_out += more.left_out;
    total.reverted += more.reverted;
    total.restored += more.restored;
    total.objects_removed += more.objects_removed;
    total.sources_removed += more.sources_removed;
    total.bytes += more.bytes;
    total.elapsed_ms += more.elapsed_ms;
    add_usage(&mut total.usage, &more.usage);
}

fn add_usage(total: &mut Usage, more: &Usage) {
    total.lists += more.lists;
    total.gets += more.gets;
    total.puts += more.puts;
    total.deletes += more.deletes;
    total.heads += more.heads;
    total.other += more.other;
    total.retries += more.retries;
    total.throttled += more.throttled;
    total.bytes_up += more.bytes_up;
    total.bytes_down += more.bytes_down;
}
