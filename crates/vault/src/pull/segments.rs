//! Fetching what is missing side by side, the newest first, and applying it.
//!
//! What must hold: the last records of a segment and the note that it was applied are one transaction, and so are those before and the
//! note how many these are: a pull that is cut off time and again gets there all the same, in smaller and smaller parts. What cannot be read holds nothing else up.
//! What it deliberately does not do: hold more in memory than it is allowed to, but for one segment.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use super::{PullMode, PullReport, Work};
use crate::device::{Device, Step, fetch};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash};
use crate::manifest::{Manifest, SegmentEntry};
use crate::replica::{Change, Replica};
use crate::state;

impl<R: Replica> Device<'_, R> {
    /// Fetches and applies what is missing, newest first. Returns whether objects were gone.
    pub(super) async fn fetch_segments(
        &mut self,
        work: &mut BTreeMap<NodeId, (Work, Manifest)>,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<bool, VaultError> {
        let mut queue: Vec<(NodeId, SegmentEntry)> = work
            .iter()
            .flat_map(|(node, (work, _))| work.missing.iter().map(|entry| (*node, entry.clone())))
            .collect();
        queue.sort_by_key(|(node, entry)| (entry.newest, *node, entry.hash));
        let missing = queue.iter().map(|(_, entry)| entry.hash);
        self.forget_begun(&missing.filter(|_| mode == PullMode::New).collect())?;
        if queue.is_empty() {
            return Ok(false);
        }
        self.observer.step(Step::Phase("segments"));
        let sum = |of: fn(&SegmentEntry) -> u64| queue.iter().map(|(_, entry)| of(entry)).sum();
        self.observer.step(Step::Planned {
            objects: queue.len() as u64,
            bytes: sum(|entry| entry.bytes),
            records: sum(|entry| entry.records),
        });
        let mut flying = FuturesUnordered::new();
        let mut flying_bytes = 0_u64;
        let mut gone = false;
        // The newest segment comes alone: a new device is useful before the rest competes for the line.
        let mut side_by_side = 1;
        loop {
            while flying.len() < side_by_side
                && (flying.is_empty() || flying_bytes < self.options.memory_bytes_max as u64)
            {
                let Some((node, entry)) = queue.pop() else {
                    break;
                };
                flying_bytes += entry.bytes + entry.raw_bytes;
                let vault = self.vault;
                flying.push(async move {
                    let plaintext = fetch(vault, &entry.key(node), entry.bytes).await;
                    (node, entry, plaintext)
                });
            }
            let Some((node, entry, outcome)) = flying.next().await else {
                break;
            };
            flying_bytes -= entry.bytes + entry.raw_bytes;
            side_by_side = self.options.downloads.max(1);
            let work = &mut work.get_mut(&node).expect("the queue was made from it").0;
            match outcome?.and_then(|plaintext| decode::<R>(&entry.key(node), &plaintext)) {
                Ok(records) => self.apply(node, work, &entry, records, report)?,
                Err(problem) => {
                    gone |= problem.kind == ProblemKind::Missing;
                    work.failed = true;
                    report.problems.push(problem);
                }
            }
        }
        Ok(gone)
    }

    fn apply(
        &mut self,
        node: NodeId,
        work: &mut Work,
        entry: &SegmentEntry,
        records: Vec<R::Record>,
        report: &mut PullReport,
    ) -> Result<(), VaultError> {
        work.state.applied.push(entry.hash);
        let finished = state::keep(self.state_keys.node(node), &work.state);
        let mut begun: AllBegun =
            state::load(self.replica, &self.state_keys.begun())?.unwrap_or_default();
        let (mut done, part) = self.begin(&mut begun, entry.hash, records.len())?;
        report.known += done as u64;
        let mut rest = records.into_iter();
        rest.by_ref().take(done).for_each(drop);
        loop {
            let next: Vec<_> = rest.by_ref().take(part).collect();
            done += next.len();
            let is_last = rest.len() == 0;
            let mut changes = vec![];
            if !is_last {
                begun.insert(
                    entry.hash,
                    Begun {
                        done,
                        part: part * 2,
                    },
                );
                changes.push(self.begun_change(&begun));
            } else {
                changes.extend(begun.remove(&entry.hash).map(|_| self.begun_change(&begun)));
                changes.push(finished.clone());
            }
            let applied = self
                .replica
                .apply(next, work.source, &changes)
                .map_err(|source| VaultError::Replica {
                    doing: "apply what was pulled",
                    source,
                })?;
            report.added += applied.added;
            report.known += applied.known;
            if is_last {
                break;
            }
        }
        report.segments += 1;
        report.bytes += entry.bytes;
        report.senders.insert(node);
        self.observer.step(Step::Moved {
            bytes: entry.bytes,
            records: entry.records,
        });
        Ok(())
    }

    /// How many of a segment's records were applied before, and how many to apply at a time: all, since that is fastest; but parts where
    /// a pull was cut off in it, and half as many each time that this was too much.
    fn begin(
        &mut self,
        begun: &mut AllBegun,
        hash: ObjectHash,
        records: usize,
    ) -> Result<(usize, usize), VaultError> {
        let batch = self.options.batch_records.max(1);
        if records <= batch {
            return Ok((0, batch));
        }
        let now = match begun.get(&hash) {
            None => Begun {
                done: 0,
                part: records,
            },
            Some(before) => Begun {
                done: before.done.min(records),
                part: (before.part.min(batch * 2) / 2).max(PART_MIN.min(batch)),
            },
        };
        begun.insert(hash, now);
        let change = self.begun_change(begun);
        state::save(self.replica, &[change])?;
        Ok((now.done, now.part))
    }

    /// Forgets how far a pull that was cut off had got with segments that are not `missing`, or with all if they are to be applied again.
    pub(super) fn forget_begun(
        &mut self,
        missing: &BTreeSet<ObjectHash>,
    ) -> Result<(), VaultError> {
        let key = self.state_keys.begun();
        let Some(mut begun) = state::load::<_, AllBegun>(self.replica, &key)? else {
            return Ok(());
        };
        let before = begun.len();
        begun.retain(|hash, _| missing.contains(hash));
        if begun.len() == before {
            return Ok(());
        }
        state::save(self.replica, &[self.begun_change(&begun)])
    }

    fn begun_change(&self, begun: &AllBegun) -> Change {
        let key = self.state_keys.begun();
        match begun.is_empty() {
            true => state::forget(key),
            false => state::keep(key, begun),
        }
    }
}

/// No fewer records are applied at a time, so that many cuts do not make a pull slow for ever.
const PART_MIN: usize = 200;

/// A segment that a pull was cut off in.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Begun {
    /// How many of its records were applied, those that come first in it.
    done: usize,
    /// How many it tried to apply at a time, or twice as many if it got on with that.
    part: usize,
}

type AllBegun = BTreeMap<ObjectHash, Begun>;

/// Reads a segment's records.
pub(crate) fn decode<R: Replica>(key: &str, plaintext: &[u8]) -> Result<Vec<R::Record>, Problem> {
    R::decode(plaintext).map_err(|error| Problem {
        key: key.to_owned(),
        kind: ProblemKind::Corrupt,
        detail: format!("its records cannot be read: {error}"),
    })
}
