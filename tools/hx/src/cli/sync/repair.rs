//! `hx sync repair`.
//!
//! What must hold: nothing readable is lost; what this machine has and the vault cannot show is published again.
//! What it deliberately does not do: remove damaged objects.

use clap::Args;
use console::{Exit, Failure, human};
use vault::RepairReport;

use super::cost;
use crate::cli::Context;
use crate::sync::{LastSync, Link, SyncLock, Watcher};

/// Arguments of `hx sync repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Rebuild what the manifests name (this is all that repair does; the option is there for clarity)
    #[arg(long)]
    manifest: bool,
}

/// Runs `hx sync repair`.
///
/// # Errors
/// The vault's.
pub fn run(_: &RepairArgs, context: &Context) -> Result<Exit, Failure> {
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "repair", &context.ui)?;
    let watcher = Watcher::new(&context.ui, &context.paths, "repair");
    let (report, sync) = context.block_on(async {
        let link = Link::open(
            &history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        link.run(&mut history, "repair", watcher, async |device| {
            let report = device.repair().await?;
            let records = report.republished;
            Ok((report, records))
        })
        .await
    })?;
    show(context, &report, &sync, "Repaired");
    Ok(Exit::Ok)
}

/// Tells what was done, `did` in a word.
pub(super) fn show(context: &Context, report: &RepairReport, sync: &LastSync, did: &str) {
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(report);
        return;
    }
    for problem in &report.problems {
        ui.warn(format!("{}: {}", problem.key, problem.detail));
    }
    ui.out(format!(
        "{did}: {} read that this machine did not have, {} published again ({}).",
        human::count(report.recovered, "record"),
        human::count(report.republished, "record"),
        cost(sync.usage)
    ));
    if !report.problems.is_empty() {
        ui.status(
            "What this machine has of them is published again. Run `hx sync repair` on the devices that wrote them too; `hx sync verify` shows what is left.",
        );
    }
}
