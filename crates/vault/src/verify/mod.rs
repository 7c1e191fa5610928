//! Verification: re-read what is in the store, authenticate it, and say of every object what it is.
//!
//! What must hold: nothing is changed, neither in the store nor in the database (but for the note of what was found); every object
//! under the vault's keys is accounted for.
//! What it deliberately does not do: repair (see `maintain`).

mod survey;

pub(crate) use survey::{Line, Survey, live_keys, named_sizes};

use std::collections::{BTreeMap, HashSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use crate::device::{Device, Step, fetch};
use crate::error::{Problem, ProblemKind, VaultError};
use crate::ids::RecordId;
use crate::keys::VaultFile;
use crate::pull::decode;
use crate::replica::Replica;
use crate::seal::OBJECT_BYTES_MAX;
use crate::state;
use crate::vault::{MANIFESTS, VAULT_FILE};

/// An object's records take about this many times its size in memory; a listing does not say.
const UNPACKED_MOST_TIMES: u64 = 8;

/// How deep a verification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Manifests, and whether every segment they name is there with the right size.
    Manifest,
    /// Also every segment, every byte.
    Full,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Devices in the vault, this one included.
    pub devices: u64,
    /// Manifests read and authenticated.
    pub manifests: u64,
    /// Live segments.
    pub segments: u64,
    /// Bytes of the objects that were read.
    pub bytes_read: u64,
    /// Records in the segments that were read.
    pub records: u64,
    /// Objects that wait for their removal or belong to nobody: orphans.
    pub orphans: u64,
    /// Forgotten records that are still in some object, each counted once.
    pub forgotten_left: u64,
    /// What is wrong or remarkable, per object.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether everything that manifests name can be read.
    pub fn is_sound(&self) -> bool {
        !self
            .problems
            .iter()
            .any(|problem| problem.kind.is_serious())
    }
}

