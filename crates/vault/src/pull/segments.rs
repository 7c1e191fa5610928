//! Fetching what is missing side by side, the newest first, and applying it.
//!
//! What must hold: a segment's records and the note that they were applied are one transaction; what cannot be read holds nothing
//! else up. What it deliberately does not do: hold more in memory than it is allowed to, but for one segment.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{PullReport, Work};
use crate::device::{Device, Step, fetch};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::NodeId;
use crate::manifest::{Manifest, SegmentEntry};
use crate::replica::Replica;
use crate::state;

impl<R: Replica> Device<'_, R> {
    /// Fetches and applies what is missing, newest first. Returns whether objects were gone.
    pub(super) async fn fetch_segments(
        &mut self,
        work: &mut BTreeMap<NodeId, (Work, Manifest)>,
        report: &mut PullReport,
    ) -> Result<bool, VaultError> {
        let mut queue: Vec<(NodeId, SegmentEntry)> = work
            .iter()
            .flat_map(|(node, (work, _))| work.missing.iter().map(|entry| (*node, entry.clone())))
            .collect();
        queue.sort_by_key(|(node, entry)| (entry.newest, *node, entry.hash));
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
                    let plaintext = fetch(vault, &entry.key(node)).await;
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
        let change = state::keep(self.state_keys.node(node), &work.state);
        let applied = self
            .replica
            .apply(records, work.source, &[change])
            .map_err(|source| VaultError::Replica {
                doing: "apply what was pulled",
                source,
            })?;
        report.added += applied.added;
        report.known += applied.known;
        report.segments += 1;
        report.bytes += entry.bytes;
        self.observer.step(Step::Moved {
            bytes: entry.bytes,
            records: entry.records,
        });
        Ok(())
    }
}

/// Reads a segment's records.
pub(crate) fn decode<R: Replica>(key: &str, plaintext: &[u8]) -> Result<Vec<R::Record>, Problem> {
    R::decode(plaintext).map_err(|error| Problem {
        key: key.to_owned(),
        kind: ProblemKind::Corrupt,
        detail: format!("its records cannot be read: {error}"),
    })
}
