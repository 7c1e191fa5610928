//! What simulated devices do with the vault, one at a time or several at once.
//!
//! What must hold: whose turn it is follows from the seed; what an act promises is noted when it promises it.

use std::fmt::{Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use vault::{Device, NodeId, PullMode, PushMode, VaultError};

use super::{Machine, World};

/// So many turns and no end: something waits for what will never come.
const TURNS_MAX: u64 = 1_000_000;

/// Something that reads or writes the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Push(PushMode),
    Pull(PullMode),
    Repair,
    Remove(NodeId),
}

impl Act {
    /// Does it, and says what came of it.
    async fn on(self, machine: &mut Machine) -> Result<Told, VaultError> {
        let mut silent = ();
        let Machine {
            vault,
            replica,
            options,
            ..
        } = machine;
        let mut device = Device::new(vault, replica, options, &mut silent);
        let mut retired = 0;
        let text = match self {
            Act::Push(mode) => {
                let report = device.push(mode).await?;
                retired = report.retired;
                format!("{report:?}")
            }
            Act::Pull(mode) => format!("{:?}", device.pull(mode).await?),
            Act::Repair => format!("{:?}", device.repair().await?),
            Act::Remove(node) => format!("{:?}", device.remove_device(node).await?),
        };
        Ok(Told { text, retired })
    }
}

/// What an act says of itself.
pub(super) struct Told {
    text: String,
    retired: u64,
}

impl Debug for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Told, VaultError>> + 'a>>;

impl World {
    pub(super) fn random_act(&mut self, index: usize) -> Act {
        match self.rng.below(100) {
            0..43 => Act::Push(PushMode::Pending),
            43..45 => Act::Push(PushMode::Full),
            45..90 => Act::Pull(PullMode::New),
            90..93 => Act::Pull(PullMode::Full),
            93..94 => Act::Pull(PullMode::Force),
            94..96 => Act::Repair,
            _ => self.removal(index).map_or(Act::Repair, Act::Remove),
        }
    }

    /// The node of a machine that seems to be lost: now and then it is not.
    fn removal(&mut self, index: usize) -> Option<NodeId> {
        let wrongly = self.rng.chance(250);
        let gone: Vec<usize> = (0..self.machines.len())
            .filter(|other| *other != index && (wrongly || !self.machines[*other].alive))
            .collect();
        if gone.is_empty() {
            return None;
        }
        let other = gone[self.rng.index(gone.len())];
        self.own(other).map(|own| own.node)
    }

    /// One device alone.
    pub(super) fn perform(&mut self, index: usize, act: Act) -> Result<(), String> {
        self.together(vec![(index, act)])?;
        Ok(())
    }

    /// Several devices at once.
    pub(super) fn crowd(&mut self, index: usize) -> Result<(), String> {
        let mut others = self.awake();
        others.retain(|other| *other != index);
        self.rng.shuffle(&mut others);
        others.truncate(1 + self.rng.index(3));
        let mut acts = vec![];
        for index in [index].into_iter().chain(others.iter().copied()) {
            acts.push((index, self.random_act(index)));
        }
        for index in &others {
            self.tick(*index);
            self.set_fuse(*index);
        }
        self.crowds += 1;
        self.together(acts)?;
        for index in others {
            self.restart(index);
        }
        Ok(())
    }

    /// Runs the acts side by side, one store operation at a time, and returns whether all went well.
    pub(super) fn together(&mut self, acts: Vec<(usize, Act)>) -> Result<bool, String> {
        let held: Vec<_> = acts
            .iter()
            .map(|(index, _)| self.machines[*index].replica.content().0)
            .collect();
        let mut outcomes: Vec<Option<Result<Told, VaultError>>> = vec![];
        outcomes.resize_with(acts.len(), || None);
        let mut running: Vec<(usize, Running<'_>)> = vec![];
        for (index, machine) in self.machines.iter_mut().enumerate() {
            if let Some(nth) = acts.iter().position(|(actor, _)| *actor == index) {
                running.push((nth, Box::pin(acts[nth].1.on(machine))));
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..TURNS_MAX {
            if running.is_empty() {
                break;
            }
            let turn = self.rng.index(running.len());
            if let Poll::Ready(outcome) = running[turn].1.as_mut().poll(&mut context) {
                outcomes[running[turn].0] = Some(outcome);
                drop(running.remove(turn));
            }
        }
        drop(running);
        let mut well = true;
        for (((index, act), outcome), held) in acts.into_iter().zip(outcomes).zip(held) {
            let outcome = outcome.ok_or_else(|| format!("machine {index} never ends: {act:?}"))?;
            let many = if self.crowds > 0 { " " } else { "" };
            self.log
                .push(format!("{index}{many}does {act:?}: {}", brief(&outcome)));
            well &= outcome.is_ok();
            self.note(index, act, &outcome, held)?;
        }
        Ok(well)
    }

    fn note(
        &mut self,
        index: usize,
        act: Act,
        outcome: &Result<Told, VaultError>,
        held: std::collections::BTreeMap<vault::RecordId, u64>,
    ) -> Result<(), String> {
        let (after, gone) = self.machines[index].replica.content();
        if let Some(lost) = held
            .keys()
            .find(|id| !after.contains_key(id) && !gone.contains(id))
        {
            return Err(format!("{act:?} of machine {index} lost {lost}"));
        }
        match (act, outcome) {
            (Act::Push(_), Ok(told)) => {
                self.acknowledged.extend(held);
                self.retired += told.retired;
            }
            (Act::Remove(_), Ok(_)) => self.removals += 1,
            (Act::Push(PushMode::Pending), Err(error)) if error.is_conflict() => {
                self.conflicts += 1;
                if self.rng.chance(500) {
                    let forced = self.rng.chance(500);
                    let way = if forced {
                        Act::Push(PushMode::Force)
                    } else {
                        Act::Pull(PullMode::Force)
                    };
                    self.perform(index, way)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// An outcome in one line.
pub(super) fn brief<T: Debug>(outcome: &Result<T, VaultError>) -> String {
    match outcome {
        Ok(told) => format!("{told:?}").replace('"', ""),
        Err(error) => format!("failed: {error}"),
    }
}
