//! `hx sync repair`.
//!
//! What must hold: nothing readable is lost; what this machine has and the vault cannot show is published again; what another vault that
//! this machine was in left in the same place is published in this one before it is removed.
//! What it deliberately does not do: remove damaged objects.

use clap::Args;
use console::{Exit, Failure, Ui, human};
use serde::Serialize;
use vault::{Absorbed, Device, RepairReport};

use super::{cost, devices};
use crate::cli::Context;
use crate::replica::HistoryReplica;
use crate::sync::{KeyFile, LastSync, Link, SyncLock, Watcher, problems_failure};

/// Arguments of `hx sync repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Rebuild what the manifests name (this is all that repair does; the option is there for clarity)
    #[arg(long)]
    manifest: bool,

    /// Remove what another vault left in the same place, although not everything of it can be read: what only that held is lost
    ///
    /// It asks first; without a terminal it needs --yes.
    #[arg(long)]
    give_up_unreadable: bool,
}

/// Runs `hx sync repair`.
///
/// # Errors
/// The vault's.
pub fn run(args: &RepairArgs, context: &Context) -> Result<Exit, Failure> {
    let gives_up = args.give_up_unreadable;
    if gives_up {
        context.consent("Remove what another vault left here, also what cannot be read of it?")?;
    }
    let mut history = context.history()?;
    let _lock = SyncLock::take(&context.paths, "repair", &context.ui)?;
    let watcher = Watcher::new(&context.ui, &context.paths, "repair");
    let ((absorbed, report), sync, kind) = context.block_on(async {
        let link = Link::open(
            &history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        let earlier = KeyFile::others(&context.paths, link.membership.vault);
        let work = async |device: &mut Device<'_, HistoryReplica<'_>>| {
            let (report, absorbed) = device.absorb(&earlier, gives_up).await?;
            let records = report.republished;
            Ok(((absorbed, report), records))
        };
        let (done, sync) = link.run(&mut history, "repair", watcher, work).await?;
        Ok((done, sync, link.kind))
    })?;
    // A new manifest alone leaves out what is damaged, or stands for one that is.
    let is_idle = report.recovered == 0
        && report.republished == 0
        && report.cleared == 0
        && !report.push.published
        && absorbed.objects == 0;
    let is_sound = report.problems.is_empty() && absorbed.problems.is_empty();
    // Of this one nothing is mended as long as its manifest is there, whatever was published again.
    let stranger = devices::unread_stranger(context, &mut history, &report.problems);
    let failure = problems_failure("repair", &report.problems, kind)
        .filter(|_| is_idle || stranger.is_some())
        .map(|failure| devices::told_of_stranger(failure, stranger));
    let ended = move || match failure {
        Some(failure) => Err(failure),
        None if is_idle && !is_sound => Ok(Exit::Partial),
        None => Ok(Exit::Ok),
    };
    if context.ui.is_json() {
        context.ui.json(&Repaired { report, absorbed });
        return ended();
    }
    if absorbed != Absorbed::default() {
        tell_absorbed(&context.ui, &absorbed);
    }
    if is_idle && is_sound {
        context
            .ui
            .out(format!("Nothing to repair ({}).", cost(sync.usage)));
    } else {
        let did = match (is_idle, stranger) {
            (true, _) => "Not repaired",
            (false, Some(_)) => "Not all repaired",
            (false, None) => "Repaired",
        };
        show(context, &report, &sync, did);
    }
    ended()
}

/// What `--json` shows.
#[derive(Serialize)]
struct Repaired {
    #[serde(flatten)]
    report: RepairReport,
    absorbed: Absorbed,
}

/// Tells what became of another vault in the same place.
fn tell_absorbed(ui: &Ui, absorbed: &Absorbed) {
    for problem in &absorbed.problems {
        ui.warn(format!("{}: {}", problem.key, problem.detail));
    }
    if absorbed.objects > 0 {
        ui.status(format!(
            "Another vault that this machine was in had left objects here, with {} that this machine did not have. Their records are published \
             in this vault; {} removed.",
            human::count(absorbed.recovered, "record"),
            human::count(absorbed.objects, "object"),
        ));
    }
    if !absorbed.problems.is_empty() && absorbed.objects == 0 {
        ui.status(format!(
            "Nothing that another vault left here was removed: {} of it cannot be read now. Put it back, or wait until it has come, and \
             run `hx sync repair` again; `--give-up-unreadable` goes on without.",
            human::count(absorbed.problems.len() as u64, "object"),
        ));
    }
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
    let cleared = match report.cleared {
        0 => String::new(),
        n => format!(", {} of its own removed", human::count(n, "damaged object")),
    };
    ui.out(format!(
        "{did}: {} read that this machine did not have, {} published again{cleared} ({}).",
        human::count(report.recovered, "record"),
        human::count(report.republished, "record"),
        cost(sync.usage)
    ));
    if !report.problems.is_empty() && !report.removed {
        ui.status(
            "What this machine has of them is published again. Run `hx sync repair` on the devices that wrote them too; `hx sync verify` shows what is left. If a device that wrote them is lost, or is this one before a reset, `hx sync devices remove DEVICE` takes its line over.",
        );
    }
}
