//! `--dry-run`: what a migration would do, without doing any of it.
//!
//! What must hold: nothing is written anywhere, no state file either; with `--no-s3` the target is not asked; what the run would
//! report as an exception is reported here, as far as it can be seen without reading the files.
//!
//! What it deliberately does not do: promise. Prices are the list prices of S3 Standard; other stores have others.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use console::{Exit, Failure, Table, Ui, human};
use futures::TryStreamExt;
use serde::Serialize;
use transfer::{Blob, Exception, ExceptionKind, Item};

use crate::cli::args::DirectionArg;
use crate::listing::Listing;
use crate::plan::{Estimate, PlanOptions, Planner};
use crate::report::{show_exceptions, write_json};
use crate::run::parts;
use crate::run::session::Session;
use crate::witness::Witness;

/// What a thousand PUT, COPY, POST or LIST requests cost at S3 Standard, in US dollars.
const PRICE_PER_1000_WRITES: f64 = 0.005;

/// What a thousand GET requests cost at S3 Standard, in US dollars.
const PRICE_PER_1000_READS: f64 = 0.0004;

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
    exception_count: u64,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct TimeAt {
    bytes_per_second: u64,
    seconds: u64,
}

/// What is known of both ends of the way.
struct Known {
    direction: DirectionArg,
    /// The bucket that files come from; none if they come from the disk, or it is not asked.
    source: Option<Arc<Listing>>,
    /// What is at the target; none if it is not asked.
    target: Option<Listing>,
    multipart_threshold: u64,
}

/// Runs `--dry-run`.
///
/// # Errors
/// If database or target cannot be read. What the run would leave out is no error but gives [`Exit::Partial`], as the run would.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    session.check_user().await?;
    let paths = Arc::new(parts::paths(session)?);
    parts::check_upload(session, &paths)?;
    let known = Known::of(session).await?;
    let direction = parts::direction(session.settings.direction);
    let options = PlanOptions {
        direction,
        user: session.line.run.user_id.clone(),
        objects: known.source.clone(),
        ..PlanOptions::default()
    };
    let witness = match session.line.action.no_s3 {
        true => Witness::default(),
        false => Witness::gather(session).await?,
    };
    let planner = parts::planner(session, &paths, options).witnessed(witness);
    let mut report = DryRun {
        target_was_asked: known.target.is_some(),
        ..DryRun::default()
    };
    let is_whole = report.take_all(session, &planner, &known).await?;
    let notes = planner.notes();
    report.rows = notes.rows + notes.followers;
    report.legacy_paths = notes.legacy;
    report.empty = notes.empty;
    report.warnings.extend(notes.of_outside());
    report.warnings.extend(notes.warnings);
    for exception in notes.exceptions {
        report.except(exception);
    }
    if is_whole && !session.line.action.no_s3 {
        let bucket = session.bucket().await?;
        let balance = parts::balance_before(session, &paths, &bucket, &report.exceptions).await?;
        balance.into_iter().for_each(|odd| report.except(odd));
    }
    report.predict(session.settings.limits.bandwidth, known.direction);
    report.show(&session.ui, known.direction);
    if let Some(path) = &session.line.run.report {
        write_json(path, &report)?;
    }
    Ok(match report.exception_count {
        0 => Exit::Ok,
        _ => Exit::Partial,
    })
}

impl Known {
    async fn of(session: &Session) -> Result<Known, Failure> {
        let direction = session.settings.direction;
        let is_asked = !session.line.action.no_s3;
        let is_local = direction == DirectionArg::LocalToS3;
        let source = match is_asked && !is_local {
            true => Some(Arc::new(
                Listing::read(&session.bucket().await?, &[]).await?,
            )),
            false => None,
        };
        let target = match is_asked {
            true => {
                let prefixes = parts::prefixes(session);
                Some(Listing::read(&parts::open_target(session).await?, &prefixes).await?)
            }
            false => None,
        };
        Ok(Known {
            direction,
            source,
            target,
            multipart_threshold: session.settings.limits.multipart_threshold,
        })
    }

    /// The length of a blob where it comes from; none if it is not there.
    fn size(&self, blob: &Blob) -> Option<u64> {
        match (self.direction, &self.source) {
            (DirectionArg::LocalToS3, _) => fs::metadata(&blob.source).map(|m| m.len()).ok(),
            (_, Some(bucket)) => bucket.size(&blob.source),
            (_, None) => Some(blob.size.unwrap_or(0)),
        }
    }
}

