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
pub struct PushArgs {
    /// Publish past a conflict, under a new identity: nobody's records are lost
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
    let shown = work(args, context)?;
    if context.ui.is_json() {
        context.ui.json(&shown);
    }
    Ok(Exit::Ok)
}

/// Pushes and tells a person; what a script reads is for the caller to give.
///
/// # Errors
/// As [`run`].
pub(super) fn work(args: &PushArgs, context: &Context) -> Result<Shown, Failure> {
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
        push(&link, &mut history, watcher, args.mode()).await
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
    .map_err(|failure| failure.context("hx sync push failed"))
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
        ui.out(format!("Nothing to push ({}).", cost(usage)));
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
