//! Getting out of trouble: reset, repair, and taking over a lost device's records.
//!
//! What must hold: none of these can lose a record; each may be interrupted and run again.
//! What it deliberately does not do: decide that they are needed.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::device::{Device, MANIFESTS};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::{NodeId, RecordId};
use crate::push::{PushMode, PushReport};
use crate::replica::{Change, Replica, Source};
use crate::seal::Place;
use crate::state::{self, Intent, Leaving, OwnState};
use crate::verify::{Survey, VerifyReport, ids, live_keys};

/// How much a reset forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetMode {
    /// Everything, the identity too.
    NewIdentity,
    /// Everything but the identity: the next pull learns from the store what this device published.
    LocalOnly,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Records read from the store that this device did not have.
    pub recovered: u64,
    /// Records that this device has and the vault could not show any more.
    pub republished: u64,
    /// The push that published them.
    pub push: PushReport,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Which node is to leave.
#[derive(Clone, Copy)]
pub(crate) struct Removal {
    node: NodeId,
    /// Whether it may go although not everything of it can be read.
    gives_up_unreadable: bool,
}

/// What a reading of all segments showed.
#[derive(Default)]
struct Shown {
    readable: HashSet<String>,
    in_own: HashSet<RecordId>,
    in_others: HashSet<RecordId>,
    in_leaving: HashSet<RecordId>,
}

impl<R: Replica> Device<'_, R> {
    /// Forgets what was published and seen. The history, the keys and the store are not touched.
    ///
    /// # Errors
    /// The database's.
    pub fn reset(&mut self, mode: ResetMode) -> Result<(), VaultError> {
        let own = self.own()?;
        let names = self
            .replica
            .keys(&self.state_keys.all())
            .map_err(|source| VaultError::Replica {
                doing: "list the sync state",
                source,
            })?;
        let mut changes: Vec<Change> = names.into_iter().map(state::forget).collect();
        let mut next = match mode {
            ResetMode::NewIdentity => own.reborn((self.options.new_node)(), false),
            ResetMode::LocalOnly => {
                // A manifest that was under way may name what is garbage without it.
                let garbage = if self.has_intent()? {
                    vec![]
                } else {
                    own.garbage
                };
                OwnState {
                    relearn: true,
                    lacking: own.lacking,
                    former: own.former,
                    earlier: own.earlier,
                    garbage,
                    removed: own.removed,
                    ..OwnState::fresh(own.node)
                }
            }
        };
        next.lenient = true;
        changes.push(state::keep(self.state_keys.own(), &next));
        state::save(self.replica, &changes)
    }

    /// Reads every segment that survives, named by a manifest or not; takes in what is unknown; publishes again what this device
    /// has and the vault cannot show.
    ///
    /// # Errors
    /// The store's or the database's.
    pub async fn repair(&mut self) -> Result<RepairReport, VaultError> {
        self.mend(None).await
    }

    /// Takes over the records of a device that will not come back, publishes them under this one, and marks its objects for removal.
    /// Should it come back after all, it goes on under a new identity.
    ///
    /// # Errors
    /// The store's or the database's. If anything of the device cannot be read now, that is a problem in the report, and nothing is
    /// removed.
    pub async fn remove_device(&mut self, node: NodeId) -> Result<RepairReport, VaultError> {
        self.mend(Some(Removal {
            node,
            gives_up_unreadable: false,
        }))
        .await
    }

    /// As [`Device::remove_device`], for a device some of whose objects are damaged or gone for good: what only they held, and no
    /// device has, is given up.
    ///
    /// # Errors
    /// As for [`Device::remove_device`].
    pub async fn remove_damaged_device(
        &mut self,
        node: NodeId,
    ) -> Result<RepairReport, VaultError> {
        self.mend(Some(Removal {
            node,
            gives_up_unreadable: true,
        }))
        .await
    }

    fn has_intent(&self) -> Result<bool, VaultError> {
        Ok(state::load::<_, Intent>(self.replica, &self.state_keys.intent())?.is_some())
    }

    async fn mend(&mut self, remove: Option<Removal>) -> Result<RepairReport, VaultError> {
        match self.settle_intent().await {
            // The line is disputed: what it was about to say is said under a new identity.
            Err(error) if error.is_conflict() => {
                let own = self.own()?;
                self.reborn(own, true)?;
            }
            settled => settled?,
        }
        let mut report = self.mend_here(remove).await?;
        report.push = self.push(PushMode::Pending).await?;
        Ok(report)
    }

    /// The part of it that changes only the local database: the next push publishes what is missing from the vault.
    pub(crate) async fn mend_here(
        &mut self,
        remove: Option<Removal>,
    ) -> Result<RepairReport, VaultError> {
        let own = self.stay()?;
        let mut seen = VerifyReport::default();
        let survey = self.survey(&mut seen).await?;
        let mut report = RepairReport::default();
        let remove = remove.filter(|removal| removal.node != own.node);
        let shown = self
            .take_in(
                &own,
                &survey,
                remove.map(|removal| removal.node),
                &mut report,
            )
            .await?;
        report.problems.extend(
            seen.problems
                .into_iter()
                .filter(|problem| problem.kind.is_serious()),
        );
        let leaving = match remove {
            Some(removal) => match shown.leaving(&survey, removal) {
                Ok(leaving) => Some((removal.node, leaving)),
                Err(problem) => {
                    report.problems.push(problem);
                    return Ok(report);
                }
            },
            None => None,
        };
        // The changed line and the new numbers are one transaction: a row never counts as published in a segment that is given up.
        let changes = self.mended(own, &survey, &shown, leaving);
        report.republished = self
            .replica
            .republish_all_but(&shown.ids(), &changes)
            .map_err(|source| VaultError::Replica {
                doing: "mark what is missing from the vault",
                source,
            })?;
        Ok(report)
    }

    /// Gives takeovers up that were not published yet: nothing of theirs was touched, and they are decided anew.
    fn stay(&mut self) -> Result<OwnState, VaultError> {
        let mut own = self.own()?;
        if !own.leaving.is_empty() {
            own.leaving.clear();
            state::save(self.replica, &[state::keep(self.state_keys.own(), &own)])?;
        }
        Ok(own)
    }

    /// Applies every readable segment, and tells what is where.
    async fn take_in(
        &mut self,
        own: &OwnState,
        survey: &Survey,
        leaving: Option<NodeId>,
        report: &mut RepairReport,
    ) -> Result<Shown, VaultError> {
        let live = live_keys(survey);
        let keys: Vec<_> = survey.present.keys().cloned().collect();
        let floor = self.published_floor(own)?;
        let mut shown = Shown::default();
        self.read_segments(keys, |this, key, outcome| {
            let records = match outcome {
                Err(problem) => {
                    report.problems.push(problem);
                    return Ok(());
                }
                Ok((_, records)) => records,
            };
            shown.readable.insert(key.to_owned());
            let node = Place::parse(key)
                .expect("only keys of segments were asked for")
                .0
                .node;
            let is_live = live.contains(key);
            let place = match node {
                node if leaving == Some(node) => Some(&mut shown.in_leaving),
                node if is_live && node == own.node => Some(&mut shown.in_own),
                _ if is_live => Some(&mut shown.in_others),
                _ => None,
            };
            if let Some(place) = place {
                place.extend(ids::<R>(&records));
            }
            let is_ours_too = own.former.contains(&node) || own.removed.contains_key(&node);
            let source = if !is_live || node == own.node || leaving == Some(node) {
                Source::Salvage
            } else {
                Source::Vault {
                    unpublished_above: if is_ours_too { u64::MAX } else { floor },
                }
            };
            let applied =
                this.replica
                    .apply(records, source, &[])
                    .map_err(|source| VaultError::Replica {
                        doing: "apply what was read",
                        source,
                    })?;
            report.recovered += applied.added;
            Ok(())
        })
        .await?;
        Ok(shown)
    }

    /// This device's line without its unreadable segments (a new line if its newest manifest cannot be read), and with the node that leaves.
    fn mended(
        &self,
        own: OwnState,
        survey: &Survey,
        shown: &Shown,
        leaving: Option<(NodeId, Leaving)>,
    ) -> Vec<Change> {
        let is_cut_off = own.newest.is_some()
            && survey.lines.get(&own.node).map(|line| line.newest) != own.newest;
        let mut changes = vec![state::forget(self.state_keys.progress())];
        let mut next = OwnState {
            lacking: false,
            ..own
        };
        if is_cut_off {
            next = next.reborn((self.options.new_node)(), true);
            changes.push(state::forget(self.state_keys.intent()));
        }
        next.live.retain(|segment| {
            let key = segment.entry.key(next.node);
            survey.present.get(&key) == Some(&segment.entry.bytes) && shown.readable.contains(&key)
        });
        if let Some((node, leaving)) = leaving {
            next.leaving.insert(node, leaving);
            changes.push(state::forget(self.state_keys.node(node)));
        }
        changes.push(state::keep(self.state_keys.own(), &next));
        changes
    }
}