impl<R: Replica> Device<'_, R> {
    /// Re-reads the vault.
    ///
    /// # Errors
    /// The store's, the database's, or a key that this device lacks. What is wrong with single objects is in the report.
    pub async fn verify(&mut self, mode: VerifyMode) -> Result<VerifyReport, VaultError> {
        let file = self.vault.check_file().await?;
        let mut report = VerifyReport::default();
        report.problems.extend(self.check_generation(&file)?);
        let survey = self.survey(&mut report).await?;
        report.problems.extend(own_conflict(&survey, &report));
        self.check_presence(&survey, &mut report);
        if mode == VerifyMode::Full {
            self.read_again(&survey, &mut report).await?;
        }
        report
            .problems
            .sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        // A part that is missing shows in an object's length and in its hash: that is one damage.
        let is_damage = |problem: &Problem| problem.kind == ProblemKind::Corrupt;
        report
            .problems
            .dedup_by(|b, a| a == b || (a.key == b.key && is_damage(a) && is_damage(b)));
        let serious: Vec<_> = report
            .problems
            .iter()
            .filter(|problem| problem.kind.is_serious())
            .cloned()
            .collect();
        state::save(
            self.replica,
            &[state::quarantine_change(&self.state_keys, &serious)],
        )?;
        Ok(report)
    }

    /// The generation of a `vault.json` that takes the place of all that were seen.
    ///
    /// # Errors
    /// The database's.
    pub fn next_generation(&self) -> Result<u64, VaultError> {
        let seen: Option<u64> = state::load(self.replica, &self.state_keys.generation())?;
        Ok(seen.unwrap_or_default() + 1)
    }

    /// Whether `vault.json` is older than the one that was seen: a way in that was closed would be open again.
    fn check_generation(&mut self, file: &VaultFile) -> Result<Option<Problem>, VaultError> {
        let key = self.state_keys.generation();
        let seen: u64 = state::load(self.replica, &key)?.unwrap_or_default();
        if file.generation < seen {
            return Ok(Some(Problem {
                key: VAULT_FILE.into(),
                kind: ProblemKind::Regression,
                detail: format!(
                    "its generation is {}, but {seen} was seen before: an old copy was put back",
                    file.generation
                ),
            }));
        }
        state::save(self.replica, &[state::keep(key, &file.generation)])?;
        Ok(None)
    }

    fn check_presence(&self, survey: &Survey, report: &mut VerifyReport) {
        let live = live_keys(survey);
        for (node, line) in &survey.lines {
            for entry in &line.live {
                let key = entry.key(*node);
                match survey.present.get(&key) {
                    None => report.problems.push(Problem {
                        key,
                        kind: ProblemKind::Missing,
                        detail: format!(
                            "object not found: {} records of device {node} are not in the store",
                            entry.records
                        ),
                    }),
                    Some(size) if *size != entry.bytes => {
                        report.problems.push(Problem {
                            key,
                            kind: ProblemKind::Corrupt,
                            detail: format!("it has {size} bytes instead of {}", entry.bytes),
                        });
                    }
                    Some(_) => {}
                }
            }
        }
        for key in survey.present.keys().filter(|key| !live.contains(*key)) {
            report.orphans += 1;
            report.problems.push(Problem {
                key: key.clone(),
                kind: ProblemKind::Orphan,
                detail: "no newest manifest names it: replaced, or left by an interrupted push"
                    .into(),
            });
        }
    }

    /// Reads every segment: those first that no manifest names, so that what only they hold is known when the others are read.
    async fn read_again(
        &mut self,
        survey: &Survey,
        report: &mut VerifyReport,
    ) -> Result<(), VaultError> {
        let (live, named) = (live_keys(survey), named_sizes(survey));
        let all = survey.present.clone().into_iter();
        let (live, orphans): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(key, _)| live.contains(key));
        let (mut unknown, mut forgotten) = (BTreeMap::new(), HashSet::new());
        self.read_segments(&orphans, &named, |this, key, outcome| {
            if let Ok((_, records)) = &outcome {
                this.note_unknown(key, records, &mut unknown)?;
            }
            this.observe_segment(key, outcome, false, (report, &mut forgotten))
        })
        .await?;
        self.read_segments(&live, &named, |this, key, outcome| {
            if let Ok((_, records)) = &outcome
                && !unknown.is_empty()
            {
                ids::<R>(records).for_each(|id| drop(unknown.remove(&id)));
            }
            this.observe_segment(key, outcome, true, (report, &mut forgotten))
        })
        .await?;
        report.problems.extend(unnamed(&unknown));
        report.forgotten_left = forgotten.len() as u64;
        Ok(())
    }

    /// Notes which records of an object this device does not have.
    fn note_unknown(
        &self,
        key: &str,
        records: &[R::Record],
        unknown: &mut BTreeMap<RecordId, String>,
    ) -> Result<(), VaultError> {
        for record in records {
            let is_known = self
                .replica
                .holds(record)
                .and_then(|is_here| Ok(is_here || self.replica.is_forgotten(record)?));
            let is_known = is_known.map_err(|source| VaultError::Replica {
                doing: "look a record up",
                source,
            })?;
            if !is_known {
                unknown.insert(R::id(record), key.to_owned());
            }
        }
        Ok(())
    }

    fn observe_segment(
        &mut self,
        key: &str,
        outcome: Result<(u64, Vec<R::Record>), Problem>,
        live: bool,
        (report, forgotten): (&mut VerifyReport, &mut HashSet<RecordId>),
    ) -> Result<(), VaultError> {
        match outcome {
            // Damage to what nobody names is no damage to the vault: after a repair it must be sound again.
            Err(problem) if !live && problem.kind == ProblemKind::Corrupt => {
                report.problems.push(Problem {
                    kind: ProblemKind::Orphan,
                    detail: format!(
                        "damaged, and no newest manifest names it: {}",
                        problem.detail
                    ),
                    ..problem
                });
            }
            Err(problem) => report.problems.push(problem),
            Ok((bytes, records)) => {
                report.bytes_read += bytes;
                report.records += if live { records.len() as u64 } else { 0 };
                let mut left = 0;
                for record in &records {
                    let is_forgotten = self.replica.is_forgotten(record).map_err(|source| {
                        VaultError::Replica {
                            doing: "look a record up",
                            source,
                        }
                    })?;
                    if is_forgotten {
                        left += 1;
                        forgotten.insert(R::id(record));
                    }
                }
                if left > 0 {
                    report.problems.push(Problem {
                        key: key.to_owned(),
                        kind: ProblemKind::Forgotten,
                        detail: match left {
                            1 => "1 forgotten record is still in it".into(),
                            n => format!("{n} forgotten records are still in it"),
                        },
                    });
                }
            }
        }
        Ok(())
    }

    /// Fetches, opens and decodes every segment of `present` (keys and stored sizes), side by side, and hands each to `see`. Of those that
    /// a manifest names (`named`, keys and sizes) no more is read than that says.
    pub(crate) async fn read_segments<F>(
        &mut self,
        present: &BTreeMap<String, u64>,
        named: &BTreeMap<String, u64>,
        mut see: F,
    ) -> Result<(), VaultError>
    where
        F: FnMut(&mut Self, &str, Result<(u64, Vec<R::Record>), Problem>) -> Result<(), VaultError>,
    {
        self.observer.step(Step::Phase("verify"));
        self.observer.step(Step::Planned {
            objects: present.len() as u64,
            bytes: present.values().sum(),
            records: 0,
        });
        let (vault, memory_max) = (self.vault, self.options.memory_bytes_max as u64);
        let mut queue = present.iter();
        let mut flying = FuturesUnordered::new();
        let mut flying_bytes = 0;
        loop {
            while flying.len() < self.options.downloads.max(1)
                && (flying.is_empty() || flying_bytes < memory_max)
            {
                let Some((key, stored)) = queue.next() else {
                    break;
                };
                let bytes = stored * UNPACKED_MOST_TIMES;
                flying_bytes += bytes;
                let bytes_max = named.get(key).copied().unwrap_or(OBJECT_BYTES_MAX);
                flying.push(async move { (key, bytes, fetch(vault, key, bytes_max).await) });
            }
            let Some((key, bytes, outcome)) = flying.next().await else {
                break;
            };
            flying_bytes -= bytes;
            let outcome = outcome?
                .and_then(|plaintext| Ok((plaintext.len() as u64, decode::<R>(key, &plaintext)?)));
            self.observer.step(Step::Moved {
                bytes: outcome.as_ref().map_or(0, |(bytes, _)| *bytes),
                records: 0,
            });
            see(self, key, outcome)?;
        }
        Ok(())
    }
}

