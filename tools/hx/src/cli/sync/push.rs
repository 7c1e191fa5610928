//! `hx sync push`.
//!
//! What must hold: only what the vault acknowledged is reported as published.
//! What it deliberately does not do: pull first.

use clap::Args;
use console::{Exit, Failure, human};
use serde::Serialize;
use vault::{PushMode, PushReport};

use super::cost;
use crate::cli::Context;
use crate::history::History;
use crate::sync::{LastSync, Link, SyncLock, Watcher};

/// Arguments of `hx sync push`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Run it again if it was interrupted, with --force if that was given: it goes on where it stopped."
)]
pub struct PushArgs {
    /// Publish past a conflict, under a new identity of this device: nobody's records are lost
    #[arg(long, conflicts_with = "full")]
    force: bool,
    /// Publish everything again, not only what is pending
    #[arg(long)]
    full: bool,
}

impl PushArgs {
    fn mode(&self) -> PushMode {
        match (self.force, self.full) {
            (true, _) => PushMode::Force,
            (false, true) => PushMode::Full,
            (false, false) => PushMode::Pending,
        }
    }
}

/// Runs `hx sync push`.
///
/// # Errors
/// The vault's, with "hx sync push failed" in front.
pub fn run(args: &PushArgs, context: &Context) -> Result<Exit, Failure> {
    let shown = work(args, context, Occasion::Alone)?;
    if context.ui.is_json() {
        context.ui.json(&shown);
    }
    Ok(Exit::Ok)
}

/// What a push comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Anything.
    Alone,
    /// A pull just now, which had no trouble: where nothing is pending there is no need to look at the store again.
    AfterPull,
}

/// Pushes and tells a person; what a script reads is for the caller to give.
///
/// # Errors
/// As [`run`].
pub(super) fn work(
    args: &PushArgs,
    context: &Context,
    occasion: Occasion,
) -> Result<Shown, Failure> {
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "push", &context.ui)?;
    let watcher = Watcher::new(&context.ui, &context.paths, "push");
    let (report, sync) = context.block_on(async {
        let link = Link::open(
            &history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        let mode = args.mode();
        link.run(&mut history, "push", watcher, async |device| {
            if occasion == Occasion::AfterPull && device.has_nothing_to_push()? {
                return Ok((PushReport::default(), 0));
            }
            let report = device.push(mode).await?;
            let records = report.records;
            Ok((report, records))
        })
        .await
        .map_err(named)
    })?;
    let shown = Shown {
        report,
        took_ms: sync.took_ms,
        usage: sync.usage,
    };
    show(context, &shown);
    Ok(shown)
}

/// Pushes.
///
/// # Errors
/// The vault's.
pub(crate) async fn push(
    link: &Link,
    history: &mut History,
    watcher: Watcher,
    mode: PushMode,
) -> Result<(PushReport, LastSync), Failure> {
    link.run(history, "push", watcher, async |device| {
        let report = device.push(mode).await?;
        let records = report.records;
        Ok((report, records))
    })
    .await
    .map_err(named)
}

fn named(failure: Failure) -> Failure {
    failure.context("hx sync push failed")
}

/// What a push did, for scripts.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    report: PushReport,
    took_ms: u64,
    usage: store::Usage,
}

fn show(context: &Context, shown: &Shown) {
    let ui = &context.ui;
    let (report, usage) = (&shown.report, shown.usage);
    let took = human::duration(std::time::Duration::from_millis(shown.took_ms));
    if !report.published {
        match usage.requests() {
            0 => ui.out("Nothing to push."),
            _ => ui.out(format!("Nothing to push ({}).", cost(usage))),
        }
        return;
    }
    if report.is_only_manifest() {
        ui.out(format!(
            "Nothing to push; told the other devices how far this one is ({}).",
            cost(usage)
        ));
        return;
    }
    let mut extra = String::new();
    for (n, what) in [
        (report.merged, "merged"),
        (report.rewritten, "rewritten"),
        (report.removed, "removed"),
        (report.resumed, "resumed"),
    ] {
        if n > 0 {
            extra += &format!(", {} {what}", human::number(n));
        }
    }
    let records = human::count(report.records, "record");
    let segments = human::count(report.segments, "segment");
    ui.out(format!(
        "Pushed {records} in {segments}{extra}, {took} ({}).",
        cost(usage)
    ));
}
