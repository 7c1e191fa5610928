//! Segments of lines whose machine is lost are cut, changed or gone; others take such a line over meanwhile, or give up what cannot be read of it.
//!
//! What must hold: what was in them is not lost as long as a living device has it: a repair by each brings all of that into the vault again.
//! What it deliberately does not do: damage what nobody else has, or give that up: nobody promises it back. From the first damage on no
//! device is lost for ever.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use vault::{NodeId, Place, PullMode, RecordId};

use super::World;
use super::act::Act;

/// What was damaged.
#[derive(Default)]
pub(super) struct Damage {
    /// Whether anything is damaged in this world at all.
    pub(super) happens: bool,
    /// Whether anything was, or was given up.
    pub(super) has_happened: bool,
    /// The lines that ever had damage: what cannot be read of them keeps the rest.
    pub(super) lines: BTreeSet<NodeId>,
    /// The segments as they were, by key, until they are put back.
    sound: BTreeMap<String, Bytes>,
    /// How often an unreadable line was taken over, or given up.
    pub(super) races: u64,
}

impl Damage {
    pub(super) fn new(happens: bool) -> Self {
        Self {
            happens,
            ..Self::default()
        }
    }
}

impl World {
    /// Damages a segment of a lost machine, and lets some devices deal with its line at once.
    pub(super) fn damage(&mut self, index: usize) -> Result<(), String> {
        self.perform(index, Act::Pull(PullMode::New))?;
        self.lose_one_but(index);
        let Some((node, key)) = self.damageable() else {
            return Ok(());
        };
        let object = self.store.objects()[&key].clone();
        let mut bytes = object.to_vec();
        let way = self.rng.below(3);
        let at = self.rng.index(bytes.len());
        match way {
            0 => drop(self.store.remove_raw(&key)),
            1 => self.store.put_raw(&key, bytes[..at].to_vec()),
            _ => {
                bytes[at] ^= 1;
                self.store.put_raw(&key, bytes);
            }
        }
        self.log.push(format!("{key} is damaged ({way})"));
        self.damage.has_happened = true;
        self.damage.lines.insert(node);
        self.damage.sound.insert(key, object);
        self.damage.races += 1;
        let mut actors = self.awake();
        actors.retain(|other| *other != index);
        self.rng.shuffle(&mut actors);
        actors.truncate(2);
        let mut acts = vec![];
        for index in [index].into_iter().chain(actors.iter().copied()) {
            let removes = acts.is_empty() || self.rng.chance(500);
            let act = match removes {
                true => self.removal_of(node),
                false => self.random_act(index),
            };
            acts.push((index, act));
            self.tick(index);
            self.set_fuse(index);
        }
        self.together(acts)?;
        actors.into_iter().for_each(|index| self.restart(index));
        Ok(())
    }

    /// A takeover of a line; one that gives up what cannot be read only where a living device has all there is.
    pub(super) fn removal_of(&mut self, node: NodeId) -> Act {
        let gives_up = self.damage.happens && self.rng.chance(300) && self.is_all_with_the_living();
        self.damage.has_happened |= gives_up;
        match gives_up {
            true => Act::RemoveDamaged(node),
            false => Act::Remove(node),
        }
    }

    /// Now and then something is whole again: a disk that was mended, an object that was late.
    pub(super) fn put_back_sound(&mut self) {
        if self.damage.sound.is_empty() || !self.rng.chance(30) {
            return;
        }
        let nth = self.rng.index(self.damage.sound.len());
        let key = self.damage.sound.keys().nth(nth).expect("counted").clone();
        let object = self.damage.sound.remove(&key).expect("it is there");
        self.log.push(format!("{key} is whole again"));
        self.store.put_raw(&key, object);
    }

    /// Everybody publishes what the vault cannot show any more.
    pub(super) fn repair_damage(&mut self, living: &[usize]) -> Result<(), String> {
        for index in living.iter().copied() {
            if !self.together(vec![(index, Act::Repair)])? {
                return Err(format!("machine {index} cannot repair on a healthy store"));
            }
        }
        Ok(())
    }

    /// Loses a machine, if none is lost yet.
    fn lose_one_but(&mut self, index: usize) {
        let mut living = self.living();
        if living.len() < self.machines.len() || living.len() < 3 {
            return;
        }
        living.retain(|other| *other != index);
        let nth = self.rng.index(living.len());
        self.die(living[nth]);
    }

    /// A segment that only lost machines still write beside, and its line.
    fn damageable(&mut self) -> Option<(NodeId, String)> {
        if !self.is_all_with_the_living() {
            return None;
        }
        let node_of = |index: usize| self.own(index).map(|own| own.node);
        let held: BTreeSet<NodeId> = self.living().into_iter().filter_map(node_of).collect();
        let lost = (0..self.machines.len()).filter(|index| !self.machines[*index].alive);
        let lost: BTreeSet<NodeId> = lost.filter_map(node_of).collect();
        let objects = self.store.objects().into_keys();
        let segments: Vec<(NodeId, String)> = objects
            .filter(|key| !self.damage.sound.contains_key(key))
            .filter_map(|key| Some((Place::parse(&key)?.0, key)))
            .filter(|(place, _)| place.kind == vault::ObjectKind::Segment)
            .map(|(place, key)| (place.node, key))
            .filter(|(node, _)| lost.contains(node) && !held.contains(node))
            .collect();
        let nth = (!segments.is_empty()).then(|| self.rng.index(segments.len()))?;
        segments.into_iter().nth(nth)
    }

    /// Whether nothing that was acknowledged is with lost machines alone.
    fn is_all_with_the_living(&self) -> bool {
        let mut here: BTreeSet<RecordId> = BTreeSet::new();
        for index in self.living() {
            let (kept, forgotten) = self.machines[index].replica.content();
            here.extend(kept.into_keys().chain(forgotten));
        }
        self.acknowledged.keys().all(|id| here.contains(id))
    }
}
