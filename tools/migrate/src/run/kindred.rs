//! Which runs are over the very database of this one, and what the others need: a clone of the database may work over the same bucket.
//!
//! What must hold: a run counts as one of this database only if its journal is here and nothing says otherwise; a clone that is made file by file
//! cannot be told apart by itself. Of every other run it is said what it needs, and one that is not understood needs everything.
//!
//! What it deliberately does not do: compare users or upload paths. Whoever's document it is, its row may name the object.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use console::Failure;
use store::Store;
use transfer::{Claim, Journal, Keepers, Kin, Mirror, Others, RunHeader};

use super::command;
use super::failures::journal_failure;
use super::owning;
use super::record::of_header;
use super::session::{MIRROR, Session, direction_named};
use crate::cli::args::DirectionArg;
use crate::state::{Flags, Parameters, StateDir};

/// Stands for a run's file in a command.
const RUN: &str = "FILE";

/// What is to be removed where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bucket,
    /// The folder that files are brought back into.
    Folder,
}

/// The runs in the state directory, and what this run is.
struct Kindred {
    here: Parameters,
    place: Place,
    dir: StateDir,
    /// The command that takes a journal from the bucket, with [`RUN`] for its file.
    take: String,
    own: BTreeSet<String>,
    /// Those of them of which a person has said that they are of this database, and no copy of it is at work.
    said: BTreeSet<String>,
    /// Runs whose journals are here and cannot be read: their copies say whose they are.
    unreadable: BTreeSet<String>,
    /// Journals here of runs over other databases.
    others: Vec<(String, PathBuf)>,
}

/// Says who is asked before an object or a source of a run goes.
///
/// # Errors
/// If the state directory cannot be read, or no target is named.
pub fn keepers(
    session: &Session,
    run: &str,
    target: &Store,
    bucket: Option<&Store>,
) -> Result<Keepers, Failure> {
    let here = session.parameters()?;
    let others = |store: &Store, place: Place| {
        let kindred = Kindred::of(session, Some(run), here.clone(), place)?;
        Ok::<_, Failure>(Some(Arc::new(Others::new(
            mirror(store),
            Arc::new(kindred),
        ))))
    };
    Ok(match (session.settings.direction, bucket) {
        (DirectionArg::LocalToS3, _) | (_, None) => Keepers {
            of_target: others(target, Place::Bucket)?,
            of_source: None,
        },
        (DirectionArg::S3ToLocal, Some(bucket)) => Keepers {
            of_target: others(bucket, Place::Folder)?,
            of_source: others(bucket, Place::Bucket)?,
        },
        (DirectionArg::S3ToS3, Some(bucket)) => Keepers {
            of_target: others(target, Place::Bucket)?,
            of_source: others(bucket, Place::Bucket)?,
        },
    })
}

/// Warns of runs over other databases that need objects of the bucket.
///
/// # Errors
/// If the bucket cannot be read.
pub async fn warn(session: &Session) -> Result<(), Failure> {
    let here = session.parameters()?;
    let kindred = Kindred::of(session, None, here.clone(), Place::Bucket)?;
    let others = Others::new(mirror(&session.mirror().await?), Arc::new(kindred));
    let claimants = others.claimants().await;
    let claimants = claimants.map_err(|error| journal_failure(&error))?;
    for claimant in &claimants {
        let of = claimant.header.as_ref().and_then(parameters_of);
        // A run of this database whose journal was lost here is nobody else's.
        if claimant.unreadable.is_none() && of.is_some_and(|of| here.is_kin(&of)) {
            continue;
        }
        session.ui.warn(match &claimant.unreadable {
            None => format!(
                "{} moved documents into the same bucket and is not undone: objects may serve both databases. What one of them needs is not \
                 removed by this program, but by older versions of it; better give each database a bucket or a prefix of its own",
                claimant.name
            ),
            Some(why) => format!(
                "the copy of the journal of {} in the bucket cannot be read: {why}. While it lies there no object is removed",
                claimant.name
            ),
        });
    }
    Ok(())
}

fn mirror(store: &Store) -> Mirror {
    Mirror {
        store: store.clone(),
        prefix: MIRROR.into(),
    }
}

