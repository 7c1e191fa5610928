//! The journals of all runs that are known: those here, and the copies in a bucket of those that are not here or damaged here.
//!
//! What must hold: each run is read once, the newest first; a journal that cannot be read is said, and keeps neither the others from being read nor
//! a rollback from its end: whoever can write to the bucket can put one there.
//!
//! What it deliberately does not do: believe any of it. What a journal says counts for what its reader makes of it.

use std::collections::BTreeSet;

use console::Failure;
use store::Store;
use transfer::{Journal, JournalError};

use super::existing::copied;
use super::failures::journal_failure;
use super::session::{MIRROR, Session};
use crate::state::run_age;

/// Reads every journal but that of one run. `each` is told whether the bucket has a copy of it; `useless` says what one that cannot be read does not do.
///
/// # Errors
/// If the bucket or the state directory cannot be listed.
pub async fn newest_first(
    session: &Session,
    bucket: &Store,
    except: Option<&str>,
    useless: &str,
    mut each: impl FnMut(&Journal, bool) -> Result<(), JournalError>,
) -> Result<(), Failure> {
    let mirrored = Journal::mirrored_runs(bucket, MIRROR).await;
    let mirrored = BTreeSet::from_iter(mirrored.map_err(|error| journal_failure(&error))?);
    let here = session.state.runs()?;
    let mut runs = mirrored.clone();
    runs.extend(here.iter().map(|files| files.run.clone()));
    let mut runs = Vec::from_iter(runs);
    runs.retain(|run| Some(run.as_str()) != except);
    runs.sort_by_key(|run| std::cmp::Reverse(run_age(run)));
    for run in runs {
        let opened = match here.iter().find(|files| files.run == run) {
            Some(files) => match Journal::read_only(&files.journal) {
                Err(_) if mirrored.contains(&run) => copied(bucket, &run).await?,
                opened => opened,
            },
            None => copied(bucket, &run).await?,
        };
        let read = opened.and_then(|journal| each(&journal, mirrored.contains(&run)));
        if let Err(error) = read {
            session.ui.warn(format!(
                "the journal of run {run} {useless}, or not all it could: {error}"
            ));
        }
    }
    Ok(())
}
