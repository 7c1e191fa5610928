//! `hx sync devices`: who is in the vault, and taking over the records of one that is lost.
//!
//! What must hold: a device's records are taken over before its objects may go.
//! What it deliberately does not do: shut a lost device out; that takes a new key (`hx sync key rotate`).

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use console::{Exit, Failure, Table, human};
use vault::{NodeId, ObjectKind, Overview, Place, Problem, ProblemKind, RepairReport};

use crate::cli::Context;
use crate::history::History;
use crate::replica::HistoryReplica;
use crate::sync::{LastSync, Link, Past, SyncLock, Watcher, failure_of, history_failure};

/// Arguments of `hx sync devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Take over the records of a device that will not come back, and remove its objects after a week.
    ///
    /// It asks first; without a terminal it needs --yes.
    Remove {
        /// Its name, or the beginning of its id; `hx sync devices` shows both
        device: String,
        /// Go on although not everything of it can be read: what only that held is lost
        #[arg(long)]
        give_up_unreadable: bool,
    },
}

/// Runs `hx sync devices`.
///
/// # Errors
/// If sync is not set up, or the vault's.
pub fn run(args: &DevicesArgs, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        None => list(context),
        Some(DevicesCommand::Remove {
            device,
            give_up_unreadable: gives_up,
        }) => remove(context, &mut context.history()?, (device, *gives_up)),
    }
}

pub(super) fn overview(context: &Context, history: &mut History) -> Result<Overview, Failure> {
    let past = Past::read(history).map_err(|error| history_failure(&error))?;
    let membership = past.membership.ok_or_else(super::not_set_up)?;
    let replica = HistoryReplica::for_reading(history, membership.vault)
        .map_err(|error| history_failure(&error))?;
    Overview::read(&replica, membership.vault, &context.settings.host_name())
        .map_err(|error| failure_of(&error))
}

/// Looking needs no permission to write.
fn list(context: &Context) -> Result<Exit, Failure> {
    let mut history = context.history_to_read()?.ok_or_else(super::not_set_up)?;
    let overview = overview(context, &mut history)?;
    if context.ui.is_json() {
        context.ui.json(&overview.devices);
    } else {
        context.ui.out(table(&overview));
        context.ui.status("As of this machine's last pull. A device that joined and has not published anything yet cannot be seen.");
    }
    Ok(Exit::Ok)
}

/// The devices as a table.
pub(super) fn table(overview: &Overview) -> String {
    let mut table = Table::new(["device", "name", "last seen", "records", "size", ""]);
    table.right(3).right(4);
    for device in &overview.devices {
        let seen = match (device.this, device.written_ms) {
            (true, _) => "this device".to_owned(),
            (false, 0) => "unknown".to_owned(),
            (false, written_ms) => human::ago(age(written_ms)),
        };
        let note = match (device.removed_by, device.earlier, device.complete) {
            (Some(_), ..) => "removed",
            (None, true, _) if device.goes_on => {
                "a copy of this machine, or this device before it was set back"
            }
            (None, true, _) => "this device before a reset or a conflict",
            (None, false, false) => "not all read yet",
            (None, false, true) => "",
        };
        table.row([
            device.node.to_string()[..8].to_owned(),
            device.name.clone(),
            seen,
            human::number(device.records),
            human::bytes(device.bytes),
            note.to_owned(),
        ]);
    }
    table.render()
}

fn age(written_ms: i64) -> std::time::Duration {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    std::time::Duration::from_millis(u64::try_from(now_ms - written_ms).unwrap_or_default())
}

fn remove(
    context: &Context,
    history: &mut History,
    (device, gives_up): (&str, bool),
) -> Result<Exit, Failure> {
    let overview = overview(context, history)?;
    let (node, is_known) = match find(&overview, device) {
        Ok(node) => (node, true),
        // Of a device whose manifests nobody could read only the store knows.
        Err(failure) => match whole_id(&overview, device) {
            Some(node) => (node, false),
            None => return Err(failure),
        },
    };
    if is_removed(&overview, node) {
        return Err(removed_already(&overview, node));
    }
    let also = match gives_up {
        true => " What cannot be read of it, and was not read here before, is given up.",
        false => "",
    };
    let question = format!(
        "Take over the records of device {} and remove its objects from the store after a week?{also}",
        &node.to_string()[..8]
    );
    context.consent(&question)?;
    let _lock = SyncLock::take(&context.paths, "devices remove", &context.ui)?;
    let line = (node, is_known);
    let (report, sync) = take_over(context, history, line, gives_up)?;
    let report = report.ok_or_else(|| nobody(device))?;
    if !report.removed {
        super::repair::show(context, &report, &sync, "Not removed");
        return Err(refused(device));
    }
    super::repair::show(context, &report, &sync, "Removed");
    if report.given_up > 0 {
        context.ui.warn(format!(
            "given up with the objects above: up to {} that this machine never had",
            human::count(report.given_up, "record")
        ));
    }
    context.ui.status(
        "If the device is in other hands, run `hx sync key rotate` too: it still knows the key.",
    );
    Ok(Exit::Ok)
}

