//! Files that a row names and that are nowhere here, although a run has brought them into the bucket: the database was restored from an older dump, and
//! its rows name files again that `--delete-source` has removed.
//!
//! What must hold: what brings such a file back is named as a command; it takes no object away.
//!
//! What it deliberately does not do: bring anything back, or look whether the object is there. The command does both.

use console::Failure;
use transfer::{Exception, ExceptionKind, Journal};

use super::command;
use super::journals;
use super::session::{Session, direction_name};
use crate::cli::args::DirectionArg;
use crate::state::{Flags, Parameters};

/// Says of each missing file which run has stored it, if a journal here or in the bucket does.
///
/// # Errors
/// If the bucket or the state directory cannot be listed.
pub async fn name_runs(
    session: &Session,
    own: &Journal,
    exceptions: &mut [Exception],
) -> Result<(), Failure> {
    let mut missing: Vec<&mut Exception> = exceptions
        .iter_mut()
        .filter(|exception| exception.kind == ExceptionKind::Missing)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let bucket = session.bucket().await?;
    let here = session.parameters()?;
    let look = |journal: &Journal, is_copied: bool| {
        let of = serde_json::from_value::<Parameters>(journal.parameters()).ok();
        let into = direction_name(DirectionArg::LocalToS3);
        let is_here = |of: &Parameters| is_copied || of.bucket() == here.bucket();
        let Some(of) = of.filter(|of| of.direction == into && is_here(of)) else {
            return Ok(());
        };
        let mut left = Vec::with_capacity(missing.len());
        for exception in missing.drain(..) {
            let found = journal.find(&exception.item)?;
            let is_it = found.is_some_and(|entry| {
                let blobs = entry.item.blobs.iter().zip(&entry.stored);
                let mut stored = blobs.filter(|(_, stored)| stored.is_some());
                entry.state.is_switched() && stored.any(|(blob, _)| blob.source == exception.source)
            });
            match is_it {
                true => exception.remedy = remedy(session, journal, &of, &here),
                false => left.push(exception),
            }
        }
        missing = left;
        Ok(())
    };
    let own = own.header().run_id.as_str();
    journals::newest_first(session, &bucket, Some(own), "brings no file back", look).await
}

fn remedy(session: &Session, journal: &Journal, of: &Parameters, here: &Parameters) -> String {
    let run = &journal.header().run_id;
    let file = command::path(&session.state.files(run).summary);
    // Over another database a rollback takes force, and then leaves the objects to that.
    let what = match of.difference(here) {
        Some(_) => format!(" --force-rollback --state-file {file}"),
        None => format!(" --rollback {file}"),
    };
    format!(
        "the run {run} has brought them into the bucket, and the row names the file again, as in a database that was restored from an older dump; \
         this brings the files back: {}",
        session.command(&what, of, Flags::Known)
    )
}
