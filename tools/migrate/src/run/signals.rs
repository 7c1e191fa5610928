//! SIGINT and SIGTERM: the first asks the run to finish what is in flight, the second ends it at once.
//!
//! What must hold: the first signal loses nothing and waits for nothing new; the second one loses nothing either, since every
//! step is in the journal.
//!
//! What it deliberately does not do: catch SIGKILL. Nothing can, and nothing has to.

use console::{Exit, Failure, FailureExt, Ui};
use tokio::signal::unix::{SignalKind, signal};
use transfer::StopSignal;

/// Listens until the answer is dropped.
pub struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Raises `stop` at the first signal, and ends the process at the second.
///
/// # Errors
/// If the system lets nobody listen.
pub fn listen(ui: &Ui, stop: &StopSignal) -> Result<Listening, Failure> {
    let doing = "the process could not listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Exit::Failed, doing)?;
    let mut terminate = signal(SignalKind::terminate()).or_fail(Exit::Failed, doing)?;
    let (ui, stop) = (ui.clone(), stop.clone());
    Ok(Listening(tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if is_first {
                ui.status(
                    "Stopping: what is in flight is finished first. Once more to stop at once.",
                );
                stop.raise();
            }
        }
        std::process::exit(i32::from(Exit::Interrupted.code()));
    })))
}
