//! `hx sync pull`.
//!
//! What must hold: what cannot be used is named, and everything else is applied all the same.
//! What it deliberately does not do: push.

use clap::Args;
use console::{Exit, Failure, human};
use serde::Serialize;
use vault::{PullMode, PullReport};

use super::{cost, devices};
use crate::cli::Context;
use crate::history::History;
use crate::sync::{LastSync, Link, SyncLock, Watcher, problems_failure, remark, worst};

/// Arguments of `hx sync pull`.
#[derive(Debug, Default, Args)]
pub struct PullArgs {
    /// Accept what the store shows, after a conflict or when it shows less than was seen before
    #[arg(long, conflicts_with = "full")]
    force: bool,
    /// Fetch everything again
    #[arg(long)]
    full: bool,
}

impl PullArgs {
    fn mode(&self) -> PullMode {
        match (self.force, self.full) {
            (true, _) => PullMode::Force,
            (false, true) => PullMode::Full,
            (false, false) => PullMode::New,
        }
    }
}

/// Runs `hx sync pull`.
///
/// # Errors
/// The vault's, with "hx sync pull failed" in front; or that objects could not be used.
pub fn run(args: &PullArgs, context: &Context) -> Result<Exit, Failure> {
    let (shown, failure) = work(args, context)?;
    if context.ui.is_json() {
        context.ui.json(&shown);
    }
    failure.map_or(Ok(Exit::Ok), Err)
}

/// Pulls and tells a person; what a script reads is for the caller to give. The failure beside the report is that objects could not
/// be used.
///
/// # Errors
/// The vault's.
pub(super) fn work(
    args: &PullArgs,
    context: &Context,
) -> Result<(Shown, Option<Failure>), Failure> {
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "pull", &context.ui)?;
    let watcher = Watcher::new(&context.ui, &context.paths, "pull");
    let (report, sync, kind) = context.block_on(async {
        let link = Link::open(
            &history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        let (report, sync) = pull(&link, &mut history, watcher, args.mode()).await?;
        Ok((report, sync, link.kind))
    })?;
    let failure = problems_failure("pull", &report.problems, kind);
    let failure = failure.map(|failure| {
        let stranger = devices::unread_stranger(context, &mut history, &report.problems);
        devices::told_of_stranger(failure, stranger)
    });
    let shown = Shown {
        report,
        took_ms: sync.took_ms,
        usage: sync.usage,
    };
    show(context, &shown);
    Ok((shown, failure))
}

/// Pulls.
///
/// # Errors
/// The vault's. Problems of single objects are in the report.
pub(crate) async fn pull(
    link: &Link,
    history: &mut History,
    watcher: Watcher,
    mode: PullMode,
) -> Result<(PullReport, LastSync), Failure> {
    link.run(history, "pull", watcher, async |device| {
        let report = device.pull(mode).await?;
        let records = report.added;
        Ok((report, records))
    })
    .await
    .map_err(|failure| failure.context("hx sync pull failed"))
}

/// What a pull did, for scripts.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    report: PullReport,
    took_ms: u64,
    usage: store::Usage,
}

fn show(context: &Context, shown: &Shown) {
    let ui = &context.ui;
    if ui.is_json() {
        return;
    }
    let (report, usage) = (&shown.report, shown.usage);
    // The error at the end names one of them.
    let last = worst(&report.problems);
    for problem in report.problems.iter().filter(|one| Some(*one) != last) {
        ui.warn(remark(problem));
    }
    let took = human::duration(std::time::Duration::from_millis(shown.took_ms));
    if report.segments == 0 {
        ui.out(format!("Nothing new ({}).", cost(usage)));
    } else {
        let known = if report.known > 0 {
            format!(" ({} known already)", human::number(report.known))
        } else {
            String::new()
        };
        let added = human::count(report.added, "record");
        let devices = human::count(report.senders.len() as u64, "device");
        ui.out(format!(
            "Pulled {added}{known} from {devices}, {took} ({}).",
            cost(usage)
        ));
    }
}
