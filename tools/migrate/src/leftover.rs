//! Rows that are still in the bucket and that no journal explains: the balance of a rollback, and of a verification.
//!
//! What must hold: a row whose local file is there, where the application would have put it, was moved by somebody: if no journal
//! that is known here or in the bucket says by whom, it is an exception by name. Rows that the journal says are back are looked at too.
//!
//! What it deliberately does not do: take a row that has no local file for a leftover. The application stores in S3 itself; such rows
//! are only counted.

mod known;

use std::sync::Arc;

use console::{Failure, Ui, human};
use transfer::{Exception, ExceptionKind, Journal, KeySet, State};

use known::{Known, Undo, Why};

use crate::cli::args::DirectionArg;
use crate::db::{Page, Row, Which};
use crate::keys;
use crate::mapping::Table;
use crate::resolve::Paths;
use crate::rollback::add_new;
use crate::run::failures::{database_failure, journal_failure};
use crate::run::session::Session;

/// Rows are read so many at a time.
const PAGE: usize = 500;

/// More leftovers than this are only counted.
const LISTED_MAX: usize = 10_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Leftover {
    /// Rows that a run has switched and that no journal explains; the first of them.
    pub rows: Vec<Exception>,
    /// How many there are beyond those that are listed.
    pub unlisted: u64,
    /// Rows in the bucket without a local file that the journal does not know.
    pub of_others: u64,
}

impl Leftover {
    /// Adds the rows to a list of exceptions, those that are in it already left out; says how many others there are.
    pub fn add_to(self, exceptions: &mut Vec<Exception>, ui: &Ui) {
        add_new(exceptions, self.rows);
        if self.unlisted > 0 {
            ui.warn(format!(
                "{} in the bucket that no journal explains are listed, {} more are not",
                human::count(LISTED_MAX as u64, "row"),
                human::number(self.unlisted)
            ));
        }
        if self.of_others > 0 {
            ui.hint(format!(
                "{} in the bucket without a local file and not in the journal of this run: another run moved them, the application stored \
                 them itself, or another program did",
                human::count(self.of_others, "row")
            ));
        }
    }

    /// Takes a row on that may be a leftover. One that another run explains takes up no place in the list.
    fn take(&mut self, suspect: Suspect, others: &Known) {
        if others.brought.contains(&suspect.id) {
            return;
        }
        let why = others.why(&suspect.id);
        match self.rows.len() < LISTED_MAX {
            true => self.rows.push(suspect.exception(why)),
            false => self.unlisted += 1,
        }
    }
}

/// Looks for rows that are still in the bucket.
///
/// # Errors
/// If rows or journals cannot be read.
pub async fn find(
    session: &Session,
    journal: &Journal,
    paths: &Arc<Paths>,
) -> Result<Leftover, Failure> {
    if session.settings.direction != DirectionArg::LocalToS3 || !session.mapping.marks_stored() {
        return Ok(Leftover::default());
    }
    in_bucket(session, journal, paths).await
}

