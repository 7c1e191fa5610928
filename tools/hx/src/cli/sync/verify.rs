//! `hx sync verify`.
//!
//! What must hold: every object is accounted for; the exit code is 0 only if everything that is named can be read.
//! What it deliberately does not do: change anything.

use std::collections::BTreeSet;

use clap::Args;
use console::{Exit, Failure, Table, human};
use serde::Serialize;
use store::{ErrorKind, StoreError};
use vault::{NodeId, Overview, Place, Problem, ProblemKind, VerifyMode, VerifyReport};

use super::devices::is_removed;
use super::{cost, devices};
use crate::cli::Context;
use crate::history::{History, HistoryError, HistoryErrorKind};
use crate::sync::{LastSync, Link, SyncLock, Watcher, history_failure, problems_failure, remark};

/// Arguments of `hx sync verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "It changes nothing. It ends with 0 if all that is named can be read; with 3 if objects that no manifest names hold what is nowhere \
else (a push is under way or was cut off, or somebody removed a manifest), which --manifest does not look for; with 15 if the store shows less than was seen, \
or another vault; with 16 if something is damaged or gone."
)]
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
    let (mut history, _lock) = opened(context)?;
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
    let overview = super::devices::overview(context, &mut history)?;
    show(
        args,
        context,
        (&report, &overview),
        &sync,
        versions.as_ref(),
    );
    match problems_failure("verify", &report.problems, kind) {
        // What is late in a synced folder is no failure of a pull. Here the question is whether everything is there.
        Some(failure)
            if failure.exit() == Exit::Partial && failure.kind_name() != Some("unnamed") =>
        {
            Err(failure.with_exit(Exit::Corrupt))
        }
        Some(failure) => {
            let stranger = devices::unread_stranger(context, &mut history, &report.problems);
            Err(devices::told_of_stranger(failure, stranger))
        }
        None => Ok(Exit::Ok),
    }
}

/// The history, and the lock of one sync at a time. Where nothing may be written neither another sync nor a note of this one is possible.
fn opened(context: &Context) -> Result<(History, Option<SyncLock>), Failure> {
    let path = context.paths.database();
    let is_read_only = |error: &HistoryError| error.kind() == HistoryErrorKind::Permission;
    match History::open(&path) {
        Err(error) if is_read_only(&error) && path.exists() => {
            let history = History::open_to_try(&path).map_err(|error| history_failure(&error))?;
            Ok((history, None))
        }
        Err(error) => Err(history_failure(&error)),
        Ok(history) => {
            context.paths.create()?;
            let lock = SyncLock::take(&context.paths, "verify", &context.ui)?;
            Ok((history, Some(lock)))
        }
    }
}

/// What a verification found, for scripts.
#[derive(Serialize)]
struct Shown<'r> {
    #[serde(flatten)]
    report: &'r VerifyReport,
    took_ms: u64,
    usage: store::Usage,
    /// Older versions of objects that the bucket keeps; none if it does not tell.
    old_versions: Option<u64>,
}

fn show(
    args: &VerifyArgs,
    context: &Context,
    (report, overview): (&VerifyReport, &Overview),
    sync: &LastSync,
    versions: Option<&Result<u64, StoreError>>,
) {
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(&Shown {
            report,
            took_ms: sync.took_ms,
            usage: sync.usage,
            old_versions: versions.and_then(|versions| versions.as_ref().ok().copied()),
        });
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
    let is_withheld =
        |problem: &&Problem| matches!(problem.kind, ProblemKind::Withheld | ProblemKind::Unnamed);
    let mut serious = report
        .problems
        .iter()
        .filter(|problem| problem.kind.is_serious());
    let verdict = match report.is_sound() {
        true => "Sound",
        false if serious.clone().all(|problem| is_withheld(&problem)) => "Incomplete",
        // What it names can be read all the same.
        false if serious.all(|problem| problem.kind == ProblemKind::Conflict) => "In conflict",
        false => "Damaged",
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
    let twins = report.problems.iter();
    for twin in twins.filter(|one| one.kind == ProblemKind::Twins) {
        ui.warn(remark(twin));
    }
    show_leftovers(args, context, report, overview);
    if let Some(versions) = versions {
        show_versions(context, versions);
    }
}

/// What is there and belongs to nothing any more.
fn show_leftovers(
    args: &VerifyArgs,
    context: &Context,
    report: &VerifyReport,
    overview: &Overview,
) {
    let ui = &context.ui;
    if report.orphans > 0 {
        // Their content was read, and what only they hold was named.
        let unread = match args.manifest {
            true => {
                " `hx sync verify`, without --manifest, says whether anything is in there and nowhere else."
            }
            false => "",
        };
        ui.status(format!("{} that no manifest names any more: kept for slow readers, or left by an interrupted push.{unread}", human::count(report.orphans, "object")));
    }
    if report.forgotten_left > 0 {
        let forgotten = report
            .problems
            .iter()
            .filter(|problem| problem.kind == ProblemKind::Forgotten);
        let whose: BTreeSet<NodeId> = forgotten
            .filter_map(|problem| Place::parse(&problem.key))
            .map(|(place, _)| place.node)
            .collect();
        let (gone, there): (Vec<NodeId>, Vec<NodeId>) = whose
            .into_iter()
            .partition(|node| is_removed(overview, *node));
        let mut text = format!(
            "{} still in the store.",
            human::count(report.forgotten_left, "forgotten record"),
        );
        let is_own = |node: &NodeId| {
            let mut devices = overview.devices.iter();
            devices.any(|device| device.this && device.node == *node)
        };
        let (own, others): (Vec<NodeId>, Vec<NodeId>) = there.into_iter().partition(is_own);
        if !own.is_empty() {
            text += " In objects of this device, which go with its first sync after a week.";
        }
        if !others.is_empty() {
            text += &format!(
                " In objects of {}: each device removes its own with its first sync after a week. One that will never sync again: `hx sync devices remove DEVICE`.",
                short(&others)
            );
        }
        if !gone.is_empty() {
            text += &format!(
                " In objects of {}, which was removed: they go with the first sync, after a week, of the device that took it over.",
                short(&gone)
            );
        }
        ui.status(text);
    } else if !args.manifest {
        ui.status("No forgotten record is left in any object.");
    }
}

fn short(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes
        .iter()
        .map(|node| node.to_string()[..8].to_owned())
        .collect();
    names.join(", ")
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
