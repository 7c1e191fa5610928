//! SIGINT and SIGTERM: the first asks the work to finish what is in flight, the second ends it at once. Where nothing is in flight the first does.
//!
//! What must hold: they are heard from the first moment on, and every end by them has a message and the code of one that was interrupted; the first
//! loses nothing and waits for nothing new; the second one loses nothing either, since every step is in the journal.
//!
//! What it deliberately does not do: catch SIGKILL. Nothing can, and nothing has to.

use std::sync::{Mutex, PoisonError};

use console::{Exit, Failure, FailureExt, Ui};
use tokio::signal::unix::{SignalKind, signal};
use transfer::StopSignal;

/// What can be asked to stop. A process does one thing at a time, and signals are for the process.
static AT_WORK: Mutex<Option<StopSignal>> = Mutex::new(None);

/// Listens until it is dropped.
pub struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says that something is at work, until it is dropped.
pub struct Working(());

impl Drop for Working {
    fn drop(&mut self) {
        *AT_WORK.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Hears signals: raises the wish of what is at work to stop at the first, and ends the process at the second, or if nothing is at work. `left` says what
/// an end at any moment may leave, if it may.
///
/// # Errors
/// If the system lets nobody listen.
pub fn hear(ui: &Ui, left: Option<&'static str>) -> Result<Listening, Failure> {
    let doing = "the process could not listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Exit::Failed, doing)?;
    let mut terminate = signal(SignalKind::terminate()).or_fail(Exit::Failed, doing)?;
    let ui = ui.clone();
    Ok(Listening(tokio::spawn(async move {
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let at_work = AT_WORK.lock();
            let at_work = at_work.unwrap_or_else(PoisonError::into_inner).clone();
            match at_work.filter(|_| is_first) {
                Some(stop) => {
                    is_first = false;
                    ui.status(
                        "Stopping: what is in flight is finished first. Once more to stop at once.",
                    );
                    stop.raise();
                }
                None => end(&ui, left),
            }
        }
    })))
}

/// Lets the first signal ask this work to stop, as long as the answer is kept.
#[must_use]
pub fn listen(stop: &StopSignal) -> Working {
    *AT_WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop.clone());
    Working(())
}

fn end(ui: &Ui, left: Option<&'static str>) -> ! {
    let failure = Failure::new(Exit::Interrupted, "the command was interrupted")
        .kind("interrupted")
        .hint(left.unwrap_or("nothing is lost; the same command goes on, or begins again"));
    std::process::exit(i32::from(ui.finish(Err(failure)).code()));
}