/// What is said of a device that somebody took over, or that this one is taking over.
fn removed_already(overview: &Overview, node: NodeId) -> Failure {
    let short = |node: NodeId| node.to_string()[..8].to_owned();
    let mut devices = overview.devices.iter();
    let by = devices
        .find(|known| known.node == node)
        .and_then(|known| known.removed_by);
    let is_own = |by: &NodeId| {
        overview
            .devices
            .iter()
            .any(|known| known.this && known.node == *by)
    };
    let failure = |what: &str| {
        Failure::new(Exit::Failed, format!("device {} {what}", short(node))).kind("already-removed")
    };
    if overview.leaving.contains(&node) {
        return failure("is being removed already: that was cut off")
            .hint("Run `hx sync`: it goes on where it stopped.");
    }
    let hint = match by.filter(|by| !is_own(by)) {
        None => "Its records are published by this machine; what is left of its objects goes with this machine's first sync after a week.".to_owned(),
        Some(by) => {
            let mut devices = overview.devices.iter();
            let taker = devices.find(|known| known.node == by);
            let name = taker.map(|taker| format!(", {},", taker.name)).unwrap_or_default();
            format!(
                "Its records are published by device {}{name} which took it over; what is left of its objects goes with that one's first sync after a week. If that one is lost too: `hx sync devices remove {}`.",
                short(by),
                short(by)
            )
        }
    };
    failure("was removed already").hint(format!("{hint} Nothing was changed."))
}

/// Takes it over; or finds that neither this machine (`is_known`) nor the store knows of it, and does nothing.
fn take_over(
    context: &Context,
    history: &mut History,
    (node, is_known): (NodeId, bool),
    gives_up: bool,
) -> Result<(Option<RepairReport>, LastSync), Failure> {
    let watcher = Watcher::new(&context.ui, &context.paths, "devices remove");
    context.block_on(async {
        let link = Link::open(
            history,
            &context.settings,
            &context.paths,
            &context.environment(),
        )
        .await?;
        link.run(history, "devices remove", watcher, async |at_work| {
            if !is_known && !at_work.is_listed(node).await? {
                return Ok((None, 0));
            }
            let report = match gives_up {
                true => at_work.remove_damaged_device(node).await?,
                false => at_work.remove_device(node).await?,
            };
            let records = report.republished;
            Ok((Some(report), records))
        })
        .await
    })
}

fn refused(device: &str) -> Failure {
    Failure::new(
        Exit::Corrupt,
        format!("device {device} was not removed: not everything of it can be read, and this machine did not read it before"),
    )
    .kind("not-all-read")
    .hint(format!("Run it on a device that has its records, or put the objects back that are missing (a synced folder may still be catching up). `hx sync devices remove {device} --give-up-unreadable` goes on without: what only they held is lost."))
}

/// Whether somebody has taken its records over.
pub(super) fn is_removed(overview: &Overview, node: NodeId) -> bool {
    let mut devices = overview.devices.iter();
    overview.removed.contains(&node)
        || overview.leaving.contains(&node)
        || devices.any(|device| device.node == node && device.removed_by.is_some())
}

fn nobody(device: &str) -> Failure {
    Failure::usage(format!("no other device is called `{device}`"))
        .hint("`hx sync devices` lists them. One that this machine removed already is known by its id alone; one of which nothing could ever be read, by its whole id.")
}

/// A whole id, of a device of which nothing may be known here. This device's own is none.
fn whole_id(overview: &Overview, device: &str) -> Option<NodeId> {
    let node: NodeId = device.parse().ok()?;
    let mut devices = overview.devices.iter();
    let is_own = devices.any(|known| known.this && known.node == node);
    (!is_own).then_some(node)
}

/// A device of which a manifest is damaged and nothing else is known here: nobody can take it over, and only giving up what cannot be read
/// of it ends that.
pub(super) fn unread_stranger(
    context: &Context,
    history: &mut History,
    problems: &[Problem],
) -> Option<NodeId> {
    let damaged = problems
        .iter()
        .filter(|one| one.kind == ProblemKind::Corrupt)
        .filter_map(|one| Place::parse(&one.key))
        .filter(|(place, _)| place.kind == ObjectKind::Manifest)
        .map(|(place, _)| place.node)
        .collect::<BTreeSet<_>>();
    if damaged.is_empty() {
        return None;
    }
    // Without it there is the hint that fits every damaged object.
    let overview = overview(context, history).ok()?;
    let is_known = |node: &NodeId| overview.devices.iter().any(|known| known.node == *node);
    let mut strangers = damaged.into_iter().filter(|node| !is_known(node));
    strangers.find(|node| !is_removed(&overview, *node))
}

/// What to do about such a device, in place of the hint that fits every damaged object.
pub(super) fn told_of_stranger(failure: Failure, stranger: Option<NodeId>) -> Failure {
    let Some(node) = stranger.filter(|_| failure.kind_name() == Some("corrupt")) else {
        return failure;
    };
    failure.hint(format!(
        "No manifest of device {node} can be read, and this machine never read one. Run `hx sync repair --manifest` on that device. If it is \
         lost: `hx sync devices remove {node} --give-up-unreadable` here publishes what its segments still show, and gives up the rest."
    ))
}

/// Finds a device by its name or how its id begins; one that was removed only if no other fits. Of those that this device removed, only
/// the id is known.
fn find(overview: &Overview, device: &str) -> Result<NodeId, Failure> {
    let fits = |node: &NodeId, name: &str| node.to_string().starts_with(device) || name == device;
    let others = overview.devices.iter().filter(|known| !known.this);
    let known = others.filter(|known| fits(&known.node, &known.name));
    let mut found: BTreeSet<NodeId> = known.map(|known| known.node).collect();
    let gone = overview.removed.iter().chain(&overview.leaving);
    found.extend(gone.filter(|node| fits(node, "")));
    if found.iter().any(|node| !is_removed(overview, *node)) {
        found.retain(|node| !is_removed(overview, *node));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(nobody(device)),
        (Some(_), Some(_)) => Err(
            Failure::usage(format!("several devices are called `{device}`"))
                .hint("Give more digits of the id."),
        ),
    }
}
