//! The objects of a simulated store, and who can see which of them when.
//!
//! Time is a count of operations, so a run never depends on a clock. Every version of an object
//! is kept with the tick of its birth and removal; what a device sees is computed from these and
//! from delays that follow from the seed, the version and the device alone. That makes reordering
//! and late arrival reproducible without storing a table of deliveries.
//!
//! It must hold that a device always reads its own writes, and that after `heal` all devices see
//! the same. It does not know of errors: those are the decorator's.

use super::faults::Faults;
use crate::rng::mix;
use bytes::Bytes;
use std::collections::BTreeMap;

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// A number no other version has.
    pub(crate) id: u64,
    pub(crate) bytes: Bytes,
    pub(crate) writer: usize,
    pub(crate) born: u64,
    /// Milliseconds of the simulated wall clock, for listings.
    pub(crate) modified_ms: u64,
    /// When it was removed, and by whom.
    pub(crate) removed: Option<(u64, usize)>,
    late_arrival: bool,
    late_removal: bool,
}

/// A point of view: which device looks, and at which tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) device: usize,
    pub(crate) tick: u64,
}

/// What a removal does to others, decided when it happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late(pub(crate) bool);

/// All versions of all objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    seed: u64,
    next_id: u64,
    objects: BTreeMap<String, Vec<Version>>,
    late_ticks_max: u64,
}

/// Which of the two ways to look at a version is asked; each has its own delay.
#[derive(Clone, Copy)]
enum Way {
    Listing = 1,
    Reading = 2,
}

impl World {
    pub(crate) fn new(seed: u64, faults: &Faults) -> Self {
        World {
            seed,
            late_ticks_max: faults.late_ticks_max,
            ..World::default()
        }
    }

    pub(crate) fn set_late_ticks_max(&mut self, ticks: u64) {
        self.late_ticks_max = ticks;
    }

    pub(crate) fn write(
        &mut self,
        key: &str,
        bytes: Bytes,
        view: View,
        modified_ms: u64,
        late: Late,
    ) -> u64 {
        self.next_id += 1;
        self.objects
            .entry(key.to_owned())
            .or_default()
            .push(Version {
                id: self.next_id,
                bytes,
                writer: view.device,
                born: view.tick,
                modified_ms,
                removed: None,
                late_arrival: late.0,
                late_removal: false,
            });
        self.next_id
    }

    /// Removes every version there is; true when one was visible to the device.
    pub(crate) fn remove(&mut self, key: &str, view: View, late: Late) -> bool {
        let was_there = self.read(key, view).is_some();
        for version in self.objects.get_mut(key).into_iter().flatten() {
            if version.removed.is_none() {
                version.removed = Some((view.tick, view.device));
                version.late_removal = late.0;
            }
        }
        was_there
    }

    /// The version a device reads.
    pub(crate) fn read(&self, key: &str, view: View) -> Option<&Version> {
        self.visible(self.objects.get(key)?, view, Way::Reading)
    }

    /// What a device finds in a listing, in the order of the keys.
    pub(crate) fn list(&self, prefix: &str, view: View) -> Vec<(String, Version)> {
        self.objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| {
                Some((
                    key.clone(),
                    self.visible(versions, view, Way::Listing)?.clone(),
                ))
            })
            .collect()
    }

    /// Makes everything that was written and not removed visible to all, at once.
    pub(crate) fn heal(&mut self) {
        for versions in self.objects.values_mut() {
            versions.retain(|version| version.removed.is_none());
            for version in versions.iter_mut() {
                version.late_arrival = false;
            }
        }
        self.objects.retain(|_, versions| !versions.is_empty());
    }

    /// The objects as they are when every delivery has been made.
    pub(crate) fn truth(&self) -> BTreeMap<String, Bytes> {
        self.objects
            .iter()
            .filter_map(|(key, versions)| {
                let last = versions
                    .iter()
                    .rev()
                    .find(|version| version.removed.is_none())?;
                Some((key.clone(), last.bytes.clone()))
            })
            .collect()
    }

    fn visible<'a>(&self, versions: &'a [Version], view: View, way: Way) -> Option<&'a Version> {
        versions.iter().rev().find(|version| {
            self.has_arrived(version, view, way) && !self.has_gone(version, view, way)
        })
    }

    fn has_arrived(&self, version: &Version, view: View, way: Way) -> bool {
        let late = version.late_arrival && version.writer != view.device;
        let delay = if late {
            self.delay(version.id, view.device, way as u64)
        } else {
            0
        };
        view.tick >= version.born.saturating_add(delay)
    }

    fn has_gone(&self, version: &Version, view: View, way: Way) -> bool {
        let Some((tick, remover)) = version.removed else {
            return false;
        };
        let late = version.late_removal && remover != view.device;
        let delay = if late {
            self.delay(version.id, view.device, 16 + way as u64)
        } else {
            0
        };
        view.tick >= tick.saturating_add(delay)
    }

    fn delay(&self, id: u64, device: usize, salt: u64) -> u64 {
        if self.late_ticks_max == 0 {
            return 0;
        }
        mix(self.seed ^ mix(id) ^ mix((device as u64) << 8 | salt)) % (self.late_ticks_max + 1)
    }
}
