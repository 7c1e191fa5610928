//! The engine: runs a plan, goes on with it after a crash, undoes it, checks it, removes the sources.
//!
//! What must hold, for each batch: the plan is durable before anything is stored; everything is stored and proved, and the
//! intent durable here and in the target, before the ledger is asked to switch; a source is only ever removed by
//! [`Engine::remove_sources`], after its object was read back; an object is only ever removed if this run made it, no row
//! names it, no run of others needs it, it is what the run stored, and the source is there and equal.
//!
//! It deliberately keeps no item in memory beyond the batches in flight.

mod back;
mod check;
mod copy;
mod gone;
mod only_new;
mod pace;
mod parts;
mod passing;
mod plan;
mod refused;
mod removal;
mod run;
mod shared;
mod steps;
mod switch;
#[cfg(test)]
mod tests;
mod unnamed;

pub(crate) use shared::is_new_folder;
pub use steps::Steps;

use crate::error::{PlanError, RunError};
use crate::item::Item;
use crate::journal::Journal;
use crate::keyset::KeySet;
use crate::ledger::Ledger;
use crate::limits::{Limits, Proof};
use crate::observer::Observer;
use crate::others::Others;
use crate::report::{Report, VerifyReport};
use crate::source::Source;
use crate::stop::StopSignal;
use futures::stream::BoxStream;
use std::sync::Arc;
use store::Store;

/// What an engine works with.
pub struct EngineParts {
    /// The run's journal.
    pub journal: Journal,
    /// Where blobs come from.
    pub source: Arc<dyn Source>,
    /// Where blobs go.
    pub target: Store,
    /// What switches items over.
    pub ledger: Arc<dyn Ledger>,
    /// What may be used at once.
    pub limits: Limits,
    /// What it takes for an object to count as stored.
    pub proof: Proof,
    /// Who hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Who may ask to stop.
    pub stop: StopSignal,
    /// Where a copy of the journal is kept.
    pub mirror: Option<Mirror>,
    /// Below which prefixes of the target all keys lie that the plan may name: they are listed before the first blob is stored.
    /// Empty: the whole target.
    pub prefixes: Vec<String>,
    /// Who else may need what is to be removed.
    pub keepers: Keepers,
    /// Where a test ends the run.
    pub steps: Steps,
}

/// The runs of others that are asked before something is removed. A ledger speaks only for its own database.
#[derive(Clone, Default)]
pub struct Keepers {
    /// Before an object of the target goes.
    pub of_target: Option<Arc<Others>>,
    /// Before a source goes.
    pub of_source: Option<Arc<Others>>,
}

/// Where a copy of the journal is kept: `prefix/RUN/NUMBER`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The store.
    pub store: Store,
    /// The prefix in it, such as `.syncline/migrations`.
    pub prefix: String,
}

/// How a run is undone.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// What becomes of the objects that the run made.
    pub objects: MadeObjects,
    /// Items that are undone and that were switched over again since, in whole or in part, by no other run: an older state of the ledger was restored.
    /// They are undone once more, each only if its sources are there and equal, or can be restored from its objects.
    pub again: KeySet,
    /// Items that somebody had changed when they were to be switched back, and that other runs have brought to where they are: they are left alone.
    pub settled: KeySet,
}

/// What a rollback does with the objects that the run made, once nothing is switched to them and their sources are there and equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MadeObjects {
    /// Removes those that are still what was stored. Others have been written since, by somebody who may need them, and are named.
    #[default]
    Remove,
    /// Leaves them, for a later rollback of the same run to remove.
    Keep,
}

/// Which objects a verification looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// All of them.
    All,
    /// So many, spread over the run.
    Count(u64),
}

/// How a run is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Which objects are looked at.
    pub sample: Sample,
    /// Whether they are read back and hashed; if not, only their size is asked for (and their hash, where the store has it).
    pub read_back: bool,
}

/// Which sources are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Only those of items that were switched over before this moment.
    pub switched_before: Option<jiff::Timestamp>,
    /// Only looks at what would be removed.
    pub dry_run: bool,
}

/// Runs plans over one journal.
pub struct Engine {
    parts: EngineParts,
}

impl Engine {
    /// Makes an engine; nothing is asked or written yet.
    #[must_use]
    pub fn new(parts: EngineParts) -> Engine {
        Engine { parts }
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.parts.journal
    }

    /// Copies and switches over every item of a plan that this journal has not switched over yet. First it finishes what an
    /// earlier run over the journal left: resuming is running again. The plan is read a little ahead, in a task of its own.
    ///
    /// # Errors
    /// If the run cannot go on. Nothing is undone; run again to go on, or roll back.
    pub async fn run(
        &mut self,
        plan: BoxStream<'static, Result<Item, PlanError>>,
    ) -> Result<Report, RunError> {
        run::run(self.shared(), plan).await
    }

    /// Undoes everything that this journal did: sources that are gone are restored from their objects, items are switched back,
    /// and then objects that the run made are removed.
    ///
    /// # Errors
    /// If it cannot go on. Call it again to go on.
    pub async fn rollback(&mut self, options: RollbackOptions) -> Result<Report, RunError> {
        back::rollback(self.shared(), options).await
    }

    /// Compares the target with the journal. Changes nothing.
    ///
    /// # Errors
    /// If the target or the journal cannot be read; what differs is in the report.
    pub async fn verify(&mut self, options: VerifyOptions) -> Result<VerifyReport, RunError> {
        check::verify(self.shared(), options).await
    }

    /// Removes the sources of items that are switched over, each only after all its objects were read back from the target and are
    /// equal to it. A rollback can still restore them.
    ///
    /// # Errors
    /// If it cannot go on. Call it again to go on.
    pub async fn remove_sources(&mut self, options: RemoveOptions) -> Result<Report, RunError> {
        check::remove_sources(self.shared(), options).await
    }

    /// Gives up the uploads in parts that this journal says were begun and not ended, and does nothing else: for a tool that plans anew rather
    /// than resume. What else is under way for the same keys may be another machine's, and stays.
    ///
    /// # Errors
    /// If the target cannot be asked.
    pub async fn abandon(&mut self) -> Result<(), RunError> {
        plan::abort_noted_uploads(&self.shared()).await
    }

    /// Makes what the tasks of one call share: budgets and counts begin anew.
    fn shared(&self) -> Arc<shared::Shared> {
        Arc::new(shared::Shared::new(&self.parts))
    }
}
