//! What the errors of the layers below mean to the person.

use crate::log::LogError;
use crate::plan::PlanError;
use crate::prune::DropError;
use crate::rollback::RollbackError;
use crate::sync::SyncError;
use crate::upstream::{UpstreamError, UpstreamErrorKind};
use console::{Exit, Failure, exit};
use std::error::Error;
use store::StoreError;

pub(super) fn of_store(error: &StoreError) -> Failure {
    Failure::from(error)
}

/// Says what to do, where a failure does not know better.
pub(super) fn hinted(failure: Failure, hint: &str) -> Failure {
    match failure.hint_text() {
        Some(_) => failure,
        None => failure.hint(hint),
    }
}

pub(super) fn of_log(error: &LogError) -> Failure {
    match error {
        LogError::Store(error) => of_store(error),
        LogError::Damaged { .. } => Failure::from_error(Exit::Corrupt, error)
            .hint("go back to one that is whole with `homebrew-sync rollback N`, or run `homebrew-sync sync` with the selection once more (--formula NAME, --all): what is stored is not fetched again"),
        LogError::Newer { .. } => Failure::from_error(Exit::Corrupt, error)
            .hint("use the newer program: it is whole, and nothing of it was changed"),
        LogError::NeedsUnknown { ids, .. } => {
            let numbers = ids.iter().map(|id| number_of(id).to_string());
            let numbers: Vec<String> = numbers.map(|number| format!("--drop {number}")).collect();
            Failure::from_error(Exit::Corrupt, error).hint(format!(
                "nothing was removed. If the record cannot be restored from a backup of the store, give the generation up: the same command with {} takes it out of the log, and what only it needed goes then, once it is older than the grace period",
                numbers.join(" ")
            ))
        }
        LogError::NoLog { .. } => Failure::from_error(Exit::NoStore, error)
            .hint("nothing was removed. See whether the folder's disk is mounted; if the log is lost, `homebrew-sync sync` with the selection once more (--formula NAME, --all) writes a new one: what is stored is not fetched again"),
        LogError::Vanished { .. } => Failure::from_error(Exit::NoStore, error)
            .hint("see whether the folder's disk is mounted, or who emptied the bucket"),
        LogError::Pruned { .. } => Failure::from_error(Exit::Failed, error)
            .hint("nothing was published; run again: what is gone is fetched then"),
        LogError::RollingBack => Failure::from_error(Exit::Failed, error).hint(
            "nothing was removed; run again when `homebrew-sync rollback` has ended; one that was killed stands in the way for ten minutes",
        ),
        LogError::HeldUp => Failure::from_error(Exit::Failed, error).hint(
            "what it has removed until then nobody needs; run it again: the machine, or the store, must not stand still for ten minutes meanwhile",
        ),
        LogError::Pruning { .. } => Failure::from_error(Exit::Failed, error).hint(
            "nothing was published; run again when `homebrew-sync prune` has ended; one that was killed stands in the way for a quarter of an hour",
        ),
    }
}

/// The number in a generation's name, as a person types it.
fn number_of(id: &str) -> &str {
    let (number, _) = id.split_once('-').unwrap_or((id, ""));
    match number.trim_start_matches('0') {
        "" => id,
        number => number,
    }
}

pub(super) fn of_drop(error: &DropError) -> Failure {
    let list = "`homebrew-sync generations` lists those that are there";
    match error {
        DropError::Log(error) => of_log(error),
        DropError::NotThere(_) => Failure::from_error(Exit::Failed, error).hint(list),
        DropError::Several { ids, .. } => {
            let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            Failure::from_error(Exit::Failed, error)
                .hint(format!("write the whole name: {}", names.join(" or ")))
        }
        DropError::Current(_) => Failure::from_error(Exit::Conflict, error)
            .hint("nothing was removed; go back to one that is whole with `homebrew-sync rollback N`, or run `homebrew-sync sync` with the selection once more (--formula NAME, --all); then give it up"),
        DropError::Whole(_) => Failure::from_error(Exit::Conflict, error)
            .hint("nothing was removed; --keep N says how many generations stay"),
    }
}

