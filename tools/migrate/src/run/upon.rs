//! Which runs lie upon another: those that began later and moved rows of the same database.
//!
//! What must hold: a later run counts as soon as one of its rows may be moved, and no more when all are back; what cannot be read is an error,
//! and no leave.
//!
//! What it deliberately does not do: look at runs of other state directories. Their rows are read like those that the application changed itself.

use console::Failure;
use transfer::{Journal, JournalErrorKind, State};

use super::failures::journal_failure;
use super::session::Session;
use crate::state::{Parameters, RunFiles, run_age};

/// Finds a run that began after another one and has moved rows that the other might move.
///
/// # Errors
/// If the journal of a later run cannot be read.
pub fn moved_since(
    session: &Session,
    files: &RunFiles,
    of: &Parameters,
) -> Result<Option<RunFiles>, Failure> {
    let age = run_age(&files.run);
    for later in session.state.runs()? {
        if run_age(&later.run) <= age {
            break;
        }
        let journal = match Journal::read_only(&later.journal) {
            Ok(journal) => journal,
            // Without its first line it took nothing on.
            Err(error) if error.kind() == JournalErrorKind::Unknown => continue,
            Err(error) => return Err(journal_failure(&error)),
        };
        let parameters = serde_json::from_value(journal.header().parameters.clone());
        let is_near = parameters.is_ok_and(|later| may_share_rows(of, &later));
        if is_near && has_moved(&journal) {
            return Ok(Some(later));
        }
    }
    Ok(None)
}

/// Tells whether both runs may move the same rows. One between buckets moves none.
fn may_share_rows(one: &Parameters, other: &Parameters) -> bool {
    let moves_rows = |of: &Parameters| of.direction != "s3-to-s3";
    let users = (one.user.as_ref(), other.user.as_ref());
    let are_apart = matches!(users, (Some(one), Some(other)) if one != other);
    let is_same = !one.is_surely_other(other) && one.application == other.application;
    is_same && moves_rows(one) && moves_rows(other) && !are_apart
}

fn has_moved(journal: &Journal) -> bool {
    let tally = journal.tally();
    let may_be = tally.of(State::Committing) + tally.of(State::Reverting);
    tally.switched() + may_be > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_that_may_move_the_same_rows_count() {
        let one = Parameters {
            direction: "local-to-s3".into(),
            database: "readur#1".into(),
            source: "/uploads".into(),
            target: "s3://docs".into(),
            application: "readur".into(),
            user: Some("me".into()),
            origin: None,
        };
        let check = |change: fn(&mut Parameters), expected: bool| {
            let mut other = one.clone();
            change(&mut other);
            assert_eq!(may_share_rows(&one, &other), expected, "{other:?}");
            assert_eq!(may_share_rows(&other, &one), expected, "{other:?}");
        };
        check(|_| (), true);
        check(|of| of.direction = "s3-to-local".into(), true);
        check(|of| of.target = "s3://other".into(), true);
        check(|of| of.user = None, true);
        check(|of| of.user = Some("you".into()), false);
        check(|of| of.direction = "s3-to-s3".into(), false);
        check(|of| of.database = "readur#2".into(), false);
        check(|of| of.application = "other".into(), false);
    }
}
