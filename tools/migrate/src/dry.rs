//! `--dry-run`: what a migration would do, without doing any of it.
//!
//! What must hold: nothing is written anywhere, no state file either; with `--no-s3` the target is not asked; what the run would
//! report as an exception is reported here, as far as it can be seen without reading the files.
//!
//! What it deliberately does not do: promise. Prices are the list prices of S3 Standard; other stores have others.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use console::{Exit, Failure, Table, Ui, human};
use futures::TryStreamExt;
use serde::Serialize;
use store::Store;
use transfer::{Blob, Exception, ExceptionKind, Item, KeySet};

use crate::plan::{Estimate, PlanOptions};
use crate::report::{show_exceptions, write_json};
use crate::run::parts;
use crate::run::session::Session;

/// What a thousand PUT, COPY, POST or LIST requests cost at S3 Standard, in US dollars.
const PRICE_PER_1000_WRITES: f64 = 0.005;

/// What a gigabyte costs a month at S3 Standard, in US dollars.
const PRICE_PER_GB_MONTH: f64 = 0.023;

/// The parts of a large file, as the engine makes them.
const PART: u64 = 8 << 20;

/// Rates for which the time is told if no `--bandwidth` was given: 100 Mbit/s and 1 Gbit/s.
const RATES: [u64; 2] = [12_500_000, 125_000_000];

/// More exceptions than this are only counted.
const EXCEPTIONS_MAX: usize = 10_000;

#[derive(Default, Serialize)]
struct DryRun {
    documents: u64,
    rows: u64,
    objects: u64,
    bytes: u64,
    files: BTreeMap<String, Estimate>,
    already_there: u64,
    missing: u64,
    truncated: u64,
    clashing: u64,
    too_long: u64,
    other_exceptions: u64,
    empty: u64,
    legacy_paths: u64,
    requests: u64,
    cost_requests_usd: f64,
    cost_storage_usd_month: f64,
    time: Vec<TimeAt>,
    target_was_asked: bool,
    exceptions: Vec<Exception>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct TimeAt {
    bytes_per_second: u64,
    seconds: u64,
}

/// Runs `--dry-run`.
///
/// # Errors
/// If database or target cannot be read.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    session.check_user().await?;
    let target = match session.line.action.no_s3 {
        true => None,
        false => Some(parts::open_target(session).await?),
    };
    let there = match &target {
        Some(target) => Some(listed(target).await?),
        None => None,
    };
    let paths = std::sync::Arc::new(parts::paths(session)?);
    let direction = parts::direction(session.settings.direction);
    let options = PlanOptions {
        direction,
        user: session.line.run.user_id.clone(),
        ..PlanOptions::default()
    };
    let planner = parts::planner(session, &paths, options);
    let mut report = DryRun {
        target_was_asked: target.is_some(),
        ..DryRun::default()
    };
    let mut items = planner.stream();
    let limit = session.line.run.limit.unwrap_or(u64::MAX);
    let failed = |error| {
        Failure::wrap(Exit::Failed, "the documents could not be read", &error)
            .hint("check the database, then run the same command again")
    };
    while report.documents < limit
        && let Some(item) = items.try_next().await.map_err(failed)?
    {
        report
            .take(session, &item, there.as_ref(), target.as_ref())
            .await?;
    }
    drop(items);
    let notes = planner.notes();
    report.rows = notes.rows + notes.followers;
    report.legacy_paths = notes.legacy;
    report.empty = notes.empty;
    report.warnings = notes.warnings;
    for exception in notes.exceptions {
        report.except(exception);
    }
    report.predict(session.settings.limits.bandwidth);
    report.show(&session.ui);
    if let Some(path) = &session.line.run.report {
        write_json(path, &report)?;
    }
    Ok(Exit::Ok)
}

impl DryRun {
    async fn take(
        &mut self,
        session: &Session,
        item: &Item,
        there: Option<&KeySet>,
        target: Option<&Store>,
    ) -> Result<(), Failure> {
        self.documents += 1;
        for blob in &item.blobs {
            let is_local = session.settings.direction == crate::cli::args::DirectionArg::LocalToS3;
            let size = if is_local {
                fs::metadata(&blob.source).map(|m| m.len()).ok()
            } else {
                blob.size
            };
            if is_local && !self.is_usable(item, blob, size) {
                continue;
            }
            if let (Some(target), Some(there)) = (target, there)
                && there.contains(&blob.key)
                && self.is_known(item, blob, size, target).await?
            {
                continue;
            }
            self.count(
                blob,
                size.unwrap_or(0),
                session.settings.limits.multipart_threshold,
            );
        }
        Ok(())
    }

    /// Missing and truncated files will be exceptions.
    fn is_usable(&mut self, item: &Item, blob: &Blob, size: Option<u64>) -> bool {
        let (kind, message) = match (size, blob.size) {
            (None, _) if !blob.required => return false,
            (None, _) => (
                ExceptionKind::Missing,
                format!("{} is not there", blob.source),
            ),
            (Some(is), Some(should)) if is != should => (
                ExceptionKind::WrongSize,
                format!(
                    "{} has {is} bytes, not the {should} that its row says",
                    blob.source
                ),
            ),
            _ => return true,
        };
        let remedy =
            "restore the file from a backup; the migration leaves the document out until then";
        self.except(exception(item, blob, kind, message, remedy));
        false
    }