impl DryRun {
    /// Takes every item of the plan; tells whether no limit ended it.
    async fn take_all(
        &mut self,
        session: &Session,
        planner: &Planner,
        known: &Known,
    ) -> Result<bool, Failure> {
        let failed = |error| {
            Failure::wrap(Exit::Failed, "the documents could not be read", &error)
                .hint("check the database, then run the same command again")
        };
        let limit = session.line.run.limit.unwrap_or(u64::MAX);
        let mut items = planner.stream();
        let mut taken = 0;
        while taken < limit {
            match items.try_next().await.map_err(failed)? {
                Some(item) => self.take(&item, known),
                None => return Ok(true),
            }
            taken += 1;
        }
        Ok(false)
    }

    /// What is wrong with a blob that an item cannot do without leaves the whole item out.
    fn take(&mut self, item: &Item, known: &Known) {
        let (mut new, mut n_there) = (Vec::new(), 0);
        for blob in &item.blobs {
            let size = known.size(blob);
            let there = known
                .target
                .as_ref()
                .and_then(|target| target.size(&blob.key));
            match (trouble(blob, size, there), size, there) {
                (None, _, Some(_)) => n_there += 1,
                (None, Some(size), None) => new.push((blob, size)),
                (None, None, None) => {}
                (Some((kind, message, remedy)), ..) => {
                    self.except(exception(item, blob, kind, message, remedy));
                    if blob.required {
                        return;
                    }
                }
            }
        }
        self.documents += 1;
        self.already_there += n_there;
        for (blob, size) in new {
            self.count(blob, size, known.multipart_threshold);
        }
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
        self.exception_count += 1;
        if self.exceptions.len() < EXCEPTIONS_MAX {
            self.exceptions.push(exception);
        }
    }

    fn predict(&mut self, bandwidth: Option<u64>, direction: DirectionArg) {
        let (per_1000, per_gb_month) = match direction {
            DirectionArg::S3ToLocal => (PRICE_PER_1000_READS, 0.0),
            DirectionArg::LocalToS3 | DirectionArg::S3ToS3 => {
                (PRICE_PER_1000_WRITES, PRICE_PER_GB_MONTH)
            }
        };
        self.cost_requests_usd = self.requests as f64 / 1000.0 * per_1000;
        self.cost_storage_usd_month = self.bytes as f64 / 1e9 * per_gb_month;
        let rates = bandwidth.map_or(RATES.to_vec(), |rate| vec![rate]);
        self.time = rates
            .into_iter()
            .map(|rate| TimeAt {
                bytes_per_second: rate,
                seconds: self.bytes / rate.max(1),
            })
            .collect();
    }

    fn show(&self, ui: &Ui, direction: DirectionArg) {
        if ui.is_json() {
            ui.json(self);
            return;
        }
        let to_disk = direction == DirectionArg::S3ToLocal;
        ui.out(format!(
            "A migration would move {} as {} ({}). Nothing was changed.",
            human::count(self.documents, "document"),
            human::count(self.objects, if to_disk { "file" } else { "object" }),
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
        let requests = human::number(self.requests);
        let price = self.cost_requests_usd;
        ui.out(match to_disk {
            true => format!("requests: {requests} reads, about ${price:.2} at S3 Standard, and what it takes for traffic"),
            false => format!(
                "requests: {requests} writes, about ${price:.2} at S3 Standard; storage about ${:.2} a month",
                self.cost_storage_usd_month
            ),
        });
        for time in &self.time {
            let least = match time.seconds {
                0 => "under 1 s".to_owned(),
                seconds => format!("at least {}", human::duration(Duration::from_secs(seconds))),
            };
            let rate = human::bytes(time.bytes_per_second);
            ui.out(format!("time: {least} at {rate}/s"));
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
}

/// What a run would name: a source that is not there or not as long as it should be, or an object in its way.
fn trouble(
    blob: &Blob,
    size: Option<u64>,
    there: Option<u64>,
) -> Option<(ExceptionKind, String, &'static str)> {
    const RESTORE: &str =
        "restore the file from a backup; the migration leaves the document out until then";
    let Some(size) = size else {
        let message = format!("{} is not there", blob.source);
        return blob
            .required
            .then_some((ExceptionKind::Missing, message, RESTORE));
    };
    if let Some(should) = blob.size.filter(|should| *should != size) {
        let message = format!(
            "{} has {size} bytes, not the {should} that it should have",
            blob.source
        );
        return Some((ExceptionKind::WrongSize, message, RESTORE));
    }
    let there = there.filter(|there| *there != size)?;
    let message = format!(
        "{} is there already with {there} bytes, and {} has {size}",
        blob.key, blob.source
    );
    let remedy = "find out first whose it is: it may be what another row names, and then it must stay where it is (--audit-files lists what no row \
                  names). If it is nobody's, move it away, then run again";
    Some((ExceptionKind::Clash, message, remedy))
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
