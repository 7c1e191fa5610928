//! Rows that lead nowhere since the rollback of another run could not bring them back: neither their object nor their file was there.
//!
//! What must hold: a rollback that ends well says that the rows lead to files and objects as far as the runs here have moved them. One that only another
//! run can bring back is named, with the command that does it once something is restored.
//!
//! What it deliberately does not do: look at rows that no run here has moved; `--audit-files` does. The application stores in the bucket itself.

use console::Failure;
use transfer::{Exception, ExceptionKind, Journal};

use super::again;
use super::command;
use super::existing;
use super::failures::journal_failure;
use super::parts::Ends;
use super::session::Session;
use crate::cli::args::DirectionArg;
use crate::db::Switched;
use crate::listing::{Listing, row_prefixes};
use crate::state::{Flags, Parameters, RunFiles, RunState, is_one_place};

/// Names the rows that runs which are partly rolled back have left without an object; `own` is the run that is undone now.
///
/// # Errors
/// If rows or journals cannot be read, or the bucket cannot be listed.
pub async fn left_by_others(
    session: &Session,
    ends: &Ends,
    own: &str,
) -> Result<Vec<Exception>, Failure> {
    let mut found = Vec::new();
    if session.settings.direction != DirectionArg::LocalToS3 {
        return Ok(found);
    }
    let here = session.parameters()?;
    let mut listing: Option<Listing> = None;
    for (files, summary) in existing::all(session)? {
        let Some(summary) = summary.filter(|_| files.run != own) else {
            continue;
        };
        let of = &summary.parameters;
        if summary.state != RunState::RollingBack || !is_of_here(of, &here) {
            continue;
        }
        let journal = Journal::read_only(&files.journal);
        let journal = journal.map_err(|error| journal_failure(&error))?;
        let entries = journal.entries(transfer::State::is_switched);
        let mut odd = Vec::new();
        let asked = again::asked(session, entries, |entry, change, answer| {
            if answer == Switched::AlreadyDone {
                odd.push(nowhere(session, (&files, of), entry, &change.new));
            }
        });
        asked.await?;
        if odd.is_empty() {
            continue;
        }
        let listed = match listing.take() {
            Some(listing) => listing,
            None => Listing::read(&ends.target, &row_prefixes(&session.mapping)).await?,
        };
        odd.retain(|one| listed.size(&one.key).is_none());
        listing = Some(listed);
        found.append(&mut odd);
    }
    Ok(found)
}

/// Tells whether a run brought rows of this database into this bucket.
fn is_of_here(of: &Parameters, here: &Parameters) -> bool {
    of.is_from_disk()
        && !of.is_surely_other(here)
        && of.application == here.application
        && is_one_place(&of.target, &here.target)
}

fn nowhere(
    session: &Session,
    (files, of): (&RunFiles, &Parameters),
    entry: &transfer::Entry,
    holds: &str,
) -> Exception {
    let what = format!(" --rollback {}", command::path(&files.summary));
    let again = session.command(&what, of, Flags::Known);
    let message = format!(
        "the row holds {holds}, where the run {}, partly rolled back, has left it, and there is no such object",
        files.run
    );
    let remedy = format!("restore the object, or the file, from a backup; then {again}");
    again::about(entry, ExceptionKind::ObjectMissing, message, remedy)
}