impl Shown {
    /// What need not be published again.
    ///
    /// What a leaving node has counts only if this device's own line has it too. That another node has it is not enough: somebody may
    /// be removing that one at this moment. So a line's records vanish only after one other line took over all of them.
    fn ids(mut self) -> HashSet<RecordId> {
        self.in_own
            .extend(self.in_others.difference(&self.in_leaving));
        self.in_own
    }

    /// What is to be said about a node that leaves, or why it cannot leave.
    fn leaving(&self, survey: &Survey, removal: Removal) -> Result<Leaving, Problem> {
        let node = removal.node;
        let refuse = |kind, why: &str| {
            Err(Problem {
                key: format!("{MANIFESTS}{node}"),
                kind,
                detail: format!("{why}, so nothing was removed"),
            })
        };
        let Some(line) = survey.lines.get(&node) else {
            return refuse(
                ProblemKind::Missing,
                "no manifest of this device can be read",
            );
        };
        // What cannot be read now may be there tomorrow: a synced folder is still catching up, say.
        let all_read = line.is_whole
            && line
                .live
                .iter()
                .all(|entry| self.readable.contains(&entry.key(node)));
        if !all_read && !removal.gives_up_unreadable {
            return refuse(
                ProblemKind::Missing,
                "not everything of this device can be read now",
            );
        }
        let heirs: Vec<NodeId> = line
            .manifest
            .removed
            .keys()
            .copied()
            .chain([node])
            .collect();
        let is_theirs =
            |key: &&String| Place::parse(key).is_some_and(|(place, _)| heirs.contains(&place.node));
        let segments = self.readable.iter().filter(is_theirs).cloned();
        let manifests = heirs.iter().flat_map(|node| {
            survey
                .manifests
                .get(node)
                .into_iter()
                .flatten()
                .map(|manifest| manifest.key(*node))
        });
        let mut keys: Vec<String> = segments.chain(manifests).collect();
        keys.sort();
        let at = survey
            .manifests
            .get(&node)
            .and_then(|refs| refs.last())
            .copied()
            .unwrap_or(line.newest);
        Ok(Leaving {
            at,
            keys,
            removed: line.manifest.removed.clone(),
        })
    }
}
