//! The forward way: planning, copying and switching over go on side by side, batch by batch.
//!
//! What must hold: batches are switched over one at a time, each only when all its items are stored or left out; a wish to
//! stop lets what is in flight finish and switches it over; an error drops what is in flight, which the journal knows of.

use super::copy::{Pending, Ready, copy_item};
use super::shared::{Shared, item_exception, joined};
use super::{plan, switch};
use crate::error::{PlanError, RunError, RunErrorKind};
use crate::item::Item;
use crate::journal::State;
use crate::observer::Event;
use crate::report::{Ended, ExceptionKind, Report};
use futures::future::OptionFuture;
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinHandle, JoinSet};

/// So many batches are between planning and switching over at most.
const BATCHES_MAX: usize = 3;

/// So many items are planned before they are asked for.
const AHEAD: usize = 64;

type Plan = BoxStream<'static, Result<Item, PlanError>>;

/// Runs a plan.
pub(super) async fn run(shared: Arc<Shared>, plan: Plan) -> Result<Report, RunError> {
    let outcome = forward(&shared, plan).await;
    match outcome {
        Ok(ended) => {
            shared.report().ended = ended;
            shared.end("run").await
        }
        Err(error) => {
            if error.kind() != RunErrorKind::Crash {
                // What was stored need not be looked for again.
                let _ = shared.journal.sync().await;
            }
            Err(error)
        }
    }
    .map_err(|error| error.with_report(shared.report_now()))
}

async fn forward(shared: &Arc<Shared>, plan: Plan) -> Result<Ended, RunError> {
    refuse_half_rolled_back(shared)?;
    shared.begin("run")?;
    shared.observer.event(Event::Phase("resuming"));
    plan::abort_uploads(shared).await?;
    let (unfinished, stored) = plan::unfinished(shared).await?;
    for batch in stored {
        switch::commit(shared, batch).await?;
    }
    shared.observer.event(Event::Phase("migrating"));
    let mut flow = Flow::new(shared.clone(), ahead(plan));
    for chunk in unfinished.chunks(shared.limits.batch.max(1)) {
        flow.take_in(chunk.to_vec());
    }
    flow.work().await
}

fn refuse_half_rolled_back(shared: &Shared) -> Result<(), RunError> {
    let tally = shared.journal.tally();
    if tally.of(State::Reverting) + tally.of(State::Reverted) == 0 {
        return Ok(());
    }
    let cause = "a rollback of it has begun and is not finished";
    let remedy = "finish the rollback, then run again".to_owned();
    Err(RunError::new(
        RunErrorKind::Mismatch,
        Some(cause.into()),
        remedy,
    ))
}

/// Reads the plan in a task of its own. A stream that is not asked for a while could stop in the middle of a query, with a
/// connection in its hands that the ledger waits for. The task ends with the stream that is returned.
fn ahead(mut plan: Plan) -> Plan {
    let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Some(item) = plan.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    stream::unfold((receiver, task), |(mut receiver, mut task)| async move {
        match receiver.recv().await {
            Some(item) => Some((item, (receiver, task))),
            None => {
                // A panic of the plan is one of the run.
                if let Some(Err(error)) = task.join_next().await
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
                None
            }
        }
    })
    .boxed()
}

/// A batch on its way.
struct Batch {
    number: u64,
    /// How many of its items are still being copied.
    left: usize,
    ready: Vec<Ready>,
}

type Copied = (u64, Result<Option<Ready>, RunError>);

/// Everything that is on its way.
struct Flow {
    shared: Arc<Shared>,
    plan: Option<Plan>,
    gathered: Vec<Item>,
    writing: Option<JoinHandle<Result<Vec<Pending>, RunError>>>,
    queue: VecDeque<(u64, Pending)>,
    tasks: JoinSet<Copied>,
    batches: VecDeque<Batch>,
    next_batch: u64,
    switching: Option<JoinHandle<Result<(), RunError>>>,
    n_planned: u64,
    ended: Ended,
}

impl Flow {
    fn new(shared: Arc<Shared>, plan: Plan) -> Flow {
        Flow {
            shared,
            plan: Some(plan),
            gathered: Vec::new(),
            writing: None,
            queue: VecDeque::new(),
            tasks: JoinSet::new(),
            batches: VecDeque::new(),
            next_batch: 0,
            switching: None,
            n_planned: 0,
            ended: Ended::Complete,
        }
    }

    /// Goes on until nothing is left to do.
    async fn work(&mut self) -> Result<Ended, RunError> {
        let outcome = loop {
            if let Err(error) = self.push() {
                break Err(error);
            }
            if self.is_idle() {
                break Ok(self.ended);
            }
            if let Err(error) = self.wait().await {
                break Err(error);
            }
        };
        if outcome.is_err() {
            self.wind_up().await;
        }
        outcome
    }

    fn is_idle(&self) -> bool {
        self.plan.is_none()
            && self.gathered.is_empty()
            && self.writing.is_none()
            && self.batches.is_empty()
            && self.switching.is_none()
    }

