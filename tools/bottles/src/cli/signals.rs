//! SIGINT and SIGTERM: the first asks to finish what is in flight, for which there are some seconds; the second ends the process at once.

use console::{Exit, Failure, FailureExt, Ui};
use tokio::signal::unix::{SignalKind, signal};
use transfer::StopSignal;

/// Listens until the answer is dropped.
pub(super) struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Raises `stop` at the first signal.
pub(super) fn listen(ui: &Ui, stop: &StopSignal) -> Result<Listening, Failure> {
    let doing = "the process could not listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Exit::Failed, doing)?;
    let mut terminate = signal(SignalKind::terminate()).or_fail(Exit::Failed, doing)?;
    let (ui, stop) = (ui.clone(), stop.clone());
    Ok(Listening(tokio::spawn(async move {
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !is_first {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            ui.status("Stopping: what is in flight has some seconds to finish. Once more to stop at once.");
            stop.raise();
            is_first = false;
        }
    })))
}