pub(super) fn of_rollback(error: &RollbackError) -> Failure {
    match error {
        RollbackError::Log(error) => of_log(error),
        RollbackError::Store(error) => of_store(error),
        // Not the same command: without a number it would go one further.
        RollbackError::Unsettled { id, source } => {
            let again = format!("`homebrew-sync rollback {}` finishes it", id.number());
            let below = of_log(source).context(error);
            let hint = match below.hint_text() {
                Some(hint) => format!("{again}, once what stands in the way is mended: {hint}"),
                None => format!("{again}, once what stands in the way is mended"),
            };
            below.hint(hint)
        }
        RollbackError::Gone { .. } => Failure::from_error(Exit::Corrupt, error)
            .hint("nothing was changed; choose another generation; `homebrew-sync generations` lists those that are there"),
        RollbackError::Lost { .. } => Failure::from_error(Exit::Corrupt, error).hint(
            "clients of these files get none, or a wrong one: go on to another generation with `homebrew-sync rollback N`, or bring the mirror up to date with `homebrew-sync sync`, which fetches what the upstream has",
        ),
        RollbackError::Pruning => Failure::from_error(Exit::Failed, error)
            .hint("nothing was changed; run again when it has ended; one that was killed stands in the way for a quarter of an hour"),
        RollbackError::Overtaken => Failure::from_error(Exit::Failed, error)
            .hint("run again when they have ended; see `homebrew-sync generations` for what is current"),
    }
}

pub(super) fn of_sync(error: &SyncError) -> Failure {
    match error {
        SyncError::Plan(error) => of_plan(error),
        SyncError::Store(error) => of_store(error),
        SyncError::Log(error) => of_log(error),
        SyncError::Run(error) => {
            let code = match error.store_error() {
                Some(store) => exit::of_store(store.kind()),
                None if error.kind() == transfer::RunErrorKind::TooManyFailures => Exit::Partial,
                None => Exit::Failed,
            };
            Failure::from_error(code, error).hint(error.remedy())
        }
        SyncError::Journal(error) => Failure::from_error(Exit::Failed, error).hint(error.remedy()),
        SyncError::State { .. } => Failure::from_error(Exit::Failed, error)
            .hint("name a directory that can be written with --state-dir DIR or in HOMEBREW_SYNC_STATE_DIR"),
        SyncError::NoReferences(_) => Failure::from_error(Exit::Config, error)
            .hint("leave --layout away: `homebrew-sync serve` answers in the flat layout from any store; as files it needs a folder"),
        SyncError::NothingSelected => Failure::usage(error)
            .hint("say what to mirror: --formula NAME, --brewfile FILE or --all; later runs remember it"),
    }
}

fn of_plan(error: &PlanError) -> Failure {
    match error {
        PlanError::Upstream { path, error } => of_upstream(error)
            .context("the upstream could not be asked")
            .hint(format!("{}; {}", error.remedy(), pass_over(path))),
        PlanError::Store(error) => of_store(error),
        PlanError::Log(error) => of_log(error),
        PlanError::Api { path, .. } => Failure::from_error(Exit::Corrupt, error).hint(format!(
            "clients would refuse such a file, so nothing was published; see whether --api leads to Homebrew's own API, then run again; {}",
            pass_over(path)
        )),
        PlanError::Selection(selection) => {
            let failure = Failure::from_error(Exit::Failed, selection);
            match selection {
                crate::selection::SelectionError::Unknown { nearest: Some(nearest), .. } => {
                    failure.hint(format!("is {nearest} meant?"))
                }
                _ => failure.hint("see https://formulae.brew.sh for what there is"),
            }
        }
        PlanError::NoApi(_) => Failure::from_error(Exit::Failed, error)
            .hint("check --api; a mirror of the API has these files below its root"),
        PlanError::Shrunk(_) => Failure::from_error(Exit::Conflict, error)
            .hint("nothing was published: clients see what they saw before. See whether --api leads to Homebrew's own API, and run again later; if so much is really gone, run once with --accept-shrinking"),
    }
}

/// How a run goes on without a file of the API.
fn pass_over(path: &str) -> String {
    format!(
        "if it is this file alone, and the mirror has one, --skip {path} keeps that and goes on"
    )
}

pub(super) fn of_upstream(error: &UpstreamError) -> Failure {
    let code = match error.kind() {
        UpstreamErrorKind::Network
        | UpstreamErrorKind::Throttled
        | UpstreamErrorKind::Unavailable => Exit::Network,
        UpstreamErrorKind::Denied => Exit::Denied,
        UpstreamErrorKind::Server => Exit::Failed,
    };
    Failure::new(code, error)
        .with_causes(error.source())
        .hint(error.remedy())
}
