//! Which runs lie upon another: those that began later and moved rows of the same database.
//!
//! What must hold: a later run counts as soon as one of its rows may be moved, and no more when all are back; what cannot be read here is an error,
//! and no leave. What is undone is not below a run that moved the same rows since: the later one could never be undone then.
//!
//! What it deliberately does not do: look, before a run goes on, at runs of other state directories. Their rows are read like those that the
//! application changed itself. Before one is undone it looks at those of which the bucket keeps a copy.

use console::{Exit, Failure};
use transfer::{Journal, State};

use super::command;
use super::existing::copied;

use super::failures::journal_failure;
use super::record::of_journal;
use super::session::{MIRROR, Session};
use super::sound;
use crate::state::{Flags, Parameters, RunFiles, run_age};

/// Finds a run that began after another one and has moved rows that the other might move.
///
/// # Errors
/// If the journal of a later run cannot be read.
pub async fn moved_since(
    session: &Session,
    files: &RunFiles,
    of: &Parameters,
) -> Result<Option<RunFiles>, Failure> {
    let age = run_age(&files.run);
    for later in session.state.runs()? {
        if run_age(&later.run) <= age {
            break;
        }
        let Some(journal) = sound::open_other(session, &later).await? else {
            continue;
        };
        let parameters = serde_json::from_value(journal.parameters());
        let is_near = parameters.is_ok_and(|later| may_share_rows(of, &later));
        if is_near && has_moved(&journal) {
            return Ok(Some(later));
        }
    }
    Ok(None)
}

/// Fails if a later run has moved rows that are to be put back: that one comes first. `is_forced`: it is only said.
///
/// # Errors
/// Of kind `later-run`, or if a journal here or the bucket cannot be read.
pub async fn check_newest(
    session: &Session,
    files: &RunFiles,
    journal: &Journal,
    is_forced: bool,
) -> Result<(), Failure> {
    let of = of_journal(files, journal)?;
    let later = match moved_the_same(session, files, journal, &of).await {
        Ok(None) => return Ok(()),
        Ok(Some(later)) => comes_first(session, files, &later, &of),
        Err(failure) => failure,
    };
    if !is_forced {
        return Err(later);
    }
    session.ui.warn(format!(
        "{later}. It is undone all the same, as --force-rollback asks."
    ));
    Ok(())
}

/// Finds the newest run after another one that has moved rows which that one has still to put back.
async fn moved_the_same(
    session: &Session,
    files: &RunFiles,
    journal: &Journal,
    of: &Parameters,
) -> Result<Option<RunFiles>, Failure> {
    if !may_share_rows(of, of) {
        return Ok(None);
    }
    let age = run_age(&files.run);
    let is_later = |run: &str| run_age(run) > age;
    let is_above = |later: &Journal| {
        let parameters = serde_json::from_value(later.parameters());
        parameters.is_ok_and(|later| may_share_rows(of, &later)) && journal.lies_below(later)
    };
    // What was taken from the bucket, or is only there, may be a clone's: then it moved the clone's rows.
    let is_of_here = |later: &Journal| {
        let parameters = serde_json::from_value::<Parameters>(later.parameters());
        parameters.is_ok_and(|later| !of.is_elsewhere(&later))
    };
    let here = session.state.runs()?;
    for later in here.iter().filter(|later| is_later(&later.run)) {
        let opened = sound::open_other(session, later).await?;
        let is_known = |later: &Journal| !later.custody().is_taken || is_of_here(later);
        if opened.is_some_and(|later| is_known(&later) && is_above(&later)) {
            return Ok(Some(later.clone()));
        }
    }
    let mirror = session.mirror().await?;
    let mirrored = Journal::mirrored_runs(&mirror, MIRROR).await;
    let mut mirrored = mirrored.map_err(|error| journal_failure(&error))?;
    mirrored.retain(|run| is_later(run) && here.iter().all(|files| files.run != *run));
    mirrored.sort_by_key(|run| std::cmp::Reverse(run_age(run)));
    for run in mirrored {
        match copied(&mirror, &run).await? {
            Ok(later) if is_of_here(&later) && is_above(&later) => {
                return Ok(Some(session.state.files(&run)));
            }
            Ok(_) => {}
            // Whoever can write to the bucket can put one there; what it might have moved the rows show.
            Err(error) => session.ui.warn(format!(
                "whether the run {run} has moved the same rows since cannot be seen: {error}"
            )),
        }
    }
    Ok(None)
}

fn comes_first(session: &Session, files: &RunFiles, later: &RunFiles, of: &Parameters) -> Failure {
    let undo = |files: &RunFiles| {
        let what = format!(" --rollback {}", command::path(&files.summary));
        session.command(&what, of, Flags::Known)
    };
    let message = format!(
        "the run {} cannot be rolled back yet: the run {} has moved the same rows since",
        files.run, later.run
    );
    let mut hint = format!(
        "nothing was touched; roll the later one back first, then this one\n      {}\n      {}",
        undo(later),
        undo(files)
    );
    let custody = Journal::custody_of(&later.journal);
    if custody.map_or(true, |custody| custody.is_taken) {
        let force = format!(
            " --force-rollback --state-file {}",
            command::path(&files.summary)
        );
        hint.push_str(&format!(
            "\n      The later one did not begin in this state directory. If it is the run of a copy of this database, over the copy's own rows, it stays \
             in the way whatever is done here; then this undoes only the one that was asked for, and takes no object that the copy needs:\n      {}",
            session.command(&force, of, Flags::Known)
        ));
    }
    Failure::new(Exit::Conflict, message)
        .kind("later-run")
        .hint(hint)
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
            machine: None,
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
