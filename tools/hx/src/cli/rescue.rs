//! Reading the history for a person, also where its database is damaged: then what can be read of it takes its place.
//!
//! What must hold: a sound database costs nothing more; that something may be missing, how much, and what to do next is said every time.
//!
//! What it deliberately does not do: read pages (see `history::rescue`), or change anything.

use console::{Exit, Failure, Ui, human};

use super::Context;
use crate::history::{History, HistoryError, HistoryErrorKind, Losses};
use crate::sync::history_failure;

/// The line that saves what can be read.
pub(super) const COMMAND: &str = "hx export --file hx-rescue.json";

/// Opens the history for reading only and does `work` with it; if the database turns out to be damaged, once more with what can be
/// read of it. Returns the history that `work` succeeded with.
///
/// # Errors
/// If there is no history, nothing can be read of it, or `work` fails otherwise.
pub(super) fn read<T>(
    context: &Context,
    mut work: impl FnMut(&History) -> Result<T, HistoryError>,
) -> Result<(History, T), Failure> {
    let path = context.paths.database();
    let outcome = History::open_read_only(&path)
        .and_then(|history| work(&history).map(|done| (history, done)));
    let damage = match outcome {
        Err(error) if error.kind() == HistoryErrorKind::Broken => error,
        Err(error) => return Err(failure(&error)),
        Ok(done) => return Ok(done),
    };
    let history = History::rescue(&path).map_err(|_| history_failure(&damage))?;
    let done = work(&history).map_err(|error| history_failure(&error))?;
    context.ui.warn(format!(
        "{} is damaged ({}); {}",
        path.display(),
        damage.cause(),
        history.losses().map(sentence).unwrap_or_default()
    ));
    Ok((history, done))
}

/// How a command ends that read from `history`.
pub(super) fn exit(history: &History) -> Exit {
    match history.losses() {
        Some(losses) if !losses.are_none() => Exit::Partial,
        _ => Exit::Ok,
    }
}

/// Says the way out, from the file that was saved on.
pub(super) fn hint(ui: &Ui, context: &Context, file: &str) {
    ui.hint(format!(
        "move {} away (keep it), then run `hx import --file {file}`; if you sync, `hx sync init` and `hx sync pull` then fetch what the store has more",
        context.paths.database().display()
    ));
}

fn failure(error: &HistoryError) -> Failure {
    match error.kind() {
        HistoryErrorKind::NotFound => super::find::no_history(),
        _ => history_failure(error),
    }
}

fn sentence(losses: &Losses) -> String {
    let read = human::count(losses.read, "record");
    if losses.are_none() {
        return format!(
            "its pages were read one by one, and all {read} are there: the damage is in what helps to find them"
        );
    }
    let known = if losses.exact {
        "as its index of ids tells"
    } else {
        "of those that are known of; the index of ids is damaged too, so that there may be more"
    };
    let missing = format!(
        "{} cannot be read, {known}",
        human::count(losses.missing, "record")
    );
    let partial = match losses.partial {
        0 => String::new(),
        n => format!(
            ", and {} lost its directory, machine, shell or session",
            human::count(n, "command")
        ),
    };
    let unsure = match losses.unsure {
        0 => String::new(),
        n => format!(
            "; of {} it cannot be told whether a directory, machine, shell, session or vault is meant, so that they were left out",
            human::count(n, "text")
        ),
    };
    let doubtful = match losses.doubtful {
        0 => String::new(),
        n => format!(
            "; of {} an index says another id, command or time, and nothing proves which is right",
            human::count(n, "record")
        ),
    };
    format!(
        "its pages were read one by one: {read} are there, {missing}{partial}{unsure}{doubtful}"
    )
}
