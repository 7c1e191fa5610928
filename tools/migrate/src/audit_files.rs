//! `--audit-files`: rows, files and objects compared; what does not fit is listed.
//!
//! What must hold: it changes nothing; with a bucket that is configured the objects are compared too, without one it says so.
//!
//! What it deliberately does not do: repair. A rollback mends bent rows; the rest is a person's decision.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use console::{Exit, Failure, Table, Ui, human};
use transfer::{Entry, Journal, KeySet, State, StopSignal};

use crate::audit::{AuditError, AuditOptions, AuditReport, Finding, FindingKind, Severity, audit};
use crate::db::{Change, Switched};
use crate::digests::Digests;
use crate::listing::Listing;
use crate::plan::Context;
use crate::report::write_json;
use crate::resolve::Settled;
use crate::run::failures::database_failure;
use crate::run::listen;
use crate::run::parts;
use crate::run::session::Session;

/// So many findings of a kind are shown on a screen; `--json` and `--report` have all.
const SHOWN_MAX: usize = 20;

/// Rows are asked for so many documents at a time.
const BATCH: usize = 500;

/// Runs `--audit-files`.
///
/// # Errors
/// If database, disk or bucket cannot be read. What does not fit is no error but gives [`Exit::Partial`].
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let paths = Arc::new(parts::paths(session)?);
    parts::check_upload(session, &paths)?;
    let action = &session.line.action;
    let bucket = match (&session.settings.bucket, action.no_s3) {
        (Some(_), false) => Some(session.bucket().await?),
        _ => None,
    };
    if bucket.is_none() {
        session
            .ui
            .status("No bucket is looked at: none is configured, or --no-s3 was given.");
    }
    let stop = StopSignal::new();
    let _listening = listen(&stop);
    let listing = match &bucket {
        Some(bucket) => Some(Arc::new(
            Listing::read(bucket, &session.mapping.object_prefixes()).await?,
        )),
        None => None,
    };
    let known = migrated(session, listing.clone()).await?;
    let options = AuditOptions {
        hash: !action.no_hash,
        bucket,
        listing,
        migrated: known.migrated,
        only_copies: known.only_copies,
        stop,
    };
    let report = audit(&*session.database, &session.mapping, &paths, &options)
        .await
        .map_err(|error| failure(&error))?;
    show(&session.ui, &report);
    if let Some(path) = &session.line.run.report {
        write_json(path, &report)?;
    }
    Ok(if report.is_sound() {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

/// What the journals here know of files.
#[derive(Default)]
struct Known {
    migrated: Digests,
    only_copies: KeySet,
    listing: Option<Arc<Listing>>,
    settled: Settled,
}

/// The files that the journals here have moved and whose rows name the objects, still or again. A journal that cannot be read tells nothing.
async fn migrated(session: &Session, listing: Option<Arc<Listing>>) -> Result<Known, Failure> {
    let mut known = Known {
        listing,
        ..Known::default()
    };
    for files in session.state.runs()? {
        let Ok(journal) = Journal::read_only(&files.journal) else {
            continue;
        };
        // What is undone the rows name again if an older state of the database was restored.
        let is_here = |state| {
            matches!(
                state,
                State::Committed | State::Removing | State::Reverted | State::Undone
            )
        };
        let mut entries = journal.entries(is_here);
        loop {
            let batch: Vec<Entry> = entries.by_ref().take(BATCH).flatten().collect();
            if batch.is_empty() {
                break;
            }
            take_in(session, batch, &mut known).await?;
        }
    }
    Ok(known)
}

async fn take_in(session: &Session, batch: Vec<Entry>, known: &mut Known) -> Result<(), Failure> {
    let with_change = batch.into_iter().filter_map(|entry| {
        let context = serde_json::from_value::<Context>(entry.item.context.clone()).ok()?;
        Some((entry, context.changes.into_iter().next()?))
    });
    let (entries, changes): (Vec<Entry>, Vec<Change>) = with_change.unzip();
    let answers = session.database.peek(&changes).await;
    let answers = answers.map_err(|error| database_failure(&error))?;
    for ((entry, change), answer) in entries.iter().zip(&changes).zip(answers) {
        let is_in_bucket = session.mapping.key_of(&change.new).is_some();
        if is_in_bucket && answer == Switched::AlreadyDone {
            for (blob, stored) in entry.item.blobs.iter().zip(&entry.stored) {
                let Some(stored) = stored else { continue };
                let place = known.settled.place(Path::new(&blob.source));
                let place = place.to_string_lossy();
                known.migrated.add(&place, stored.size, stored.sha256);
                let listing = known.listing.as_ref();
                if listing.is_some_and(|listing| listing.size(&blob.key).is_none()) {
                    known.only_copies.insert(&place);
                }
            }
        }
    }
    Ok(())
}

fn failure(error: &AuditError) -> Failure {
    match error {
        AuditError::Database(below) => database_failure(below).context(error),
        AuditError::Store(below) => {
            Failure::from(below).context("the audit could not list the bucket")
        }
        AuditError::Stopped => {
            Failure::from_error(Exit::Interrupted, error as &(dyn Error + 'static))
        }
    }
}

fn show(ui: &Ui, report: &AuditReport) {
    if ui.is_json() {
        ui.json(report);
        return;
    }
    ui.out(format!(
        "{} looked at, {} sound; {} ({}) on disk{}",
        human::count(report.rows, "row"),
        human::number(report.sound),
        human::count(report.files, "file"),
        human::bytes(report.file_bytes),
        report.objects.map_or(String::new(), |n| format!(
            "; {} in the bucket",
            human::count(n, "object")
        ))
    ));
    let mut table = Table::new(["table", "column", "local", "in S3", "empty"]);
    for count in &report.columns {
        table.row([
            count.table.clone(),
            count.column.clone(),
            human::number(count.local),
            human::number(count.stored),
            human::number(count.empty),
        ]);
    }
    table.right(2).right(3).right(4);
    ui.out(table.render());
    let mut by_kind: BTreeMap<FindingKind, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        by_kind.entry(finding.kind).or_default().push(finding);
    }
    for (kind, findings) in by_kind {
        show_kind(ui, report, kind, &findings);
    }
    if report.count_of(Severity::Warning) == 0 {
        ui.out("Rows, files and objects agree.");
    }
}

fn show_kind(ui: &Ui, report: &AuditReport, kind: FindingKind, findings: &[&Finding]) {
    let count = report.counts.get(&kind).copied().unwrap_or(0);
    let word = match kind.severity() {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let name = kind.as_str().replace('_', " ");
    ui.out(format!("{word}: {name} ({})", human::number(count)));
    for finding in findings.iter().take(SHOWN_MAX) {
        let row = match finding.row.as_str() {
            "" => String::new(),
            row => format!("{} {row}: ", finding.column),
        };
        ui.out(format!("  {row}{} ({})", finding.path, finding.detail));
    }
    if count > SHOWN_MAX as u64 {
        ui.out(format!(
            "  … {} more",
            human::number(count - SHOWN_MAX as u64)
        ));
    }
    if let Some(first) = findings.first() {
        ui.out(format!("  what to do: {}", first.remedy));
    }
}
