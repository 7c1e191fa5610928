//! Whether the database that a command works on is the one that a run was over, and no other has the run's rows.
//!
//! What must hold: a copy of a database's files has its name and its numbers, and a container's address is everybody's, so nothing that a program can
//! see says for certain which of two is meant. Where the journal did not begin in this state directory, or the address or the number is another one, no
//! object goes until a person has said that this database is the run's and that the other is no more. That stands in the journal then.
//!
//! What it deliberately does not do: keep rows or files from being brought back. That takes nothing away from anybody.

use console::{Exit, Failure};
use transfer::{Custody, Journal};

use super::command;
use super::failures::journal_failure;
use super::session::Session;
use crate::cli::args::DirectionArg;
use crate::state::{Flags, Parameters, RunFiles, is_one_place};

/// The flag by which a person says it.
pub const FLAG: &str = "--same-database";

/// Why another database may have the rows of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The run was over another database: a clone, or the one from whose dump this was restored.
    Other,
    /// The database has another address than when the run was made.
    Elsewhere,
    /// The run was begun on another machine, which this one may be a copy of, state directory and all.
    Machine,
    /// The journal was taken from the bucket: the run did not begin in this state directory.
    Taken,
    /// The bucket's copy of the journal contradicts it or goes on without it, and it was believed by force.
    Contested,
    /// What the run stored is in another place than what the command works on, which is forced: what is not there is not gone.
    OtherStore,
}

impl Doubt {
    /// Finds a doubt about a run; none if its journal began here and the database is where it was.
    #[must_use]
    pub fn of(of: &Parameters, here: &Parameters, custody: &Custody) -> Option<Doubt> {
        let doubts = [
            (!is_one_place(&of.target, &here.target), Self::OtherStore),
            (of.is_surely_other(here), Self::Other),
            (of.is_elsewhere(here), Self::Elsewhere),
            (of.is_on_another_machine(here), Self::Machine),
            (custody.is_contested, Self::Contested),
            (custody.is_taken, Self::Taken),
        ];
        let doubts = doubts.into_iter();
        doubts.filter(|(is_so, _)| *is_so).map(|(_, it)| it).next()
    }

    /// Finds a doubt about the run of a journal.
    ///
    /// # Errors
    /// If another tool wrote the journal, or no target is named.
    pub fn about(
        session: &Session,
        of: &Parameters,
        journal: &Journal,
    ) -> Result<Option<Doubt>, Failure> {
        Ok(Self::of(of, &session.parameters()?, &journal.custody()))
    }

    /// Says it.
    #[must_use]
    pub fn words(self, of: &Parameters) -> String {
        match self {
            Self::Other => format!("the run was over {}", of.database_in_words()),
            Self::Elsewhere => format!(
                "the run was over {}; this one has the same numbers and another address: it moved, or one of them is a copy of the other's files",
                of.database_in_words()
            ),
            Self::Machine => "the run was begun on another machine: that has moved here, or this one is a copy of it, and it may be at work with the same objects"
                .to_owned(),
            Self::Taken => "the run did not begin in this state directory: its journal came from the bucket, which a clone of the database may \
                            use as well"
                .to_owned(),
            Self::Contested => "the copy of its journal in the bucket is another one, or went on without this one, so somebody else may be at work with \
                                the run"
                .to_owned(),
            Self::OtherStore => "that is not the place that this command was given, so what lies there was not looked at".to_owned(),
        }
    }
}

/// Returns the command that takes the objects of a run away as well.
#[must_use]
pub fn command(session: &Session, files: &RunFiles, of: &Parameters) -> String {
    let file = command::path(&files.summary);
    session.command(&format!(" --rollback {file} {FLAG}"), of, Flags::Known)
}

/// Writes into a journal that this database is the run's, if the person said so and there is a doubt.
///
/// # Errors
/// If the journal cannot be written.
pub async fn own(session: &Session, of: &Parameters, journal: &Journal) -> Result<(), Failure> {
    let here = session.parameters()?;
    let custody = journal.custody();
    // Said once is enough, until something is in doubt.
    let is_settled = custody.parameters.is_some() && Doubt::of(of, &here, &custody).is_none();
    if !session.line.action.same_database || is_settled {
        return Ok(());
    }
    let parameters = serde_json::to_value(of.over_database_of(&here))
        .map_err(|error| Failure::wrap(Exit::Failed, "the run could not be described", &error))?;
    let owned = journal.own(parameters).await;
    owned.map_err(|error| journal_failure(&error))?;
    session.ui.status(format!(
        "Noted: the run {} is one of {}.",
        journal.header().run_id,
        here.database_in_words()
    ));
    Ok(())
}

/// Fails if a run is to go on, or its sources are to be removed, whose journal came from the bucket: whoever has begun it may be at work on it too.
///
/// # Errors
/// Of kind `taken-journal`.
pub fn check_own(files: &RunFiles, journal: &Journal) -> Result<(), Failure> {
    if !journal.custody().is_taken {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Conflict,
        format!(
            "the run {} did not begin in this state directory: its journal came from the bucket, which a clone of the database may use as well",
            files.run
        ),
    )
    .kind("taken-journal")
    .hint(format!(
        "if it is a run of this very database, and no copy of that is at work: the same command with {FLAG}. Else begin a run of its own"
    )))
}

/// Fails if objects are to be removed as the sources of a run that was begun on another machine, which may read them.
///
/// # Errors
/// Of kind `other-machine`.
pub fn check_machine(
    session: &Session,
    files: &RunFiles,
    of: &Parameters,
    journal: &Journal,
) -> Result<(), Failure> {
    let is_from_disk = session.settings.direction == DirectionArg::LocalToS3;
    match Doubt::about(session, of, journal)? {
        Some(doubt @ Doubt::Machine) if !is_from_disk => Err(Failure::new(
            Exit::Conflict,
            format!("of the run {}: {}", files.run, doubt.words(of)),
        )
        .kind("other-machine")
        .hint(format!(
            "nothing was removed; only if no copy of this machine or its database is at work: the same command with {FLAG}"
        ))),
        _ => Ok(()),
    }
}

/// Says that a run was over something else.
#[must_use]
pub fn other_run(session: &Session, files: &RunFiles, of: &Parameters, what: &str) -> Failure {
    let failure = Failure::new(
        Exit::Conflict,
        format!("the run {} was over {what}", files.run),
    )
    .kind("other-run");
    let here = session.parameters();
    if !here.is_ok_and(|here| of.differs_in_database_only(&here)) {
        return failure.hint(
            "give the command the settings of that run: DATABASE_URL, UPLOAD_PATH, the S3_… variables, --target",
        );
    }
    failure.hint(format!(
        "#N is the number that the server gave to the database when it was made, so one that was restored from a dump has another. Only if this database \
         was made of that one, and that one is at work no more:\n      {}\n      Else give the command the DATABASE_URL of that run",
        again(session, files, of)
    ))
}

/// What was typed, for this run by its name and with the word that it is one of here.
fn again(session: &Session, files: &RunFiles, of: &Parameters) -> String {
    let action = &session.line.action;
    let file = command::path(&files.summary);
    let (what, flags) = match action {
        _ if action.rollback.is_some() => return command(session, files, of),
        _ if action.delete_source => ("--delete-source --state-file", Flags::Known),
        _ if action.verify_state => ("--verify-state --state-file", Flags::Known),
        _ => ("--resume-from", Flags::New),
    };
    session.command(&format!(" {what} {file} {FLAG}"), of, flags)
}
