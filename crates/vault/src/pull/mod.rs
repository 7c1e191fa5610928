//! Pull: learn what other devices published.
//!
//! One listing of the manifests says what is new: their names carry number and hash. Missing segments are fetched side by side,
//! the newest first, and each is applied in one local transaction, or a few, together with the note how far it was.
//!
//! What must hold: the order of arrival never matters; what cannot be read is named and holds nothing else up; a listing that
//! shows less than was seen before is never believed in silence.
//! What it deliberately does not do: write to the store.

mod manifests;
mod relearn;
mod removals;
mod segments;

pub(crate) use manifests::twins;
pub(crate) use removals::regression;
pub(crate) use segments::decode;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::device::{Device, Listing};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, ObjectHash};
use crate::manifest::{Manifest, SegmentEntry};
use crate::push::check_line;
use crate::replica::{Replica, Source};
use crate::seal::Place;
use crate::state::{self, NodeState, OwnState};
use crate::vault::MANIFESTS;

/// How a pull treats what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullMode {
    /// Fetch what is new.
    New,
    /// Fetch everything again.
    Full,
    /// Accept what the store shows, even if it is less than was seen before; after a conflict, give up this device's identity.
    Force,
}

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullReport {
    /// Records that were new here.
    pub added: u64,
    /// Records that were fetched and already known.
    pub known: u64,
    /// Segments fetched.
    pub segments: u64,
    /// Bytes of segments fetched.
    pub bytes: u64,
    /// Other devices in the vault.
    pub devices: u64,
    /// Devices that segments came from.
    #[serde(default)]
    pub senders: BTreeSet<NodeId>,
    /// What could not be read, or is not as it was; empty when all is well.
    pub problems: Vec<Problem>,
}

/// So often a pull reads the manifests again when objects they name are gone.
const ROUNDS_MAX: usize = 3;

/// One node's share of a pull.
struct Work {
    state: NodeState,
    /// The live segments that the node is complete with.
    live: BTreeSet<ObjectHash>,
    /// The second histories that were read along.
    forks: Vec<ObjectHash>,
    missing: Vec<SegmentEntry>,
    /// How its records count: those of a disputed identity of this device do not count as learnt.
    source: Source,
    failed: bool,
}