    /// Starts whatever can start.
    fn push(&mut self) -> Result<(), RunError> {
        if self.shared.stop.is_raised() && self.ended != Ended::Stopped {
            self.stop();
        }
        let is_full = self.gathered.len() >= self.shared.limits.batch.max(1);
        let is_last = self.plan.is_none() && !self.gathered.is_empty();
        if self.writing.is_none() && (is_full || is_last) {
            let items = std::mem::take(&mut self.gathered);
            let shared = self.shared.clone();
            self.writing = Some(tokio::spawn(plan::write(shared, items)));
        }
        self.start_copies();
        self.start_switch();
        match self.shared.too_many_failures() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes nothing new on; items that no task has begun wait for the next run.
    fn stop(&mut self) {
        self.ended = Ended::Stopped;
        self.plan = None;
        self.gathered.clear();
        for (number, _) in self.queue.drain(..) {
            let mut batches = self.batches.iter_mut();
            if let Some(batch) = batches.find(|batch| batch.number == number) {
                batch.left -= 1;
            }
        }
    }

    fn start_copies(&mut self) {
        while self.tasks.len() < self.shared.pace.limit() {
            let waits = self.queue.front().is_some_and(|(_, next)| next.is_twin);
            if waits && !self.tasks.is_empty() {
                return;
            }
            let Some((number, pending)) = self.queue.pop_front() else {
                return;
            };
            let shared = self.shared.clone();
            let copy = async move { (number, copy_item(&shared, pending).await) };
            self.tasks.spawn(copy);
        }
    }

    fn start_switch(&mut self) {
        while self.switching.is_none() && self.batches.front().is_some_and(|batch| batch.left == 0)
        {
            let Some(batch) = self.batches.pop_front() else {
                return;
            };
            if batch.ready.is_empty() {
                continue;
            }
            let shared = self.shared.clone();
            let switch = async move { switch::commit(&shared, batch.ready).await };
            self.switching = Some(tokio::spawn(switch));
        }
    }

    fn take_in(&mut self, pending: Vec<Pending>) {
        let number = self.next_batch;
        self.next_batch += 1;
        self.batches.push_back(Batch {
            number,
            left: pending.len(),
            ready: Vec::with_capacity(pending.len()),
        });
        let queued = pending.into_iter().map(|pending| (number, pending));
        self.queue.extend(queued);
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Result<(), RunError> {
        let wants_items = self.plan.is_some()
            && self.gathered.len() < self.shared.limits.batch.max(1)
            && self.batches.len() < BATCHES_MAX;
        let next = self
            .plan
            .as_mut()
            .filter(|_| wants_items)
            .map(|plan| plan.next());
        let next: OptionFuture<_> = next.into();
        let writing: OptionFuture<_> = self.writing.as_mut().into();
        let switching: OptionFuture<_> = self.switching.as_mut().into();
        tokio::select! {
            Some(copied) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                self.copied(joined(copied)?)
            }
            Some(written) = writing => {
                self.writing = None;
                self.take_in(joined(written)??);
                Ok(())
            }
            Some(switched) = switching => {
                self.switching = None;
                joined(switched)?
            }
            Some(item) = next => self.planned(item),
            () = self.shared.stop.raised(), if self.ended != Ended::Stopped => Ok(()),
            else => Ok(()),
        }
    }

    fn copied(&mut self, (number, outcome): Copied) -> Result<(), RunError> {
        let ready = outcome?;
        if self
            .shared
            .pace
            .has_complained(self.shared.target.usage().throttled)
        {
            self.shared.throttled();
        } else {
            self.shared.pace.went_well();
        }
        let mut batches = self.batches.iter_mut();
        if let Some(batch) = batches.find(|batch| batch.number == number) {
            batch.left -= 1;
            batch.ready.extend(ready);
        }
        Ok(())
    }

    fn planned(&mut self, item: Option<Result<Item, PlanError>>) -> Result<(), RunError> {
        let Some(item) = item else {
            self.plan = None;
            return Ok(());
        };
        let item = item?;
        let max = self.shared.limits.max_items;
        if max.is_some_and(|max| self.n_planned >= max) {
            self.plan = None;
            self.ended = Ended::LimitReached;
            return Ok(());
        }
        match self.shared.journal.state(&item.id) {
            None | Some(State::LeftOut | State::Lost | State::Undone) => {}
            Some(_) => {
                self.shared.report().skipped += 1;
                return Ok(());
            }
        }
        self.n_planned += 1;
        if let Some(why) = refuse(&item) {
            let remedy = "correct what makes the plan, then run again";
            let exception = item_exception(&item, ExceptionKind::BadKey, why, remedy);
            self.shared.report().failed += 1;
            return self.shared.remark(exception);
        }
        self.gathered.push(item);
        Ok(())
    }

    /// Lets nothing go on in the background after an error. A switch that was begun is waited for: its outcome is worth knowing.
    async fn wind_up(&mut self) {
        self.tasks.shutdown().await;
        self.shared.probes_done().await;
        if let Some(writing) = self.writing.take() {
            writing.abort();
            let _ = writing.await;
        }
        if let Some(switching) = self.switching.take() {
            let _ = switching.await;
        }
    }
}

/// Says what is wrong with a planned item.
fn refuse(item: &Item) -> Option<&'static str> {
    let mut roles: Vec<&str> = item.blobs.iter().map(|blob| blob.role.as_str()).collect();
    let mut keys: Vec<&str> = item.blobs.iter().map(|blob| blob.key.as_str()).collect();
    for names in [&mut roles, &mut keys] {
        names.sort_unstable();
    }
    let has_twins = |names: &[&str]| names.windows(2).any(|pair| pair[0] == pair[1]);
    if has_twins(&roles) {
        return Some("two of its blobs have one role");
    }
    if has_twins(&keys) {
        return Some("two of its blobs have one key");
    }
    None
}