    /// An object with the key is either this very file or in the way.
    async fn is_known(
        &mut self,
        item: &Item,
        blob: &Blob,
        size: Option<u64>,
        target: &Store,
    ) -> Result<bool, Failure> {
        let info = target.head(&blob.key).await?;
        if size.is_none_or(|size| size == info.size) {
            self.already_there += 1;
            return Ok(true);
        }
        let message = format!(
            "another object of {} bytes has the key {}",
            info.size, blob.key
        );
        let remedy = "look at the object; if nobody needs it, remove it and run again";
        self.except(exception(item, blob, ExceptionKind::Clash, message, remedy));
        Ok(true)
    }

    fn count(&mut self, blob: &Blob, size: u64, multipart_threshold: u64) {
        self.objects += 1;
        self.bytes += size;
        let files = self.files.entry(blob.role.clone()).or_default();
        files.files += 1;
        files.bytes += size;
        self.requests += match size > multipart_threshold {
            // One to begin, one to end.
            true => size.div_ceil(PART) + 2,
            false => 1,
        };
    }

    fn except(&mut self, exception: Exception) {
        match exception.kind {
            ExceptionKind::Missing => self.missing += 1,
            ExceptionKind::WrongSize => self.truncated += 1,
            ExceptionKind::Clash => self.clashing += 1,
            ExceptionKind::BadKey => self.too_long += 1,
            _ => self.other_exceptions += 1,
        }
        if self.exceptions.len() < EXCEPTIONS_MAX {
            self.exceptions.push(exception);
        }
    }

    fn predict(&mut self, bandwidth: Option<u64>) {
        self.cost_requests_usd = self.requests as f64 / 1000.0 * PRICE_PER_1000_WRITES;
        self.cost_storage_usd_month = self.bytes as f64 / 1e9 * PRICE_PER_GB_MONTH;
        let rates = bandwidth.map_or(RATES.to_vec(), |rate| vec![rate]);
        self.time = rates
            .into_iter()
            .map(|rate| TimeAt {
                bytes_per_second: rate,
                seconds: self.bytes / rate.max(1),
            })
            .collect();
    }

    fn show(&self, ui: &Ui) {
        if ui.is_json() {
            ui.json(self);
            return;
        }
        ui.out(format!(
            "A migration would move {} as {} ({}). Nothing was changed.",
            human::count(self.documents - self.left_out(), "document"),
            human::count(self.objects, "object"),
            human::bytes(self.bytes)
        ));
        let mut table = Table::plain();
        for (role, files) in &self.files {
            table.row([
                role.clone(),
                human::number(files.files),
                human::bytes(files.bytes),
            ]);
        }
        if !table.is_empty() {
            table.right(1).right(2);
            ui.out(table.render());
        }
        ui.out(format!(
            "requests: {} writes, about ${:.2} at S3 Standard; storage about ${:.2} a month",
            human::number(self.requests),
            self.cost_requests_usd,
            self.cost_storage_usd_month
        ));
        for time in &self.time {
            ui.out(format!(
                "time: at least {} at {}/s",
                human::duration(Duration::from_secs(time.seconds)),
                human::bytes(time.bytes_per_second)
            ));
        }
        self.show_odd(ui);
    }

    fn show_odd(&self, ui: &Ui) {
        let parts = [
            (self.already_there, "there already"),
            (self.empty, "empty"),
            (
                self.legacy_paths,
                "at a place other than the row says, found as the application finds it",
            ),
        ];
        for (n, what) in parts.into_iter().filter(|(n, _)| *n > 0) {
            ui.out(format!("{} {what}", human::count(n, "file")));
        }
        if !self.target_was_asked {
            ui.out(
                "The target was not asked (--no-s3): objects that are there already are not known.",
            );
        }
        show_exceptions(ui, &self.exceptions);
        for warning in self.warnings.iter().take(20) {
            ui.warn(warning);
        }
        if self.warnings.len() > 20 {
            ui.warn(format!(
                "… and {} more like these",
                self.warnings.len() - 20
            ));
        }
    }

    /// Documents that would not be moved.
    fn left_out(&self) -> u64 {
        (self.missing + self.truncated + self.clashing).min(self.documents)
    }
}

fn exception(
    item: &Item,
    blob: &Blob,
    kind: ExceptionKind,
    message: String,
    remedy: &str,
) -> Exception {
    Exception {
        item: item.id.clone(),
        role: blob.role.clone(),
        source: blob.source.clone(),
        key: blob.key.clone(),
        kind,
        message,
        remedy: remedy.into(),
    }
}

async fn listed(target: &Store) -> Result<KeySet, Failure> {
    let mut keys = KeySet::new();
    let mut entries = target.list_stream("");
    while let Some(entry) = entries.try_next().await? {
        keys.insert(&entry.key);
    }
    Ok(keys)
}