impl<R: Replica> Device<'_, R> {
    /// Learns what other devices published.
    ///
    /// # Errors
    /// The store's, the database's, a rotated key, or that the place holds another vault, after what there is of this one was applied.
    /// Problems of single objects are in the report instead.
    pub async fn pull(&mut self, mode: PullMode) -> Result<PullReport, VaultError> {
        let mut own = self.own()?;
        if own.relearn {
            own = self.relearn().await?;
        }
        let mut report = PullReport::default();
        for round in 1.. {
            let (next, gone) = self
                .pull_round(
                    own,
                    if round == 1 { mode } else { PullMode::New },
                    &mut report,
                )
                .await?;
            own = next;
            // A segment may have been replaced between the manifest's reading and its own: the next manifest names another.
            if !gone || round == ROUNDS_MAX {
                break;
            }
        }
        if own.lacking {
            // What came from the part that is lost counts as learnt, and is nowhere else now: the next push has to publish it.
            let mended = self.mend_here(None).await?;
            report.added += mended.recovered;
            report.problems.extend(mended.problems);
            report
                .problems
                .sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
            report.problems.dedup();
        }
        self.demote_accepted(mode, &mut report)?;
        state::save(
            self.replica,
            &[state::quarantine_change(&self.state_keys, &report.problems)],
        )?;
        self.heed_other_vault(&report).await?;
        Ok(report)
    }

    /// Where objects of another vault lie, `vault.json` says which was kept; a pull without such a sight spares the request. What else may
    /// be wrong with the file is for those to say who need it.
    async fn heed_other_vault(&self, report: &PullReport) -> Result<(), VaultError> {
        let is_other = |problem: &Problem| problem.kind == ProblemKind::OtherVault;
        if !report.problems.iter().any(is_other) {
            return Ok(());
        }
        match self.vault.check_file().await {
            Err(error @ VaultError::OtherVault { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn pull_round(
        &mut self,
        mut own: OwnState,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<(OwnState, bool), VaultError> {
        // What was told of others' acceptances is told once.
        report
            .problems
            .retain(|problem| problem.kind == ProblemKind::Accepted);
        let listing = self.list_manifests(MANIFESTS).await?;
        if listing.nodes.is_empty() {
            // "Nothing new" is for the place of the vault alone, whatever was seen there before.
            self.vault.check_file().await?;
        }
        let mut known = state::load_nodes(self.replica, &self.state_keys)?;
        own = self.own_line(own, &listing, mode, report)?;
        if mode == PullMode::Full {
            known.values_mut().for_each(NodeState::unapply);
        }
        let before = known.clone();
        let mut work = self
            .read_manifests(&own, &listing, &mut known, mode, report)
            .await?;
        own = self.heed_removals(own, &listing, &mut known, &mut work)?;
        // What is left of a line that somebody took over speaks for nobody, and need not be readable.
        let is_gone = |problem: &Problem| {
            let of = Place::parse(&problem.key).map(|(place, _)| place.node);
            of.is_some_and(|node| {
                let refs = listing.nodes.get(&node).map_or(&[][..], Vec::as_slice);
                known.get(&node).is_some_and(|state| state.is_removed(refs))
            })
        };
        report.problems.retain(|problem| {
            let is_unread = matches!(problem.kind, ProblemKind::Corrupt | ProblemKind::LateKey);
            !is_unread || !is_gone(problem)
        });
        own = self.heed_regressions(own, &listing, &before, &known, mode, report)?;
        let read = work.iter().map(|(by, (_, manifest))| (*by, manifest));
        let withheld = self.heed_withheld(&mut own, &listing, &known, read, mode)?;
        report.problems.extend(withheld);
        report.devices = known.len() as u64;
        report.problems.extend(listing.foreign);
        let gone = self.fetch_segments(&mut work, mode, report).await?;
        self.complete(work)?;
        Ok((own, gone))
    }

    /// Compares this device's own line with the listing.
    fn own_line(
        &mut self,
        own: OwnState,
        listing: &Listing,
        mode: PullMode,
        report: &mut PullReport,
    ) -> Result<OwnState, VaultError> {
        let found = listing.nodes.get(&own.node).map_or(&[][..], Vec::as_slice);
        match check_line(&self.with_intended(&own)?, found) {
            Ok(()) => Ok(own),
            Err(_) if self.is_twin(&own, listing)? => self.part(own),
            Err(error) if mode == PullMode::Force || own.is_unclaimed() => {
                let lacking = own.lacking || matches!(error, VaultError::Regression { .. });
                self.reborn(OwnState { lacking, ..own }, true)
            }
            Err(error) => {
                let kind = if matches!(error, VaultError::Regression { .. }) {
                    ProblemKind::Regression
                } else {
                    ProblemKind::Conflict
                };
                report.problems.push(Problem {
                    key: format!("{MANIFESTS}{}", own.node),
                    kind,
                    detail: error.to_string(),
                });
                Ok(own)
            }
        }
    }

    /// Notes which devices nothing is missing of.
    fn complete(&mut self, work: BTreeMap<NodeId, (Work, Manifest)>) -> Result<(), VaultError> {
        let mut changes = vec![];
        for (node, (mut work, manifest)) in work {
            if !work.failed {
                work.state.complete = true;
                work.state.applied = work.live.iter().copied().collect();
                work.state.forks.extend(work.forks);
            }
            work.state.written_ms = manifest.written_ms;
            changes.push(state::keep(self.state_keys.node(node), &work.state));
        }
        if changes.is_empty() {
            Ok(())
        } else {
            state::save(self.replica, &changes)
        }
    }
}
