//! What an import did, as a table, as sentences and as JSON.
//!
//! What must hold: every number of the report is shown, and each thing that was left out comes with its reason.
//!
//! What it deliberately does not do: judge. That commands were left out is for the exit code.

use std::path::PathBuf;

use console::{Failure, Table, Ui, human};
use serde_json::{Value, json};

use crate::history::export::redact;
use crate::history::import::{Assumed, ImportReport};

/// A file and what became of it.
pub(super) struct Imported {
    pub(super) path: PathBuf,
    pub(super) outcome: Result<ImportReport, Failure>,
}

/// Sums over files.
#[derive(Default, serde::Serialize)]
struct Total {
    read: u64,
    added: u64,
    others: u64,
    known: u64,
    forgotten: u64,
    skipped: u64,
}

/// Shows what was done.
pub(super) fn show(ui: &Ui, imported: &[Imported], dry_run: bool) {
    let total = total(imported);
    if ui.is_json() {
        let files: Vec<Value> = imported.iter().map(object).collect();
        ui.json(&json!({ "dry_run": dry_run, "files": files, "total": total }));
        return;
    }
    ui.out(table(imported, &total));
    for one in imported {
        match &one.outcome {
            Ok(report) => remarks(ui, one, &without_secrets(report)),
            Err(failure) => ui.warn(
                std::iter::once(failure.message())
                    .chain(failure.causes())
                    .collect::<Vec<_>>()
                    .join(": "),
            ),
        }
    }
    ui.status(sentence(&total, dry_run));
}

fn total(imported: &[Imported]) -> Total {
    let mut total = Total::default();
    for report in imported.iter().filter_map(|one| one.outcome.as_ref().ok()) {
        total.read += report.read;
        total.added += report.added;
        total.others += report.others;
        total.known += report.known;
        total.forgotten += report.forgotten;
        total.skipped += report.skipped_count();
    }
    total
}

fn object(one: &Imported) -> Value {
    let path = one.path.display().to_string();
    match &one.outcome {
        Ok(report) => json!({ "path": path, "report": without_secrets(report) }),
        Err(failure) => json!({ "path": path, "error": failure.to_json()["error"] }),
    }
}

/// What could not be read may be a part of a command with a secret in it.
fn without_secrets(report: &ImportReport) -> ImportReport {
    let mut report = report.clone();
    for (_, excerpt) in report
        .skipped
        .iter_mut()
        .flat_map(|skipped| &mut skipped.examples)
    {
        *excerpt = redact(excerpt);
    }
    report
}

fn table(imported: &[Imported], total: &Total) -> String {
    let mut table = Table::new([
        "file",
        "kind",
        "read",
        "added",
        "already there",
        "forgotten",
        "skipped",
    ]);
    let row = |name: String, kind: &str, numbers: [u64; 5]| {
        let mut cells = vec![name, kind.to_owned()];
        cells.extend(numbers.map(human::number));
        cells
    };
    for one in imported {
        let path = one.path.display().to_string();
        match &one.outcome {
            Ok(report) => {
                let numbers = [
                    report.read,
                    report.added,
                    report.known,
                    report.forgotten,
                    report.skipped_count(),
                ];
                table.row(row(path, report.format, numbers));
            }
            Err(_) => {
                table.row([path.as_str(), "not imported", "", "", "", "", ""]);
            }
        }
    }
    if imported.len() > 1 {
        let numbers = [
            total.read,
            total.added,
            total.known,
            total.forgotten,
            total.skipped,
        ];
        table.row(row("total".into(), "", numbers));
    }
    (2..=6).for_each(|column| {
        table.right(column);
    });
    table.render()
}

/// Why something was left out or changed.
fn remarks(ui: &Ui, one: &Imported, report: &ImportReport) {
    let path = one.path.display();
    for skipped in &report.skipped {
        ui.out(format!(
            "{path}: skipped {}: {}",
            human::number(skipped.count),
            skipped.reason.as_str()
        ));
        for (line, excerpt) in &skipped.examples {
            ui.out(format!("  line {line}: {excerpt}"));
        }
    }
    if report.altered {
        ui.warn(format!(
            "{path} is not complete: all its records are there, but not all are as they were exported. If it was edited on purpose, take \"end\" and \"has_end\" out of it; else look for a better copy. It was imported as it is."
        ));
    } else if report.incomplete {
        let missing = match report.missing {
            0 => "its end or a part of it is missing or damaged".to_owned(),
            n => format!("at least {} of it are missing", human::count(n, "record")),
        };
        ui.warn(format!(
            "{path} is not complete: {missing}. What it has was imported; look for a better copy."
        ));
    }
    if report.changed > 0 {
        ui.out(format!(
            "{path}: {} not what was exported (edited, damaged, or with a secret taken out): kept as {} beside what stands under the same id",
            counted(report.changed, "command is", "commands are"),
            if report.changed == 1 { "one of its own" } else { "ones of their own" }
        ));
    }
    if let Some(assumed) = &report.assumed {
        ui.out(format!("{path}: {}", assumption(assumed)));
    }
    if report.escaped > 0 {
        let what = human::count(report.escaped, "command");
        ui.out(format!(
            "{path}: {what} with bytes that are no text (UTF-8); they are kept, and shown like \\xe9"
        ));
    }
    if report.lossy > 0 {
        let what = human::count(report.lossy, "command");
        ui.out(format!("{path}: from {what}, zero bytes were dropped"));
    }
    if report.bad_times > 0 {
        let what = human::count(report.bad_times, "command");
        ui.out(format!(
            "{path}: {what} with a time that is none; kept without a time"
        ));
    }
    if report.erased > 0 {
        ui.out(format!(
            "{path}: {} removed, since the file says that they were forgotten",
            human::count(report.erased, "command")
        ));
    }
}

/// What was assumed of commands without times, and what to do if that is wrong.
fn assumption(assumed: &Assumed) -> String {
    let same = match assumed.same {
        0 => "no command was taken for one that was imported before".to_owned(),
        n => format!(
            "{} taken for the same as imported before",
            counted(n, "command was", "commands were")
        ),
    };
    let again = match assumed.again {
        0 => String::new(),
        n => format!(
            "; {} imported before too, but taken for run again, so that nothing is lost (`hx forget` removes what is there twice)",
            counted(n, "of the new ones was", "of the new ones were")
        ),
    };
    format!("it has no times, so that it is not sure what in it is new: {same}{again}")
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        human::number(count),
        if count == 1 { one } else { many }
    )
}

fn sentence(total: &Total, dry_run: bool) -> String {
    let others = match total.others {
        0 => String::new(),
        n => format!(" and {}", human::count(n, "other new record")),
    };
    let new = format!("{}{others}", human::count(total.added, "new command"));
    let known = match total.known {
        0 => String::new(),
        1 => "; 1 was there already".to_owned(),
        n => format!("; {} were there already", human::number(n)),
    };
    if dry_run {
        format!("would import {new}{known}; nothing was changed")
    } else {
        format!("imported {new}{known}")
    }
}
