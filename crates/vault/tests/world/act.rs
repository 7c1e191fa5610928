//! What simulated devices do with the vault, one at a time or several at once.
//!
//! What must hold: whose turn it is follows from the seed; what an act promises is noted when it promises it.

use std::fmt::{Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use vault::{Device, NodeId, PullMode, PushMode, VaultError};

use super::keys::{About, KeyAct, Way, is_locked_out};
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
    RemoveDamaged(NodeId),
    Key(KeyAct),
}

impl Act {
    /// Does it, and says what came of it.
    async fn on(self, machine: &mut Machine, about: &About) -> Result<Told, VaultError> {
        if let Act::Key(act) = self {
            let way = machine.change_keys(act, about).await?;
            let epoch = machine.keys.kept.epoch();
            return Ok(Told {
                text: format!("epoch {epoch}"),
                retired: 0,
                way,
            });
        }
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
            Act::RemoveDamaged(node) => format!("{:?}", device.remove_damaged_device(node).await?),
            Act::Key(_) => unreachable!("done above"),
        };
        Ok(Told {
            text,
            retired,
            way: None,
        })
    }
}

/// What an act says of itself.
pub(super) struct Told {
    text: String,
    retired: u64,
    way: Option<Way>,
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
            94..95 => Act::Repair,
            95..97 if self.ways.change => Act::Key(self.random_key_act()),
            _ => match self.removal(index) {
                Some(node) => self.removal_of(node),
                None => Act::Repair,
            },
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
                self.about.pauses.begin(index);
                running.push((nth, Box::pin(acts[nth].1.on(machine, &self.about))));
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..TURNS_MAX {
            if running.is_empty() {
                break;
            }
            let turn = self.rng.index(running.len());
            if let Poll::Ready(outcome) = running[turn].1.as_mut().poll(&mut context) {
                let (nth, _) = running.remove(turn);
                self.about.pauses.end(acts[nth].0);
                outcomes[nth] = Some(outcome);
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
            self.note_keys(index, act, &outcome)?;
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
            (Act::Remove(_) | Act::RemoveDamaged(_), Ok(_)) => self.removals += 1,
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

impl World {
    /// What a person is told of keys, and what they do about it.
    fn note_keys(
        &mut self,
        index: usize,
        act: Act,
        outcome: &Result<Told, VaultError>,
    ) -> Result<(), String> {
        let machine = &mut self.machines[index];
        match (act, outcome) {
            (Act::Key(act), Ok(told)) => {
                self.ways.told.extend(told.way.clone());
                if matches!(act, KeyAct::Init(_)) {
                    machine.is_locked_out = false;
                    self.ways.returns += 1;
                }
            }
            (_, Err(error)) if is_locked_out(error) => {
                let is_at_once = !machine.is_locked_out && !machine.store.is_crashed();
                machine.is_locked_out = true;
                self.ways.refused += u64::from(matches!(act, Act::Key(_)));
                if is_at_once && self.rng.chance(500) {
                    let act = self.come_in();
                    self.perform(index, act)?;
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
