//! Rows that are still in the bucket and that no journal explains: the balance of a rollback, and of a verification.
//!
//! What must hold: a row whose local file is there, where the application would have put it, was moved by somebody: if no journal
//! that is known here or in the bucket says by whom, it is an exception by name. Rows that the journal says are back are looked at too.
//!
//! What it deliberately does not do: take a row that has no local file for a leftover. The application stores in S3 itself; such rows
//! are only counted.

use std::sync::Arc;

use console::{Failure, Ui, human};
use transfer::{Exception, ExceptionKind, Journal, KeySet, State};

use crate::cli::args::DirectionArg;
use crate::db::{Page, Row, Which};
use crate::keys;
use crate::mapping::Table;
use crate::resolve::Paths;
use crate::run::failures::{database_failure, journal_failure};
use crate::run::session::{MIRROR, Session};

/// Rows are read so many at a time.
const PAGE: usize = 500;

/// More leftovers than this are only counted.
const LISTED_MAX: usize = 10_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Leftover {
    /// Rows that a run has switched and that no journal explains.
    pub rows: Vec<Exception>,
    /// Rows in the bucket without a local file that no journal knows.
    pub of_others: u64,
}

impl Leftover {
    /// Takes a row in the bucket for what the journal and the disk say that it is.
    fn look_at(
        &mut self,
        row: &Row,
        id: String,
        state: Option<State>,
        local_file: impl Fn() -> Option<String>,
    ) {
        let source = match state {
            None | Some(State::LeftOut | State::Lost) => local_file(),
            // By the journal it is back, or was never switched.
            Some(State::Reverted | State::Undone | State::Planned | State::Stored) => {
                Some(local_file().unwrap_or_default())
            }
            // By the journal it is there, or may be.
            Some(_) => return,
        };
        match source {
            Some(source) if self.rows.len() < LISTED_MAX => {
                self.rows.push(exception(id, &source, &row.path));
            }
            Some(_) => {}
            None => self.of_others += 1,
        }
    }

    /// Adds the rows to a list of exceptions, those that are in it already left out; says how many others there are.
    pub fn add_to(self, exceptions: &mut Vec<Exception>, ui: &Ui) {
        let named: std::collections::HashSet<String> = exceptions
            .iter()
            .map(|exception| exception.item.clone())
            .collect();
        let new = self.rows.into_iter();
        exceptions.extend(new.filter(|row| !named.contains(&row.item)));
        if self.of_others > 0 {
            ui.hint(format!(
                "{} in the bucket without a local file and in no journal known here: the application stored them itself, or another \
                 program did",
                human::count(self.of_others, "row")
            ));
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
    let mut found = in_bucket(session, journal, paths).await?;
    if found.rows.is_empty() {
        return Ok(found);
    }
    let others = known_to_others(session, journal).await?;
    found.rows.retain(|row| !others.contains(&row.item));
    Ok(found)
}

/// Rows in the bucket of which the journal says that they are back, and those that it does not know and that have a local file. Of the
/// rest it is counted how many there are.
async fn in_bucket(
    session: &Session,
    journal: &Journal,
    paths: &Arc<Paths>,
) -> Result<Leftover, Failure> {
    let mut found = Leftover::default();
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
                found.look_at(row, id, state, || local_file(table, paths, row));
            }
        }
    }
    Ok(found)
}

/// The file from which the object was made, if it is there and as long as the row says.
fn local_file(table: &Table, paths: &Paths, row: &Row) -> Option<String> {
    let place = table.local_path.fill(&keys::values(row, paths.upload()));
    let found = std::fs::metadata(paths.here(&place)).ok()?;
    let fits =
        table.is_rewritten(row.mime.as_deref()) || row.size.is_none_or(|size| size == found.len());
    (found.is_file() && fits).then_some(place)
}

/// Items that another run has switched, or may have: by the journals here, and by the copies in the bucket of those that are not here.
async fn known_to_others(session: &Session, journal: &Journal) -> Result<KeySet, Failure> {
    let own = &journal.header().run_id;
    let mut known = KeySet::new();
    let mut here = vec![];
    for files in session.state.runs()? {
        if &files.run != own
            && let Ok(other) = Journal::read_only(&files.journal)
        {
            take_in(&other, &mut known)?;
        }
        here.push(files.run);
    }
    let mirror = session.mirror().await?;
    let runs = Journal::mirrored_runs(&mirror, MIRROR).await;
    for run in runs.map_err(|error| journal_failure(&error))? {
        if &run == own || here.contains(&run) {
            continue;
        }
        let copy = session.state.files(&run).journal.with_extension("looking");
        // One that an earlier look left would be in the way.
        let _ = std::fs::remove_file(&copy);
        match Journal::from_mirror(&mirror, MIRROR, &run, &copy).await {
            Ok(other) => take_in(&other, &mut known)?,
            Err(error) => session.ui.warn(format!(
                "the bucket's copy of run {run} is no help: {error}"
            )),
        }
        let _ = std::fs::remove_file(&copy);
    }
    Ok(known)
}

fn take_in(journal: &Journal, known: &mut KeySet) -> Result<(), Failure> {
    let may_be = |state: State| state.is_switched() || state == State::Committing;
    for entry in journal.entries(may_be) {
        known.insert(&entry.map_err(|error| journal_failure(&error))?.item.id);
    }
    Ok(())
}

fn exception(item: String, source: &str, path: &str) -> Exception {
    Exception {
        item,
        role: String::new(),
        source: source.to_owned(),
        key: String::new(),
        kind: ExceptionKind::StillSwitched,
        message: format!(
            "the row holds {path}, its local file is {}, and no journal known here or in the bucket says why",
            if source.is_empty() { "gone" } else { source }
        ),
        remedy: "restore the newest journal of the run that moved it (from a backup), and roll that back; if another program moved it, nothing"
            .into(),
    }
}
