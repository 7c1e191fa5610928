//! The state all devices of a simulated world share, and the decisions made for each operation.
//!
//! Every decision is rolled in the same order for every operation, whether it is used or not, so
//! that switching one fault off does not shift the sequence of the others.

use super::NAME;
use super::faults::{Conditional, Faults};
use super::world::{Version, View, World};
use crate::rng::{Rng, mix};
use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, PutMode, Result};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// Lines of the trace that are kept for reading; the digest covers all of them.
const TRACE_LINES_MAX: usize = 5_000;

/// Whether the operation a crash falls on still takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrashPoint {
    /// The process died before the request left.
    BeforeEffect,
    /// The store did it, and the process died before it learned so.
    AfterEffect,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Power {
    On,
    /// Dies at the operation that finds no operations left.
    Fused {
        left: u64,
        point: CrashPoint,
    },
    Off,
}

pub(super) struct Shared {
    pub(super) world: World,
    pub(super) faults: Faults,
    pub(super) rng: Rng,
    pub(super) tick: u64,
    pub(super) clock_ms: u64,
    pub(super) power: BTreeMap<usize, Power>,
    pub(super) operations: BTreeMap<usize, u64>,
    pub(super) trace: VecDeque<String>,
    pub(super) digest: u64,
    pub(super) yields: bool,
    /// After how many operations a device waits.
    pub(super) holds: BTreeMap<usize, u64>,
}

/// What was decided for one operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    CrashesBefore,
    CrashesAfter,
}

impl Shared {
    pub(super) fn new(seed: u64, faults: Faults) -> Shared {
        Shared {
            world: World::new(seed, &faults),
            faults,
            rng: Rng::new(mix(seed)),
            tick: 0,
            clock_ms: 1_700_000_000_000,
            power: BTreeMap::new(),
            operations: BTreeMap::new(),
            trace: VecDeque::new(),
            digest: mix(seed),
            yields: false,
            holds: BTreeMap::new(),
        }
    }

    /// Counts the operation and decides what becomes of it.
    pub(super) fn begin(&mut self, device: usize) -> Fate {
        self.tick += 1;
        *self.operations.entry(device).or_default() += 1;
        // Both are always rolled, so that a crash does not shift the sequence of the others.
        let before = self.roll(|faults| faults.error_before);
        let after = self.roll(|faults| faults.error_after);
        let power = self.power.entry(device).or_insert(Power::On);
        match *power {
            Power::Off => return Fate::CrashesBefore,
            Power::Fused { left: 0, point } => {
                *power = Power::Off;
                return if point == CrashPoint::AfterEffect {
                    Fate::CrashesAfter
                } else {
                    Fate::CrashesBefore
                };
            }
            Power::Fused { left, point } => {
                *power = Power::Fused {
                    left: left - 1,
                    point,
                }
            }
            Power::On => {}
        }
        match (before, after) {
            (true, _) => Fate::FailsBefore,
            (_, true) => Fate::FailsAfter,
            _ => Fate::Works,
        }
    }

    pub(super) fn roll(&mut self, rate: impl Fn(&Faults) -> u32) -> bool {
        let rate = rate(&self.faults);
        self.rng.chance(rate)
    }

    pub(super) fn view(&self, device: usize) -> View {
        View {
            device,
            tick: self.tick,
        }
    }

    pub(super) fn listing_view(&mut self, device: usize) -> View {
        let stale = self.roll(|faults| faults.stale_list);
        let age = self.rng.below(self.faults.stale_ticks_max + 1);
        let tick = if stale {
            self.tick.saturating_sub(age)
        } else {
            self.tick
        };
        View { device, tick }
    }

    pub(super) fn refuse_before(&self, fate: Fate, key: &str) -> Result<()> {
        match fate {
            Fate::FailsBefore => Err(broken(
                &format!("{key}: the connection was reset"),
                io::ErrorKind::ConnectionReset,
            )),
            Fate::CrashesBefore => Err(broken(
                &format!("{key}: simulated crash"),
                io::ErrorKind::ConnectionAborted,
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn refuse_after(&self, fate: Fate, key: &str) -> Result<()> {
        match fate {
            Fate::FailsAfter => Err(broken(
                &format!("{key}: no answer in time"),
                io::ErrorKind::TimedOut,
            )),
            Fate::CrashesAfter => Err(broken(
                &format!("{key}: simulated crash"),
                io::ErrorKind::ConnectionAborted,
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn check_condition(&self, key: &str, mode: &PutMode, device: usize) -> Result<()> {
        if matches!(mode, PutMode::Overwrite) || self.faults.conditional == Conditional::Ignored {
            return Ok(());
        }
        if self.faults.conditional == Conditional::Refused {
            return Err(Error::NotImplemented {
                operation: "conditional put".into(),
                implementer: NAME.into(),
            });
        }
        let existing = self
            .world
            .read(key, self.view(device))
            .map(|version| e_tag(version.id));
        match (mode, existing) {
            (PutMode::Create, Some(_)) => Err(Error::AlreadyExists {
                path: key.into(),
                source: "the object is there".into(),
            }),
            (PutMode::Update(wanted), found) if found != wanted.e_tag => Err(Error::Precondition {
                path: key.into(),
                source: "the object has changed".into(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn answer(
        &mut self,
        bytes: Bytes,
        meta: ObjectMeta,
        options: &GetOptions,
    ) -> Result<GetResult> {
        let whole = 0..meta.size;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|e| Error::Generic {
                store: NAME,
                source: Box::new(e),
            })?,
            None => whole,
        };
        let body = if options.head {
            Bytes::new()
        } else {
            bytes.slice(range.start as usize..range.end as usize)
        };
        let (corrupt, cut) = (
            self.roll(|faults| faults.corrupt_read),
            self.roll(|faults| faults.cut_read),
        );
        let place = self.rng.index(body.len().max(1));
        let bit = self.rng.below(8);
        let body = match (body.is_empty(), corrupt, cut) {
            (false, true, _) => {
                let mut spoilt = body.to_vec();
                spoilt[place] ^= 1 << bit;
                Bytes::from(spoilt)
            }
            (false, false, true) => body.slice(..place),
            _ => body,
        };
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(body) }).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    pub(super) fn note<T>(&mut self, device: usize, what: &str, outcome: &Result<T>) {
        let result = match outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let line = format!("{} device {device}: {what}: {result}", self.tick);
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.trace.len() == TRACE_LINES_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }
}

pub(super) fn e_tag(id: u64) -> String {
    format!("\"{id:x}\"")
}

pub(super) fn meta_of(key: &str, version: &Version) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(key),
        last_modified: (UNIX_EPOCH + Duration::from_millis(version.modified_ms)).into(),
        size: version.bytes.len() as u64,
        e_tag: Some(e_tag(version.id)),
        version: None,
    }
}

pub(super) fn not_found(key: &str) -> Error {
    Error::NotFound {
        path: key.into(),
        source: "no such object for this device".into(),
    }
}

pub(super) fn broken(why: &str, kind: io::ErrorKind) -> Error {
    Error::Generic {
        store: NAME,
        source: Box::new(io::Error::new(kind, why.to_owned())),
    }
}
