//! `--status` and `--rollback-status`: where the documents are, and which runs there were.
//!
//! What must hold: it changes nothing and needs no bucket; it works while a run is at work.
//!
//! What it deliberately does not do: check anything; `--verify-state` and `--audit-files` do.

use console::{Exit, Failure, Table, human};
use serde::Serialize;
use transfer::Journal;

use crate::db::Count;
use crate::run::again;
use crate::run::command;
use crate::run::existing;
use crate::run::failures::database_failure;
use crate::run::record::Record;
use crate::run::session::Session;
use crate::state::{Flags, RunState, Summary};

#[derive(Serialize)]
struct Status {
    database: String,
    state_dir: String,
    tables: Vec<Count>,
    runs: Vec<Summary>,
}

/// Runs `--status`.
///
/// # Errors
/// If database or state directory cannot be read.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let counts = session.database.counts().await;
    let status = Status {
        database: session.database.info().place.clone(),
        state_dir: session.state.path().display().to_string(),
        tables: counts.map_err(|error| database_failure(&error))?,
        runs: summaries(session).await?,
    };
    if session.ui.is_json() {
        session.ui.json(&status);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["table", "column", "local", "bytes", "in S3", "empty"]);
    for count in &status.tables {
        table.row([
            count.table.clone(),
            count.column.clone(),
            human::number(count.local),
            human::bytes(count.local_bytes),
            human::number(count.stored),
            human::number(count.empty),
        ]);
    }
    for column in 2..6 {
        table.right(column);
    }
    session.ui.out(table.render());
    show_runs(session, &status.runs);
    Ok(Exit::Ok)
}

/// Runs `--rollback-status`.
///
/// # Errors
/// If database or state directory cannot be read.
pub async fn rollback_status(session: &Session) -> Result<Exit, Failure> {
    let mut runs = summaries(session).await?;
    let can_be_undone =
        |summary: &Summary| existing::can_be_undone(&session.state.files(&summary.run), summary);
    let was_undone = |summary: &Summary| {
        let is_back = matches!(summary.state, RunState::RollingBack | RunState::RolledBack);
        is_back || summary.counts.reverted > 0
    };
    runs.retain(|summary| can_be_undone(summary) || was_undone(summary));
    if session.ui.is_json() {
        session.ui.json(&serde_json::json!({ "runs": runs }));
        return Ok(Exit::Ok);
    }
    show_runs(session, &runs);
    if let Some(newest) = runs.iter().find(|summary| can_be_undone(summary)) {
        let what = format!(
            " --rollback {}",
            command::path(&session.state.files(&newest.run).summary)
        );
        let next = session.command(&what, &newest.parameters, Flags::Known);
        session.ui.out(format!("Next: {next}"));
    }
    Ok(Exit::Ok)
}

/// The runs as they stand: of one that is not at its end the journal knows more than its summary, and of what was under way the rows.
async fn summaries(session: &Session) -> Result<Vec<Summary>, Failure> {
    let mut found = vec![];
    for (files, summary) in existing::all(session)? {
        if let Err(error) = Journal::header_of(&files.journal) {
            let look = format!(
                " --verify-state --state-file {}",
                command::path(&files.summary)
            );
            session.ui.warn(format!(
                "{error}: it is damaged, or it is that of another tool. If the bucket has a copy that is whole, this takes it: \
                 migrate_to_s3{look}{}",
                session.typed()
            ));
        }
        let Some(mut summary) = summary else { continue };
        if summary.state.is_unfinished()
            && let Ok(journal) = Journal::read_only(&files.journal)
        {
            let mut record = Record::open(session, &files, &journal)?;
            record.count(&journal);
            let (switched, back) = again::between(session, &journal).await?;
            record.summary.counts.committed += switched;
            record.summary.counts.reverted += back;
            summary.counts = record.summary.counts;
        }
        found.push(summary);
    }
    Ok(found)
}

fn show_runs(session: &Session, runs: &[Summary]) {
    if runs.is_empty() {
        session
            .ui
            .out(format!("No runs in {}.", session.state.path().display()));
        return;
    }
    let mut table = Table::new([
        "run",
        "direction",
        "switched",
        "undone",
        "exceptions",
        "state",
    ]);
    for summary in runs {
        table.row([
            summary.run.clone(),
            summary.parameters.direction.clone(),
            human::number(summary.counts.committed),
            human::number(summary.counts.reverted),
            human::number(summary.counts.exceptions),
            summary.state.words().to_owned(),
        ]);
    }
    for column in 2..5 {
        table.right(column);
    }
    session.ui.out(table.render());
}