/// What a push of this device would say, unless its line's manifests have told it already.
fn own_conflict(survey: &Survey, report: &VerifyReport) -> Option<Problem> {
    let error = survey.conflict.as_ref()?;
    let (node, kind) = match error {
        VaultError::Regression { node, .. } => (node, ProblemKind::Regression),
        VaultError::SequenceConflict { node, .. } => (node, ProblemKind::Conflict),
        _ => return None,
    };
    let key = format!("{MANIFESTS}{node}");
    let is_told = |problem: &Problem| {
        let is_of_it = matches!(
            problem.kind,
            ProblemKind::Regression | ProblemKind::Conflict
        );
        is_of_it && problem.key.starts_with(&key)
    };
    (!report.problems.iter().any(is_told)).then(|| Problem {
        key: key.clone(),
        kind,
        detail: error.to_string(),
    })
}

/// What is said of objects that hold what nobody else is known to hold, and that no manifest names.
fn unnamed(unknown: &BTreeMap<RecordId, String>) -> Vec<Problem> {
    let mut records: BTreeMap<&str, u64> = BTreeMap::new();
    for key in unknown.values() {
        *records.entry(key).or_default() += 1;
    }
    let told = records.into_iter().map(|(key, records)| Problem {
        key: key.to_owned(),
        kind: ProblemKind::Unnamed,
        detail: format!(
            "no manifest names it, and {records} of its records are nowhere else, as far as this device knows"
        ),
    });
    told.collect()
}

/// The ids in a batch.
pub(crate) fn ids<'a, R: Replica + 'a>(
    records: &'a [R::Record],
) -> impl Iterator<Item = RecordId> + 'a {
    records.iter().map(R::id)
}