/// Rows in the bucket of which the journal says that they are back, and those that it does not know and that have a local file. Of the
/// rest it is counted how many there are.
async fn in_bucket(
    session: &Session,
    journal: &Journal,
    paths: &Arc<Paths>,
) -> Result<Leftover, Failure> {
    let mut found = Leftover::default();
    // Looked for only if there is something to explain.
    let mut others: Option<Known> = None;
    // Rows of further tables that repeat a document's path follow it and are no items.
    let mut paths_seen = KeySet::new();
    for table in session.mapping.tables() {
        let mut after: Option<String> = None;
        loop {
            let page = Page {
                table,
                which: Which::Stored,
                user: session.line.run.user_id.as_deref(),
                after: after.as_deref(),
                limit: PAGE,
            };
            let rows = session.database.page(&page).await;
            let rows = rows.map_err(|error| database_failure(&error))?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key.clone());
            for row in rows.iter().filter(|row| paths_seen.insert(&row.path)) {
                let id = session.mapping.row_name(table, &row.key);
                let state = journal.state(&id);
                let own = match state.is_some_and(may_be_back) {
                    true => journaled_file(journal, &id)?,
                    false => None,
                };
                match look_at(state, || {
                    own.clone().or_else(|| local_file(table, paths, row))
                }) {
                    Seen::Explained => {}
                    Seen::OfOthers => found.of_others += 1,
                    Seen::Suspect(source) => {
                        let known = match others.take() {
                            Some(known) => known,
                            None => known::to_others(session, journal).await?,
                        };
                        let path = row.path.clone();
                        found.take(Suspect { id, source, path }, &known);
                        others = Some(known);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// What a row in the bucket is by the journal and the disk.
enum Seen {
    /// By the journal it is there, or may be.
    Explained,
    /// It has no local file, and the journal does not know it.
    OfOthers,
    /// It should not be there, unless another journal says why. With its local file, if that is there.
    Suspect(Option<String>),
}

fn look_at(state: Option<State>, local_file: impl Fn() -> Option<String>) -> Seen {
    match state {
        None | Some(State::LeftOut | State::Lost) => match local_file() {
            Some(source) => Seen::Suspect(Some(source)),
            None => Seen::OfOthers,
        },
        Some(state) if may_be_back(state) => Seen::Suspect(local_file()),
        Some(_) => Seen::Explained,
    }
}

/// By the journal it is back, or was never switched.
fn may_be_back(state: State) -> bool {
    matches!(
        state,
        State::Reverted | State::Undone | State::Planned | State::Stored
    )
}

/// The file that the journal says an object was made from, if it is there: the application may have named it otherwise than it does now.
fn journaled_file(journal: &Journal, id: &str) -> Result<Option<String>, Failure> {
    let entry = journal.find(id).map_err(|error| journal_failure(&error))?;
    let blob = entry.and_then(|entry| entry.item.blobs.into_iter().next());
    let is_there = |source: &String| std::fs::metadata(source).is_ok_and(|found| found.is_file());
    Ok(blob.map(|blob| blob.source).filter(is_there))
}

/// The file from which the object was made, if it is there and as long as the row says.
fn local_file(table: &Table, paths: &Paths, row: &Row) -> Option<String> {
    let place = table.local_path.fill(&keys::values(row, paths.upload()));
    let found = std::fs::metadata(paths.here(&place)).ok()?;
    let fits =
        table.is_rewritten(row.mime.as_deref()) || row.size.is_none_or(|size| size == found.len());
    (found.is_file() && fits).then_some(place)
}

/// A row that should not be in the bucket.
struct Suspect {
    id: String,
    source: Option<String>,
    path: String,
}

impl Suspect {
    fn exception(self, why: Option<(Why, &Undo)>) -> Exception {
        let file = self.source.as_deref().unwrap_or("not in its place");
        let (why, remedy) = match why {
            Some((why, undo)) => (
                match why {
                    Why::ChangedByHand => format!(
                        "the run {} moved it: when that was rolled back the row had been changed by hand",
                        undo.run
                    ),
                    Why::Undone => format!(
                        "the run {} moved it and was rolled back: the database, it seems, was restored as it was between",
                        undo.run
                    ),
                },
                format!("roll that run back again: {}", undo.command),
            ),
            None => (
                "no journal known here or in the bucket says why".to_owned(),
                "restore the newest journal of the run that moved it (from a backup), and roll that back; if the run was over this database before that was moved or \
                     restored, say so (--rollback FILE --same-database); if another program moved it, nothing"
                    .to_owned(),
            ),
        };
        Exception {
            message: format!(
                "the row holds {}, its local file is {file}, and {why}",
                self.path
            ),
            item: self.id,
            role: String::new(),
            source: self.source.unwrap_or_default(),
            key: String::new(),
            kind: ExceptionKind::StillSwitched,
            remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(number: usize) -> Suspect {
        Suspect {
            id: format!("documents/{number}"),
            source: None,
            path: format!("s3://{number}"),
        }
    }

    #[test]
    fn rows_that_others_explain_hide_none_that_are_left() {
        let explained: Vec<String> = (0..=LISTED_MAX).map(|number| suspect(number).id).collect();
        let mut others = Known::default();
        for id in &explained {
            others.brought.insert(id);
        }
        let mut found = Leftover::default();
        (0..=LISTED_MAX + 1).for_each(|number| found.take(suspect(number), &others));
        let names: Vec<&str> = found.rows.iter().map(|row| row.item.as_str()).collect();
        assert_eq!(names, [format!("documents/{}", LISTED_MAX + 1)]);
        assert_eq!(found.unlisted, 0);
    }

    #[test]
    fn those_beyond_the_list_are_counted() {
        let mut found = Leftover::default();
        (0..LISTED_MAX + 7).for_each(|number| found.take(suspect(number), &Known::default()));
        assert_eq!((found.rows.len(), found.unlisted), (LISTED_MAX, 7));
    }
}