impl Kindred {
    fn of(
        session: &Session,
        run: Option<&str>,
        here: Parameters,
        place: Place,
    ) -> Result<Self, Failure> {
        let mut kindred = Self {
            take: session.command(
                &format!(" --verify-state --state-file {RUN} {}", owning::FLAG),
                &here,
                Flags::Known,
            ),
            dir: session.state.clone(),
            here,
            place,
            own: BTreeSet::new(),
            said: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            others: vec![],
        };
        for files in session.state.runs()? {
            let header = Journal::header_of(&files.journal).ok();
            let custody = Journal::custody_of(&files.journal).unwrap_or_default();
            let of = header.and_then(|header| of_header(&files, &header, &custody).ok());
            match of {
                // What came from the bucket is a clone's as long as nobody says whose it is.
                Some(of) if kindred.here.is_kin(&of) && !custody.is_taken => {
                    if custody.parameters.is_some() {
                        kindred.said.insert(files.run.clone());
                    }
                    kindred.own.insert(files.run);
                }
                Some(of) if kindred.is_over_same_store(&of) => {
                    kindred.others.push((files.run, files.journal));
                }
                Some(_) => {}
                None => _ = kindred.unreadable.insert(files.run),
            }
        }
        // Its journal may lie elsewhere.
        kindred.own.extend(run.map(str::to_owned));
        Ok(kindred)
    }

    /// Tells whether the bucket of both, or the folder, has the same name.
    fn is_over_same_store(&self, of: &Parameters) -> bool {
        match self.place {
            Place::Bucket => self.here.bucket() == of.bucket(),
            Place::Folder => self.here.target == of.target,
        }
    }
}

impl Kin for Kindred {
    fn is_own(&self, run_id: &str) -> bool {
        // Folders of one name on two machines are two: only a journal that is here tells of this one.
        let is_elsewhere = self.place == Place::Folder && !self.is_here(run_id);
        is_elsewhere || self.own.contains(run_id)
    }

    fn claim(&self, header: &RunHeader) -> Option<Claim> {
        let of = parameters_of(header)?;
        if self.unreadable.contains(&header.run_id) && self.here.is_kin(&of) {
            return Some(Claim::Nothing);
        }
        self.claimed(&of, self.here.is_surely_same(&of))
    }

    fn claim_aside(&self, header: &RunHeader) -> Option<Claim> {
        let of = parameters_of(header)?;
        // What was set aside of a run about which a person has given their word is of a history that is no more.
        if self.said.contains(&header.run_id) && self.here.is_kin(&of) {
            return Some(Claim::Nothing);
        }
        self.claimed(&of, false)
    }

    fn name(&self, run_id: &str, header: Option<&RunHeader>) -> String {
        match header.and_then(parameters_of) {
            Some(of) if self.here.may_be_made_of(&of) => format!(
                "the run {run_id} over {} (only if this database was made of that one, and that is at work no more, this says so: {})",
                of.database_in_words(),
                self.command_to_take(run_id),
            ),
            Some(of) if !self.here.is_kin(&of) => {
                format!("the run {run_id} over {}", of.database_in_words())
            }
            // Who knows that it is of this very database brings its journal here.
            Some(_) => format!(
                "the run {run_id}, which did not begin in this state directory (if it is one of this very database, and no copy of that is at work, \
                 this says so: {}),",
                self.command_to_take(run_id),
            ),
            None => format!("the run {run_id}"),
        }
    }

    fn journals(&self) -> Vec<(String, PathBuf)> {
        self.others.clone()
    }
}

impl Kindred {
    /// Says what a run of other parameters claims; `is_ours`: it is over this very database, and not over a copy of its files.
    fn claimed(&self, of: &Parameters, is_ours: bool) -> Option<Claim> {
        let direction = direction_named(&of.direction)?;
        Some(match (self.place, direction) {
            (Place::Bucket, DirectionArg::LocalToS3 | DirectionArg::S3ToS3) => Claim::Keys,
            // Rows of this very database the ledger sees; what they were before is no matter.
            (Place::Bucket, DirectionArg::S3ToLocal) if is_ours => Claim::Nothing,
            (Place::Bucket, DirectionArg::S3ToLocal) => Claim::Sources,
            (Place::Folder, DirectionArg::S3ToLocal) if of.target == self.here.target => {
                Claim::Keys
            }
            (Place::Folder, _) => Claim::Nothing,
        })
    }

    fn command_to_take(&self, run_id: &str) -> String {
        let file = command::path(&self.dir.files(run_id).summary);
        self.take.replacen(RUN, &file, 1)
    }

    fn is_here(&self, run_id: &str) -> bool {
        self.others.iter().any(|(run, _)| run == run_id)
    }
}

fn parameters_of(header: &RunHeader) -> Option<Parameters> {
    serde_json::from_value(header.parameters.clone()).ok()
}
