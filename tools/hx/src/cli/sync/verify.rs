//! `hx sync verify`.
//!
//! What must hold: every object is accounted for; the exit code is 0 only if everything that is named can be read.
//! What it deliberately does not do: change anything.

use std::collections::BTreeSet;

use clap::Args;
use console::{Exit, Failure, Table, human};
use store::{ErrorKind, StoreError};
use vault::{Place, ProblemKind, VerifyMode, VerifyReport};

use super::cost;
use crate::cli::Context;
use crate::sync::{LastSync, Link, SyncLock, Watcher, problems_failure};

/// Arguments of `hx sync verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only the manifests, and whether what they name is there
    #[arg(long)]
    manifest: bool,
    /// Name harmless things too: replaced objects, foreign files
    #[arg(long)]
    all: bool,
}

/// Runs `hx sync verify`.
///
/// # Errors
/// The vault's, or that objects could not be used.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "verify", &context.ui)?;
    let watcher = Watcher::new(&context.ui, &context.paths, "verify");
    let mode = if args.manifest {
        VerifyMode::Manifest
    } else {
        VerifyMode::Full
    };
    let (report, sync, kind, versions) = context.block_on(async {
        let link = Link::open(
            &history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        let (report, sync) = link
            .run(&mut history, "verify", watcher, async |device| {
                let report = device.verify(mode).await?;
                let records = report.records;
                Ok((report, records))
            })
            .await?;
        let versions = match mode {
            VerifyMode::Full => Some(link.vault.store().old_versions("objects").await),
            VerifyMode::Manifest => None,
        };
        Ok((report, sync, link.kind, versions))
    })?;
    show(args, context, &report, &sync, versions.as_ref());
    match problems_failure("verify", &report.problems, kind) {
        Some(failure) => Err(failure),
        None => Ok(Exit::Ok),
    }
}

fn show(
    args: &VerifyArgs,
    context: &Context,
    report: &VerifyReport,
    sync: &LastSync,
    versions: Option<&Result<u64, StoreError>>,
) {
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(report);
        return;
    }
    let named: Vec<_> = report
        .problems
        .iter()
        .filter(|problem| args.all || problem.kind.is_serious())
        .collect();
    if !named.is_empty() {
        let mut table = Table::new(["object", "problem"]);
        for problem in named {
            table.row([problem.key.clone(), problem.detail.clone()]);
        }
        ui.out(table.render());
    }
    let verdict = if report.is_sound() {
        "Sound"
    } else {
        "Damaged"
    };
    let objects = format!(
        "{}, {}, {}",
        human::count(report.devices, "device"),
        human::count(report.manifests, "manifest"),
        human::count(report.segments, "segment")
    );
    let read = if args.manifest {
        String::new()
    } else {
        format!(", {} re-read", human::count(report.records, "record"))
    };
    ui.out(format!(
        "{verdict}: {objects}{read} ({}).",
        cost(sync.usage)
    ));
    if report.orphans > 0 {
        ui.status(format!("{} that no manifest names any more: kept for slow readers, or left by an interrupted push.", human::count(report.orphans, "object")));
    }
    if report.forgotten_left > 0 {
        let whose: BTreeSet<String> = report
            .problems
            .iter()
            .filter(|problem| problem.kind == ProblemKind::Forgotten)
            .filter_map(|problem| Place::parse(&problem.key))
            .map(|(place, _)| place.node.to_string()[..8].to_owned())
            .collect();
        ui.status(format!(
            "{} still in objects of {}: each device removes its own with its first sync after a week. One that will never sync again: `hx sync devices remove DEVICE`.",
            human::count(report.forgotten_left, "forgotten record"),
            whose.into_iter().collect::<Vec<_>>().join(", ")
        ));
    } else if !args.manifest {
        ui.status("No forgotten record is left in any object.");
    }
    if let Some(versions) = versions {
        show_versions(context, versions);
    }
}

/// A versioned bucket keeps what was replaced and removed: there a forgotten record could live on.
fn show_versions(context: &Context, versions: &Result<u64, StoreError>) {
    match versions {
        Ok(0) => {}
        Ok(n) => context.ui.warn(format!(
            "the bucket keeps {} of objects; forgotten records may be in them until a lifecycle rule with NoncurrentVersionExpiration removes them",
            human::count(*n, "older version")
        )),
        // The server knows no versions, so there are none.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) if error.kind() == ErrorKind::Permission => context.ui.warn(
            "older versions of objects cannot be seen: allow s3:ListBucketVersions to have them counted",
        ),
        Err(error) => context.ui.warn(format!("older versions of objects could not be counted: {error}")),
    }
}
